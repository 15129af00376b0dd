"""The native rig dump, `headsup-rig/1` (docs/rig-format.md): reader and writer."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from headsup_cli.capture.confined_paths import confined
from headsup_cli.capture.rig_dump import RigCamera, RigDump, RigFrame
from headsup_cli.capture.rigs.opencv_storage import storage_files
from headsup_cli.capture.rigs.picture_layout import ONLY_FRAME, wrong_size
from headsup_cli.capture.schemas import ExpressionsFile, RigCalibrationFile, RigCameraEntry
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.errors import InputError
from headsup_cli.media.images import READABLE_SUFFIXES, write_image
from headsup_cli.media.pictures import Picture, picture_size
from headsup_cli.runtime.atomic import atomic_write_text

TREE = """
calibration.json                      headsup-rig/1
images/<camera>.png                   or images/<frame>/<camera>.png
masks/...                             optional, same layout; white = subject
background/<camera>.png               optional clean plates
expressions.json                      optional, ARKit weights by frame
"""
_METRES_PER_UNIT = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
_SHIFT_TO_HALF_INTEGERS_PX = {"center": 0.5, "corner": 0.0}

logger = logging.getLogger(__name__)


def recognises(folder: Path) -> bool:
    """Whether `folder` has a native dump's calibration, right or wrong."""
    path = folder / "calibration.json"
    return path.exists() and path not in storage_files(folder)


def read_rig(folder: Path) -> RigDump:
    """Read a native dump; picture sizes are checked, pixels are not decoded.

    A camera without picture in a frame is left out of that frame with a warning.

    Raises:
        InputError: The calibration is missing or wrong, a picture's size differs from its camera's, a path leaves the
            dump, or a frame has no picture at all.
    """
    calibration = _read_calibration_file(folder / "calibration.json")
    cameras = _cameras(calibration)
    images = _pictures_by_frame(folder, "images")
    if not images:
        raise InputError(
            folder,
            field="images",
            found="without pictures",
            expected="images/<camera>.<png|jpg|tif|webp> or images/<frame>/<camera>.<ext>",
            remedy="put the pictures there, named after the cameras",
        )
    masks = _pictures_by_frame(folder, "masks")
    left_out: dict[str, str] = {}
    frames = {
        name: RigFrame(_of_cameras(pictures, cameras, name, left_out), _known(masks.get(name, {}), cameras))
        for name, pictures in images.items()
    }
    backgrounds = _known(_pictures_by_frame(folder, "background").get(ONLY_FRAME, {}), cameras)
    _check_sizes(cameras, [*(f.images for f in frames.values()), *(f.masks for f in frames.values()), backgrounds])
    expressions = folder / "expressions.json"
    return RigDump(
        path=folder,
        importer="native",
        metres_per_unit=_METRES_PER_UNIT[calibration.units],
        cameras=cameras,
        frames=frames,
        backgrounds=backgrounds,
        expressions=_read_expressions(expressions, frames) if expressions.exists() else {},
        left_out=left_out,
    )


def read_calibration(path: Path) -> dict[str, RigCamera]:
    """Read a `calibration.json`: cameras in the rig's world, metres, pixel centres at half-integers.

    Raises:
        InputError: The file is missing or a field of it is wrong.
    """
    return _cameras(_read_calibration_file(path))


def write_calibration(path: Path, cameras: Mapping[str, RigCamera]) -> None:
    """Write a `calibration.json` in metres with pixel origin `corner`, as cameras are held in memory."""
    entries = {
        name: RigCameraEntry(
            K=camera.K.tolist(),
            lens=camera.lens.model,
            dist=camera.lens.stored_coefficients,
            R=camera.cam_from_rig[:3, :3].tolist(),
            t=camera.cam_from_rig[:3, 3].tolist(),
            width=camera.width,
            height=camera.height,
        )
        for name, camera in cameras.items()
    }
    file = RigCalibrationFile(schema="headsup-rig/1", units="m", pixel_origin="corner", cameras=entries)
    atomic_write_text(path, file.model_dump_json(by_alias=True, indent=1) + "\n")


def write_rig_frame(
    folder: Path,
    images: Mapping[str, UInt8[np.ndarray, "_ _ 3"]],
    masks: Mapping[str, UInt8[np.ndarray, "_ _"]] | None = None,
    *,
    frame: str | None = None,
    suffix: str = ".png",
    jpeg_quality: int = 95,
) -> None:
    """Write the pictures (and masks) of one frame of a dump, each atomically.

    A dump is complete once `write_calibration` has run, so a writer that may be killed calls that last.

    Args:
        folder: The dump.
        images: By camera id, sRGB.
        masks: By camera id, white = subject; written as PNG.
        frame: Name of the frame; None for a dump of one frame.
        suffix: Format of the images.
        jpeg_quality: For suffix `.jpg`.
    """
    within = frame or ""
    for name, image in images.items():
        write_image(folder / "images" / within / f"{name}{suffix}", image, jpeg_quality=jpeg_quality)
    for name, mask in (masks or {}).items():
        write_image(folder / "masks" / within / f"{name}.png", mask)


