"""The room behind the head: Gaussians on a sphere around the rig, from one small vector."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.model.config import BackgroundConfig
from headsup_cli.model.views import Views

SPHERE_MARGIN = 2.0  # radius of the sphere, in distances of the farthest camera


class BackgroundModel(nn.Module):
    """Encoder to a vector, decoder to colours on a sphere fitted to the rig."""

    directions: Tensor

    def __init__(self, config: BackgroundConfig, pyramid_channels: int) -> None:
        super().__init__()
        self.config = config
        width = 4 * config.latent_channels
        self.encode = nn.Sequential(
            nn.Conv2d(pyramid_channels, width, 3, stride=2, padding=1), nn.SiLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.latent = nn.Linear(width, config.latent_channels)
        self.decode = nn.Sequential(
            nn.Linear(config.latent_channels + 3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 3)
        )
        self.register_buffer("directions", _sphere(config.rows), persistent=False)

    def forward(self, pyramid: list[Float[Tensor, "v f _ _"]], views: Views) -> Gaussians:
        """Opaque Gaussians around the rig, head frame."""
        latent = self.latent(self.encode(pyramid[-1])[:, :, 0, 0].mean(0))  # [z]
        return self.gaussians(latent, radius_m=SPHERE_MARGIN * float(views.cameras.centres.norm(dim=-1).max()))

    def gaussians(self, latent: Float[Tensor, " z"], *, radius_m: float) -> Gaussians:
        """The sphere that a latent describes."""
        count = self.directions.shape[0]
        colour = torch.sigmoid(self.decode(torch.cat([latent.expand(count, -1), self.directions], -1)))
        spacing = radius_m * math.pi / self.config.rows
        quats = torch.zeros_like(self.directions[:, :1]).repeat(1, 4)
        quats[:, 0] = 1.0
        return Gaussians(
            means=self.directions * radius_m,
            quats=quats,
            scales=torch.full_like(self.directions, 0.6 * spacing),
            opacities=torch.full_like(self.directions[:, 0], 0.95),
            sh=((colour.float() - 0.5) / SH_C0)[:, None],
        )


def _sphere(rows: int) -> Float[Tensor, "n 3"]:
    """Nearly uniform unit directions: `rows` bands of elevation, fewer around near the poles."""
    bands = []
    for row in range(rows):
        polar = math.pi * (row + 0.5) / rows
        count = max(3, round(2 * rows * math.sin(polar)))
        azimuth = torch.arange(count) / count * 2 * math.pi
        level = torch.full_like(azimuth, math.cos(polar))
        bands.append(torch.stack([azimuth.sin() * math.sin(polar), level, azimuth.cos() * math.sin(polar)], -1))
    return torch.cat(bands)
