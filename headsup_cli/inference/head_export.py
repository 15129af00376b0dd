"""Heads in the formats that viewers and engines read; none gets its name before it was read back and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.errors import HeadsupError
from headsup_cli.gaussians.formats.compressed_ply import decode_compressed_ply, encode_compressed_ply
from headsup_cli.gaussians.formats.glb import decode_glb, encode_glb
from headsup_cli.gaussians.formats.splat import decode_splat, encode_splat
from headsup_cli.gaussians.formats.splat_transform import read_html, read_sog, write_html, write_sog
from headsup_cli.gaussians.formats.spz import decode_spz, encode_spz
from headsup_cli.gaussians.formats.usd import read_usd, write_usd
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import UpAxis, read_ply, turn_over, write_ply
from headsup_cli.gaussians.transform import transform_gaussians
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.rendering.render import render
from headsup_cli.runtime.atomic import atomic_path

_VIEWS, _SIZE_PX = 4, 256  # of the comparison


@dataclass(frozen=True)
class Placement:
    """How a head stands in a file."""

    up: UpAxis | None = None  # what points up; None is what the format's readers expect
    scale: float = 1.0  # units of the file per metre


@dataclass(frozen=True)
class HeadFormat:
    """A file format of Gaussians, and how close to them its files have to come."""

    suffix: str
    write: Callable[[Path, Gaussians, Placement], None]
    read: Callable[[Path, Placement], Gaussians]
    least_psnr_db: float
    sh_degree: int = 3  # what it can hold


def export_head(gaussians: Gaussians, path: Path, format: HeadFormat, placement: Placement | None = None) -> float:
    """Write a head, read it back, render both and compare.

    Args:
        gaussians: In the head frame.
        path: Where to; it appears once the comparison has passed.
        format: One of `FORMATS`.
        placement: Up axis and scale of the file.

    Returns:
        The least PSNR of the views in dB, against the head with the harmonics that the format can hold.

    Raises:
        HeadsupError: What was read back looks otherwise.
        MissingDependencyError: The format needs something that is not installed.
    """
    placement = placement or Placement()
    kept = replace(gaussians, sh=gaussians.sh[:, : (format.sh_degree + 1) ** 2])
    with atomic_path(path) as temporary:
        format.write(temporary, kept, placement)
        least_db = _likeness_db(format.read(temporary, placement), kept)
        if least_db < format.least_psnr_db:
            raise HeadsupError(
                f"{path}: read back it renders at {least_db:.1f} dB from the head, expected at least "
                f"{format.least_psnr_db:g} dB; this is a fault of the writer, please report it."
            )
    return least_db


def _native(
    suffix: str,
    own_up: UpAxis,
    write: Callable[[Path, Gaussians], None],
    read: Callable[[Path], Gaussians],
    least_psnr_db: float,
    sh_degree: int = 3,
) -> HeadFormat:
    """A format whose functions know one world, in which `own_up` points up."""

    def write_placed(path: Path, gaussians: Gaussians, placement: Placement) -> None:
        write(path, transform_gaussians(gaussians, _file_from_own(own_up, placement)))

    def read_placed(path: Path, placement: Placement) -> Gaussians:
        return transform_gaussians(read(path), torch.linalg.inv(_file_from_own(own_up, placement)))

    return HeadFormat(suffix, write_placed, read_placed, least_psnr_db, sh_degree)


def _packed(
    suffix: str,
    own_up: UpAxis,
    encode: Callable[[Gaussians], bytes],
    decode: Callable[[bytes, Path], Gaussians],
    least_psnr_db: float,
    sh_degree: int = 3,
) -> HeadFormat:
    """A format that is encoded in memory."""

    def write(path: Path, gaussians: Gaussians) -> None:
        path.write_bytes(encode(gaussians))

    return _native(suffix, own_up, write, lambda path: decode(path.read_bytes(), path), least_psnr_db, sh_degree)


def _write_ply(path: Path, gaussians: Gaussians, placement: Placement) -> None:
    """PLY says itself what points up."""
    scaled = transform_gaussians(gaussians, _scaling(placement.scale))
    said = () if placement.scale == 1 else (f"scaled by {placement.scale:g}",)
    write_ply(path, scaled, up=placement.up or "-y", comments=said)


def _read_ply(path: Path, placement: Placement) -> Gaussians:
    return transform_gaussians(read_ply(path), _scaling(1 / placement.scale))


def _write_usd(path: Path, gaussians: Gaussians, placement: Placement) -> None:
    placed = transform_gaussians(gaussians, _file_from_own("+y", placement))
    write_usd(path, placed, metres_per_unit=1 / placement.scale)


def _read_usd(path: Path, placement: Placement) -> Gaussians:
    return transform_gaussians(read_usd(path), torch.linalg.inv(_file_from_own("+y", placement)))


FORMATS = {
    "ply": HeadFormat(".ply", _write_ply, _read_ply, 50.0),
    "compressed-ply": _packed(".compressed.ply", "-y", encode_compressed_ply, decode_compressed_ply, 38.0),
    "spz": _packed(".spz", "+y", encode_spz, decode_spz, 38.0),
    "spz-4": _packed(".spz", "+y", partial(encode_spz, version=4), decode_spz, 38.0),
    "glb": _packed(".glb", "+y", encode_glb, decode_glb, 50.0),
    "splat": _packed(".splat", "-y", encode_splat, decode_splat, 35.0, sh_degree=0),
    "usd": HeadFormat(".usd", _write_usd, _read_usd, 50.0),
    "sog": _native(".sog", "-y", write_sog, read_sog, 38.0),
    "html": _native(".html", "-y", write_html, read_html, 38.0),
}


def _file_from_own(own_up: UpAxis, placement: Placement) -> Float[Tensor, "4 4"]:
    turned = placement.up not in (None, own_up)
    return _scaling(placement.scale) @ (turn_over() if turned else torch.eye(4))


def _scaling(scale: float) -> Float[Tensor, "4 4"]:
    return torch.diag(torch.tensor([scale, scale, scale, 1.0]))


@torch.inference_mode()
def _likeness_db(again: Gaussians, gaussians: Gaussians) -> float:
    cameras = orbit(_VIEWS, _SIZE_PX, _SIZE_PX)
    one, other = (render(some, cameras).rgb.clamp(0, 1) for some in (again, gaussians))
    return float(psnr(one, other).min())
