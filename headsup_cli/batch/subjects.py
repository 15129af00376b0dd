"""One subject or ten thousand: finding them, working on each, keeping a manifest."""

import json
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

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
    is_done: Callable[[Path], bool] = lambda subject: False,
) -> list[SubjectOutcome]:
    """Work on every subject; the failure of one stops no other.

    Every outcome is appended to `manifest` as soon as it is known. A single subject's error is raised as it is.

    Args:
        subjects: Folders, as from `expand_subjects`.
        work: Does the whole job for one subject; it shares nothing with the calls for others.
        manifest: The `manifest.jsonl` to append to.
        is_done: Whether a subject's result is there already and still valid.

    Returns:
        One outcome per subject, in order.
    """
    outcomes = []
    for subject in progress(subjects, "subjects"):
        start = time.perf_counter()
        status, message = _attempt(work, subject, is_done, alone=len(subjects) == 1)
        outcomes.append(SubjectOutcome(str(subject), status, round(time.perf_counter() - start, 3), message))
        _append_line(manifest, json.dumps(asdict(outcomes[-1]), ensure_ascii=False))
    return outcomes


def check_outcomes(outcomes: Sequence[SubjectOutcome], manifest: Path) -> None:
    """Raise CheckFailed, with the names, if any subject failed."""
    failed = [Path(outcome.subject).name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        named = ", ".join(failed[:_NAMED_FAILURES]) + (", …" if len(failed) > _NAMED_FAILURES else "")
        raise CheckFailed(f"{len(failed)} of {len(outcomes)} subjects failed ({named}); see {manifest}.")


def _attempt(
    work: Callable[[Path], None], subject: Path, is_done: Callable[[Path], bool], *, alone: bool
) -> tuple[Status, str]:
    try:
        if is_done(subject):
            return "skipped", ""
        work(subject)
    except Exception as error:
        if alone:
            raise
        if isinstance(error, HeadsupError):
            _logger.error("%s", error)
            return "failed", str(error)
        _logger.error("%s: a bug in headsup, please report it:\n%s", subject, traceback.format_exc())
        return "failed", f"bug: {error!r}"
    return "done", ""


def _append_line(path: Path, line: str) -> None:
    with write_failures_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
