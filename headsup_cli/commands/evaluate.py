"""`headsup evaluate`: how good heads are, by the field's protocol."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headsup_cli.commands.console import print_json
from headsup_cli.commands.options import (
    BackgroundOption,
    CheckpointOption,
    DeviceOption,
    DistortionOption,
    FormatOption,
    JsonOption,
    OutputOption,
    QuietOption,
    SeedOption,
    TemplateOption,
    WorkersOption,
)
from headsup_cli.commands.values import parse_effort, parse_size
from headsup_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from headsup_cli.evaluation.comparison import Comparison
    from headsup_cli.evaluation.results import Metrics
    from headsup_cli.evaluation.sample_report import SampleReport

_WIDTH_IN_PIPES = 180
_MAX_ROWS = 30  # in the terminal; metrics.csv has them all
_COLUMNS = {
    "psnr_foreground": "PSNR fg",
    "psnr_affine_foreground": "fitted",
    "psnr_full": "PSNR",
    "ssim_foreground": "SSIM fg",
    "ssim_full": "SSIM",
    "flip_foreground": "FLIP fg",
    "flip_full": "FLIP",
    "lpips_foreground": "LPIPS fg",
    "lpips_full": "LPIPS",
    "psnr_eyes": "eyes",
    "psnr_mouth": "mouth",
    "uncovered": "uncovered",
}


def evaluate(
    output: OutputOption,
    subjects: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SUBJECT]...",
            help="Rig dumps, captures, or folders of them; none shows what DIR holds.",
            show_default=False,
        ),
    ] = None,
    heldout: Annotated[
        str,
        typer.Option(
            "--heldout",
            metavar="N|LIST|DIR",
            help="N cameras spread around; cameras by name, with commas between; or a folder with calibration.json, "
            "images and masks: inside each subject, one for each subject inside it, or one for all.",
        ),
    ] = "4",
    heads: Annotated[
        Path | None,
        typer.Option(
            "--heads", metavar="DIR", help="Heads to judge, by subject, instead of new ones.", show_default=False
        ),
    ] = None,
    checkpoint: CheckpointOption = None,
    views: Annotated[
        int | None,
        typer.Option("--views", min=1, metavar="K", help="Input views, spread around; all.", show_default=False),
    ] = None,
    refine: Annotated[
        Any,
        typer.Option(
            "--refine",
            metavar="SECONDS|STEPS",
            parser=parse_effort,
            help="Sharpen the heads on their input views, as reconstruct does.",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            "--frame", metavar="NAME", help="Which moment of the subject; the most neutral.", show_default=False
        ),
    ] = None,
    size: Annotated[
        Any,
        typer.Option(
            "--size", metavar="WxH", parser=parse_size, help="Of the compared pictures; their own.", show_default=False
        ),
    ] = None,
    background: BackgroundOption = "black",
    lpips: Annotated[
        Path | None,
        typer.Option("--lpips", metavar="FILE", help="LPIPS weights; those in the cache.", show_default=False),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Keep the compared pictures as PNG in DIR/<subject>.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="DIR", help="Another result to compare with.", show_default=False),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            "--samples", metavar="DIR", help="Judge generated heads, against --train, instead.", show_default=False
        ),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option("--train", metavar="LATENTS", help="What the generator was trained on.", show_default=False),
    ] = None,
    workers: WorkersOption = 1,
    format: FormatOption = None,
    distortion: DistortionOption = "apply",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure heads on pictures that they were not made from.

    Heads are made from each SUBJECT without the held-out cameras, or read from --heads. Writes DIR/metrics.csv,
    metrics.json and report.html, with the protocol that the figures were measured by. Subjects that were measured
    already and would give the same are left alone.

    Example:
        headsup evaluate captures -o results --heldout 4 --views 12
        headsup evaluate my_subject -o results --heads heads --heldout my_subject/heldout
        headsup evaluate captures -o refined --heldout 4 --refine 60 --against results
        headsup evaluate --samples crowd --train latents.safetensors -o results
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import is_capture
    from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
    from headsup_cli.evaluation.conclusion import conclude
    from headsup_cli.evaluation.results import read_metrics
    from headsup_cli.inference.options import ReconstructOptions, RefineOptions
    from headsup_cli.jobs.evaluation import EvaluateJob, EvaluateOptions
    from headsup_cli.metrics.lpips import find_lpips_weights
    from headsup_cli.runtime.device import resolve_device

    if samples is not None or train is not None:
        if train is not None and (subjects or heads is not None or against is not None):
            raise typer.BadParameter("--samples judges generated heads: leave out SUBJECT, --heads and --against.")
        report = _evaluate_samples(samples, train, checkpoint, template, output)
        print_json(report.model_dump(by_alias=True)) if as_json else print("\n".join(report.lines()))
        return
    if heads is not None and (checkpoint, views, refine) != (None, None, None):
        raise typer.BadParameter("--heads judges heads as they are: leave out --checkpoint, --views and --refine.")
    sharpening = None if refine is None else RefineOptions(seconds=refine.seconds, steps=refine.steps)
    making = ReconstructOptions(frame=frame, views=views, refine=sharpening, seed=seed)
    options = EvaluateOptions(heldout, making, size, background, pictures)
    read = partial(read_rig_dump, importer=format, distortion=distortion)
    metric = lpips or find_lpips_weights()
    job = EvaluateJob(output, options, heads, checkpoint, metric, str(resolve_device(device)), template, read)
    if against is not None:
        read_metrics(against)  # told before the work if it is none
    outcomes, manifest = [], output / "manifest.jsonl"
    if subjects:
        paths = expand_subjects(subjects, lambda folder: is_capture(folder) or is_rig_dump(folder))
        outcomes = run_subjects(paths, job, manifest=manifest, is_done=job.is_done, workers=workers)
    scored = [job.folder(Path(outcome.subject)).name for outcome in outcomes if outcome.status != "failed"]
    failed = {Path(o.subject).resolve().name: o.message for o in outcomes if o.status == "failed"}
    if scored or not failed:
        metrics, comparison = conclude(output, scored, failed, against)
        if as_json:
            found = None if comparison is None else comparison.model_dump()
            print_json(metrics.model_dump(by_alias=True) | {"comparison": found})
        else:
            _print(metrics, comparison)
    check_outcomes(outcomes, manifest)


def _evaluate_samples(
    samples: Path | None, train: Path | None, checkpoint: Path | None, template: Path | None, output: Path
) -> "SampleReport":
    from headsup_cli.evaluation.sample_report import evaluate_samples
    from headsup_cli.runtime.atomic import atomic_write_text
    from headsup_cli.template.default import load_template

    if samples is None or train is None:
        missing, there = ("--samples", "--train") if samples is None else ("--train", "--samples")
        raise InputError(
            "evaluate", field=missing, found="missing", expected=f"it beside {there}", remedy="give both or neither"
        )
    report = evaluate_samples(samples, train, checkpoint=checkpoint, template=load_template(template))
    atomic_write_text(output / "samples.json", report.model_dump_json(by_alias=True, indent=1) + "\n")
    return report


def _print(metrics: "Metrics", comparison: "Comparison | None") -> None:
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_IN_PIPES)
    out.print(_figures_table(metrics))
    if comparison is not None:
        out.print()
        out.print(_comparison_table(comparison))
    out.print(f"[dim]{escape(metrics.protocol_line)}[/]", soft_wrap=True)


def _figures_table(metrics: "Metrics") -> "Table":
    """A row for each subject, or for each view of a single one, worst first; then mean and spread."""
    several = len(metrics.subjects) > 1
    columns = [name for name in _COLUMNS if name in metrics.summary]
    rows: list[tuple[str, Mapping[str, float | None]]]
    if several:
        rows = [(name, {c: s.mean for c, s in metrics.subjects[name].items()}) for name in metrics.worst_first()]
    else:
        rows = [(camera, metrics.views[subject][camera]) for subject, camera in metrics.views_worst_first()]
    table = _table(["subject" if several else "camera", *(_COLUMNS[name] for name in columns)])
    for label, values in rows[:_MAX_ROWS]:
        table.add_row(*_cells(label, values, columns))
    if len(rows) > _MAX_ROWS:
        table.add_row(f"… {len(rows) - _MAX_ROWS} more in metrics.csv")
    spread = "spread_subjects" if several else "spread_views"
    means = {name: summary.mean for name, summary in metrics.summary.items()}
    spreads = {name: getattr(summary, spread) for name, summary in metrics.summary.items()}
    table.add_row(*_cells("mean", means, columns), style="bold")
    table.add_row(*_cells("spread", spreads, columns), style="dim")
    return table


def _comparison_table(comparison: "Comparison") -> "Table":
    from headsup_cli.evaluation.report_page import formatted

    table = _table([f"against {comparison.against}", "mean difference", "spread", "subjects better", "views better"])
    for name, difference in comparison.differences.items():
        if name in _COLUMNS:
            table.add_row(
                _COLUMNS[name],
                formatted(name, difference.mean, signed=True),
                formatted(name, difference.spread),
                f"{difference.wins} of {difference.subjects}",
                f"{difference.view_wins} of {difference.views}",
            )
    return table


def _table(header: "Sequence[str]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        table.add_column(escape(name), justify="right" if index else "left", no_wrap=True)
    return table


def _cells(label: str, values: "Mapping[str, float | None]", columns: "Sequence[str]") -> list[str]:
    from rich.markup import escape

    from headsup_cli.evaluation.report_page import formatted

    return [escape(label), *(formatted(name, values.get(name)) for name in columns)]
