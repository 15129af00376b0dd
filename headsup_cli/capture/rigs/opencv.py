"""Calibrations in OpenCV's FileStorage, as four programs lay them out.

Sources: OpenCV samples/cpp/stereo_calib.cpp and samples/python/multiview_calibration.py (OpenCV 5),
github.com/zju3dv/EasyMocap easymocap/mytools/camera_utils.py, github.com/rameau-fr/MC-Calib README.
"""

from collections.abc import Callable, Mapping
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
    inverted,
    rigid,
    rigid_from_matrix,
)
from headsup_cli.capture.rigs.opencv_storage import as_array, as_names, read_storage, storage_files
from headsup_cli.capture.rigs.picture_layout import (
    Names,
    as_file_name,
    find_backgrounds,
    find_masks,
    find_pictures,
)
from headsup_cli.capture.rigs.text_files import bad_field, no_calibration
from headsup_cli.capture.schemas import MAX_CAMERAS
from headsup_cli.media.opencv import cv2

TREE = """
*.yml, *.yaml, *.xml or *.json        written by cv::FileStorage:
    stereo_calib                      intrinsics (M1 D1 M2 D2) and extrinsics (R T); cameras left and right
    EasyMocap                         intri.yml and extri.yml (names, K_<camera>, dist_, Rot_ or R_, T_)
    MC-Calib                          nb_camera, camera_<i>; cameras camera_<i> or Cam_<i + 1>
    OpenCV 5 multiview                Ks, distortions, rvecs, Ts, cam_ids
images/<camera>.png                   or images/<frame>/<camera>.png, or images/<camera>/<frame>.png
masks/..., background/<camera>.png    optional
"""

_Storage = dict[str, Any]
_Cameras = tuple[dict[str, CalibratedCamera], Names]


def recognises(folder: Path) -> bool:
    """Whether there is a file that cv::FileStorage has written."""
    return bool(storage_files(folder))


def read_rig(folder: Path) -> RigDump:
    """Read whichever of the four layouts it is; the unit is guessed from how far cameras stand from the subject.

    Raises:
        InputError: The files are damaged or of another layout, or pictures do not fit them.
    """
    storage: _Storage = {}
    paths = storage_files(folder)
    for path in paths:
        storage |= read_storage(path, folder)
    source = paths[0] if len(paths) == 1 else folder
    for keys, read in _LAYOUTS:
        if all(key in storage for key in keys):
            cameras, names = read(storage, source)
            break
    else:
        known = "; ".join(" ".join(keys) for keys, _ in _LAYOUTS)
        raise no_calibration(Path(source), f"without the values of any layout known here ({known})")
    images, masks = find_pictures(folder, names), find_masks(folder, names)
    return assemble(folder, "opencv", Findings(cameras, images, masks, find_backgrounds(folder, names)))


def _camera(
    source: object,
    name: str,
    K: object,
    coefficients: np.ndarray,
    cam_from_world: np.ndarray,
    *,
    fisheye: bool = False,
    size: tuple[int, int] | None = None,
) -> CalibratedCamera:
    return CalibratedCamera(
        K=intrinsics(source, name, K, pixel_shift=TO_HALF_INTEGERS_PX),
        lens=opencv_lens(source, name, coefficients, fisheye=fisheye),
        cam_from_world=cam_from_world,
        size=size,
    )


def opencv_lens(source: object, name: str, coefficients: np.ndarray, *, fisheye: bool = False) -> Lens:
    """The lens of a vector of OpenCV's coefficients.

    Raises:
        InputError: There are too many, or the sensor is tilted.
    """
    values = tuple(float(value) for value in coefficients.ravel())
    if fisheye and len(values) == 5 and values[4] == 0:  # as written where others of the rig are not
        values = values[:4]
    if len(values) > 12 and not any(values[12:]):
        values = values[:12]  # the tilt of the sensor, absent
    allowed = (4,) if fisheye else (0, 4, 5, 8, 12)
    if len(values) not in allowed:
        expected = " or ".join(map(str, allowed)) + (
            " coefficients" if fisheye else " coefficients, and no tilted sensor"
        )
        raise bad_field(source, f"distortion of camera {name}", f"{len(values)} coefficients", expected)
    return checked_lens(source, name, Lens("fisheye" if fisheye else "opencv", values))


def _read_stereo(storage: _Storage, source: object) -> _Cameras:
    """Camera 1 is the world, and x2 = R x1 + T."""
    second = rigid(source, "right", storage["R"], as_array(storage["T"], source, "T").ravel())
    cameras = {
        name: _camera(source, name, storage[f"M{number}"], as_array(storage[f"D{number}"], source, f"D{number}"), pose)
        for number, name, pose in ((1, "left", np.eye(4)), (2, "right", second))
    }
    return cameras, {"left": ("left", "cam1", "camera1", "1"), "right": ("right", "cam2", "camera2", "2")}


