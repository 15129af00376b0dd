import multiprocessing
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import render_reference
from scenes import SCENES, orbit, random_gaussians

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering import cpu_backend
from headsup_cli.rendering.buffers import BufferPool
from headsup_cli.rendering.layout import CHUNK
from headsup_cli.rendering.render import RenderOutput, render

SURE = 1e-4  # pixels where a decision (skip, clamp, stop) is closer than this may fall differently in float32


def leaves(gaussians, dtype, *others):
    """The attributes and other tensors as leaves that want gradients."""
    tensors = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh, *others)
    return [tensor.detach().to(dtype).clone().requires_grad_() for tensor in tensors]


def draw(function, gaussians, cameras, dtype, background=None, colors=None, **settings):
    """Draw with gradients: the output, and all inputs by name."""
    inputs = dict(zip(("means", "quats", "scales", "opacities", "sh"), leaves(gaussians, dtype), strict=True))
    for name, tensor in (("background", background), ("colors", colors)):
        if tensor is not None:
            settings[name] = inputs[name] = tensor.detach().to(dtype).clone().requires_grad_()
    views = Cameras(cameras.cam_from_world.to(dtype), cameras.K.to(dtype), cameras.width, cameras.height)
    attributes = [inputs[name] for name in ("means", "quats", "scales", "opacities", "sh")]
    return function(Gaussians(*attributes), views, **settings), inputs


def assert_agrees(gaussians, cameras, dtype=torch.float32, image=1e-5, gradient=1e-4, seed=0, **settings):
    """Image within `image`, gradients within `gradient` relative L2, of the reference in float64."""
    wanted, wanted_inputs = draw(render_reference, gaussians, cameras, torch.float64, **settings)
    output, inputs = draw(render, gaussians, cameras, dtype, **settings)
    sure = (wanted.margin > SURE)[..., None]
    assert sure.float().mean() > 0.97
    generator = torch.Generator().manual_seed(seed)
    loss, wanted_loss = torch.zeros((), dtype=dtype), torch.zeros((), dtype=torch.float64)
    for name in ("rgb", "alpha", "depth"):
        ours, theirs = getattr(output, name), getattr(wanted, name)
        trusted = sure & (wanted.alpha > 1e-2) if name == "depth" else sure  # depth divides by alpha
        assert ((ours - theirs).abs() * trusted).max() < image * max(1.0, float(theirs.detach().abs().max())), name
        weight = torch.randn(theirs.shape, generator=generator, dtype=torch.float64) * trusted
        loss = loss + (ours * weight.to(dtype)).sum()
        wanted_loss = wanted_loss + (theirs * weight).sum()
    loss.backward()
    wanted_loss.backward()
    for name, wanted_input in wanted_inputs.items():
        if wanted_input.grad is None:
            assert inputs[name].grad is None or not inputs[name].grad.any(), name
            continue
        difference = (inputs[name].grad - wanted_input.grad).norm()
        assert difference <= gradient * wanted_input.grad.norm(), (name, difference / wanted_input.grad.norm())


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
@pytest.mark.parametrize("scene", SCENES)
def test_agrees_with_the_reference(scene, mode):
    gaussians, cameras = SCENES[scene]()
    assert_agrees(gaussians, cameras, mode=mode, background=torch.tensor([0.2, 0.5, 0.9]))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_agrees_at_every_sh_degree(degree):
    assert_agrees(random_gaussians(120, 20 + degree, degree), orbit())


def test_a_lower_degree_ignores_the_higher_bands():
    assert_agrees(random_gaussians(120, 30, 3), orbit(), sh_degree=1)


def test_given_colours_are_drawn_as_they_are():
    colors = torch.rand(120, 3, dtype=torch.float64) * 4 - 2
    assert_agrees(random_gaussians(120, 31), orbit(), colors=colors)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 39, 50, 3)])
def test_backgrounds(shape):
    background = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_agrees(random_gaussians(60, 32), orbit(), background=background)


@pytest.mark.parametrize(
    "settings",
    [
        {"near_m": 0.9},
        {"far_m": 1.0},
        {"radius_clip_px": 6.0},
        {"eps2d": 0.0},
        {"eps2d": 2.0},
        {"max_alpha": 0.9},
    ],
    ids=str,
)
def test_settings(settings):
    gaussians = random_gaussians(150, 33, scale=(0.01, 0.2), opacity=(0.5, 1.0))
    assert_agrees(gaussians, orbit(), **settings)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16, 16), (17, 33), (3, 50)])
