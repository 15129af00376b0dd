"""What the commands say: results on stdout, everything else on stderr."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class _MessageHandler(logging.Handler):
    """Prints `headsup: warning: …` from any library and plain lines of our own, clear of a running progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        label = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        _print_on_stderr(f"headsup: {label}{record.getMessage()}")


@contextmanager
def messages_on_stderr() -> Iterator[None]:
    """Send log records to stderr while inside: ours from INFO on, those of libraries from WARNING on.

    Python warnings are written by developers for developers, so they show under `HEADSUP_DEBUG` only. Whoever runs a
    command line from Python finds its own logging as it was afterwards, whatever `be_quiet` has changed.
    """
    root, ours = logging.getLogger(), logging.getLogger("headsup_cli")
    handlers, levels = root.handlers, (root.level, ours.level)
    root.handlers = [_MessageHandler()]
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            if not os.environ.get("HEADSUP_DEBUG"):
                warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers = handlers
        for logger, level in zip((root, ours), levels, strict=True):
            logger.setLevel(level)


def be_quiet() -> None:
    """Leave out stages and progress, keep warnings and errors."""
    logging.getLogger("headsup_cli").setLevel(logging.WARNING)


def report_error(sentence: str) -> None:
    """Print `headsup: error: …` as one line on stderr."""
    _print_on_stderr("headsup: error: " + " ".join(sentence.splitlines()))


def print_json(result: Any) -> None:
    """Print a result for scripts, on stdout."""
    print(json.dumps(result, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a result for people, on stdout, in aligned columns."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_on_stderr(line: str) -> None:
    if "tqdm" in sys.modules:  # a bar may be on the screen
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)
