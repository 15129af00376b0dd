"""NeRSemble, versions 1 and 2 (github.com/tobias-kirschstein/nersemble-data, github.com/ShenhanQian/VHAP)."""

import io
import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Annotated

import numpy as np
from annotated_types import Len

from headsup_cli.capture.confined_paths import confined
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import (
    TO_HALF_INTEGERS_PX,
    CalibratedCamera,
    checked_size,
    intrinsics,
    rigid_from_matrix,
)
from headsup_cli.capture.rigs.picture_layout import as_file_name, frame_name, pictures_below
from headsup_cli.capture.rigs.text_files import ForeignModel, bad_field, no_calibration, read_bytes
from headsup_cli.capture.rigs.transforms_json import Matrix34
from headsup_cli.capture.schemas import MAX_CAMERAS, MAX_FRAMES, Matrix3, Matrix4
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.errors import InputError
from headsup_cli.media.colour_correction import CHEUNG_TERMS, ColourCorrection
from headsup_cli.media.pictures import Picture
from headsup_cli.media.video import read_video_info

TREE_V2 = """
calibration/camera_params.json
calibration/color_calibration.json          optional
sequences/<sequence>/images/cam_<serial>.mp4
sequences/<sequence>/alpha_maps/cam_<serial>.mp4        optional
sequences/BACKGROUND/image_<serial>.jpg     optional clean plates
"""
TREE_V1 = """
../camera_params/<subject>/camera_params.json
../color_correction/<subject>/<serial>.npy  optional
<sequence>/images/cam_<serial>_<timestep>.jpg
<sequence>/alpha_maps/cam_<serial>_<timestep>.png       optional
"""
_CALIBRATED_SIZE = (2200, 3208)  # of cameras whose file gives none
_PREFIX = "cam_"
_BACKGROUND = "BACKGROUND"

logger = logging.getLogger(__name__)


class _CameraParams(ForeignModel):
    world_2_cam: Annotated[dict[str, Matrix4 | Matrix34], Len(1, MAX_CAMERAS)]
    intrinsics: Matrix3 | dict[str, Matrix3]  # of all cameras, or in the benchmark of each
    width: int | None = None
    height: int | None = None


class _ColourCalibration(ForeignModel):
    cameras: dict[str, Annotated[list[list[float]], Len(3, 3)]]


def recognises_v2(folder: Path) -> bool:
    """Whether this is a participant's folder of version 2."""
    return (folder / "calibration" / "camera_params.json").is_file()


def recognises_v1(folder: Path) -> bool:
    """Whether this is a subject's folder of version 1, with the calibrations beside it."""
    return folder.is_dir() and _v1_calibration(folder).is_file()


def read_v2_rig(folder: Path) -> RigDump:
    """Read a participant: every frame of every video, colours corrected on reading.

    Raises:
        InputError: The calibration is wrong, or there are no videos of its cameras.
    """
    cameras = _cameras(folder / "calibration" / "camera_params.json")
    colours = _polynomials(folder / "calibration" / "color_calibration.json")
    images: dict[str, dict[str, Picture]] = {}
    masks: dict[str, dict[str, Picture]] = {}
    for sequence in sorted(path for path in _folders(folder / "sequences") if path.name != _BACKGROUND):
        images |= _frames_of_videos(sequence / "images", folder, cameras, colours)
        masks |= _frames_of_videos(sequence / "alpha_maps", folder, cameras, {})
    plates = {
        serial: Picture(path, colour=colours.get(serial))
        for path in pictures_below(folder / "sequences" / _BACKGROUND, folder)
        if (serial := path.stem.removeprefix("image_")) in cameras
    }
    found = Findings(cameras, images, masks, plates, metres_per_unit=1.0, resized=True)
    return assemble(folder, "nersemble-v2", found)


def read_v1_rig(folder: Path) -> RigDump:
    """Read a subject: every picture of every sequence, colours corrected on reading.

    Raises:
        InputError: The calibration is wrong, or there are no pictures of its cameras.
    """
    resolved = folder.resolve()
    cameras = _cameras(_v1_calibration(folder))
    colours = {
        serial: _affine(path, resolved.parent)
        for serial in cameras
        if (path := resolved.parent / "color_correction" / resolved.name / f"{serial}.npy").is_file()
    }
    images: dict[str, dict[str, Picture]] = {}
    masks: dict[str, dict[str, Picture]] = {}
    for sequence in _folders(folder):
        images |= _frames_of_files(sequence / "images", folder, cameras, colours)
        masks |= _frames_of_files(sequence / "alpha_maps", folder, cameras, {})
    return assemble(folder, "nersemble-v1", Findings(cameras, images, masks, metres_per_unit=1.0, resized=True))


