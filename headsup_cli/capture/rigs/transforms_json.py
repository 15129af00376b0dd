"""`transforms.json` and its kin: nerfstudio, instant-ngp, Blender's synthetic scenes, and VHAP's exports.

Sources: nerfstudio docs/quickstart/data_conventions.md and data/dataparsers, VHAP vhap/export_as_nerf_dataset.py.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Len
from pydantic import Field

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import (
    CV_FROM_GL,
    CalibratedCamera,
    checked_size,
    inverted,
    pinhole,
    rigid_from_matrix,
)
from headsup_cli.capture.rigs.picture_layout import as_file_name
from headsup_cli.capture.rigs.text_files import ForeignModel, bad_field, head_of, no_calibration
from headsup_cli.capture.rigs.views import PosedPicture, find_picture, group_views
from headsup_cli.capture.schemas import MAX_FRAMES, Matrix4
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.errors import InputError
from headsup_cli.media.images import has_alpha
from headsup_cli.media.pictures import Picture, picture_size

TREE = """
transforms.json                       or transforms_train.json, _val, _test
images/...                            as the file_path of each frame says
masks/...                             optional: mask_path of each frame, or the alpha of RGBA pictures
"""
VHAP_TREE = """
transforms.json                       with timestep_index and camera_id in every frame
images/00000_08.png                   <timestep>_<camera>
fg_masks/00000_08.png                 optional, white = subject
"""
_FILES = ("transforms.json", "transforms_train.json", "transforms_val.json", "transforms_test.json")
_PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_VHAP_MARK = b'"timestep_index"'

Focal = Annotated[float, Gt(0.0)]
Matrix34 = Annotated[list[Annotated[list[float], Len(4, 4)]], Len(3, 4)]


class _Intrinsics(ForeignModel):
    """May stand at the root or in a frame; the frame's win."""

    camera_model: str | None = None
    is_fisheye: bool | None = None
    camera_angle_x: Annotated[float, Gt(0.0)] | None = None
    fl_x: Focal | None = None
    fl_y: Focal | None = None
    cx: float | None = None
    cy: float | None = None
    w: float | None = None
    h: float | None = None
    k1: float | None = None
    k2: float | None = None
    k3: float | None = None
    k4: float | None = None
    p1: float | None = None
    p2: float | None = None


class _Frame(_Intrinsics):
    file_path: str
    transform_matrix: Matrix4
    mask_path: str | None = None
    fg_mask_path: str | None = None
    camera_id: str | int | None = None
    camera_index: int | None = None
    timestep_index: Annotated[int, Ge(0)] | None = None


class _File(_Intrinsics):
    applied_transform: Matrix34 | None = None
    applied_scale: Annotated[float, Gt(0.0)] = 1.0
    frames: Annotated[list[_Frame], Len(1, MAX_FRAMES * 10)] = Field()


def recognises(folder: Path) -> bool:
    """Whether there is a transforms.json or transforms_train.json that VHAP has not written."""
    head = _head(folder)
    return bool(head) and _VHAP_MARK not in head


def recognises_vhap(folder: Path) -> bool:
    """Whether there is a transforms.json or transforms_train.json of VHAP's."""
    return _VHAP_MARK in _head(folder)


def read_rig(folder: Path) -> RigDump:
    """Read nerfstudio's, instant-ngp's or Blender's; scale is arbitrary.

    Raises:
        InputError: A file is missing or wrong, or pictures do not fit it.
    """
    views = []
    for path, file in _files(folder):
        world = _original_world(file, path)
        for number, frame in enumerate(file.frames):
            where = _picture(folder, frame.file_path, path, f"frames[{number}].file_path")
            camera = _camera(file, frame, where, path, pixel_y_down=True)
            pose = _undone(camera.cam_from_world, file.applied_scale, world)
            posed = replace(camera, cam_from_world=pose)
            views.append(PosedPicture(_name(folder, where), Picture(where), posed, _mask(folder, frame, where)))
    rig = group_views(_once(views))
    return assemble(folder, "nerfstudio", Findings(rig.cameras, rig.images, rig.masks, scale="arbitrary"))


def read_vhap_rig(folder: Path) -> RigDump:
    """Read VHAP's export, whose principal point is measured from the picture's bottom; metres.

    Raises:
        InputError: As for `read_rig`.
    """
    cameras: dict[str, CalibratedCamera] = {}
    images: dict[str, dict[str, Picture]] = defaultdict(dict)
    masks: dict[str, dict[str, Picture]] = defaultdict(dict)
    for path, file in _files(folder):
        for number, frame in enumerate(file.frames):
            identity = frame.camera_id if frame.camera_id is not None else frame.camera_index
            if identity is None or frame.timestep_index is None:
                raise bad_field(path, f"frames[{number}]", "without camera_id or timestep_index", "both")
            where = _picture(folder, frame.file_path, path, f"frames[{number}].file_path")
            camera, moment = as_file_name(str(identity)), f"{frame.timestep_index:05d}"
            if camera not in cameras:
                cameras[camera] = _camera(file, frame, where, path, pixel_y_down=False)
            images[moment][camera] = Picture(where)
            if (mask := _mask(folder, frame, where)) is not None:
                masks[moment][camera] = mask
    ordered = {moment: images[moment] for moment in sorted(images)}
    return assemble(folder, "vhap", Findings(cameras, ordered, masks, metres_per_unit=1.0))


