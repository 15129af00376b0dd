"""gsplat 1.5.3's semantics in plain torch, differentiable by autograd: slow, and with no cleverness to get wrong.

With `tile=None` every splat meets every pixel at once. With a tile size it loops over tiles as simple torch
rasterisers do: what the CPU backend's speed is compared with.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians

STOP = 1e-4
LEAST_ALPHA = 1 / 255


@dataclass(frozen=True)
class Splats:
    """The visible Gaussians of one view, nearest first."""

    centres: Tensor  # [m, 2]
    conics: Tensor  # [m, 2, 2]
    covariances: Tensor  # [m, 2, 2]
    opacities: Tensor  # [m]
    colours: Tensor  # [m, 3]
    depths: Tensor  # [m]


@dataclass(frozen=True)
class ReferenceOutput:
    rgb: Tensor  # [c, h, w, 3]
    alpha: Tensor  # [c, h, w, 1]
    depth: Tensor  # [c, h, w, 1]
    margin: Tensor  # [c, h, w], how far, relatively, the nearest yes-or-no decision was from going the other way


def rotation_matrices(quats: Tensor) -> Tensor:
    """[n, 3, 3] of quaternions wxyz of any length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def spherical_harmonics(degree: int, directions: Tensor, sh: Tensor) -> Tensor:
    """INRIA's real basis, [n, 3] from directions [n, 3] and coefficients [n, k, 3]."""
    x, y, z = torch.nn.functional.normalize(directions, dim=-1).unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    basis = [torch.full_like(x, 0.28209479177387814)]
    if degree > 0:
        basis += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree > 1:
        basis += [1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (2 * zz - xx - yy)]
        basis += [-1.0925484305920792 * x * z, 0.5462742152960396 * (xx - yy)]
    if degree > 2:
        basis += [-0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * x * y * z]
        basis += [-0.4570457994644658 * y * (4 * zz - xx - yy), 0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy)]
        basis += [-0.4570457994644658 * x * (4 * zz - xx - yy), 1.445305721320277 * z * (xx - yy)]
        basis += [-0.5900435899266435 * x * (xx - 3 * yy)]
    return torch.einsum("nk,nkc->nc", torch.stack(basis, -1), sh[:, : len(basis)])


def project(
    gaussians: Gaussians, colors: Tensor | None, cameras: Cameras, view: int, degree: int, **s: float
) -> Splats:
    """Projection, culling and depth order."""
    pose, K = cameras.cam_from_world[view], cameras.K[view]
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    points = gaussians.means @ pose[:3, :3].T + pose[:3, 3]
    z = points[:, 2]
    kept = ((z >= s["near_m"]) & (z <= s["far_m"])).nonzero()[:, 0]
    points, z = points[kept], z[kept]
    factor = rotation_matrices(gaussians.quats[kept]) * gaussians.scales[kept][:, None]  # [m, 3, 3]
    factor = pose[:3, :3] @ factor
    limits = [(cameras.width, fx, cx), (cameras.height, fy, cy)]
    slopes = []
    for axis, (size, focal, centre) in enumerate(limits):
        margin = 0.15 * size / focal
        slopes.append((points[:, axis] / z).clamp(-(centre / focal + margin), (size - centre) / focal + margin))
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([fx / z, zero, -fx * slopes[0] / z], -1),
            torch.stack([zero, fy / z, -fy * slopes[1] / z], -1),
        ],
        -2,
    )  # [m, 2, 3]
    root = jacobian @ factor
    sharp = root @ root.mT
    blurred = sharp + s["eps2d"] * torch.eye(2, dtype=z.dtype)
    determinant = torch.linalg.det(blurred)
    opacities = gaussians.opacities[kept]
    if s["mode"] == "antialiased":
        opacities = opacities * (torch.linalg.det(sharp) / determinant).clamp(min=0).sqrt()
    centres = torch.stack([fx * points[:, 0] / z + cx, fy * points[:, 1] / z + cy], -1)
    if colors is not None:
        colours = colors[kept]
    else:
        directions = gaussians.means[kept] - cameras.centres[view]
        colours = (spherical_harmonics(degree, directions, gaussians.sh[kept]) + 0.5).clamp(min=0)
    with torch.no_grad():
        extent = (2 * (opacities / LEAST_ALPHA).clamp(min=1).log()).sqrt().clamp(max=3.33)
        radii = torch.ceil(extent[:, None] * blurred.diagonal(dim1=1, dim2=2).sqrt())  # [m, 2]
        size = torch.tensor([cameras.width, cameras.height])
        inside = ((centres + radii > 0) & (centres - radii < size)).all(1)
        large = (radii > s["radius_clip_px"]).any(1)
        shown = (inside & large & (opacities >= LEAST_ALPHA) & (determinant > 0)).nonzero()[:, 0]
        order = shown[z[shown].sort(stable=True).indices]
    return Splats(
        centres[order], torch.linalg.inv(blurred[order]), blurred[order], opacities[order], colours[order], z[order]
    )


