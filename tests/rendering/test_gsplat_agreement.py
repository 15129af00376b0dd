"""Stage by stage against the parts of gsplat that run without CUDA, and as a whole where there is one."""

import numpy as np
import pytest
import torch
from reference import spherical_harmonics
from scenes import SCENES, orbit, random_gaussians

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering import cpu_backend
from headsup_cli.rendering.layout import CHUNK, DEPTH, GAUSSIAN, LOG2_OPACITY, ROW, ROWS, WXX, WXY, WYY, X, Y
from headsup_cli.rendering.projection_kernels import HALF_LOG2_E
from headsup_cli.rendering.render import render


@pytest.fixture
def prepared(monkeypatch):
    """What the CPU backend works out before it composites."""
    seen = []
    prepare = cpu_backend._prepare
    monkeypatch.setattr(cpu_backend, "_prepare", lambda *arguments: seen.append(prepare(*arguments)) or seen[-1])
    return seen


@pytest.mark.parametrize("scene", ["plain", "needles", "far off the axis", "behind and across the near plane"])
def test_projection_and_tile_order(scene, prepared):
    from gsplat.cuda._torch_impl import _fully_fused_projection, _isect_tiles, _quat_scale_to_covar_preci

    gaussians, cameras = SCENES[scene]()
    assert len(gaussians) <= CHUNK
    render(gaussians, cameras)
    rows = torch.from_numpy(prepared[0].rows).reshape(-1, ROW)
    firsts = prepared[0].firsts[:, ROWS]  # of each view, as there is but one chunk
    which = torch.from_numpy(prepared[0].rows.view(np.int64).reshape(-1, ROW)[:, GAUSSIAN])
    covariances, _ = _quat_scale_to_covar_preci(gaussians.quats, gaussians.scales, compute_preci=False)
    radii, means2d, depths, conics, _ = _fully_fused_projection(
        gaussians.means, covariances, cameras.cam_from_world, cameras.K, cameras.width, cameras.height
    )
    wide, high = -(-cameras.width // 16), -(-cameras.height // 16)
    for view in range(len(cameras)):
        own = slice(firsts[view], firsts[view + 1])
        visible = which[own]
        assert (visible.diff() > 0).all()
        assert len(visible) >= 5
        assert (radii[view, visible] > 0).all()
        ours = rows[own]
        torch.testing.assert_close(ours[:, [X, Y]], means2d[view, visible])
        torch.testing.assert_close(ours[:, DEPTH], depths[view, visible])
        torch.testing.assert_close(ours[:, LOG2_OPACITY].exp2(), gaussians.opacities[visible])
        xx = ours[:, WXX] ** 2 / HALF_LOG2_E
        xy = ours[:, WXX] * ours[:, WXY] / HALF_LOG2_E
        yy = (ours[:, WXY] ** 2 + ours[:, WYY] ** 2) / HALF_LOG2_E
        torch.testing.assert_close(torch.stack([xx, xy, yy], -1), conics[view, visible], rtol=1e-6, atol=1e-9)

        means, sizes, z = means2d[None, view, visible], radii[None, view, visible], depths[None, view, visible]
        _, keys, order = _isect_tiles(means.float(), sizes, z.float(), 16, wide, high)
        tiles = (keys >> 32).numpy()
        starts = prepared[0].starts[view * wide * high :]
        for tile in range(wide * high):
            listed = prepared[0].entries[starts[tile] : starts[tile + 1]] - firsts[view]
            listed = listed.tolist()
            theirs = order[torch.from_numpy(tiles == tile)].tolist()  # by their wider radii, so theirs has more
            assert [splat for splat in theirs if splat in set(listed)] == listed


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spherical_harmonics(degree):
    from gsplat.cuda._torch_impl import _spherical_harmonics

    sh, directions = torch.randn(100, 16, 3, dtype=torch.float64), torch.randn(100, 3, dtype=torch.float64)
    theirs = _spherical_harmonics(degree, directions, sh)
    torch.testing.assert_close(spherical_harmonics(degree, directions, sh), theirs, rtol=1e-6, atol=1e-6)
    opaque = Gaussians(
        directions, torch.ones(100, 4, dtype=torch.float64), torch.full((100, 3), 0.01, dtype=torch.float64),
        torch.ones(100, dtype=torch.float64), sh,
    )  # fmt: skip
    pose = torch.eye(4, dtype=torch.float64)[None].repeat(100, 1, 1)
    forward = torch.nn.functional.normalize(directions, dim=-1)
    right = torch.linalg.cross(forward, torch.randn(100, 3, dtype=torch.float64))
    right = torch.nn.functional.normalize(right, dim=-1)
    pose[:, :3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], 1)
    K = torch.tensor([[1000.0, 0, 0.5], [0, 1000, 0.5], [0, 0, 1]], dtype=torch.float64).repeat(100, 1, 1)
    for i in range(100):  # a camera at the origin looks at each through one pixel
        output = render(opaque[i : i + 1], Cameras(pose[i : i + 1], K[:1], 1, 1), sh_degree=degree)
        torch.testing.assert_close(output.rgb[0, 0, 0], 0.999 * (theirs[i] + 0.5).clamp(min=0), rtol=1e-6, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("scene", [*SCENES, "head"])
def test_both_backends_draw_the_same(scene, mode):
    if scene == "head":
        gaussians, cameras = random_gaussians(30_000, 1, 3, spread=0.1, scale=(0.002, 0.02)), orbit(4, 256, 200)
    else:
        gaussians, cameras = SCENES[scene]()
    results = []
    for device in ("cpu", "cuda"):
        own = gaussians.map(lambda tensor, device=device: tensor.detach().float().to(device).requires_grad_())
        views = Cameras(cameras.cam_from_world.float(), cameras.K.float(), cameras.width, cameras.height).to(device)
        background = torch.tensor([0.2, 0.4, 0.8], device=device, requires_grad=True)
        output = render(own, views, background=background, mode=mode)
        weight = torch.sin(torch.arange(output.rgb.numel()).float()).reshape(output.rgb.shape).to(device)
        ((output.rgb * weight).sum() + output.alpha.sum()).backward()
        gradients = [t.grad.cpu() for t in (own.means, own.quats, own.scales, own.opacities, own.sh, background)]
        results.append(([output.rgb.cpu(), output.alpha.cpu(), output.depth.cpu()], gradients))
    for ours, theirs in zip(results[0][0], results[1][0], strict=True):
        assert (ours - theirs).abs().mean() < 1e-4
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
