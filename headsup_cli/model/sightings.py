"""What the views show of the surface that the fusion found."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.layers import to_tokens, upsample
from headsup_cli.model.lookup import sample_views, view_geometry
from headsup_cli.model.views import Views

_BLURS = (1 / 48, 1 / 16)  # widths of the box filters, as shares of the longer side: about 8 and 25 mm at the head
PIXEL_CHANNELS = 4 + len(_BLURS)  # RGB, mask, and the mask blurred: how far it is to the outline


@dataclass(frozen=True)
class Sightings:
    """Every texel's own pixels in every view; t texels, row-major."""

    offset: Float[Tensor, "t 3"]  # of the surface from the texels, metres, tangent frame
    pixels: Float[Tensor, "v t p"]
    geometry: Float[Tensor, "v t 6"]  # see `view_geometry`


def pictures(views: Views) -> Float[Tensor, "v p h w"]:
    """RGB, mask and blurred masks, channels first."""
    mask = views.mask.permute(0, 3, 1, 2)
    halves = [max(1, round(share * max(mask.shape[-2:]) / 2)) for share in _BLURS]
    return torch.cat([views.rgb.permute(0, 3, 1, 2), mask, *(_blurred(mask, half) for half in halves)], 1)


def _blurred(mask: Float[Tensor, "v 1 h w"], half: int) -> Float[Tensor, "v 1 h w"]:
    """Mean over a square whose sides are 2 half + 1 pixels; the outermost pixels go on beyond the rim."""
    padded = F.pad(mask, (half,) * 4, mode="replicate").double()
    return _summed(_summed(padded, half, -1), half, -2).div((2 * half + 1) ** 2).to(mask)


def _summed(image: Float[Tensor, "*n"], half: int, dim: int) -> Float[Tensor, "*m"]:
    """Sums of 2 half + 1 neighbours: differences of running sums, at the same cost however many they are."""
    width = 2 * half + 1
    total = image.cumsum(dim)
    first, last = total.narrow(dim, width - 1, 1), total.narrow(dim, width, total.shape[dim] - width)
    return torch.cat([first, last - total.narrow(dim, 0, total.shape[dim] - width)], dim)


def sight(anchors: UvAnchors, offset: Float[Tensor, "1 3 q q"], views: Views) -> Sightings:
    """Look the texels up where the fusion moved them.

    Args:
        anchors: The texels.
        offset: The fusion's, metres in the tangent frame, at its own resolution.
        views: The pictures.
    """
    fine = to_tokens(upsample(offset, (anchors.resolution, anchors.resolution)))
    points = anchors.displaced(fine)
    return Sightings(
        offset=fine,
        pixels=sample_views(pictures(views), views.cameras, points),
        geometry=view_geometry(views.cameras, points.detach(), anchors.frames, anchors.sizes),
    )
