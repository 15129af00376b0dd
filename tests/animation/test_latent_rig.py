from dataclasses import replace

import numpy as np
import pytest
import torch

from headsup_cli.animation.geometric_rig import geometric_rig
from headsup_cli.animation.latent_rig import latent_rig, neutralised
from headsup_cli.animation.rig import Pose
from headsup_cli.animation.rigs import rigged
from headsup_cli.errors import InputError
from headsup_cli.gaussians.head import Head
from headsup_cli.gaussians.uv_maps import bind, texel_anchors
from headsup_cli.model.checkpoint import latent_fingerprint, save_checkpoint
from headsup_cli.model.config import ModelConfig
from headsup_cli.model.expression import Expression, ExpressionConfig, ExpressionTransformer, save_expression
from headsup_cli.model.head_model import HeadModel
from headsup_cli.template.arkit import ARKIT_NAMES

ATTRIBUTES = ("means", "quats", "scales", "opacities", "sh")


@pytest.fixture(scope="module")
def model(template):
    torch.manual_seed(0)
    config = {
        "encoder": {"channels": [8, 16], "blocks": [1, 1], "pyramid_channels": 8, "image_size_px": 32},
        "fusion": [{"resolution": 16, "channels": 16, "blocks": 1, "level": 0, "depths_mm": [0.0]}],
        "latent": {"resolution": 16, "channels": 8},
        "decoder": {"channels": [16, 8, 8], "blocks": 1},
        "detail": None,
    }
    model = HeadModel(ModelConfig.model_validate(config), template).eval()
    torch.nn.init.normal_(model.decoder.out.weight, std=0.05)
    return model


@pytest.fixture(scope="module")
def transformer(model):
    network = ExpressionTransformer(ExpressionConfig(channels=24, blocks=1, heads=2), model.config.latent).eval()
    network.typical.normal_()
    return network


@pytest.fixture(scope="module")
def head(template, model):
    latent = torch.randn(8, 16, 16)
    with torch.no_grad():
        maps = model.decode(latent)
    maps = maps.resampled(texel_anchors(template, maps.resolution), 96)  # as if refined
    maps.offset.add_(0.001)  # detail beyond the latent
    return Head("anna", maps, template.name, template.sha256, np.eye(4), latent=latent)


@pytest.fixture(scope="module")
def rig(head, template, model, transformer):
    return latent_rig(head, template, model, transformer)


def test_at_rest_nothing_moves(rig):
    posed = rig.pose(Pose.of({}))
    for name in ATTRIBUTES:
        torch.testing.assert_close(getattr(posed, name), getattr(rig.neutral, name), atol=1e-6, rtol=0)


def test_a_single_coefficient_is_what_the_latent_decodes_to_with_the_detail_on_top(
    rig, head, template, model, transformer
):
    name = "mouthFrownLeft"  # small, so that frames hardly turn
    b = torch.zeros(1, 52)
    b[0, ARKIT_NAMES.index(name)] = 1
    anchors = texel_anchors(template, head.maps.resolution)
    with torch.no_grad():
        maps = [model.decode(z) for z in (head.latent, transformer(head.latent[None], b)[0])]
    if maps[0].resolution != head.maps.resolution:
        maps = [m.resampled(texel_anchors(template, m.resolution), head.maps.resolution) for m in maps]
    still, moved = (bind(m, anchors) for m in maps)
    posed = rig.pose(Pose.of({name: 1.0}))
    soft = torch.from_numpy(rig.movement.rigid < 0)
    expected = rig.neutral.means + moved.means - still.means
    assert (moved.means - still.means).norm(dim=1).mean() > 3e-4
    assert (posed.means - expected)[soft].norm(dim=1).mean() < 5e-5
    torch.testing.assert_close(posed.sh[soft], (rig.neutral.sh + moved.sh - still.sh)[soft], atol=0.09, rtol=0)


def test_eyes_stay_rigid_and_keep_their_colours(rig):
    posed = rig.pose(Pose.of({"eyeLookUpLeft": 1.0}))
    eye = torch.from_numpy(rig.movement.rigid == 0)
    rest, centre = rig.neutral.means[eye], torch.from_numpy(rig.centres[0])
    torch.testing.assert_close((posed.means[eye] - centre).norm(dim=1), (rest - centre).norm(dim=1), atol=1e-5, rtol=0)
    torch.testing.assert_close(posed.sh[eye][:, 0], rig.neutral.sh[eye][:, 0], atol=0, rtol=0)


def test_a_blend_moves_as_the_geometric_rig_and_paints_as_the_latent_one(head, template, model, transformer, rig):
    pose = Pose.of({"jawOpen": 0.6})
    blend = latent_rig(head, template, model, transformer, moved_share=0.0).pose(pose)
    torch.testing.assert_close(blend.means, geometric_rig(head, template).pose(pose).means, atol=1e-4, rtol=0)
    torch.testing.assert_close(blend.opacities, rig.pose(pose).opacities, atol=1e-6, rtol=0)


def test_neutralised_undoes_the_expression_of_the_maps(head, template, model, transformer):
    b = torch.zeros(52)
    b[3] = 0.5
    with torch.no_grad():
        posed = transformer(head.latent[None], b[None])[0].clone()
        maps = model.decode(posed).map(torch.clone)
    back = neutralised(replace(head, latent=posed, maps=maps), b, template, model, transformer)
    expected = transformer(posed[None], b[None], "to neutral")[0].detach()
    torch.testing.assert_close(back.latent, expected, atol=1e-6, rtol=0)
    with torch.no_grad():
        wanted = model.decode(expected)
    torch.testing.assert_close(back.maps.offset, wanted.offset, atol=1e-6, rtol=0)
    unchanged = neutralised(head, torch.zeros(52), template, model, transformer)
    torch.testing.assert_close(unchanged.maps.sh, head.maps.sh, atol=1e-6, rtol=0)


def test_heads_without_this_models_latent_are_refused(head, template, model, transformer):
    for latent, found in ((None, "missing"), (torch.zeros(4, 8, 8), "of shape")):
        with pytest.raises(InputError, match=found):
            latent_rig(replace(head, latent=latent), template, model, transformer)


def test_rigs_by_name_check_that_the_weights_belong_together(head, template, model, transformer, tmp_path):
    checkpoint, expression = tmp_path / "model.safetensors", tmp_path / "expression.safetensors"
    save_checkpoint(checkpoint, model, template, provenance={"seed": 1})
    save_expression(expression, Expression(transformer, latent_fingerprint(checkpoint)))
    weights = {"checkpoint": checkpoint, "expression": expression}
    assert len(rigged(head, template, "blend", **weights).neutral) == len(rigged(head, template, "geometric").neutral)
    foreign = replace(head, provenance={"checkpoint": {"seed": 2}})
    with pytest.raises(InputError, match="other weights"):
        rigged(foreign, template, "latent", **weights)
    save_expression(expression, Expression(transformer, "f" * 64))
    with pytest.raises(InputError, match="model_hash"):
        rigged(head, template, "latent", **weights)
