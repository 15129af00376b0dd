"""Strands of hair: what they are, and how they enter the picture beside a mesh."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int32, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import BANDS_PER_THREAD, MeshFragments
from headsup_cli.runtime.threads import run_shared
from headsup_cli.simulation.drawing.strand_kernels import draw_strands, project_strands

SCALP, BEARD, BROW, LASH = range(4)  # what a strand belongs to


class Strands(NamedTuple):
    """Lit fibres as polylines in the frame of the cameras.

    `columns` holds, node by node: position (0-2), tangent towards the tip (3-5), outward normal of the hair (6-8),
    diffuse colour under the lamps (9-11), colour of the fibre (12-14), width in metres (15), and how much of each
    highlight's lamp arrives (16, 17). Segment i joins node `first[i]` to the next one.
    """

    columns: Float32[np.ndarray, "n 18"]
    first: Int32[np.ndarray, " m"]
    kind: UInt8[np.ndarray, " m"]  # SCALP, BEARD, BROW or LASH


NO_STRANDS = Strands(np.zeros((0, 18), np.float32), np.zeros(0, np.int32), np.zeros(0, np.uint8))


def merge_strands(seen: MeshFragments, strands: Strands, mesh_faces: int, cameras: Cameras) -> MeshFragments:
    """Draw strands among the fragments of a mesh, in place: wherever a strand is nearer, it takes the sample over.

    There `face` is `mesh_faces` plus the index of the segment, `barycentric` the weights of the segment's two nodes and
    the place across the strand (-1..1), `depth` the strand's. Strands are ribbons that face the camera; a sample is
    covered when its centre is, so thin ones fade as samples are averaged. The result depends on neither the number of
    threads nor their timing.

    Args:
        seen: From `rasterise_mesh`, over the same cameras.
        strands: In the cameras' world.
        mesh_faces: Number of faces of that mesh.
        cameras: The views.

    Returns:
        `seen` itself.
    """
    if len(strands.first) == 0:
        return seen
    pose, K = (matrix.detach().cpu().numpy().astype(np.float64) for matrix in (cameras.cam_from_world, cameras.K))
    projected = np.empty((len(cameras), len(strands.columns), 4), np.float32)
    order = np.empty((len(cameras), len(strands.first)), np.int32)
    project_strands(
        strands.columns, strands.first, (K @ pose[:, :3]).astype(np.float32), K[:, 0, 0].astype(np.float32), projected,
        order,
    )  # fmt: skip
    threads, tickets = torch.get_num_threads(), np.zeros(1, np.int64)
    bands = -(-BANDS_PER_THREAD * threads // len(cameras)) if threads > 1 else 1
    band_rows = -(-cameras.height // bands)
    run_shared(
        lambda: draw_strands(
            tickets, projected, order, strands.first, mesh_faces, band_rows, seen.face, seen.barycentric, seen.depth
        ),
        threads if draw_strands.signatures else 1,  # the first call compiles
    )
    return seen


def sample_footprint_m(cameras: Cameras, supersampling: int) -> float:
    """Width in metres that a sample covers at the origin of the cameras' world, the median of the views."""
    depth = torch.linalg.vector_norm(cameras.centres, dim=-1)
    return float((depth / cameras.K[:, 0, 0]).median()) / supersampling
