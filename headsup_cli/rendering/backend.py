"""What both rasterisers are given and give back."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians

Mode = Literal["classic", "antialiased"]


@dataclass(frozen=True)
class RenderOutput:
    """Images of c views."""

    rgb: Float[Tensor, "c h w 3"]  # composited over the background
    alpha: Float[Tensor, "c h w 1"]
    depth: Float[Tensor, "c h w 1"]  # expected depth along the camera's z, metres; 0 where alpha is 0


@dataclass(frozen=True)
class RenderSettings:
    """The numbers that decide what is drawn, with gsplat's meaning and defaults."""

    near_m: float = 0.01
    far_m: float = 1e10
    radius_clip_px: float = 0.0  # splats whose radius is no larger in either direction are left out
    eps2d: float = 0.3  # added to the projected covariance's diagonal, pixels squared
    max_alpha: float = 0.999
    mode: Mode = "classic"


@runtime_checkable
class Backend(Protocol):
    """A rasteriser: differentiable by the Gaussians, the colours and the background."""

    def __call__(
        self,
        gaussians: Gaussians,
        cameras: Cameras,
        colours: Float[Tensor, "n k 3"],
        sh_degree: int | None,
        background: Float[Tensor, " c #h #w 3"] | None,
        settings: RenderSettings,
    ) -> RenderOutput:
        """Draw `gaussians` with `colours`: SH coefficients, or plain colours [n, 1, 3] where `sh_degree` is None."""
        ...
