"""Soft light from many lamps with shadows, computed at the vertices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh
from headsup_cli.simulation.drawing.lighting_kernels import gather_light
from headsup_cli.simulation.rig.rig import look_at

LAMPS = 14
LightSetup = Literal["dome", "flat", "key", "top", "window"]
SETUPS: tuple[LightSetup, ...] = ("dome", "flat", "key", "top", "window")
_SETUP_CHANCES = (0.38, 0.14, 0.22, 0.12, 0.14)
_SHADOW_PX, _SHADOW_DISTANCE_M, _SHADOW_EXTENT_M = 112, 20.0, 0.75
# Light that enters a fold of the skin leaves it redder.
_OCCLUSION_POWER = np.array([0.75, 1.0, 1.1], np.float32)


@dataclass(frozen=True)
class Lamps:
    """Distant lamps around the head; colours are linear irradiance at normal incidence."""

    directions: Float32[np.ndarray, "l 3"]  # towards the lamp, head frame
    colours: Float32[np.ndarray, "l 3"]
    ambient: Float32[np.ndarray, "3"]
    setup: LightSetup


def sample_lamps(rng: np.random.Generator) -> Lamps:
    """Draw a light set-up, of about unit brightness on the face.

    `dome` is a studio with lamps all around, some brighter than others; `flat` the even light of a scanning rig;
    `key` a soft key light with a fill and a rim light; `top` light from above; `window` one large cool source at a side
    and a warm room.
    """
    setup = SETUPS[rng.choice(len(SETUPS), p=_SETUP_CHANCES)]
    directions, power, tint = _dome(rng) if setup in ("dome", "flat") else _clusters(rng, setup)
    if setup == "flat":
        power = np.ones(LAMPS)
    colours = power[:, None] * tint * np.exp(rng.normal(0, 0.03, (LAMPS, 3)) + rng.normal(0, 0.035, 3))
    exposure = 0.85 * 1.75 ** rng.uniform(0, 1)
    # What a face turned to the front and one turned half to the side would receive.
    facing = np.clip(directions @ np.array([[0, 0, 1], [0.6, 0.3, 0.74], [-0.6, 0.3, 0.74]]).T, 0, None).max(1)
    colours *= exposure * 0.98 / (power * facing).sum()
    ambient = exposure * rng.uniform(0.12, 0.22) * (0.8 if setup in ("key", "window") else 1.0)
    return Lamps(directions.astype(np.float32), colours.astype(np.float32), np.full(3, ambient, np.float32), setup)


def hardened(lamps: Lamps, hardness: float) -> Lamps:
    """The same light gathered into its strongest lamp: none of it at `hardness` 0, all at 1."""
    power = lamps.colours.sum(1)
    strongest, gathered = power.argmax(), np.zeros_like(lamps.colours)
    gathered[strongest] = 0.6 * lamps.colours[strongest] * power.sum() / power.max()  # all would blind the cameras
    return replace(
        lamps,
        colours=np.float32(1 - hardness) * lamps.colours + np.float32(hardness) * gathered,
        ambient=lamps.ambient * np.float32(1 - 0.5 * hardness),
    )


_Drawn = tuple[Float[np.ndarray, "l 3"], Float[np.ndarray, " l"], Float[np.ndarray, "l 3"]]


def _dome(rng: np.random.Generator) -> _Drawn:
    """Lamps spread evenly over the sphere down to a little below the horizon: directions, powers, tints."""
    index = np.arange(LAMPS) + 0.5
    height = 1 - 1.55 * index / LAMPS
    turn = index * np.pi * (3 - 5**0.5) + rng.uniform(0, 2 * np.pi)
    radius = np.sqrt(np.clip(1 - height**2, 0, 1))
    power = np.exp(rng.normal(0, rng.choice([0.2, 0.5, 0.8]), LAMPS))
    directions = np.stack([radius * np.sin(turn), height, radius * np.cos(turn)], -1)
    return directions, power, np.ones((LAMPS, 3))


def _clusters(rng: np.random.Generator, setup: LightSetup) -> _Drawn:
    """Soft boxes, each a few lamps close together: directions, powers, tints."""
    side, warm = rng.choice([-1.0, 1.0]), rng.uniform(0, 0.10)
    tungsten, sky = np.array([1 + warm, 1.0, 1 - 1.4 * warm]), np.array([1 - 0.7 * warm, 1.0, 1 + 0.8 * warm])
    # Azimuth and elevation in degrees, spread in degrees, power, lamps, tint.
    boxes: dict[str, list[tuple[float, float, float, float, int, np.ndarray]]] = {
        "key": [
            (side * rng.uniform(20, 55), rng.uniform(15, 45), 12, 1.0, 5, tungsten),
            (-side * rng.uniform(35, 75), rng.uniform(-5, 25), 16, rng.uniform(0.25, 0.5), 4, np.ones(3)),
            (-side * rng.uniform(130, 165), rng.uniform(20, 50), 10, rng.uniform(0.4, 1.0), 3, sky),
            (side * rng.uniform(120, 180), rng.uniform(0, 30), 10, 0.25, 2, np.ones(3)),
        ],
        "top": [
            (0, rng.uniform(62, 80), 24, 1.0, 7, np.ones(3)),
            (0, rng.uniform(-20, 10), 50, rng.uniform(0.35, 0.6), 4, tungsten),
            (180, rng.uniform(0, 20), 50, 0.35, 3, tungsten),
        ],
        "window": [
            (side * rng.uniform(50, 95), rng.uniform(5, 30), 20, 1.0, 6, sky),
            (-side * rng.uniform(40, 90), rng.uniform(-5, 20), 30, rng.uniform(0.25, 0.45), 5, tungsten),
            (side * rng.uniform(140, 180), rng.uniform(0, 40), 30, 0.35, 3, tungsten),
        ],
    }  # fmt: skip
    angles, power, tint = [], [], []
    for azimuth, elevation, spread, strength, count, colour in boxes[setup]:
        angles.append(np.radians(np.array([azimuth, elevation]) + rng.normal(0, spread, (count, 2))))
        power += [strength / count] * count
        tint += [colour] * count
    turn, up = np.concatenate(angles).T
    directions = np.stack([np.sin(turn) * np.cos(up), np.sin(up), np.cos(turn) * np.cos(up)], -1)
    return directions, np.array(power), np.array(tint)


def irradiance(
    lamps: Lamps,
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    openness: Float[np.ndarray, " v"] | None = None,
    through_hair: Float32[np.ndarray, "v l"] | None = None,
) -> Float32[np.ndarray, "v 3"]:
    """Light that reaches each vertex, shadowed by the mesh itself, linear and per colour channel.

    Args:
        lamps: The light.
        vertices: Of the mesh.
        normals: Unit normals there.
        faces: What throws the shadows.
        openness: Share of the sky that each vertex sees past what is close to it; all of it where not given.
        through_hair: Share of every lamp's light that hair lets through to each vertex; all where not given.
    """
    n = len(lamps.directions)
    centre = lamps.directions.astype(np.float64) * _SHADOW_DISTANCE_M
    pose = look_at(centre, np.tile([0.0, -0.06, 0.0], (n, 1)), np.zeros(n))
    half, focal = _SHADOW_PX / 2, _SHADOW_PX * _SHADOW_DISTANCE_M / _SHADOW_EXTENT_M
    K = np.tile(np.array([[focal, 0, half], [0, focal, half], [0, 0, 1]]), (n, 1, 1))
    cameras = Cameras(torch.from_numpy(pose), torch.from_numpy(K), _SHADOW_PX, _SHADOW_PX)
    depth = rasterise_mesh(vertices, faces, cameras).depth
    out = np.zeros((len(vertices), 3), np.float32)
    through = np.ones((len(vertices), n), np.float32) if through_hair is None else through_hair
    gather_light(
        vertices.astype(np.float32), normals.astype(np.float32), lamps.directions, lamps.colours,
        (K @ pose[:, :3]).astype(np.float32), depth, through, out,
    )  # fmt: skip
    if openness is None:
        return out + lamps.ambient
    sky = np.clip(openness, 0, 1)[:, None].astype(np.float32) ** _OCCLUSION_POWER
    return (0.3 + 0.7 * sky) * out + sky * lamps.ambient
