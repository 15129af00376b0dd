"""Pictures wherever a rig stored them, read by one name."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from headsup_cli.errors import InputError
from headsup_cli.media.colour_correction import ColourCorrection
from headsup_cli.media.images import decode_file, decode_image, image_size, read_image_size, to_coverage, to_rgb8
from headsup_cli.media.opencv import cv2
from headsup_cli.media.video import read_video_frame, read_video_info

_MAX_MEMBER_BYTES = 512 << 20
_MAX_MEMBERS = 1_000_000


@dataclass(frozen=True)
class Picture:
    """Where a picture is stored, and what is done to it on reading."""

    path: Path
    member: str | None = None  # of the zip archive at `path`
    video_frame: int | None = None  # of the video at `path`, counted from 0
    coverage: Literal["brightness", "alpha"] | tuple[int, ...] = "brightness"  # as a mask; numbers: subject's labels
    colour: ColourCorrection | None = None
    size: tuple[int, int] | None = None  # width and height that it is scaled to; None leaves its own

    def __str__(self) -> str:
        if self.video_frame is not None:
            return f"{self.path} frame {self.video_frame}"
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"


def read_picture(picture: Picture) -> UInt8[np.ndarray, "h w 3"]:
    """Read as 8-bit sRGB, colour corrected and scaled as the picture says.

    Raises:
        InputError: It is missing, damaged, of an unknown format or too large.
        MissingDependencyError: It is AVIF and nothing here decodes that.
    """
    pixels = _scaled(to_rgb8(_decode(picture)), picture)
    return pixels if picture.colour is None else picture.colour.apply(pixels)


def read_mask_picture(picture: Picture) -> Float32[np.ndarray, "h w"]:
    """Read as coverage in [0, 1], white being the subject.

    Raises:
        InputError: As for `read_picture`, or it has no alpha channel where that is the mask.
    """
    stored = _decode(picture)
    if picture.coverage == "alpha":
        if stored.ndim != 3 or stored.shape[2] != 4:
            raise InputError(
                picture, found="without alpha channel", expected="one, as the mask", remedy="export it as RGBA"
            )
        stored = np.ascontiguousarray(stored[..., 3])
    elif not isinstance(picture.coverage, str):
        labels = stored if stored.ndim == 2 else stored[..., 0]
        return _scaled(np.isin(labels, picture.coverage).astype(np.float32), picture)
    return _scaled(to_coverage(stored), picture)


def picture_size(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels as read, without decoding.

    Raises:
        InputError: As for `read_picture`.
    """
    if picture.size is not None:
        return picture.size
    if picture.video_frame is not None:
        info = read_video_info(picture.path)
        return info.width, info.height
    if picture.member is None:
        return read_image_size(picture.path)
    with _opened_member(picture) as file:
        return image_size(file, picture)


def archive_members(path: Path) -> list[str]:
    """Names of the files in a zip archive.

    Raises:
        InputError: It is missing, damaged, or holds too many.
    """
    with _archive_failures_told(path), zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if len(names) > _MAX_MEMBERS:
        raise _bad_archive(path, f"{len(names)} files")
    return names


def _decode(picture: Picture) -> Shaped[np.ndarray, "h w *c"]:
    if picture.video_frame is not None:
        return cv2.cvtColor(read_video_frame(picture.path, picture.video_frame), cv2.COLOR_RGB2BGR)
    if picture.member is None:
        return decode_file(picture.path)
    with _opened_member(picture) as file:
        image_size(file, picture)  # a bomb is no picture, which its first bytes tell
        file.seek(0)
        encoded = file.read(_MAX_MEMBER_BYTES + 1)
    return decode_image(encoded, picture)


@contextmanager
def _opened_member(picture: Picture) -> Iterator[zipfile.ZipExtFile]:
    """A member of an archive whose announced size is bounded, which zipfile holds it to."""
    member = picture.member or ""
    with _archive_failures_told(picture), zipfile.ZipFile(picture.path) as archive:
        announced = archive.getinfo(member).file_size
        if announced > _MAX_MEMBER_BYTES:
            raise _bad_archive(picture, f"{announced >> 20} MiB once unpacked")
        with archive.open(member) as file:
            yield file  # type: ignore[misc]


@contextmanager
def _archive_failures_told(source: object) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise _bad_archive(source, "not in its archive") from error
    except OSError as error:
        raise _bad_archive(source, f"not readable ({error.strerror or error})") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise _bad_archive(source, f"damaged ({error})") from error


def _bad_archive(source: object, found: str) -> InputError:
    return InputError(
        source,
        found=found,
        expected=f"pictures of at most {_MAX_MEMBER_BYTES >> 20} MiB in a zip archive",
        remedy="fetch the archive again or leave it out",
    )


def _scaled(pixels: Shaped[np.ndarray, "h w *c"], picture: Picture) -> Shaped[np.ndarray, "h2 w2 *c"]:
    if picture.size is None or pixels.shape[1::-1] == picture.size:
        return pixels
    shrinks = picture.size[0] < pixels.shape[1]
    return cv2.resize(pixels, picture.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
