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
from headsup_cli.gaussians.uv_maps import bind, template_maps, texel_anchors
from headsup_cli.model.checkpoint import latent_fingerprint, save_checkpoint
from headsup_cli.model.config import ModelConfig
from headsup_cli.model.expression import Expression, ExpressionConfig, ExpressionTransformer, save_expression
from headsup_cli.model.head_model import HeadModel
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.brow_lift import lifted_blendshapes
from headsup_cli.template.texels import sample_texels, texel_positions

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


def test_neutralised_moves_back_with_the_template_and_paints_as_the_latent_says(head, template, model, transformer):
    b = torch.zeros(52)
    for name, weight in {"jawOpen": 0.6, "browInnerUp": 0.8, "mouthSmileLeft": 0.5}.items():
        b[ARKIT_NAMES.index(name)] = weight
    anchors, texels = texel_anchors(template, 96), sample_texels(template, 96)
    way = np.tensordot(b.numpy(), lifted_blendshapes(template), 1)
    moved = torch.from_numpy(texel_positions(texels, way)[texels.mask]).float()
    on_it = template_maps(96)  # lies on the template, and so where its texels say
    offset = anchors.scatter((anchors.frames.mT @ moved[..., None])[..., 0])
    smiling = replace(head, maps=replace(on_it, offset=offset))  # captured with its face moved as the template's
    back = neutralised(smiling, b, template, model, transformer)
    apart = (bind(back.maps, anchors).means - anchors.positions).norm(dim=1)
    still = moved.norm(dim=1) < 1e-4
    assert moved[~still].norm(dim=1).mean() > 0.004
    assert apart[~still].mean() < 1e-4
    assert apart[still].mean() < 1e-5
    with torch.no_grad():
        neutral = transformer(head.latent[None], b[None], "to neutral")[0]
        before, after = (model.decode(z).resampled(texel_anchors(template, 64), 96) for z in (head.latent, neutral))
    torch.testing.assert_close(back.latent, neutral, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.maps.sh - on_it.sh, after.sh - before.sh, atol=1e-5, rtol=0)
    unchanged = neutralised(head, torch.zeros(52), template, model, transformer)
    for name, tensor in unchanged.maps.tensors().items():
        torch.testing.assert_close(tensor, head.maps.tensors()[name], atol=0, rtol=0)


def test_neutralised_moves_what_lies_beside_its_texel_as_the_place_where_it_lies(head, template, model, transformer):
    b = torch.zeros(52)
    b[ARKIT_NAMES.index("jawOpen")] = 0.6
    anchors, texels = texel_anchors(template, 96), sample_texels(template, 96)
    way = np.tensordot(b.numpy(), lifted_blendshapes(template), 1)
    points, ways = (texel_positions(texels, part)[texels.mask] for part in (template.vertices + way, way))
    chin = int(np.linalg.norm(points - (template.vertices + way)[template.landmarks["chin"]], axis=1).argmin())
    ear = int(np.abs(points - points[points[:, 0].argmax()]).sum(1).argmin())  # a texel far from the jaw
    offset = anchors.scatter(torch.zeros(len(anchors), 3))
    lying = torch.from_numpy(points[chin]).float() - anchors.positions[ear]
    offset.flatten(0, 1)[anchors.index[ear]] = anchors.frames[ear].mT @ lying
    displaced = replace(head, maps=replace(template_maps(96), offset=offset))
    back = neutralised(displaced, b, template, model, transformer)
    moved = bind(back.maps, anchors).means[ear] - torch.from_numpy(points[chin]).float()
    assert np.linalg.norm(ways[chin]) > 0.005
    torch.testing.assert_close(moved, -torch.from_numpy(ways[chin]).float(), atol=5e-4, rtol=0)


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
