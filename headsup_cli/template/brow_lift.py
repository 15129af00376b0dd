"""Brows that rise as far as people's: the skin of the forehead glides along with them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.template import Template
from headsup_cli.template.texels import vertex_normals

LIFT_M = 0.01  # of the brow, raised as far as people can: about a centimetre
CONVERGENCE_M = 0.037  # above the brow: where the skin stays in place (34 mm in women, 39 mm in men)
_COLUMN_M = 0.006  # width over which the brow's own lift is looked for
_RAISING = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")


def lifted_blendshapes(template: Template) -> Float32[np.ndarray, "52 v 3"]:
    """The template's blendshapes, `with_lifted_brows`; as they are if it has no part called skin."""
    if "skin" not in template.part_names:
        return template.blendshapes
    skin = np.zeros(len(template.vertices), bool)
    skin[template.faces[template.face_parts == template.part_names.index("skin")]] = True
    return with_lifted_brows(template.blendshapes, template.vertices, template.faces, skin, template.landmarks)


def with_lifted_brows(
    blendshapes: Float32[np.ndarray, "52 v 3"],
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    skin: Bool[np.ndarray, " v"],
    landmarks: Mapping[str, int],
) -> Float32[np.ndarray, "52 v 3"]:
    """ARKit's blendshapes with the three that raise the brows made as large as people's.

    The frontalis raises the brow by about a centimetre and pulls the forehead's skin with it as a sheet, which glides
    over the skull and comes to rest where it meets the skin that the same muscle draws down, well below the hairline
    (Cotofana et al. 2020, "The Bidirectional Movement of the Frontalis Muscle"); below, the skin unfolds down to the
    lid. Blendshapes that lift a narrow band stretch the brow instead, and tear what is under it. Shapes that rise so
    far already are left alone, and so are those of heads without brows or lids.

    Args:
        blendshapes: Metres at weight 1.
        vertices: At rest, metres, +y up, +z out of the face, the origin behind it.
        faces: Triangles.
        skin: Vertices of it.
        landmarks: Vertices by name; brows are called `brow_*`, edges of the upper lids `upper_lid_*`.
    """
    brows, lids = ([i for name, i in landmarks.items() if name.startswith(part)] for part in ("brow_", "upper_lid_"))
    if not brows or not lids:
        return blendshapes
    together = sum(blendshapes[ARKIT_NAMES.index(name)][:, 1] for name in _RAISING)
    lid_m = float(vertices[brows, 1].mean() - vertices[lids, 1].mean())
    if lid_m <= 0 or not 0 < (own_m := float(np.max(together[brows]))) < LIFT_M:
        return blendshapes
    lifted, normals = blendshapes.copy(), vertex_normals(vertices, faces)
    for name in _RAISING:
        index = ARKIT_NAMES.index(name)
        lifted[index] = _with_forehead(blendshapes[index] * np.float32(LIFT_M / own_m), vertices, normals, skin, lid_m)
    return lifted


def _with_forehead(
    shape: Float32[np.ndarray, "v 3"],
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    skin: Bool[np.ndarray, " v"],
    lid_m: float,
) -> Float[np.ndarray, "v 3"]:
    """A raising shape whose lift fades out along the skull, over CONVERGENCE_M above the brow and `lid_m` below."""
    x, y, z = vertices.T
    front = np.flatnonzero(skin & (z > 0))
    weight = np.exp(-0.5 * ((x[front, None] - x[front]) / _COLUMN_M) ** 2)
    lift = weight * np.maximum(shape[front, 1], 0)
    crest = lift.argmax(1)  # of each vertex's column, the point that rises most
    rise, above_m = lift.max(1), y[front] - y[front[crest]]
    share = np.clip(np.where(above_m > 0, above_m / CONVERGENCE_M, -above_m / lid_m), 0, 1)
    sheet = rise * (1 - share**2 * (3 - 2 * share))
    normal = normals[front]
    along = np.array([0.0, 1.0, 0.0]) - normal[:, 1:2] * normal
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    glided = shape.copy()
    more = sheet > shape[front, 1]
    glided[front[more]] = (sheet[:, None] * along)[more]
    return glided
