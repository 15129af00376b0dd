"""Sharpening a head on its own pictures, in UV space."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.gaussians.uv_maps import GaussianMaps, texel_anchors
from headsup_cli.inference.options import RefineOptions
from headsup_cli.inference.refine_cameras import CameraCorrections, CameraVariables
from headsup_cli.inference.refine_priors import PriorLoss, visibility
from headsup_cli.inference.refine_variables import RefineVariables
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render
from headsup_cli.runtime.memory import keep_freed_memory
from headsup_cli.runtime.progress import progress
from headsup_cli.template.template import Template

FINAL_RATE = 0.05  # of the first one, reached exponentially
PRIOR_EVERY = 4  # steps: the priors change slowly and cost as much as drawing a view
ALPHA_WEIGHT = 0.5
CHECKS = 10  # looks at the withheld view, evenly spread
PATIENCE = 6  # checks without a gain that end the work; rates fall until the end, and most is gained there


@dataclass(frozen=True)
class RefineResult:
    """The refined maps and how they came about."""

    maps: GaussianMaps
    corrections: CameraCorrections
    steps: int
    seconds: float
    final_loss: float
    withheld: int | None  # the view that was kept aside to judge by
    withheld_psnr_db: tuple[float, float] | None  # of that view: at the start, and of these maps


def refine(
    maps: GaussianMaps,
    views: Views,
    template: Template,
    options: RefineOptions,
    *,
    background: Gaussians | None = None,
    device: torch.device | str = "cpu",
) -> RefineResult:
    """Optimise UV maps on the pictures they were predicted from.

    The maps keep their UV structure. Where `options.withhold_from` are given, the one that others show best is
    withheld: the maps returned are those that explained it best, the start among them, and work ends early when it gets
    no better.

    Args:
        maps: Where to start, at any resolution.
        views: The pictures, head frame.
        template: The surface that the maps lie on.
        options: Time or steps, resolution, weights.
        background: Gaussians of the room, for views without masks; kept as they are.
        device: Where to work.
    """
    keep_freed_memory()
    schedule = _Schedule(options)
    start = maps.resampled(texel_anchors(template, maps.resolution).to(maps.offset.device), options.resolution)
    work = _Refinement(start.map(lambda tensor: tensor.detach().to(device)), views, template, options, background)
    jury = None if work.withheld is None else _Jury(work)
    for percent in progress(range(100), "refining"):
        while (fraction := schedule.fraction()) < (percent + 1) / 100:
            work.step(schedule.steps_done, FINAL_RATE**fraction)
            schedule.steps_done += 1
        if jury is not None and (percent + 1) % (100 // CHECKS) == 0 and not jury.is_hopeful():
            break
    final = work.variables.maps() if jury is None else jury.best
    return RefineResult(
        maps=final.map(Tensor.cpu),
        corrections=work.cameras.found(),
        steps=schedule.steps_done,
        seconds=schedule.elapsed(),
        final_loss=float(work.loss),
        withheld=work.withheld,
        withheld_psnr_db=None if jury is None else (jury.first_db, jury.best_db),
    )


class _Schedule:
    """Progress from 0 to 1 by the clock or by steps."""

    def __init__(self, options: RefineOptions) -> None:
        if (options.seconds is None) == (options.steps is None):
            raise ValueError("give either seconds or steps")
        self.options, self.started, self.steps_done = options, time.monotonic(), 0

    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def fraction(self) -> float:
        if self.steps_done == 0:  # there is time for one, however long the preparations took
            return 0.0
        if self.options.steps is not None:
            return self.steps_done / max(1, self.options.steps)
        return self.elapsed() / max(1e-9, self.options.seconds or 0)


class _Refinement:
    """Variables, what they are compared with, and the optimiser."""

    def __init__(
        self, start: GaussianMaps, views: Views, template: Template, options: RefineOptions, room: Gaussians | None
    ) -> None:
        device = start.offset.device
        anchors = texel_anchors(template, options.resolution).to(device)
        self.targets = views.resized(options.image_size_px).to(device)
        spared = len(views) >= options.withhold_from
        self.withheld = _best_shown_by_others(views.cameras.centres) if spared else None
        self.variables = RefineVariables(start, anchors)
        self.cameras = CameraVariables(len(views), poses=options.cameras, device=device)
        self.loss = torch.zeros(())
        self._options, self._room = options, None if room is None else room.detach().to(device)
        seen = visibility(self.variables.start, anchors, self.targets.cameras)
        self._priors = PriorLoss(options.priors, anchors, seen)
        groups = self.variables.parameter_groups() + self.cameras.parameter_groups()
        self._optimizer = torch.optim.Adam(groups, eps=1e-12, fused=True)
        self._rates = [group["lr"] for group in groups]
        self._generator, self._queue = torch.Generator().manual_seed(options.seed), list[int]()

    def step(self, number: int, rate: float) -> None:
        """One step on a few views, with all learning rates times `rate`."""
        for group, first in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = first * rate
        displacement = self.variables.displacement()
        loss = self._image_loss(self.variables.gaussians(displacement), self._next_views())
        if number % PRIOR_EVERY == 0:
            loss = loss + PRIOR_EVERY * self._priors(self.variables, displacement)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.loss = loss.detach()

    @torch.no_grad()
    def psnr_db(self, view: int) -> float:
        """Of the whole picture, on black or before the room."""
        target = self.targets[[view]]
        rgb, _ = self._drawn(self.variables.gaussians(self.variables.displacement()), [view])
        return -10 * math.log10(float((rgb.clamp(0, 1) - target.rgb).square().mean()) + 1e-12)

    def _next_views(self) -> list[int]:
        """Every view comes once before any comes again."""
        used = [view for view in range(len(self.targets)) if view != self.withheld]
        count = min(self._options.views_per_step, len(used))
        if len(self._queue) < count:
            self._queue = [used[i] for i in torch.randperm(len(used), generator=self._generator)]
        chosen, self._queue = self._queue[:count], self._queue[count:]
        return chosen

    def _image_loss(self, gaussians: Gaussians, chosen: list[int]) -> Float[Tensor, ""]:
        """Mean error of colour before a random background, so that holes and haze cost what they hide, and of alpha."""
        target = self.targets[chosen]
        rgb, alpha = self._drawn(gaussians, chosen)
        error = rgb * self.cameras.gains()[chosen][:, None, None] - target.rgb
        if self._room is not None:
            return error.abs().mean()
        uncovered = target.mask - alpha
        behind = torch.rand(3, generator=self._generator).to(error)
        return (error + uncovered * behind).abs().mean() + ALPHA_WEIGHT * uncovered.abs().mean()

    def _drawn(self, gaussians: Gaussians, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Colour on black or before the room, and alpha, of some views."""

        def scene(head: Gaussians) -> Gaussians:
            return head if self._room is None else concatenate([head, self._room])

        cameras = self.targets.cameras
        if not self.cameras.poses:
            output = render(scene(gaussians), cameras[chosen])
            return output.rgb, output.alpha
        outputs = [render(scene(self.cameras.moved(gaussians, view)), cameras[view]) for view in chosen]
        return torch.cat([output.rgb for output in outputs]), torch.cat([output.alpha for output in outputs])


class _Jury:
    """Keeps the maps that explain the withheld view best."""

    def __init__(self, work: _Refinement) -> None:
        self.work, self.best = work, work.variables.maps()
        self.first_db = self.best_db = self._judged()
        self._without_gain = 0

    def is_hopeful(self) -> bool:
        """Look at the maps as they stand, and say whether to go on."""
        found_db = self._judged()
        self._without_gain += 1
        if found_db > self.best_db:
            self.best, self.best_db, self._without_gain = self.work.variables.maps(), found_db, 0
        return self._without_gain < PATIENCE

    def _judged(self) -> float:
        if self.work.withheld is None:
            raise ValueError("no view was withheld")
        return self.work.psnr_db(self.work.withheld)


def _best_shown_by_others(centres: Float[Tensor, "v 3"]) -> int:
    """The view with the smallest angles to two others, seen from the head."""
    directions = torch.nn.functional.normalize(centres, dim=-1)
    cosines = (directions @ directions.T).fill_diagonal_(-1.0)
    return int(cosines.topk(2).values.clamp(-1, 1).acos().sum(-1).argmin())
