"""The parts of the head stage that small runs on eggs do not reach: validation, sample pictures, optional terms."""

import csv
import logging

import numpy as np
import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.uv_maps import bind, template_maps, texel_anchors
from headsup_cli.media.images import read_image
from headsup_cli.metrics.lpips import Lpips
from headsup_cli.model.checkpoint import load_checkpoint
from headsup_cli.model.head_model import HeadModel, HeadPrediction
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render
from headsup_cli.training.captures import CaptureSource, index_captures, split_people
from headsup_cli.training.config import LossWeights, Preset, TrainingConfig
from headsup_cli.training.cost import estimate_costs, step_cost
from headsup_cli.training.discriminator import PatchDiscriminator, adversarial_terms
from headsup_cli.training.losses import HeadLoss
from headsup_cli.training.perceptual import gradient_distance, perceptual_distance
from headsup_cli.training.precision import use_bfloat16
from headsup_cli.training.trainer import train

CPU = torch.device("cpu")
MODEL = {
    "encoder": {"channels": [8, 16], "blocks": [1, 1], "pyramid_channels": 8, "image_size_px": 48},
    "fusion": [{"resolution": 8, "channels": 16, "blocks": 1, "level": 0, "heads": 2}],
    "latent": {"resolution": 8, "channels": 4},
    "decoder": {"channels": [16, 8], "blocks": 1},
    "detail": {"channels": 8, "query_channels": 4},
}


def test_everything_at_once_on_captures(write_people, toy_template, tmp_path, caplog):
    """Two stages, all terms, bfloat16, recomputation, validation and pictures; then the same command again."""
    preset = Preset.model_validate(
        {
            "model": MODEL,
            "training": {
                "warmup_steps": 1,
                "checkpoint_every": 2,
                "colour_jitter": 0.1,
                "precision": "bfloat16",
                "recompute": True,
                "adversarial_from": 3,
                "losses": {"perceptual": 0.5, "adversarial": 0.01},
                "validation": {"every": 2, "pictures_every": 3, "people": 2},
                "stages": [
                    {"steps": 2, "subjects_per_step": 2, "image_size_px": 24, "input_views": [1, 3]},
                    {"steps": 2, "losses": {"eyes_mouth": 0.5}},
                ],
            },
        }
    )
    captures = index_captures([write_people(12)], tmp_path / "index.json")
    config = preset.training.validation
    seen, held_out = (CaptureSource(tuple(part), 0, config.camera_share) for part in split_people(captures, config))
    run = tmp_path / "run"

    def train_on():
        people = lambda: held_out.held_out(config, 48)  # noqa: E731
        return train(seen, preset, toy_template, run, device=CPU, workers=0, provenance={}, held_out=people)

    with caplog.at_level(logging.INFO):
        assert train_on().steps == 4
    assert "image gradients" in caplog.text, "the log says what stands in for LPIPS"
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["discriminator"] != "" for row in rows] == [False, False, True, True]
    assert [row["eyes_mouth"] != "" for row in rows] == [False, False, True, True]
    assert all(row["perceptual"] and row["template"] and not row["surface"] for row in rows)
    with (run / "validation.csv").open() as file:
        scores = list(csv.DictReader(file))
    assert [row["step"] for row in scores] == ["2", "4"]
    best = load_checkpoint(run / "best.safetensors", toy_template)
    best_row = max(scores, key=lambda row: float(row["psnr_foreground"]))
    assert best.provenance["steps"] == int(best_row["step"])
    assert [path.name for path in sorted((run / "pictures").iterdir())] == ["step_0000003.png", "step_0000004.png"]
    assert read_image(run / "pictures" / "step_0000004.png").shape == (48, 3 * 36, 3), "one person, one held-out camera"
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert train_on().steps == 4
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_validation_gives_the_true_head_a_high_score(toy_template, tmp_path):
    from headsup_cli.training.dataset import TrainingExample
    from headsup_cli.training.validation import Validation

    preset = Preset.model_validate({"model": MODEL})
    model = HeadModel(preset.model, toy_template).eval()
    cameras = orbit(3, 36, 48)

    def seen(head) -> Views:
        with torch.no_grad():
            output = render(bind(head, texel_anchors(toy_template, 16)), cameras)
        return Views(output.rgb, output.alpha, cameras, masked=True)

    anyone = seen(template_maps(16))
    with torch.no_grad():
        own = seen(model(anyone).maps)
    validation = Validation(lambda: [TrainingExample(anyone, own, None)], preset, toy_template, tmp_path, {})
    scores = validation.scores(model)
    assert scores["psnr_foreground"] > 60
    assert scores["uncovered"] == 0
    assert scores["ssim_foreground"] > 0.999
    assert scores["psnr_foreground_latent"] < scores["psnr_foreground"]


