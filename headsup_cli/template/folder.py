"""A user's own template: a folder with `template.yaml`, a neutral OBJ with UVs and a folder of blendshape OBJs."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import yaml
from jaxtyping import Float, Float32
from pydantic import Field

from headsup_cli.capture.confined_paths import confined
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.config_files.yaml_config import load_yaml_config
from headsup_cli.errors import InputError
from headsup_cli.runtime.atomic import atomic_directory
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.head_frame import head_frame
from headsup_cli.template.obj_file import ObjMesh, read_obj, read_obj_vertices, write_objs
from headsup_cli.template.parts import REGIONS
from headsup_cli.template.template import Template
from headsup_cli.template.texels import overlapping_share

_METRES_PER = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_FRAME_LANDMARKS = ("ear_canal_left", "ear_canal_right", "orbitale_left", "orbitale_right")
_EAR_DISTANCE_M = (0.08, 0.25)
_MOST_OVERLAP = 0.01


class TemplateFile(StrictModel):
    """`template.yaml`."""

    name: Annotated[str, Field(min_length=1)]
    mesh: str = "neutral.obj"
    blendshapes: str | None = None  # folder of <ARKit name>.obj; what has no file does not move
    units: Literal["m", "cm", "mm"]
    landmarks: dict[str, Annotated[int, Field(ge=0)]]  # vertex indices from 0
    regions: dict[str, list[Annotated[int, Field(ge=0)]]] = Field(default_factory=dict)  # vertex indices


def read_template_folder(folder: Path) -> Template:
    """Reads a user's template and turns it into the head frame, by its landmarks.

    Args:
        folder: Holds `template.yaml` and what it names (docs/template.md).

    Raises:
        InputError: Anything missing, unreadable or inconsistent; the message names file and field.
    """
    path = folder / "template.yaml"
    file = load_yaml_config(path, TemplateFile)
    mesh_path = confined(folder / file.mesh, folder)
    mesh = read_obj(mesh_path)
    _check_indices(path, file, len(mesh.vertices))
    _check_uvs(mesh_path, mesh)
    axes, origin = _frame(path, file, mesh.vertices)
    scale = _METRES_PER[file.units]
    offsets = _blendshape_offsets(folder, file, mesh.vertices)
    return Template.with_hash(
        file.name,
        vertices=((mesh.vertices - origin) @ axes.T * scale).astype(np.float32),
        faces=mesh.faces.astype(np.int32),
        uvs=(mesh.uvs * [1, -1] + [0, 1]).astype(np.float32),
        uv_faces=mesh.uv_faces.astype(np.int32),
        blendshapes=(offsets @ axes.T * scale).astype(np.float32),
        landmarks=dict(file.landmarks),
        part_names=mesh.part_names,
        face_parts=mesh.face_parts,
        regions=_regions(file, len(mesh.vertices)),
    )


def write_template_folder(template: Template, folder: Path) -> None:
    """Writes a template as such a folder, for instance the default one as an example to start from."""
    with atomic_directory(folder) as temporary:
        uvs = template.uvs.astype(np.float64) * [1, -1] + [0, 1]
        content = (template.faces, template.uv_faces, template.part_names, template.face_parts)
        (temporary / "blendshapes").mkdir()
        shapes = {temporary / "neutral.obj": template.vertices}
        for name, offsets in zip(ARKIT_NAMES, template.blendshapes, strict=True):
            shapes[temporary / f"blendshapes/{name}.obj"] = template.vertices + offsets
        write_objs(ObjMesh(template.vertices, uvs, *content), shapes)
        regions = {name: np.flatnonzero(weight >= 0.5).tolist() for name, weight in template.regions.items()}
        file = TemplateFile(
            name=template.name, blendshapes="blendshapes", units="m", landmarks=template.landmarks, regions=regions
        )
        (temporary / "template.yaml").write_text(yaml.safe_dump(file.model_dump(), sort_keys=False))


def _check_indices(path: Path, file: TemplateFile, count: int) -> None:
    for name in _FRAME_LANDMARKS:
        if name not in file.landmarks:
            raise InputError(
                path, field=f"landmarks.{name}", found="missing", expected="a vertex index", remedy="add it"
            )
    groups = {f"landmarks.{name}": [index] for name, index in file.landmarks.items()}
    groups |= {f"regions.{name}": indices for name, indices in file.regions.items()}
    for field, indices in groups.items():
        if indices and max(indices) >= count:
            raise InputError(
                path,
                field=field,
                found=str(max(indices)),
                expected=f"less than the {count} vertices of {file.mesh}",
                remedy="count vertices from 0, in the order of the file",
            )


def _check_uvs(path: Path, mesh: ObjMesh) -> None:
    remedy = "lay the mesh out in the unit square without overlaps"
    low, high = mesh.uvs.min(), mesh.uvs.max()
    if low < -1e-4 or high > 1 + 1e-4:
        raise InputError(path, field="vt", found=f"from {low:g} to {high:g}", expected="UVs in [0, 1]", remedy=remedy)
    overlap = overlapping_share(mesh.uvs[mesh.uv_faces])
    if overlap > _MOST_OVERLAP:
        raise InputError(
            path,
            field="vt",
            found=f"overlapping on {overlap:.0%} of the layout",
            expected="one place on the surface for each texel",
            remedy=remedy,
        )


def _frame(
    path: Path, file: TemplateFile, vertices: Float[np.ndarray, "v 3"]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    canals, porions, orbits = (
        vertices[
            [file.landmarks.get(f"{name}_{side}", file.landmarks[f"{other}_{side}"]) for side in ("left", "right")]
        ]
        for name, other in (("ear_canal", "ear_canal"), ("porion", "ear_canal"), ("orbitale", "orbitale"))
    )
    distance = float(np.linalg.norm(canals[0] - canals[1])) * _METRES_PER[file.units]
    if not _EAR_DISTANCE_M[0] < distance < _EAR_DISTANCE_M[1]:
        raise InputError(
            path,
            field="units",
            found=f"'{file.units}', which puts the ear canals {distance:.3g} m apart",
            expected=f"{_EAR_DISTANCE_M[0]} to {_EAR_DISTANCE_M[1]} m",
            remedy="correct the units or the landmarks",
        )
    try:
        return head_frame(canals, porions, orbits)
    except ValueError as error:
        raise InputError(
            path,
            field="landmarks",
            found="all on one line",
            expected="orbits in front of the ears",
            remedy="correct them",
        ) from error


def _blendshape_offsets(
    folder: Path, file: TemplateFile, vertices: Float[np.ndarray, "v 3"]
) -> Float[np.ndarray, "52 v 3"]:
    offsets = np.zeros((len(ARKIT_NAMES), *vertices.shape))
    if file.blendshapes is None:
        return offsets
    shapes = confined(folder / file.blendshapes, folder)
    if not shapes.is_dir():
        raise InputError(
            shapes,
            found="no folder",
            expected="OBJ files named after ARKit blendshapes",
            remedy="correct 'blendshapes'",
        )
    for path in sorted(shapes.glob("*.obj")):
        if path.stem not in ARKIT_NAMES:
            raise InputError(
                path, found="no ARKit blendshape", expected="a name such as jawOpen.obj", remedy="rename or remove it"
            )
        shape = read_obj_vertices(path)
        if shape.shape != vertices.shape:
            raise InputError(
                path,
                found=f"{len(shape)} vertices",
                expected=f"{len(vertices)} as in {file.mesh}",
                remedy="export it with the vertex order kept",
            )
        offsets[ARKIT_NAMES.index(path.stem)] = shape - vertices
    return offsets


def _regions(file: TemplateFile, count: int) -> dict[str, Float32[np.ndarray, " v"]]:
    """Those of the file as weights of 0 and 1; where it names none, all is face."""
    regions = {name: np.zeros(count, dtype=np.float32) for name in REGIONS}
    for name, indices in (file.regions or {"face": list(range(count))}).items():
        regions.setdefault(name, np.zeros(count, dtype=np.float32))[indices] = 1
    return regions
