"""Niantic's SPZ: version 3, which every reader knows, and version 4; its world is y-up, as the head frame.

Both hold the same columns: version 3 in one gzip stream with the header, version 4 in a zstandard stream each.

Source: github.com/nianticlabs/spz, README and load-spz.cc.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8

from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.gaussians.formats.quantisation import (
    SQRT_HALF,
    from_largest_component,
    largest_component,
    to_bytes,
)
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import MAX_GAUSSIANS

_MAGIC = 0x5053474E
_HEADER = struct.Struct("<3I4B")
_HEADER_4 = struct.Struct("<3I4BI12x")  # the last two: number of streams, where the table of their sizes is
_SIZES_4 = struct.Struct("<2Q")  # of one stream: compressed, plain
_COLOUR_SCALE = 0.15
_MOST_FRACTIONAL_BITS = 18
_SH_BITS = (5, 4, 4)  # by degree, from 1
_BYTES = {"positions": 9, "alphas": 1, "colours": 3, "scales": 3, "rotations": 4}  # of each Gaussian


def encode_spz(gaussians: Gaussians, version: Literal[3, 4] = 3) -> bytes:
    """The file's content for Gaussians in the head frame.

    Raises:
        MissingDependencyError: Version 4 without the package zstandard.
    """
    bits, columns = _columns(gaussians)
    facts = len(gaussians), gaussians.sh_degree, bits, 0
    if version == 3:
        return gzip.compress(_HEADER.pack(_MAGIC, 3, *facts, 0) + b"".join(columns), mtime=0)
    compressor = _zstandard().ZstdCompressor(level=12)
    streams = [compressor.compress(column) for column in columns if column]
    sizes = [_SIZES_4.pack(len(stream), len(column)) for stream, column in zip(streams, columns, strict=False)]
    header = _HEADER_4.pack(_MAGIC, 4, *facts, len(streams), _HEADER_4.size)
    return header + b"".join(sizes) + b"".join(streams)


def _columns(gaussians: Gaussians) -> tuple[int, list[bytes]]:
    """Fractional bits of the positions, and the attributes in the file's order; the last is empty without harmonics."""
    means = gaussians.means.double().numpy()
    bits = int(np.clip(22 - np.ceil(np.log2(np.abs(means).max(initial=1e-3) + 1e-9)), 0, _MOST_FRACTIONAL_BITS))
    fixed = np.round(means * (1 << bits)).astype(np.int32)
    columns = [
        fixed.astype("<i4").view(np.uint8).reshape(-1, 3, 4)[..., :3],
        to_bytes(gaussians.opacities.double().numpy() * 255).clip(1, 254),  # readers take logits: 0 and 255 have none
        to_bytes(gaussians.sh[:, 0].double().numpy() * _COLOUR_SCALE * 255 + 127.5),
        to_bytes((gaussians.scales.double().clamp_min(1e-12).log().numpy() + 10) * 16),
        _packed_rotations(gaussians.quats.double().numpy()),
        _packed_sh(gaussians.sh[:, 1:].double().numpy()),
    ]
    return bits, [np.ascontiguousarray(column).tobytes() for column in columns]


def decode_spz(content: bytes, source: Path) -> Gaussians:
    """Gaussians in the head frame.

    Raises:
        InputError: Not SPZ of version 3 or 4, damaged, or with more than `MAX_GAUSSIANS`.
        MissingDependencyError: Version 4 without the package zstandard.
    """
    try:
        unpack = _unpacked_4 if content[:8] == struct.pack("<2I", _MAGIC, 4) else _unpacked_3
        count, bits, body = unpack(content)
    except (zlib.error, struct.error, ValueError) as error:
        raise InputError(source, found=str(error), expected="SPZ version 3 or 4", remedy="export it again") from error
    ends = np.cumsum([count * width for width in _BYTES.values()])
    positions, alphas, colours, scales, rotations, sh = np.split(body, ends)
    fixed = np.zeros((count * 3, 4), np.uint8)
    fixed[:, 1:] = positions.reshape(-1, 3)  # as the upper bytes, so that the sign is extended
    means = (fixed.view("<i4").reshape(count, 3) >> 8) / (1 << bits)
    dc = (colours.reshape(count, 1, 3) - 127.5) / 255 / _COLOUR_SCALE
    rest = (sh.reshape(count, -1, 3).astype(np.float64) - 128) / 128

    def tensor(values: Float[np.ndarray, "..."]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32))

    return Gaussians(
        means=tensor(means),
        quats=tensor(_unpacked_rotations(rotations.reshape(count, 4))),
        scales=tensor(np.exp(scales.reshape(count, 3) / 16.0 - 10)),
        opacities=tensor(alphas / 255),
        sh=tensor(np.concatenate([dc, rest], 1)),
    )