def test_image_sizes(width, height):
    assert_agrees(random_gaussians(100, 34), orbit(width=width, height=height), gradient=2e-4)


@pytest.mark.parametrize("mode", ["classic", "antialiased"])
def test_float64_follows_the_reference_far_closer(mode):
    assert_agrees(random_gaussians(100, 35, 2), orbit(), torch.float64, image=1e-11, gradient=1e-9, mode=mode)


def test_gradcheck():
    gaussians = random_gaussians(4, 36, 2, spread=0.05, scale=(0.2, 0.4), opacity=(0.3, 0.6))
    cameras, background = orbit(1, 6, 5), torch.rand(3, dtype=torch.float64)

    def images(means, quats, scales, opacities, sh, background):
        output = render(Gaussians(means, quats, scales, opacities, sh), cameras, background=background)
        return output.rgb, output.alpha, output.depth

    assert torch.autograd.gradcheck(images, leaves(gaussians, torch.float64, background), atol=1e-6)


def test_nearer_splats_hide_farther_ones_and_ties_keep_their_order():
    means = torch.tensor([[0.0, 0, 0.2], [0, 0, 0], [0, 0, 0], [0, 0, -0.2]])
    colors = torch.eye(4)[:, :3]
    quats, scales = torch.tensor([[1.0, 0, 0, 0]]).repeat(4, 1), torch.full((4, 3), 0.2)
    cameras = Cameras(*(t.float() for t in (orbit(1).cam_from_world, orbit(1).K)), 50, 39)

    def centre(order, opacity):
        gaussians = Gaussians(means, quats, scales, torch.full((4,), opacity), torch.zeros(4, 1, 3))[
            torch.tensor(order)
        ]
        return render(gaussians, cameras, colors=colors[order]).rgb[0, 23, 20]

    nearest_first = centre([3, 1, 2, 0], 0.5)  # colours: black, green, blue, red
    torch.testing.assert_close(nearest_first, torch.tensor([0.0625, 0.25, 0.125]), atol=3e-3, rtol=0)
    swapped = centre([2, 0, 1, 3], 0.5)  # of the two at one depth, the first in the list is in front
    torch.testing.assert_close(swapped, torch.tensor([0.0625, 0.125, 0.25]), atol=3e-3, rtol=0)


def test_views_in_a_batch_are_as_views_alone(monkeypatch):
    gaussians, cameras = random_gaussians(2500, 37, scale=(0.004, 0.05)), orbit(3)
    together, inputs = draw(render, gaussians, cameras, torch.float32)
    weight = torch.rand_like(together.rgb)
    (together.rgb * weight).sum().backward()
    for view in range(3):
        alone, _ = draw(render, gaussians, cameras[view], torch.float32)
        assert torch.equal(alone.rgb[0], together.rgb[view])
    monkeypatch.setattr(cpu_backend, "_ROWS_AT_ONCE", 2500)  # one view at a time
    one_by_one, other_inputs = draw(render, gaussians, cameras, torch.float32)
    (one_by_one.rgb * weight).sum().backward()
    assert torch.equal(one_by_one.rgb, together.rgb)
    for name, tensor in inputs.items():
        torch.testing.assert_close(tensor.grad, other_inputs[name].grad, rtol=1e-4, atol=1e-4)


def bits(threads_used, set_threads):
    set_threads(threads_used)
    gaussians = random_gaussians(3000, 38, 1, scale=(0.004, 0.05))
    output, inputs = draw(render, gaussians, orbit(2, 120, 90), torch.float32, background=torch.tensor([0.1, 0.2, 0.3]))
    (output.rgb.square().sum() + output.alpha.sum() + output.depth.sum()).backward()
    return [output.rgb, output.alpha, output.depth, *(tensor.grad for tensor in inputs.values())]


