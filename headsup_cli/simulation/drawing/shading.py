"""Paints and lights the fragments of a rasterised person, pixel by pixel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import MeshFragments, rasterise_mesh
from headsup_cli.runtime.threads import run_shared
from headsup_cli.simulation.body.anatomy import LENS
from headsup_cli.simulation.body.appearance import Paint, paint_record
from headsup_cli.simulation.drawing.shading_kernels import SRGB_LUT, lay_over, shade_rows
from headsup_cli.simulation.drawing.strand_kernels import colour_nodes
from headsup_cli.simulation.drawing.strands import NO_STRANDS, Strands, merge_strands
from headsup_cli.simulation.noise import noise_volume

_ROWS_AT_ONCE = 32


class LitMesh(NamedTuple):
    """A painted, lit mesh in the frame of the cameras.

    `columns` holds, side by side so that one look-up fetches them all, what the painter interpolates: position (0-2),
    solid coordinates (3-5: rest space for the body, strand coordinates for hair, metres), normal (6-8), scalp and beard
    masks or, on cloth, 1 on ribs (9, 10), irradiance (11-13), how much of the highlights arrives (14), height over the
    clothes' edge or, on cloth, depth under its own (15).
    """

    columns: Float32[np.ndarray, "n 16"]
    faces: Int[np.ndarray, "m 3"]
    part: UInt8[np.ndarray, " m"]
    highlights: Float32[np.ndarray, "2 3"]  # directions towards the lamps that are seen reflected
    highlight_colours: Float32[np.ndarray, "2 3"]
    strands: Strands = NO_STRANDS  # hair; `merge_strands` brings it among the mesh's fragments


_Veil = Float32[np.ndarray, "h w"]
_NO_VEIL: _Veil = np.zeros((0, 0), np.float32)


def lens_veil(mesh: LitMesh, camera: Cameras, seen: MeshFragments) -> _Veil:
    """What the lenses of glasses reflect towards one camera, 0 off them; empty for a mesh without glasses."""
    lenses = mesh.faces[mesh.part == LENS]
    if len(lenses) == 0:
        return _NO_VEIL
    veil = np.zeros(seen.face.shape[1:], np.float32)
    vertices = mesh.columns[:, :3].astype(np.float64)
    pixels, _ = camera.project(torch.from_numpy(vertices[np.unique(lenses)]))
    size = np.array([camera.width, camera.height])
    low = np.clip(np.floor(pixels[0].numpy().min(0)).astype(int) - 1, 0, size - 1)  # only this window is drawn
    width, height = np.clip(np.ceil(pixels[0].numpy().max(0)).astype(int) + 2, low + 1, size) - low
    K = camera.K.clone()
    K[:, :2, 2] -= torch.from_numpy(low)
    window = replace(camera, K=K, width=int(width), height=int(height))
    before = rasterise_mesh(vertices, lenses, window)
    behind = seen.depth[0, low[1] : low[1] + height, low[0] : low[0] + width]
    rows, columns = np.nonzero((before.face[0] >= 0) & (before.depth[0] < behind))
    corners = lenses[before.face[0, rows, columns]]  # [n, 3]
    place = np.einsum("nk,nkd->nd", before.barycentric[0, rows, columns], mesh.columns[corners, :3])
    box = np.clip(np.sin(130 * (place[:, 0] + 1.4 * place[:, 1])), 0, 1) ** 6  # the image of a lamp, slanting
    veil[rows + low[1], columns + low[0]] = 0.004 + 0.035 * box
    return veil


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
    vertices, strands = mesh.columns[:, :3].astype(np.float64), mesh.strands
    record, colours = paint_record(paint), np.empty((len(strands.columns), 3), np.float32)
    solid = np.ascontiguousarray(mesh.faces[mesh.part != LENS])
    part = np.ascontiguousarray(mesh.part[mesh.part != LENS])
    for view in range(len(cameras)):
        seen = merge_strands(rasterise_mesh(vertices, solid, fine[view]), strands, len(solid), fine[view])
        colour_nodes(
            seen.face[0], len(solid), strands.columns, strands.first, mesh.highlights, mesh.highlight_colours,
            centres[view], colours,
        )  # fmt: skip
        veil, rows = lens_veil(mesh, fine[view], seen), itertools.count()

        def shade(view: int = view, seen: MeshFragments = seen, veil: _Veil = veil, rows: Iterator[int] = rows) -> None:
            while (row := next(rows) * _ROWS_AT_ONCE) < height:
                band = slice(row, row + _ROWS_AT_ONCE)
                samples = slice(row * supersampling, (row + _ROWS_AT_ONCE) * supersampling)
                shade_rows(
                    seen.face[0, samples], seen.barycentric[0, samples], veil[samples], mesh.columns, solid, part,
                    mesh.highlights, mesh.highlight_colours, colours, strands.first, record, centres[view],
                    gain[view], noise_volume(), SRGB_LUT, supersampling, rgb[view, band], alpha[view, band],
                )  # fmt: skip

        run_shared(shade, torch.get_num_threads() if shade_rows.signatures else 1)  # the first call compiles
    return rgb, alpha


def before(
    rgb: Float32[np.ndarray, "h w 3"], alpha: Float32[np.ndarray, "h w"], behind: Float32[np.ndarray, "h w 3"]
) -> Float32[np.ndarray, "h w 3"]:
    """A picture of `render_mesh` in front of another."""
    out = np.empty_like(rgb)
    lay_over(rgb, alpha, np.ascontiguousarray(behind), out)
    return out
