"""A capture's moment as `transforms.json`, as nerfstudio, instant-ngp, Brush and others read it."""

import json
from pathlib import Path

import numpy as np

from headsup_cli.capture.capture import Capture
from headsup_cli.capture.exports.dataset import DatasetView, write_pictures
from headsup_cli.runtime.atomic import atomic_write_text

_CV_FROM_GL = np.diag([1.0, -1.0, -1.0, 1.0])


def write_transforms_json(capture: Capture, frame: str, folder: Path) -> None:
    """Write `images/`, `masks/` and `transforms.json`; the world is the head frame in metres, y up.

    Args:
        capture: Where from.
        frame: Which moment.
        folder: Where to; it should be empty.
    """
    frames = [_frame(view) for view in write_pictures(capture, frame, folder)]
    content = {"camera_model": "OPENCV", "frames": frames}
    atomic_write_text(folder / "transforms.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _frame(view: DatasetView) -> dict[str, object]:
    camera = view.camera
    pose = np.linalg.inv(camera.cam_from_head) @ _CV_FROM_GL
    entry: dict[str, object] = {"file_path": view.image, "transform_matrix": pose.tolist()}
    if view.mask is not None:
        entry["mask_path"] = view.mask
    (fx, _, cx), (_, fy, cy) = camera.K[:2].tolist()
    return entry | {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": camera.width, "h": camera.height}
