"""glTF binary with `KHR_gaussian_splatting`; glTF's world is the head frame's: y up, +z towards the viewer, metres.

Source: github.com/KhronosGroup/glTF, extensions/2.0/Khronos/KHR_gaussian_splatting.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from headsup_cli import __version__
from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import MAX_GAUSSIANS

EXTENSION = "KHR_gaussian_splatting"
_GLB, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_FLOAT, _ARRAY_BUFFER, _POINTS = 5126, 34962, 0


def encode_glb(gaussians: Gaussians) -> bytes:
    """The file's content for Gaussians in the head frame."""
    attributes = _attributes(gaussians)
    content = b""
    accessors: list[dict[str, Any]] = []
    views: list[dict[str, Any]] = []
    for values in attributes.values():
        views.append({"buffer": 0, "byteOffset": len(content), "byteLength": values.nbytes, "target": _ARRAY_BUFFER})
        kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        accessors.append({"bufferView": len(accessors), "componentType": _FLOAT, "count": len(values), "type": kind})
        content += values.tobytes()
    means = attributes["POSITION"]
    accessors[0] |= {"min": means.min(0).tolist(), "max": means.max(0).tolist()}
    primitive = {
        "attributes": {name: index for index, name in enumerate(attributes)},
        "mode": _POINTS,
        "extensions": {EXTENSION: {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}},
    }
    document = {
        "asset": {"version": "2.0", "generator": f"headsup {__version__}"},
        "extensionsUsed": [EXTENSION],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "head"}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(content)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    header = struct.pack("<3I", _GLB, 2, 12 + 8 + len(text) + 8 + len(content))
    return header + struct.pack("<2I", len(text), _JSON) + text + struct.pack("<2I", len(content), _BIN) + content


def decode_glb(content: bytes, source: Path) -> Gaussians:
    """Gaussians in the head frame, from the first primitive that holds some; nodes' transforms are not applied.

    Raises:
        InputError: Not GLB, without Gaussians, or with attributes that are not whole float32 arrays.
    """
    try:
        magic, version, _, length, kind = struct.unpack_from("<5I", content)
        if (magic, version, kind) != (_GLB, 2, _JSON):
            raise ValueError("no GLB header")
        document = json.loads(content[20 : 20 + length])
        binary = memoryview(content)[20 + length + 8 :]
        primitives = [p for mesh in document["meshes"] for p in mesh["primitives"] if EXTENSION in p["extensions"]]
        names = primitives[0]["attributes"]
        wanted = [name for name in names if name == "POSITION" or name.startswith(EXTENSION)]  # COLOR_0 is for others
        arrays = {name: _accessor(document, binary, names[name]) for name in wanted}
        return _gaussians(arrays)
    except (struct.error, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise InputError(
            source, found=f"unreadable ({error})", expected=f"a GLB with {EXTENSION}", remedy="export it again"
        ) from error


def _attributes(gaussians: Gaussians) -> dict[str, Float32[np.ndarray, "n ..."]]:
    quats = torch.nn.functional.normalize(gaussians.quats)[:, [1, 2, 3, 0]]
    tensors = {
        "POSITION": gaussians.means,
        f"{EXTENSION}:ROTATION": quats,
        f"{EXTENSION}:SCALE": gaussians.scales,
        f"{EXTENSION}:OPACITY": gaussians.opacities,
    }
    first = 0
    for degree in range(gaussians.sh_degree + 1):
        for index in range(2 * degree + 1):
            tensors[f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{index}"] = gaussians.sh[:, first + index]
        first += 2 * degree + 1
    return {name: np.ascontiguousarray(tensor.numpy(), "<f4") for name, tensor in tensors.items()}


def _accessor(document: dict[str, Any], binary: memoryview, index: int) -> Float32[np.ndarray, "n ..."]:
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    count, start = int(accessor["count"]), int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    if accessor["componentType"] != _FLOAT or "byteStride" in view or not 0 <= count <= MAX_GAUSSIANS or start < 0:
        raise ValueError("attributes other than packed float32")
    values = np.frombuffer(binary, "<f4", count * width, offset=start)
    if not np.isfinite(values).all():
        raise ValueError("attributes that are not finite")
    return values if width == 1 else values.reshape(count, width)


def _gaussians(arrays: dict[str, Float32[np.ndarray, "n ..."]]) -> Gaussians:
    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(arrays[name].copy())

    degree = max(d for d in range(4) if f"{EXTENSION}:SH_DEGREE_{d}_COEF_0" in arrays)
    names = [f"{EXTENSION}:SH_DEGREE_{d}_COEF_{i}" for d in range(degree + 1) for i in range(2 * d + 1)]
    return Gaussians(
        means=tensor("POSITION"),
        quats=tensor(f"{EXTENSION}:ROTATION")[:, [3, 0, 1, 2]],
        scales=tensor(f"{EXTENSION}:SCALE"),
        opacities=tensor(f"{EXTENSION}:OPACITY"),
        sh=torch.stack([tensor(name) for name in names], 1),
    )
