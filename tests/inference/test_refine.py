from dataclasses import replace

import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.uv_maps import bind, template_maps, texel_anchors
from headsup_cli.inference.options import RefineOptions
from headsup_cli.inference.refine import refine
from headsup_cli.inference.refine_cameras import CameraVariables
from headsup_cli.inference.refine_variables import RefineVariables
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render

SIZE = (60, 80)


@pytest.fixture(scope="module")
def truth():
    """A pattern, 4 mm thicker than the template."""
    maps = template_maps(32)
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    maps.sh[..., 0, :] = torch.stack([torch.sin(row / 3), torch.cos(column / 4), torch.sin((row + column) / 5)], -1)
    maps.offset[..., 2] = 0.004
    return maps


@pytest.fixture(scope="module")
def subject(truth, toy_template):
    """The patterned egg, seen from all around, and from between."""
    return pictures(truth, orbit(10, *SIZE), toy_template), pictures(truth, orbit(7, *SIZE)[1:], toy_template)


def pictures(maps, cameras, template) -> Views:
    with torch.no_grad():
        output = render(bind(maps, texel_anchors(template, maps.resolution)), cameras)
    return Views(output.rgb, output.alpha, cameras, masked=True)


def quality(maps, views, template) -> float:
    return float(psnr(pictures(maps, views.cameras, template).rgb, views.rgb).mean())


def options(**changes) -> RefineOptions:
    return RefineOptions(**({"steps": 60, "resolution": 32, "image_size_px": 80, "withhold_from": 6} | changes))


def test_it_sharpens_from_a_bare_template_also_where_no_camera_stood(subject, toy_template):
    given, unseen = subject
    start = template_maps(16)
    result = refine(start, given, toy_template, options())
    assert result.steps == 60
    assert result.maps.resolution == 32
    assert quality(result.maps, given, toy_template) > quality(start, given, toy_template) + 4
    assert quality(result.maps, unseen, toy_template) > quality(start, unseen, toy_template) + 4


def test_steps_are_reproducible(subject, toy_template):
    wanted = options(steps=5, seed=3, cameras=True)
    a, b = (refine(template_maps(16), subject[0], toy_template, wanted).maps for _ in range(2))
    for name, tensor in a.tensors().items():
        assert torch.equal(b.tensors()[name], tensor), name


def test_time_instead_of_steps(subject, toy_template):
    wanted = options(seconds=0.5, steps=None, resolution=16, image_size_px=40)
    result = refine(template_maps(16), subject[0], toy_template, wanted)
    assert result.steps >= 1


def test_without_masks_the_room_stays_and_the_head_is_fitted(subject, toy_template):
    from headsup_cli.model.background import BackgroundModel
    from headsup_cli.model.config import BackgroundConfig

    given, _ = subject
    torch.manual_seed(0)
    room = BackgroundModel(BackgroundConfig(rows=8), 8).gaussians(torch.zeros(32), radius_m=3.0).detach()
    with torch.no_grad():
        behind = render(room, given.cameras).rgb
    seen = Views(given.rgb + (1 - given.mask) * behind, torch.ones_like(given.mask), given.cameras, masked=False)
    start = template_maps(16)
    result = refine(start, seen, toy_template, options(steps=50), background=room)
    assert quality(result.maps, given, toy_template) > quality(start, given, toy_template) + 3


@pytest.mark.parametrize("both", [{}, {"seconds": 1.0, "steps": 1}])
def test_one_measure_of_effort_is_needed(subject, toy_template, both):
    with pytest.raises(ValueError, match="either"):
        refine(template_maps(16), subject[0], toy_template, RefineOptions(**both))


def test_pictures_that_contradict_the_withheld_view_change_nothing(subject, truth, toy_template):
    given, _ = subject
    withheld = refine(truth, given, toy_template, options(steps=1)).withheld
    others = [view for view in range(len(given)) if view != withheld]
    mixed = given.rgb.clone()
    mixed[others] = given.rgb[others[1:] + others[:1]].flip(-1)
    result = refine(truth, replace(given, rgb=mixed), toy_template, options(steps=50))
    assert result.steps < 50, "it was given up early"
    assert result.withheld_psnr_db[1] == result.withheld_psnr_db[0]
    assert torch.allclose(result.maps.sh, truth.sh, atol=1e-5)


