"""Comma-separated numbers, told apart by their header, with errors that name line and column."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from headsup_cli.animation.curves import MAX_FRAMES
from headsup_cli.errors import InputError

MAX_BYTES = 512 * 2**20
_MAX_LINE = 100_000
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class TextTable:
    """Rows of text by column name, and the line of the file that each row stands on."""

    path: Path
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def texts(self, column: str) -> list[str]:
        """The cells of a column as they are written."""
        index = self.columns.index(column)
        return [row[index] for row in self.rows]

    def numbers(self, column: str) -> Float64[np.ndarray, " t"]:
        """The cells of a column as numbers.

        Raises:
            InputError: A cell is empty, no number or not finite.
        """
        index = self.columns.index(column)
        return np.array(
            [self._number(row[index], line, column) for row, line in zip(self.rows, self.lines, strict=True)]
        )

    def _number(self, text: str, line: int, column: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(
                self.path,
                field=f"line {line}, column {column}",
                found=f"'{text}'",
                expected="a finite number",
                remedy="correct the cell or remove the line",
            )
        return value


def read_lines(path: Path) -> list[str]:
    """The lines of a text file of bounded size.

    Raises:
        InputError: It is missing, too large, or not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(
                path, found="larger than 512 MiB", expected="a clip of curves", remedy="cut it into several"
            )
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(path, found="not text", expected="UTF-8", remedy="export it again as text") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def first_lines(path: Path, count: int) -> list[str]:
    """The first lines of a text file, without reading the rest; bytes that are no text are replaced.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return [file.readline(_MAX_LINE).rstrip("\r\n") for _ in range(count)]
    except OSError as error:
        raise _unreadable(path, error) from error


def read_text_table(path: Path) -> TextTable:
    """Read a table whose first line names the columns; blank lines are skipped.

    Raises:
        InputError: It cannot be read, has no rows or too many, or a row has more or fewer cells than the header.
    """
    text = read_lines(path)
    delimiter = max(_DELIMITERS, key=text[0].count) if text else ","
    try:
        cells = [(number, row) for number, row in enumerate(csv.reader(text, delimiter=delimiter), 1) if any(row)]
    except csv.Error as error:
        raise InputError(
            path, found=f"no table ({error})", expected="numbers", remedy="export the clip again"
        ) from error
    if not 2 <= len(cells) <= MAX_FRAMES:
        raise InputError(
            path,
            found=f"{max(0, len(cells) - 1)} rows under the header",
            expected=f"1 to {MAX_FRAMES}",
            remedy="export the clip again",
        )
    header = tuple(name.strip() for name in cells[0][1])
    for number, row in cells[1:]:
        if len(row) != len(header):
            raise InputError(
                path,
                field=f"line {number}",
                found=f"{len(row)} cells",
                expected=f"{len(header)} as in the header",
                remedy="correct or remove the line",
            )
    return TextTable(path, header, [row for _, row in cells[1:]], [number for number, _ in cells[1:]])


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        path, found=f"unreadable ({error.strerror})", expected="a clip of curves", remedy="check the path"
    )
