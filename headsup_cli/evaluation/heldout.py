"""Pictures that a head was not made from: what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.capture import CaptureView
from headsup_cli.errors import InputError
from headsup_cli.media.opencv import cv2


@dataclass(frozen=True)
class HeldoutView:
    """A picture with its mask, and the camera that took it."""

    name: str  # of the camera
    camera: Cameras  # one, head frame
    picture: CaptureView


@dataclass(frozen=True)
class Reference:
    """What a head should look like from a camera."""

    rgb: Float[Tensor, "h w 3"]  # sRGB in [0, 1], composited on the protocol's background
    mask: Float[Tensor, "h w"]  # coverage by the subject in [0, 1]
    camera: Cameras  # one, head frame, of the same size


def heldout_view(
    name: str,
    picture: CaptureView,
    cam_from_world: Float64[np.ndarray, "4 4"],
    K: Float64[np.ndarray, "3 3"],
    size: tuple[int, int],
    world_from_head: Float64[np.ndarray, "4 4"],
) -> HeldoutView:
    """A held-out view in the head frame.

    Args:
        name: Of the camera.
        picture: Its picture, undistorted.
        cam_from_world: Rigid, in the world's unit of length.
        K: Pixels, pixel centres at half-integers.
        size: Width and height, pixels.
        world_from_head: Similarity from the head frame (metres) to that world.
    """
    world = Cameras(torch.from_numpy(cam_from_world)[None], torch.from_numpy(K)[None], *size)
    seen = world.in_frame(torch.from_numpy(world_from_head))
    camera = Cameras(seen.cam_from_world.float(), seen.K.float(), *size)
    return HeldoutView(name, camera, picture)


def load_reference(
    view: HeldoutView, size: tuple[int, int] | None, background: tuple[float, float, float]
) -> Reference:
    """Read a view's pictures at the resolution of the comparison, averaging over areas, and composite them.

    Picture and mask are resampled each on its own and composited then, as `preprocess` makes captures.

    Args:
        view: Whose.
        size: Width and height in pixels; the picture's own by default.
        background: sRGB in [0, 1].

    Raises:
        InputError: A picture cannot be read, or there is no mask or an empty one.
    """
    coverage = view.picture.load_mask()
    if coverage is None or not (coverage > 0.5).any():
        raise InputError(
            f"the held-out view of camera {view.name}",
            found="without mask" if coverage is None else "with an empty mask",
            expected="a mask of the subject, which both pictures are composited with",
            remedy="give masks (docs/preprocess.md) or hold out another camera",
        )
    width, height = size or (view.camera.width, view.camera.height)
    rgb = _resized(view.picture.load_image() / 255.0, width, height)  # [h, w, 3], float64
    mask = _resized(coverage.astype(np.float64), width, height)[..., None]
    composited = rgb * mask + (1 - mask) * np.array(background)
    return Reference(
        rgb=torch.from_numpy(composited).float(),
        mask=torch.from_numpy(mask[..., 0]).float(),
        camera=view.camera.resized(width, height),
    )


def _resized(picture: Float64[np.ndarray, "h w *c"], width: int, height: int) -> Float64[np.ndarray, "h2 w2 *c"]:
    if picture.shape[1::-1] == (width, height):
        return picture
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
