"""The loop that all training shares: what is optimised says `Objective`, for how long and how fast `Schedule`.

A run lives in a folder: `state.safetensors` (all that is needed to go on), `model.safetensors` (averaged weights, for
users) and `metrics.csv`. Everything random in an objective is a function of seed and step, so a run that was stopped at
any step goes on as if it had not been, bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from headsup_cli.errors import HeadsupError
from headsup_cli.runtime.memory import keep_freed_memory
from headsup_cli.runtime.progress import progress
from headsup_cli.training.config import Schedule
from headsup_cli.training.interruption import defer_interrupts
from headsup_cli.training.metrics_log import MetricsLog
from headsup_cli.training.processes import is_first_process, mean_over_processes, process_count, process_rank
from headsup_cli.training.run_state import load_state, save_state

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "model.safetensors"
_MOST_SKIPPED_IN_A_ROW = 50
_WORD_INTERVAL_S = 60.0  # between lines that say how fast it goes

Terms = dict[str, float]


@runtime_checkable
class Trained(Protocol):
    """What is trained, and what it leaves behind."""

    @property
    def network(self) -> nn.Module:
        """Its exponential average is what gets saved."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the logged terms, in the order of metrics.csv."""
        ...

    def save(self, path: Path, averaged: nn.Module, step: int) -> None:
        """Write the checkpoint for users, from the averaged network."""
        ...


@runtime_checkable
class Objective(Trained, Protocol):
    """What is trained, and towards what."""

    def loss(self, step: int) -> tuple[Tensor, Terms]:
        """A differentiable scalar and what is logged; a function of weights, step (from 1) and seed alone.

        A term named `images` is the number of pictures looked at, for the log.
        """
        ...


@runtime_checkable
class InParts(Trained, Protocol):
    """An objective whose loss is a mean over parts: memory holds one at a time, and processes share them."""

    def parts(self, step: int) -> int:
        """How many there are, over all processes."""
        ...

    def part_loss(self, step: int, part: int) -> tuple[Tensor, Terms]:
        """As `Objective.loss`, of one part."""
        ...


@runtime_checkable
class Watching(Protocol):
    """An objective that looks at its network now and then; called in the first process only."""

    def after_step(self, step: int, averaged: nn.Module) -> None:
        """Validate, draw, say something; it must not change the network."""
        ...


@dataclass(frozen=True)
class TrainingReport:
    """How a run ended."""

    steps: int
    skipped: int  # steps of the whole run left out because a gradient was not finite
    seconds: float  # of this call
    last: Terms


def optimise(
    objective: Objective | InParts,
    schedule: Schedule,
    folder: Path,
    *,
    device: torch.device,
    seconds: float = math.inf,
    tensorboard: bool = False,
) -> TrainingReport:
    """Train, or go on with the run that `folder` holds.

    Under `torchrun` gradients are averaged over the processes by DistributedDataParallel and the first one writes.

    Args:
        objective: Its network must be on `device`.
        schedule: For how long and how fast.
        folder: Of the run.
        device: Where to train.
        seconds: Stop after this time, finished or not; the schedule stays what it is.
        tensorboard: Write event files as well.

    Raises:
        InputError: The folder holds the state of another model.
        HeadsupError: Gradient after gradient was not finite.
        MissingDependencyError: TensorBoard is wanted and not installed.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, once the step is finished and saved.
    """
    if device.type == "cpu":
        keep_freed_memory()
    run = _Run(objective, schedule, folder, device)
    log = MetricsLog(folder, ("loss", *objective.columns), resumed_at=run.step, tensorboard=tensorboard)
    started = told = time.monotonic()
    images = 0.0
    first, terms = run.step, Terms()
    with defer_interrupts() as interrupted, log:
        for _ in progress(range(first, schedule.steps), "training"):
            terms, stop = run.advance(lambda: interrupted() or time.monotonic() - started > seconds)
            log.append(run.step, terms)
            images += terms.get("images", 0.0)
            if time.monotonic() - told > _WORD_INTERVAL_S:
                told = time.monotonic()
                _tell(run.step, terms["loss"], (run.step - first) / (told - started), images / (told - started))
            if stop or run.step % schedule.checkpoint_every == 0 or run.step == schedule.steps:
                run.save()
            if stop:
                break
        if interrupted():
            logger.warning("interrupted; saved after step %d", run.step)
            raise KeyboardInterrupt
    return TrainingReport(run.step, run.skipped, time.monotonic() - started, terms)


