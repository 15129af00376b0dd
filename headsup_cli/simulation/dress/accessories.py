"""Glasses, earrings and things worn on the head, as geometry fitted to the posed head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli.media.opencv import cv2
from headsup_cli.simulation.body.anatomy import (
    AZIMUTHS,
    EARRING,
    GLASSES,
    HAT,
    LENS,
    MAX_POLAR_DEG,
    POLARS,
    SCARF,
    Anatomy,
    smoothstep,
)
from headsup_cli.simulation.dress.cutting import compacted, split
from headsup_cli.simulation.noise import noise_at
from headsup_cli.template.anny_source import AnnySource

Rims = Literal["none", "round", "square", "aviator", "cat-eye"]
Earrings = Literal["none", "studs", "hoops", "drops"]
Headwear = Literal["none", "cap", "beanie", "headscarf"]
_RIMS: tuple[Rims, ...] = ("round", "square", "aviator", "cat-eye")

_RIM_POINTS, _TUBE_SIDES = 28, 6
_HAT_COLUMNS, _HAT_ROWS = 72, 20


@dataclass(frozen=True)
class Accessories:
    """What a person wears besides clothes; lengths in metres."""

    rims: Rims  # shape of the glasses, none without any
    rim_m: float  # radius of the frame's bars
    lens_m: float  # half the width of a lens
    sunglasses: bool
    earrings: Earrings
    earring_m: float  # radius
    headwear: Headwear
    headwear_deg: float  # how far down a hat sits; opening of a headscarf
    headwear_m: float  # thickness over the skull
    offset: Float[np.ndarray, "3"]  # into the noise


@dataclass(frozen=True)
class AccessoryMesh:
    """A mesh in the frame of the vertices it was fitted to."""

    vertices: Float32[np.ndarray, "n 3"]
    solid: Float32[np.ndarray, "n 3"]  # where it is painted, rest space
    detail: Float32[np.ndarray, "n 2"]  # depth under an edge, 1 on ribs
    faces: Int[np.ndarray, "m 3"]
    part: UInt8[np.ndarray, " m"]


def sample_accessories(rng: np.random.Generator, gender: float, age: float) -> Accessories:
    """Draw accessories: glasses on 20 in a hundred, earrings 15, caps and beanies 6, headscarves 4."""
    elder, woman = float(np.interp(age, [0.5, 0.95], [0, 1])), gender > 0.5
    glasses = rng.random() < (0.12 + 0.20 * elder)
    wear = rng.random()
    scarf, hat = 0.08 * woman, 0.04 if woman else 0.08
    headwear: Headwear = "none"
    if wear < scarf + hat:
        headwear = "headscarf" if wear < scarf else "cap" if rng.random() < 0.5 else "beanie"
    kinds: tuple[Earrings, ...] = ("studs", "hoops", "drops")
    rings = rng.random() < (0.27 if woman else 0.04) and headwear != "headscarf"
    earrings: Earrings = kinds[rng.choice(3, p=[0.5, 0.3, 0.2])] if rings else "none"
    thick = rng.random() < 0.45
    return Accessories(
        rims=_RIMS[rng.choice(4, p=[0.3, 0.4, 0.15, 0.15] if woman else [0.3, 0.5, 0.2, 0.0])] if glasses else "none",
        rim_m=rng.uniform(0.0015, 0.0024) if thick else rng.uniform(0.0007, 0.0011),
        lens_m=rng.uniform(0.0225, 0.0265),
        sunglasses=bool(rng.random() < 0.12),
        earrings=earrings,
        earring_m=rng.uniform(0.007, 0.020) if earrings == "hoops" else rng.uniform(0.0022, 0.0040),
        headwear=headwear,
        headwear_deg=rng.uniform(54, 62) if headwear == "headscarf" else rng.uniform(-4, 5),
        headwear_m=rng.uniform(0.009, 0.014),
        offset=rng.uniform(0, 32, 3),
    )


def hair_hidden_deg(accessories: Accessories, azimuth_deg: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Polar angle about the skull's centre down to which headwear covers the scalp; 0 where nothing does."""
    if accessories.headwear == "none":
        return np.zeros_like(azimuth_deg, float)
    if accessories.headwear == "headscarf":
        return np.full_like(azimuth_deg, 180.0, float)
    away = np.abs((azimuth_deg + 180) % 360 - 180)
    front, side, back = (60.0, 80.0, 92.0) if accessories.headwear == "cap" else (56.0, 88.0, 112.0)
    line = np.interp(away, [0, 30, 80, 130, 180], [front, front + 2, side, 0.5 * (side + back), back])
    return line + accessories.headwear_deg


