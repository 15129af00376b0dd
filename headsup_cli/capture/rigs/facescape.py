"""FaceScape's multi-view pictures (github.com/zhuhao-nju/facescape, doc/doc_mview_model.md)."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import (
    TO_HALF_INTEGERS_PX,
    CalibratedCamera,
    checked_lens,
    checked_size,
    intrinsics,
    rigid_from_matrix,
)
from headsup_cli.capture.rigs.picture_layout import find_masks, find_pictures
from headsup_cli.capture.rigs.text_files import ForeignModel, bad_field, head_of
from headsup_cli.config_files.json_config import load_json_config

TREE = """
params.json                           <view>_K, _Rt, _distortion, _width, _height, _valid
<view>.jpg                            the pictures of one expression
"""
_KEY = re.compile(r"(\d{1,6})_K")


class _File(ForeignModel):
    params: dict[str, Any]


def recognises(folder: Path) -> bool:
    """Whether there is a params.json with keys like 0_K."""
    return re.search(rb'"\d+_(K|Rt|valid|sn|ori|matches)"', head_of(folder / "params.json")) is not None


def read_rig(folder: Path) -> RigDump:
    """Read one expression of a subject; the unit is guessed from how far the cameras stand from the subject.

    Raises:
        InputError: The parameters are wrong, or pictures do not fit them.
    """
    path = folder / "params.json"
    params = load_json_config(path, _File, wrapped_in="params").params
    views = sorted((match[1] for key in params if (match := _KEY.fullmatch(key))), key=int)
    cameras = {view: _camera(params, view, path) for view in views if params.get(f"{view}_valid", True)}
    names = {view: (view,) for view in cameras}
    return assemble(folder, "facescape", Findings(cameras, find_pictures(folder, names), find_masks(folder, names)))


def _camera(params: dict[str, Any], view: str, path: Path) -> CalibratedCamera:
    def of(key: str) -> Any:
        if f"{view}_{key}" not in params:
            raise bad_field(path, f"{view}_{key}", "missing", "a value")
        return params[f"{view}_{key}"]

    def array(key: str) -> np.ndarray:
        try:
            return np.array(of(key), np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise bad_field(path, f"{view}_{key}", "no array of numbers", "one") from error

    K, width, height, distortion = array("K"), array("width"), array("height"), array("distortion").ravel()
    if K.ndim != 2 or width.ndim or height.ndim or len(distortion) > 12:
        raise bad_field(path, f"parameters of camera {view}", "of wrong shapes", "a matrix, numbers, and coefficients")
    if not np.isfinite([width, height]).all():
        raise bad_field(path, f"size of camera {view}", "not finite", "pixels")
    return CalibratedCamera(
        K=intrinsics(path, view, K[:3, :3], pixel_shift=TO_HALF_INTEGERS_PX),
        lens=checked_lens(path, view, Lens("opencv", tuple(distortion))),
        cam_from_world=rigid_from_matrix(path, view, array("Rt")),
        size=checked_size(path, view, float(width), float(height)),
    )
