"""What a set of cameras sees of Gaussians."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.rotations import matrix_from_quat
from headsup_cli.inference.camera_paths import around
from headsup_cli.rendering.render import render

_SEEN_PX = 1 / 255  # what adds less than a step of eight bits to a single pixel is not seen
_SURVEY_RINGS_DEG, _SURVEY_PER_RING, _SURVEY_SIZE_PX = (-40.0, 0.0, 40.0, 80.0), 8, 256


def visible_weights(gaussians: Gaussians, cameras: Cameras) -> Float[Tensor, "c n"]:
    """How much of each picture is each Gaussian: its alpha times the transmittance before it, summed over the pixels.

    That is the derivative of the picture's sum by the Gaussian's colour.

    Args:
        gaussians: In the cameras' world.
        cameras: All views.

    Returns:
        Pixels.
    """
    shown = gaussians.detach()
    weights = []
    with torch.enable_grad():
        for view in range(len(cameras)):
            colours = torch.ones_like(shown.means, requires_grad=True)
            total = render(shown, cameras[view], colors=colours).rgb[..., 0].sum()
            weights.append(torch.autograd.grad(total, colours)[0][:, 0])
    return torch.stack(weights)


def seen_by(gaussians: Gaussians, cameras: Cameras) -> Bool[Tensor, " n"]:
    """Which Gaussians at least one of the cameras sees."""
    return visible_weights(gaussians, cameras).amax(0) >= _SEEN_PX


def outward_normals(gaussians: Gaussians) -> Float[Tensor, "n 3"]:
    """The Gaussians' shortest axes, turned to the side from which they are seen; unit, in the Gaussians' frame.

    A Gaussian's axis has no sign of its own. Turning it towards the camera of the moment would turn those at a
    silhouette, just beyond the horizon, the wrong way; so views from all around vote, each with what it sees.

    Args:
        gaussians: In the head frame.
    """
    cameras = around(_SURVEY_RINGS_DEG, _SURVEY_PER_RING, _SURVEY_SIZE_PX).to(gaussians.means.device)
    weights = visible_weights(gaussians, cameras)  # [c, n]
    axes = matrix_from_quat(gaussians.quats)  # [n, 3, 3]
    normals = axes.gather(2, gaussians.scales.argmin(1)[:, None, None].expand(-1, 3, 1))[..., 0]
    towards = torch.nn.functional.normalize(cameras.centres[:, None] - gaussians.means, dim=-1)  # [c, n, 3]
    vote = torch.einsum("cn,cnk,nk->n", weights, towards, normals)
    return torch.where(vote[:, None] < 0, -normals, normals)
