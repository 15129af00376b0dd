"""A template's UV layout sampled at the texels of a square map."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from headsup_cli.template.template import Template

_EDGE_TOLERANCE = 1e-6  # of barycentric coordinates, so that a texel centre on an edge belongs to a face


@dataclass(frozen=True, eq=False)
class Texels:
    """An R x R sampling of a UV layout; entries outside every island are -1 in `face` and 0 elsewhere."""

    resolution: int
    mask: Bool[np.ndarray, "r r"]  # the texel's centre lies in an island
    face: Int32[np.ndarray, "r r"]
    barycentric: Float32[np.ndarray, "r r 3"]
    vertex_indices: Int32[np.ndarray, "r r 3"]  # corners of the face


@lru_cache(maxsize=16)
def sample_texels(template: Template, resolution: int) -> Texels:
    """Finds face and barycentric coordinates at every texel centre.

    Where faces share an edge through a centre, the face with the smaller index has it. Cached for each template object.
    """
    row, column, face, barycentric = _covered_centres(template.uvs[template.uv_faces], resolution)
    keep = np.unique(row * resolution + column, return_index=True)[1]  # rows are ordered by face: the first wins
    row, column, face, barycentric = row[keep], column[keep], face[keep], barycentric[keep]
    faces = np.full((resolution, resolution), -1, dtype=np.int32)
    weights = np.zeros((resolution, resolution, 3), dtype=np.float32)
    corners = np.zeros((resolution, resolution, 3), dtype=np.int32)
    faces[row, column], weights[row, column], corners[row, column] = face, barycentric, template.faces[face]
    return Texels(resolution, faces >= 0, faces, weights, corners)


def texel_positions(texels: Texels, vertices: Float[np.ndarray, "v d"]) -> Float32[np.ndarray, "r r d"]:
    """Points on the surface at the texels' centres, in metres; zero outside the islands."""
    return _interpolated(texels, vertices, texels.vertex_indices)


def texel_frames(
    template: Template, texels: Texels, vertices: Float[np.ndarray, "v 3"]
) -> Float32[np.ndarray, "r r 3 3"]:
    """Smooth tangent frames at the texels; identity outside the islands.

    Args:
        template: Whose UV layout gives the directions.
        texels: A sampling of it.
        vertices: The template's vertices, in any pose.

    Returns:
        Rotations with columns tangent (along +u, at a right angle to the normal), bitangent and outward normal. They
        are right-handed, so that the bitangent runs along -v, upwards in a picture of the map.
    """
    normal = _unit(_interpolated(texels, vertex_normals(vertices, template.faces), texels.vertex_indices))
    along_u, _ = uv_derivatives(template, texels, vertices)
    tangent = along_u - (along_u * normal).sum(-1, keepdims=True) * normal
    # Where the surface folds back on itself within a texel u may run along the normal: any tangent will do.
    astray = np.linalg.norm(tangent, axis=-1) < 1e-3 * np.maximum(np.linalg.norm(along_u, axis=-1), 1e-12)
    other = np.eye(3, dtype=np.float32)[np.abs(normal).argmin(-1)]
    tangent = np.where(astray[..., None], other - (other * normal).sum(-1, keepdims=True) * normal, tangent)
    tangent = _unit(tangent)
    frames = np.stack([tangent, np.cross(normal, tangent), normal], axis=-1)
    return np.where(texels.mask[..., None, None], frames, np.eye(3)).astype(np.float32)


def texel_sizes(template: Template, texels: Texels, vertices: Float[np.ndarray, "v 3"]) -> Float32[np.ndarray, "r r 2"]:
    """Metres that one texel covers along tangent and bitangent of `texel_frames`; zero outside the islands."""
    frames = texel_frames(template, texels, vertices)
    along_u, along_v = uv_derivatives(template, texels, vertices)
    sizes = np.stack([(along_u * frames[..., 0]).sum(-1), (along_v * frames[..., 1]).sum(-1)], axis=-1)
    return (np.abs(sizes) / texels.resolution).astype(np.float32)


