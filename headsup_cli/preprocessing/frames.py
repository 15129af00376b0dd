"""One frame of a rig dump: read, masked, without distortion, at the cameras' own resolution."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, UInt8

from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.picture_layout import ONLY_FRAME
from headsup_cli.errors import InputError
from headsup_cli.media.images import to_8bit
from headsup_cli.media.pictures import read_mask_picture, read_picture
from headsup_cli.preprocessing.automatic_masks import MaskedView, automatic_masks
from headsup_cli.preprocessing.colour_match import room_hue
from headsup_cli.preprocessing.masks import mask_from_plate
from headsup_cli.preprocessing.matting_model import MattingModel, load_matting_model
from headsup_cli.preprocessing.options import MaskSource
from headsup_cli.preprocessing.parallel import in_threads
from headsup_cli.preprocessing.undistort import Undistorter, undistorted_view

MIN_VIEWS = 1  # that a frame must keep once views that cannot be used are left out
_MAX_KEPT_PX = 300e6  # of undistortion tables (6 bytes each) and clean plates (3) kept between frames
_EMPTY_SHARE, _FULL_SHARE = 0.002, 0.98  # of a picture: masks beyond are no subject's

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StraightView:
    """A picture and its mask at the camera's own resolution, without distortion."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"] | None


@dataclass(frozen=True)
class StraightFrame:
    """What can be used of one moment, by camera id."""

    views: dict[str, StraightView]
    left_out: dict[str, str]  # "frame/camera" -> why


