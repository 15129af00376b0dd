"""Soft light from many lamps with shadows, computed at the vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh
from headsup_cli.simulation.lighting_kernels import gather_light
from headsup_cli.simulation.rig import look_at

LAMPS = 14
_SHADOW_PX, _SHADOW_DISTANCE_M, _SHADOW_EXTENT_M = 96, 20.0, 0.75


@dataclass(frozen=True)
class Lamps:
    """Distant lamps around the head; colours are linear irradiance at normal incidence."""

    directions: Float32[np.ndarray, "l 3"]  # towards the lamp, head frame
    colours: Float32[np.ndarray, "l 3"]
    ambient: Float32[np.ndarray, "3"]


def sample_lamps(rng: np.random.Generator) -> Lamps:
    """Draw a studio: a dome of soft light with a few lamps that stand out, together near unit brightness."""
    index = np.arange(LAMPS) + 0.5
    height = 1 - 1.55 * index / LAMPS  # most of the dome lies above the horizon
    turn = index * np.pi * (3 - 5**0.5) + rng.uniform(0, 2 * np.pi)
    radius = np.sqrt(np.clip(1 - height**2, 0, 1))
    directions = np.stack([radius * np.sin(turn), height, radius * np.cos(turn)], -1)
    uneven = rng.choice([0.2, 0.5, 0.9])
    power = np.exp(rng.normal(0, uneven, LAMPS))
    power[int(rng.integers(LAMPS))] *= rng.uniform(1, 1 + 4 * uneven)
    colours = power[:, None] * np.exp(rng.normal(0, 0.05, (LAMPS, 3)) + rng.normal(0, 0.04, 3))
    exposure = rng.uniform(0.8, 1.25)
    colours *= exposure * 2.6 / (power.sum())
    return Lamps(
        directions.astype(np.float32),
        colours.astype(np.float32),
        np.full(3, exposure * rng.uniform(0.10, 0.22), np.float32),
    )


def irradiance(
    lamps: Lamps,
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
) -> Float32[np.ndarray, "v 3"]:
    """Light that reaches each vertex, shadowed by the mesh itself, linear and per colour channel."""
    n = len(lamps.directions)
    centre = lamps.directions.astype(np.float64) * _SHADOW_DISTANCE_M
    pose = look_at(centre, np.tile([0.0, -0.06, 0.0], (n, 1)), np.zeros(n))
    half, focal = _SHADOW_PX / 2, _SHADOW_PX * _SHADOW_DISTANCE_M / _SHADOW_EXTENT_M
    K = np.tile(np.array([[focal, 0, half], [0, focal, half], [0, 0, 1]]), (n, 1, 1))
    cameras = Cameras(torch.from_numpy(pose), torch.from_numpy(K), _SHADOW_PX, _SHADOW_PX)
    depth = rasterise_mesh(vertices, faces, cameras).depth
    out = np.tile(lamps.ambient, (len(vertices), 1))
    gather_light(
        vertices.astype(np.float32), normals.astype(np.float32), lamps.directions, lamps.colours,
        (K @ pose[:, :3]).astype(np.float32), depth, out,
    )  # fmt: skip
    return out