def vertex_normals(vertices: Float[np.ndarray, "v 3"], faces: Int32[np.ndarray, "f 3"]) -> Float[np.ndarray, "v 3"]:
    """Unit normals at the vertices, means of the faces' weighted by area; zero where no face is."""
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    return _unit(_summed(np.cross(b - a, c - a), faces, len(vertices)))


def overlapping_share(triangles: Float[np.ndarray, "f 3 2"], resolution: int = 256) -> float:
    """Share of the covered texels that more than one triangle of a UV layout covers, common edges aside."""
    row, column, _, barycentric = _covered_centres(triangles, resolution)
    within = barycentric.min(axis=1) > 1e-3
    uses = np.bincount(row[within] * resolution + column[within])
    return float((uses > 1).sum() / max(1, (uses > 0).sum()))


def _covered_centres(
    triangles: Float[np.ndarray, "f 3 2"], resolution: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row, column, face and barycentric coordinates of every centre in every triangle, ordered by face."""
    points = triangles.astype(np.float64) * resolution - 0.5  # centres are at whole numbers
    low = np.clip(np.ceil(points.min(axis=1) - _EDGE_TOLERANCE), 0, resolution - 1).astype(int)
    high = np.clip(np.floor(points.max(axis=1) + _EDGE_TOLERANCE), 0, resolution - 1).astype(int)
    extent = np.maximum(high - low + 1, 0)  # [f, (columns, rows)]
    count = extent.prod(axis=1)
    face = np.repeat(np.arange(len(points)), count)
    nth = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
    width = extent[face, 0]
    column, row = low[face, 0] + nth % width, low[face, 1] + nth // width
    a, b, c = (points[:, corner] for corner in range(3))
    area = _cross(b - a, c - a)[face]
    centre = np.stack([column, row], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        second = _cross(centre - a[face], (c - a)[face]) / area
        third = _cross((b - a)[face], centre - a[face]) / area
    barycentric = np.stack([1 - second - third, second, third], axis=1)
    inside = barycentric.min(axis=1) >= -_EDGE_TOLERANCE  # false for NaN, of a triangle without area
    return row[inside], column[inside], face[inside], barycentric[inside]


def _cross(first: Float[np.ndarray, "n 2"], second: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def uv_derivatives(
    template: Template, texels: Texels, vertices: Float[np.ndarray, "v d"]
) -> tuple[Float32[np.ndarray, "r r d"], Float32[np.ndarray, "r r d"]]:
    """How the surface point moves with u and with v at the texels, metres per unit of the map.

    Means over the faces around each UV vertex, linear in the vertices: a blendshape's offsets give its derivatives.
    """
    a, b, c = (vertices[template.faces[:, corner]].astype(np.float64) for corner in range(3))
    p, q, r = (template.uvs[template.uv_faces[:, corner]].astype(np.float64) for corner in range(3))
    area = _cross(q - p, r - p)[:, None]
    # The faces' derivatives times their area in UV, which the mean would weigh them with.
    by_u = ((b - a) * (r - p)[:, 1:] - (c - a) * (q - p)[:, 1:]) * np.sign(area)
    by_v = ((c - a) * (q - p)[:, :1] - (b - a) * (r - p)[:, :1]) * np.sign(area)
    count = len(template.uvs)
    total = _summed(np.abs(area), template.uv_faces, count)
    corners = np.where(texels.mask[..., None], template.uv_faces[texels.face], 0)
    derivatives = (_summed(sums, template.uv_faces, count) / np.maximum(total, 1e-20) for sums in (by_u, by_v))
    along_u, along_v = (_interpolated(texels, derivative, corners) for derivative in derivatives)
    return along_u, along_v


def _interpolated(
    texels: Texels, values: Float[np.ndarray, "n d"], corners: Int32[np.ndarray, "r r 3"]
) -> Float32[np.ndarray, "r r d"]:
    return np.einsum("rsk,rskd->rsd", texels.barycentric, values.astype(np.float32)[corners])


def _summed(values: Float[np.ndarray, "f d"], faces: Int32[np.ndarray, "f 3"], count: int) -> Float[np.ndarray, "n d"]:
    """Sums over the faces around each vertex."""
    corners = faces.ravel()
    return np.stack([np.bincount(corners, np.repeat(column, 3), count) for column in values.T], axis=1)


def _unit(vectors: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-20)
