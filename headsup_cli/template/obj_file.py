"""Wavefront OBJ: the little of it that a template needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from headsup_cli.errors import InputError

_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class ObjMesh:
    """A triangulated mesh with UVs (v running up, as OBJ has it); groups and objects are its parts."""

    vertices: Float[np.ndarray, "v 3"]
    uvs: Float[np.ndarray, "t 2"]
    faces: Int[np.ndarray, "f 3"]
    uv_faces: Int[np.ndarray, "f 3"]
    part_names: tuple[str, ...]
    face_parts: UInt8[np.ndarray, " f"]


def read_obj_vertices(path: Path) -> Float[np.ndarray, "v 3"]:
    """Reads the vertices alone, in file order.

    Raises:
        InputError: The file cannot be read, or a vertex in it.
    """
    rows = [_numbers(path, number, words, 3) for number, _, words in _statements(path, only="v ")]
    if not rows:
        raise InputError(path, found="no vertices", expected="an OBJ mesh", remedy="export the mesh again")
    return np.array(rows)


def read_obj(path: Path) -> ObjMesh:
    """Reads a mesh; polygons are split into fans.

    Raises:
        InputError: The file cannot be read, has no faces, a face without UVs, or an index to nothing.
    """
    vertices, uvs, corners, labels = [], [], [], []
    parts: dict[str, int] = {}
    part = "skin"
    for number, kind, words in _statements(path):
        if kind == "v":
            vertices.append(_numbers(path, number, words, 3))
        elif kind == "vt":
            uvs.append(_numbers(path, number, words, 2))
        elif kind in ("g", "o") and words:
            part = words[0]
        elif kind == "f":
            polygon = [_corner(path, number, word, len(vertices), len(uvs)) for word in words]
            if len(polygon) < 3:
                raise _fault(path, number, f"a face of {len(polygon)} corners", "three or more")
            corners += [(polygon[0], polygon[i], polygon[i + 1]) for i in range(1, len(polygon) - 1)]
            labels += [parts.setdefault(part, len(parts))] * (len(polygon) - 2)
    if not corners:
        raise InputError(path, found="no faces", expected="an OBJ mesh", remedy="export the mesh with its faces")
    if len(parts) > 255:
        raise InputError(path, found=f"{len(parts)} groups", expected="at most 255", remedy="merge groups")
    triangles = np.array(corners)  # [f, 3, (vertex, uv)]
    return ObjMesh(
        np.array(vertices),
        np.array(uvs),
        triangles[..., 0],
        triangles[..., 1],
        tuple(parts),
        np.array(labels, np.uint8),
    )


def write_objs(mesh: ObjMesh, shapes: Mapping[Path, Float[np.ndarray, "v 3"]]) -> None:
    """Writes a mesh in several shapes, its parts as groups."""
    lines = [f"vt {u:.7g} {v:.7g}" for u, v in mesh.uvs.tolist()]
    for index, name in enumerate(mesh.part_names):
        lines.append(f"g {name}")
        members = mesh.face_parts == index
        corners = np.concatenate([mesh.faces[members], mesh.uv_faces[members]], axis=1) + 1
        lines += [f"f {a}/{d} {b}/{e} {c}/{f}" for a, b, c, d, e, f in corners.tolist()]
    for path, vertices in shapes.items():
        positions = [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in vertices.tolist()]
        path.write_text("\n".join(positions + lines) + "\n")


def _statements(path: Path, only: str = "") -> Iterator[tuple[int, str, list[str]]]:
    """Line number, keyword and arguments of every line that has any (and begins with `only`)."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(path, found="too large", expected=f"at most {_MAX_BYTES >> 20} MiB", remedy="simplify it")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            path, found=f"not readable ({error.strerror})", expected="an OBJ file", remedy="check path and permissions"
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split() if line.startswith(only) else []
        if words:
            yield number, words[0], words[1:]


def _numbers(path: Path, number: int, words: list[str], count: int) -> list[float]:
    try:
        values = [float(word) for word in words[:count]]
    except ValueError:
        values = []
    if len(values) < count or not np.isfinite(values).all():
        raise _fault(path, number, f"'{' '.join(words)}'", f"{count} finite numbers")
    return values


def _corner(path: Path, number: int, word: str, vertex_count: int, uv_count: int) -> tuple[int, int]:
    fields = word.split("/")
    if len(fields) < 2 or not fields[1]:
        raise _fault(path, number, f"the corner '{word}' without a UV", "corners as vertex/uv", "unwrap the mesh")
    return _index(path, number, fields[0], vertex_count), _index(path, number, fields[1], uv_count)


def _index(path: Path, number: int, word: str, count: int) -> int:
    try:
        index = int(word)
    except ValueError:
        index = 0
    index = index - 1 if index > 0 else count + index if index < 0 else -1  # negative counts back from the last one
    if not 0 <= index < count:
        raise _fault(path, number, f"the index '{word}'", f"one of the {count} defined before it")
    return index


def _fault(path: Path, line: int, found: str, expected: str, remedy: str = "export the mesh again") -> InputError:
    return InputError(path, field=f"line {line}", found=found, expected=expected, remedy=remedy)
