"""A frame of a capture as the model's input."""

import numpy as np
import torch
from jaxtyping import Float

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.capture import Capture
from headsup_cli.media.opencv import cv2
from headsup_cli.model.views import Views


def capture_views(capture: Capture, frame: str, *, limit: int | None = None) -> tuple[list[str], Views]:
    """The pictures of one moment at the capture's resolution.

    Pictures of different sizes are resampled to the most common one; their intrinsics follow. With a limit the cameras
    are chosen to be spread around the head.

    Args:
        capture: The subject.
        frame: Which moment.
        limit: At most so many views; all by default.

    Returns:
        Camera ids and views in the same order.

    Raises:
        InputError: The frame is not there, or a picture cannot be read.
    """
    available = capture.frames[capture.frame_named(frame)].views
    names = sorted(available)
    if limit is not None and limit < len(names):
        names = _spread(names, np.stack([_centre(capture.cameras[name].cam_from_head) for name in names]), limit)
    cameras = [capture.cameras[name] for name in names]
    sizes = [(camera.width, camera.height) for camera in cameras]
    width, height = max(set(sizes), key=lambda size: (sizes.count(size), size))
    images, masks = [], []
    for name in names:
        coverage = available[name].load_mask()
        images.append(_resized(available[name].load_image(), width, height))
        masks.append(None if coverage is None else _resized(coverage, width, height))
    masked = all(mask is not None for mask in masks)
    alpha = np.stack([np.ones((height, width), np.float32) if mask is None else mask for mask in masks])[..., None]
    rgb = torch.from_numpy(np.stack(images)).float() / 255
    mask = torch.from_numpy(alpha if masked else np.ones_like(alpha))
    K = np.stack([np.diag([width / c.width, height / c.height, 1.0]) @ c.K for c in cameras])
    return names, Views(
        rgb=rgb * mask,
        mask=mask,
        cameras=Cameras(
            cam_from_world=torch.from_numpy(np.stack([c.cam_from_head for c in cameras])).float(),
            K=torch.from_numpy(K).float(),
            width=width,
            height=height,
        ),
        masked=masked,
    )


def _centre(cam_from_head: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3"]:
    return -cam_from_head[:3, :3].T @ cam_from_head[:3, 3]


def _spread(names: list[str], centres: Float[np.ndarray, "n 3"], count: int) -> list[str]:
    """Camera ids by farthest-point choice, starting with the one most in front of the face."""
    chosen = [int(np.argmax(centres[:, 2] / np.linalg.norm(centres, axis=1)))]
    while len(chosen) < count:
        distances = np.linalg.norm(centres[:, None] - centres[chosen], axis=-1).min(1)
        chosen.append(int(np.argmax(distances)))
    return [names[i] for i in sorted(chosen)]


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if image.shape[1::-1] == (width, height):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
