"""Z-buffer rasterisation of triangle meshes on the CPU: which face each pixel sees, and where on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_kernels import draw_meshes, project_vertices
from headsup_cli.runtime.threads import run_shared

BANDS_PER_THREAD = 4  # horizontal bands of images that the threads share out between them


@dataclass(frozen=True)
class MeshFragments:
    """The nearest surface behind every pixel centre; where there is none, face -1, depth infinite, weights zero."""

    face: Int32[np.ndarray, "c h w"]
    barycentric: Float32[np.ndarray, "c h w 3"]  # perspective-correct weights of the face's corners
    depth: Float32[np.ndarray, "c h w"]  # metres along the optical axis


def rasterise_mesh(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], cameras: Cameras
) -> MeshFragments:
    """Rasterise a mesh, seen from both sides, into every camera.

    Faces that share an edge neither overlap nor leave a gap (integer edge functions with the top-left rule); at equal
    depth the face listed first wins, so the result depends on neither the number of threads nor their timing. Faces
    with a corner nearer than `mesh_kernels.NEAR_M` or outside +-`mesh_kernels.MAX_COORDINATE_PX` are left out whole.

    Args:
        vertices: Corners in the cameras' world, metres.
        faces: Indices into `vertices`.
        cameras: The views; all pixels of all of them are filled.
    """
    pose, K = (matrix.detach().cpu().numpy().astype(np.float64) for matrix in (cameras.cam_from_world, cameras.K))
    snapped = np.zeros((len(cameras), len(vertices), 2), np.int64)
    inverse_depth = np.zeros(snapped.shape[:2])
    project_vertices(np.ascontiguousarray(vertices, dtype=np.float64), K @ pose[:, :3], snapped, inverse_depth)
    corners = np.ascontiguousarray(faces, dtype=np.int64)
    shape = (len(cameras), cameras.height, cameras.width)
    face, depth = np.empty(shape, np.int32), np.empty(shape, np.float32)
    barycentric = np.empty((*shape, 3), np.float32)
    threads, tickets = torch.get_num_threads(), np.zeros(1, np.int64)
    band_rows = -(-cameras.height // -(-BANDS_PER_THREAD * threads // len(cameras)))
    run_shared(
        lambda: draw_meshes(tickets, snapped, inverse_depth, corners, band_rows, face, barycentric, depth),
        threads if draw_meshes.signatures else 1,  # the first call compiles
    )
    return MeshFragments(face, barycentric, depth)