def _read_easymocap(storage: _Storage, source: object) -> _Cameras:
    cameras, names = {}, {}
    for name in as_names(storage["names"])[:MAX_CAMERAS]:
        of = _values_of(storage, name, source)
        rotation = of("Rot") if f"Rot_{name}" in storage else _rotation(source, name, of("R"))
        coefficients = of("dist") if f"dist_{name}" in storage else of("D")
        size = None
        if f"W_{name}" in storage and f"H_{name}" in storage:
            size = checked_size(source, name, float(of("W").ravel()[0]), float(of("H").ravel()[0]))
        pose = rigid(source, name, rotation, of("T").ravel())
        cameras[as_file_name(name)] = _camera(source, name, of("K"), coefficients, pose, size=size)
        names[as_file_name(name)] = (name,)
    return cameras, names


def _values_of(storage: _Storage, name: str, source: object) -> Callable[[str], np.ndarray]:
    def of(key: str) -> np.ndarray:
        field = f"{key}_{name}"
        if field not in storage:
            raise bad_field(source, field, "missing", "a value")
        value = as_array(storage[field], source, field)
        if not value.size:
            raise bad_field(source, field, "empty", "a value")
        return value

    return of


def _read_mc_calib(storage: _Storage, source: object) -> _Cameras:
    cameras, names = {}, {}
    for key, value in storage.items():
        index = key.removeprefix("camera_")
        if not key.startswith("camera_") or not index.isdecimal() or not isinstance(value, Mapping):
            continue
        entry = _Entry(value, source, key)
        pose = inverted(rigid_from_matrix(source, key, entry.array("camera_pose_matrix")))
        size = checked_size(source, key, entry.number("img_width"), entry.number("img_height"))
        kind = entry.number("distortion_type") if "distortion_type" in value else 0
        coefficients = entry.array("distortion_vector")
        K = entry.array("camera_matrix")
        cameras[key] = _camera(source, key, K, coefficients, pose, fisheye=kind == 1, size=size)
        one_based = int(index[:6]) + 1
        names[key] = (key, f"cam_{index}", f"cam{index}", index, f"Cam_{one_based:03d}", f"Cam{one_based:03d}")
    if not cameras:
        raise bad_field(source, "camera_0", "missing", "a camera for each of nb_camera")
    return cameras, names


class _Entry:
    """A map within the storage, whose values are asked for by kind; a damaged one may have keys of any."""

    def __init__(self, values: Mapping[Any, Any], source: object, name: str) -> None:
        self._values, self._source, self._name = values, source, name

    def array(self, key: str) -> np.ndarray:
        if key not in self._values:
            raise bad_field(self._source, f"{self._name}.{key}", "missing", "a value")
        return as_array(self._values[key], self._source, f"{self._name}.{key}")

    def number(self, key: str) -> float:
        value = self.array(key)
        if value.size != 1:
            raise bad_field(self._source, f"{self._name}.{key}", f"{value.size} values", "a number")
        return float(value.ravel()[0])


def _read_multiview(storage: _Storage, source: object) -> _Cameras:
    Ks = as_array(storage["Ks"], source, "Ks")
    if Ks.size % 9 or not 0 < Ks.size // 9 <= MAX_CAMERAS:
        raise bad_field(source, "Ks", f"{Ks.size} numbers", f"9 for each of at most {MAX_CAMERAS} cameras")
    count = Ks.size // 9

    def per_camera(key: str, each: int | None = None) -> np.ndarray:
        values = as_array(storage[key], source, key)
        if values.size % count or (each is not None and values.size != count * each):
            raise bad_field(source, key, f"{values.size} numbers", f"the same number for each of {count} cameras")
        return values.reshape(count, -1)

    identities = as_names(storage["cam_ids"]) if "cam_ids" in storage else [str(i) for i in range(count)]
    if len(identities) != count or len(set(identities)) != count:
        raise bad_field(source, "cam_ids", f"{len(identities)} names", f"{count} different ones")
    fisheye = per_camera("is_fisheye", 1)[:, 0] if "is_fisheye" in storage else np.zeros(count)
    sizes = per_camera("image_sizes", 2) if "image_sizes" in storage else None
    rotations, translations, lenses = per_camera("rvecs", 3), per_camera("Ts", 3), per_camera("distortions")
    cameras, names = {}, {}
    for i, name in enumerate(identities):
        cameras[as_file_name(name)] = _camera(
            source,
            name,
            Ks.reshape(count, 3, 3)[i],
            lenses[i],
            rigid(source, name, _rotation(source, name, rotations[i]), translations[i]),
            fisheye=bool(fisheye[i]),
            size=None if sizes is None else checked_size(source, name, *sizes[i]),
        )
        names[as_file_name(name)] = (name, f"cam_{name}", f"cam{name}")
    return cameras, names


def _rotation(source: object, name: str, vector: np.ndarray) -> np.ndarray:
    if vector.size != 3 or not np.isfinite(vector).all():
        raise bad_field(source, f"rotation of camera {name}", "no vector of 3 finite numbers", "one")
    return cv2.Rodrigues(vector.reshape(3, 1))[0]


_LAYOUTS: tuple[tuple[tuple[str, ...], Callable[[_Storage, object], _Cameras]], ...] = (
    (("M1", "D1", "M2", "D2", "R", "T"), _read_stereo),
    (("nb_camera",), _read_mc_calib),
    (("Ks", "distortions", "rvecs", "Ts"), _read_multiview),
    (("names",), _read_easymocap),
)
