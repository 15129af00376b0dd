"""Where simulated cameras stand: drawn around a head, or as a given calibration has them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs.native import read_calibration
from headsup_cli.errors import InputError

RigLayout = Literal["dome", "front", "ring", "scattered"]
LAYOUTS: tuple[RigLayout, ...] = ("dome", "front", "ring", "scattered")
MAX_CAMERAS = 512
HEAD_CENTRE_M = np.array([0.0, 0.01, 0.02])  # what cameras look at, head frame
_LEVEL = 0.42  # where on the dome's band cameras look horizontally
HEAD_EXTENT_M = 0.30  # chin to crown with some hair
_REACH_M = (0.15, 20.0)  # how far from a head the cameras of a calibration can stand


@dataclass(frozen=True)
class RigSpread:
    """How far the cameras of a drawn rig are from each other's and from the layout's pattern; 0 is all alike."""

    focal: float = 0.13  # largest relative deviation of a focal length from the rig's
    principal: float = 0.012  # standard deviation of a principal point from the middle, as a share of the side
    irregularity: float = 1.0  # of directions, distances, aim and roll; 1 as mounted by hand


@dataclass(frozen=True)
class RigPlan:
    """Which cameras a simulated rig has: a layout to draw them from, or a calibration."""

    layout: RigLayout = "dome"
    cameras: int = 16
    calibration: Mapping[str, RigCamera] = field(default_factory=dict)  # in its own world; takes the layout's place
    calibration_sha256: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """What tells this plan from others, for JSON."""
        if self.calibration:
            sizes = sorted({(camera.width, camera.height) for camera in self.calibration.values()})
            return {"calibration_sha256": self.calibration_sha256, "sizes": [list(size) for size in sizes]}
        return {"layout": self.layout, "cameras": self.cameras}

    def resized(self, width: int, height: int) -> RigPlan:
        """The plan with the pictures of its calibration, if it has one, at another size."""
        scaled = {
            name: replace(
                camera,
                K=np.diag([width / camera.width, height / camera.height, 1.0]) @ camera.K,
                width=width,
                height=height,
            )
            for name, camera in self.calibration.items()
        }
        return replace(self, calibration=scaled)


def parse_rig(text: str) -> RigPlan:
    """The rig that `16`, `dome80`, `front8`, `ring12`, `scattered20` or the path of a calibration speaks of.

    Raises:
        InputError: Neither a layout with a number of cameras nor a file, or a wrong calibration.
    """
    match = re.fullmatch(rf"({'|'.join(LAYOUTS)})?(\d{{1,4}})", text)
    if match:
        count = int(match[2])
        if not 1 <= count <= MAX_CAMERAS:
            raise _no_rig(text)
        layout: Any = match[1] or "dome"
        return RigPlan(layout, count)
    path = Path(text)
    path = path / "calibration.json" if path.is_dir() else path
    if not path.suffix and not path.exists():
        raise _no_rig(text)
    calibration = read_calibration(path)
    head_in(calibration)  # complains of cameras that see no head
    return RigPlan(calibration=calibration, calibration_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _no_rig(text: str) -> InputError:
    return InputError(
        "--cameras", found=f"'{text}'", expected=f"1 to {MAX_CAMERAS}, one of {', '.join(LAYOUTS)} with such a number, "
        "or a calibration.json", remedy="try 16, dome80 or front8",
    )  # fmt: skip


def head_in(calibration: Mapping[str, RigCamera]) -> Float[np.ndarray, "4 4"]:
    """`rig_from_head` of a head that stands where the cameras of a calibration look.

    It is upright as their pictures are, and faces the side where most of them stand, or an arbitrary
    one if they stand all around.

    Raises:
        InputError: The point that they look at is too near to them or too far for a head to be seen.
    """
    rotations = np.stack([camera.cam_from_rig[:3, :3] for camera in calibration.values()])  # [c, 3, 3]
    centres = np.stack([camera.centre for camera in calibration.values()])
    forward = rotations[:, 2]
    across = np.eye(3) - forward[:, :, None] * forward[:, None]  # onto the plane across each optical axis
    # A weak pull to a metre in front of each camera settles what parallel axes leave open.
    pull, ahead = 1e-3 * np.eye(3), centres + forward
    target = np.linalg.solve((across + pull).sum(0), (np.einsum("cij,cj->ci", across, centres) + ahead @ pull).sum(0))
    distance = float(np.median(np.linalg.norm(centres - target, axis=1)))
    if not _REACH_M[0] <= distance <= _REACH_M[1]:
        raise InputError(
            "calibration", found=f"cameras that look at a point {distance:.3g} m away",
            expected="{:g} to {:g} m".format(*_REACH_M), remedy="state the unit of its lengths",
        )  # fmt: skip
    up = -rotations[:, 1].mean(0)
    if np.linalg.norm(up) < 0.3:  # cameras lying on their sides: the axis that they stand around
        up = np.linalg.svd(centres - centres.mean(0))[2][2]
    up /= np.linalg.norm(up)
    sides = centres - target
    sides -= (sides @ up)[:, None] * up
    facing = (
        sides.mean(0)
        if np.linalg.norm(sides.mean(0)) > 0.05 * distance
        else sides[np.linalg.norm(sides, axis=1).argmax()]
    )
    facing /= np.linalg.norm(facing) + 1e-12
    rig_from_head = np.eye(4)
    rig_from_head[:3, :3] = np.stack([np.cross(up, facing), up, facing], 1)
    rig_from_head[:3, 3] = target - rig_from_head[:3, :3] @ HEAD_CENTRE_M
    return rig_from_head


def as_rig_cameras(cameras: Cameras, lenses: list[Lens]) -> dict[str, RigCamera]:
    """Cameras with lenses, named by number, in the world of `cameras`."""
    poses, K = cameras.cam_from_world.numpy(), cameras.K.numpy()
    return {
        f"cam{index:02d}": RigCamera(f"cam{index:02d}", K[index], lens, poses[index], cameras.width, cameras.height)
        for index, lens in enumerate(lenses)
    }


def sample_cameras(
    rng: np.random.Generator,
    n: int,
    width: int,
    height: int,
    layout: RigLayout = "dome",
    fill: float = 0.78,
    spread: RigSpread = RigSpread(),
) -> Cameras:
    """Draw a rig around a head, in the head frame; one part of the spread changes nothing that another one does.

    Args:
        rng: Source of all randomness.
        n: Number of cameras, at least one.
        width: Image width in pixels.
        height: Image height in pixels.
        layout: `dome` spreads the cameras evenly over the band from 25 degrees below to 50 above the head, denser in
            front; `front` keeps them within 100 degrees of the face; `ring` puts them at one height; `scattered` draws
            every camera by itself.
        fill: Share of the image's shorter way that the head takes.
        spread: How far the cameras are from each other's and from the pattern.

    Raises:
        InputError: No cameras, or no pixels.
    """
    if n < 1 or width < 1 or height < 1:
        raise InputError(
            "rig", field="cameras and size", found=f"{n} of {width}x{height}", expected="at least one camera and pixel",
            remedy="ask for more",
        )  # fmt: skip
    irregularity = spread.irregularity
    azimuth, elevation = _directions(rng, n, layout, irregularity)
    radius, share = rng.uniform(0.8, 1.5), rng.uniform(0.93, 1.07, n)
    distance = radius * (1 + irregularity * (share - 1))
    offset = distance[:, None] * np.stack(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], -1
    )
    target = HEAD_CENTRE_M + rng.normal(0, 0.012 * irregularity, (n, 3)) + rng.normal(0, 0.012 * irregularity, 3)
    cam_from_head = look_at(target + offset, target, roll=rng.normal(0, np.radians(2.5) * irregularity, n))
    head_px = fill * min(width * 1.25, height)
    common_px = head_px * radius / HEAD_EXTENT_M
    # Each zoomed to its own distance and a little off, up to 1.07 * 1.06, which is what a spread of 0.13 is.
    own_px = head_px * (radius * share) / HEAD_EXTENT_M * rng.uniform(0.94, 1.06, n)
    K = np.tile(np.eye(3), (n, 1, 1))
    K[:, 0, 0] = K[:, 1, 1] = common_px + spread.focal / RigSpread.focal * (own_px - common_px)
    K[:, 0, 2] = width / 2 + rng.normal(0, spread.principal * width, n)
    K[:, 1, 2] = height / 2 + rng.normal(0, spread.principal * height, n)
    return Cameras(torch.from_numpy(cam_from_head), torch.from_numpy(K), width, height)


def _directions(
    rng: np.random.Generator, n: int, layout: RigLayout, irregularity: float
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Azimuth (0 in front of the face) and elevation in radians."""
    low, high = np.radians([-25, 50])
    if layout == "scattered":
        azimuth = rng.uniform(-np.pi, np.pi, n)
        return azimuth, np.arcsin(rng.uniform(np.sin(low), np.sin(high), n))
    if layout == "ring":
        azimuth = (np.arange(n) / n) * 2 * np.pi
        azimuth = azimuth + rng.normal(0, 0.06 * irregularity, n)
        return azimuth, np.radians(rng.uniform(-5, 15)) + rng.normal(0, 0.05 * irregularity, n)
    span = np.pi if layout == "dome" else np.radians(100)
    # Golden-ratio lattice: azimuth and elevation both evenly spread at any n, with a level camera in front; the power
    # crowds azimuths to the front.
    along = (np.arange(n) + 0.5) / n * 2 - 1
    azimuth = np.sign(along) * np.abs(along) ** 1.2 * span
    across = (_LEVEL + (np.arange(n) - n // 2) * 0.6180339887 + rng.normal(0, 0.03 * irregularity)) % 1
    elevation = np.arcsin(np.sin(low) + across * (np.sin(high) - np.sin(low)))
    return azimuth + rng.normal(0, 0.06 * irregularity, n), elevation + rng.normal(0, 0.04 * irregularity, n)


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
