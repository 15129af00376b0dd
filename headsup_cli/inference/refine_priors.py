"""What refinement holds on to where the pictures say little."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.uv_maps import TexelAnchors
from headsup_cli.inference.options import RefinePriors
from headsup_cli.inference.refine_variables import RefineVariables
from headsup_cli.rendering.render import render

_REFERENCE_TEXELS = 256  # the resolution that the weights are stated for
_WELL_SEEN = 0.3  # of a texel's area, face on


class PriorLoss:
    """The priors of one refinement. All but that on directional colour measure changes from the start.

    So what no picture shows keeps the look that was predicted for it, and its shape follows its surroundings.

    Args:
        priors: How strong.
        anchors: Texels of the maps.
        seen: From 0 to 1, see `visibility`.
    """

    def __init__(self, priors: RefinePriors, anchors: TexelAnchors, seen: Float[Tensor, " n"]) -> None:
        self.priors, self.anchors = priors, anchors
        self._unseen = 1 - seen
        inside, shown = (anchors.scatter(part[:, None]) for part in (torch.ones_like(seen), seen))  # [r, r, 1]
        self._inside, self._neighbours = inside, _sum_of_neighbours(inside).clamp_min(1)
        self._below, self._beside = shown[1:] * shown[:-1], shown[:, 1:] * shown[:, :-1]
        self._stiffness = (anchors.resolution / _REFERENCE_TEXELS) ** 2

    def __call__(self, variables: RefineVariables, displacement: Float[Tensor, "n 3"]) -> Float[Tensor, ""]:
        """Their sum."""
        now, first, weights = variables.now, variables.first, self.priors
        colour = (now["colour"] - first["colour"])[:, 0]  # [n, 3]
        opacity, scale = (now[name] - first[name] for name in ("opacity_logit", "log_scale"))
        look = colour.square().mean(-1) + opacity.square() + scale.square().mean(-1)
        return (
            weights.bending * self._bending(displacement)
            + weights.colour_tv * self._total_variation(self.anchors.scatter(colour))
            + weights.scale * scale.square().mean()
            + weights.directional * now["directional"].square().sum() / max(1, now["directional"].numel())
            + weights.unseen * (self._unseen * look).mean()
        )

    def _bending(self, displacement: Float[Tensor, "n 3"]) -> Float[Tensor, ""]:
        return self._laplacian(self.anchors.scatter(displacement)).square().sum(-1).mean() * self._stiffness

    def _laplacian(self, image: Float[Tensor, "r r c"]) -> Float[Tensor, "r r c"]:
        """Difference of every texel to the mean of its neighbours inside the islands, outside which `image` is 0."""
        return (image - _sum_of_neighbours(image) / self._neighbours) * self._inside

    def _total_variation(self, image: Float[Tensor, "r r c"]) -> Float[Tensor, ""]:
        down, across = image.diff(dim=0) * self._below, image.diff(dim=1) * self._beside
        return down.abs().mean() + across.abs().mean()


def _sum_of_neighbours(image: Float[Tensor, "r r c"]) -> Float[Tensor, "r r c"]:
    padded = torch.nn.functional.pad(image, (0, 0, 1, 1, 1, 1))
    return padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2]


def visibility(gaussians: Gaussians, anchors: TexelAnchors, cameras: Cameras) -> Float[Tensor, " n"]:
    """How well each texel's Gaussian is seen, from 0 (by no camera) to 1 (by one that makes out most of its area).

    A Gaussian's share of a picture is the sum of its blending weights, which is the gradient of the picture towards the
    Gaussian's colour; it is compared with the pixels that the texel would fill face on.
    """
    best = torch.zeros_like(gaussians.opacities)
    for view in range(len(cameras)):
        camera, colours = cameras[view], torch.zeros_like(gaussians.means).requires_grad_()
        (weight,) = torch.autograd.grad(render(gaussians, camera, colors=colours).rgb[..., 0].sum(), colours)
        _, depth = camera.project(gaussians.means)
        area_px = anchors.sizes.prod(-1) * camera.K[0, 0, 0] * camera.K[0, 1, 1] / depth[0].square()
        best = torch.maximum(best, weight[:, 0] / area_px.clamp_min(1e-6))
    return (best / _WELL_SEEN).clamp(0, 1)
