from dataclasses import replace

import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.uv_maps import bind, texel_anchors
from headsup_cli.model.attributes import maps_from_raw, raw_from_colour, raw_from_offset
from headsup_cli.model.config import DetailConfig, EncoderConfig, FeedbackConfig, FusionStageConfig, ModelConfig
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.views import Views

TINY = ModelConfig(
    encoder=EncoderConfig(channels=(16, 32), blocks=(1, 1), pyramid_channels=16, image_size_px=64),
    fusion=(
        FusionStageConfig(resolution=8, channels=32, blocks=2, level=1, depths_mm=(-10.0, 0.0, 10.0)),
        FusionStageConfig(resolution=16, channels=16, blocks=1, level=0, depths_mm=(0.0,), self_attention=False),
    ),
    latent={"resolution": 8, "channels": 8},
    decoder={"channels": (32, 16), "blocks": 1},
    detail=DetailConfig(channels=16, query_channels=8),
    feedback=FeedbackConfig(rounds=2, view_channels=8, channels=16, blocks=1, image_size_px=64),
)


def make_views(count: int = 5, width: int = 48, height: int = 64, *, masked: bool = True) -> Views:
    generator = torch.Generator().manual_seed(count)
    return Views(
        rgb=torch.rand(count, height, width, 3, generator=generator),
        mask=torch.ones(count, height, width, 1),
        cameras=orbit(count, width, height),
        masked=masked,
    )


@pytest.fixture(scope="module", params=["projected", "global"])
def model(request, toy_template):
    torch.manual_seed(0)
    model = HeadModel(TINY.model_copy(update={"attention": request.param}), toy_template).eval()
    with torch.no_grad():  # away from the initial state, in which many layers are silent
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_the_order_of_the_views_changes_nothing(model):
    views = make_views()
    shuffled = views[torch.tensor([3, 0, 4, 2, 1])]
    a, b = model(views), model(shuffled)
    for name, tensor in a.maps.tensors().items():
        torch.testing.assert_close(b.maps.tensors()[name], tensor, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(b.latent, a.latent, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("count", "width", "height"), [(1, 48, 64), (3, 100, 40), (17, 33, 35)])
@torch.no_grad()
def test_any_number_and_size_of_views_gives_the_same_number_of_sane_gaussians(
    model, toy_template, count, width, height
):
    prediction = model(make_views(count, width, height))
    assert prediction.maps.resolution == TINY.resolution == 16
    anchors = texel_anchors(toy_template, 16)
    gaussians = bind(prediction.maps, anchors)
    assert len(gaussians) == int(anchors.mask.sum())
    for name in ("means", "quats", "scales", "opacities", "sh"):
        assert torch.isfinite(getattr(gaussians, name)).all(), name
    assert prediction.maps.offset.abs().max() <= TINY.max_offset_m
    assert (gaussians.scales > 0).all()
    assert gaussians.scales.max() < 0.2


@torch.no_grad()
def test_pictures_reach_the_prediction(model):
    views = make_views()
    other = replace(views, rgb=1 - views.rgb)
    a, b = model(views), model(other)
    assert (a.latent - b.latent).abs().max() > 1e-3
    assert (a.maps.sh - b.maps.sh).abs().max() > 1e-3
    assert (a.latent_maps.sh - b.latent_maps.sh).abs().max() > 1e-4


@torch.no_grad()
def test_the_latent_alone_decodes_to_the_latent_maps(model):
    prediction = model(make_views())
    decoded = model.decode(prediction.latent)
    for name, tensor in prediction.latent_maps.tensors().items():
        torch.testing.assert_close(decoded.tensors()[name], tensor)


@torch.no_grad()
def test_a_room_is_predicted_only_where_nothing_masks_it(model):
    assert model(make_views()).background is None
    room = model(make_views(masked=False)).background
    distances = room.means.norm(dim=-1)
    assert distances.min() > 1.5, "the room lies behind every camera's subject"
    assert ((room.opacities > 0.9) & (room.opacities < 1)).all()


def test_gradients_reach_every_parameter(toy_template):
    torch.manual_seed(0)
    model = HeadModel(TINY, toy_template)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    prediction = model(make_views(masked=False))
    parts = [*prediction.maps.tensors().values(), *prediction.latent_maps.tensors().values(), prediction.background.sh]
    torch.stack([part.square().mean() for part in [*parts, prediction.anchor_offset]]).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


def test_without_detail_and_feedback_the_maps_are_the_latents(toy_template):
    model = HeadModel(TINY.model_copy(update={"detail": None, "feedback": None}), toy_template)
    prediction = model(make_views())
    assert torch.equal(prediction.maps.offset, prediction.latent_maps.offset)


@torch.no_grad()
def test_anchors_follow_what_the_pixels_show(toy_template):
    """With a constant picture the detail's colour starts from that colour whatever the weights of attention are."""
    torch.manual_seed(0)
    model = HeadModel(TINY.model_copy(update={"feedback": None}), toy_template).eval()
    views = make_views()
    colour = torch.tensor([0.2, 0.5, 0.9])
    prediction = model(replace(views, rgb=colour.expand_as(views.rgb).clone()))
    gaussians = bind(prediction.maps, texel_anchors(toy_template, 16))
    seen = 0.5 + 0.28209479177387814 * gaussians.sh[:, 0]
    inside = (views.cameras.project(gaussians.means)[0] - torch.tensor([24.0, 32.0])).abs() < torch.tensor([20.0, 28.0])
    well_seen = inside.all(-1).all(0)
    assert well_seen.float().mean() > 0.5
    torch.testing.assert_close(seen[well_seen], colour.expand(int(well_seen.sum()), 3), atol=0.02, rtol=0)


def test_raw_colours_and_offsets_are_inverted():
    rgb = torch.rand(1, 3, 4, 4)
    offset = 0.01 * torch.randn(1, 3, 4, 4)
    zeros = torch.zeros(1, 7, 4, 4)
    raw = torch.cat([raw_from_offset(offset), zeros, raw_from_colour(rgb), torch.zeros(1, 9, 4, 4)], 1)
    maps = maps_from_raw(raw, max_offset_m=0.25)
    torch.testing.assert_close(0.5 + 0.28209479177387814 * maps.sh[..., 0, :], rgb[0].permute(1, 2, 0))
    torch.testing.assert_close(maps.offset, offset[0].permute(1, 2, 0), atol=1e-4, rtol=1e-2)
