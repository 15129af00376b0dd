"""The rasteriser for CUDA: gsplat, in packed mode, all views in one call. The only file that knows gsplat."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering.backend import RenderOutput, RenderSettings

_MAX_ALPHA = 0.999  # compiled into gsplat 1.5


def render_with_gsplat(
    gaussians: Gaussians,
    cameras: Cameras,
    colours: Float[Tensor, "n k 3"],
    sh_degree: int | None,
    background: Float[Tensor, " c #h #w 3"] | None,
    settings: RenderSettings,
) -> RenderOutput:
    """Draw on CUDA, in float32; see `Backend`."""
    if settings.max_alpha != _MAX_ALPHA:
        found, expected = f"{settings.max_alpha}", f"{_MAX_ALPHA}, the one gsplat has"
        raise InputError("render", field="max_alpha", found=found, expected=expected, remedy="leave it out on CUDA")
    attributes = {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "scales": gaussians.scales,
        "opacities": gaussians.opacities,
        "colours or sh": colours,
    }
    _refuse_non_finite(attributes)
    views, size = len(cameras), (cameras.height, cameras.width)
    if views == 0 or len(gaussians) == 0 or 0 in size:
        rgbd, alpha = _nothing(attributes, views, size)
    else:
        # gsplat takes views of these, which needs them contiguous
        means, quats, scales, opacities, values = (tensor.float().contiguous() for tensor in attributes.values())
        rgbd, alpha, _ = _rasterization()(
            means, quats, scales, opacities, values if sh_degree is not None else values[:, 0],
            cameras.cam_from_world.float(), cameras.K.float(), cameras.width, cameras.height,
            near_plane=settings.near_m, far_plane=settings.far_m, radius_clip=settings.radius_clip_px,
            eps2d=settings.eps2d, sh_degree=sh_degree, packed=True, render_mode="RGB+ED",
            rasterize_mode=settings.mode,
        )  # fmt: skip
    rgb = rgbd[..., :3]
    if background is not None:  # gsplat knows one colour per view, and no images
        rgb = rgb + (1 - alpha) * background.float()
    return RenderOutput(rgb, alpha, rgbd[..., 3:])


@functools.cache
def _rasterization() -> Callable[..., Any]:
    """Gsplat's entry point, once its CUDA code is known to work."""
    remedy = "install gsplat's wheel for this torch and CUDA version (docs.gsplat.studio), or render on the CPU"
    try:
        from gsplat.cuda import _backend
        from gsplat.rendering import rasterization
    except Exception as error:  # with a broken CUDA installation gsplat fails to import in many ways
        raise MissingDependencyError(f"gsplat cannot be imported ({error}); {remedy}.") from error
    if _backend._C is None:
        raise MissingDependencyError(f"gsplat finds no CUDA toolkit to build its kernels with; {remedy}.")
    return rasterization


def _refuse_non_finite(attributes: dict[str, Tensor]) -> None:
    finite = torch.stack([torch.isfinite(tensor.detach()).all() for tensor in attributes.values()])
    for (name, tensor), good in zip(attributes.items(), finite.tolist(), strict=True):
        if not good:
            first = int((~torch.isfinite(tensor.detach())).reshape(len(tensor), -1).any(1).nonzero()[0])
            found = f"not finite at Gaussian {first}"
            raise InputError("gaussians", field=name, found=found, expected="finite numbers", remedy="mend or drop it")


def _nothing(attributes: dict[str, Tensor], views: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Empty images that still have a gradient, of 0."""
    zero = sum(tensor.float().sum() * 0 for tensor in attributes.values())
    blank = torch.zeros(views, *size, 4, device=attributes["means"].device) + zero
    return blank, blank[..., :1]
