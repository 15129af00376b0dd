"""The training loop."""

from __future__ import annotations

import copy
import csv
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from headsup_cli.gaussians.uv_maps import texel_anchors
from headsup_cli.model.checkpoint import load_checkpoint, save_checkpoint
from headsup_cli.model.head_model import HeadModel
from headsup_cli.runtime.atomic import atomic_write_text
from headsup_cli.runtime.memory import keep_freed_memory
from headsup_cli.runtime.progress import progress
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels, texel_positions
from headsup_cli.training.config import Preset, TrainingConfig
from headsup_cli.training.dataset import ExampleStream, SubjectSource, TrainingExample
from headsup_cli.training.losses import total_loss
from headsup_cli.training.run_state import load_state, save_state

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "model.safetensors"
METRICS_FILE = "metrics.csv"
CONFIG_FILE = "config.json"
_IMAGE_TERMS = ("l1", "ssim", "alpha")
METRICS_COLUMNS = (
    "step",
    "loss",
    *_IMAGE_TERMS,
    "surface",
    "offset_tv",
    "scale",
    *(f"latent_{t}" for t in _IMAGE_TERMS),
)


@dataclass(frozen=True)
class TrainingReport:
    """How a run ended."""

    steps: int
    skipped: int  # steps left out because a gradient was not finite
    seconds: float
    last: dict[str, float]


def learning_rate_factor(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine down to a fiftieth."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps))
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


def train(
    source: SubjectSource,
    preset: Preset,
    template: Template,
    folder: Path,
    *,
    device: torch.device,
    workers: int = 1,
    provenance: Mapping[str, Any],
    seconds: float = math.inf,
    init: Path | None = None,
) -> TrainingReport:
    """Train a model, or go on with the run that `folder` holds.

    Args:
        source: Subjects by number.
        preset: Model and schedule; written to `folder` first.
        template: The surface that the Gaussians hang on.
        folder: Where state, checkpoint (averaged weights) and metrics go.
        device: Where to train.
        workers: Processes that make examples; 0 makes them in this one.
        provenance: Goes into the checkpoint.
        seconds: Stop after this time, finished or not; the schedule stays that of `preset`.
        init: Start a new run from these weights (`.safetensors`).

    Returns:
        What was done.
    """
    if device.type == "cpu":
        keep_freed_memory()
    config = preset.training
    torch.manual_seed(config.seed)
    model = HeadModel(preset.model, template).to(device)
    if init is not None:
        model.load_state_dict(load_checkpoint(init, template, device).model.state_dict())
    ema = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    first = load_state(folder, model, ema, optimizer)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / CONFIG_FILE, preset.model_dump_json(indent=1) + "\n")

    objective = _Objective(preset, template, device)
    started, skipped = time.monotonic(), 0
    terms: dict[str, float] = {}
    examples = _examples(source, config, first, workers)
    step = first
    try:
        for step in progress(range(first + 1, config.steps + 1), "training"):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * learning_rate_factor(step - 1, config)
            terms, finite = objective.step(model, optimizer, examples, step)
            skipped += not finite
            _update_average(ema, model, min(config.ema_decay, step / (step + 10)))
            _append_metrics(folder / METRICS_FILE, step, terms)
            out_of_time = time.monotonic() - started > seconds
            if step % config.checkpoint_every == 0 or step == config.steps or out_of_time:
                _save(folder, step, model, ema, optimizer, template, provenance)
            if out_of_time:
                break
    except KeyboardInterrupt:
        logger.warning("interrupted after step %d; saving", step - 1)
        _save(folder, step - 1, model, ema, optimizer, template, provenance)
        raise
    return TrainingReport(step, skipped, time.monotonic() - started, terms)


class _Objective:
    """One optimisation step over `subjects_per_step` examples."""

    def __init__(self, preset: Preset, template: Template, device: torch.device) -> None:
        self.config = preset.training
        self.device = device
        self.image_size_px = preset.model.encoder.image_size_px
        self.texels = sample_texels(template, preset.model.resolution)
        self.anchors = texel_anchors(template, preset.model.resolution).to(device)
        scalp = template.regions.get("scalp", np.zeros(len(template.vertices), np.float32))
        covered = (self.texels.barycentric * scalp[self.texels.vertex_indices]).sum(-1, keepdims=True)
        self.trust = self.anchors.gather(torch.from_numpy(1 - covered).to(device))  # hair hides the tracked scalp

    def step(
        self, model: HeadModel, optimizer: torch.optim.Optimizer, examples: Iterator[TrainingExample], step: int
    ) -> tuple[dict[str, float], bool]:
        """Mean loss terms, and whether the step was taken."""
        optimizer.zero_grad(set_to_none=True)
        count = self.config.subjects_per_step
        sums: dict[str, float] = {}
        generator = torch.Generator().manual_seed(self.config.seed * 7_919 + step)
        for _ in range(count):
            example = next(examples)
            behind = torch.rand(3, generator=generator).to(self.device)
            loss, terms = self._loss(model, example, behind)
            (loss / count).backward()
            sums = {name: sums.get(name, 0.0) + value / count for name, value in terms.items()}
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.config.gradient_clip)
        finite = bool(torch.isfinite(norm))
        if finite:
            optimizer.step()
        else:
            logger.warning("step %d skipped: its loss or gradient is not finite", step)
        return sums, finite

    def _loss(self, model: HeadModel, example: TrainingExample, behind: Tensor) -> tuple[Tensor, dict[str, float]]:
        prediction = model(example.inputs.resized(self.image_size_px).to(self.device))
        broken = sum(tensor.sum() for tensor in prediction.maps.tensors().values())
        if not torch.isfinite(broken):  # the renderer would refuse it
            return broken, {"loss": math.nan}
        surface = None
        if example.surface is not None:
            points = torch.from_numpy(texel_positions(self.texels, example.surface.numpy())).to(self.device)
            surface = (self.anchors.gather(points), self.trust)
        targets = example.targets.to(self.device)
        loss, terms = total_loss(prediction, targets, self.anchors, surface, behind, self.config.losses)
        return loss, terms | {"loss": float(loss.detach())}


def _examples(source: SubjectSource, config: TrainingConfig, first: int, workers: int) -> Iterator[TrainingExample]:
    per_step = config.subjects_per_step
    stream = ExampleStream(source, config, first * per_step, (config.steps - first) * per_step)
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


@torch.no_grad()
def _update_average(ema: HeadModel, model: HeadModel, decay: float) -> None:
    for average, parameter in zip(ema.parameters(), model.parameters(), strict=True):
        average.lerp_(parameter, 1 - decay)


def _append_metrics(path: Path, step: int, terms: dict[str, float]) -> None:
    """Add a row; where a killed run repeats steps, the later row of a step counts."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, METRICS_COLUMNS, restval="", extrasaction="raise")
        if new:
            writer.writeheader()
        writer.writerow({"step": step, **{name: f"{value:.6g}" for name, value in terms.items()}})


def _save(
    folder: Path,
    step: int,
    model: HeadModel,
    ema: HeadModel,
    optimizer: torch.optim.AdamW,
    template: Template,
    provenance: Mapping[str, Any],
) -> None:
    save_state(folder, step, model, ema, optimizer)
    save_checkpoint(folder / CHECKPOINT_FILE, ema, template, provenance={**provenance, "steps": step})
