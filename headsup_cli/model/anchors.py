"""The template as the network sees it: a point and a frame for every cell of a UV grid."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels, texel_frames, texel_positions, texel_sizes


class UvAnchors(nn.Module):
    """Points and tangent frames of an R x R grid on the neutral template, row-major, as buffers.

    Cells outside every island take the values of the nearest one inside, so that the grid has no holes. The buffers
    come from the template and not from the checkpoint.
    """

    positions: Float[Tensor, "t 3"]  # metres, head frame
    frames: Float[Tensor, "t 3 3"]  # columns: along u, along v, outward normal
    sizes: Float[Tensor, "t 2"]  # metres across one cell along u and v
    inside: Float[Tensor, "t 1"]

    def __init__(self, template: Template, resolution: int) -> None:
        from scipy.ndimage import distance_transform_edt  # a third of a second that finished work need not spend

        super().__init__()
        self.resolution = resolution
        texels = sample_texels(template, resolution)
        nearest = distance_transform_edt(~texels.mask, return_distances=False, return_indices=True)
        row, column = np.asarray(nearest)

        def buffer(name: str, image: np.ndarray) -> None:
            filled = torch.from_numpy(np.ascontiguousarray(image[row, column], np.float32)).flatten(0, 1)
            self.register_buffer(name, filled, persistent=False)

        buffer("positions", texel_positions(texels, template.vertices))
        buffer("frames", texel_frames(template, texels, template.vertices))
        buffer("sizes", texel_sizes(template, texels, template.vertices))
        inside = torch.from_numpy(texels.mask.astype(np.float32)).flatten()[:, None]
        self.register_buffer("inside", inside, persistent=False)

    def displaced(self, offset: Float[Tensor, "t 3"]) -> Float[Tensor, "t 3"]:
        """Anchor points moved by `offset` (metres) in their tangent frames."""
        return self.positions + (self.frames @ offset[..., None])[..., 0]