def _unpacked_3(content: bytes) -> tuple[int, int, UInt8[np.ndarray, " b"]]:
    """Count, fractional bits and all columns."""
    inflater = zlib.decompressobj(wbits=31)
    magic, version, count, degree, bits, _, _ = _HEADER.unpack(inflater.decompress(content, _HEADER.size))
    size = _body_size(magic, version == 3, count, degree)
    body = inflater.decompress(inflater.unconsumed_tail, size + 1)
    if len(body) != size or not inflater.eof:
        raise ValueError("cut short")
    return count, bits, np.frombuffer(body, np.uint8)


def _unpacked_4(content: bytes) -> tuple[int, int, UInt8[np.ndarray, " b"]]:
    """Count, fractional bits and all columns."""
    zstandard = _zstandard()
    magic, version, count, degree, bits, _, streams, table = _HEADER_4.unpack_from(content)
    size = _body_size(magic, version == 4, count, degree)
    sizes = [_SIZES_4.unpack_from(content, table + index * _SIZES_4.size) for index in range(streams)]
    if sum(plain for _, plain in sizes) != size:
        raise ValueError("streams of other sizes")
    body, start = b"", table + streams * _SIZES_4.size
    try:
        for compressed, plain in sizes:
            stream = content[start : start + compressed]
            body += zstandard.ZstdDecompressor().decompressobj(read_across_frames=False).decompress(stream)[: plain + 1]
            start += compressed
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    if len(body) != size:
        raise ValueError("cut short")
    return count, bits, np.frombuffer(body, np.uint8)


def _body_size(magic: int, version_fits: bool, count: int, degree: int) -> int:
    if magic != _MAGIC or not version_fits or count > MAX_GAUSSIANS or degree > 3:
        raise ValueError("another layout or version")
    return count * (sum(_BYTES.values()) + 3 * ((degree + 1) ** 2 - 1))


def _zstandard() -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        raise MissingDependencyError(
            "SPZ version 4 needs the package zstandard; pip install 'headsup-cli[spz]', or write version 3."
        ) from error
    return zstandard


def _packed_rotations(quats: Float[np.ndarray, "n 4"]) -> UInt8[np.ndarray, "n 4"]:
    """32 bits: index of the largest of xyzw, then sign and nine bits of magnitude of the others."""
    largest, others = largest_component(quats[:, [1, 2, 3, 0]])
    magnitude = np.clip(np.floor(511 * np.abs(others) / SQRT_HALF + 0.5), 0, 511).astype(np.uint32)
    packed = largest.astype(np.uint32)
    for column in range(3):
        negative = (others[:, column] < 0).astype(np.uint32)
        packed = packed << np.uint32(10) | negative << np.uint32(9) | magnitude[:, column]
    return packed.astype("<u4").view(np.uint8).reshape(-1, 4)


def _unpacked_rotations(packed: UInt8[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    bits = np.ascontiguousarray(packed).view("<u4")[:, 0]
    fields = np.stack([bits >> np.uint32(20), bits >> np.uint32(10), bits], 1)
    magnitude = (fields & np.uint32(511)) * SQRT_HALF / 511
    others = np.where(fields >> np.uint32(9) & np.uint32(1), -magnitude, magnitude)
    return from_largest_component((bits >> np.uint32(30)).astype(np.int64), others)[:, [3, 0, 1, 2]]


def _packed_sh(sh: Float[np.ndarray, "n k 3"]) -> UInt8[np.ndarray, "n k 3"]:
    """Eight bits, of which the lowest are rounded away."""
    step = np.concatenate([np.full(2 * degree + 1, 1 << (8 - bits)) for degree, bits in enumerate(_SH_BITS, 1)])
    step = step[: sh.shape[1], None]
    whole = np.round(sh * 128) + 128
    return np.clip(np.floor((whole + step // 2) / step) * step, 0, 255).astype(np.uint8)
