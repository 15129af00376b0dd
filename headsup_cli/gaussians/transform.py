"""Moving Gaussians from one frame to another."""

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.rotations import quat_from_matrix, quat_multiply
from headsup_cli.gaussians.spherical_harmonics import sh_rotation


def transform_gaussians(gaussians: Gaussians, new_from_old: Float[Tensor, "4 4"]) -> Gaussians:
    """The same Gaussians in a frame reached by a similarity (rotation, uniform scale, translation).

    Args:
        gaussians: In the old frame.
        new_from_old: Points map as `x_new = new_from_old @ x_old`.

    Returns:
        Means, orientations, scales and the directional part of the colour in the new frame.
    """
    matrix = new_from_old.to(gaussians.means)
    scale = torch.linalg.det(matrix[:3, :3]).pow(1 / 3)
    rotation = matrix[:3, :3] / scale
    quat = quat_from_matrix(rotation).expand_as(gaussians.quats)
    return Gaussians(
        means=gaussians.means @ matrix[:3, :3].T + matrix[:3, 3],
        quats=quat_multiply(quat, gaussians.quats),
        scales=gaussians.scales * scale,
        opacities=gaussians.opacities,
        sh=torch.einsum("ij,njc->nic", sh_rotation(rotation, gaussians.sh_degree), gaussians.sh),
    )
