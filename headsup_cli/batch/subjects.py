"""One subject or ten thousand: finding them, working on each, keeping a manifest."""

import json
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from headsup_cli.batch.workers import WorkerDied, map_in_processes
from headsup_cli.errors import CheckFailed, HeadsupError, InputError
from headsup_cli.runtime.atomic import write_failures_told
from headsup_cli.runtime.progress import progress

Status = Literal["done", "skipped", "failed"]

_logger = logging.getLogger(__name__)
_NAMED_FAILURES = 5


@dataclass(frozen=True)
class SubjectOutcome:
    """How the work on one subject ended; a line of `manifest.jsonl`."""

    subject: str
    status: Status
    seconds: float
    message: str = ""


def expand_subjects(paths: Sequence[Path], is_subject: Callable[[Path], bool]) -> list[Path]:
    """Replace each folder of subjects by the subjects in it, in the order of their names.

    A path that neither is a subject nor holds one stays in the list, so that its reader can say what it lacks.

    Args:
        paths: Subjects and folders of subjects, as the user gave them.
        is_subject: Whether a folder looks like a subject.

    Raises:
        InputError: Two subjects have the same folder name, so their results would have one place.
    """
    subjects: list[Path] = []
    for path in paths:
        children = [] if is_subject(path) or not path.is_dir() else sorted(filter(Path.is_dir, path.iterdir()))
        inside = [child for child in children if not child.name.startswith(".") and is_subject(child)]
        subjects += inside or [path]
    name, count = Counter(subject.resolve().name for subject in subjects).most_common(1)[0]
    if count > 1:
        raise InputError(
            ", ".join(str(subject) for subject in subjects if subject.resolve().name == name),
            found=f"{count} subjects named '{name}'",
            expected="a name of its own for each",
            remedy="rename their folders or give them one at a time",
        )
    return subjects


def run_subjects(
    subjects: Sequence[Path],
    work: Callable[[Path], None],
    *,
    manifest: Path,
    is_done: Callable[[Path], bool] | None = None,
    workers: int = 1,
) -> list[SubjectOutcome]:
    """Work on every subject; the failure of one stops no other.

    Every outcome is appended to `manifest` as soon as it is known. A single subject's error is raised as it is.

    Args:
        subjects: Folders, as from `expand_subjects`.
        work: Does the whole job for one subject; it shares nothing with the calls for others.
        manifest: The `manifest.jsonl` to append to.
        is_done: Whether a subject's result is there already and still valid.
        workers: Processes that share the subjects. With more than one, `work` and `is_done` are pickled: functions of a
            module, `functools.partial` of them, or instances of a class.

    Returns:
        One outcome per subject, in order.
    """
    attempt = _Attempt(work, is_done, alone=len(subjects) == 1)
    outcomes: list[SubjectOutcome | None] = [None] * len(subjects)
    with closing(_ended(attempt, subjects, min(workers, len(subjects)))) as endings:
        for index, (outcome, bug) in progress(endings, "subjects", total=len(subjects)):
            if bug:
                _logger.error("%s: a bug in headsup, please report it:\n%s", outcome.subject, bug)
            elif outcome.status == "failed":
                _logger.error("%s", outcome.message)
            _append_line(manifest, json.dumps(asdict(outcome), ensure_ascii=False))
            outcomes[index] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


def check_outcomes(outcomes: Sequence[SubjectOutcome], manifest: Path) -> None:
    """Raise CheckFailed, with the names, if any subject failed."""
    failed = [Path(outcome.subject).name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        named = ", ".join(failed[:_NAMED_FAILURES]) + (", …" if len(failed) > _NAMED_FAILURES else "")
        raise CheckFailed(f"{len(failed)} of {len(outcomes)} subjects failed ({named}); see {manifest}.")


_Ending = tuple[SubjectOutcome, str]  # with the traceback, if it was a bug


@dataclass(frozen=True)
class _Attempt:
    """The work on one subject, which reports its failure instead of raising it unless the subject is `alone`."""

    work: Callable[[Path], None]
    is_done: Callable[[Path], bool] | None
    alone: bool

    def __call__(self, subject: Path) -> _Ending:
        start = time.perf_counter()

        def ended(status: Status, message: str = "", bug: str = "") -> _Ending:
            return SubjectOutcome(str(subject), status, round(time.perf_counter() - start, 3), message), bug

        try:
            if self.is_done is not None and self.is_done(subject):
                return ended("skipped")
            self.work(subject)
        except Exception as error:
            if self.alone:
                raise
            if isinstance(error, HeadsupError):
                return ended("failed", str(error))
            return ended("failed", f"bug: {error!r}", traceback.format_exc())
        return ended("done")


def _ended(attempt: _Attempt, subjects: Sequence[Path], workers: int) -> Generator[tuple[int, _Ending]]:
    """Endings with the subjects' indices, as they come."""
    if workers <= 1:
        yield from enumerate(map(attempt, subjects))
        return
    with closing(map_in_processes(attempt, subjects, workers)) as endings:
        for index, ending in endings:
            if isinstance(ending, WorkerDied):
                message = f"{subjects[index]}: its process ended with code {ending.exit_code}; was there enough memory?"
                ending = SubjectOutcome(str(subjects[index]), "failed", 0.0, message), ""
            yield index, ending


def _append_line(path: Path, line: str) -> None:
    with write_failures_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
