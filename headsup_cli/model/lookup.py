"""Looking surface points up in the views that may see them."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from headsup_cli.cameras.camera import Cameras

GEOMETRY_CHANNELS = 6


def sample_views(
    features: Float[Tensor, "v c h w"], cameras: Cameras, points: Float[Tensor, "n 3"]
) -> Float[Tensor, "v n c"]:
    """Bilinear values of every view's feature map where the points (metres, head frame) project; zero outside."""
    pixels, depth = cameras.project(points)  # [v, n, 2], [v, n]
    size = pixels.new_tensor([cameras.width, cameras.height])
    grid = (pixels / size * 2 - 1).masked_fill((depth <= 0)[..., None], 4.0).clamp(-4, 4)  # [v, n, 2]
    sampled = F.grid_sample(features, grid[:, :, None].to(features.dtype), align_corners=False)  # [v, c, n, 1]
    return sampled[..., 0].mT


def view_geometry(
    cameras: Cameras, points: Float[Tensor, "n 3"], frames: Float[Tensor, "n 3 3"], sizes: Float[Tensor, "n 2"]
) -> Float[Tensor, "v n 6"]:
    """How each view sees each point; nothing here needs a gradient, so callers detach the points.

    The direction to the camera in the point's tangent frame (3; the third is the cosine to the normal), whether the
    point projects into the picture, how far from its border (0 there, 1 at the centre), and the logarithm of how many
    pixels a texel spans.
    """
    to_camera = cameras.centres[:, None] - points  # [v, n, 3]
    distance = to_camera.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-6)
    local = torch.einsum("nij,vni->vnj", frames, to_camera / distance)
    pixels, depth = cameras.project(points)
    relative = pixels / pixels.new_tensor([cameras.width, cameras.height]) * 2 - 1
    margin = 1 - relative.abs().amax(-1)  # [v, n]
    seen = ((margin > 0) & (depth > 0)).to(points)
    pixels_per_metre = cameras.K[:, 0, 0, None] / depth.clamp_min(1e-3)  # [v, n]
    texel_px = (pixels_per_metre * sizes.mean(-1)).clamp(1e-3, 1e3).log()
    return torch.cat([local, torch.stack([seen, margin.clamp(-1, 1) * seen, texel_px], -1)], -1)
