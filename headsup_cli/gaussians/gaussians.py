"""The value type that crosses every boundary: a set of 3D Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians in one frame, with gsplat's meaning of every attribute.

    Colour is `clamp(0.5 + SH(direction from the camera to the mean), 0)`, display-encoded sRGB, with INRIA's basis and
    signs. Opacity is the peak alpha.
    """

    means: Float[Tensor, "n 3"]  # metres
    quats: Float[Tensor, "n 4"]  # wxyz, need not be unit
    scales: Float[Tensor, "n 3"]  # metres, standard deviations along the rotated axes
    opacities: Float[Tensor, " n"]  # 0..1
    sh: Float[Tensor, "n k 3"]  # coefficients, k = (degree + 1)^2, degree 0..3

    def __len__(self) -> int:
        return self.means.shape[0]

    def __getitem__(self, index: slice | Bool[Tensor, " n"] | Int[Tensor, " m"]) -> Gaussians:
        return self.map(lambda tensor: tensor[index])

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics, 0 to 3."""
        return round(self.sh.shape[1] ** 0.5) - 1

    def map(self, function: Callable[[Tensor], Tensor]) -> Gaussians:
        """The Gaussians with `function` applied to each attribute tensor."""
        return Gaussians(**{field.name: function(getattr(self, field.name)) for field in fields(self)})

    def to(self, device: torch.device | str) -> Gaussians:
        """The same Gaussians with their tensors on `device`."""
        return self.map(lambda tensor: tensor.to(device))

    def detach(self) -> Gaussians:
        """The same values, cut from the autograd graph."""
        return self.map(Tensor.detach)


def concatenate(parts: Sequence[Gaussians]) -> Gaussians:
    """One set holding all parts in order; lower spherical-harmonics degrees are padded with zeros."""
    degree_size = max(part.sh.shape[1] for part in parts)

    def padded(part: Gaussians) -> Tensor:
        return torch.nn.functional.pad(part.sh, (0, 0, 0, degree_size - part.sh.shape[1]))

    return Gaussians(
        means=torch.cat([part.means for part in parts]),
        quats=torch.cat([part.quats for part in parts]),
        scales=torch.cat([part.scales for part in parts]),
        opacities=torch.cat([part.opacities for part in parts]),
        sh=torch.cat([padded(part) for part in parts]),
    )