def test_the_same_bits_with_any_number_of_threads_and_every_time(threads):
    first = bits(1, threads)
    for again in (bits(1, threads), bits(2, threads), bits(5, threads)):
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_without_gradients_the_same_picture():
    gaussians, cameras = random_gaussians(200, 39).map(torch.Tensor.float), orbit()
    with torch.no_grad():
        quiet = render(gaussians, cameras)
    output = render(gaussians.map(lambda tensor: tensor.clone().requires_grad_()), cameras)
    assert torch.equal(quiet.rgb, output.rgb.detach())
    assert not quiet.rgb.requires_grad
    assert output.depth.requires_grad


def test_later_renders_leave_earlier_pictures_alone():
    kept, copies = [], []
    for seed in range(6):
        output = render(random_gaussians(100, seed), orbit())
        kept += [output.rgb[:, 3:], output.alpha]  # a view must keep its memory too
        copies += [kept[-2].clone(), kept[-1].clone()]
        del output
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


def test_gradients_can_wait_for_later_renders():
    gaussians, cameras = random_gaussians(200, 40), orbit()
    first, inputs = draw(render, gaussians, cameras, torch.float32)
    for seed in range(4):
        render(random_gaussians(300, seed), orbit())
    first.rgb.sum().backward()
    second, other_inputs = draw(render, gaussians, cameras, torch.float32)
    second.rgb.sum().backward()
    assert all(
        torch.equal(inputs[n].grad, other_inputs[n].grad) for n in ("means", "quats", "scales", "opacities", "sh")
    )


def empty_gaussians():
    return random_gaussians(0, 0).map(torch.Tensor.float)


@pytest.mark.parametrize(
    ("gaussians", "cameras"),
    [
        (empty_gaussians(), orbit()),
        (random_gaussians(10, 1, spread=0.01).map(torch.Tensor.float), orbit(distance=-1.0)),
        (random_gaussians(10, 1, opacity=(0.0, 0.003)).map(torch.Tensor.float), orbit()),
        (random_gaussians(10, 1).map(torch.Tensor.float), orbit(0)),
        (random_gaussians(10, 1).map(torch.Tensor.float), orbit(width=0)),
    ],
    ids=["no Gaussians", "all behind", "all transparent", "no views", "no pixels"],
)
def test_nothing_to_see(gaussians, cameras):
    gaussians = gaussians.map(lambda tensor: tensor.clone().requires_grad_())
    background = torch.tensor([0.25, 0.5, 0.75], requires_grad=True)
    output = render(gaussians, cameras, background=background)
    shape = (len(cameras), cameras.height, cameras.width)
    assert output.rgb.shape == (*shape, 3)
    assert torch.equal(output.rgb, background.expand(*shape, 3))
    assert not output.alpha.any()
    assert not output.depth.any()
    (output.rgb.sum() + output.alpha.sum() + output.depth.sum()).backward()
    assert not gaussians.means.grad.any()
    assert torch.equal(background.grad, torch.full((3,), float(np.prod(shape))))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["means", "quats", "scales", "opacities", "sh"])
def test_numbers_that_are_not_finite_are_named(name, value):
    gaussians = random_gaussians(50, 41, 1, spread=0.1)
    broken = getattr(gaussians, name).clone()
    broken.view(50, -1)[17, -1] = value
    with pytest.raises(InputError, match=f"{name} is not finite at Gaussian 17"):
        render(replace(gaussians, **{name: broken}), orbit())


def test_broken_colours_are_named():
    with pytest.raises(InputError, match="colours or sh is not finite at Gaussian 3"):
        render(random_gaussians(5, 1), orbit(), colors=torch.tensor([[0.0] * 3] * 3 + [[0, np.nan, 0], [0] * 3]))


