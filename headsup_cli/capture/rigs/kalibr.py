"""Kalibr's camchain.yaml (github.com/ethz-asl/kalibr, wiki: yaml formats)."""

from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Len

from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import (
    TO_HALF_INTEGERS_PX,
    CalibratedCamera,
    checked_size,
    intrinsics,
    rigid_from_matrix,
)
from headsup_cli.capture.rigs.opencv import opencv_lens
from headsup_cli.capture.rigs.opencv_storage import read_yaml
from headsup_cli.capture.rigs.picture_layout import find_backgrounds, find_masks, find_pictures
from headsup_cli.capture.rigs.text_files import ForeignModel, bad_field, heads, no_calibration
from headsup_cli.capture.schemas import MAX_CAMERAS, Matrix4
from headsup_cli.config_files.schema import validate
from headsup_cli.errors import InputError

TREE = """
camchain.yaml                         any name; cam0, cam1, ... with camera_model pinhole, T_cn_cnm1 in metres
images/cam0.png                       or images/<frame>/cam0.png, or images/cam0/<frame>.png
masks/..., background/<camera>.png    optional
"""


class _Camera(ForeignModel):
    camera_model: str
    intrinsics: Annotated[list[float], Len(4, 6)]
    distortion_model: str
    distortion_coeffs: Annotated[list[float], Len(0, 12)]
    resolution: Annotated[list[int], Len(2, 2)]
    T_cn_cnm1: Matrix4 | None = None


class _Chain(ForeignModel):
    cameras: Annotated[dict[str, _Camera], Len(1, MAX_CAMERAS)]


def recognises(folder: Path) -> bool:
    """Whether there is a camchain."""
    return _file(folder) is not None


def read_rig(folder: Path) -> RigDump:
    """Read a chain of pinhole cameras; the first one's frame is the world.

    Raises:
        InputError: The file is damaged, a camera is no pinhole, or pictures do not fit.
    """
    path = _file(folder)
    if path is None:
        raise no_calibration(folder / "camchain.yaml", "missing")
    chain = validate(_Chain, {"cameras": read_yaml(path, folder)}, path).cameras
    cameras: dict[str, CalibratedCamera] = {}
    pose = np.eye(4)
    for index in range(len(chain)):
        name = f"cam{index}"
        if name not in chain:
            raise bad_field(path, name, "missing", f"cam0 to cam{len(chain) - 1}")
        step = chain[name].T_cn_cnm1
        if index:
            if step is None:
                raise bad_field(path, f"{name}.T_cn_cnm1", "missing", f"its pose from cam{index - 1}")
            pose = rigid_from_matrix(path, name, step) @ pose
        cameras[name] = _camera(path, name, chain[name], pose)
    names = {name: (name,) for name in cameras}
    images, masks = find_pictures(folder, names), find_masks(folder, names)
    found = Findings(cameras, images, masks, find_backgrounds(folder, names), metres_per_unit=1.0)
    return assemble(folder, "kalibr", found)


def _file(folder: Path) -> Path | None:
    files = heads(folder, ".yaml", ".yml")
    return next((path for path, head in files if b"camera_model" in head and b"distortion_coeffs" in head), None)


def _camera(path: Path, name: str, entry: _Camera, pose: np.ndarray) -> CalibratedCamera:
    models = {"radtan": False, "none": False, "equidistant": True, "equi": True}
    if entry.camera_model != "pinhole" or entry.distortion_model not in models or len(entry.intrinsics) != 4:
        raise InputError(
            path,
            field=name,
            found=f"a camera of model {entry.camera_model}-{entry.distortion_model}",
            expected="pinhole-radtan or pinhole-equi",
            remedy="calibrate it again with --models pinhole-radtan or pinhole-equi",
        )
    fx, fy, cx, cy = entry.intrinsics
    K = [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]
    return CalibratedCamera(
        K=intrinsics(path, name, K, pixel_shift=TO_HALF_INTEGERS_PX),
        lens=opencv_lens(path, name, np.array(entry.distortion_coeffs), fisheye=models[entry.distortion_model]),
        cam_from_world=pose.copy(),
        size=checked_size(path, name, *entry.resolution),
    )
