"""Cuts head, neck and shoulders out of MakeHuman's body, as a linear map of its vertices.

Every vertex of the head is a fixed blend of body vertices, so whatever shapes the body (phenotypes, local changes,
ARKit blendshapes) shapes the head in the same topology.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int, UInt8

from headsup_cli.template.makehuman import BaseMesh
from headsup_cli.template.parts import PARTS

_PART_GROUPS = {
    "eye_left": "helper-l-eye",
    "eye_right": "helper-r-eye",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
}

# Body vertices of landmarks on the subject's left; those on the right are their mirror images.
LEFT_LANDMARKS = {
    "ear_canal": 12249,
    "porion": 12260,  # upper rim of the ear canal
    "orbitale": 11857,  # lower rim of the orbit
    "ear_top": 12012,
    "ear_lobe": 12005,
    "eye_inner": 6850,
    "eye_outer": 6805,
    "brow_inner": 6956,
    "brow_middle": 6952,
    "brow_outer": 6955,
    "nose_wing": 11753,
    "mouth_corner": 7185,
    "cheek": 11910,
}
MIDLINE_LANDMARKS = {
    "glabella": 220,
    "nose_bridge": 132,
    "nose_tip": 5054,
    "nose_base": 343,
    "upper_lip": 455,
    "upper_lip_inner": 474,
    "lower_lip_inner": 493,
    "lower_lip": 495,
    "chin": 5162,
    "chin_bottom": 5296,
}

# The cut, as (distance from the middle, height over the ear canals) in metres: level over the chest, up to the armpit,
# and down along the outside of the arm.
_CUT_AT = ((0.0, -0.31), (0.115, -0.31), (0.15, -0.285), (0.23, -0.395))
_EYE_CAP_DEG = 75.0  # of the eyeballs, only what lids can uncover at any gaze is kept
_TONGUE_FROM_Z_M = 0.035  # and of the tongue, what an open mouth shows
_TONGUE_FACES_UP = -0.3  # least upward part of a unit normal there
_SNAP_BELOW = 0.35  # an edge cut nearer to an end than this share of its length moves that end instead


@dataclass(frozen=True)
class HeadMesh:
    """The head's topology and how its vertices follow from those of the body."""

    operator: sp.csr_array  # [v, b]: vertices = operator @ body vertices
    faces: Int[np.ndarray, "f 3"]
    face_parts: UInt8[np.ndarray, " f"]  # indices into PARTS
    landmarks: dict[str, int]


def build_head_mesh(base: BaseMesh, body: Float[np.ndarray, "b 3"], mirror: Int[np.ndarray, " b"]) -> HeadMesh:
    """Builds the topology of the head.

    Args:
        base: MakeHuman's base mesh.
        body: The average adult's body vertices, in the head frame, with the arms as they are to be.
        mirror: For each body vertex its mirror image.
    """
    skin = triangulated(base.groups["body"][~base.mouth_cavity & ~base.eye_cavity], body)
    operator, skin = _cut_below(skin, body)
    skin = _seam_start_opened(skin, operator @ body)
    faces = {"skin": skin, "mouth_inner": triangulated(base.groups["body"][base.mouth_cavity], body)}
    for part, group in _PART_GROUPS.items():
        quads = base.groups[group]
        if part.startswith("eye"):
            operator, quads = _subdivided(operator, quads, body)
            quads = _front_of_eye(quads, operator @ body)
        elif part == "tongue":
            quads = _top_of_tongue(quads, body)
        faces[part] = _without_ears(triangulated(quads, operator @ body))
    ordered = np.concatenate([faces[part] for part in PARTS])
    used, compact = np.unique(ordered, return_inverse=True)
    labels = np.repeat(np.arange(len(PARTS), dtype=np.uint8), [len(faces[part]) for part in PARTS])
    operator = operator[used].tocsr()
    faces_out = compact.reshape(-1, 3)
    landmarks = _body_landmarks(mirror, used) | _shape_landmarks(operator @ body, faces_out, labels)
    return HeadMesh(operator, faces_out.astype(np.int32), labels, landmarks)


def triangulated(quads: Int[np.ndarray, "q 4"], vertices: Float[np.ndarray, "v 3"]) -> Int[np.ndarray, "f 3"]:
    """Splits quads along the shorter diagonal (of equal ones the first), which keeps a symmetric mesh symmetric."""
    a, b, c, d = (vertices[quads[:, corner]] for corner in range(4))
    first = np.linalg.norm(a - c, axis=1) <= np.linalg.norm(b - d, axis=1) + 1e-9
    halves = np.where(
        first[:, None, None], quads[:, [[0, 1, 2], [0, 2, 3]]], quads[:, [[0, 1, 3], [1, 2, 3]]]
    )  # [q, 2, 3]
    return halves.reshape(-1, 3)


def boundary_loops(faces: Int[np.ndarray, "f 3"]) -> list[list[int]]:
    """The closed loops of edges that belong to one face only, each in its faces' direction, longest first."""
    edges = {(int(face[i]), int(face[(i + 1) % 3])) for face in faces for i in range(3)}
    following = {start: end for start, end in edges if (end, start) not in edges}
    loops = []
    while following:
        loop = list(following.popitem())
        while (end := following.pop(loop[-1])) != loop[0]:
            loop.append(end)
        loops.append(loop)
    return sorted(loops, key=len, reverse=True)


