"""Still images on disk: size-checked before decoding, RGB in memory, written atomically.

Pixels are taken as stored. An EXIF orientation tag is not applied, because a camera's calibration speaks of the
sensor's pixels and a camera held on its side has that rotation in R. Colour profiles are not applied either: values
are sRGB.
"""

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt8

from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.media.opencv import cv2
from headsup_cli.runtime.atomic import atomic_write_bytes

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")  # read and written
READABLE_SUFFIXES = (*IMAGE_SUFFIXES, ".avif")
MAX_PIXELS = 200_000_000
_MAX_FILE_BYTES = 2**31
_MAX_JPEG_SEGMENTS = 10_000
_MAX_TIFF_TAGS = 4096
_MAX_AVIF_BOXES = 100
_MAX_AVIF_META_BYTES = 1 << 20
_TAIL_BYTES = 65_536


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read a picture as 8-bit sRGB.

    Gray is expanded, alpha dropped, 16 bits are rounded to 8.

    Raises:
        InputError: The file is missing, damaged, of another format, or larger than `MAX_PIXELS`.
    """
    return to_rgb8(decode_file(path))


def to_rgb8(stored: Shaped[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit sRGB from what `decode_image` returns."""
    if stored.dtype == np.uint16:
        stored = ((stored.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if stored.ndim == 2:
        return cv2.cvtColor(stored, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(stored, cv2.COLOR_BGRA2RGB if stored.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def read_mask(path: Path) -> Float32[np.ndarray, "h w"]:
    """Read a mask as coverage in [0, 1], white being the subject.

    A mask that holds nothing but 0 and 1 of its 8 or 16 bits is taken for labels, 1 being the subject.

    Raises:
        InputError: As for `read_image`.
    """
    return to_coverage(decode_file(path))


def to_coverage(stored: Shaped[np.ndarray, "h w *c"]) -> Float32[np.ndarray, "h w"]:
    """Coverage from what `decode_image` returns, as `read_mask` has it."""
    if stored.ndim == 3:
        stored = cv2.cvtColor(stored, cv2.COLOR_BGRA2GRAY if stored.shape[2] == 4 else cv2.COLOR_BGR2GRAY)
    white = 1 if stored.max(initial=0) <= 1 else np.iinfo(stored.dtype).max
    return stored.astype(np.float32) / white


def read_image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) in pixels from a picture's header, without decoding it.

    Raises:
        InputError: The file is missing, has no readable header, or announces more than `MAX_PIXELS`.
    """
    try:
        with path.open("rb") as file:
            return image_size(file, path)
    except OSError as error:
        raise _unreadable(path, f"not readable ({error.strerror})") from error


def image_size(file: io.BufferedIOBase, source: object) -> tuple[int, int]:
    """`read_image_size` of an open, seekable file; `source` names it in messages."""
    try:
        width, height = _size_in_header(file)
    except (struct.error, KeyError, ValueError, OverflowError) as error:
        raise _unreadable(source, "without a readable PNG, JPEG, TIFF, WebP or AVIF header") from error
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(
            source,
            found=f"{width} x {height} pixels",
            expected=f"at least one pixel and at most {MAX_PIXELS // 10**6} million",
            remedy="scale it down, and its camera's calibration with it",
        )
    return width, height


def has_alpha(path: Path) -> bool:
    """Whether the file is a PNG with an alpha channel, by its header."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError:
        return False
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[25:26] in (b"\x04", b"\x06")


def write_image(
    path: Path,
    image: UInt8[np.ndarray, "h w c"] | UInt8[np.ndarray, "h w"],
    *,
    jpeg_quality: int = 95,
    webp_quality: int = 101,
) -> None:
    """Write RGB, RGBA or gray atomically, in the format that the suffix names.

    Args:
        path: Where to; one of `IMAGE_SUFFIXES`.
        image: sRGB values, channels last.
        jpeg_quality: 0 to 100, for JPEG only.
        webp_quality: 1 to 100, for WebP only; above 100 it is lossless.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(
            path, found=f"a name ending in '{path.suffix}'", expected=" or ".join(IMAGE_SUFFIXES), remedy="rename it"
        )
    stored = image
    if image.ndim == 3:
        stored = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, webp_quality],
    }.get(path.suffix.lower(), [])
    atomic_write_bytes(path, cv2.imencode(path.suffix, stored, options)[1].tobytes())


def to_8bit(image: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Quantise values in [0, 1], clamping what lies outside."""
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def decode_file(path: Path) -> Shaped[np.ndarray, "h w *c"]:
    """Decode a picture as stored: BGR, BGRA or gray, 8 or 16 bits.

    Raises:
        InputError: As for `read_image`.
    """
    read_image_size(path)
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise _unreadable(path, f"larger than {_MAX_FILE_BYTES >> 30} GiB")
    return decode_image(path.read_bytes(), path)


def decode_image(encoded: bytes, source: object) -> Shaped[np.ndarray, "h w *c"]:
    """`decode_file` of a picture's bytes; `source` names it in messages."""
    width, height = image_size(io.BytesIO(encoded), source)
    if not _has_end(encoded):
        raise _unreadable(source, "truncated")
    try:  # IMREAD_UNCHANGED also means: EXIF orientation not applied
        stored = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    if stored is None and _is_avif(encoded):
        stored = _decode_avif(encoded)
    if stored is None or stored.shape[:2] != (height, width):
        raise _unreadable(source, "damaged")
    if stored.dtype not in (np.uint8, np.uint16):
        raise _unreadable(source, f"stored as {stored.dtype}")
    return stored


def _decode_avif(encoded: bytes) -> UInt8[np.ndarray, "h w c"] | None:
    """Decode by Pillow, for builds of OpenCV without AVIF; None where the picture is damaged."""
    if cv2.haveImageWriter(".avif"):
        return None
    try:
        from PIL import Image, features

        supported = features.check("avif")
    except ImportError:
        supported = False
    if not supported:
        raise MissingDependencyError("AVIF pictures need Pillow 11.3 or newer; pip install 'headsup-cli[avif]'.")
    try:
        with Image.open(io.BytesIO(encoded), formats=("AVIF",)) as picture:
            pixels = np.asarray(picture.convert("RGBA" if picture.has_transparency_data else "RGB"))
    except (OSError, ValueError, SyntaxError):
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)


def _has_end(encoded: bytes) -> bool:
    # OpenCV 4 fills a truncated JPEG up with gray and calls it read; some cameras append data behind the end mark.
    end_mark = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND"}.get(encoded[:2], b"")
    return end_mark in encoded[-_TAIL_BYTES:]


def _unreadable(source: object, found: str) -> InputError:
    return InputError(
        source, found=found, expected="a complete 8 or 16-bit picture", remedy="export it again or leave it out"
    )


def _size_in_header(file: io.BufferedIOBase) -> tuple[int, int]:
    magic = file.read(16)
    file.seek(0)
    if magic.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_size(file)
    if magic.startswith(b"\xff\xd8"):
        return _jpeg_size(file)
    if magic.startswith(b"RIFF") and magic[8:12] == b"WEBP":
        return _webp_size(file)
    if _is_avif(magic):
        return _avif_size(file)
    return _tiff_size(file)


def _is_avif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1")


def _unpack(file: io.BufferedIOBase, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _png_size(file: io.BufferedIOBase) -> tuple[int, int]:
    width, height = _unpack(file, ">16x2I")  # signature, then the IHDR chunk
    return width, height


def _jpeg_size(file: io.BufferedIOBase) -> tuple[int, int]:
    file.seek(2)
    for _ in range(_MAX_JPEG_SEGMENTS):
        marker, length = _unpack(file, ">2H")
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):  # a start of frame
            height, width = _unpack(file, ">x2H")
            return width, height
        if marker < 0xFFC0:
            break
        file.seek(length - 2, 1)
    raise ValueError("no start of frame")


def _webp_size(file: io.BufferedIOBase) -> tuple[int, int]:
    chunk = file.read(30)
    if chunk[12:16] == b"VP8 ":
        width, height = struct.unpack("<2H", chunk[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if chunk[12:16] == b"VP8L":
        (bits,) = struct.unpack("<I", chunk[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk[12:16] == b"VP8X" and len(chunk) == 30:
        return int.from_bytes(chunk[24:27], "little") + 1, int.from_bytes(chunk[27:30], "little") + 1
    raise ValueError("no known WebP chunk")


def _avif_size(file: io.BufferedIOBase) -> tuple[int, int]:
    """The largest of the sizes that an ISO base media file gives for its images (ispe boxes: ISO/IEC 23008-12)."""
    for _ in range(_MAX_AVIF_BOXES):
        length, kind = _unpack(file, ">I4s")
        if kind == b"meta":
            break
        file.seek(length - 8, 1)
    properties = file.read(min(length, _MAX_AVIF_META_BYTES))
    found = (properties[match.end() : match.end() + 12] for match in re.finditer(rb"\x00\x00\x00\x14ispe", properties))
    sizes = [struct.unpack(">4x2I", box) for box in found]
    return max(sizes, key=lambda size: size[0] * size[1])


def _tiff_size(file: io.BufferedIOBase) -> tuple[int, int]:
    order = {b"II": "<", b"MM": ">"}[file.read(2)]
    (version,) = _unpack(file, order + "H")
    if version == 42:
        directory, counter, entry, short_tail, long_tail = _unpack(file, order + "I")[0], "H", "2HI", "H2x", "I"
    elif version == 43:  # BigTIFF
        directory, counter, entry = _unpack(file, order + "4xQ")[0], "Q", "2HQ"
        short_tail, long_tail = "H6x", "I4x"
    else:
        raise ValueError("no TIFF version")
    file.seek(directory)
    found: dict[int, int] = {}
    for _ in range(min(_unpack(file, order + counter)[0], _MAX_TIFF_TAGS)):
        tag, value_type, _count = _unpack(file, order + entry)
        tail = file.read(struct.calcsize(order + long_tail))
        if tag in (256, 257):
            found[tag] = struct.unpack(order + (short_tail if value_type == 3 else long_tail), tail)[0]
    return found[256], found[257]
