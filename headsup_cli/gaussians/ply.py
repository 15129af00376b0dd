"""Plain 3DGS PLY: the layout of INRIA's reference code, which every viewer opens.

Files in the wild live in a world whose y axis points down (COLMAP, OpenCV); viewers turn them over on load. So a head
is written turned by 180 degrees about x, and says so in a comment; a file without the comment is taken to be the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.transform import transform_gaussians
from headsup_cli.runtime.atomic import atomic_path

UpAxis = Literal["+y", "-y"]
MAX_GAUSSIANS = 50_000_000
MAX_HEADER_BYTES = 64 * 1024
_LOGIT_LIMIT = 1e-6  # opacities are kept this far from 0 and 1, where the logit is infinite
_REST_COUNTS = {0: 0, 9: 1, 24: 2, 45: 3}  # number of f_rest properties: degree
_TYPES = {
    **dict.fromkeys(("float", "float32"), "<f4"),
    **dict.fromkeys(("double", "float64"), "<f8"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("ushort", "uint16"), "<u2"),
    **dict.fromkeys(("short", "int16"), "<i2"),
    **dict.fromkeys(("uint", "uint32"), "<u4"),
    **dict.fromkeys(("int", "int32"), "<i4"),
}


def turn_over() -> torch.Tensor:
    """The rotation by 180 degrees about x that takes a y-up world to a y-down one, and back. [4, 4]."""
    return torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


def write_ply(path: Path, gaussians: Gaussians, *, up: UpAxis = "-y", comments: tuple[str, ...] = ()) -> None:
    """Write Gaussians given in a y-up frame, atomically.

    Args:
        path: Where to; replaced only when the new file is complete.
        gaussians: In the head frame (y up, metres).
        up: Which way up points in the file; "-y" opens upright in the common viewers.
        comments: Provenance lines for the header (ASCII, no line breaks).

    Raises:
        InputError: An attribute holds NaN or infinity.
    """
    if up == "-y":
        gaussians = transform_gaussians(gaussians, turn_over())
    columns = _columns(gaussians.detach().to("cpu"))
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise InputError(
                path,
                field=name,
                found="not finite",
                expected="finite numbers",
                remedy="drop the broken Gaussians first",
            )
    header = ["ply", "format binary_little_endian 1.0", f"comment up {up}", "comment unit m"]
    header += [f"comment {line}" for line in comments]
    header += [f"element vertex {len(gaussians)}", *(f"property float {name}" for name in columns), "end_header", ""]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(header).encode("ascii", "replace"))
        file.write(np.stack(list(columns.values()), 1).astype("<f4").tobytes())


def read_ply(path: Path) -> Gaussians:
    """Read a 3DGS PLY of degree 0 to 3 into a y-up frame.

    Properties are found by name, in any order and of any scalar type; normals and unknown properties are ignored. A
    comment `up +y` says that the file is y-up already.

    Raises:
        InputError: Not a binary little-endian PLY of 3D Gaussians, cut short, or holding NaN or infinity
            (but for opacities).
    """
    header, body_start = _read_header(path)
    count, dtype = _vertex_layout(path, header)
    missing = [name for name in _required_names() if name not in (dtype.names or ())]
    if missing:
        raise InputError(
            path,
            field="header",
            found=f"without property {missing[0]}",
            expected="the properties of a 3D Gaussian splat (x y z f_dc_* opacity scale_* rot_*)",
            remedy="export it as a 3DGS PLY",
        )
    size = path.stat().st_size - body_start
    if size < count * dtype.itemsize:
        raise InputError(
            path, found=f"{size} bytes of vertices", expected=f"{count * dtype.itemsize}", remedy="copy the file again"
        )
    vertices = np.fromfile(path, dtype, count, offset=body_start)
    gaussians = _gaussians(path, vertices)
    return gaussians if "comment up +y" in header else transform_gaussians(gaussians, turn_over())


def _columns(gaussians: Gaussians) -> dict[str, np.ndarray]:
    """Property name to values [n], in INRIA's order; f_rest is channel-major."""
    opacity = gaussians.opacities.clamp(_LOGIT_LIMIT, 1 - _LOGIT_LIMIT)
    quats = torch.nn.functional.normalize(gaussians.quats, dim=-1)
    rest = gaussians.sh[:, 1:].mT.flatten(1)  # [n, 3 (k - 1)]
    groups = {
        ("x", "y", "z"): gaussians.means,
        ("nx", "ny", "nz"): torch.zeros_like(gaussians.means),
        ("f_dc_0", "f_dc_1", "f_dc_2"): gaussians.sh[:, 0],
        tuple(f"f_rest_{i}" for i in range(rest.shape[1])): rest,
        ("opacity",): torch.logit(opacity)[:, None],
        ("scale_0", "scale_1", "scale_2"): gaussians.scales.clamp_min(1e-12).log(),
        ("rot_0", "rot_1", "rot_2", "rot_3"): quats,
    }
    return {
        name: column for names, values in groups.items() for name, column in zip(names, values.numpy().T, strict=True)
    }


