"""What refinement learns of the cameras on the way: their colours, and on demand small corrections of their poses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.rotations import matrix_from_quat, quat_multiply

_GAIN_RATE = 1e-2  # of Adam, a step: natural log
_POSE_RATE = 6e-4  # radians and metres at the head


@dataclass(frozen=True)
class CameraCorrections:
    """What was found, such that the head keeps its colours and its place: no gain on average, most cameras unmoved."""

    gains: Float[Tensor, "v 3"]  # of display-encoded colour; geometric mean 1
    head_from_head: Float[Tensor, "v 4 4"]  # rigid, median none: how a camera sees the head moved, metres, head frame

    def applied(self, cameras: Cameras) -> Cameras:
        """The cameras where they were found to stand."""
        return replace(cameras, cam_from_world=cameras.cam_from_world @ self.head_from_head.to(cameras.K))


class CameraVariables:
    """Colour gains and poses as free parameters.

    The renderer has no gradient towards cameras; moving the Gaussians before one camera is the same as moving the
    camera, but for the directions in which colours are looked up, which turn by a fraction of a degree.

    Args:
        count: Number of cameras.
        poses: Whether poses are free too.
        device: Where to work.
    """

    def __init__(self, count: int, *, poses: bool, device: torch.device | str) -> None:
        self.poses = poses
        self._log_gains = torch.zeros(count, 3, device=device, requires_grad=True)
        self._moves = torch.zeros(count, 6, device=device, requires_grad=poses)  # half turn vectors, metres

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What Adam takes, with learning rates."""
        gains = {"params": [self._log_gains], "lr": _GAIN_RATE}
        return [gains, {"params": [self._moves], "lr": _POSE_RATE}] if self.poses else [gains]

    def gains(self) -> Float[Tensor, "v 3"]:
        """Factors on each camera's picture of the head."""
        return (self._log_gains - self._log_gains.mean(0)).exp()

    def moved(self, gaussians: Gaussians, camera: int) -> Gaussians:
        """The Gaussians as one camera is to see them."""
        turn, shift = self._rigid()
        quat = turn[camera]
        return replace(
            gaussians,
            means=gaussians.means @ matrix_from_quat(quat).T + shift[camera],
            quats=quat_multiply(quat.expand_as(gaussians.quats), gaussians.quats),
        )

    @torch.no_grad()
    def found(self) -> CameraCorrections:
        """The corrections as they stand."""
        turn, shift = self._rigid()
        matrices = torch.eye(4).repeat(len(turn), 1, 1)
        matrices[:, :3, :3], matrices[:, :3, 3] = matrix_from_quat(turn).cpu(), shift.cpu()
        return CameraCorrections(self.gains().detach().cpu(), matrices)

    def _rigid(self) -> tuple[Float[Tensor, "v 4"], Float[Tensor, "v 3"]]:
        """Quaternions about the head frame's origin, and shifts in metres."""
        usual = self._moves.detach().median(0).values  # which one wrong camera does not sway
        half_turn, shift = (self._moves - usual).split(3, -1)
        return torch.cat([torch.ones_like(half_turn[:, :1]), half_turn], -1), shift