class FrameReader:
    """Reads the frames of a dump one at a time, in whatever order.

    Args:
        dump: What came off the rig.
        masks: Where masks come from: `auto` takes given ones, else clean plates, else finds the subject by itself.
        threads: Pictures worked on at a time.

    Raises:
        InputError: The dump has none of the masks or plates that `masks` names.
        MissingDependencyError: The matting model that it names is not installed.
    """

    def __init__(self, dump: RigDump, masks: MaskSource, threads: int) -> None:
        self.dump, self.masks, self.threads = dump, masks, threads
        self.pinholes = {name: undistorted_view(camera) for name, camera in dump.cameras.items()}
        pixels = sum(view.width * view.height for view in self.pinholes.values())
        self._keeping = len(dump.frames) > 1 and pixels <= _MAX_KEPT_PX
        self._undistorters = {
            name: Undistorter(camera, self.pinholes[name], kept=self._keeping) for name, camera in dump.cameras.items()
        }
        self._plates: dict[str, np.ndarray] = {}
        self._room_hues: dict[str, np.ndarray | None] = {}
        self._model: MattingModel | None = load_matting_model() if masks == "rembg" else None
        needed = {"given": any(frame.masks for frame in dump.frames.values()), "plates": bool(dump.backgrounds)}
        if not needed.get(masks, True):
            raise InputError(
                dump.path,
                found=f"without {'masks' if masks == 'given' else 'clean plates'}",
                expected=f"them, as --masks {masks} says",
                remedy="add them (docs/preprocess.md says where) or leave --masks out",
            )

    def read(self, frame: str) -> StraightFrame:
        """Read, mask and undistort a frame; a view that cannot be used is left out with a warning.

        Raises:
            InputError: Fewer than `MIN_VIEWS` views can be used.
        """
        cameras = list(self.dump.frames[frame].images)

        def attempt(camera: str) -> StraightView | InputError:
            try:
                return self._view(frame, camera)
            except InputError as error:
                return error

        results = dict(zip(cameras, in_threads(attempt, cameras, self.threads), strict=True))
        failures = {camera: str(result) for camera, result in results.items() if isinstance(result, InputError)}
        usable = {camera: result for camera, result in results.items() if isinstance(result, StraightView)}
        if usable and self.masks in ("auto", "rembg") and all(view.mask is None for view in usable.values()):
            usable = self._found(frame, usable)
        if any(view.mask is not None for view in usable.values()):  # a subject is masked in every view or in none
            unmasked = [camera for camera, view in usable.items() if view.mask is None]
            failures |= dict.fromkeys(unmasked, "no mask, while others have one")
            usable = {camera: view for camera, view in usable.items() if view.mask is not None}
        for camera, reason in failures.items():
            logger.warning("%sthe view of camera %s is left out: %s", _told(frame), camera, reason)
        if len(usable) < MIN_VIEWS:
            raise self._unusable(frame, next(iter(failures.values()), "no picture"))
        self._doubt(frame, usable)
        return StraightFrame(usable, {f"{frame}/{camera}": reason for camera, reason in failures.items()})

    def _view(self, frame: str, camera: str) -> StraightView:
        files, undistorter = self.dump.frames[frame], self._undistorters[camera]
        image = self._checked(read_picture(files.images[camera]), camera, "picture")
        mask = None
        if camera in files.masks and self.masks in ("auto", "given"):
            coverage = self._checked(read_mask_picture(files.masks[camera]), camera, "mask")
            mask = to_8bit(coverage)
        elif camera in self.dump.backgrounds and self.masks in ("auto", "plates"):
            mask = mask_from_plate(image, self._plate(camera))
        return StraightView(undistorter.apply(image), None if mask is None else undistorter.apply(mask))

    def room_hue(self, camera: str) -> Float64[np.ndarray, " 3"] | None:
        """The hue of a camera's clean plate; None if there is none, or none that can be used."""
        if camera not in self.dump.backgrounds:
            return None
        if camera not in self._room_hues:
            try:
                self._plate(camera)
            except InputError as error:  # pictures were masked without it
                logger.warning("colours are matched without the clean plate of camera %s: %s", camera, error)
                self._room_hues[camera] = None
        return self._room_hues[camera]

    def _plate(self, camera: str) -> UInt8[np.ndarray, "h w 3"]:
        if camera in self._plates:
            return self._plates[camera]
        plate = self._checked(read_picture(self.dump.backgrounds[camera]), camera, "clean plate")
        if camera not in self._room_hues:
            self._room_hues[camera] = room_hue(plate)
        if self._keeping:
            self._plates[camera] = plate
        return plate

    def _checked(self, pixels: np.ndarray, camera: str, kind: str) -> np.ndarray:
        expected = self.dump.cameras[camera]
        if pixels.shape[:2] != (expected.height, expected.width):
            raise InputError(
                f"the {kind} of camera {camera}",
                found=f"{pixels.shape[1]} x {pixels.shape[0]} pixels",
                expected=f"{expected.width} x {expected.height} as calibrated",
                remedy="scale it, or leave it out",
            )
        return pixels

    def _found(self, frame: str, views: dict[str, StraightView]) -> dict[str, StraightView]:
        """The views with masks of our own finding; as they were where no subject is found."""
        names = list(views)
        if self._model is not None:
            masks = [self._model.mask(views[name].image) for name in names]
        else:
            masks = automatic_masks(
                [
                    MaskedView(views[name].image, self.pinholes[name].K, self.dump.cameras[name].cam_from_rig)
                    for name in names
                ],
                self.threads,
            )
        if not any((mask > 127).any() for mask in masks):
            logger.warning("%sno subject found in any view; it goes without masks", _told(frame))
            return views
        return {name: replace(views[name], mask=mask) for name, mask in zip(names, masks, strict=True)}

    def _doubt(self, frame: str, views: dict[str, StraightView]) -> None:
        shares = {name: float((view.mask > 127).mean()) for name, view in views.items() if view.mask is not None}
        for what, cameras in (
            ("nearly nothing", [name for name, share in shares.items() if share < _EMPTY_SHARE]),
            ("nearly the whole picture", [name for name, share in shares.items() if share > _FULL_SHARE]),
        ):
            if cameras:
                named = ", ".join(cameras[:5]) + (", ..." if len(cameras) > 5 else "")
                logger.warning("%sthe mask covers %s in camera %s", _told(frame), what, named)

    def _unusable(self, frame: str, reason: str) -> InputError:
        return InputError(
            self.dump.path,
            field=f"frame {frame}",
            found=f"without usable picture ({reason})",
            expected=f"at least {MIN_VIEWS}",
            remedy="restore the pictures",
        )


def _told(frame: str) -> str:
    """What a message about a frame begins with; one without a name needs none."""
    return "" if frame == ONLY_FRAME else f"frame {frame}: "
