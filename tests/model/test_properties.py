"""What holds for the model whatever its weights and its input are."""

from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.uv_maps import bind, texel_anchors
from headsup_cli.model.attributes import MAX_LOG_SCALE
from headsup_cli.model.config import DetailConfig, EncoderConfig, FeedbackConfig, FusionStageConfig, ModelConfig
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.views import Views

CONFIG = ModelConfig(
    encoder=EncoderConfig(channels=(8, 16), blocks=(1, 1), pyramid_channels=8),
    fusion=(
        FusionStageConfig(resolution=8, channels=16, blocks=2, level=1, heads=2, depths_mm=(-10.0, 0.0, 10.0)),
        FusionStageConfig(resolution=16, channels=8, blocks=1, level=0, heads=2, self_attention=False),
    ),
    latent={"resolution": 8, "channels": 4},
    decoder={"channels": (16, 8), "blocks": 1},
    detail=DetailConfig(channels=8, query_channels=4),
    feedback=FeedbackConfig(rounds=2, view_channels=8, channels=8, blocks=1),
)


def make_model(template, attention="projected", *, spread=0.05) -> HeadModel:
    torch.manual_seed(0)
    model = HeadModel(CONFIG.model_copy(update={"attention": attention}), template).eval()
    with torch.no_grad():  # away from the initial state, in which many layers are silent
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return model


def make_views(cameras: Cameras) -> Views:
    generator = torch.Generator().manual_seed(0)
    shape = (len(cameras), cameras.height, cameras.width)
    return Views(torch.rand(*shape, 3, generator=generator), torch.ones(*shape, 1), cameras, masked=True)


def largest_difference(one, other) -> float:
    pairs = zip(one.maps.tensors().values(), other.maps.tensors().values(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


@pytest.fixture(scope="module", params=["projected", "global"])
def model(request, toy_template):
    return make_model(toy_template, request.param)


@torch.no_grad()
def test_eighty_views_in_any_order(model):
    views = make_views(orbit(80, 24, 32))
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    assert largest_difference(model(views), model(views[order])) < 1e-5


@torch.no_grad()
def test_moving_rig_and_head_frame_together_changes_nothing(model):
    in_head = make_views(orbit(4, 24, 32))
    rig_from_head = torch.eye(4, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))[0]
    rig_from_head[:3, :3] = 2.5 * turn * torch.det(turn).sign()  # a rig in other units, too
    rig_from_head[:3, 3] = torch.tensor([0.4, -1.0, 3.0])
    cameras = replace(in_head.cameras, cam_from_world=in_head.cameras.cam_from_world.double())
    moved = cameras.in_frame(torch.linalg.inv(rig_from_head)).in_frame(rig_from_head)
    again = replace(in_head, cameras=replace(moved, cam_from_world=moved.cam_from_world.float()))
    assert largest_difference(model(in_head), model(again)) < 1e-4


def unusual_views() -> dict[str, Views]:
    views = make_views(orbit(3, 24, 32))
    away = views.cameras.cam_from_world.clone()
    away[:, :3, 3] *= -1  # the head is behind every camera
    inside = views.cameras.cam_from_world.clone()
    inside[:, :3, 3] = 0
    return {
        "black": replace(views, rgb=torch.zeros_like(views.rgb), mask=torch.zeros_like(views.mask)),
        "white": replace(views, rgb=torch.ones_like(views.rgb)),
        "head behind the cameras": replace(views, cameras=replace(views.cameras, cam_from_world=away)),
        "cameras inside the head": replace(views, cameras=replace(views.cameras, cam_from_world=inside)),
        "tiny pictures": make_views(orbit(2, 5, 4)),
        "thousandfold brightness": replace(views, rgb=1000 * views.rgb),
    }


@pytest.mark.parametrize("kind", unusual_views())
@pytest.mark.parametrize("spread", [0.05, 1.0])
@torch.no_grad()
def test_gaussians_are_finite_and_bounded_for_any_input_and_weights(toy_template, kind, spread):
    model = make_model(toy_template, spread=spread)
    prediction = model(unusual_views()[kind])
    anchors = texel_anchors(toy_template, CONFIG.resolution)
    for maps in (prediction.maps, prediction.latent_maps):
        gaussians = bind(maps, anchors)
        assert all(torch.isfinite(tensor).all() for tensor in maps.tensors().values())
        assert all(torch.isfinite(getattr(gaussians, name)).all() for name in ("means", "quats", "scales", "sh"))
        assert maps.offset.abs().max() <= CONFIG.max_offset_m
        assert maps.log_scale.abs().max() <= MAX_LOG_SCALE
        assert maps.opacity_logit.abs().max() <= 8
        assert len(gaussians) == len(anchors)


def kept_bytes(run) -> int:
    """What a forward pass keeps for the backward pass, counted on tensors without content."""
    kept: dict[int, int] = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    alive = []
    with saved_tensors_hooks(lambda tensor: alive.append(keep(tensor)) or tensor, lambda tensor: tensor):
        run()
    return sum(kept.values())


def fusion_bytes(model, views: int, side: int) -> int:
    """Of the fusion alone, without the pyramid that it is given."""
    pyramid = [torch.empty(views, 8, side // n, side // n, device="meta", requires_grad=True) for n in (1, 2)]
    cameras = orbit(views, 4 * side, 4 * side).to("meta")
    return kept_bytes(lambda: model.fusion(pyramid, cameras)) - sum(4 * level.numel() for level in pyramid)


def test_memory_of_projected_fusion_grows_linearly_in_views_and_not_with_pixels(toy_template):
    model = make_model(toy_template).to("meta")
    few, more, most = (fusion_bytes(model, views, 16) for views in (4, 8, 16))
    assert most - more == 2 * (more - few) > 0
    assert fusion_bytes(model, 8, 64) == more


def test_recomputed_blocks_keep_less_and_give_the_same_gradients(toy_template):
    views = make_views(orbit(4, 24, 32))

    def gradients(*, recompute: bool) -> tuple[list[torch.Tensor], int]:
        model = make_model(toy_template)
        for stage in model.fusion.stages:
            stage.recompute = recompute
        outputs = []
        kept = kept_bytes(lambda: outputs.append(model(views).maps))
        sum(tensor.square().sum() for tensor in outputs[0].tensors().values()).backward()
        return [p.grad for p in model.parameters() if p.grad is not None], kept

    (kept_all, much), (recomputed, little) = gradients(recompute=False), gradients(recompute=True)
    assert little < 0.8 * much
    assert len(kept_all) == len(recomputed) > 20
    for one, other in zip(kept_all, recomputed, strict=True):
        torch.testing.assert_close(other, one)