def wear(
    accessories: Accessories,
    anatomy: Anatomy,
    vertices: Float[np.ndarray, "v 3"],
    posed: Float[np.ndarray, "v 3"] | None = None,
) -> AccessoryMesh | None:
    """Fit everything to a head.

    Args:
        accessories: What to wear.
        anatomy: Of the template.
        vertices: The head at rest in the head frame, template topology; glasses, earrings and hats stay as they sit.
        posed: The same head in an expression, which headscarves lie on; `vertices` where not given.

    Returns:
        None for nothing.
    """
    parts = []
    if accessories.rims != "none":
        parts += _glasses(accessories, anatomy, vertices)
    if accessories.earrings != "none":
        parts += _earrings(accessories, vertices)
    if accessories.headwear == "headscarf":
        parts.append(_headscarf(accessories, anatomy, vertices, vertices if posed is None else posed))
    elif accessories.headwear != "none":
        parts += _hat(accessories, anatomy, vertices)
    if not parts:
        return None
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return AccessoryMesh(
        vertices=np.concatenate([part.vertices for part in parts]),
        solid=np.concatenate([part.solid for part in parts]),
        detail=np.concatenate([part.detail for part in parts]),
        faces=np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
        part=np.concatenate([part.part for part in parts]),
    )


def _mesh(
    points: Float[np.ndarray, "n 3"],
    faces: Int[np.ndarray, "m 3"],
    part: int,
    below: Float[np.ndarray, " n"] | float = 0.01,
    rib: Float[np.ndarray, " n"] | float = 0.0,
) -> AccessoryMesh:
    detail = np.stack([np.broadcast_to(below, len(points)), np.broadcast_to(rib, len(points))], -1)
    solid = (points - np.array([0, 0.02, 0.08])).astype(np.float32)
    part_of_faces = np.full(len(faces), part, np.uint8)
    return AccessoryMesh(points.astype(np.float32), solid, detail.astype(np.float32), faces, part_of_faces)


