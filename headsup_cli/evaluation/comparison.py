"""Two evaluations of the same views, pair by pair."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError
from headsup_cli.evaluation.results import METRICS_FILE, Metrics
from headsup_cli.evaluation.scoring import SCORE_NAMES, Scores, higher_is_better
from headsup_cli.runtime.atomic import atomic_write_text

COMPARISON_FILE = "comparison.json"
_SAME_IN_BOTH = ("sizes", "background", "frames")  # of the protocols


class Difference(StrictModel):
    """One figure of this result less that of the other, over pairs of subjects that have it in both."""

    mean: float  # over subjects, of the mean over the subject's common views
    spread: float | None  # standard deviation over subjects, where there are several
    wins: int  # subjects for which this result is better
    losses: int
    subjects: int
    view_wins: int
    views: int


class Comparison(StrictModel):
    """`comparison.json`: this result against another."""

    against: str
    against_protocol: str
    differences: dict[str, Difference]
    subjects: dict[str, dict[str, float]]  # mean difference by subject and score


def compared(ours: Metrics, theirs: Metrics, place: Path) -> Comparison:
    """Compare two results over the views that both have.

    Args:
        ours: This result.
        theirs: The other one.
        place: Folder of the other one, for messages.

    Raises:
        InputError: The two were not measured alike, or have no view in common.
    """
    _check_alike(ours, theirs, place)
    pairs = {
        subject: [(views[camera], theirs.views[subject][camera]) for camera in views if camera in theirs.views[subject]]
        for subject, views in ours.views.items()
        if subject in theirs.views
    }
    if not any(pairs.values()):
        raise InputError(
            place / METRICS_FILE,
            field="views",
            found="of other subjects or cameras alone",
            expected="some in common with this result",
            remedy="evaluate both on the same subjects and the same --heldout",
        )
    differences, by_subject = {}, dict[str, dict[str, float]]()
    for score in SCORE_NAMES:
        of_views = {subject: _differences(views, score) for subject, views in pairs.items()}
        of_views = {subject: values for subject, values in of_views.items() if values}
        if of_views:
            differences[score] = _difference(list(of_views.values()), 1 if higher_is_better(score) else -1)
            for subject, values in of_views.items():
                by_subject.setdefault(subject, {})[score] = float(np.mean(values))
    return Comparison(
        against=str(place), against_protocol=theirs.protocol_line, differences=differences, subjects=by_subject
    )


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write `comparison.json`."""
    atomic_write_text(folder / COMPARISON_FILE, comparison.model_dump_json(indent=1) + "\n")


def _check_alike(ours: Metrics, theirs: Metrics, place: Path) -> None:
    one, other = ours.protocol, theirs.protocol
    settings = [(name, getattr(one, name), getattr(other, name)) for name in _SAME_IN_BOTH]
    settings += [(f"metrics.{name}", value, other.metrics.get(name)) for name, value in one.metrics.items()]
    for name, expected, found in settings:
        lpips_of_one_alone = name == "metrics.LPIPS" and not _both_have_lpips(ours, theirs)
        if expected != found and not lpips_of_one_alone:
            raise InputError(
                place / METRICS_FILE,
                field=f"protocol.{name}",
                found=str(found),
                expected=f"{expected}, as in this result",
                remedy="evaluate both alike",
            )


def _both_have_lpips(ours: Metrics, theirs: Metrics) -> bool:
    return all(any(name.startswith("lpips") for name in metrics.summary) for metrics in (ours, theirs))


def _differences(views: list[tuple[Scores, Scores]], score: str) -> list[float]:
    values = [(ours.get(score), theirs.get(score)) for ours, theirs in views]
    return [ours - theirs for ours, theirs in values if ours is not None and theirs is not None]


def _difference(of_views: list[list[float]], better: int) -> Difference:
    means = np.array([np.mean(values) for values in of_views])
    every = np.concatenate(of_views)
    return Difference(
        mean=float(means.mean()),
        spread=float(means.std()) if len(means) > 1 else None,
        wins=int((better * means > 0).sum()),
        losses=int((better * means < 0).sum()),
        subjects=len(means),
        view_wins=int((better * every > 0).sum()),
        views=len(every),
    )
