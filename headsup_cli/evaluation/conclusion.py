"""From the scores of subjects to the files that an evaluation leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from headsup_cli.evaluation.comparison import Comparison, compared, write_comparison
from headsup_cli.evaluation.report_page import REPORT_FILE, write_report
from headsup_cli.evaluation.results import Metrics, read_metrics, read_scores, summarised, write_metrics


def conclude(
    output: Path, subjects: Sequence[str], failed: Mapping[str, str], against: Path | None
) -> tuple[Metrics, Comparison | None]:
    """Sum up; write `metrics.json`, `metrics.csv`, `report.html` and, beside another result, `comparison.json`.

    Args:
        output: Folder of the evaluation, with a folder of scores for each subject.
        subjects: Those that have scores; none takes the metrics that `output` holds already.
        failed: Why others have none, by name.
        against: Folder of another evaluation.

    Raises:
        InputError: There is nothing to sum up, or the other result was measured otherwise.
    """
    other = None if against is None else read_metrics(against)
    if subjects:
        metrics = summarised([read_scores(output / name) for name in subjects], failed)
        write_metrics(metrics, output)
    else:
        metrics = read_metrics(output)
    comparison = None if other is None or against is None else compared(metrics, other, against)
    write_report(output / REPORT_FILE, metrics, lambda name: output / name, comparison)
    if comparison is not None:
        write_comparison(comparison, output)
    return metrics, comparison