def _tell(step: int, loss: float, steps_per_s: float, images_per_s: float) -> None:
    pictures = f", {images_per_s:.1f} images/s" if images_per_s else ""
    logger.info("step %d: loss %.4f, %.3g steps/s%s", step, loss, steps_per_s, pictures)


class _Run:
    """Weights, their average and the optimizer at some step."""

    def __init__(self, objective: Objective | InParts, schedule: Schedule, folder: Path, device: torch.device) -> None:
        self.objective, self.schedule, self.folder, self.device = objective, schedule, folder, device
        self.network = objective.network
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
        )
        folder.mkdir(parents=True, exist_ok=True)
        self.step, self.skipped = load_state(folder, self.network, self.averaged, self.optimizer)
        self.skipped_in_a_row = 0
        self.differentiable: Any = _Differentiable(objective)
        if process_count() > 1:  # a part may use only some parameters: a room, say, is predicted where there is one
            self.differentiable = DistributedDataParallel(
                self.differentiable, find_unused_parameters=True, broadcast_buffers=False
            )

    def advance(self, wants_to_stop: Callable[[], bool]) -> tuple[Terms, bool]:
        """One step; its mean terms over all parts and processes, and whether any process wants to stop after it."""
        self.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate_at(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.gradient_clip)
        if torch.isfinite(norm):
            self.optimizer.step()
            self.skipped_in_a_row = 0
        else:
            self._count_skipped()
        decay = min(self.schedule.ema_decay, self.step / (self.step + 10))
        with torch.no_grad():
            for average, parameter in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                average.lerp_(parameter, 1 - decay)
        if isinstance(self.objective, Watching) and is_first_process():
            self.objective.after_step(self.step, self.averaged)
        gathered = mean_over_processes(terms | {"stop": float(wants_to_stop())})
        return gathered, gathered.pop("stop") > 0

    def save(self) -> None:
        """Write state and checkpoint, in the first process."""
        if is_first_process():
            save_state(self.folder, self.step, self.skipped, self.network, self.averaged, self.optimizer)
            self.objective.save(self.folder / CHECKPOINT_FILE, self.averaged, self.step)

    def _backward(self) -> Terms:
        parts = [0]
        if isinstance(self.objective, InParts):
            parts = list(range(process_rank(), self.objective.parts(self.step), process_count()))
        sums: Terms = {}
        for part in parts:
            later = part != parts[-1] and isinstance(self.differentiable, DistributedDataParallel)
            with self.differentiable.no_sync() if later else torch.enable_grad():
                loss, terms = self.differentiable(self.step, part)
                (loss / len(parts)).backward()
            for name, value in (terms | {"loss": float(loss.detach())}).items():
                sums[name] = sums.get(name, 0.0) + (value if name == "images" else value / len(parts))
        return sums

    def _count_skipped(self) -> None:
        self.skipped += 1
        self.skipped_in_a_row += 1
        logger.warning("step %d skipped: its loss or gradient is not finite", self.step)
        if self.skipped_in_a_row >= _MOST_SKIPPED_IN_A_ROW:
            raise HeadsupError(
                f"{self.folder}: no gradient was finite for {_MOST_SKIPPED_IN_A_ROW} steps; "
                "lower the learning rate and start from an earlier checkpoint with --init."
            )


class _Differentiable(nn.Module):
    """The loss as a module, which is what DistributedDataParallel takes."""

    def __init__(self, objective: Objective | InParts) -> None:
        super().__init__()
        self.network = objective.network  # makes its parameters this module's
        self.objective = objective

    def forward(self, step: int, part: int) -> tuple[Tensor, Terms]:
        """The loss of a step, or of a part of it."""
        if isinstance(self.objective, InParts):
            return self.objective.part_loss(step, part)
        return self.objective.loss(step)
