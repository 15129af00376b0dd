import csv
from dataclasses import dataclass

import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.errors import InputError
from headsup_cli.gaussians.uv_maps import TexelAnchors, bind, template_maps, texel_anchors
from headsup_cli.model.checkpoint import load_checkpoint
from headsup_cli.model.config import LatentConfig
from headsup_cli.rendering.render import render
from headsup_cli.template.template import Template
from headsup_cli.training.config import Preset
from headsup_cli.training.dataset import ExampleStream, TrainingSubject
from headsup_cli.training.losses import HeadLoss, Surface, surface_terms
from headsup_cli.training.trainer import train


@dataclass(frozen=True)
class PaintedEggs:
    """The toy template in a colour of its own for every number."""

    template: Template
    anchors: TexelAnchors

    def __call__(self, index: int) -> TrainingSubject:
        generator = torch.Generator().manual_seed(index)
        maps = template_maps(16)
        maps.sh[..., 0, :] = 1.5 * torch.rand(3, generator=generator) - 0.75
        cameras = orbit(6, 36, 48)
        with torch.no_grad():
            output = render(bind(maps, self.anchors), cameras)
        return TrainingSubject(output.rgb, output.alpha, cameras, torch.from_numpy(self.template.vertices.copy()))


PRESET = Preset.model_validate(
    {
        "model": {
            "encoder": {"channels": [8, 16], "blocks": [1, 1], "pyramid_channels": 8, "image_size_px": 48},
            "fusion": [{"resolution": 8, "channels": 16, "blocks": 1, "level": 0, "heads": 2}],
            "latent": {"resolution": 8, "channels": 4},
            "decoder": {"channels": [16, 8], "blocks": 1},
            "detail": {"channels": 8, "query_channels": 4},
            "feedback": {"rounds": 2, "view_channels": 8, "channels": 8, "blocks": 1, "image_size_px": 48},
        },
        "training": {
            "steps": 8,
            "input_views": [2, 4],
            "render_views": 2,
            "warmup_steps": 2,
            "checkpoint_every": 4,
            "learning_rate": 3e-3,
            "unmasked_probability": 0.25,
        },
    }
)


@pytest.fixture(scope="module")
def eggs(toy_template):
    return PaintedEggs(toy_template, texel_anchors(toy_template, 16))


def run(eggs, folder, preset=PRESET, **options):
    defaults = {"device": torch.device("cpu"), "workers": 0, "provenance": {"data": "eggs"}}
    return train(eggs, preset, eggs.template, folder, **(defaults | options))


def losses(folder, term="loss") -> dict[int, float]:
    with (folder / "metrics.csv").open() as file:
        return {int(row["step"]): float(row[term]) for row in csv.DictReader(file)}


