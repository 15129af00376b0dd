"""Text that came with somebody's data: sized, decoded and parsed before anything else sees it."""

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from pydantic import BaseModel, ConfigDict

from headsup_cli.capture.confined_paths import confined
from headsup_cli.errors import InputError

_MAX_BYTES = 256 << 20
_MAX_XML_DEPTH = 100
_HEAD_BYTES = 1 << 16


class ForeignModel(BaseModel):
    """Base of what other programs write: what this one does not know is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


def head_of(path: Path) -> bytes:
    """The file's first 64 KiB, or nothing where there is no such file; to recognise it by."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def heads(folder: Path, *suffixes: str) -> Iterable[tuple[Path, bytes]]:
    """The files of a folder with these suffixes, by name, with what `head_of` says of them."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith("."):
            yield path, head_of(path)


def read_bytes(path: Path, folder: Path) -> bytes:
    """The content of a file that may not lie outside `folder`.

    Raises:
        InputError: It lies elsewhere, cannot be read, or is too large for a calibration.
    """
    try:
        with confined(path, folder).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise no_calibration(path, f"not readable ({error.strerror})") from error
    if len(content) > _MAX_BYTES:
        raise no_calibration(path, f"larger than {_MAX_BYTES >> 20} MiB")
    return content


def read_text(path: Path, folder: Path) -> str:
    """`read_bytes` as text: UTF-8, or UTF-16 where a byte order mark says so.

    Raises:
        InputError: As for `read_bytes`, or it is no text.
    """
    content = read_bytes(path, folder)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise no_calibration(path, "no text") from error


def read_xml(path: Path, folder: Path) -> ElementTree.Element:
    """Parse an XML file without document type, and so without entities of its own.

    Raises:
        InputError: As for `read_text`, or it is no such XML.
    """
    text = read_text(path, folder)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise no_calibration(path, "XML with a document type")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise no_calibration(path, f"no XML ({error})") from error
    depth, level = 0, [root]
    while level:
        depth, level = depth + 1, [child for element in level for child in element]
        if depth > _MAX_XML_DEPTH:
            raise no_calibration(path, "XML nested too deeply")
    return root


def numbers(text: str, count: int, source: object, field: str) -> list[float]:
    """So many finite numbers, separated by white space or commas.

    Raises:
        InputError: They are others.
    """
    try:
        values = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != count or not all(abs(value) < float("inf") for value in values):
        raise bad_field(source, field, repr(text[:60]), f"{count} finite number{'s' if count > 1 else ''}")
    return values


def bad_field(source: object, field: str, found: str, expected: str) -> InputError:
    """The error for a value that is not what it should be."""
    return InputError(source, field=field, found=found, expected=expected, remedy="export the calibration again")


def no_calibration(path: Path, found: str) -> InputError:
    """The error for a file that is not what it should be."""
    return InputError(path, found=found, expected="a calibration", remedy="export it again")
