"""Where in a picture a region of the template is seen."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering.render import render
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels, texel_positions

BOX_MARGIN = 0.05  # of a box's width and height, added on every side
MIN_SIDE_PX = 11  # the window of SSIM

Box = tuple[slice, slice]  # rows and columns


def region_weights(template: Template, resolution: int, names: tuple[str, str]) -> Float[Tensor, "n 3"]:
    """How much each Gaussian bound to the template belongs to two regions; the third column is zero.

    Regions that the template does not have weigh nothing.

    Args:
        template: Which the Gaussians are bound to.
        resolution: Texels along one side of the maps.
        names: Of the regions.
    """
    nowhere = np.zeros(len(template.vertices), np.float32)
    by_vertex = np.stack([*(template.regions.get(name, nowhere) for name in names), nowhere], -1)  # [v, 3]
    texels = sample_texels(template, resolution)
    return torch.from_numpy(texel_positions(texels, by_vertex)[texels.mask])  # in the order of texel_anchors


def region_boxes(gaussians: Gaussians, weights: Float[Tensor, "n 3"], camera: Cameras) -> list[Box | None]:
    """Boxes of the two regions as the posed head shows them, hidden parts left out; None where too little is seen.

    Args:
        gaussians: The head, in the head frame.
        weights: From `region_weights`.
        camera: One view.
    """
    seen = render(gaussians, camera, colors=weights).rgb[0] > 0.5  # [h, w, 3]
    return [box_around(seen[..., index]) for index in range(2)]


def box_around(mask: Bool[Tensor, "h w"]) -> Box | None:
    """The box of a mask with `BOX_MARGIN` about it, inside the picture; None below `MIN_SIDE_PX` in one direction."""
    sides = []
    for axis, size in ((1, mask.shape[0]), (0, mask.shape[1])):
        taken = mask.any(axis).nonzero()[:, 0]
        if not len(taken):
            return None
        first, end = int(taken[0]), int(taken[-1]) + 1
        margin = round(BOX_MARGIN * (end - first))
        first, end = max(0, first - margin), min(size, end + margin)
        if end - first < MIN_SIDE_PX:
            return None
        sides.append(slice(first, end))
    return sides[0], sides[1]
