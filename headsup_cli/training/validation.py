"""How good the averaged model is on people and cameras that training never sees."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.errors import HeadsupError
from headsup_cli.gaussians.uv_maps import GaussianMaps, bind, texel_anchors
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.metrics.image_quality import psnr, ssim
from headsup_cli.model.checkpoint import save_checkpoint
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render
from headsup_cli.template.template import Template
from headsup_cli.training.config import Preset
from headsup_cli.training.dataset import TrainingExample
from headsup_cli.training.metrics_log import MetricsLog

logger = logging.getLogger(__name__)

BEST_FILE = "best.safetensors"
VALIDATION_FILE = "validation.csv"
PICTURES_FOLDER = "pictures"
COLUMNS = ("psnr_foreground", "psnr_full", "ssim_foreground", "uncovered", "psnr_foreground_latent")
_BOX_MARGIN = 0.05  # of the foreground's box, on every side
_SHOWN_PEOPLE = 4


class Validation:
    """Scores by the field's protocol: on black, foreground within the mask, mean over pictures; the best is kept."""

    def __init__(
        self,
        held_out: Callable[[], list[TrainingExample]],
        preset: Preset,
        template: Template,
        folder: Path,
        provenance: Mapping[str, Any],
    ) -> None:
        """Use people whose targets are cameras that training never sees; they are asked for when first needed."""
        self.held_out, self.config, self.template = held_out, preset.training.validation, template
        self.folder, self.provenance = folder, provenance
        self.anchors = texel_anchors(template, preset.model.resolution)
        self.log: MetricsLog | None = None
        self.best = -math.inf

    def after_step(self, step: int, model: HeadModel, *, last: bool) -> None:
        """Score and draw where it is due."""
        due = self.config.every and (last or step % self.config.every == 0)
        drawn = self.config.pictures_every and (last or step % self.config.pictures_every == 0)
        if due:
            self._score(step, model)
        if drawn:
            self._draw(step, model)

    def _score(self, step: int, model: HeadModel) -> None:
        scores = self.scores(model)
        if self.log is None:
            self.log = MetricsLog(self.folder, COLUMNS, resumed_at=step - 1, file_name=VALIDATION_FILE)
            self.best = _best_so_far(self.log.path)
        self.log.append(step, scores)
        logger.info("step %d, held out: %s", step, ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
        if scores["psnr_foreground"] > self.best:
            self.best = scores["psnr_foreground"]
            provenance = {**self.provenance, "steps": step, "validation": scores}
            save_checkpoint(self.folder / BEST_FILE, model, self.template, provenance=provenance)

    @cached_property
    def people(self) -> list[TrainingExample]:
        """Those that it scores."""
        people = self.held_out()
        if not people:
            raise HeadsupError("no held-out person can be used; mend them, or set training.validation.every=0.")
        return people

    @torch.no_grad()
    def scores(self, model: HeadModel) -> dict[str, float]:
        """Means over all held-out views of all held-out people, by `COLUMNS`."""
        found: list[dict[str, float]] = []
        for example in self.people:
            maps, latent_maps = self._predict(model, example.inputs)
            device = maps.offset.device
            targets = example.targets.to(device)
            full = self._rendered(maps, targets)
            alone = self._rendered(latent_maps, targets).rgb
            for view in range(len(targets)):
                found.append(_view_scores(full.rgb[view], full.alpha[view], alone[view], targets, view))
        return {name: float(np.mean([scores[name] for scores in found])) for name in COLUMNS}

    def _predict(self, model: HeadModel, inputs: Views) -> tuple[GaussianMaps, GaussianMaps]:
        device = next(model.parameters()).device
        prediction = model(inputs.to(device))
        return prediction.maps, prediction.latent_maps

    def _rendered(self, maps: GaussianMaps, targets: Views) -> Any:
        return render(bind(maps, self.anchors.to(maps.offset.device)), targets.cameras)

    @torch.no_grad()
    def _draw(self, step: int, model: HeadModel) -> None:
        """A page with a row per person: what a held-out camera saw, the model's head, that of its latent alone."""
        rows = []
        for example in self.people[:_SHOWN_PEOPLE]:
            maps, latent_maps = self._predict(model, example.inputs)
            targets = example.targets[:2].to(maps.offset.device)
            seen = [targets.rgb, *(self._rendered(m, targets).rgb for m in (maps, latent_maps))]
            rows.append(torch.cat([picture[view] for view in range(len(targets)) for picture in seen], 1).cpu())
        width = min(row.shape[1] for row in rows)
        page = torch.cat([row[:, :width] for row in rows])
        write_image(self.folder / PICTURES_FOLDER / f"step_{step:07d}.png", to_8bit(page.numpy()))


def _view_scores(
    image: Float[Tensor, "h w 3"],
    alpha: Float[Tensor, "h w 1"],
    alone: Float[Tensor, "h w 3"],
    targets: Views,
    view: int,
) -> dict[str, float]:
    mask = targets.mask[view, ..., 0]
    wanted = targets.rgb[view]  # on black already
    inside = (mask > 0.5).float()
    rows, columns = _box(inside)
    scores = {
        "psnr_foreground": psnr(image, wanted, inside),
        "psnr_full": psnr(image, wanted),
        "ssim_foreground": ssim(image[rows, columns], wanted[rows, columns]),
        "uncovered": ((alpha[..., 0] < 0.5) * inside).sum() / inside.sum(),
        "psnr_foreground_latent": psnr(alone, wanted, inside),
    }
    return {name: float(value) for name, value in scores.items()}


def _box(mask: Float[Tensor, "h w"]) -> tuple[slice, slice]:
    """The mask's box with a margin, at least as large as SSIM's window."""
    sides = []
    for axis in (1, 0):
        taken, size = mask.amax(axis).nonzero()[:, 0], mask.shape[1 - axis]
        first, end = (int(taken[0]), int(taken[-1]) + 1) if len(taken) else (0, size)
        margin = max(round(_BOX_MARGIN * (end - first)), (12 - (end - first)) // 2)
        sides.append(slice(max(0, first - margin), min(size, end + margin)))
    return sides[0], sides[1]


def _best_so_far(path: Path) -> float:
    with path.open(newline="") as file:
        return max((float(row["psnr_foreground"]) for row in csv.DictReader(file)), default=-math.inf)
