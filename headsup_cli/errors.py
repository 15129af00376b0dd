"""The errors a user can do something about; `app.py` alone turns them into exit codes."""

from functools import partial
from typing import Any


class HeadsupError(Exception):
    """A failure that is not a bug: the message is one sentence a user can act on."""

    exit_code = 2


class InputError(HeadsupError):
    """Input that cannot be used, told in one sentence.

    Args:
        source: The file or folder at fault, as the user knows it.
        field: The field, key or property inside it, or "" where the file as a whole is at fault.
        found: What was there.
        expected: What should have been there.
        remedy: What to do about it, as an imperative clause without a full stop.
    """

    def __init__(self, source: object, *, field: str = "", found: str, expected: str, remedy: str) -> None:
        self.source, self.field, self.found, self.expected, self.remedy = source, field, found, expected, remedy
        where = f"{source}: {field}" if field else f"{source}:"
        super().__init__(f"{where} {'is ' if field else ''}{found}, expected {expected}; {remedy}.")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by keyword, so that the error reaches the parent of a worker process."""
        details = {name: getattr(self, name) for name in ("field", "found", "expected", "remedy")}
        return partial(type(self), **details), (self.source,)


class MissingDependencyError(HeadsupError):
    """Something outside this package is absent (a system library, an extra, a program)."""


class CheckFailed(HeadsupError):  # noqa: N818 - an answer, not an error
    """The command did its work and the answer is no (some subjects failed, a check did not pass)."""

    exit_code = 1
