"""From calibrated cameras and the pictures found for them to a rig dump: what all importers end in."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from headsup_cli.capture.rig_dump import RigCamera, RigDump, RigFrame
from headsup_cli.capture.rigs.calibrated_camera import CalibratedCamera
from headsup_cli.capture.rigs.picture_layout import wrong_size
from headsup_cli.capture.rigs.scale import Scale, guess_metres_per_unit
from headsup_cli.capture.schemas import MAX_CAMERAS, MAX_FRAMES
from headsup_cli.errors import InputError
from headsup_cli.media.pictures import Picture, picture_size

PicturesByFrame = Mapping[str, Mapping[str, Picture]]  # frame -> camera -> picture

_MAX_ASPECT_DIFFERENCE = 0.01  # between a picture and what its camera was calibrated for

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Findings:
    """What an importer has read."""

    cameras: Mapping[str, CalibratedCamera]
    images: PicturesByFrame
    masks: PicturesByFrame = field(default_factory=dict)
    backgrounds: Mapping[str, Picture] = field(default_factory=dict)
    metres_per_unit: float | None = None  # None: guessed
    scale: Scale | None = None  # None: metric where units are given or can be guessed
    resized: bool = False  # whether pictures may be smaller than what the cameras were calibrated for


def assemble(folder: Path, importer: str, found: Findings) -> RigDump:
    """Check sizes, find units, and say which views are missing.

    Raises:
        InputError: There are no cameras, no pictures, too many of either, or a picture's size is not its camera's.
    """
    used = {name for pictures in found.images.values() for name in pictures}
    if not used:
        raise InputError(
            folder,
            found=f"without a picture of any of its {len(found.cameras)} calibrated cameras",
            expected="pictures named after the cameras",
            remedy="put them where docs/rig-formats.md says",
        )
    if len(found.cameras) > MAX_CAMERAS or len(found.images) > MAX_FRAMES:
        raise InputError(
            folder,
            found=f"{len(found.cameras)} cameras and {len(found.images)} frames",
            expected=f"at most {MAX_CAMERAS} and {MAX_FRAMES}",
            remedy="split it",
        )
    sizes = _Sizes()
    cameras = {name: _sized(name, camera, found, sizes) for name, camera in found.cameras.items() if name in used}
    for name in found.cameras.keys() - used:
        logger.warning("camera %s has no pictures; ignored", name)
    guess, guessed_scale = guess_metres_per_unit([camera.cam_from_world for camera in cameras.values()])
    metres_per_unit = guess if found.metres_per_unit is None else found.metres_per_unit
    return RigDump(
        path=folder,
        importer=importer,
        metres_per_unit=metres_per_unit,
        cameras={name: _in_metres(name, camera, metres_per_unit) for name, camera in cameras.items()},
        frames=_frames(found, cameras, sizes),
        backgrounds={
            name: _fitted(p, cameras[name], sizes) for name, p in found.backgrounds.items() if name in cameras
        },
        left_out=_missing(found.images, cameras),
        scale=found.scale or ("metric" if found.metres_per_unit is not None else guessed_scale),
    )


class _Sizes:
    """Sizes of pictures by their headers, one for all that are in an archive or a video."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, str], tuple[int, int] | None] = {}

    def of(self, picture: Picture) -> tuple[int, int] | None:
        """Width and height; None where it cannot be read, which is told where it is decoded."""
        together = picture.member is not None or picture.video_frame is not None
        key = (picture.path, "" if together else "file")
        if key not in self._known:
            try:
                self._known[key] = picture_size(picture)
            except InputError:
                return None
        return self._known[key]


def _sized(name: str, camera: CalibratedCamera, found: Findings, sizes: _Sizes) -> CalibratedCamera:
    """The camera for its pictures, all of which are of one size."""
    pictures = [images[name] for images in found.images.values() if name in images]
    may_scale = found.resized
    for picture in pictures:
        size = sizes.of(picture)
        if size is None or size == camera.size:
            continue
        if camera.size is not None and not (may_scale and _same_aspect(size, camera.size)):
            raise wrong_size(picture, size, camera.size)
        camera, may_scale = camera.scaled_to(size), False
    if camera.size is None:
        raise InputError(
            pictures[0], found="not readable", expected=f"a picture of camera {name}", remedy="restore the picture"
        )
    return camera


def _fitted(picture: Picture, camera: CalibratedCamera, sizes: _Sizes) -> Picture:
    """A mask or plate, scaled on reading where it is of another size than the camera's pictures."""
    size = sizes.of(picture)
    if size is None or camera.size is None or size == camera.size:
        return picture
    if not _same_aspect(size, camera.size):
        raise wrong_size(picture, size, camera.size)
    return replace(picture, size=camera.size)


def _same_aspect(size: tuple[int, int], other: tuple[int, int]) -> bool:
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) < _MAX_ASPECT_DIFFERENCE


def _in_metres(name: str, camera: CalibratedCamera, metres_per_unit: float) -> RigCamera:
    cam_from_rig = camera.cam_from_world.copy()
    cam_from_rig[:3, 3] *= metres_per_unit
    width, height = camera.size or (0, 0)
    return RigCamera(name, camera.K, camera.lens, cam_from_rig, width, height)


def _frames(found: Findings, cameras: Mapping[str, CalibratedCamera], sizes: _Sizes) -> dict[str, RigFrame]:
    frames = {}
    for frame, images in found.images.items():
        masks = found.masks.get(frame, {})
        frames[frame] = RigFrame(
            {name: images[name] for name in cameras if name in images},
            {name: _fitted(masks[name], cameras[name], sizes) for name in cameras if name in masks},
        )
    return {name: frame for name, frame in frames.items() if frame.images}


def _missing(images: PicturesByFrame, cameras: Mapping[str, CalibratedCamera]) -> dict[str, str]:
    left_out: dict[str, str] = {}
    for name in cameras:
        absent = [frame for frame, pictures in images.items() if pictures and name not in pictures]
        left_out |= {f"{frame}/{name}": "no picture" for frame in absent}
        if absent:
            logger.warning("camera %s has no picture in %d of %d frames", name, len(absent), len(images))
    return left_out
