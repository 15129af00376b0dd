"""Pictures and films of a head: colour, depth, normals or coverage, from given cameras or along a path."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8, UInt16
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.lens_view import LensView
from headsup_cli.cameras.trajectories import orbit
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.inference.visibility import outward_normals
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.media.opencv import cv2
from headsup_cli.media.video import open_video_writer
from headsup_cli.rendering.render import render
from headsup_cli.rendering.sequences import render_frames
from headsup_cli.runtime.atomic import atomic_directory, atomic_write_bytes
from headsup_cli.runtime.progress import progress

Show = Literal["rgb", "depth", "normals", "alpha"]
Rgb = tuple[float, float, float]
Picture = UInt8[np.ndarray, "h w _"]  # RGB, or RGBA with straight alpha

DEPTH_UNIT_M = 1e-4  # of 16-bit depth PNGs
_PIXELS_AT_ONCE = 8 * 512 * 512  # rendered in one call
_FARTHEST_GREY = 0.15  # of depth as a shade; the nearest is white
_DEPTH_SHARES = (0.5, 99.5)  # percentiles of the Gaussians' depths that shades run between


@dataclass(frozen=True)
class Look:
    """What pictures show, and how."""

    show: Show = "rgb"
    background: Rgb | None = (0.0, 0.0, 0.0)  # None is transparent
    supersampling: int = 1  # side of the square of samples that a pixel is the average of

    @property
    def is_transparent(self) -> bool:
        """Whether pictures have an alpha channel; alpha itself is shown as a picture without."""
        return self.background is None and self.show != "alpha"


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


@dataclass(frozen=True)
class Scene:
    """Gaussians, and what is shown of them."""

    gaussians: Gaussians  # in the world of the cameras; the head frame, where normals are shown
    look: Look = field(default_factory=Look)

    def pictures(self, cameras: Cameras) -> Iterator[Picture]:
        """One picture per camera, in order: RGB, or RGBA where the background is transparent.

        Depth is a shade from white (the nearest of the whole path) to dark grey (the farthest); normals are colours,
        red running to the right of the picture, green upwards and blue towards the viewer; alpha is white on black.
        """
        shades = _depth_range(self.gaussians, cameras) if self.look.show == "depth" else (0.0, 1.0)
        for layer in self.layers(cameras):
            yield _composed(_display(layer, self.look.show, shades), self.look)

    @torch.no_grad()
    def layers(self, cameras: Cameras) -> Iterator[Float32[np.ndarray, "h w c"]]:
        """What is shown, multiplied by its coverage, and the coverage as the last channel: these may be averaged."""
        finer = self.look.supersampling
        fine = cameras.resized(finer * cameras.width, finer * cameras.height)
        at_once = max(1, _PIXELS_AT_ONCE // (fine.width * fine.height))
        for first in range(0, len(fine), at_once):
            some = fine[first : first + at_once]
            output = render(self.gaussians, some, colors=self._normals if self.look.show == "normals" else None)
            shown = {"depth": output.depth * output.alpha, "alpha": output.alpha}.get(self.look.show, output.rgb)
            if self.look.show == "normals":  # the head's frame -> right, up, towards the viewer
                shown = torch.einsum("cij,chwj->chwi", some.cam_from_world[:, :3, :3], shown)
                shown = shown * shown.new_tensor([1.0, -1.0, -1.0])
            for layer in torch.cat([shown, output.alpha], -1).cpu().numpy():
                yield _averaged(layer, finer)

    @cached_property
    def _normals(self) -> Float[Tensor, "n 3"]:
        return outward_normals(self.gaussians)


def write_film(scene: Scene, cameras: Cameras, path: Path, *, fps: float) -> None:
    """Write an .mp4, .webm or .gif of a path, as the name says; only the last two can be transparent.

    Raises:
        InputError: The name ends otherwise, or an .mp4 is to be transparent.
    """
    pixels: Literal["rgb", "rgba"] = "rgba" if scene.look.is_transparent else "rgb"
    with open_video_writer(path, width=cameras.width, height=cameras.height, fps=fps, pixels=pixels) as append:
        for picture in progress(scene.pictures(cameras), "rendering", total=len(cameras)):
            append(picture)


def write_sequence(scene: Scene, cameras: Cameras, folder: Path) -> None:
    """Write `00000.png` and so on into a folder that appears when it is complete; depth as `write_stills` does."""
    with atomic_directory(folder) as unfinished:
        for index, layer in enumerate(progress(scene.layers(cameras), "rendering", total=len(cameras))):
            _write_png(unfinished / f"{index:05d}.png", layer, scene.look)


def write_sheet(scene: Scene, cameras: Cameras, path: Path) -> None:
    """Write one PNG with the pictures of a path side by side, in rows from the top left."""
    tiles = list(progress(scene.pictures(cameras), "rendering", total=len(cameras)))
    columns = math.ceil(math.sqrt(len(tiles)))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[first : first + columns], 1) for first in range(0, len(tiles), columns)]
    write_image(path, np.concatenate(rows))


def write_stills(
    scene: Scene,
    rig_from_head: Float64[np.ndarray, "4 4"],
    rig_cameras: dict[str, RigCamera],
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
) -> None:
    """Write `<camera>.png` for each camera of a rig, through its lens.

    Depth is along the camera's z in tenths of a millimetre, 16 bit, 0 where less than half of the pixel is covered.

    Args:
        scene: In the head frame.
        rig_from_head: Similarity from the head frame (metres) to the rig's world in the rig's units.
        rig_cameras: In the rig's world, metres.
        folder: Where the pictures go.
        size: Width and height in pixels; each camera's own by default.

    Raises:
        InputError: A lens model gives some pixels no ray.
    """
    at_once, finer = replace(scene, look=replace(scene.look, supersampling=1)), scene.look.supersampling
    for name, camera in progress(rig_cameras.items(), "rendering", total=len(rig_cameras)):
        view = LensView.of(_in_head_frame(camera, rig_from_head, size, finer))
        (layer,) = at_once.layers(_single(view.canvas).to(scene.gaussians.means.device))
        _write_png(folder / f"{name}.png", _averaged(view.bent(layer), finer), scene.look)


def rig_views(rig_from_head: Float64[np.ndarray, "4 4"], rig_cameras: dict[str, RigCamera]) -> list[Cameras]:
    """A rig's cameras in the head frame, without their lenses but wide enough for them; one each, as sizes differ.

    Args:
        rig_from_head: Similarity from the head frame (metres) to the rig's world in the rig's units.
        rig_cameras: In the rig's world, metres.
    """
    return [_single(LensView.of(_in_head_frame(each, rig_from_head, None, 1)).canvas) for each in rig_cameras.values()]


def _in_head_frame(
    camera: RigCamera, rig_from_head: Float64[np.ndarray, "4 4"], size: tuple[int, int] | None, finer: int
) -> RigCamera:
    """The camera with its pose in the head frame, for pictures of `size` times `finer`."""
    metric_rig_from_head = rig_from_head.copy()
    metric_rig_from_head[:3] /= np.cbrt(np.linalg.det(rig_from_head[:3, :3]))  # rig units -> metres
    width, height = (finer * side for side in size or (camera.width, camera.height))
    K = camera.K * np.array([[width / camera.width], [height / camera.height], [1.0]])
    return replace(camera, K=K, width=width, height=height, cam_from_rig=camera.cam_from_rig @ metric_rig_from_head)


def _single(cameras: Cameras) -> Cameras:
    return replace(cameras, cam_from_world=cameras.cam_from_world.float(), K=cameras.K.float())


def _averaged(layer: Float32[np.ndarray, "H W c"], factor: int) -> Float32[np.ndarray, "h w c"]:
    if factor == 1:
        return layer
    size = layer.shape[1] // factor, layer.shape[0] // factor
    averaged: Float32[np.ndarray, "h w c"] = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
    return averaged


def _depth_range(gaussians: Gaussians, cameras: Cameras) -> tuple[float, float]:
    """The least and the greatest depth (metres) of a path's pictures, but for outliers."""
    world = cameras.to("cpu")
    _, depth = world.project(gaussians.means.to(world.K))
    ahead = np.where(depth.numpy() > 0, depth.numpy(), np.nan)
    near, far = np.nanpercentile(ahead, _DEPTH_SHARES, axis=1)
    return float(np.nanmin(near)), float(np.nanmax(far))


