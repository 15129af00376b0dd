"""A whole person: body, hair, clothes and colours, posed and lit, ready to be rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli.simulation.anatomy import HAIR, Anatomy, default_anatomy, smoothstep, vertex_normals
from headsup_cli.simulation.appearance import Paint, beard_mask, collar_height, sample_melanin, sample_paint
from headsup_cli.simulation.expressions import coefficients
from headsup_cli.simulation.hair import Hair, grow_hair, sample_hair, scalp_mask
from headsup_cli.simulation.identity import Identity, neutral_vertices, sample_identity
from headsup_cli.simulation.lighting import Lamps, irradiance
from headsup_cli.simulation.noise import noise_at
from headsup_cli.simulation.rig import rotation
from headsup_cli.simulation.shading import LitMesh

_HIGHLIGHTS = 2


@dataclass(frozen=True)
class Bust:
    """Where the body ends, as a scanned bust does: below a plane and beyond a distance from the neck, in rest space."""

    bottom_m: float
    tilt: float  # slope of the bottom, forward and back
    side_m: float
    raggedness_m: float


@dataclass(frozen=True)
class Person:
    """Everything about a simulated person but the expression and the light."""

    identity: Identity
    hair: Hair
    paint: Paint
    neutral: Float32[np.ndarray, "v 3"]  # head frame
    torso_from_head: Float[np.ndarray, "3 3"]  # how the body is turned under the head
    cloth_m: float  # thickness of the clothes
    beard_m: float
    bust: Bust
    offset: Float[np.ndarray, "3"]  # into the noise


def sample_person(rng: np.random.Generator, pattern_share: float = 0.0, departure: float = 0.4) -> Person:
    """Draw a person.

    Args:
        rng: Source of all randomness.
        pattern_share: Chance that random patterns cover the skin.
        departure: How far the shape leaves what anny can express, see `neutral_vertices`.
    """
    anatomy = default_anatomy()
    identity = sample_identity(rng)
    ancestry = identity.ancestry
    melanin = sample_melanin(rng, ancestry["african"], ancestry["asian"])
    paint = sample_paint(rng, anatomy, identity.gender, identity.age, melanin, pattern_share)
    short = rng.random() < 0.6
    return Person(
        identity=identity,
        hair=sample_hair(rng, identity.gender, identity.age),
        paint=paint,
        neutral=neutral_vertices(rng, identity, anatomy, departure),
        torso_from_head=rotation(np.radians(rng.normal(0, [6.0, 9.0, 3.0]))),
        cloth_m=float(rng.choice([rng.uniform(0.001, 0.006), rng.uniform(0.006, 0.022)])),
        beard_m=float(paint.beard_density * rng.choice([0.001, rng.uniform(0.002, 0.02)])),
        bust=Bust(
            bottom_m=rng.uniform(-0.36, -0.17) if short else -1.0,
            tilt=rng.normal(0, 0.25),
            side_m=rng.uniform(0.11, 0.28) if short else 1.0,
            raggedness_m=rng.uniform(0, 0.02),
        ),
        offset=rng.uniform(0, 32, 3),
    )


def posed_vertices(person: Person, expression: dict[str, float]) -> Float32[np.ndarray, "v 3"]:
    """Vertices of the template's topology in the head frame: skin under its expression, with clothes and beard."""
    anatomy = default_anatomy()
    left, right = (person.neutral[eye].mean(0) for eye in anatomy.eye_vertices)
    scale = np.linalg.norm(left - right) / 2 / anatomy.half_eye_distance_m
    weights = coefficients(expression)
    vertices = person.neutral + scale * np.tensordot(weights, anatomy.blendshapes, 1)
    pivot = person.neutral[_neck_vertices(anatomy)].mean(0)
    below = (
        smoothstep(-0.075, -0.16, anatomy.rest[:, 1] + 0.35 * (anatomy.rest[:, 2] + 0.085))[:, None]
        * anatomy.skin[:, None]
    )
    vertices = vertices + below * ((vertices - pivot) @ person.torso_from_head.T + pivot - vertices)
    normals = vertex_normals(vertices, anatomy.faces)
    folds = noise_at(anatomy.rest, 0.045, person.offset)
    dressed = person.paint.collar_y > -0.5
    over = smoothstep(0.002, -0.012, collar_height(anatomy.rest, person.paint.collar_y, person.paint.neckline))
    thickness = person.cloth_m * dressed * over * anatomy.skin * (1 + 0.7 * folds[:, 0])
    thickness = thickness + person.beard_m * beard_mask(anatomy) * (1 + 0.4 * folds[:, 1])
    return (vertices + thickness[:, None] * normals).astype(np.float32)