def test_what_no_picture_shows_keeps_its_prediction(subject, truth, toy_template):
    given, _ = subject
    front = given[[0, 1, 9]]
    result = refine(truth, replace(front, rgb=front.rgb * 0.7), toy_template, options(steps=50))
    anchors = texel_anchors(toy_template, 32)
    change = (anchors.gather(result.maps.sh - truth.sh)[:, 0]).abs().mean(-1)
    facing = anchors.positions[:, 2] / anchors.positions.norm(dim=-1)
    assert change[facing > 0.7].mean() > 0.1
    assert change[facing < -0.9].mean() < 0.02


def test_colours_of_cameras_are_told_from_the_heads(subject, truth, toy_template):
    given, unseen = subject
    logs = torch.linspace(-0.05, 0.05, 10)[:, None] * torch.tensor([1.0, -1.0, 0.5])
    tinted = replace(given, rgb=given.rgb * logs.exp()[:, None, None])
    result = refine(replace(truth, sh=truth.sh * 0.8), tinted, toy_template, options())
    used = [view for view in range(10) if view != result.withheld]
    found = result.corrections.gains[used].log()
    error = (found - found.mean(0)) - (logs[used] - logs[used].mean(0))
    assert error.abs().mean() < 0.5 * logs.abs().mean()
    assert quality(result.maps, unseen, toy_template) > 26


def test_a_displaced_camera_is_found_and_does_less_harm(subject, toy_template):
    given, unseen = subject
    wrong = given.cameras.cam_from_world.clone()
    wrong[2, :3, 3] += wrong[2, :3, 1] * 0.012  # as if the head stood 12 mm higher
    seen = replace(given, cameras=replace(given.cameras, cam_from_world=wrong))
    plain, corrected = (
        refine(template_maps(16), seen, toy_template, options(steps=150, cameras=cameras)) for cameras in (False, True)
    )
    heights = corrected.corrections.head_from_head[:, 1, 3]
    assert float(heights.median() - heights[2]) == pytest.approx(0.012, abs=0.004)
    assert quality(corrected.maps, unseen, toy_template) > quality(plain.maps, unseen, toy_template) + 0.2
    assert torch.equal(plain.corrections.head_from_head, torch.eye(4).expand(10, 4, 4))


def test_moving_the_gaussians_is_moving_the_camera(truth, toy_template):
    head = bind(truth, texel_anchors(toy_template, 32))
    cameras = orbit(3, *SIZE)
    variables = CameraVariables(3, poses=True, device="cpu")
    with torch.no_grad():
        variables.parameter_groups()[1]["params"][0].uniform_(-0.02, 0.02)
        by_camera = render(head, variables.found().applied(cameras)).rgb
        by_head = torch.cat([render(variables.moved(head, view), cameras[view]).rgb for view in range(3)])
        unmoved = render(head, cameras).rgb
    torch.testing.assert_close(by_head, by_camera, atol=2e-3, rtol=0)
    assert (unmoved - by_camera).abs().max() > 0.1


def test_the_variables_hold_the_maps(truth, toy_template):
    anchors = texel_anchors(toy_template, 32)
    variables = RefineVariables(truth, anchors)
    back = variables.maps()
    for name, tensor in back.tensors().items():
        torch.testing.assert_close(anchors.gather(tensor), anchors.gather(truth.tensors()[name]), atol=1e-5, rtol=0)
    groups = variables.parameter_groups()
    with torch.no_grad():
        for group in groups:
            for tensor in group["params"]:
                tensor += 0.01 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
        drawn = variables.gaussians(variables.displacement())
        bound = bind(variables.maps(), anchors)
    torch.testing.assert_close(bound.means, drawn.means, atol=1e-6, rtol=0)
    torch.testing.assert_close(bound.scales, drawn.scales, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(bound.quats, drawn.quats, atol=1e-5, rtol=0)
