import dataclasses

import numpy as np
import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.evaluation.heldout import Reference
from headsup_cli.evaluation.regions import box_around, region_boxes, region_weights
from headsup_cli.evaluation.scoring import PSNR_CEILING_DB, SCORE_NAMES, score_view
from headsup_cli.gaussians.uv_maps import bind, template_maps, texel_anchors
from headsup_cli.rendering.render import render

SIDE = 200
BLACK = torch.zeros(3)


@pytest.fixture(scope="module")
def template(toy_template):
    """The egg with eyes on its front, in two spots left and right."""
    x, y, z = toy_template.vertices.T
    eyes = ((np.abs(np.abs(x) - 0.03) < 0.015) & (np.abs(y - 0.03) < 0.02) & (z > 0)).astype(np.float32)
    return dataclasses.replace(toy_template, regions={"face": 1 - eyes, "eyes": eyes})


@pytest.fixture(scope="module")
def head(template):
    return bind(template_maps(48), texel_anchors(template, 48))


@pytest.fixture(scope="module")
def weights(template):
    return region_weights(template, 48, ("eyes", "mouth"))


@pytest.fixture
def reference(head):
    """What the first of four cameras around the head sees of the head itself."""
    camera = orbit(4, SIDE, SIDE)[0]
    output = render(head, camera, background=BLACK)
    rounded = (output.rgb[0].clamp(0, 1) * 255).round() / 255
    return Reference(rounded, output.alpha[0, ..., 0], camera)


def score(head, weights, reference, background=BLACK):
    return score_view(head, weights, reference, background, None).scores


def test_a_head_that_is_right_has_full_marks(head, weights, reference):
    scores = score(head, weights, reference)
    assert list(scores) == list(SCORE_NAMES)
    for area in ("foreground", "full", "eyes"):
        assert scores[f"psnr_{area}"] == PSNR_CEILING_DB
        assert scores[f"ssim_{area}"] == pytest.approx(1, abs=1e-5)
        assert scores[f"flip_{area}"] == 0
        assert scores[f"lpips_{area}"] is None, "there are no weights"
    assert scores["psnr_mouth"] is None, "this template has none"
    assert scores["uncovered"] == 0


def test_a_colour_cast_costs_raw_psnr_alone(head, weights, reference):
    cast = dataclasses.replace(reference, rgb=reference.rgb * torch.tensor([0.8, 0.9, 1.0]))
    scores = score(head, weights, cast)
    assert scores["psnr_foreground"] < 30
    assert scores["psnr_affine_foreground"] > 45
    assert scores["psnr_full"] > scores["psnr_foreground"] + 1, "black around the head is right"


def test_errors_are_counted_in_the_area_where_they_are(head, weights, reference):
    (rows, columns), _ = region_boxes(head, weights, reference.camera)
    spoilt = reference.rgb.clone()
    spoilt[rows, columns] = 0
    scores = score(head, weights, dataclasses.replace(reference, rgb=spoilt))
    assert scores["psnr_eyes"] < scores["psnr_foreground"] < scores["psnr_full"] < 40
    assert scores["flip_eyes"] > scores["flip_foreground"] > scores["flip_full"] > 0
    squared = ((spoilt - reference.rgb) ** 2).mean(-1)
    inside = reference.mask > 0.5
    assert scores["psnr_foreground"] == pytest.approx(float(-10 * squared[inside].mean().log10()), abs=1e-3)


def test_what_the_head_leaves_open_is_counted(head, weights, reference):
    upper = head.means[:, 1] > 0
    bald = dataclasses.replace(head, opacities=torch.where(upper, torch.zeros(()), head.opacities))
    scores = score(bald, weights, reference)
    assert 0.3 < scores["uncovered"] < 0.7
    assert scores["psnr_foreground"] < 15


def test_the_background_is_the_protocols(head, weights, reference):
    white = torch.ones(3)
    on_white = reference.rgb + (1 - reference.mask[..., None]) * white
    assert score(head, weights, dataclasses.replace(reference, rgb=on_white), white)["psnr_full"] > 50
    assert score(head, weights, dataclasses.replace(reference, rgb=on_white), BLACK)["psnr_full"] < 10


def test_eyes_have_a_box_where_they_are_seen_and_none_from_behind(head, weights):
    cameras = orbit(4, SIDE, SIDE)
    boxes = [region_boxes(head, weights, cameras[index])[0] for index in range(4)]
    assert boxes[2] is None, "the back of the head has no eyes"
    rows, columns = boxes[0]
    pixels, _ = cameras[0].project(head.means[weights[:, 0] > 0.5])
    x, y = pixels[0].mean(0)
    assert columns.start < x < columns.stop
    assert rows.start < y < rows.stop
    assert abs((columns.start + columns.stop) / 2 - x) < 5, "both eyes are in it"


def test_boxes_have_a_margin_and_stay_inside():
    mask = torch.zeros(60, 100, dtype=torch.bool)
    mask[10:30, 40:99] = True
    assert box_around(mask) == (slice(9, 31), slice(37, 100))
    mask[:] = False
    assert box_around(mask) is None
    mask[5:12, 10:90] = True
    assert box_around(mask) is None, "lower than the window of SSIM"
