"""Paints and lights the fragments of a rasterised person, pixel by pixel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import MeshFragments, rasterise_mesh
from headsup_cli.runtime.threads import run_shared
from headsup_cli.simulation.appearance import Paint, paint_record
from headsup_cli.simulation.noise import noise_volume
from headsup_cli.simulation.shading_kernels import SRGB_LUT, shade_rows

_ROWS_AT_ONCE = 32


class LitMesh(NamedTuple):
    """A painted, lit mesh in the frame of the cameras.

    `columns` holds, side by side so that one look-up fetches them all, what the painter interpolates: position (0-2),
    solid coordinates (3-5: rest space for the body, strand coordinates for hair, metres), normal (6-8), scalp and beard
    masks (9, 10), irradiance (11-13).
    """

    columns: Float32[np.ndarray, "n 14"]
    faces: Int[np.ndarray, "m 3"]
    part: UInt8[np.ndarray, " m"]
    highlights: Float32[np.ndarray, "k 3"]  # directions towards the lamps that are seen reflected
    highlight_colours: Float32[np.ndarray, "k 3"]


def render_mesh(
    mesh: LitMesh, paint: Paint, cameras: Cameras, supersampling: int, gain: Float[np.ndarray, "c 3"]
) -> tuple[Float32[np.ndarray, "c h w 3"], Float32[np.ndarray, "c h w"]]:
    """Render a person into every camera.

    Args:
        mesh: The surface.
        paint: Its colours.
        cameras: The views, in the mesh's frame.
        supersampling: Samples per pixel along each side.
        gain: Factors on linear colour per camera.

    Returns:
        sRGB premultiplied by coverage (over black), and coverage.
    """
    height, width = cameras.height, cameras.width
    fine = cameras.resized(width * supersampling, height * supersampling)
    rgb = np.empty((len(cameras), height, width, 3), np.float32)
    alpha = np.empty((len(cameras), height, width), np.float32)
    centres, gain = cameras.centres.numpy().astype(np.float32), gain.astype(np.float32)
    volume, record, vertices = noise_volume(), paint_record(paint), mesh.columns[:, :3].astype(np.float64)
    threads = torch.get_num_threads() if shade_rows.signatures else 1  # the first call compiles
    for view in range(len(cameras)):
        seen = rasterise_mesh(vertices, mesh.faces, fine[view])
        rows = itertools.count()

        def shade(view: int = view, seen: MeshFragments = seen, rows: Iterator[int] = rows) -> None:
            while (row := next(rows) * _ROWS_AT_ONCE) < height:
                band = slice(row, row + _ROWS_AT_ONCE)
                samples = slice(row * supersampling, (row + _ROWS_AT_ONCE) * supersampling)
                shade_rows(
                    seen.face[0, samples], seen.barycentric[0, samples], *mesh, record, centres[view], gain[view],
                    volume, SRGB_LUT, supersampling, rgb[view, band], alpha[view, band],
                )  # fmt: skip

        run_shared(shade, threads)
    return rgb, alpha
