"""What refinement optimises: the Gaussians of all texels, held so that a step costs little and moves whole regions."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.rotations import quat_multiply
from headsup_cli.gaussians.uv_maps import GaussianMaps, TexelAnchors, bind, template_maps

_COARSE_TEXELS = (16, 32, 64)  # sides of the grids that move whole regions of the surface
_RATES = {  # of Adam, a step: metres, radians, natural logs, display-encoded colour
    "displacement": 3e-4,
    "quats": 1e-2,
    "log_scale": 1e-2,
    "opacity_logit": 2e-2,
    "colour": 2e-2,
    "directional": 2e-3,
    "coarse": 2e-4,
}


class RefineVariables:
    """Gaussians bound to the texels inside the islands, in the head frame.

    Each Gaussian's displacement is its own plus those of grids of 16, 32 and 64 texels a side, interpolated: gradients
    of a coarse texel add up over hundreds of Gaussians, so the surface finds its place in large smooth steps and needs
    little stiffness (compare the preconditioning of Nicolet et al., "Large Steps in Inverse Rendering of Geometry",
    2021).

    Args:
        maps: Where to start.
        anchors: Of the same resolution and device.
    """

    def __init__(self, maps: GaussianMaps, anchors: TexelAnchors) -> None:
        start, device = bind(maps, anchors), maps.offset.device
        self.anchors, self.start = anchors, start
        self._relative_scale = start.scales / anchors.gather(maps.log_scale).exp()  # metres at log scale 0
        values = {
            "displacement": torch.zeros_like(start.means),
            "quats": F.normalize(start.quats, dim=-1),
            "log_scale": anchors.gather(maps.log_scale),
            "opacity_logit": anchors.gather(maps.opacity_logit)[:, 0],
            "colour": start.sh[:, :1],
            "directional": start.sh[:, 1:],
        }
        self.first = {name: tensor.clone() for name, tensor in values.items()}
        self.now = {name: tensor.clone().requires_grad_() for name, tensor in values.items()}
        sides = [side for side in _COARSE_TEXELS if side < anchors.resolution]
        self._coarse = [torch.zeros(3, side, side, device=device, requires_grad=True) for side in sides]
        finer = [*sides, anchors.resolution][1:]
        self._widen = [_interpolation(*pair).to(device) for pair in zip(sides, finer, strict=True)]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What Adam takes, with learning rates."""
        tensors = {name: [tensor] for name, tensor in self.now.items()} | {"coarse": self._coarse}
        return [{"params": tensors[name], "lr": rate} for name, rate in _RATES.items() if tensors[name]]

    def displacement(self) -> Float[Tensor, "n 3"]:
        """How far every Gaussian has moved, metres."""
        if not self._coarse:
            return self.now["displacement"]
        total = torch.zeros_like(self._coarse[0])
        for grid, widen in zip(self._coarse, self._widen, strict=True):
            total = widen @ (total + grid) @ widen.T  # [3, finer, finer]
        regional = total.flatten(1).T.index_select(0, self.anchors.index)  # [n, 3]
        return self.now["displacement"] + regional

    def gaussians(self, displacement: Float[Tensor, "n 3"]) -> Gaussians:
        """The Gaussians as they stand."""
        now = self.now
        return Gaussians(
            means=self.start.means + displacement,
            quats=now["quats"],
            scales=self._relative_scale * now["log_scale"].exp(),
            opacities=torch.sigmoid(now["opacity_logit"]),
            sh=torch.cat([now["colour"], now["directional"]], 1),
        )

    @torch.no_grad()
    def maps(self) -> GaussianMaps:
        """The Gaussians as they stand, relative to the surface again; bare template outside the islands."""
        anchors, now = self.anchors, self.now
        offset = self.start.means + self.displacement() - anchors.positions  # [n, 3]
        inverse = anchors.quats * anchors.quats.new_tensor([1.0, -1.0, -1.0, -1.0])
        values = {
            "offset": (anchors.frames.mT @ offset[..., None])[..., 0],
            "log_scale": now["log_scale"],
            "rotation": quat_multiply(inverse, now["quats"]),
            "opacity_logit": now["opacity_logit"][:, None],
            "sh": torch.cat([now["colour"], now["directional"]], 1),
        }
        bare = template_maps(anchors.resolution, sh_degree=self.start.sh_degree).tensors()

        def on_grid(name: str, value: Tensor) -> Tensor:
            return bare[name].to(value).flatten(0, 1).index_copy(0, anchors.index, value).view_as(bare[name])

        return GaussianMaps(**{name: on_grid(name, value) for name, value in values.items()})


def _interpolation(coarse: int, fine: int) -> Float[Tensor, "{fine} {coarse}"]:
    """The matrix that resamples a line of texels bilinearly: as a product several times as fast as an interpolation."""
    return F.interpolate(torch.eye(coarse)[None], fine, mode="linear", align_corners=False)[0].T.contiguous()
