"""What a run says about itself, a row a step: metrics.csv, and TensorBoard where it is wanted."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Any

from headsup_cli.errors import MissingDependencyError
from headsup_cli.runtime.atomic import atomic_write_text
from headsup_cli.training.processes import is_first_process

METRICS_FILE = "metrics.csv"


class MetricsLog:
    """A table with the column `step` and others, written by the first process alone."""

    def __init__(
        self,
        folder: Path,
        columns: tuple[str, ...],
        *,
        resumed_at: int,
        file_name: str = METRICS_FILE,
        tensorboard: bool = False,
    ) -> None:
        """Open the log of a run that goes on after step `resumed_at`; later rows of a killed run are dropped.

        Raises:
            MissingDependencyError: TensorBoard is wanted and not installed.
        """
        self.path, self.columns = folder / file_name, ("step", *columns)
        self.writing = is_first_process()
        self.events: Any = _event_writer(folder) if tensorboard and self.writing else None
        if self.writing:
            self._keep_rows_until(resumed_at)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.events is not None:
            self.events.close()

    def append(self, step: int, terms: dict[str, float]) -> None:
        """Add a row; columns without a term stay empty."""
        if not self.writing:
            return
        with self.path.open("a", newline="") as file:
            row = {"step": step, **{name: f"{value:.6g}" for name, value in terms.items()}}
            csv.DictWriter(file, self.columns, restval="", extrasaction="raise").writerow(row)
        if self.events is not None:
            for name, value in terms.items():
                self.events.add_scalar(name, value, step)

    def _keep_rows_until(self, last: int) -> None:
        rows: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = [
                    row for row in csv.DictReader(file) if (row["step"] or "").isdigit() and int(row["step"]) <= last
                ]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write_text(self.path, text.getvalue())


def _event_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "TensorBoard is not installed; pip install 'headsup-cli[tensorboard]', or leave out --tensorboard."
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
