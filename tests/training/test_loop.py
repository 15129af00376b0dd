import csv
import logging
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import nn

from headsup_cli.errors import HeadsupError, MissingDependencyError
from headsup_cli.training.config import Schedule, TrainingConfig
from headsup_cli.training.loop import CHECKPOINT_FILE, optimise
from headsup_cli.training.metrics_log import MetricsLog

CPU = torch.device("cpu")


class Killed(BaseException):
    """The process ends without a chance to save."""


@dataclass
class Line:
    """Fits a line through points drawn anew for every step."""

    network: nn.Module = field(default_factory=lambda: seeded_line())
    columns: tuple[str, ...] = ("slope", "images")
    before: dict[int, object] = field(default_factory=dict)  # step -> what happens in the middle of it
    saved: list[int] = field(default_factory=list)
    watched: list[int] = field(default_factory=list)

    def loss(self, step):
        if step in self.before:
            self.before[step]()
        x = torch.randn(16, 1, generator=torch.Generator().manual_seed(step))
        loss = (self.network(x) - (3 * x + 1)).square().mean()
        return loss, {"slope": self.network.weight.item(), "images": 16.0}

    def save(self, path: Path, averaged, step):
        self.saved.append(step)
        path.write_text(f"{averaged.weight.item()!r}")

    def after_step(self, step, averaged):
        self.watched.append(step)


def seeded_line() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def schedule(**changes) -> Schedule:
    defaults = {"steps": 12, "learning_rate": 0.1, "warmup_steps": 2, "checkpoint_every": 5}
    return Schedule(**(defaults | changes))


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_learns_logs_and_saves(tmp_path):
    line = Line()
    report = optimise(line, schedule(steps=100, ema_decay=0.9), tmp_path, device=CPU)
    assert report.steps == 100
    assert report.skipped == 0
    assert line.saved == list(range(5, 101, 5))
    assert line.watched == list(range(1, 101))
    assert abs(float((tmp_path / CHECKPOINT_FILE).read_text()) - 3) < 0.1
    log = rows(tmp_path)
    assert list(log[0]) == ["step", "loss", "slope", "images"]
    assert [int(row["step"]) for row in log] == list(range(1, 101))
    assert float(log[-1]["loss"]) < 0.01 * float(log[0]["loss"])


def test_killed_at_any_step_five_times_the_curve_is_that_of_a_whole_run(tmp_path):
    optimise(Line(), schedule(), tmp_path / "whole", device=CPU)

    def kill():
        raise Killed

    for step in (3, 6, 7, 11, 12):
        with pytest.raises(Killed):
            optimise(Line(before={step: kill}), schedule(), tmp_path / "killed", device=CPU)
    optimise(Line(), schedule(), tmp_path / "killed", device=CPU)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert (tmp_path / "killed" / CHECKPOINT_FILE).read_text() == (tmp_path / "whole" / CHECKPOINT_FILE).read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_step_is_finished_and_saved(tmp_path, number):
    optimise(Line(), schedule(), tmp_path / "whole", device=CPU)
    line = Line(before={3: lambda: os.kill(os.getpid(), number)})
    handler = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        optimise(line, schedule(), tmp_path / "parts", device=CPU)
    assert signal.getsignal(number) is handler
    assert line.saved == [3]
    optimise(Line(), schedule(), tmp_path / "parts", device=CPU)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_what_it_writes_can_be_read_by_others(tmp_path):
    optimise(Line(), schedule(), tmp_path, device=CPU)
    usual = tmp_path / "usual"
    usual.touch()
    assert (tmp_path / "state.safetensors").stat().st_mode == usual.stat().st_mode


def test_a_step_without_a_finite_gradient_is_skipped_and_counted_over_restarts(tmp_path):
    class Poisoned(Line):
        def loss(self, step):
            loss, terms = super().loss(step)
            return (loss * float("nan") if step in (2, 7) else loss), terms

    assert optimise(Poisoned(), schedule(steps=5), tmp_path, device=CPU).skipped == 1
    assert optimise(Poisoned(), schedule(steps=8), tmp_path, device=CPU).skipped == 2
    assert torch.isfinite(torch.tensor(float((tmp_path / CHECKPOINT_FILE).read_text())))


