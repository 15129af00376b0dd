"""The one way to draw Gaussians."""

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering.backend import Backend, Mode, RenderOutput, RenderSettings

__all__ = ["RenderOutput", "render", "warm_up"]


def render(
    gaussians: Gaussians,
    cameras: Cameras,
    *,
    background: Tensor | None = None,
    colors: Float[Tensor, "n 3"] | None = None,
    sh_degree: int | None = None,
    near_m: float = 0.01,
    far_m: float = 1e10,
    radius_clip_px: float = 0.0,
    eps2d: float = 0.3,
    max_alpha: float = 0.999,
    mode: Mode = "classic",
) -> RenderOutput:
    """Draw Gaussians into all views: gsplat on CUDA, our own kernels on a CPU, with the same semantics.

    docs/rendering.md has them in full.

    Gradients flow to means, quats, scales, opacities, SH coefficients or colours, and the background. **Cameras get no
    gradient**, neither poses nor intrinsics.

    Args:
        gaussians: In the cameras' world, metres.
        cameras: All views, of one image size; skew is not looked at.
        background: Display-encoded colour [3], one per view [c, 3], or images [c, h, w, 3]; None is black.
        colors: Colours to draw instead of evaluating spherical harmonics, as they are, not clamped.
        sh_degree: Use only the harmonics up to this degree; None uses all there are.
        near_m: Gaussians whose centre lies nearer along z are left out.
        far_m: Gaussians whose centre lies farther along z are left out.
        radius_clip_px: Leave out splats whose radius (where alpha falls to 1/255) is no larger than this.
        eps2d: Added to the diagonal of the projected covariance, pixels squared.
        max_alpha: The most a single splat covers; gsplat 1.5 knows only 0.999.
        mode: `antialiased` dims splats by what `eps2d` has widened them.

    Returns:
        RGB over the background, alpha, and expected depth in metres.

    Raises:
        InputError: NaN or infinite numbers, shapes or devices that do not fit, or cameras that want a gradient.
        MissingDependencyError: The Gaussians are on CUDA and gsplat does not work there.
    """
    settings = RenderSettings(near_m, far_m, radius_clip_px, eps2d, max_alpha, mode)
    _check_settings(settings)
    _check_cameras(gaussians, cameras)
    degree = gaussians.sh_degree if sh_degree is None else sh_degree
    if not 0 <= degree <= min(gaussians.sh_degree, 3):
        expected = f"a degree from 0 to {min(gaussians.sh_degree, 3)}"
        raise InputError("render", field="sh_degree", found=str(degree), expected=expected, remedy="lower it")
    if colors is not None and len(colors) != len(gaussians):
        found, expected = f"for {len(colors)} Gaussians", f"{len(gaussians)}"
        raise InputError("render", field="colors", found=found, expected=expected, remedy="give each a colour")
    colours = gaussians.sh if colors is None else colors[:, None]
    images = None if background is None else _background_images(background, gaussians.means, cameras)
    draw = _backend_for(gaussians.means.device)
    return draw(gaussians, cameras, colours, None if colors is not None else degree, images, settings)


def warm_up() -> None:
    """Compile the CPU kernels, or load them if they are, by drawing one Gaussian and its gradient."""
    means = torch.zeros(1, 3, requires_grad=True)
    one = Gaussians(means, torch.ones(1, 4), torch.full((1, 3), 0.1), torch.ones(1), torch.zeros(1, 1, 3))
    pose = torch.eye(4)[None].clone()
    pose[0, 2, 3] = 1.0
    K = torch.tensor([[[16.0, 0, 8], [0, 16, 8], [0, 0, 1]]])
    render(one, Cameras(pose, K, 16, 16)).rgb.sum().backward()


def _backend_for(device: torch.device) -> Backend:
    if device.type == "cuda":
        from headsup_cli.rendering.gsplat_backend import render_with_gsplat

        return render_with_gsplat
    from headsup_cli.rendering.cpu_backend import render_on_cpu

    return render_on_cpu


def _check_settings(settings: RenderSettings) -> None:
    valid = {
        "near_m": settings.near_m > 0,
        "far_m": settings.far_m > settings.near_m,
        "radius_clip_px": settings.radius_clip_px >= 0,
        "eps2d": settings.eps2d >= 0,
        "max_alpha": 0 < settings.max_alpha <= 1,
    }
    expected = "0 < near_m < far_m, radius_clip_px >= 0, eps2d >= 0 and 0 < max_alpha <= 1"
    for name, holds in valid.items():
        if not holds:
            raise InputError(
                "render", field=name, found=f"{getattr(settings, name)}", expected=expected, remedy="change it"
            )


def _check_cameras(gaussians: Gaussians, cameras: Cameras) -> None:
    for name in ("cam_from_world", "K"):
        tensor = getattr(cameras, name)
        if tensor.requires_grad:
            found = "a tensor that requires a gradient"
            raise InputError("cameras", field=name, found=found, expected="constants", remedy="detach it")
        if tensor.device != gaussians.means.device:
            expected = f"the Gaussians' {gaussians.means.device}"
            raise InputError("cameras", field=name, found=f"on {tensor.device}", expected=expected, remedy="move it")
        if float((0 * tensor).sum()) != 0:  # NaN: in one number, as this is done for every picture
            bad = int((~torch.isfinite(tensor)).flatten(1).any(1).nonzero()[0])
            found = f"not finite in view {bad}"
            raise InputError("cameras", field=name, found=found, expected="finite numbers", remedy="mend the cameras")


def _background_images(background: Tensor, like: Tensor, cameras: Cameras) -> Float[Tensor, " c #h #w 3"]:
    views, size = len(cameras), (cameras.height, cameras.width)
    if background.shape not in {(3,), (views, 3), (views, *size, 3)}:
        expected = f"[3], [{views}, 3] or [{views}, {size[0]}, {size[1]}, 3]"
        found = f"of shape {list(background.shape)}"
        raise InputError("render", field="background", found=found, expected=expected, remedy="reshape it")
    if not bool(torch.isfinite(background).all()):
        found = "not finite"
        raise InputError("render", field="background", found=found, expected="finite numbers", remedy="mend it")
    images = background.to(like)
    return images if images.ndim == 4 else images.expand(views, 3)[:, None, None]
