"""Lights strands, and lets their shadow fall on the skin."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from headsup_cli.runtime.threads import run_shared
from headsup_cli.simulation.drawing.lighting import Lamps
from headsup_cli.simulation.drawing.strands import NO_STRANDS, Strands
from headsup_cli.simulation.hair.body_field import BodyField
from headsup_cli.simulation.hair.guides import Tress
from headsup_cli.simulation.hair.light_kernels import deposit, gather_voxels, light_strands, share_at, sweep_light

_SKIN_OFFSET_M = 0.004  # the skin's light is looked up just outside it


@dataclass(frozen=True)
class HairLight:
    """What every lamp sends through the hair, on the grid of the body's distance field."""

    body: BodyField
    through_hair: Float32[np.ndarray, "l x y z"]
    light: Float32[np.ndarray, "x y z 14"]

    def on_skin(
        self, vertices: Float[np.ndarray, "v 3"], normals: Float[np.ndarray, "v 3"]
    ) -> Float32[np.ndarray, "v l"]:
        """How much of every lamp the hair lets through to the skin."""
        points = np.ascontiguousarray(vertices + _SKIN_OFFSET_M * normals, dtype=np.float32)
        out = np.empty((len(points), len(self.through_hair)), np.float32)
        share_at(self.through_hair, points, self.body.origin, self.body.cell_m, out)
        return out


def shine_through(tresses: list[Tress], body: BodyField, lamps: Lamps, strongest: Int[np.ndarray, " k"]) -> HairLight:
    """Follow every lamp's light through the hair and past the body, slab by slab of the grid.

    Args:
        tresses: All the hair.
        body: Distance to the skin.
        lamps: In the same frame.
        strongest: The lamps that are seen reflected.
    """
    density = np.zeros(body.distance.shape, np.float32)
    for tress in tresses:
        deposit(tress.nodes, tress.widths, body.origin, body.cell_m, density)
    n = len(lamps.directions)
    hair, solid = (np.empty((n, *density.shape), np.float32) for _ in range(2))
    turns = itertools.count()

    def sweep() -> None:
        while (lamp := next(turns)) < n:
            sweep_light(lamp, lamp + 1, lamps.directions, density, body.distance, body.cell_m, hair, solid)

    run_shared(sweep, torch.get_num_threads() if sweep_light.signatures else 1)  # the first call compiles
    light = np.zeros((*density.shape, 14), np.float32)
    gather_voxels(lamps.directions, lamps.colours, lamps.ambient, strongest, density, hair, solid, light)
    return HairLight(body, hair, light)


def lit_strands(tresses: list[Tress], light: HairLight) -> Strands:
    """The strands of all tresses as the picture needs them."""
    if not tresses:
        return NO_STRANDS
    columns, first, kind, start = [], [], [], 0
    for tress in tresses:
        s, n = tress.nodes.shape[:2]
        block = np.empty((s * n, 18), np.float32)
        light_strands(
            tress.nodes, tress.widths, tress.root_colours, tress.tip_colours, tress.depth_m, tress.shade, tress.taper,
            light.light, light.body.distance, light.body.origin, light.body.cell_m, block,
        )  # fmt: skip
        columns.append(block)
        first.append((start + np.arange(s)[:, None] * n + np.arange(n - 1)).ravel())
        kind.append(np.full(s * (n - 1), tress.kind, np.uint8))
        start += s * n
    return Strands(np.concatenate(columns), np.concatenate(first).astype(np.int32), np.concatenate(kind))