def _required_names() -> list[str]:
    indexed = [f"{stem}_{i}" for stem, n in (("f_dc", 3), ("scale", 3), ("rot", 4)) for i in range(n)]
    return ["x", "y", "z", *indexed, "opacity"]


def _read_header(path: Path) -> tuple[list[str], int]:
    """Header lines without the end marker, and the offset of the first vertex."""
    try:
        with path.open("rb") as file:
            start = file.read(MAX_HEADER_BYTES)
    except OSError as error:
        raise InputError(
            path, found=error.strerror or "unreadable", expected="a PLY file", remedy="check the path"
        ) from error
    marker = start.find(b"end_header\n")
    if not start.startswith(b"ply\n") or marker < 0:
        raise InputError(
            path, found="no PLY header", expected="a 3DGS PLY file", remedy="give a binary .ply of Gaussians"
        )
    return start[:marker].decode("ascii", "replace").splitlines(), marker + len(b"end_header\n")


def _vertex_layout(path: Path, header: list[str]) -> tuple[int, np.dtype]:
    """Number of vertices and their record type."""
    if "format binary_little_endian 1.0" not in header:
        raise InputError(
            path, field="format", found=header[1] if len(header) > 1 else "absent",
            expected="binary_little_endian 1.0", remedy="export it as a binary PLY",
        )  # fmt: skip
    elements = [i for i, line in enumerate(header) if line.startswith("element ")]
    words = header[elements[0]].split() if elements else []
    count = words[2] if len(words) == 3 and words[2].isdigit() and len(words[2]) < 12 else "-1"
    if words[1:2] != ["vertex"] or not 0 <= int(count) <= MAX_GAUSSIANS:
        raise InputError(
            path, field="element", found=" ".join(words)[:60] or "absent",
            expected=f"element vertex N first, N at most {MAX_GAUSSIANS}", remedy="give a plain 3DGS PLY",
        )  # fmt: skip
    end = elements[1] if len(elements) > 1 else len(header)
    properties = [line.split() for line in header[elements[0] : end] if line.startswith("property")]
    names = [prop[-1] for prop in properties]
    bad = [prop for prop in properties if len(prop) != 3 or prop[1] not in _TYPES]
    if bad or len(set(names)) != len(names):
        raise InputError(
            path, field="property", found=" ".join(bad[0]) if bad else "repeated",
            expected="distinct scalar properties", remedy="give a plain 3DGS PLY",
        )  # fmt: skip
    return int(count), np.dtype([(prop[2], _TYPES[prop[1]]) for prop in properties])


def _gaussians(path: Path, vertices: np.ndarray) -> Gaussians:
    """The vertices' attributes in linear units, still in the file's frame."""
    rest = [name for name in vertices.dtype.names or () if name.startswith("f_rest_")]
    if len(rest) not in _REST_COUNTS or set(rest) != {f"f_rest_{i}" for i in range(len(rest))}:
        raise InputError(
            path, field="f_rest", found=f"{len(rest)} properties", expected="f_rest_0 on, 0, 9, 24 or 45 of them",
            remedy="export it again",
        )  # fmt: skip

    def stack(names: list[str]) -> torch.Tensor:
        if not names:
            return torch.zeros(len(vertices), 0)
        values = np.stack([vertices[name] for name in names], 1).astype(np.float32)
        if np.isnan(values).any() or (names != ["opacity"] and np.isinf(values).any()):  # an infinite logit is 0 or 1
            raise InputError(
                path, field=names[0], found="not finite", expected="finite numbers", remedy="drop the broken Gaussians"
            )
        return torch.from_numpy(values)

    scales = stack([f"scale_{i}" for i in range(3)]).exp()
    if torch.isinf(scales).any():
        raise InputError(
            path, field="scale", found="beyond all numbers", expected="logarithms of scales", remedy="export it again"
        )
    coefficients = stack([f"f_rest_{i}" for i in range(len(rest))]).unflatten(1, (3, len(rest) // 3)).mT
    return Gaussians(
        means=stack(["x", "y", "z"]),
        quats=stack([f"rot_{i}" for i in range(4)]),
        scales=scales,
        opacities=torch.sigmoid(stack(["opacity"])[:, 0]),
        sh=torch.cat([stack([f"f_dc_{i}" for i in range(3)])[:, None], coefficients], 1),
    )