def _cut_below(
    faces: Int[np.ndarray, "f 3"], body: Float[np.ndarray, "b 3"]
) -> tuple[sp.csr_array, Int[np.ndarray, "g 3"]]:
    """Clips triangles to above the cut; new and moved vertices are blends of the two ends of the edge cut."""
    distances, heights = zip(*_CUT_AT, strict=True)
    above = body[:, 1] - np.interp(np.abs(body[:, 0]), distances, heights)  # [b]
    edges = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    edges = edges[above[edges[:, 0]] * above[edges[:, 1]] < 0]
    shares = above[edges[:, 0]] / (above[edges[:, 0]] - above[edges[:, 1]])  # from the first end
    rows: dict[int, tuple[int, float]] = {}  # vertex -> the other end, and how far towards it the vertex moves
    for (start, end), share in sorted(
        zip(edges.tolist(), shares, strict=True), key=lambda item: min(item[1], 1 - item[1])
    ):
        near, far, part = (start, end, share) if share <= 0.5 else (end, start, 1 - share)
        leaves_middle = abs(body[near, 0]) < 1e-6 < abs(body[far, 0])
        if part < _SNAP_BELOW and near not in rows and not leaves_middle:
            rows[near] = (far, part)
            above[near] = 0.0
    new_vertex: dict[tuple[int, int], int] = {}
    kept = [piece for face in faces.tolist() for piece in _clipped(face, above, new_vertex, len(body))]
    blends = list(rows.items())
    operator = sp.eye_array(len(body), format="lil")
    for vertex, (other, part) in blends:
        operator[vertex, vertex], operator[vertex, other] = 1 - part, part
    added = sp.lil_array((len(new_vertex), len(body)))
    for (inside, outside), index in new_vertex.items():
        part = above[inside] / (above[inside] - above[outside])
        added[index - len(body), inside], added[index - len(body), outside] = 1 - part, part
    return sp.vstack([operator, added], format="csr"), _without_ears(_largest_piece(np.array(kept)))


def _clipped(
    face: list[int], above: Float[np.ndarray, " b"], new_vertex: dict[tuple[int, int], int], first_new: int
) -> list[list[int]]:
    """The part of a triangle that lies above, as triangles (Sutherland and Hodgman's polygon clipping)."""
    polygon: list[int] = []
    for start, end in zip(face, face[1:] + face[:1], strict=True):
        if above[start] >= 0:
            polygon.append(start)
        if above[start] * above[end] < 0:
            key = (start, end) if above[start] > 0 else (end, start)
            polygon.append(new_vertex.setdefault(key, first_new + len(new_vertex)))
    if len(polygon) < 3 or max(above[corner] if corner < first_new else 0 for corner in polygon) <= 0:
        return []
    return [[polygon[0], polygon[i], polygon[i + 1]] for i in range(1, len(polygon) - 1)]


