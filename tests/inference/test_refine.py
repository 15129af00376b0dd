import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.uv_maps import bind, template_maps, texel_anchors
from headsup_cli.inference.refine import RefineOptions, refine
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render

SIZE = (60, 80)


@pytest.fixture(scope="module")
def subject(toy_template):
    """A patterned egg 4 mm thicker than the template, seen from all around."""
    maps = template_maps(32)
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    maps.sh[..., 0, :] = torch.stack([torch.sin(row / 3), torch.cos(column / 4), torch.sin((row + column) / 5)], -1)
    maps.offset[..., 2] = 0.004
    gaussians = bind(maps, texel_anchors(toy_template, 32))

    def views(cameras):
        with torch.no_grad():
            output = render(gaussians, cameras)
        return Views(output.rgb, output.alpha, cameras, masked=True)

    return views(orbit(10, *SIZE)), views(orbit(7, *SIZE)[1:])  # the second set's cameras stand between the first's


def quality(maps, views, template) -> float:
    with torch.no_grad():
        output = render(bind(maps, texel_anchors(template, maps.resolution)), views.cameras)
    return float(psnr(output.rgb, views.rgb).mean())


def test_it_sharpens_from_a_bare_template_also_where_no_camera_stood(subject, toy_template):
    given, unseen = subject
    start = template_maps(16)
    options = RefineOptions(steps=150, resolution=32, image_size_px=80)
    result = refine(start, given, toy_template, options)
    assert result.steps == 150
    assert result.maps.resolution == 32
    assert quality(result.maps, given, toy_template) > quality(start, given, toy_template) + 8
    assert quality(result.maps, unseen, toy_template) > quality(start, unseen, toy_template) + 6


def test_steps_are_reproducible(subject, toy_template):
    options = RefineOptions(steps=5, resolution=32, image_size_px=80, seed=3)
    a, b = (refine(template_maps(16), subject[0], toy_template, options).maps for _ in range(2))
    for name, tensor in a.tensors().items():
        assert torch.equal(b.tensors()[name], tensor), name


def test_time_is_kept(subject, toy_template):
    options = RefineOptions(seconds=0.5, resolution=16, image_size_px=40)
    result = refine(template_maps(16), subject[0], toy_template, options)
    assert result.steps >= 1
    assert 0.5 <= result.seconds < 30


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
    result = refine(
        start, seen, toy_template, RefineOptions(steps=80, resolution=32, image_size_px=80), background=room
    )
    assert quality(result.maps, given, toy_template) > quality(start, given, toy_template) + 4


@pytest.mark.parametrize("both", [{}, {"seconds": 1.0, "steps": 1}])
def test_one_measure_of_effort_is_needed(subject, toy_template, both):
    with pytest.raises(ValueError, match="either"):
        refine(template_maps(16), subject[0], toy_template, RefineOptions(**both))
