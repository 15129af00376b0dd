"""What a training run does, as far as it is not the model's shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from headsup_cli.config_files.schema import StrictModel
from headsup_cli.model.config import ModelConfig

ViewRange = tuple[PositiveInt, PositiveInt]  # fewest and most


class Schedule(StrictModel):
    """How long and how fast; what `loop.optimise` needs to know, whatever is trained."""

    steps: PositiveInt = 4000
    learning_rate: PositiveFloat = 5e-4
    warmup_steps: PositiveInt = 100
    weight_decay: NonNegativeFloat = 0.01
    gradient_clip: PositiveFloat = 1.0
    ema_decay: float = Field(0.998, ge=0, lt=1)
    checkpoint_every: PositiveInt = 200
    seed: int = 0

    def learning_rate_at(self, step: int) -> float:
        """Of step 1, 2 and so on: a linear warm-up, then half a cosine down to a fiftieth."""
        done = step - 1
        if done < self.warmup_steps:
            return self.learning_rate * ((done + 1) / self.warmup_steps)
        progress = min(1.0, (done - self.warmup_steps) / max(1, self.steps - self.warmup_steps))
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


class LossWeights(StrictModel):
    """Weight of every term; images are in [0, 1], lengths enter in metres. A weight of 0 saves the work."""

    l1: NonNegativeFloat = 1.0
    ssim: NonNegativeFloat = 0.2
    alpha: NonNegativeFloat = 1.0
    perceptual: NonNegativeFloat = 0.0  # LPIPS with `perceptual_weights`, else gradients at several scales
    adversarial: NonNegativeFloat = 0.0  # a patch discriminator's opinion, from step `adversarial_from` on
    eyes_mouth: NonNegativeFloat = 0.0  # L1 once more, where eyes and mouth are seen
    drafts: NonNegativeFloat = 1.0  # images and maps once more, for what each round of feedback starts from
    latent: NonNegativeFloat = 0.5  # L1, SSIM and alpha once more, for what the latent alone gives
    surface: NonNegativeFloat = 8.0  # distance of anchors and Gaussians to the tracked mesh, per metre
    template: NonNegativeFloat = 0.5  # distance of Gaussians to the template where there is no tracked mesh, per metre
    offset_tv: NonNegativeFloat = 4.0  # differences between neighbouring offsets, per metre
    scale: NonNegativeFloat = 0.01  # squared log scale


class StageConfig(StrictModel):
    """One stage of a schedule; what it leaves out is as the run has it."""

    steps: PositiveInt
    subjects_per_step: PositiveInt | None = None
    learning_rate: PositiveFloat | None = None
    warmup_steps: PositiveInt | None = None
    image_size_px: PositiveInt | None = None
    input_views: ViewRange | None = None
    render_views: PositiveInt | None = None
    render_scale: PositiveInt | None = None
    losses: dict[str, NonNegativeFloat] = Field(default_factory=dict)  # the weights that differ

    @field_validator("losses")
    @classmethod
    def _losses_exist(cls, losses: dict[str, float]) -> dict[str, float]:
        for name in losses:
            if name not in LossWeights.model_fields:
                raise ValueError(f"one of {', '.join(LossWeights.model_fields)}")
        return losses


class ValidationConfig(StrictModel):
    """People and cameras that training never sees, and how often they are looked at."""

    every: NonNegativeInt = 500  # steps; 0 is never
    pictures_every: NonNegativeInt = 2000  # steps between pages of sample pictures; 0 is never
    people: PositiveInt = 8  # looked at each time
    people_share: float = Field(0.02, gt=0, lt=1)  # of captures that are held out; all of a person's go together
    camera_share: float = Field(0.125, gt=0, lt=1)  # of a capture's cameras that are held out, the same in a fixed rig
    input_views: PositiveInt = 8


class TrainingConfig(Schedule):
    """Schedule, data and losses of the model that reconstructs heads."""

    subjects_per_step: PositiveInt = 1  # over all processes
    image_size_px: PositiveInt | None = None  # longer side of pictures and renderings; the model's by default
    input_views: ViewRange = (2, 12)
    render_views: PositiveInt = 3
    render_scale: PositiveInt = 1  # renderings are drawn so much larger and averaged, see docs/training.md
    alignment_mm: NonNegativeFloat = 4.0  # jitter of the head frame: standard deviation along each axis
    alignment_deg: NonNegativeFloat = 3.0
    alignment_scale: NonNegativeFloat = 0.03
    colour_jitter: float = Field(0.0, ge=0, le=0.5)  # of gains and gamma, the same in all views of a subject
    unmasked_probability: float = Field(0.0, ge=0, le=1)  # how often the background is left in
    precision: Literal["float32", "bfloat16"] = "float32"  # of convolutions and attention; weights stay float32
    trained_parts: tuple[str, ...] = ()  # of the model, such as `feedback`; the others stay as --init has them; all
    recompute: bool = False  # fusion blocks in the backward pass, instead of keeping what they computed
    perceptual_weights: Path | None = None  # VGG16 (and LPIPS's own) weights, see docs/training.md
    adversarial_from: NonNegativeInt = 0  # step
    losses: LossWeights = LossWeights()
    validation: ValidationConfig = ValidationConfig()
    stages: tuple[StageConfig, ...] = ()  # one after the other; none: the whole run is one

    @model_validator(mode="before")
    @classmethod
    def _steps_of_all_stages(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("stages") and "steps" not in data:
            stages = [stage if isinstance(stage, dict) else dict(stage) for stage in data["stages"]]
            return {**data, "steps": sum(s["steps"] for s in stages if isinstance(s.get("steps"), int))}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        for views in (self.input_views, *(stage.input_views or (1, 1) for stage in self.stages)):
            if views[0] > views[1]:
                raise ValueError("input_views gives the fewest first and the most second")
        if self.stages and self.steps != sum(stage.steps for stage in self.stages):
            raise ValueError("steps is the sum of the stages' steps; leave it out")
        return self

    def plan(self) -> list[Stage]:
        """The stages with everything that each leaves out filled in."""
        found: list[Stage] = []
        steps = examples = 0
        for stage in self.stages or (StageConfig(steps=self.steps),):
            changes = {name: value for name, value in stage if name != "losses" and value is not None}
            losses = self.losses.model_copy(update=stage.losses)
            config = self.model_copy(update={**changes, "losses": losses, "stages": ()})
            found.append(Stage(steps, examples, config))
            steps += config.steps
            examples += config.steps * config.subjects_per_step
        return found

    def stage_at(self, step: int) -> Stage:
        """The stage that step 1, 2 and so on belongs to."""
        return [stage for stage in self.plan() if stage.first_step < step][-1]

    def learning_rate_at(self, step: int) -> float:
        """As `Schedule.learning_rate_at`, each stage warming up and cooling down by itself."""
        if not self.stages:
            return super().learning_rate_at(step)
        stage = self.stage_at(step)
        return stage.config.learning_rate_at(step - stage.first_step)

    def uses(self, term: str) -> bool:
        """Whether any stage gives the term of this name a weight."""
        return any(getattr(stage.config.losses, term) > 0 for stage in self.plan())


@dataclass(frozen=True)
class Stage:
    """One stage of a run, complete."""

    first_step: int  # steps before it
    first_example: int  # examples before it
    config: TrainingConfig  # without stages of its own

    @property
    def examples(self) -> int:
        """How many examples it takes, over all processes."""
        return self.config.steps * self.config.subjects_per_step


class Preset(StrictModel):
    """A file of `headsup_cli/configs`: a model and how it is trained."""

    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