def _neck_vertices(anatomy: Anatomy) -> Int[np.ndarray, " n"]:
    return np.flatnonzero(
        anatomy.skin & (np.abs(anatomy.rest[:, 1] + 0.12) < 0.015) & (np.abs(anatomy.rest[:, 0]) < 0.07)
    )


def lit_mesh(person: Person, vertices: Float32[np.ndarray, "v 3"], lamps: Lamps) -> LitMesh:
    """The posed person with hair, cut off as a bust, under the lamps.

    Args:
        person: Whom.
        vertices: From `posed_vertices`.
        lamps: In the head frame.
    """
    anatomy = default_anatomy()
    masks = np.stack([scalp_mask(person.hair, anatomy), beard_mask(anatomy)], -1)
    normals = vertex_normals(vertices, anatomy.faces)
    columns = np.concatenate([vertices, anatomy.rest, normals, masks], 1)  # [v, 11]
    columns, faces, part = _cut(columns, anatomy.faces, anatomy.part, _above_cut(person, anatomy.rest))
    grown = grow_hair(person.hair, anatomy, vertices)
    if grown is not None:
        hair = np.zeros((len(grown.vertices), 11), np.float32)
        hair[:, :3], hair[:, 3:6] = grown.vertices, grown.strand
        hair[:, 6:9] = vertex_normals(grown.vertices, grown.faces)
        faces = np.concatenate([faces, grown.faces + len(columns)])
        part = np.concatenate([part, np.full(len(grown.faces), HAIR, np.uint8)])
        columns = np.concatenate([columns, hair])
    light = irradiance(lamps, columns[:, :3], columns[:, 6:9], faces)
    strongest = np.argsort(-lamps.colours.sum(1))[:_HIGHLIGHTS]
    return LitMesh(
        columns=np.ascontiguousarray(np.concatenate([columns, light], 1), dtype=np.float32),
        faces=np.ascontiguousarray(faces, dtype=np.int64),
        part=part,
        highlights=lamps.directions[strongest],
        highlight_colours=lamps.colours[strongest],
    )


def _above_cut(person: Person, rest: Float32[np.ndarray, "v 3"]) -> Float[np.ndarray, " v"]:
    """Distance inside the bust's outline, metres."""
    bust, ragged = person.bust, noise_at(rest, 0.03, person.offset)[:, 2]
    bottom = rest[:, 1] - bust.bottom_m - bust.tilt * (rest[:, 2] + 0.085)
    side = bust.side_m - np.hypot(rest[:, 0], rest[:, 2] + 0.085) + np.clip(rest[:, 1] + 0.16, 0, None) * 4
    return np.minimum(bottom, side) + bust.raggedness_m * ragged


def _cut(
    columns: Float[np.ndarray, "v k"],
    faces: Int[np.ndarray, "f 3"],
    part: UInt8[np.ndarray, " f"],
    inside: Float[np.ndarray, " v"],
) -> tuple[Float[np.ndarray, "w k"], Int[np.ndarray, "g 3"], UInt8[np.ndarray, " g"]]:
    """Clip triangles to where `inside` is positive, blending all columns along the edges that are cut."""
    count = (inside[faces] > 0).sum(1)
    whole = faces[count == 3]
    kept, parts, added, start = [whole], [part[count == 3]], [], len(columns)
    for corners in (1, 2):
        cut = faces[count == corners]
        odd = (inside[cut] > 0).argmax(1) if corners == 1 else (inside[cut] <= 0).argmax(1)
        a, b, c = (np.take_along_axis(cut, ((odd + k) % 3)[:, None], 1)[:, 0] for k in range(3))
        ends = []
        for other in (b, c):
            share = (inside[a] / (inside[a] - inside[other]))[:, None]
            added.append(columns[a] * (1 - share) + columns[other] * share)
            ends.append(np.arange(start, start + len(a)))
            start += len(a)
        ab, ac = ends
        pieces = [(a, ab, ac)] if corners == 1 else [(ab, b, c), (ab, c, ac)]
        kept += [np.stack(piece, 1) for piece in pieces]
        parts += [part[count == corners]] * len(pieces)
    return np.concatenate([columns, *added]), np.concatenate(kept), np.concatenate(parts)
