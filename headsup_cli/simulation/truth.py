"""What is true of a simulated view, pixel by pixel and landmark by landmark, as docs/simulate.md describes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.media.opencv import cv2
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh
from headsup_cli.runtime.atomic import atomic_write_bytes
from headsup_cli.simulation.body.anatomy import HAIR, LENS, Part
from headsup_cli.simulation.body.landmarks import landmarks_68, named_landmarks
from headsup_cli.simulation.drawing.lens_view import pixels_seen
from headsup_cli.simulation.drawing.shading import LitMesh
from headsup_cli.simulation.drawing.strands import BEARD, BROW, LASH, merge_strands
from headsup_cli.simulation.drawing.truth_kernels import describe

BACKGROUND = 255
_STRAND_LABELS = np.array([HAIR, 32 + BEARD, 32 + BROW, 32 + LASH], np.uint8)
LABELS: dict[str, int] = {
    **{part.name.lower(): int(part) for part in Part if part != LENS},
    **{name: int(_STRAND_LABELS[kind]) for name, kind in (("beard", BEARD), ("brow", BROW), ("lash", LASH))},
    "background": BACKGROUND,
}  # values in label images
DEPTH_UNIT_M = 1e-4
_HIDDEN_BEHIND_M = 0.004  # a landmark this much behind what its pixel shows is hidden


@dataclass(frozen=True)
class TruthMaps:
    """What each pixel's centre shows, seen through the lens; nothing is blended across edges."""

    depth: Float32[np.ndarray, "h w"]  # metres along the optical axis, 0 where there is nothing
    normals: Float32[np.ndarray, "h w 3"]  # unit, in the camera's axes (x right, y down, z ahead); 0 where nothing
    labels: UInt8[np.ndarray, "h w"]  # LABELS


def truth_maps(mesh: LitMesh, camera: Cameras) -> TruthMaps:
    """Draw depth, normals and part labels of a person; what stands behind the lenses of glasses shows through them.

    Args:
        mesh: The person, in the camera's world; behind a lens, moved by `through_lens`.
        camera: A single one.
    """
    strands, solid = mesh.strands, np.flatnonzero(mesh.part != LENS)
    faces = np.ascontiguousarray(mesh.faces[solid])
    seen = rasterise_mesh(mesh.columns[:, :3].astype(np.float64), faces, camera)
    merge_strands(seen, strands, len(faces), camera)
    shape = camera.height, camera.width
    labels, normals = np.full(shape, BACKGROUND, np.uint8), np.zeros((*shape, 3), np.float32)
    describe(
        seen.face[0], seen.barycentric[0], mesh.columns, faces, mesh.part[solid], strands.columns, strands.first,
        strands.kind, _STRAND_LABELS, camera.cam_from_world[0, :3, :3].numpy().astype(np.float32), normals, labels,
    )  # fmt: skip
    return TruthMaps(np.where(seen.face[0] >= 0, seen.depth[0], np.float32(0)), normals, labels)


def landmark_points(vertices: Float[np.ndarray, "v 3"], brow_lift_m: float = 0.0) -> dict[str, Float[np.ndarray, "3"]]:
    """All landmarks by name: `ibug_00` to `ibug_67`, then the template's own; `landmarks_68` explains the lift."""
    numbered = {f"ibug_{index:02d}": point for index, point in enumerate(landmarks_68(vertices, brow_lift_m))}
    return numbered | named_landmarks(vertices)


def seen_landmarks(
    camera: RigCamera, points: Float[np.ndarray, "n 3"], depth: Float32[np.ndarray, "h w"]
) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """Pixels of landmarks in the recorded picture, and whether they are in it and nothing hides them.

    Args:
        camera: The camera.
        points: In the camera's world.
        depth: From `truth_maps`.
    """
    pixels, distance = pixels_seen(camera, points)
    column, row = np.floor(np.nan_to_num(pixels, nan=-1.0, posinf=-1.0, neginf=-1.0)).astype(int).T
    inside = (distance > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    farthest = cv2.dilate(np.where(depth > 0, depth, np.float32(1e6)), np.ones((3, 3), np.uint8))
    at = farthest[np.where(inside, row, 0), np.where(inside, column, 0)]
    return pixels, inside & (at > distance - _HIDDEN_BEHIND_M)


def landmark_record(
    points: dict[str, Float[np.ndarray, "3"]],
    rig_from_head: Float[np.ndarray, "4 4"],
    seen: dict[str, tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]],
) -> dict[str, Any]:
    """The content of `landmarks_<frame>.json`; `seen` holds `seen_landmarks` of `points` by camera."""
    in_rig = np.stack(list(points.values())) @ rig_from_head[:3, :3].T + rig_from_head[:3, 3]
    return {
        "names": list(points),
        "rig": in_rig.round(6).tolist(),
        "cameras": {
            name: {"pixels": pixels.round(3).tolist(), "visible": visible.tolist()}
            for name, (pixels, visible) in seen.items()
        },
    }


def write_truth_maps(truth: Path, frame: str, camera: str, maps: TruthMaps) -> None:
    """Write `depth/`, `normals/` and `labels/[<frame>/]<camera>.png` into the folder `truth`."""
    tenths_of_mm = np.clip(maps.depth / DEPTH_UNIT_M + 0.5, 0, 65535).astype(np.uint16)
    direction = (maps.normals * 127 + 128.5).astype(np.uint8)
    direction[maps.labels == BACKGROUND] = 0
    stored = {"depth": tenths_of_mm, "normals": cv2.cvtColor(direction, cv2.COLOR_RGB2BGR), "labels": maps.labels}
    for kind, pixels in stored.items():
        atomic_write_bytes(truth / kind / frame / f"{camera}.png", cv2.imencode(".png", pixels)[1].tobytes())