def _head(folder: Path) -> bytes:
    return head_of(folder / _FILES[0]) or head_of(folder / _FILES[1])


def _files(folder: Path) -> Iterator[tuple[Path, _File]]:
    """The one file of all frames, or those of the splits."""
    paths = [path for name in _FILES if (path := folder / name).is_file()]
    if not paths:
        raise no_calibration(folder / _FILES[0], "missing")
    for path in paths[:1] if paths[0].name == _FILES[0] else paths:
        yield path, load_json_config(path, _File)


def _picture(folder: Path, name: str, source: Path, field: str) -> Path:
    path = find_picture([folder / name], folder)
    if path is None:
        raise InputError(
            source,
            field=field,
            found=f"{name[:80]!r}, which is not there",
            expected="a picture's path",
            remedy="restore the picture or remove the frame",
        )
    return path


def _camera(file: _File, frame: _Frame, picture: Path, source: Path, *, pixel_y_down: bool) -> CalibratedCamera:
    name = frame.file_path[:80]
    merged = file.model_copy(update={key: v for key, v in frame.model_dump().items() if v is not None})
    width, height = (merged.w, merged.h) if merged.w and merged.h else picture_size(Picture(picture))
    size = checked_size(source, name, width, height)
    focal = merged.fl_x or _focal_of_angle(merged.camera_angle_x, size[0])
    if focal is None:
        raise bad_field(source, f"camera of {name}", "without focal length", "fl_x or camera_angle_x")
    cx = size[0] / 2 if merged.cx is None else merged.cx
    cy = size[1] / 2 if merged.cy is None else merged.cy
    return CalibratedCamera(
        K=pinhole(source, name, focal, merged.fl_y or focal, cx, cy if pixel_y_down else size[1] - cy),
        lens=_lens(merged, source),
        cam_from_world=inverted(rigid_from_matrix(source, name, np.array(frame.transform_matrix) @ CV_FROM_GL)),
        size=size,
    )


def _focal_of_angle(angle: float | None, width: int) -> float | None:
    return 0.5 * width / math.tan(angle / 2) if angle is not None and angle < math.pi else None


def _lens(found: _Intrinsics, source: Path) -> Lens:
    k1, k2, k3, k4, p1, p2 = (v or 0.0 for v in (found.k1, found.k2, found.k3, found.k4, found.p1, found.p2))
    model = found.camera_model or ("OPENCV_FISHEYE" if found.is_fisheye else "OPENCV")
    if model == "OPENCV_FISHEYE":
        return Lens("fisheye", (k1, k2, k3, k4))
    if model not in _PERSPECTIVE:
        expected = f"OPENCV_FISHEYE or one of {', '.join(_PERSPECTIVE)}"
        raise bad_field(source, "camera_model", repr(model[:40]), expected)
    if k4:  # the fourth radial term, not OpenCV's k4, which divides
        return Lens("brown", (k1, k2, p1, p2, k3, k4))
    return Lens("opencv", (k1, k2, p1, p2, k3))


def _original_world(file: _File, source: Path) -> np.ndarray:
    """What takes the world of the file back to the one before `applied_transform`."""
    if file.applied_transform is None:
        return np.eye(4)
    return inverted(rigid_from_matrix(source, "applied_transform", file.applied_transform))


def _undone(cam_from_world: np.ndarray, scale: float, original_from_world: np.ndarray) -> np.ndarray:
    pose = cam_from_world.copy()
    pose[:3, 3] /= scale
    return pose @ inverted(original_from_world)


def _mask(folder: Path, frame: _Frame, picture: Path) -> Picture | None:
    name = frame.mask_path or frame.fg_mask_path
    if name is None:
        return Picture(picture, coverage="alpha") if has_alpha(picture) else None
    path = find_picture([folder / name], folder)
    return None if path is None else Picture(path)


def _name(folder: Path, picture: Path) -> str:
    relative = picture.relative_to(folder) if picture.is_relative_to(folder) else Path(picture.name)
    parts = relative.parts[1:] if len(relative.parts) > 1 else relative.parts  # without images/ or train/
    return "/".join(parts)


def _once(views: list[PosedPicture]) -> list[PosedPicture]:
    """Names told apart by the folder that was left off, where they are not without it (train/r_0, test/r_0)."""
    if len({view.name for view in views}) == len(views):
        return views
    return [
        PosedPicture(f"{v.picture.path.parent.name}_{v.picture.path.name}", v.picture, v.camera, v.mask) for v in views
    ]