def with_training(**changes) -> Preset:
    return PRESET.model_copy(update={"training": PRESET.training.model_copy(update=changes)})


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(eggs, tmp_path):
    run(eggs, tmp_path / "a")
    run(eggs, tmp_path / "b")
    run(eggs, tmp_path / "c", with_training(seed=1))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(eggs, tmp_path):
    run(eggs, tmp_path / "whole")
    run(eggs, tmp_path / "parts", seconds=0.0)
    assert sorted(losses(tmp_path / "parts")) == [1]
    run(eggs, tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    a, b = (load_checkpoint(tmp_path / name / "model.safetensors", eggs.template).model for name in ("whole", "parts"))
    for name, tensor in a.state_dict().items():
        assert torch.equal(b.state_dict()[name], tensor), name


def test_training_lowers_the_loss(eggs, tmp_path):
    @dataclass(frozen=True)
    class OneEgg:
        template: Template

        def __call__(self, index):
            return eggs(0)

    run(OneEgg(eggs.template), tmp_path, with_training(steps=40, checkpoint_every=40, unmasked_probability=0))
    values = losses(tmp_path, "latent_l1")
    first, last = (sum(values[i] for i in steps) for steps in (range(1, 9), range(33, 41)))
    assert last < 0.7 * first


def test_a_state_of_another_model_is_refused(eggs, tmp_path):
    run(eggs, tmp_path, with_training(steps=1))
    other = PRESET.model_copy(update={"model": PRESET.model.model_copy(update={"detail": None})})
    with pytest.raises(InputError, match="another folder"):
        run(eggs, tmp_path, other)


def test_older_weights_start_a_run_whose_model_has_feedback_and_only_that_is_trained(eggs, tmp_path, caplog):
    older = PRESET.model_copy(update={"model": PRESET.model.model_copy(update={"feedback": None})})
    run(eggs, tmp_path / "older", older.model_copy(update={"training": with_training(steps=2).training}))
    start = tmp_path / "older" / "model.safetensors"
    with caplog.at_level("INFO", "headsup_cli"):
        run(eggs, tmp_path / "new", with_training(steps=3, trained_parts=("feedback",)), init=start)
    assert "knows no feedback" in caplog.text
    before, after = (
        load_checkpoint(path, eggs.template).model.state_dict() for path in (start, tmp_path / "new/model.safetensors")
    )
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert any(name.startswith("feedback.") and tensor.abs().max() > 0 for name, tensor in after.items())


def test_weights_of_another_shape_and_unknown_parts_are_refused(eggs, tmp_path):
    run(eggs, tmp_path / "a", with_training(steps=1))
    wider = PRESET.model_copy(update={"model": PRESET.model.model_copy(update={"latent": LatentConfig(channels=6)})})
    with pytest.raises(InputError, match="configuration that it was trained with"):
        run(eggs, tmp_path / "b", wider, init=tmp_path / "a" / "model.safetensors")
    with pytest.raises(InputError, match="some of encoder, fusion"):
        run(eggs, tmp_path / "c", with_training(trained_parts=("nose",)))


def test_a_gradient_that_is_not_finite_is_skipped_and_counted(eggs, tmp_path):
    @dataclass(frozen=True)
    class Poisoned:
        template: Template

        def __call__(self, index):
            subject = eggs(index)
            if index == 1:
                subject.rgb[:] = float("inf")
            return subject

    report = run(Poisoned(eggs.template), tmp_path, with_training(steps=3))
    assert report.skipped == 1
    model = load_checkpoint(tmp_path / "model.safetensors", eggs.template).model
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_examples_depend_on_seed_and_index_alone(eggs):
    first, second = (ExampleStream(eggs, PRESET.training, 48) for _ in range(2))
    first[4]
    assert torch.equal(first[5].inputs.rgb, second[5].inputs.rgb)
    assert torch.equal(first[5].targets.cameras.cam_from_world, second[5].targets.cameras.cam_from_world)
    assert not torch.equal(first[4].targets.cameras.cam_from_world, second[5].targets.cameras.cam_from_world)


def test_misalignment_moves_cameras_and_surface_together(eggs):
    """What the cameras see of the surface does not depend on where the head frame was put."""
    subject = eggs(0)
    stream = ExampleStream(eggs, with_training(render_views=6).training, 48)
    example = stream[0]
    seen, _ = subject.cameras.project(subject.surface)
    moved, _ = example.targets.cameras.project(example.surface)
    distances = torch.cdist(moved.flatten(1), seen.flatten(1)).min(1).values  # views come in another order
    assert distances.max() < 0.05
    assert (example.surface - subject.surface).abs().max() > 1e-3


def test_a_perfect_prediction_has_no_surface_loss(eggs):
    from headsup_cli.model.head_model import HeadPrediction

    maps = template_maps(16)
    prediction = HeadPrediction(torch.zeros(1, 8, 8), maps, maps, torch.zeros(3, 8, 8), None)
    anchors = eggs.anchors
    trust = torch.ones(len(anchors), 1)
    assert surface_terms(prediction, anchors, Surface(anchors.positions, trust))["surface"] < 1e-6
    moved = Surface(anchors.positions + 0.01 * anchors.frames[..., 2], trust)
    assert abs(float(surface_terms(prediction, anchors, moved)["surface"]) - 0.02) < 1e-3


def test_the_true_head_scores_better_than_another(eggs):
    from headsup_cli.model.head_model import HeadPrediction

    config = with_training(alignment_mm=0, alignment_deg=0, alignment_scale=0).training
    stream = ExampleStream(eggs, config, 48)
    example = next(e for e in (stream[i] for i in range(2)) if e.targets.masked)
    loss_of = HeadLoss(config, eggs.template, 16, torch.device("cpu"))

    def loss(colour: torch.Tensor) -> float:
        maps = template_maps(16)
        maps.sh[..., 0, :] = colour
        prediction = HeadPrediction(torch.zeros(1, 8, 8), maps, maps, torch.zeros(3, 8, 8), None)
        return float(loss_of(prediction, example.targets, None, torch.zeros(3), config)[0])

    generator = torch.Generator().manual_seed(0)
    true = 1.5 * torch.rand(3, generator=generator) - 0.75
    assert loss(true) < loss(true + 0.3)


def test_the_learning_rate_warms_up_and_cools_down():
    config = with_training(steps=100, warmup_steps=10).training
    factors = [config.learning_rate_at(step) / config.learning_rate for step in range(1, 101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert factors[-1] < 0.03
