"""An evaluation as one self-contained page: protocol, figures, and the views that came out worst."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

from headsup_cli.evaluation.comparison import Comparison
from headsup_cli.evaluation.pictures import strip_path
from headsup_cli.evaluation.results import Metrics, Summary
from headsup_cli.evaluation.scoring import AREAS, UNCOVERED, Scores
from headsup_cli.runtime.atomic import atomic_write_text

REPORT_FILE = "report.html"
MAX_SUBJECTS, MAX_VIEWS = 200, 120  # on the page, worst first; metrics.json has them all

_MEASURE_LABELS = {
    "psnr": "PSNR",
    "psnr_affine": "PSNR, colours fitted,",
    "ssim": "SSIM",
    "flip": "FLIP",
    "lpips": "LPIPS",
}
_LABELS = {f"{measure}_{area}": f"{label} {area}" for area in AREAS for measure, label in _MEASURE_LABELS.items()} | {
    UNCOVERED: UNCOVERED
}
_SHORT = (
    "psnr_foreground",
    "psnr_affine_foreground",
    "psnr_full",
    "ssim_foreground",
    "ssim_full",
    "flip_foreground",
    "lpips_foreground",
    "psnr_eyes",
    "psnr_mouth",
    UNCOVERED,
)  # what is shown of each subject and view
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5em; background: #16181c; color: #e4e6ea }
h1 { font-size: 1.3em } h2 { font-size: 1.05em; margin-top: 1.8em } .protocol { color: #b9bec7; max-width: 75em }
table { border-collapse: collapse } td, th { padding: .15em .9em .15em 0; text-align: left; font-weight: normal }
th { color: #b9bec7 } .n { text-align: right; font-variant-numeric: tabular-nums } tr:hover td { background: #202329 }
.views { display: flex; flex-wrap: wrap; gap: 14px } figure { margin: 0; background: #202329; padding: 8px }
figcaption { font-size: 12px; color: #b9bec7; padding-bottom: 4px; max-width: 75em } figcaption b { color: #fff }
img { display: block; max-width: 100% } .failed { color: #ff7b72 }
"""


def write_report(path: Path, metrics: Metrics, folder_of: Callable[[str], Path], comparison: Comparison | None) -> None:
    """Write the page.

    Args:
        path: Where to.
        metrics: The figures.
        folder_of: Where a subject's pictures lie.
        comparison: With another result, if there is one.
    """
    parts = [
        f"<h1>Evaluation of {len(metrics.subjects)} subject{'s' * (len(metrics.subjects) != 1)}, "
        f"{sum(map(len, metrics.views.values()))} held-out views</h1>",
        f"<p class=protocol>{escape(metrics.protocol_line)}</p>",
        _summary_table(metrics),
    ]
    if metrics.failed:
        parts.append(_failures(metrics))
    if comparison is not None:
        parts.append(_comparison_table(comparison))
    if len(metrics.subjects) > 1:
        parts.append(_subject_table(metrics))
    parts.append(_views(metrics, folder_of))
    page = f"<!doctype html><meta charset=utf-8><title>headsup evaluate</title><style>{_STYLE}</style>\n"
    atomic_write_text(path, page + "\n".join(parts) + "\n")


def _summary_table(metrics: Metrics) -> str:
    header = ("", "mean", "spread over views", "spread over subjects", "worst view", "views")
    rows = [(_LABELS[name], *_numbers(name, summary)) for name, summary in metrics.summary.items()]
    return "<h2>All views</h2>" + _table(header, rows)


def _numbers(name: str, summary: Summary) -> tuple[str, ...]:
    values = (summary.mean, summary.spread_views, summary.spread_subjects, summary.worst)
    return (*(formatted(name, value) for value in values), str(summary.views))


def _failures(metrics: Metrics) -> str:
    rows = "".join(f"<tr><td>{escape(name)}<td class=failed>{escape(why)}" for name, why in metrics.failed.items())
    return f"<h2>Failed</h2><table>{rows}</table>"


def _comparison_table(comparison: Comparison) -> str:
    header = ("", "mean difference", "spread over subjects", "subjects better", "views better")
    rows = [
        (
            _LABELS[name],
            formatted(name, difference.mean, signed=True),
            formatted(name, difference.spread),
            f"{difference.wins} of {difference.subjects}",
            f"{difference.view_wins} of {difference.views}",
        )
        for name, difference in comparison.differences.items()
    ]
    told = f"<p class=protocol>{escape(comparison.against_protocol)}</p>"
    return f"<h2>Against {escape(comparison.against)}</h2>{told}" + _table(header, rows)


def _subject_table(metrics: Metrics) -> str:
    names = metrics.worst_first()
    columns = [name for name in _SHORT if name in metrics.summary]
    rows = [
        (subject, *(formatted(c, s.mean if (s := metrics.subjects[subject].get(c)) else None) for c in columns))
        for subject in names[:MAX_SUBJECTS]
    ]
    more = len(names) - len(rows)
    note = f"<p>{more} more in metrics.json.</p>" if more else ""
    return "<h2>Subjects, worst first</h2>" + _table(("", *(_LABELS[c] for c in columns)), rows) + note


def _views(metrics: Metrics, folder_of: Callable[[str], Path]) -> str:
    pairs = metrics.views_worst_first()
    figures = [
        _figure(subject, camera, metrics.views[subject][camera], strip_path(folder_of(subject), camera))
        for subject, camera in pairs[:MAX_VIEWS]
    ]
    shown = f"{len(figures)} of {len(pairs)}" if len(pairs) > len(figures) else f"{len(pairs)}"
    return (
        f"<h2>Views, worst first ({shown}): prediction, reference, FLIP's error</h2>"
        f"<div class=views>{''.join(figures)}</div>"
    )


def _figure(subject: str, camera: str, scores: Scores, path: Path) -> str:
    told = "; ".join(
        f"{_LABELS[name]} {formatted(name, value)}" for name in _SHORT if (value := scores.get(name)) is not None
    )
    picture = base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""
    return (
        f"<figure><figcaption><b>{escape(subject)} {escape(camera)}</b> {told}</figcaption>"
        f'<img alt="prediction, reference, error" src="data:image/jpeg;base64,{picture}"></figure>'
    )


def formatted(score: str, value: float | None, *, signed: bool = False) -> str:
    """A figure with its unit's digits: dB to a hundredth, shares in per cent, the others to a thousandth or better."""
    sign = "+" if signed else ""
    if value is None:
        return "-"
    if score.startswith("psnr"):
        return f"{value:{sign}.2f}"
    return f"{100 * value:{sign}.1f} %" if score == "uncovered" else f"{value:{sign}.4f}"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def line(cells: Iterable[str], tag: str) -> str:
        first, *others = cells
        return f"<tr><{tag}>{escape(first)}" + "".join(f"<{tag} class=n>{escape(cell)}" for cell in others)

    return f"<table>{line(header, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
