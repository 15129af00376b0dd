"""Colours brought together by one affine map, so that a picture is judged for its content and not for its camera."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def affine_colour_fit(
    image: Float[Tensor, "h w 3"], reference: Float[Tensor, "h w 3"], mask: Bool[Tensor, "h w"]
) -> Float[Tensor, "h w 3"]:
    """The picture with the affine map of its colours that fits the reference best in the least-squares sense.

    Args:
        image: Picture to judge, values in [0, 1].
        reference: What it should be.
        mask: Where the map is fitted and applied; the rest of the picture stays.
    """
    colours = image[mask].double()
    if not len(colours):
        return image
    system = torch.cat([colours, torch.ones_like(colours[:, :1])], 1).cpu()  # [n, 4]
    map_ = torch.linalg.lstsq(system, reference[mask].double().cpu(), driver="gelsd").solution  # of least norm
    fitted = image.clone()
    fitted[mask] = (system @ map_).to(image)
    return fitted