def _display(
    layer: Float32[np.ndarray, "h w c"], show: Show, shades: tuple[float, float]
) -> Float32[np.ndarray, "h w 4"]:
    """Colours multiplied by their alpha, and alpha."""
    alpha = layer[..., -1:].clip(0, 1)  # cubic interpolation overshoots
    values = layer[..., :-1]
    if show == "normals":
        length = np.linalg.norm(values, axis=-1, keepdims=True)
        values = (0.5 + 0.5 * values / np.maximum(length, 1e-6)) * alpha
    elif show == "depth":
        near, far = shades
        share = np.clip((far - values / np.maximum(alpha, 1e-6)) / max(far - near, 1e-6), 0, 1)
        values = (_FARTHEST_GREY + (1 - _FARTHEST_GREY) * share) * alpha
    colours = np.broadcast_to(values, (*alpha.shape[:2], 3))
    return np.concatenate([colours, alpha], -1).astype(np.float32)


def _composed(display: Float32[np.ndarray, "h w 4"], look: Look) -> Picture:
    colours, alpha = display[..., :3], display[..., 3:]
    if look.is_transparent:
        return to_8bit(np.concatenate([colours / np.maximum(alpha, 1e-6), alpha], -1))
    behind = (0.0, 0.0, 0.0) if look.background is None or look.show == "alpha" else look.background
    return to_8bit(colours + (1 - alpha) * np.array(behind, np.float32))


def _depth_map(layer: Float32[np.ndarray, "h w 2"]) -> UInt16[np.ndarray, "h w"]:
    depth_m, alpha = layer[..., 0] / np.maximum(layer[..., 1], 1e-6), layer[..., 1]
    return np.where(alpha >= 0.5, np.clip(depth_m / DEPTH_UNIT_M + 0.5, 0, 65535), 0).astype(np.uint16)


def _write_png(path: Path, layer: Float32[np.ndarray, "h w c"], look: Look) -> None:
    if look.show == "depth":
        atomic_write_bytes(path, cv2.imencode(".png", _depth_map(layer))[1].tobytes())
    else:
        write_image(path, _composed(_display(layer, look.show, (0.0, 1.0)), look))
