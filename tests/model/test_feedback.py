from dataclasses import replace

import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.uv_maps import bind, texel_anchors
from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.attributes import RAW_CHANNELS, maps_from_raw
from headsup_cli.model.background import BackgroundModel
from headsup_cli.model.config import BackgroundConfig, FeedbackConfig
from headsup_cli.model.feedback import RenderFeedback
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render

MAX_OFFSET_M = 0.25
SIDE = 16
COLOUR = slice(10, 13)


def feedback(template, **settings) -> RenderFeedback:
    torch.manual_seed(0)
    config = FeedbackConfig(view_channels=8, channels=16, blocks=1, **settings)
    anchors = texel_anchors(template, SIDE)
    return RenderFeedback(config, UvAnchors(template, SIDE), anchors, max_offset_m=MAX_OFFSET_M)


def gaussians_of(template, raw):
    return bind(maps_from_raw(raw, max_offset_m=MAX_OFFSET_M), texel_anchors(template, SIDE))


@torch.no_grad()
def photographed(template, raw, *, width=72, height=96, masked=True) -> Views:
    cameras = orbit(6, width, height)
    drawn = render(gaussians_of(template, raw), cameras)
    return Views(drawn.rgb, drawn.alpha if masked else torch.ones_like(drawn.alpha), cameras, masked=masked)


def squared_error(template, raw, views) -> float:
    drawn = render(gaussians_of(template, raw), views.cameras)
    return float((drawn.rgb - views.rgb).square().mean() + (drawn.alpha - views.mask).square().mean())


@torch.no_grad()
def test_untrained_it_already_walks_downhill(toy_template):
    truth = torch.zeros(1, RAW_CHANNELS, SIDE, SIDE)
    truth[:, COLOUR] = torch.tensor([0.4, 0.0, -0.4])[None, :, None, None]
    views = photographed(toy_template, truth)
    shrunk, bright = truth.clone(), truth.clone()
    shrunk[:, 2] -= 0.15  # 3 mm
    bright[:, COLOUR] += 0.15
    drafts = [shrunk, *feedback(toy_template)(shrunk, views, None)]
    errors = [squared_error(toy_template, raw, views) for raw in drafts]
    assert len(errors) == 4
    assert errors[1] < 0.9 * errors[0]
    assert errors[-1] < 0.6 * errors[0]
    darker = feedback(toy_template)(bright, views, None)[0] - bright
    assert darker[:, COLOUR].mean() < -0.005


def test_what_it_looks_at_carries_no_gradient_but_what_it_says_does(toy_template):
    module = feedback(toy_template, rounds=2)
    with torch.no_grad():  # away from the initial state, in which many layers are silent
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    raw = torch.zeros(1, RAW_CHANNELS, SIDE, SIDE, requires_grad=True)
    views = photographed(toy_template, torch.full_like(raw.detach(), 0.1))
    module(raw, views, None)[-1].square().sum().backward()
    assert raw.grad.abs().max() > 0
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters() if p.ndim > 1)


@torch.no_grad()
def test_pictures_are_compared_no_larger_than_configured(toy_template):
    module = feedback(toy_template, rounds=1, image_size_px=48)
    sizes = []

    def noting(gaussians, cameras):
        sizes.append((cameras.width, cameras.height))
        return render(gaussians, cameras)

    module.draw = torch.enable_grad()(noting)
    raw = torch.zeros(1, RAW_CHANNELS, SIDE, SIDE)
    module(raw, photographed(toy_template, raw), None)
    module(raw, photographed(toy_template, raw, width=24, height=32), None)
    assert sizes == [(36, 48), (24, 32)]


@torch.no_grad()
def test_a_room_is_drawn_behind(toy_template):
    """With a room that looks as the pictures do, only the head is corrected; without it, the pictures' rim pulls."""
    raw = torch.zeros(1, RAW_CHANNELS, SIDE, SIDE)
    views = photographed(toy_template, raw)
    room = BackgroundModel(BackgroundConfig(rows=8), 8)([torch.zeros(6, 8, 4, 4)], views)
    drawn = render(gaussians_of(toy_template, raw), views.cameras)
    behind = render(room, views.cameras)
    rgb = drawn.rgb + (1 - drawn.alpha) * behind.rgb
    whole = replace(views, rgb=rgb, mask=torch.ones_like(views.mask), masked=False)
    module = feedback(toy_template, rounds=1)
    with_room = (module(raw, whole, room)[0] - raw).abs().mean()
    without = (module(raw, whole, None)[0] - raw).abs().mean()
    assert with_room < 0.3 * without
