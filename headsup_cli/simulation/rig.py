"""Where simulated cameras stand, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import InputError

RigLayout = Literal["dome", "front", "ring", "scattered"]
LAYOUTS: tuple[RigLayout, ...] = ("dome", "front", "ring", "scattered")
HEAD_CENTRE_M = np.array([0.0, 0.01, 0.02])  # what cameras look at, head frame
_LEVEL = 0.42  # where on the dome's band cameras look horizontally
HEAD_EXTENT_M = 0.30  # chin to crown with some hair


@dataclass(frozen=True)
class CameraFaults:
    """What sets each camera apart from an ideal one."""

    gain: Float[np.ndarray, "c 3"]  # on linear colour
    noise: Float[np.ndarray, " c"]  # standard deviation on the encoded image, 0..1
    distortion: Float[np.ndarray, "c 5"]  # k1, k2, p1, p2, k3 in OpenCV's order


def sample_cameras(
    rng: np.random.Generator, n: int, width: int, height: int, layout: RigLayout = "dome", fill: float = 0.78
) -> Cameras:
    """Draw a rig around a head, in the head frame.

    Args:
        rng: Source of all randomness.
        n: Number of cameras, at least one.
        width: Image width in pixels.
        height: Image height in pixels.
        layout: `dome` spreads the cameras evenly over the band from 25 degrees below to 50 above the head, denser in
            front; `front` keeps them within 100 degrees of the face; `ring` puts them at one height; `scattered` draws
            every camera by itself.
        fill: Share of the image's shorter way that the head takes.

    Raises:
        InputError: No cameras, or no pixels.
    """
    if n < 1 or width < 1 or height < 1:
        raise InputError(
            "rig", field="cameras and size", found=f"{n} of {width}x{height}", expected="at least one camera and pixel",
            remedy="ask for more",
        )  # fmt: skip
    azimuth, elevation = _directions(rng, n, layout)
    distance = rng.uniform(0.8, 1.5) * rng.uniform(0.93, 1.07, n)
    offset = distance[:, None] * np.stack(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], -1
    )
    target = HEAD_CENTRE_M + rng.normal(0, 0.012, (n, 3)) + rng.normal(0, 0.012, 3)
    cam_from_head = look_at(target + offset, target, roll=rng.normal(0, np.radians(2.5), n))
    focal_px = fill * min(width * 1.25, height) * distance / HEAD_EXTENT_M * rng.uniform(0.94, 1.06, n)
    K = np.tile(np.eye(3), (n, 1, 1))
    K[:, 0, 0] = K[:, 1, 1] = focal_px
    K[:, 0, 2] = width / 2 + rng.normal(0, 0.012 * width, n)
    K[:, 1, 2] = height / 2 + rng.normal(0, 0.012 * height, n)
    return Cameras(torch.from_numpy(cam_from_head), torch.from_numpy(K), width, height)


def _directions(
    rng: np.random.Generator, n: int, layout: RigLayout
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Azimuth (0 in front of the face) and elevation in radians."""
    low, high = np.radians([-25, 50])
    if layout == "scattered":
        azimuth = rng.uniform(-np.pi, np.pi, n)
        return azimuth, np.arcsin(rng.uniform(np.sin(low), np.sin(high), n))
    if layout == "ring":
        azimuth = (np.arange(n) / n) * 2 * np.pi
        return azimuth + rng.normal(0, 0.06, n), np.radians(rng.uniform(-5, 15)) + rng.normal(0, 0.05, n)
    span = np.pi if layout == "dome" else np.radians(100)
    # Golden-ratio lattice: azimuth and elevation both evenly spread at any n, with a level camera in front; the power
    # crowds azimuths to the front.
    along = (np.arange(n) + 0.5) / n * 2 - 1
    azimuth = np.sign(along) * np.abs(along) ** 1.2 * span
    across = (_LEVEL + (np.arange(n) - n // 2) * 0.6180339887 + rng.normal(0, 0.03)) % 1
    elevation = np.arcsin(np.sin(low) + across * (np.sin(high) - np.sin(low)))
    return azimuth + rng.normal(0, 0.06, n), elevation + rng.normal(0, 0.04, n)


def look_at(
    centre: Float[np.ndarray, "c 3"], target: Float[np.ndarray, "c 3"], roll: Float[np.ndarray, " c"]
) -> Float[np.ndarray, "c 4 4"]:
    """`cam_from_world` of cameras that look from `centre` to `target`, the world's +Y up, turned by `roll` radians."""
    forward = (target - centre) / np.linalg.norm(target - centre, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll)[:, None], np.sin(roll)[:, None]
    rotation = np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], axis=1)
    pose = np.tile(np.eye(4), (len(centre), 1, 1))
    pose[:, :3, :3] = rotation
    pose[:, :3, 3] = -np.einsum("cij,cj->ci", rotation, centre)
    return pose


def rotation(angles_rad: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation by the given angles about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles_rad), np.sin(angles_rad)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def sample_faults(rng: np.random.Generator, n: int, strength: float, distortion: float = 0.0) -> CameraFaults:
    """Draw deviations; `strength` 1 is a badly kept rig, 0 an ideal one; `distortion` likewise for the lenses alone."""
    exposure = rng.normal(0, 0.10, (n, 1))
    tint = rng.normal(0, 0.05, (n, 3))
    lens = rng.normal([-0.12, 0.03, 0, 0, 0], [0.08, 0.05, 0.0008, 0.0008, 0.01], (n, 5))
    return CameraFaults(
        gain=np.exp(strength * (exposure + tint)),
        noise=strength * rng.uniform(0.002, 0.012, n),
        distortion=distortion * lens,
    )
