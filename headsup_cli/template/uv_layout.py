"""The default template's UV layout: one picture of the head, cut open at the back.

The skin, the inside of the mouth and the eyes are flattened as one disc onto a rectangle (the eyes lie in the openings
of the lids), teeth and tongue onto a strip below it.
"""

from collections.abc import Mapping

import numpy as np
import scipy.spatial
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli.template.flattening import Disc, Rectangle, flatten
from headsup_cli.template.head_mesh import boundary_loops
from headsup_cli.template.parts import PARTS

_STRIP_HEIGHT = 3 / 64  # whole texel rows at 64 and all its multiples
_STRIP_PARTS = (("teeth_upper", 0.0, 0.42), ("teeth_lower", 0.42, 0.84), ("tongue", 0.84, 1.0))
_TEETH_END_M = 0.005  # depth of the arches' ends
_REGION_DENSITY = {"face": 2.2, "eyes": 2.4, "mouth": 2.2, "ears": 1.5, "scalp": 1.0, "neck": 1.0, "torso": 1.2}
_PART_DENSITY = {"eye_left": 2.9, "eye_right": 2.9, "mouth_inner": 0.45}  # instead of their region's
_YIELDING_REGIONS = ("scalp", "neck", "torso")
_HEM_BESIDE = 0.24  # share of the hem (chest and arms) that runs up either side of the rectangle
_SEAM_BESIDE = 0.75  # share of the seam's length along the sides; the rest turns the top corners
_SEAM_END_Z_M = 0.07  # the seam ends where the scalp comes this far forward


def lay_out(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    parts: UInt8[np.ndarray, " f"],
    regions: Mapping[str, Float32[np.ndarray, " v"]],
) -> tuple[Float[np.ndarray, "t 2"], Int[np.ndarray, "f 3"]]:
    """Lays the whole template out in the unit square.

    Args:
        vertices: The average head, in the head frame.
        faces: Its triangles.
        parts: Their parts, as indices into `PARTS`.
        regions: Weights of the soft regions at the vertices.

    Returns:
        UVs (v down) and the triangles' corners in them.
    """
    strip = [PARTS.index(name) for name, *_ in _STRIP_PARTS]
    on_head = ~np.isin(parts, strip)
    uv_faces = np.zeros_like(faces)
    disc = _head_disc(vertices, faces[on_head], parts[on_head], regions)
    uvs = [flatten(disc, Rectangle(0.0, 1.0, 0.0, 1 - _STRIP_HEIGHT))]
    uv_faces[on_head] = disc.faces
    for index, (name, left, right) in zip(strip, _STRIP_PARTS, strict=True):
        members = parts == index
        disc = _strip_disc(name, vertices, faces[members])
        uv_faces[members] = disc.faces + sum(map(len, uvs))
        uvs.append(flatten(disc, Rectangle(left, right, 1 - _STRIP_HEIGHT, 1.0)))
    return np.concatenate(uvs), uv_faces


def _head_disc(
    vertices: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    parts: UInt8[np.ndarray, " f"],
    regions: Mapping[str, Float32[np.ndarray, " v"]],
) -> Disc:
    """Skin, inside of the mouth and eyes as one disc: cut along the seam, the gaps around the eyes filled."""
    skin = faces[parts == PARTS.index("skin")]
    seam = _seam(vertices, skin)
    copies = {vertex: len(vertices) + index for index, vertex in enumerate(seam[:-1])}  # for the faces at the left
    to_left = vertices[faces].mean(axis=1)[:, 0] > 0
    cut = faces.copy()
    cut[to_left] = np.vectorize(lambda vertex: copies.get(vertex, vertex))(faces[to_left])
    points = np.concatenate([vertices, vertices[seam[:-1]]])
    twins = _twins(points)
    for vertex, copy in copies.items():
        twins[vertex], twins[copy] = copy, vertex
    everything = np.concatenate([cut, _around_eyes(vertices, faces, parts)])

    loop = boundary_loops(everything)[0]
    start = loop.index(seam[0])
    loop = loop[start:] + loop[:start]
    hem = loop[: loop.index(copies[seam[0]]) + 1]  # along the chest and arms, from the right of the back to its left
    bottom_left, bottom_right = (_at_share(points, path, _HEM_BESIDE) for path in (hem, hem[::-1]))
    top = _at_share(points, seam, _SEAM_BESIDE)
    used, compact = np.unique(everything, return_inverse=True)
    compact = compact.reshape(-1, 3)
    return Disc(
        points[used],
        compact[: len(cut)],
        compact[len(cut) :],
        _wanted_density(faces, parts, regions),
        yielding=np.sum([regions[name][faces].mean(axis=1) for name in _YIELDING_REGIONS], axis=0),
        corners=np.searchsorted(used, [bottom_left, bottom_right, copies[top], top]),
        twins=np.searchsorted(used, twins[used]),
    )


