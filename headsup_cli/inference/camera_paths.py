"""The paths that a camera takes about a head: by name, or through key frames of a file (docs/rendering.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Len, Lt
from jaxtyping import Float64
from pydantic import AfterValidator, Field

from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.trajectories import look_at, orbit, pinhole
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError

_CENTRE_M = (0.0, -0.03, 0.0)  # what the named paths look at
_VIEW_HEIGHT_M = 0.5  # of the scene that a picture shows at 1 m
_FOV_DEG = math.degrees(2 * math.atan(_VIEW_HEIGHT_M / 2))
_EIGHT_DEG = (40.0, 14.0)  # how far the figure eight goes to the sides and up and down
_DOLLY_M = (0.6, 1.4)  # the nearest and the farthest
_PARALLEL = 1e-3  # sine of the angle between view and up below which there is no picture


def figure_eight(frames: int, width: int, height: int) -> Cameras:
    """A closed lying eight in front of the face, in the head frame: once to each side, twice up and down.

    Args:
        frames: Number of cameras; the one after the last would be the first again.
        width: Picture width, pixels.
        height: Picture height, pixels.
    """
    turn = torch.arange(frames) / max(frames, 1) * 2 * math.pi  # [c]
    azimuth, elevation = math.radians(_EIGHT_DEG[0]) * turn.sin(), math.radians(_EIGHT_DEG[1]) * (2 * turn).sin()
    direction = torch.stack([azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos()], -1)
    return _looking_at_the_head(torch.tensor(_CENTRE_M) + direction, width, height)


def dolly(frames: int, width: int, height: int) -> Cameras:
    """In from afar to the face and out again, at rest at both ends, in the head frame.

    Args:
        frames: Number of cameras; the one after the last would be the first again.
        width: Picture width, pixels.
        height: Picture height, pixels.
    """
    turn = torch.arange(frames) / max(frames, 1) * 2 * math.pi  # [c]
    near, far = _DOLLY_M
    distance = near + (far - near) * (0.5 + 0.5 * turn.cos())
    return _looking_at_the_head(torch.tensor(_CENTRE_M) + distance[:, None] * torch.tensor([0, 0, 1.0]), width, height)


NAMED_PATHS: dict[str, Callable[[int, int, int], Cameras]] = {
    "orbit": orbit,
    "figure-eight": figure_eight,
    "dolly": dolly,
}


def _in_order(keyframes: list[Keyframe]) -> list[Keyframe]:
    times = [keyframe.time_s for keyframe in keyframes]
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise ValueError("key frames in order of time, each later than the one before it")
    return keyframes


_Vector = Annotated[list[float], Len(3, 3)]


class Keyframe(StrictModel):
    """Where the camera is at one time, in the head frame."""

    time_s: Annotated[float, Ge(0.0), Lt(1e5)] = Field(description="Seconds.")
    position: _Vector = Field(description="Of the camera, metres.")
    target: _Vector = Field(default=list(_CENTRE_M), description="What is in the middle of the picture, metres.")
    up: _Vector = Field(default=[0.0, 1.0, 0.0], description="What points upwards in the picture.")
    fov_deg: Annotated[float, Gt(0.1), Lt(170.0)] = Field(
        default=_FOV_DEG, description="Angle from the picture's lower edge to its upper."
    )


class CameraPath(StrictModel, populate_by_name=True):
    """A file with a camera's path: `{"schema": "headsup-path/1", "keyframes": [...]}`."""

    schema_: Literal["headsup-path/1"] = Field(alias="schema")
    keyframes: Annotated[list[Keyframe], Len(2, 10_000), AfterValidator(_in_order)]

    @property
    def is_closed(self) -> bool:
        """Whether it ends where it began, so that it can be shown in a loop."""
        values = self._values()
        return len(values) > 2 and np.allclose(values[0], values[-1], atol=1e-6)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.keyframes[-1].time_s - self.keyframes[0].time_s

    def cameras(self, frames: int, width: int, height: int, source: object = "camera path") -> Cameras:
        """Cameras at even times along the path.

        Position, target, up and the logarithm of the focal length run along cubic splines through the key frames. An
        open path begins and ends at rest; a closed one goes through its start as through any other key frame, and its
        last frame, which is the first again, is left out.

        Args:
            frames: Number of cameras.
            width: Picture width, pixels.
            height: Picture height, pixels.
            source: The file, for messages.

        Raises:
            InputError: Somewhere the camera stands at its target, or looks along its up direction.
        """
        from scipy.interpolate import CubicSpline  # a third of a second that most runs need not spend

        times = [keyframe.time_s for keyframe in self.keyframes]
        spline = CubicSpline(times, self._values(), bc_type="periodic" if self.is_closed else "clamped")
        at = np.linspace(times[0], times[-1], frames, endpoint=not self.is_closed)
        values = torch.from_numpy(spline(at))  # [c, 10]
        eyes, targets, ups, log_focal = values[:, :3], values[:, 3:6], values[:, 6:9], values[:, 9]
        forward, up = (torch.nn.functional.normalize(some, dim=-1) for some in (targets - eyes, ups))
        level = torch.linalg.vector_norm(torch.cross(forward, up, dim=-1), dim=-1)
        if not bool((level > _PARALLEL).all()):
            found = f"a camera that looks along its up direction at {at[int(level.argmin())]:.2f} s"
            raise InputError(source, field="keyframes", found=found, expected="another direction", remedy="give 'up'")
        poses = [look_at(*pose) for pose in zip(eyes[:, None], targets, ups, strict=True)]
        focal_px = 0.5 * height * log_focal.exp()
        K = torch.stack([pinhole(float(focal), width, height) for focal in focal_px])
        return Cameras(torch.cat(poses).float(), K, width, height)

    def _values(self) -> Float64[np.ndarray, "k 10"]:
        """Position, target, up and log(focal length over half the picture's height) of the key frames."""
        rows = [
            [*key.position, *key.target, *key.up, -math.log(math.tan(math.radians(key.fov_deg) / 2))]
            for key in self.keyframes
        ]
        return np.array(rows, np.float64)


def read_camera_path(path: Path) -> CameraPath:
    """Read a file of key frames.

    Raises:
        InputError: It is missing, no JSON, or a field of it is wrong.
    """
    return load_json_config(path, CameraPath)


def around(rings_deg: tuple[float, ...], per_ring: int, size_px: int) -> Cameras:
    """Square views from all around the head, in the head frame.

    Args:
        rings_deg: Elevations of the rings on which the cameras stand.
        per_ring: Cameras on each ring.
        size_px: Side of the pictures.
    """
    elevation = torch.deg2rad(torch.tensor(rings_deg)).repeat_interleave(per_ring)
    azimuth = (torch.arange(per_ring) / per_ring * 2 * math.pi).repeat(len(rings_deg))
    direction = torch.stack([azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos()], -1)
    return _looking_at_the_head(torch.tensor(_CENTRE_M) + direction, size_px, size_px)


def _looking_at_the_head(eyes: torch.Tensor, width: int, height: int) -> Cameras:
    poses = look_at(eyes, torch.tensor(_CENTRE_M), torch.tensor([0.0, 1.0, 0.0]))
    return Cameras(poses, pinhole(height / _VIEW_HEIGHT_M, width, height).repeat(len(eyes), 1, 1), width, height)
