"""What a training run does, as far as it is not the model's shape."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from headsup_cli.config_files.schema import StrictModel
from headsup_cli.model.config import ModelConfig


class LossWeights(StrictModel):
    """Weight of every term; images are in [0, 1], lengths enter in metres."""

    l1: NonNegativeFloat = 1.0
    ssim: NonNegativeFloat = 0.2
    alpha: NonNegativeFloat = 1.0
    latent: NonNegativeFloat = 0.5  # the image terms once more, for what the latent alone gives
    surface: NonNegativeFloat = 8.0  # distance of anchors and Gaussians to the tracked mesh, per metre
    offset_tv: NonNegativeFloat = 4.0  # differences between neighbouring offsets, per metre
    scale: NonNegativeFloat = 0.01  # squared log scale


class TrainingConfig(StrictModel):
    """Schedule, data and losses."""

    steps: PositiveInt = 4000
    subjects_per_step: PositiveInt = 1
    learning_rate: PositiveFloat = 5e-4
    warmup_steps: PositiveInt = 100
    weight_decay: NonNegativeFloat = 0.01
    gradient_clip: PositiveFloat = 1.0
    ema_decay: float = Field(0.998, ge=0, lt=1)
    input_views: tuple[PositiveInt, PositiveInt] = (2, 12)  # fewest and most
    render_views: PositiveInt = 3
    alignment_mm: NonNegativeFloat = 4.0  # jitter of the head frame: standard deviation along each axis
    alignment_deg: NonNegativeFloat = 3.0
    alignment_scale: NonNegativeFloat = 0.03
    unmasked_probability: float = Field(0.0, ge=0, le=1)  # how often the background is left in
    checkpoint_every: PositiveInt = 200
    seed: int = 0
    losses: LossWeights = LossWeights()

    @model_validator(mode="after")
    def _views_in_order(self) -> "TrainingConfig":
        if self.input_views[0] > self.input_views[1]:
            raise ValueError("input_views gives the fewest first and the most second")
        return self


class Preset(StrictModel):
    """A file of `headsup_cli/configs`: a model and how it is trained."""

    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
