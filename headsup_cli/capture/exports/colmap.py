"""A capture's moment as a COLMAP model in text, as gsplat, Brush, Postshot and others read it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from headsup_cli.capture.capture import Capture
from headsup_cli.capture.exports.dataset import DatasetView, starting_points, write_pictures
from headsup_cli.runtime.atomic import atomic_write_text


def write_colmap(capture: Capture, frame: str, folder: Path) -> None:
    """Write `images/`, `masks/` and `sparse/0/`; the world is the head frame in metres.

    Args:
        capture: Where from.
        frame: Which moment.
        folder: Where to; it should be empty.
    """
    views = write_pictures(capture, frame, folder)
    model = folder / "sparse" / "0"
    atomic_write_text(model / "cameras.txt", _cameras(views))
    atomic_write_text(model / "images.txt", _images(views))
    atomic_write_text(model / "points3D.txt", _points(*starting_points(capture, frame)))


def _cameras(views: Sequence[DatasetView]) -> str:
    lines = ["# CAMERA_ID MODEL WIDTH HEIGHT fx fy cx cy"]
    for number, view in enumerate(views, 1):
        camera = view.camera
        (fx, _, cx), (_, fy, cy) = camera.K[:2].tolist()
        lines.append(f"{number} PINHOLE {camera.width} {camera.height} {fx!r} {fy!r} {cx!r} {cy!r}")
    return "\n".join(lines) + "\n"


def _images(views: Sequence[DatasetView]) -> str:
    """Two lines for each: the pose, and the points seen, of which there are none."""
    lines = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", "# POINTS2D[] as X Y POINT3D_ID"]
    for number, view in enumerate(views, 1):
        pose = view.camera.cam_from_head
        values = [*_quaternion(pose[:3, :3]), *pose[:3, 3]]
        words = " ".join(f"{float(value)!r}" for value in values)
        lines += [f"{number} {words} {number} {view.image.removeprefix('images/')}", ""]
    return "\n".join(lines) + "\n"


def _points(points: Float64[np.ndarray, "n 3"], colours: UInt8[np.ndarray, "n 3"]) -> str:
    lines = ["# POINT3D_ID X Y Z R G B ERROR TRACK[]"]
    for number, ((x, y, z), (r, g, b)) in enumerate(zip(points, colours, strict=True), 1):
        lines.append(f"{number} {x:.6f} {y:.6f} {z:.6f} {r} {g} {b} 0")
    return "\n".join(lines) + "\n"


def _quaternion(R: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, " 4"]:
    """A rotation as wxyz: the eigenvector that Bar-Itzhack's symmetric matrix has for its largest eigenvalue."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = R.ravel()
    symmetric = np.array(
        [
            [xx + yy + zz, zy - yz, xz - zx, yx - xy],
            [zy - yz, xx - yy - zz, yx + xy, zx + xz],
            [xz - zx, yx + xy, yy - xx - zz, zy + yz],
            [yx - xy, zx + xz, zy + yz, zz - xx - yy],
        ]
    )
    quaternion = np.linalg.eigh(symmetric)[1][:, -1]
    return quaternion if quaternion[0] >= 0 else -quaternion
