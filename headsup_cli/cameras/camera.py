"""A batch of pinhole cameras of one image size: projection, rays, changes of frame and of resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Cameras:
    """Undistorted cameras with OpenCV axes (x right, y down, z forward), pixel centres at half-integers.

    `x_cam = cam_from_world @ x_world`. The world is whatever frame the points passed in live in: the head frame inside
    the program, the rig's world where a caller says so.
    """

    cam_from_world: Float[Tensor, "c 4 4"]  # rigid, metres
    K: Float[Tensor, "c 3 3"]  # pixels
    width: int
    height: int

    def __len__(self) -> int:
        return self.K.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Cameras:
        if isinstance(index, int):
            index = [index]
        return replace(self, cam_from_world=self.cam_from_world[index], K=self.K[index])

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras with their tensors on `device`."""
        return replace(self, cam_from_world=self.cam_from_world.to(device), K=self.K.to(device))

    def resized(self, width: int, height: int) -> Cameras:
        """The same views sampled at another resolution (half-integer pixel centres: K scales, nothing shifts)."""
        scale = self.K.new_tensor([[width / self.width], [height / self.height], [1.0]])  # [3, 1]
        return replace(self, K=self.K * scale, width=width, height=height)

    def in_frame(self, world_from_new: Float[Tensor, "4 4"]) -> Cameras:
        """The same cameras for points given in another frame.

        Args:
            world_from_new: Similarity that takes points of the new frame to the present world. Its scale goes into the
                translation, so that poses stay rigid and lengths become those of the new frame.
        """
        composed = self.cam_from_world @ world_from_new.to(self.cam_from_world)  # [c, 4, 4]
        scale = torch.linalg.det(composed[:, :3, :3]).abs().pow(1 / 3)  # [c]
        rigid = composed.clone()
        rigid[:, :3] = composed[:, :3] / scale[:, None, None]
        return replace(self, cam_from_world=rigid)

    @property
    def centres(self) -> Float[Tensor, "c 3"]:
        """Optical centres in the world, metres."""
        rotation, translation = self.cam_from_world[:, :3, :3], self.cam_from_world[:, :3, 3]
        return -(rotation.mT @ translation[..., None])[..., 0]

    @property
    def world_from_cam(self) -> Float[Tensor, "c 4 4"]:
        """Inverse poses."""
        inverse = torch.eye(4, dtype=self.K.dtype, device=self.K.device).repeat(len(self), 1, 1)
        inverse[:, :3, :3] = self.cam_from_world[:, :3, :3].mT
        inverse[:, :3, 3] = self.centres
        return inverse

    def project(self, points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "c n 2"], Float[Tensor, "c n"]]:
        """Pixel coordinates and depth (metres along z) of world points; depth <= 0 lies behind the camera."""
        camera = points @ self.cam_from_world[:, :3, :3].mT + self.cam_from_world[:, None, :3, 3]  # [c, n, 3]
        depth = camera[..., 2]
        safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
        homogeneous = (camera / safe[..., None]) @ self.K.mT  # [c, n, 3]
        return homogeneous[..., :2], depth

    def ray_directions(self) -> Float[Tensor, "c h w 3"]:
        """Unit directions through the pixel centres, in the world."""
        x, y = (torch.arange(n, dtype=self.K.dtype, device=self.K.device) + 0.5 for n in (self.width, self.height))
        y, x = torch.meshgrid(y, x, indexing="ij")  # [h, w]
        pixels = torch.stack([x, y, torch.ones_like(x)], -1)  # [h, w, 3]
        world_from_pixel = self.cam_from_world[:, :3, :3].mT @ torch.linalg.inv(self.K)  # [c, 3, 3]
        directions = pixels.flatten(0, 1) @ world_from_pixel.mT  # [c, h w, 3]
        x, y, z = directions.unbind(-1)  # torch's own norms over three numbers take twice as long as the rest together
        return (directions / (x * x + y * y + z * z).sqrt()[..., None]).unflatten(1, (self.height, self.width))

    def plucker_rays(self) -> Float[Tensor, "c h w 6"]:
        """Plücker coordinates (direction, moment = centre x direction) of the pixels' rays, in the world."""
        directions = self.ray_directions()
        x, y, z = directions.unbind(-1)
        a, b, c = self.centres[:, None, None].unbind(-1)
        moments = (b * z - c * y, c * x - a * z, a * y - b * x)  # as torch.cross, in a seventh of its time
        return torch.stack([x, y, z, *moments], -1)