def _v1_calibration(folder: Path) -> Path:
    resolved = folder.resolve()
    return resolved.parent / "camera_params" / resolved.name / "camera_params.json"


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _cameras(path: Path) -> dict[str, CalibratedCamera]:
    file = load_json_config(path, _CameraParams)
    width, height = (file.width, file.height) if file.width and file.height else _CALIBRATED_SIZE
    cameras = {}
    for serial, pose in file.world_2_cam.items():
        K = file.intrinsics.get(serial) if isinstance(file.intrinsics, dict) else file.intrinsics
        if K is None:
            raise bad_field(path, f"intrinsics of camera {serial}", "missing", "a 3x3 matrix")
        cameras[as_file_name(serial)] = CalibratedCamera(
            K=intrinsics(path, serial, K, pixel_shift=TO_HALF_INTEGERS_PX),
            lens=Lens(),
            cam_from_world=rigid_from_matrix(path, serial, pose),
            size=checked_size(path, serial, width, height),
        )
    return cameras


def _frames_of_videos(
    folder: Path, dump: Path, cameras: Mapping[str, CalibratedCamera], colours: Mapping[str, ColourCorrection]
) -> dict[str, dict[str, Picture]]:
    paths = {serial: folder / f"{_PREFIX}{serial}.mp4" for serial in cameras}
    videos = {serial: confined(path, dump) for serial, path in paths.items() if path.is_file()}
    if not videos:
        return {}
    count = _frame_count(list(videos.values()))
    return {
        frame_name(folder.parent.name, f"{index:05d}"): {
            serial: Picture(path, video_frame=index, colour=colours.get(serial)) for serial, path in videos.items()
        }
        for index in range(min(count, MAX_FRAMES))
    }


def _frame_count(videos: list[Path]) -> int:
    """Of the first that can be read; the cameras run in step."""
    for path in videos:
        try:
            return read_video_info(path).frame_count
        except InputError as error:
            logger.warning("%s", error)
    return 0


def _frames_of_files(
    folder: Path, dump: Path, cameras: Mapping[str, CalibratedCamera], colours: Mapping[str, ColourCorrection]
) -> dict[str, dict[str, Picture]]:
    frames: dict[str, dict[str, Picture]] = defaultdict(dict)
    for path in pictures_below(folder, dump):
        serial, _, timestep = path.stem.removeprefix(_PREFIX).partition("_")
        if serial in cameras:
            frames[frame_name(folder.parent.name, timestep)][serial] = Picture(path, colour=colours.get(serial))
    return {name: frames[name] for name in sorted(frames)}


def _affine(path: Path, folder: Path) -> ColourCorrection:
    """Version 1: a 3x4 or 4x4 matrix that acts on encoded values."""
    file = io.BytesIO(read_bytes(path, folder))
    try:  # the header first, so that one that lies about its size asks for no memory
        major, _ = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, kind = header(file)
        if shape not in ((3, 4), (4, 4)) or kind.kind not in "fiu":
            raise no_calibration(path, f"an array of shape {shape} of {kind}")
        file.seek(0)
        matrix = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, TypeError, TokenError) as error:
        raise no_calibration(path, f"no array ({error})".splitlines()[0]) from error
    return ColourCorrection("affine", _finite_rows(path, "affine correction", matrix[:3].tolist()))


def _polynomials(path: Path) -> dict[str, ColourCorrection]:
    """Version 2: for each camera three rows of coefficients of Cheung's terms, acting on linear light."""
    if not path.is_file():
        return {}
    found = load_json_config(path, _ColourCalibration, wrapped_in="cameras").cameras
    corrections = {}
    for serial, rows in found.items():
        count = len(rows[0])
        if count not in CHEUNG_TERMS or any(len(row) != count for row in rows):
            expected = f"one of {', '.join(map(str, CHEUNG_TERMS))}"
            raise bad_field(path, f"terms of camera {serial}", str(count), expected)
        corrections[serial] = ColourCorrection("cheung", _finite_rows(path, serial, rows))
    return corrections


def _finite_rows(path: Path, name: str, rows: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    if not np.isfinite(rows).all():
        raise bad_field(path, f"colours of {name}", "not finite", "finite numbers")
    return tuple(tuple(float(value) for value in row) for row in rows)
