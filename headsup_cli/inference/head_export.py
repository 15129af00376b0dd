"""Heads in the formats that viewers and engines read; none gets its name before it was read back and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.errors import HeadsupError
from headsup_cli.gaussians.formats.compressed_ply import decode_compressed_ply, encode_compressed_ply
from headsup_cli.gaussians.formats.glb import decode_glb, encode_glb
from headsup_cli.gaussians.formats.splat import decode_splat, encode_splat
from headsup_cli.gaussians.formats.spz import decode_spz, encode_spz
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import read_ply, write_ply
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.rendering.render import render
from headsup_cli.runtime.atomic import atomic_path

_VIEWS, _SIZE_PX = 4, 256  # of the comparison


@dataclass(frozen=True)
class HeadFormat:
    """A file format of Gaussians, and how close to them its files have to come."""

    suffix: str
    write: Callable[[Path, Gaussians], None]
    read: Callable[[Path], Gaussians]
    least_psnr_db: float
    sh_degree: int = 3  # what it can hold


def _packed(
    suffix: str,
    encode: Callable[[Gaussians], bytes],
    decode: Callable[[bytes, Path], Gaussians],
    least_psnr_db: float,
    sh_degree: int = 3,
) -> HeadFormat:
    def write(path: Path, gaussians: Gaussians) -> None:
        path.write_bytes(encode(gaussians))

    return HeadFormat(suffix, write, lambda path: decode(path.read_bytes(), path), least_psnr_db, sh_degree)


FORMATS = {
    "ply": HeadFormat(".ply", write_ply, read_ply, 50.0),
    "compressed-ply": _packed(".compressed.ply", encode_compressed_ply, decode_compressed_ply, 38.0),
    "spz": _packed(".spz", encode_spz, decode_spz, 38.0),
    "glb": _packed(".glb", encode_glb, decode_glb, 50.0),
    "splat": _packed(".splat", encode_splat, decode_splat, 35.0, sh_degree=0),
}


def export_head(gaussians: Gaussians, path: Path, format: HeadFormat) -> float:
    """Write a head, read it back, render both and compare.

    Args:
        gaussians: In the head frame.
        path: Where to; it appears once the comparison has passed.
        format: One of `FORMATS`.

    Returns:
        The least PSNR of the views in dB, against the head with the harmonics that the format can hold.

    Raises:
        HeadsupError: What was read back looks otherwise.
    """
    kept = replace(gaussians, sh=gaussians.sh[:, : (format.sh_degree + 1) ** 2])
    with atomic_path(path) as temporary:
        format.write(temporary, kept)
        least_db = _likeness_db(format.read(temporary), kept)
        if least_db < format.least_psnr_db:
            raise HeadsupError(
                f"{path}: read back it renders at {least_db:.1f} dB from the head, expected at least "
                f"{format.least_psnr_db:g} dB; this is a fault of the writer, please report it."
            )
    return least_db


@torch.inference_mode()
def _likeness_db(again: Gaussians, gaussians: Gaussians) -> float:
    cameras = orbit(_VIEWS, _SIZE_PX, _SIZE_PX)
    one, other = (render(some, cameras).rgb.clamp(0, 1) for some in (again, gaussians))
    return float(psnr(one, other).min())