def _without_ears(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
    """Drops triangles with two sides on the boundary: on a straight side of the UV layout they would have no area."""
    while True:
        sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        _, index, uses = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
        ears = (uses[index] == 1).reshape(-1, 3).sum(axis=1) > 1
        if not ears.any():
            return faces
        faces = faces[~ears]


def _seam_start_opened(faces: Int[np.ndarray, "f 3"], vertices: Float[np.ndarray, "v 3"]) -> Int[np.ndarray, "f 3"]:
    """Flips the edges across from the hem's middle at the back, where cutting the seam would make ears again."""
    hem = [vertex for vertex in boundary_loops(faces)[0] if abs(vertices[vertex, 0]) < 1e-6]
    start = min(hem, key=lambda vertex: vertices[vertex, 2])
    flipped = faces.copy()
    for row in np.flatnonzero((faces == start).any(axis=1)):
        turn = int(np.flatnonzero(faces[row] == start)[0])
        _, a, b = np.roll(faces[row], -turn)
        (other,) = np.flatnonzero((faces == a).any(axis=1) & (faces == b).any(axis=1) & ~(faces == start).any(axis=1))
        (apex,) = set(faces[other].tolist()) - {int(a), int(b)}
        flipped[row], flipped[other] = [start, a, apex], [start, apex, b]
    return flipped


def _largest_piece(faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "g 3"]:
    count = int(faces.max()) + 1
    links = sp.coo_array(
        (np.ones(2 * len(faces)), (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())), (count, count)
    )
    labels = sp.csgraph.connected_components(links, directed=False)[1][faces[:, 0]]
    return faces[labels == np.bincount(labels).argmax()]


def _subdivided(
    operator: sp.csr_array, quads: Int[np.ndarray, "q 4"], body: Float[np.ndarray, "b 3"]
) -> tuple[sp.csr_array, Int[np.ndarray, "r 4"]]:
    """One step of Catmull and Clark's subdivision of a closed mesh, scaled so that a sphere keeps its size."""
    used, local = np.unique(quads, return_inverse=True)
    local = local.reshape(-1, 4)
    count = len(used)
    sides = np.stack([local, np.roll(local, -1, axis=1)], axis=-1)  # [q, 4, 2]
    edges, edge_of = np.unique(np.sort(sides, axis=-1).reshape(-1, 2), axis=0, return_inverse=True)
    edge_of = edge_of.reshape(-1, 4)
    face_points = _incidence(local, count) / 4  # [q, n]
    middles = _incidence(edges, count) / 2  # [e, n]
    face_by_edge = _incidence(edge_of, len(edges)).T  # [e, q]
    edge_points = middles / 2 + (face_by_edge / 2) @ face_points / 2
    face_by_vertex, edge_by_vertex = _incidence(local, count).T, _incidence(edges, count).T
    valence = np.asarray(face_by_vertex.sum(axis=1)).ravel()
    per_vertex = sp.diags_array(1 / valence)
    vertex_points = per_vertex @ (
        per_vertex @ face_by_vertex @ face_points
        + 2 * per_vertex @ edge_by_vertex @ middles
        + sp.diags_array(valence - 3.0)
    )
    points = sp.vstack([vertex_points, face_points, edge_points], format="csr")  # [n + q + e, n]
    before, after = body[used], points @ body[used]
    centre = before.mean(axis=0)
    growth = np.linalg.norm(before - centre, axis=1).mean() / np.linalg.norm(after[:count] - centre, axis=1).mean()
    points = growth * points + (1 - growth) * sp.csr_array(np.full((points.shape[0], count), 1 / count))
    first = operator.shape[0]
    f, e = first + count + np.arange(len(quads)), first + count + len(quads) + edge_of
    refined = [np.stack([first + local[:, i], e[:, i], f, e[:, i - 1]], axis=1) for i in range(4)]
    selection = operator[used]
    return sp.vstack([operator, points @ selection], format="csr"), np.concatenate(refined)


def _front_of_eye(quads: Int[np.ndarray, "q 4"], vertices: Float[np.ndarray, "v 3"]) -> Int[np.ndarray, "r 4"]:
    outwards = vertices[quads].mean(axis=1) - eye_centre(vertices[np.unique(quads)])
    return quads[outwards[:, 2] > np.cos(np.radians(_EYE_CAP_DEG)) * np.linalg.norm(outwards, axis=1)]


def _top_of_tongue(quads: Int[np.ndarray, "q 4"], vertices: Float[np.ndarray, "v 3"]) -> Int[np.ndarray, "r 4"]:
    a, b, c, d = (vertices[quads[:, corner]] for corner in range(4))
    upwards = np.cross(c - a, d - b)
    upwards = upwards[:, 1] / np.linalg.norm(upwards, axis=1)
    return quads[(upwards > _TONGUE_FACES_UP) & (vertices[quads, 2].mean(axis=1) > _TONGUE_FROM_Z_M)]


def _incidence(members: Int[np.ndarray, "n k"], count: int) -> sp.csr_array:
    rows = np.repeat(np.arange(len(members)), members.shape[1])
    return sp.csr_array((np.ones(members.size), (rows, members.ravel())), (len(members), count))


def _body_landmarks(mirror: Int[np.ndarray, " b"], used: Int[np.ndarray, " v"]) -> dict[str, int]:
    bodies = dict(MIDLINE_LANDMARKS)
    for name, index in LEFT_LANDMARKS.items():
        bodies[f"{name}_left"], bodies[f"{name}_right"] = index, int(mirror[index])
    return {name: int(np.searchsorted(used, index)) for name, index in bodies.items()}


def _shape_landmarks(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], labels: UInt8[np.ndarray, " f"]
) -> dict[str, int]:
    """Landmarks that are extremes of the average shape."""
    skin = faces[labels == PARTS.index("skin")]
    lids = sorted(boundary_loops(skin)[2:4], key=lambda loop: -vertices[loop, 0].mean())  # left (+X) first
    found = {}
    for side, lid in zip(("left", "right"), lids, strict=True):
        found[f"upper_lid_{side}"] = lid[int(vertices[lid, 1].argmax())]
        found[f"lower_lid_{side}"] = lid[int(vertices[lid, 1].argmin())]
        eye = np.unique(faces[labels == PARTS.index(f"eye_{side}")])
        ahead = vertices[eye] - eye_centre(vertices[eye])
        found[f"pupil_{side}"] = int(eye[(ahead[:, 2] - np.linalg.norm(ahead, axis=1)).argmax()])
    on_skin = np.unique(skin)
    head = on_skin[vertices[on_skin, 1] > 0]
    found["crown"] = int(head[vertices[head, 1].argmax()])
    found["occiput"] = int(head[vertices[head, 2].argmin()])
    return found


def eye_centre(vertices: Float[np.ndarray, "v 3"]) -> Float[np.ndarray, " 3"]:
    """Centre of the sphere that fits the vertices best in the least-squares sense."""
    system = np.column_stack([2 * vertices, np.ones(len(vertices))])
    return np.linalg.lstsq(system, (vertices**2).sum(axis=1), rcond=None)[0][:3]