def test_gradients_see_edges_and_not_flat_colour():
    flat = torch.full((1, 32, 32, 3), 0.3)
    edge = flat.clone()
    edge[:, :, 16:] = 0.6
    assert gradient_distance(flat, flat + 0.2) < 1e-6
    assert gradient_distance(flat, edge) > 1e-3
    coarse, fine = torch.zeros(1, 32, 32, 3), torch.zeros(1, 32, 32, 3)
    coarse[:, :16] = 1
    fine[:, ::2] = 1
    assert gradient_distance(flat * 0, fine) > gradient_distance(flat * 0, coarse)


def test_lpips_is_used_where_its_weights_are_and_can_be_lowered(tmp_path):
    torch.manual_seed(0)
    metric = Lpips("alex")
    torch.save(metric.state_dict(), tmp_path / "lpips.pth")
    distance = perceptual_distance(tmp_path / "lpips.pth", CPU)
    reference = torch.rand(1, 40, 40, 3)
    image = reference.clone().requires_grad_()
    assert abs(float(distance(image, reference).detach())) < 1e-6
    other = torch.rand(1, 40, 40, 3).requires_grad_()
    distance(other, reference).backward()
    assert other.grad.abs().max() > 0
    torch.testing.assert_close(distance(other, reference).detach(), metric(other, reference).mean().clone())


def test_the_discriminator_and_the_model_are_trained_against_each_other_in_one_backward_pass():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator()
    rendered = torch.rand(2, 48, 48, 3).requires_grad_()
    terms = adversarial_terms(discriminator, rendered, torch.rand(2, 48, 48, 3))
    terms["adversarial"].backward()
    assert rendered.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    rendered.grad = None
    terms["discriminator"].backward()
    assert rendered.grad is None
    learned = {name for name, parameter in discriminator.named_parameters() if parameter.grad.abs().max() > 0}
    assert learned >= {name for name, _ in discriminator.named_parameters() if "weight" in name}


def test_a_discriminator_learns_to_tell_stripes_from_flat_colour():
    torch.manual_seed(0)
    discriminator = PatchDiscriminator()
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3)
    striped = torch.zeros(2, 48, 48, 3)
    striped[:, ::2] = 1
    flat = torch.full((2, 48, 48, 3), 0.5)
    for _ in range(15):
        optimizer.zero_grad()
        adversarial_terms(discriminator, flat, striped)["discriminator"].backward()
        optimizer.step()
    discriminator.eval()
    assert discriminator(striped).mean() > discriminator(flat).mean() + 0.2


def test_eyes_and_mouth_count_only_where_they_are_seen(toy_template):
    from dataclasses import replace

    front = np.clip(toy_template.vertices[:, 2:3], 0, None) > 0.09
    template = replace(toy_template, regions={"eyes": front[:, 0].astype(np.float32)})
    config = TrainingConfig(steps=1, losses=LossWeights(eyes_mouth=1.0))
    loss_of = HeadLoss(config, template, 16, CPU)
    maps = template_maps(16)
    prediction = HeadPrediction(torch.zeros(1, 8, 8), maps, maps, torch.zeros(3, 8, 8), None)
    cameras = orbit(2, 36, 48)  # the first in front, the second behind
    with torch.no_grad():
        seen = render(bind(maps, texel_anchors(template, 16)), cameras)

    def term(view: int) -> float:
        targets = Views(seen.rgb[view, None] + 0.1, seen.alpha[view, None], cameras[view], masked=True)
        return loss_of(prediction, targets, None, torch.zeros(3), config)[1]["eyes_mouth"]

    assert term(0) == pytest.approx(0.1, abs=0.01)
    assert term(1) == 0


@torch.no_grad()
def test_bfloat16_changes_little_and_survives_a_copy(toy_template):
    import copy

    preset = Preset.model_validate({"model": MODEL})
    torch.manual_seed(0)
    model = HeadModel(preset.model, toy_template).eval()
    for parameter in model.parameters():
        parameter.add_(0.03 * torch.randn_like(parameter))
    cameras = orbit(3, 36, 48)
    views = Views(torch.rand(3, 48, 36, 3), torch.ones(3, 48, 36, 1), cameras, masked=True)
    exact = model(views).maps.offset
    use_bfloat16(model)
    rough = model(views).maps.offset
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 3e-3
    twin = copy.deepcopy(model)
    for parameter in twin.parameters():
        parameter.mul_(1.5)
    assert not torch.equal(twin(views).maps.offset, rough), "the copy computes with its own weights"


def test_costs_are_counted_without_computing(toy_template):
    preset = Preset.model_validate({"model": MODEL, "training": {"steps": 10, "subjects_per_step": 3}})
    lines = estimate_costs(preset, toy_template)
    parameters = sum(p.numel() for p in HeadModel(preset.model, toy_template).parameters())
    assert f"{parameters / 1e6:.2f} M parameters" in lines[0]
    assert "10 steps of 3 subjects" in lines[-1]
    with torch.device("meta"):
        model = HeadModel(preset.model, toy_template).to("meta")
    few, many = (step_cost(model, views, 36, 48) for views in (2, 8))
    assert few.flops > 2 * few.forward_flops > 0
    assert 1 < many.flops / few.flops < 4
    assert many.saved_bytes > few.saved_bytes