def write_backgrounds(folder: Path, plates: Mapping[str, UInt8[np.ndarray, "_ _ 3"]]) -> None:
    """Write a dump's clean plates, by camera id."""
    for name, plate in plates.items():
        write_image(folder / "background" / f"{name}.png", plate)


def write_expressions(folder: Path, expressions: Mapping[str, Mapping[str, float]]) -> None:
    """Write ARKit weights by frame as the dump's `expressions.json`."""
    atomic_write_text(folder / "expressions.json", json.dumps(expressions, indent=1) + "\n")


def _read_calibration_file(path: Path) -> RigCalibrationFile:
    if not path.exists():
        raise InputError(
            path,
            found="missing",
            expected="the cameras' calibration",
            remedy="write it as docs/rig-format.md says; pictures without calibration cannot be used",
        )
    return load_json_config(path, RigCalibrationFile)


def _cameras(calibration: RigCalibrationFile) -> dict[str, RigCamera]:
    shift = _SHIFT_TO_HALF_INTEGERS_PX[calibration.pixel_origin]
    metres_per_unit = _METRES_PER_UNIT[calibration.units]
    cameras = {}
    for name, entry in calibration.cameras.items():
        K = np.array(entry.K, dtype=np.float64)
        K[:2, 2] += shift
        cam_from_rig = np.eye(4)
        left, _, right = np.linalg.svd(np.array(entry.R, dtype=np.float64))
        cam_from_rig[:3, :3] = left @ right  # the nearest exact rotation to one printed with few digits
        cam_from_rig[:3, 3] = np.array(entry.t) * metres_per_unit
        cameras[name] = RigCamera(name, K, entry.as_lens(), cam_from_rig, entry.width, entry.height)
    return cameras


def _pictures_by_frame(folder: Path, kind: str) -> dict[str, dict[str, Path]]:
    root = folder / kind
    if not root.is_dir():
        return {}
    own = _pictures(root, folder)
    nested = {
        entry.name: pictures
        for entry in sorted(root.iterdir())
        if entry.is_dir() and not entry.name.startswith(".") and (pictures := _pictures(entry, folder))
    }
    if own and nested:
        raise InputError(
            root,
            found="pictures beside frame folders",
            expected="either one frame's pictures or folders of frames",
            remedy=f"move the loose pictures ({next(iter(own.values())).name}, ...) into a folder of their own",
        )
    return {ONLY_FRAME: own} if own else nested


def _pictures(folder: Path, dump: Path) -> dict[str, Path]:
    """Pictures of a folder by stem."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in READABLE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise InputError(
                folder,
                field=path.stem,
                found=f"there twice ({found[path.stem].name}, {path.name})",
                expected="one picture per camera",
                remedy="remove one of the two",
            )
        found[path.stem] = confined(path, dump)
    return found


def _of_cameras(
    pictures: dict[str, Path], cameras: Mapping[str, RigCamera], frame: str, left_out: dict[str, str]
) -> dict[str, Picture]:
    for name in cameras.keys() - pictures.keys():
        left_out[f"{frame}/{name}"] = "no picture"
        of_frame = "" if frame == ONLY_FRAME else f"frame {frame}: "
        logger.warning("%scamera %s has no picture; the view is left out", of_frame, name)
    used = _known(pictures, cameras)
    if not used:
        raise InputError(
            next(iter(pictures.values())).parent,
            found=f"pictures of none of the {len(cameras)} calibrated cameras",
            expected="pictures named after the cameras in calibration.json",
            remedy="rename the one or the other",
        )
    return used


def _known(pictures: dict[str, Path], cameras: Mapping[str, RigCamera]) -> dict[str, Picture]:
    for name in pictures.keys() - cameras.keys():
        logger.warning("%s: no camera of that name in calibration.json; ignored", pictures[name])
    return {name: Picture(pictures[name]) for name in cameras if name in pictures}


def _check_sizes(cameras: Mapping[str, RigCamera], groups: list[dict[str, Picture]]) -> None:
    for name, picture in ((name, picture) for group in groups for name, picture in group.items()):
        camera = cameras[name]
        try:
            size = picture_size(picture)
        except InputError:
            continue  # unreadable pictures are told from missing ones where they are decoded
        if size != (camera.width, camera.height):
            raise wrong_size(picture, size, (camera.width, camera.height))


def _read_expressions(path: Path, frames: Mapping[str, RigFrame]) -> dict[str, dict[str, float]]:
    expressions = load_json_config(path, ExpressionsFile, wrapped_in="frames").frames
    for name in expressions.keys() - frames.keys():
        logger.warning("%s: no frame of the name %s; ignored", path, name)
    return {name: expressions[name] for name in frames if name in expressions}
