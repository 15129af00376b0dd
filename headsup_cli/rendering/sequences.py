"""Pictures of Gaussians along a path of cameras, a few at a time."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering.render import render


@torch.no_grad()
def render_frames(
    gaussians: Gaussians, cameras: Cameras, *, background: Float[Tensor, "3"] | None = None, batch: int = 8
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """8-bit sRGB pictures, one per camera, in order.

    Args:
        gaussians: In the cameras' world.
        cameras: The path.
        background: Colour behind the Gaussians; black by default.
        batch: Pictures rendered in one call.
    """
    for first in range(0, len(cameras), batch):
        output = render(gaussians, cameras[first : first + batch], background=background)
        pictures = (output.rgb.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        yield from pictures
