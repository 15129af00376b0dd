"""A whole person: body, hair, clothes and colours, posed and lit, ready to be rendered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli.simulation.body.anatomy import CLOTHES, SKIN, Anatomy, default_anatomy, smoothstep, vertex_normals
from headsup_cli.simulation.body.appearance import (
    BANDS,
    DOTS,
    HEATHER,
    PLAID,
    PLAIN,
    Paint,
    beard_mask,
    sample_cloth,
    sample_melanin,
    sample_paint,
)
from headsup_cli.simulation.body.expressions import coefficients
from headsup_cli.simulation.body.identity import Identity, neutral_vertices, sample_identity
from headsup_cli.simulation.drawing.lighting import Lamps, irradiance
from headsup_cli.simulation.drawing.shading import LitMesh
from headsup_cli.simulation.drawing.strand_kernels import HIGHLIGHTS
from headsup_cli.simulation.dress.accessories import Accessories, hair_hidden_deg, sample_accessories, wear
from headsup_cli.simulation.dress.clothes import Garment, dress, padding, sample_garment, skin_left
from headsup_cli.simulation.dress.cutting import compacted, split
from headsup_cli.simulation.hair.body_field import Cover
from headsup_cli.simulation.hair.facial_hair import grow_beard
from headsup_cli.simulation.hair.growth import grow_hair
from headsup_cli.simulation.hair.hair import Hair, beard_density, sample_hair, scalp_mask, shorn
from headsup_cli.simulation.hair.light import lit_strands, shine_through
from headsup_cli.simulation.hair.roots import measured_body
from headsup_cli.simulation.noise import noise_at
from headsup_cli.simulation.rig.rig import rotation


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
    garment: Garment
    accessories: Accessories
    neutral: Float32[np.ndarray, "v 3"]  # head frame
    torso_from_head: Float[np.ndarray, "3 3"]  # how the body is turned under the head
    beard_m: float  # length of the beard's longest hairs
    bust: Bust
    offset: Float[np.ndarray, "3"]  # into the noise


def sample_person(
    rng: np.random.Generator, pattern_share: float = 0.0, departure: float = 0.4, scan_share: float = 0.0
) -> Person:
    """Draw a person.

    Args:
        rng: Source of all randomness.
        pattern_share: Chance that random patterns cover the skin.
        departure: How far the shape leaves what anny can express, see `neutral_vertices`.
        scan_share: Chance that the person is as scans and models of heads come: without a strand of hair on the scalp,
            hair and brows painted if there are any, mostly bare.
    """
    person, own = _sample_any_person(rng, pattern_share, departure), rng.spawn(1)[0]
    return _as_scanned(own, person) if own.random() < scan_share else person


def _as_scanned(rng: np.random.Generator, person: Person) -> Person:
    bare = rng.random() < 0.7
    garment = replace(person.garment, kind="none", thickness_m=0.0, rib_m=0.0, collar_m=0.0)
    return replace(
        person,
        hair=shorn(rng, person.hair),
        beard_m=0.0,  # stubble is painted
        garment=garment if bare else person.garment,
        paint=person.paint._replace(collar_y=-1.0, hem=0.0) if bare else person.paint,
        accessories=replace(person.accessories, rims="none", earrings="none", headwear="none"),
    )


def _sample_any_person(rng: np.random.Generator, pattern_share: float, departure: float) -> Person:
    anatomy = default_anatomy()
    identity = sample_identity(rng)
    ancestry = identity.ancestry
    melanin = sample_melanin(rng, ancestry["african"], ancestry["asian"])
    paint = sample_paint(rng, anatomy, identity.gender, identity.age, melanin, pattern_share)
    garment = sample_garment(rng, identity.gender)
    accessories = sample_accessories(rng, identity.gender, identity.age)
    if accessories.headwear == "headscarf":  # what is thick or stands up would come through
        garment = replace(garment, kind="t-shirt", thickness_m=0.002, folds_m=0.001, collar_m=0.0)
    paint = _painted(rng, paint, garment, accessories)
    short = rng.random() < 0.6
    return Person(
        identity=identity,
        hair=sample_hair(rng, identity.gender, identity.age, ancestry["african"], ancestry["asian"]),
        paint=paint,
        garment=garment,
        accessories=accessories,
        neutral=neutral_vertices(rng, identity, anatomy, departure),
        torso_from_head=rotation(np.radians(rng.normal(0, [6.0, 9.0, 3.0]))),
        beard_m=float(rng.choice([rng.uniform(0.003, 0.009), rng.uniform(0.012, 0.05)])),
        bust=Bust(
            bottom_m=rng.uniform(-0.36, -0.17) if short else -1.0,
            tilt=rng.normal(0, 0.25),
            side_m=rng.uniform(0.11, 0.28) if short else 1.0,
            raggedness_m=rng.uniform(0, 0.004),
        ),
        offset=rng.uniform(0, 32, 3),
    )


def _painted(rng: np.random.Generator, paint: Paint, garment: Garment, accessories: Accessories) -> Paint:
    """The paint with what depends on the clothes and the accessories."""
    ribbed = garment.kind in ("sweater", "turtleneck")
    cloth, headwear = paint.cloth, paint.headwear
    if garment.kind in ("hoodie", "turtleneck"):
        cloth = sample_cloth(rng, {PLAIN: 0.6, HEATHER: 0.3, BANDS: 0.1 * ribbed})
    if garment.kind == "shirt":
        cloth = sample_cloth(rng, {PLAIN: 0.5, PLAID: 0.3, BANDS: 0.15, DOTS: 0.05})
    if accessories.headwear != "none":
        headwear = sample_cloth(rng, {PLAIN: 0.8, HEATHER: 0.2})
    return paint._replace(
        collar_y=-1.0 if garment.kind == "none" else garment.edge_y,
        hem=garment.rib_m,
        cloth=cloth,
        headwear=headwear,
        lens=np.full(3, rng.uniform(0.08, 0.3), np.float32) if accessories.sunglasses else paint.lens,
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
    return (vertices + padding(person.garment, anatomy)[:, None] * normals).astype(np.float32)


def _neck_vertices(anatomy: Anatomy) -> Int[np.ndarray, " n"]:
    return np.flatnonzero(
        anatomy.skin & (np.abs(anatomy.rest[:, 1] + 0.12) < 0.015) & (np.abs(anatomy.rest[:, 0]) < 0.07)
    )


def lit_mesh(person: Person, vertices: Float32[np.ndarray, "v 3"], lamps: Lamps, sample_m: float = 0.0004) -> LitMesh:
    """The posed person with hair, cut off as a bust, under the lamps.

    What is worn, and the hair of the scalp, lie as they do at rest: faces move under them. Headscarves follow the chin.

    Args:
        person: Whom.
        vertices: From `posed_vertices`.
        lamps: In the head frame.
        sample_m: Width of a picture's sample at the head, metres (`strands.sample_footprint_m`): no strand is thinner.
    """
    anatomy, rest = default_anatomy(), posed_vertices(person, {})
    clothes = _clothes(person, anatomy, rest)
    pieces = [_body(person, anatomy, vertices), *clothes]
    worn = wear(person.accessories, anatomy, rest, vertices)
    if worn is not None:
        pieces.append(_piece(worn.vertices, worn.solid, worn.faces, worn.part, worn.detail))
    starts = np.cumsum([0] + [len(piece.columns) for piece in pieces])
    columns = np.concatenate([piece.columns for piece in pieces])
    faces = np.concatenate([piece.faces + start for piece, start in zip(pieces, starts[:-1], strict=True)])
    strongest = np.argsort(-lamps.colours.sum(1))[:HIGHLIGHTS]
    covers = [Cover(piece.columns[:, :3], piece.columns[:, 6:9]) for piece in clothes]
    still = measured_body(rest, covers, sample_m, person.bust.bottom_m, person.bust.tilt)
    body = still
    if not np.array_equal(rest, vertices):
        body = measured_body(vertices, covers, sample_m, person.bust.bottom_m, person.bust.tilt)
    hidden = partial(hair_hidden_deg, person.accessories)
    tresses = grow_hair(person.hair, person.paint, still, sample_m, hidden, face=body)
    tresses += grow_beard(person.hair, person.paint, body, person.beard_m, sample_m)
    hair_light = shine_through(tresses, body.field, lamps, strongest)
    through = hair_light.on_skin(columns[:, :3], columns[:, 6:9])
    openness = columns[:, 14]
    columns[:, 11:14] = irradiance(lamps, columns[:, :3], columns[:, 6:9], faces, openness, through)
    return LitMesh(
        columns=np.ascontiguousarray(columns, dtype=np.float32),
        faces=np.ascontiguousarray(faces, dtype=np.int64),
        part=np.concatenate([piece.part for piece in pieces]),
        highlights=lamps.directions[strongest],
        highlight_colours=lamps.colours[strongest],
        strands=lit_strands(tresses, hair_light),
    )


class _Piece(NamedTuple):
    """A mesh with the columns of `LitMesh`, as yet without light."""

    columns: Float32[np.ndarray, "v 16"]
    faces: Int[np.ndarray, "f 3"]
    part: UInt8[np.ndarray, " f"]


def _piece(
    vertices: Float[np.ndarray, "v 3"],
    solid: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    part: int | UInt8[np.ndarray, " f"],
    detail: Float[np.ndarray, "v 2"] | None = None,
) -> _Piece:
    """What is not body; `detail`: depth under an edge, and 1 on ribs."""
    columns = np.zeros((len(vertices), 16), np.float32)
    columns[:, :3], columns[:, 3:6], columns[:, 14] = vertices, solid, 1.0
    columns[:, 6:9] = vertex_normals(vertices, faces)
    if detail is not None:
        columns[:, 15], columns[:, 9] = detail.T
    return _Piece(columns, faces, np.broadcast_to(np.uint8(part), len(faces)))


def _body(person: Person, anatomy: Anatomy, vertices: Float32[np.ndarray, "v 3"]) -> _Piece:
    """The body without what clothes hide, cut off as a bust."""
    columns = np.zeros((len(vertices), 16), np.float32)
    columns[:, :3], columns[:, 3:6], columns[:, 6:9] = vertices, anatomy.rest, vertex_normals(vertices, anatomy.faces)
    beard = beard_mask(anatomy) * (0.15 + 0.85 * beard_density(person.hair, anatomy, anatomy.rest))
    columns[:, 9], columns[:, 10] = scalp_mask(person.hair, anatomy), beard
    columns[:, 14], columns[:, 15] = _openness(anatomy, vertices), person.garment.height(anatomy.rest)
    left = np.where(anatomy.skin, skin_left(person.garment, anatomy.rest), 1.0)
    inside = np.minimum(_above_cut(person, anatomy.rest), left)
    columns, faces, source, kept = split(columns, anatomy.faces, inside)
    columns, faces = compacted(columns, faces[kept])
    return _Piece(columns, faces, anatomy.part[source[kept]])


def _clothes(person: Person, anatomy: Anatomy, vertices: Float32[np.ndarray, "v 3"]) -> list[_Piece]:
    skin = anatomy.faces[anatomy.part == SKIN]
    worn = dress(person.garment, vertices, anatomy.rest, skin)
    if worn is None:
        return []
    piece = _piece(worn.vertices, worn.rest, worn.faces, CLOTHES, np.stack([worn.below, worn.rib], 1))
    columns, faces, _, kept = split(piece.columns, piece.faces, _above_cut(person, worn.rest))
    columns, faces = compacted(columns, faces[kept])
    return [_Piece(columns, faces, np.full(len(faces), CLOTHES, np.uint8))]


def _openness(anatomy: Anatomy, vertices: Float32[np.ndarray, "v 3"]) -> Float32[np.ndarray, " v"]:
    """Share of the sky that each vertex sees: the lids, where they are now, shade the eyeballs."""
    openness = anatomy.openness.copy()
    for eye in anatomy.eye_vertices:
        centre = anatomy.rest[eye].mean(0) * [1, 1, 0]
        around = np.linalg.norm(anatomy.rest - centre, axis=1)
        lid = np.flatnonzero(anatomy.skin & (around < anatomy.eye_radius + 0.0016))
        offset = vertices[eye, None] - vertices[lid][None]
        distance = np.linalg.norm(offset, axis=-1)
        nearest = distance.argmin(1)
        under = offset[np.arange(len(eye)), nearest, 1] < 0  # the upper lid, with its lashes, shades further
        openness[eye] = 0.25 + 0.75 * smoothstep(0.0, 1.0, distance.min(1) / np.where(under, 0.0055, 0.0025))
    return openness


def _above_cut(person: Person, rest: Float32[np.ndarray, "v 3"]) -> Float[np.ndarray, " v"]:
    """Distance inside the bust's outline, metres."""
    bust, ragged = person.bust, noise_at(rest, 0.03, person.offset)[:, 2]
    bottom = rest[:, 1] - bust.bottom_m - bust.tilt * (rest[:, 2] + 0.085)
    side = bust.side_m - np.hypot(rest[:, 0], rest[:, 2] + 0.085) + np.clip(rest[:, 1] + 0.16, 0, None) * 4
    return np.minimum(bottom, side) + bust.raggedness_m * ragged