def _grid_faces(rows: int, columns: int) -> Int[np.ndarray, "m 3"]:
    index = np.arange(rows * columns).reshape(rows, columns)
    quads = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _tube(
    line: Float[np.ndarray, "n 3"], radius_m: float, part: int, closed: bool = False, flat: float = 1.0
) -> AccessoryMesh:
    """Sweep an ellipse along a line, `flat` times as high (+Y) as it is wide."""
    if closed:
        line = np.concatenate([line, line[:1]])
        tangent = np.gradient(np.concatenate([line[-2:-1], line, line[1:2]]), axis=0)[1:-1]
    else:
        tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.where(np.abs(tangent[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(tangent, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(tangent, first)
    turn = np.linspace(0, 2 * np.pi, _TUBE_SIDES + 1)
    ring = np.cos(turn)[:, None] * first[:, None] * flat + np.sin(turn)[:, None] * second[:, None]
    points = (line[:, None] + radius_m * ring).reshape(-1, 3)
    return _mesh(points, _grid_faces(len(line), _TUBE_SIDES + 1), part)


def _outline(rims: Rims, half_m: float, side: float) -> Float[np.ndarray, "n 2"]:
    """A lens's outline seen from the front, (x, y) from the pupil, counter-clockwise."""
    turn = np.linspace(0, 2 * np.pi, _RIM_POINTS, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    power, high, drop = {
        "round": (2.0, 0.95, 0.0), "square": (4.5, 0.72, -0.002), "aviator": (2.6, 0.92, -0.005),
        "cat-eye": (3.0, 0.72, 0.0),
    }[rims]  # fmt: skip
    radius = (np.abs(c) ** power + np.abs(s) ** power) ** (-1 / power)
    x, y = half_m * radius * c, half_m * high * radius * s + drop
    if rims == "aviator":
        x = x * (1 - 0.16 * smoothstep(0.0, -1.0, s) + 0.06 * smoothstep(0, 1, s)) + side * 0.0012
    if rims == "cat-eye":
        y = y + 0.006 * smoothstep(0.2, 1.0, c * side) * (s > -0.3)
    return np.stack([x + side * 0.0015, y - 0.002], -1)


def _glasses(accessories: Accessories, anatomy: Anatomy, vertices: Float[np.ndarray, "v 3"]) -> list[AccessoryMesh]:
    landmarks = AnnySource.shared().mesh.landmarks
    at = {name: vertices[index].astype(float) for name, index in landmarks.items()}
    eyes = [vertices[eye].mean(0).astype(float) for eye in anatomy.eye_vertices]  # left, right
    scale = (eyes[0][0] - eyes[1][0]) / 0.062
    front = max(at["nose_bridge"][2] + 0.001, eyes[0][2] + 0.019, at["brow_middle_left"][2] + 0.003)
    radius, parts, inner = accessories.rim_m, [], []
    for eye, name, side in ((eyes[0], "left", 1.0), (eyes[1], "right", -1.0)):
        outline = _outline(accessories.rims, accessories.lens_m * scale, side) + eye[:2]
        wrap = 2.2 * (outline[:, 0] - eyes[0][0] * 0.3 * side) ** 2
        rim = np.column_stack([outline, front - wrap - 0.12 * (eye[1] - outline[:, 1])])
        parts.append(_tube(rim, radius, GLASSES, closed=True))
        middle = rim.mean(0) + np.array([0, 0, 0.0012])
        fan = np.stack(
            [np.arange(_RIM_POINTS), np.roll(np.arange(_RIM_POINTS), -1), np.full(_RIM_POINTS, _RIM_POINTS)], 1
        )
        parts.append(_mesh(np.concatenate([rim, middle[None]]), fan, LENS))
        inner.append(rim[(rim[:, 0] * side - 0.2 * np.abs(rim[:, 1] - eye[1] - 0.004)).argmin()])
        hinge = rim[(rim[:, 0] * side + 0.4 * rim[:, 1]).argmax()]
        parts.append(_temple(hinge, at[f"ear_top_{name}"], side, radius, anatomy, vertices))
    t = np.linspace(0, 1, 9)[:, None]
    bridge = inner[0] * (1 - t) + inner[1] * t + np.array([0, 0.0035, 0.003]) * np.sin(np.pi * t)
    parts.append(_tube(bridge, max(radius, 0.0009), GLASSES))
    return parts


def _temple(
    hinge: Float[np.ndarray, "3"],
    ear_top: Float[np.ndarray, "3"],
    side: float,
    radius_m: float,
    anatomy: Anatomy,
    vertices: Float[np.ndarray, "v 3"],
) -> AccessoryMesh:
    """The arm of the glasses: back along the temple, over the ear and down behind it."""
    rest_on = ear_top + np.array([-side * 0.006, -0.003, 0.004])
    tip = rest_on + np.array([-side * 0.003, -0.030, -0.022])
    t = np.linspace(0, 1, 12)[:, None]
    line = np.concatenate([[hinge], (hinge + np.array([side * 0.002, 0, -0.004])) * (1 - t) + rest_on * t])
    hook = np.linspace(0, 1, 6)[1:, None]
    line = np.concatenate([line, rest_on + (tip - rest_on) * hook + [0, 0.004, -0.006] * np.sin(np.pi * hook)])
    skin = vertices[anatomy.skin & (anatomy.ear < 0.1) & (vertices[:, 0] * side > 0.03)]
    for point in line[1:13]:
        near = skin[(np.abs(skin[:, 1:] - point[1:]) < 0.009).all(1)]
        if len(near):
            point[0] = side * max(point[0] * side, (near[:, 0] * side).max() + radius_m + 0.0012)
    return _tube(line, radius_m, GLASSES, flat=1.6 if radius_m > 0.0012 else 1.0)


def _earrings(accessories: Accessories, vertices: Float[np.ndarray, "v 3"]) -> list[AccessoryMesh]:
    landmarks, parts = AnnySource.shared().mesh.landmarks, []
    for name, side in (("left", 1.0), ("right", -1.0)):
        lobe = vertices[landmarks[f"ear_lobe_{name}"]].astype(float) + np.array([side * 0.002, 0.003, 0.002])
        radius = accessories.earring_m
        if accessories.earrings == "hoops":
            turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
            circle = np.stack([0.25 * side * np.cos(turn), np.sin(turn) - 1, np.cos(turn)], -1)
            parts.append(_tube(lobe + radius * circle, 0.0011, EARRING, closed=True))
            continue
        parts.append(_ball(lobe + np.array([side * 0.6 * radius, 0, 0]), np.full(3, radius)))
        if accessories.earrings == "drops":
            drop = lobe + np.array([side * 0.6 * radius, -0.006 - 2.2 * radius, 0])
            parts.append(_tube(np.linspace(lobe, drop, 4), 0.0006, EARRING))
            parts.append(_ball(drop, radius * np.array([0.9, 2.2, 0.9])))
    return parts


def _ball(centre: Float[np.ndarray, "3"], radii_m: Float[np.ndarray, "3"]) -> AccessoryMesh:
    polar, turn = np.meshgrid(np.linspace(0, np.pi, 7), np.linspace(0, 2 * np.pi, 11), indexing="ij")
    ball = np.stack([np.sin(polar) * np.cos(turn), np.cos(polar), np.sin(polar) * np.sin(turn)], -1)
    return _mesh((centre + radii_m * ball).reshape(-1, 3), _grid_faces(7, 11), EARRING)


def _skull(
    anatomy: Anatomy,
    vertices: Float[np.ndarray, "v 3"],
    azimuth_deg: Float[np.ndarray, "*n"],
    polar_deg: Float[np.ndarray, "*n"],
) -> Float[np.ndarray, "*n 3"]:
    """Points of the scalp by their angles about the skull's centre, blended between the rays of the skull map."""
    skull = anatomy.skull_points(vertices)  # [azimuths, polars, 3]
    azimuth_deg, polar_deg = np.broadcast_arrays(azimuth_deg, polar_deg)
    column = (azimuth_deg + 180) / 360 * AZIMUTHS % AZIMUTHS
    row = np.clip(polar_deg / MAX_POLAR_DEG * (POLARS - 1), 0, POLARS - 1.001)
    c, r = np.floor(column).astype(int), np.floor(row).astype(int)
    fc, fr = (column - c)[..., None], (row - r)[..., None]
    c, after = c % AZIMUTHS, (c + 1) % AZIMUTHS
    upper = skull[c, r] * (1 - fc) + skull[after, r] * fc
    return upper * (1 - fr) + (skull[c, r + 1] * (1 - fc) + skull[after, r + 1] * fc) * fr


def _hat(accessories: Accessories, anatomy: Anatomy, vertices: Float[np.ndarray, "v 3"]) -> list[AccessoryMesh]:
    """A cap or a beanie: a shell over the skull down to its line, with a brim or a turned-up band."""
    azimuth = np.linspace(-180, 180, _HAT_COLUMNS + 1)[:, None]
    line = hair_hidden_deg(accessories, azimuth)
    along = np.linspace(0, 1, _HAT_ROWS)[None]
    base = _skull(anatomy, vertices, azimuth + 0 * along, along * line)  # [columns, rows, 3]
    centre = base.reshape(-1, 3).mean(0) - [0, 0.05, 0]
    outward = base - centre
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    cap = accessories.headwear == "cap"
    loose = noise_at(base.reshape(-1, 3), 0.045, accessories.offset)[:, 0].reshape(base.shape[:2])
    slack = (0.010 if cap else 0.020) * smoothstep(0.9, 0.3, along) + 0.002 * loose * smoothstep(1.0, 0.7, along)
    thick = accessories.headwear_m + slack - 0.003 * smoothstep(0.85, 1.0, along)
    if not cap:
        thick = thick + 0.0055 * smoothstep(0.64, 0.68, along) + 0.002  # the turned-up band
    points = base + outward * thick[..., None]
    inside = base[:, -1:] + outward[:, -1:] * 0.002
    points = np.concatenate([points, inside], 1)
    depth = np.concatenate([(1 - along) * line * 0.0018 + 0.0003, 0 * azimuth], 1)
    ribs = np.zeros_like(depth) if cap else np.ones_like(depth)
    shell = _mesh(points.reshape(-1, 3), _grid_faces(*points.shape[:2]), HAT, depth.reshape(-1), ribs.reshape(-1))
    return [shell, _brim(points[:, -2], azimuth[:, 0])] if cap else [shell]


def _brim(edge: Float[np.ndarray, "c 3"], azimuth_deg: Float[np.ndarray, " c"]) -> AccessoryMesh:
    """A cap's peak, from its edge forward, curved down at the sides, with an underside."""
    turn = np.linspace(-62, 62, 25)
    root = np.stack([np.interp(turn, azimuth_deg, edge[:, k]) for k in range(3)], -1)
    reach = 0.072 * np.sqrt(np.clip(1 - (turn / 62.5) ** 2, 0, 1)) ** 0.8
    t = np.linspace(0, 1, 7)[None, :, None]
    forward = np.array([0.0, -0.16, 1.0])
    curl = -(3.2 * root[:, :1] ** 2) * 1.0
    points = root[:, None] + reach[:, None, None] * t * forward + t * curl[:, None] * [0, 1, 0]
    both = np.concatenate([points, points[:, ::-1] - [0, 0.0028, 0]], 1)
    return _mesh(both.reshape(-1, 3), _grid_faces(*both.shape[:2]), HAT, 0.01, 0.0)


def _headscarf(
    accessories: Accessories, anatomy: Anatomy, vertices: Float[np.ndarray, "v 3"], posed: Float[np.ndarray, "v 3"]
) -> AccessoryMesh:
    """A scarf over head, ears, neck and collar, open before the face: a smooth hull of the skin, cut out.

    It lies on the `posed` skin, and its opening, fitted to the `vertices` at rest, goes down with the chin.
    """
    landmarks = AnnySource.shared().mesh.landmarks
    brow, chin = vertices[landmarks["glabella"], 1], posed[landmarks["chin_bottom"], 1]
    rows, columns = 44, _HAT_COLUMNS
    skin = posed[anatomy.skin & (np.hypot(vertices[:, 0], vertices[:, 2] + 0.05) < 0.145)]
    row, turn, reach = _hull_coordinates(skin)
    grid = np.zeros((rows, columns), np.float32)
    np.maximum.at(grid, (np.clip(row * rows, 0, rows - 1).astype(int), (turn * columns).astype(int) % columns), reach)
    lying = np.zeros_like(grid)
    for size in ((3, 3), (5, 5), (5, 7)):  # closes the gaps between vertices, then spans hollows as cloth does
        wrapped = np.concatenate([grid[:, -8:], grid, grid[:, :8]], 1)
        grown = cv2.dilate(wrapped, np.ones(size, np.uint8))
        grown = grown[:, 8:-8].astype(np.float32)
        grid = np.where(grid > 0, np.maximum(grid, np.float32(0.5) * (grid + grown)), grown)
        lying = np.where(lying > 0, lying, grid)
    wrapped = cv2.GaussianBlur(np.concatenate([grid[:, -8:], grid, grid[:, :8]], 1), (0, 0), 1.6)
    grid = wrapped[:, 8 : 8 + columns].astype(np.float32)
    grid[0] = grid[0].mean()
    hem = smoothstep(0.78, 0.97, np.linspace(0, 1, rows))[:, None]  # which lies on the body
    grid = np.where(lying > 0, grid + hem * np.minimum(lying + 0.004 - grid, 0), grid).astype(np.float32)
    points = _hull_points(grid, accessories.headwear_m)
    fold = noise_at(points.reshape(-1, 3) * [1, 0.35, 1], 0.024, accessories.offset)[:, 0].reshape(rows, columns + 1)
    middle, high = 0.5 * (brow + 0.030 + chin), 0.5 * (brow + 0.030 - chin) + 0.003
    wide = 1.5 * vertices[landmarks["eye_outer_left"], 0] * accessories.headwear_deg / 58
    oval = np.hypot(points[..., 0] / wide, (points[..., 1] - middle) / high) - 1
    oval = np.where(points[..., 2] > _HULL_CENTRE_M[2], oval, 1.0)
    drawn_in = smoothstep(0.30, 0.0, oval) * 0.016 - 0.004 * fold * smoothstep(0.05, 0.5, oval)
    outward = points - [0, 0, _HULL_CENTRE_M[2]]
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    points = points - outward * drawn_in[..., None]
    field = np.concatenate([points, oval[..., None]], -1).reshape(-1, 4)
    cut, faces, _, kept = split(field, _grid_faces(rows, columns + 1), field[:, 3])
    cut, faces = compacted(cut, faces[kept])
    return _mesh(cut[:, :3], faces, SCARF, np.clip(cut[:, 3], 0, 1) * 0.05)


_HULL_CENTRE_M = np.array([0.0, 0.04, -0.03])
_HULL_DROP_M, _HULL_CAP = 0.27, 0.42  # how far below its centre the hull reaches; share of its rows above


def _hull_coordinates(
    points: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Row and turn in 0..1 and distance: spherical over the hull's centre, cylindrical below."""
    x, y, z = (points - _HULL_CENTRE_M).T
    away = np.hypot(x, z)
    polar = np.arctan2(away, y) / (np.pi / 2)
    row = np.where(y > 0, _HULL_CAP * polar, _HULL_CAP + (1 - _HULL_CAP) * -y / _HULL_DROP_M)
    return row, np.arctan2(x, z) / (2 * np.pi) + 0.5, np.where(y > 0, np.hypot(away, y), away)


def _hull_points(reach: Float[np.ndarray, "r c"], lift_m: float) -> Float[np.ndarray, "r c+1 3"]:
    """The inverse of `_hull_coordinates`, with the first column again after the last."""
    rows, columns = reach.shape
    reach = np.concatenate([reach, reach[:, :1]], 1) + lift_m
    row = (np.arange(rows) / (rows - 1))[:, None]
    turn = (np.arange(columns + 1) + 0.5)[None] / columns * 2 * np.pi - np.pi
    polar = np.clip(row / _HULL_CAP, 0, 1) * np.pi / 2
    away, drop = reach * np.sin(polar), np.clip(row - _HULL_CAP, 0, None) / (1 - _HULL_CAP) * _HULL_DROP_M
    return _HULL_CENTRE_M + np.stack([away * np.sin(turn), reach * np.cos(polar) - drop, away * np.cos(turn)], -1)
