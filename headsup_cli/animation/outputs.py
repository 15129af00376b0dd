"""What an animated head is written as: a video, a folder or zip of PLYs, a USD stage, blendshapes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from headsup_cli.animation.blendshape_file import write_blendshapes
from headsup_cli.animation.curve_plot import CurvePlot
from headsup_cli.animation.curves import Curves
from headsup_cli.animation.rig import Pose, Rig
from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.formats.usd import write_usd_frames
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import write_ply
from headsup_cli.media.video import open_video_writer
from headsup_cli.rendering.render import render
from headsup_cli.runtime.atomic import atomic_directory, atomic_path
from headsup_cli.runtime.progress import progress

Camera = Literal["front", "orbit"]
Output = Literal["video", "ply", "zip", "usd", "blendshapes"]
_STRIP_SHARE = 0.22  # height of the plotted curves over that of the picture


@dataclass(frozen=True)
class VideoOptions:
    """How an animation is filmed."""

    width: int = 512
    height: int = 512
    fps: float = 30.0
    camera: Camera = "front"  # still in front of the face, or once around during the clip
    plot: bool = False  # the curves under the picture
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)


def posed(rig: Rig, curves: Curves) -> Iterator[Gaussians]:
    """The head at every frame of a clip, on the CPU."""
    for index in range(len(curves)):
        head = None if curves.head_rad is None else curves.head_rad[index]
        gaze = None if curves.gaze_rad is None else curves.gaze_rad[index]
        yield rig.pose(Pose(curves.weights[index], head, gaze))


def animation_path(folder: Path, name: str, to: Output) -> Path:
    """Where a clip of this name goes in a folder, or a head's blendshapes."""
    names = {"blendshapes": "blendshapes.safetensors", "video": f"{name}.mp4", "ply": name}
    return folder / names.get(to, f"{name}.{to}")


def write_animation(
    rig: Rig, curves: Curves, path: Path, to: Output, options: VideoOptions, *, device: torch.device | str = "cpu"
) -> None:
    """Write a clip, or the head's blendshapes, to a path of `animation_path`."""
    if to == "video":
        write_animation_video(rig, curves, path, options, device=device)
    elif to == "blendshapes":
        write_blendshapes(rig, path)
    elif to == "usd":
        write_usd_sequence(rig, curves, path, fps=options.fps)
    else:
        write_plys(rig, curves, path)


def write_animation_video(
    rig: Rig, curves: Curves, path: Path, options: VideoOptions, *, device: torch.device | str = "cpu"
) -> None:
    """Write an .mp4 of a clip; it appears when it is complete.

    Args:
        rig: The head.
        curves: The clip, at `options.fps`.
        path: Where to.
        options: Picture, camera, what stands beside it.
        device: Where to render.
    """
    strip_height = round(_STRIP_SHARE * options.height) if options.plot else 0
    plot = CurvePlot(curves, options.width, strip_height) if options.plot else None
    cameras = _path(options, len(curves))
    height = options.height + strip_height
    with open_video_writer(path, width=options.width, height=height, fps=options.fps) as append:
        frames = zip(posed(rig, curves), curves.times_s, strict=True)
        for index, (gaussians, time_s) in enumerate(progress(frames, "rendering", total=len(curves))):
            picture = _picture(gaussians.to(device), cameras[index : index + 1].to(device), options)
            append(picture if plot is None else np.concatenate([picture, plot.at(float(time_s))]))


def write_plys(rig: Rig, curves: Curves, path: Path) -> None:
    """Write one PLY a frame, `frame_00000.ply` on, into a folder, or into a zip where the name ends so."""
    names = (f"frame_{index:05d}.ply" for index in range(len(curves)))
    frames = progress(zip(names, posed(rig, curves), strict=False), "writing", total=len(curves))
    if path.suffix.lower() != ".zip":
        with atomic_directory(path) as folder:
            for name, gaussians in frames:
                write_ply(folder / name, gaussians)
        return
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        part = temporary.with_name(temporary.name + ".ply")
        try:
            for name, gaussians in frames:
                write_ply(part, gaussians)
                archive.write(part, name)
        finally:
            part.unlink(missing_ok=True)


def write_usd_sequence(rig: Rig, curves: Curves, path: Path, *, fps: float) -> None:
    """Write a clip as one USD stage with a time sample a frame, which engines and Omniverse play as it is.

    Args:
        rig: The head.
        curves: The clip, at `fps`.
        path: A .usd, .usdc (both binary) or .usda (text); it appears when it is complete.
        fps: Frames per second; time codes count frames from 0.

    Raises:
        MissingDependencyError: usd-core is not installed.
    """
    frames = progress(posed(rig, curves), "writing", total=len(curves))
    with atomic_path(path) as temporary:
        write_usd_frames(temporary, frames, fps=fps)


def _path(options: VideoOptions, frames: int) -> Cameras:
    if options.camera == "orbit":
        return orbit(frames, options.width, options.height)
    still = orbit(1, options.width, options.height)
    return still[torch.zeros(frames, dtype=torch.long)]


@torch.no_grad()
def _picture(gaussians: Gaussians, camera: Cameras, options: VideoOptions) -> UInt8[np.ndarray, "h w 3"]:
    behind = torch.tensor(options.background, device=gaussians.means.device)
    rgb = render(gaussians, camera, background=behind).rgb[0]
    return (rgb.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
