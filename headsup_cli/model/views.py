"""What the model is given: some pictures of one subject and the cameras that took them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from headsup_cli.cameras.camera import Cameras


@dataclass(frozen=True)
class Views:
    """Pictures of one moment; the order of the views carries no meaning."""

    rgb: Float[Tensor, "v h w 3"]  # sRGB in [0, 1]; black outside the mask where there is one
    mask: Float[Tensor, "v h w 1"]  # 1 on the subject; 1 everywhere where nothing is known
    cameras: Cameras  # world = head frame
    masked: bool  # whether `mask` separates the subject from the background

    def __len__(self) -> int:
        return self.rgb.shape[0]

    def __getitem__(self, index: list[int] | Tensor | slice) -> Views:
        return replace(self, rgb=self.rgb[index], mask=self.mask[index], cameras=self.cameras[index])

    def to(self, device: torch.device | str) -> Views:
        """The same views with their tensors on `device`."""
        return replace(self, rgb=self.rgb.to(device), mask=self.mask.to(device), cameras=self.cameras.to(device))

    def in_own_order(self) -> Views:
        """The same views in an order that their cameras decide, so that not even rounding depends on the one given."""
        poses = self.cameras.cam_from_world.flatten(1).double()  # [v, 16]
        weights = torch.arange(1, poses.shape[1] + 1, device=poses.device, dtype=poses.dtype).sqrt()
        return self[(poses @ weights).argsort(stable=True)]

    def at_most(self, longer_side_px: int) -> Views:
        """The views, made smaller where their longer side is above `longer_side_px`."""
        return self.resized(min(longer_side_px, max(self.rgb.shape[1:3])))

    def at_least(self, longer_side_px: int) -> Views:
        """The views, enlarged where their longer side is below `longer_side_px`."""
        return self.resized(max(longer_side_px, *self.rgb.shape[1:3]))

    def resized(self, longer_side_px: int) -> Views:
        """The views with their longer side at `longer_side_px`, averaged over areas when that makes them smaller."""
        height, width = self.rgb.shape[1:3]
        scale = longer_side_px / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        if size == (height, width):
            return self

        def resize(image: Tensor) -> Tensor:
            planes = image.permute(0, 3, 1, 2)
            if scale < 1:
                planes = F.interpolate(planes, size, mode="area")
            else:
                planes = F.interpolate(planes, size, mode="bilinear", align_corners=False)
            return planes.permute(0, 2, 3, 1).contiguous()

        return replace(
            self, rgb=resize(self.rgb), mask=resize(self.mask), cameras=self.cameras.resized(size[1], size[0])
        )
