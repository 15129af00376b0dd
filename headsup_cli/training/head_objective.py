"""What the head model is trained towards: renderings that look like what cameras saw which it was not given."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import DataLoader

from headsup_cli.errors import InputError
from headsup_cli.gaussians.uv_maps import texel_anchors
from headsup_cli.model.checkpoint import save_checkpoint
from headsup_cli.model.head_model import HeadModel
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels, texel_positions
from headsup_cli.training.config import Preset
from headsup_cli.training.dataset import ExampleStream, PictureSource, SubjectSource, TrainingExample
from headsup_cli.training.discriminator import PatchDiscriminator
from headsup_cli.training.interruption import ignore_interrupts
from headsup_cli.training.loop import Terms
from headsup_cli.training.losses import LOSS_TERMS, HeadLoss, Surface
from headsup_cli.training.precision import recompute_fusion, use_bfloat16
from headsup_cli.training.processes import process_count
from headsup_cli.training.validation import Validation

logger = logging.getLogger(__name__)


class Adversaries(nn.Module):
    """The head model and the discriminator that judges it, for one optimizer; only the first is for users."""

    def __init__(self, head: HeadModel) -> None:
        super().__init__()
        self.head = head
        self.discriminator = PatchDiscriminator()


class HeadObjective:
    """The loss of a step, as a mean over its subjects; a `loop.InParts` and `loop.Watching`."""

    columns = ("images", "broken", *LOSS_TERMS)

    def __init__(
        self,
        model: HeadModel,
        preset: Preset,
        template: Template,
        source: SubjectSource | PictureSource,
        *,
        workers: int,
        provenance: Mapping[str, Any],
        validation: Validation | None = None,
    ) -> None:
        self.config, self.template, self.provenance = preset.training, template, provenance
        _check_shares(preset)
        self.workers, self.validation = workers, validation
        self.stream = ExampleStream(source, self.config, preset.model.image_size_px)
        self.examples: Iterator[TrainingExample] | None = None
        self.next_example = 0
        self.device = next(model.parameters()).device
        self.network: nn.Module = Adversaries(model) if self.config.uses("adversarial") else model
        self.surface = _TexelSurface(template, preset.model.resolution, self.device)
        self.loss_of = HeadLoss(self.config, template, preset.model.resolution, self.device)
        recompute_fusion(model, self.config.recompute)
        if self.config.precision == "bfloat16":
            use_bfloat16(model)

    @property
    def model(self) -> HeadModel:
        """The network that is trained, without what judges it."""
        return _head(self.network)

    def parts(self, step: int) -> int:
        """Subjects of a step over all processes."""
        return self.config.stage_at(step).config.subjects_per_step

    def part_loss(self, step: int, part: int) -> tuple[Tensor, Terms]:
        """See `loop.InParts`."""
        stage = self.config.stage_at(step)
        first = stage.first_example + (step - stage.first_step - 1) * stage.config.subjects_per_step
        example = self._example(first + part)
        generator = torch.Generator().manual_seed(self.config.seed * 7_919 + step)
        behind = torch.rand(stage.config.subjects_per_step, 3, generator=generator)[part].to(self.device)
        counts = {"images": float(len(example.inputs) + len(example.targets)), "broken": float(len(example.broken))}
        prediction = self.model(example.inputs.to(self.device))
        broken = sum(tensor.sum() for tensor in prediction.maps.tensors().values())
        if not torch.isfinite(broken):  # the renderer would refuse it
            return broken, counts
        discriminator = None
        if isinstance(self.network, Adversaries) and step >= self.config.adversarial_from:
            discriminator = self.network.discriminator
        surface = None if example.surface is None else self.surface(example.surface)
        targets = example.targets.to(self.device)
        loss, terms = self.loss_of(prediction, targets, surface, behind, stage.config, discriminator)
        return loss, terms | counts

    def save(self, path: Path, averaged: nn.Module, step: int) -> None:
        """Write the averaged head model."""
        save_checkpoint(path, _head(averaged), self.template, provenance={**self.provenance, "steps": step})

    def after_step(self, step: int, averaged: nn.Module) -> None:
        """Validate where it is due."""
        if self.validation is not None:
            self.validation.after_step(step, _head(averaged), last=step == self.config.steps)

    def _example(self, index: int) -> TrainingExample:
        if self.examples is None or index != self.next_example:
            self.examples = self._loader(index)
        self.next_example = index + process_count()
        example = next(self.examples)
        for message in example.broken:
            logger.warning("left out: %s", message)
        return example

    def _loader(self, first: int) -> Iterator[TrainingExample]:
        """Examples `first` and every `process_count`-th after it, decoded ahead in workers."""
        loader = DataLoader(
            self.stream,
            batch_size=None,
            sampler=range(first, len(self.stream), process_count()),
            num_workers=self.workers,
            multiprocessing_context="spawn" if self.workers else None,
            prefetch_factor=4 if self.workers else None,
            worker_init_fn=ignore_interrupts,
        )
        return iter(loader)


class _TexelSurface:
    """Where the texels of a tracked mesh lie, and how far that is what one sees there."""

    def __init__(self, template: Template, resolution: int, device: torch.device) -> None:
        self.texels = sample_texels(template, resolution)
        self.anchors = texel_anchors(template, resolution).to(device)
        self.device = device
        scalp = template.regions.get("scalp", np.zeros(len(template.vertices), np.float32))
        covered = (self.texels.barycentric * scalp[self.texels.vertex_indices]).sum(-1, keepdims=True)
        self.trust = self.anchors.gather(torch.from_numpy(1 - covered).to(device))  # hair hides the tracked scalp

    def __call__(self, vertices: Float[Tensor, "n 3"]) -> Surface:
        """Points of a tracked mesh (metres, head frame) with their trust."""
        points = torch.from_numpy(texel_positions(self.texels, vertices.numpy())).to(self.device)
        return Surface(self.anchors.gather(points), self.trust)


def _check_shares(preset: Preset) -> None:
    for stage in preset.training.plan():
        if stage.config.subjects_per_step % process_count():
            raise InputError(
                "the configuration",
                field="training.subjects_per_step",
                found=str(stage.config.subjects_per_step),
                expected=f"a multiple of the {process_count()} processes that share it",
                remedy="change one of the two",
            )


def _head(network: nn.Module) -> HeadModel:
    head = network.head if isinstance(network, Adversaries) else network
    if not isinstance(head, HeadModel):
        raise TypeError(f"a {type(head).__name__} is no head model")
    return head
