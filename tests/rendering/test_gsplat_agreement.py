"""Stage by stage against the parts of gsplat that run without CUDA, and as a whole where there is one."""

import math

import numpy as np
import pytest
import torch
from gsplat_stand_in import stand_ins
from reference import spherical_harmonics
from scenes import SCENES, orbit, random_gaussians

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering import cpu_backend, gsplat_backend
from headsup_cli.rendering import render as render_module
from headsup_cli.rendering.backend import RenderSettings
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


@pytest.fixture
def gsplat_on_cpu(monkeypatch):
    """Make `render` go through the gsplat backend and gsplat's own Python, with stand-ins for its CUDA operators."""
    from gsplat import rendering

    for name, stand_in in stand_ins().items():
        monkeypatch.setattr(rendering, name, stand_in)
    monkeypatch.setattr(gsplat_backend, "_rasterization", lambda: rendering.rasterization)
    return lambda: monkeypatch.setattr(render_module, "_backend_for", lambda device: gsplat_backend.render_with_gsplat)


def drawn_on(device, gaussians, cameras, background, **settings):
    """Images, and gradients of every attribute and of the background, on the CPU."""
    own = gaussians.map(lambda tensor: tensor.detach().float().to(device).requires_grad_())
    views = Cameras(cameras.cam_from_world.float(), cameras.K.float(), cameras.width, cameras.height).to(device)
    background = background.detach().clone().to(device).requires_grad_()
    output = render(own, views, background=background, **settings)
    weight = torch.sin(torch.arange(output.rgb.numel()).float()).reshape(output.rgb.shape).to(device)
    covered = (output.alpha > 0.1).float()
    ((output.rgb * weight).sum() + output.alpha.sum() + (output.depth * covered).sum()).backward()
    gradients = [t.grad for t in (own.means, own.quats, own.scales, own.opacities, own.sh, background)]
    return [t.detach().cpu() for t in (output.rgb, output.alpha, output.depth)], [
        None if t is None else t.cpu() for t in gradients
    ]


def assert_alike(ours, theirs):
    """Images within 1e-4 on average, gradients within 1e-3 relative L2."""
    for own, other in zip(ours[0], theirs[0], strict=True):
        assert (own - other).abs().mean() < 1e-4
    for own, other in zip(ours[1], theirs[1], strict=True):
        if own is None or other is None:
            assert own is other
        else:
            assert (own - other).norm() <= 1e-3 * other.norm()


COLOUR = torch.tensor([0.2, 0.4, 0.8])


def shades(*shape):
    """Numbers from 0 to 1."""
    return torch.linspace(0, 1, math.prod(shape)).reshape(shape)


@pytest.mark.parametrize(
    ("scene", "background", "settings"),
    [
        ("plain", COLOUR, {}),
        ("plain", shades(2, 3), {"mode": "antialiased", "sh_degree": 0}),
        ("plain", shades(2, 39, 50, 3), {"colors": shades(150, 3)}),
        ("behind and across the near plane", COLOUR, {"near_m": 0.2, "far_m": 1.5}),
        ("far off the axis", COLOUR, {"radius_clip_px": 3.0, "eps2d": 0.1}),
        ("nearly opaque", COLOUR, {"mode": "antialiased"}),
    ],
    ids=["plain", "one degree, a colour a view", "colours, images", "planes", "clip", "antialiased"],
)
def test_gsplat_is_asked_for_the_same_picture(scene, background, settings, gsplat_on_cpu):
    gaussians, cameras = SCENES[scene]()
    ours = drawn_on("cpu", gaussians, cameras, background, **settings)
    gsplat_on_cpu()
    assert_alike(ours, drawn_on("cpu", gaussians, cameras, background, **settings))


def test_gsplat_takes_tensors_of_any_layout(gsplat_on_cpu):
    gaussians, cameras = random_gaussians(40, 3).map(torch.Tensor.float), orbit()
    strided = gaussians.map(lambda t: torch.stack([t, t], -1)[..., 0])
    assert not any(getattr(strided, name).is_contiguous() for name in ("means", "opacities", "sh"))
    flipped = Cameras(cameras.cam_from_world.float().mT.contiguous().mT, cameras.K.float(), 50, 39)
    expected = render(gaussians, flipped)
    gsplat_on_cpu()
    torch.testing.assert_close(render(strided, flipped).rgb, expected.rgb, atol=1e-4, rtol=0)
    grey = strided.opacities.expand(3, -1).T  # colours that share their memory
    assert render(strided, flipped, colors=grey).rgb.isfinite().all()


@pytest.mark.parametrize("n", [5, 0], ids=["none visible", "no Gaussians"])
def test_gsplat_draws_nothing_where_there_is_nothing(n, gsplat_on_cpu):
    gaussians = random_gaussians(n, 1, spread=0.01).map(lambda t: t.float().requires_grad_())
    cameras = orbit(distance=-1.0)
    views = Cameras(cameras.cam_from_world.float(), cameras.K.float(), cameras.width, cameras.height)
    gsplat_on_cpu()
    output = render(gaussians, views, background=COLOUR)
    assert torch.equal(output.rgb, COLOUR.expand(output.rgb.shape))
    (output.rgb.sum() + output.depth.sum()).backward()
    assert not gaussians.means.grad.any()


def test_gsplat_in_float64_gives_float32_like_everything_on_cuda(gsplat_on_cpu):
    gsplat_on_cpu()
    output = render(random_gaussians(20, 1), orbit(), background=COLOUR.double())
    assert {output.rgb.dtype, output.alpha.dtype, output.depth.dtype} == {torch.float32}


def test_gsplat_refuses_what_it_cannot_draw(gsplat_on_cpu):
    gaussians, cameras = random_gaussians(5, 1), orbit()
    gsplat_on_cpu()
    with pytest.raises(InputError, match=r"max_alpha is 0\.9, expected 0\.999, the one gsplat has"):
        render(gaussians, cameras, max_alpha=0.9)
    broken = gaussians.map(torch.clone)
    broken.scales[3, 1] = float("nan")
    with pytest.raises(InputError, match="scales is not finite at Gaussian 3"):
        render(broken, cameras)


@pytest.mark.skipif(torch.cuda.is_available(), reason="gsplat may work here")
def test_without_cuda_gsplat_says_what_to_install():
    with pytest.raises(MissingDependencyError, match="render on the CPU"):
        gsplat_backend.render_with_gsplat(
            random_gaussians(5, 1), orbit(), torch.zeros(5, 1, 3), None, None, RenderSettings()
        )


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("scene", [*SCENES, "head"])
def test_both_backends_draw_the_same(scene, mode):
    if scene == "head":
        gaussians, cameras = random_gaussians(30_000, 1, 3, spread=0.1, scale=(0.002, 0.02)), orbit(4, 256, 200)
    else:
        gaussians, cameras = SCENES[scene]()
    assert_alike(*(drawn_on(device, gaussians, cameras, COLOUR, mode=mode) for device in ("cpu", "cuda")))