def _around_eyes(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], parts: UInt8[np.ndarray, " f"]
) -> Int[np.ndarray, "g 3"]:
    """Triangles across the gaps between the lids' rims and the eyes in them."""
    lids = boundary_loops(faces[parts == PARTS.index("skin")])[2:4]
    filler = []
    for name in ("eye_left", "eye_right"):
        rim = boundary_loops(faces[parts == PARTS.index(name)])[0]
        lid = min(lids, key=lambda loop: abs(vertices[loop, 0].mean() - vertices[rim, 0].mean()))
        filler.append(_stitched(lid[::-1], rim, vertices))
    return np.concatenate(filler)


def _wanted_density(
    faces: Int[np.ndarray, "f 3"], parts: UInt8[np.ndarray, " f"], regions: Mapping[str, Float32[np.ndarray, " v"]]
) -> Float[np.ndarray, " f"]:
    density = np.sum([weight[faces].mean(axis=1) * _REGION_DENSITY[name] for name, weight in regions.items()], axis=0)
    for name, value in _PART_DENSITY.items():
        density = np.where(parts == PARTS.index(name), value, density)
    return density


def _twins(points: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    distances, twins = scipy.spatial.KDTree(points * [-1, 1, 1]).query(points)
    if distances.max() > 1e-5:
        raise RuntimeError("the average head is not symmetric")
    return np.asarray(twins)


def _seam(vertices: Float[np.ndarray, "v 3"], skin: Int[np.ndarray, "f 3"]) -> list[int]:
    """Vertices along the middle of back and scalp, from the hem to the hairline."""
    middle = np.abs(vertices[:, 0]) < 1e-6
    sides = np.sort(skin[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    sides = np.unique(sides[middle[sides].all(axis=1)], axis=0)
    hem = [vertex for vertex in boundary_loops(skin)[0] if middle[vertex]]
    seam = [min(hem, key=lambda vertex: vertices[vertex, 2])]
    while vertices[seam[-1], 1] < 0 or vertices[seam[-1], 2] < _SEAM_END_Z_M:
        around = sides[(sides == seam[-1]).any(axis=1)].ravel()
        seam.append(next(int(vertex) for vertex in around if vertex not in seam))
    return seam


def _stitched(outer: list[int], inner: list[int], vertices: Float[np.ndarray, "v 3"]) -> Int[np.ndarray, "g 3"]:
    """Triangles between two rings that run counterclockwise seen from +Z, advancing the one that lags in angle."""
    centre = vertices[inner].mean(axis=0)

    def unrolled(ring: list[int]) -> tuple[list[int], Float[np.ndarray, " n"]]:
        angles = np.arctan2(vertices[ring, 1] - centre[1], vertices[ring, 0] - centre[0])
        first = int(angles.argmin())
        ring = ring[first:] + ring[: first + 1]
        turned = np.unwrap(np.append(np.roll(angles, -first), angles[first]))
        return ring, turned

    (outer, outer_angle), (inner, inner_angle) = unrolled(outer), unrolled(inner)
    triangles, i, j = [], 0, 0
    while i + 1 < len(outer) or j + 1 < len(inner):
        if j + 1 == len(inner) or (i + 1 < len(outer) and outer_angle[i + 1] <= inner_angle[j + 1]):
            triangles.append([outer[i], outer[i + 1], inner[j]])
            i += 1
        else:
            triangles.append([outer[i], inner[j + 1], inner[j]])
            j += 1
    return np.array(triangles)


def _at_share(vertices: Float[np.ndarray, "v 3"], path: list[int], share: float) -> int:
    """The vertex of a path nearest to a share of its length."""
    along = np.concatenate([[0], np.linalg.norm(np.diff(vertices[path], axis=0), axis=1).cumsum()])
    return path[int(np.abs(along - share * along[-1]).argmin())]


def _strip_disc(name: str, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Disc:
    """Teeth or tongue, the subject's left at the right."""
    used, compact = np.unique(faces, return_inverse=True)
    compact, points = compact.reshape(-1, 3), vertices[used]
    loop = boundary_loops(compact)[0]
    x, _, z = points[loop].T
    if name == "tongue":  # seen from above, its tip at the bottom
        corners = [loop[int(direction.argmax())] for direction in (z - x, z + x, x - z, -x - z)]
    else:  # an arch of teeth unrolled, its two ends at the sides
        order = np.roll(loop, -int(z.argmax()))
        x, _, z = points[order].T
        at_end = z < z.min() + _TEETH_END_M
        right, left = order[at_end & (x > 0)], order[at_end & (x < 0)]
        corners = [left[-1], right[0], right[-1], left[0]]
    even = np.ones(len(compact))
    nothing = np.zeros((0, 3), dtype=int)
    return Disc(points, compact, nothing, even, np.zeros(len(compact)), np.array(corners), _twins(points))
