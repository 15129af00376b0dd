"""Camera paths around a head."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras

ORBIT_DISTANCE_M = 1.0


def look_at(eyes: Float[Tensor, "c 3"], target: Float[Tensor, "3"], up: Float[Tensor, "3"]) -> Float[Tensor, "c 4 4"]:
    """`cam_from_world` of cameras at `eyes` that look at `target` with `up` upwards in the picture (metres)."""
    forward = torch.nn.functional.normalize(target - eyes, dim=-1)  # [c, 3]
    right = torch.nn.functional.normalize(torch.cross(forward, up.expand_as(forward), dim=-1), dim=-1)
    rotation = torch.stack([right, torch.cross(forward, right, dim=-1), forward], 1)  # [c, 3, 3]
    poses = torch.eye(4).repeat(len(eyes), 1, 1).to(eyes)
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = -(rotation @ eyes[..., None])[..., 0]
    return poses


def pinhole(focal_px: float, width: int, height: int) -> Float[Tensor, "3 3"]:
    """Intrinsics with square pixels and a centred principal point."""
    return torch.tensor([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])


def orbit(
    frames: int,
    width: int,
    height: int,
    *,
    centre: tuple[float, float, float] = (0.0, -0.03, 0.0),
    view_height_m: float = 0.5,
    elevation_deg: float = 8.0,
) -> Cameras:
    """A closed turn about the head, in the head frame: the first camera faces it, the path starts to its left.

    Args:
        frames: Number of cameras; the one after the last would be the first again.
        width: Picture width, pixels.
        height: Picture height, pixels.
        centre: What the cameras look at, metres.
        view_height_m: How much of the scene the picture's height shows at the centre's distance.
        elevation_deg: How far the cameras dip above and below the horizon over the turn, beginning and ending at 0.
    """
    azimuth = torch.arange(frames) / max(frames, 1) * 2 * math.pi  # [c]
    elevation = math.radians(elevation_deg) * torch.sin(azimuth)
    direction = torch.stack(
        [torch.sin(azimuth) * torch.cos(elevation), torch.sin(elevation), torch.cos(azimuth) * torch.cos(elevation)], -1
    )
    target = torch.tensor(centre)
    focal_px = height * ORBIT_DISTANCE_M / view_height_m
    return Cameras(
        cam_from_world=look_at(target + ORBIT_DISTANCE_M * direction, target, torch.tensor([0.0, 1.0, 0.0])),
        K=pinhole(focal_px, width, height).repeat(frames, 1, 1),
        width=width,
        height=height,
    )