def composite(splats: Splats, pixels: Tensor, max_alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Premultiplied colour and depth [p, 4], transmittance [p] and decision margin [p] at pixel centres [p, 2]."""
    offsets = pixels[:, None] - splats.centres  # [p, m, 2]
    power = -0.5 * torch.einsum("pmi,mij,pmj->pm", offsets, splats.conics, offsets)
    raw = splats.opacities * power.exp()
    alpha = raw.clamp(max=max_alpha)
    drawn = torch.where(raw >= LEAST_ALPHA, alpha, torch.zeros_like(alpha))
    after = (1 - drawn).cumprod(1)
    goes_on = after > STOP
    drawn = torch.where(goes_on, drawn, torch.zeros_like(drawn))
    after_shown = (1 - drawn).cumprod(1)
    before = torch.cat([torch.ones_like(after_shown[:, :1]), after_shown[:, :-1]], 1)
    values = torch.cat([splats.colours, splats.depths[:, None]], 1)  # [m, 4]
    last = after_shown[:, -1] if after_shown.shape[1] else torch.ones(len(pixels), dtype=pixels.dtype)
    with torch.no_grad():
        reached = torch.cat([torch.ones_like(goes_on[:, :1]), goes_on[:, :-1]], 1)
        decisions = [(raw / LEAST_ALPHA - 1).abs(), (raw / max_alpha - 1).abs(), (after / STOP - 1).abs()]
        margins = torch.stack(decisions).amin(0).where(reached, torch.ones(())) if len(splats.depths) else None
        margin = torch.ones(len(pixels), dtype=pixels.dtype) if margins is None else margins.amin(1)
    return (before * drawn) @ values, last, margin


def render_reference(
    gaussians: Gaussians,
    cameras: Cameras,
    *,
    background: Tensor | None = None,
    colors: Tensor | None = None,
    sh_degree: int | None = None,
    near_m: float = 0.01,
    far_m: float = 1e10,
    radius_clip_px: float = 0.0,
    eps2d: float = 0.3,
    max_alpha: float = 0.999,
    mode: str = "classic",
    tile: int | None = None,
) -> ReferenceOutput:
    """What `render` should return."""
    degree = gaussians.sh_degree if sh_degree is None else sh_degree
    settings = {"near_m": near_m, "far_m": far_m, "radius_clip_px": radius_clip_px, "eps2d": eps2d, "mode": mode}
    size = (cameras.height, cameras.width)
    views = []
    for view in range(len(cameras)):
        splats = project(gaussians, colors, cameras, view, degree, **settings)
        views.append(_image(splats, size, tile, max_alpha))
    values, left, margin = (torch.stack(parts) for parts in zip(*views, strict=True))  # [c, h, w, 4], [c, h, w]
    alpha = 1 - left
    rgb = values[..., :3]
    if background is not None:
        shape = background.shape
        images = background if len(shape) == 4 else background.expand(len(cameras), 3)[:, None, None]
        rgb = rgb + left[..., None] * images
    depth = values[..., 3] / alpha.clamp(min=1e-10)
    return ReferenceOutput(rgb, alpha[..., None], depth[..., None], margin)


def _image(splats: Splats, size: tuple[int, int], tile: int | None, max_alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    height, width = size
    like = splats.centres
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y], -1).to(like) + 0.5  # [h, w, 2]
    if tile is None:
        values, left, margin = composite(splats, pixels.reshape(-1, 2), max_alpha)
        return values.reshape(height, width, 4), left.reshape(height, width), margin.reshape(height, width)
    extent = (2 * (splats.opacities.detach() / LEAST_ALPHA).log()).clamp(min=0).sqrt().clamp(max=3.33)
    reach = extent[:, None] * splats.covariances.detach().diagonal(dim1=1, dim2=2).sqrt()
    low, high = splats.centres.detach() - reach, splats.centres.detach() + reach
    lines = []
    for top in range(0, height, tile):
        line = []
        for left in range(0, width, tile):
            corner = like.new_tensor([left, top])
            near = ((high >= corner) & (low <= corner + tile)).all(1)
            chosen = Splats(*(getattr(splats, name)[near] for name in Splats.__dataclass_fields__))
            patch = pixels[top : top + tile, left : left + tile]
            parts = composite(chosen, patch.reshape(-1, 2), max_alpha)
            line.append(tuple(part.reshape(*patch.shape[:2], -1) for part in parts))
        lines.append(tuple(torch.cat(column, 1) for column in zip(*line, strict=True)))
    values, left_over, margin = (torch.cat(rows, 0) for rows in zip(*lines, strict=True))
    return values, left_over[..., 0], margin[..., 0]