def test_bad_cameras_are_named():
    gaussians, cameras = random_gaussians(5, 1), orbit(3)
    poses = cameras.cam_from_world.clone()
    poses[1, 0, 3] = float("nan")
    with pytest.raises(InputError, match="cam_from_world is not finite in view 1"):
        render(gaussians, replace(cameras, cam_from_world=poses))
    with pytest.raises(InputError, match="K is a tensor that requires a gradient, expected constants"):
        render(gaussians, replace(cameras, K=cameras.K.clone().requires_grad_()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sh_degree": 2}, "sh_degree is 2, expected a degree from 0 to 1"),
        ({"background": torch.zeros(4)}, r"background is of shape \[4\]"),
        ({"background": torch.tensor([0.0, float("inf"), 0])}, "background is not finite"),
        ({"colors": torch.zeros(3, 3)}, "colors is for 3 Gaussians, expected 5"),
        ({"near_m": 0.0}, "near_m is 0.0"),
        ({"max_alpha": 1.5}, "max_alpha is 1.5"),
    ],
    ids=str,
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        render(random_gaussians(5, 1, 1), orbit(), **settings)


def test_threads_may_render_at_once(threads):
    threads(2)
    scenes = [(random_gaussians(400, seed), orbit()) for seed in range(4)]
    expected = [render(*scene).rgb for scene in scenes]
    found: list[RenderOutput | None] = [None] * 4

    def work(i):
        for _ in range(5):
            found[i] = render(*scenes[i])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(torch.equal(a, b.rgb) for a, b in zip(expected, found, strict=True))


def _render_in_child(scene, queue):
    torch.set_num_threads(1)  # as data loaders' workers do: torch's own threads do not survive a fork
    queue.put(render(*scene).rgb.numpy())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_may_render(threads):
    threads(2)
    scene = random_gaussians(400, 42), orbit()
    expected = render(*scene).rgb.numpy()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_render_in_child, args=(scene, queue))
    child.start()
    found = queue.get()
    child.join(60)
    assert child.exitcode == 0
    np.testing.assert_array_equal(found, expected)


def bytes_of_views(monkeypatch, gaussians, views):
    """What pictures of 32x32 hold on to until their backward, and the most they take at any time."""
    monkeypatch.setattr(cpu_backend, "_pool", BufferPool())  # which keeps no memory of earlier pictures
    own = gaussians.map(lambda tensor: tensor.clone().requires_grad_())
    pose = torch.eye(4).repeat(views, 1, 1)
    pose[:, 2, 3] = 1.0
    K = torch.tensor([[40.0, 0, 16], [0, 40, 16], [0, 0, 1]]).repeat(views, 1, 1)
    tracemalloc.start()
    output = render(own, Cameras(pose, K, 32, 32))
    held, _ = tracemalloc.get_traced_memory()
    output.rgb.sum().backward()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert own.means.grad[:100].any()
    return np.array([held, most])


def test_a_view_costs_no_memory_for_what_it_does_not_show(monkeypatch):
    """Of many Gaussians every view shows the same 100; the others are behind it or outside its image."""
    of_one_view = []
    draw(render, random_gaussians(3, 1), orbit(), torch.float32)[0].rgb.sum().backward()  # compiles
    for n in (20_000, 80_000):
        means = torch.zeros(n, 3)
        means[100:, 0] = 5.0
        means[100::4, 2] = -3.0
        scales, opacities = torch.full((n, 3), 0.01), torch.full((n,), 0.5)
        gaussians = Gaussians(means, torch.ones(n, 4), scales, opacities, torch.ones(n, 4, 3))
        one, nine = (bytes_of_views(monkeypatch, gaussians, views) for views in (1, 9))
        of_one_view.append((nine - one) / 8)
    tables = 4 * 16 * (60_000 / CHUNK)  # where each chunk's rows and slots begin, and what that is made from
    assert (of_one_view[1] - of_one_view[0] < tables).all()
    assert (of_one_view[1] < 100_000).all()


@pytest.mark.slow
def test_a_million_gaussians_at_full_hd_need_little_memory(run_python):
    program = """
import resource, torch
from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering.render import render
n = 1_000_000
means = torch.randn(n, 3) * 0.1
gaussians = Gaussians(means, torch.randn(n, 4), torch.full((n, 3), 0.0005), torch.rand(n), torch.randn(n, 1, 3))
for tensor in (gaussians.means, gaussians.sh):
    tensor.requires_grad_()
pose = torch.eye(4)[None].repeat(2, 1, 1)
pose[:, 2, 3] = 0.8
K = torch.tensor([[[2500.0, 0, 960], [0, 2500, 540], [0, 0, 1]]]).repeat(2, 1, 1)
output = render(gaussians, Cameras(pose, K, 1920, 1080))
output.rgb.sum().backward()
assert output.alpha.max() > 0.99 and gaussians.means.grad.any()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    result = run_python(program)
    assert result.returncode == 0, result.stderr
    print(f"{int(result.stdout)} MB at the most")
    assert int(result.stdout) < 4000