def test_a_run_that_has_diverged_ends(tmp_path):
    class Diverged(Line):
        def loss(self, step):
            loss, terms = super().loss(step)
            return loss * float("nan"), terms

    with pytest.raises(HeadsupError, match="lower the learning rate"):
        optimise(Diverged(), schedule(steps=80), tmp_path, device=CPU)


def test_parts_are_averaged(tmp_path):
    class Halves(Line):
        def parts(self, step):
            return 2

        def part_loss(self, step, part):
            x = torch.randn(16, 1, generator=torch.Generator().manual_seed(step))[8 * part : 8 * part + 8]
            loss = (self.network(x) - (3 * x + 1)).square().mean()
            return loss, {"slope": self.network.weight.item(), "images": 8.0}

    optimise(Line(), schedule(), tmp_path / "whole", device=CPU)
    optimise(Halves(), schedule(), tmp_path / "halves", device=CPU)
    for one, other in zip(rows(tmp_path / "halves"), rows(tmp_path / "whole"), strict=True):
        assert float(one["loss"]) == pytest.approx(float(other["loss"]), rel=1e-4)
        assert one["images"] == other["images"]


def test_tensorboard_is_optional_and_missed_with_a_word(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match="TensorBoard"):
        MetricsLog(tmp_path, ("loss",), resumed_at=0, tensorboard=True)


def test_a_log_with_half_a_row_goes_on(tmp_path):
    with MetricsLog(tmp_path, ("loss",), resumed_at=0) as log:
        for step in range(1, 4):
            log.append(step, {"loss": step / 2})
    path = tmp_path / "metrics.csv"
    path.write_text(path.read_text()[:-3])
    MetricsLog(tmp_path, ("loss",), resumed_at=2)
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2"]


def test_stages_follow_each_other():
    config = TrainingConfig.model_validate(
        {
            "learning_rate": 1e-3,
            "warmup_steps": 2,
            "losses": {"ssim": 0.3},
            "stages": [
                {"steps": 10, "subjects_per_step": 4, "image_size_px": 100},
                {"steps": 5, "subjects_per_step": 2, "learning_rate": 1e-4, "losses": {"eyes_mouth": 0.5}},
            ],
        }
    )
    assert config.steps == 20 - 5
    first, second = config.stage_at(10), config.stage_at(11)
    assert (first.first_step, first.first_example, first.config.image_size_px) == (0, 0, 100)
    assert (second.first_step, second.first_example, second.config.subjects_per_step) == (10, 40, 2)
    assert second.config.image_size_px is None
    assert (second.config.losses.ssim, second.config.losses.eyes_mouth) == (0.3, 0.5)
    assert first.config.losses.eyes_mouth == 0
    assert config.uses("eyes_mouth")
    assert not config.uses("adversarial")
    rates = [config.learning_rate_at(step) for step in range(1, 16)]
    assert rates[1] == pytest.approx(1e-3)
    assert rates[9] < 1e-4 < rates[8] < rates[7]
    assert rates[10] == pytest.approx(5e-5), "the second stage warms up to its own rate"


@pytest.mark.parametrize(
    ("training", "named"),
    [
        ({"stages": [{"steps": 3, "losses": {"l3": 1}}]}, "one of l1, ssim"),
        ({"stages": [{"steps": 3}], "steps": 4}, "sum"),
        ({"stages": [{"steps": 3, "input_views": [4, 2]}]}, "fewest"),
        ({"stages": [{"step": 3}]}, "step"),
    ],
)
def test_impossible_stages_are_refused(training, named):
    with pytest.raises(ValueError, match=named):
        TrainingConfig.model_validate(training)


def test_skipped_steps_are_named(tmp_path, caplog):
    class Poisoned(Line):
        def loss(self, step):
            loss, terms = super().loss(step)
            return (loss * float("inf") if step == 2 else loss), terms

    with caplog.at_level(logging.WARNING):
        optimise(Poisoned(), schedule(steps=3), tmp_path, device=CPU)
    assert "step 2 skipped" in caplog.text
