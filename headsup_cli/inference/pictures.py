"""Videos and stills of a head, written to disk."""

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.trajectories import orbit
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.media.images import write_image
from headsup_cli.media.video import open_video_writer
from headsup_cli.rendering.sequences import render_frames
from headsup_cli.runtime.progress import progress

logger = logging.getLogger(__name__)


def write_orbit(
    gaussians: Gaussians,
    path: Path,
    *,
    width: int,
    height: int,
    frames: int = 120,
    fps: float = 30.0,
    background: Float[Tensor, "3"] | None = None,
) -> None:
    """Write a video of one turn about the head that begins in front of the face.

    Args:
        gaussians: In the head frame.
        path: An .mp4; it appears when it is complete.
        width: Picture width, pixels.
        height: Picture height, pixels.
        frames: Pictures in the turn.
        fps: Pictures a second.
        background: Colour behind the head; black by default.
    """
    cameras = orbit(frames, width, height).to(gaussians.means.device)
    with open_video_writer(path, width=width, height=height, fps=fps) as append:
        for picture in progress(render_frames(gaussians, cameras, background=background), "rendering", total=frames):
            append(picture)


def write_stills(
    gaussians: Gaussians,
    rig_from_head: Float64[np.ndarray, "4 4"],
    rig_cameras: dict[str, RigCamera],
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    background: Float[Tensor, "3"] | None = None,
) -> None:
    """Write `<camera>.png` for each camera of a rig.

    Args:
        gaussians: In the head frame.
        rig_from_head: Similarity from the head frame (metres) to the rig's world in the rig's units.
        rig_cameras: In the rig's world, metres.
        folder: Where the pictures go.
        size: Width and height in pixels; each camera's own by default.
        background: Colour behind the head; black by default.
    """
    metric_rig_from_head = rig_from_head.copy()
    metric_rig_from_head[:3] /= np.cbrt(np.linalg.det(rig_from_head[:3, :3]))  # rig units -> metres
    for name, camera in rig_cameras.items():
        if not camera.lens.is_ideal:
            logger.warning("camera %s has lens distortion; its picture is rendered without", name)
        view = Cameras(
            cam_from_world=torch.from_numpy(camera.cam_from_rig @ metric_rig_from_head).float()[None],
            K=torch.from_numpy(camera.K).float()[None],
            width=camera.width,
            height=camera.height,
        ).to(gaussians.means.device)
        if size is not None:
            view = view.resized(*size)
        (picture,) = render_frames(gaussians, view, background=background)
        write_image(folder / f"{name}.png", picture)
