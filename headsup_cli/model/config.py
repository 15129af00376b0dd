"""Everything that decides the shape of a model's weights."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from headsup_cli.config_files.schema import StrictModel

DEFAULT_CHECKPOINT = Path(__file__).parent / "weights" / "small.safetensors"  # the weights that ship
EXPRESSION_FILE = "expression.safetensors"  # the expression transformer, beside the weights whose latents it moves
AttentionKind = Literal["projected", "global"]


class EncoderConfig(StrictModel):
    """ResNet over RGB, mask and Plücker rays, with a top-down pyramid."""

    channels: tuple[PositiveInt, ...] = (32, 64, 128)  # per stage; the first has stride 4, each next halves the size
    blocks: tuple[PositiveInt, ...] = (1, 2, 2)  # residual blocks per stage
    pyramid_channels: PositiveInt = 64  # of every level of the pyramid
    image_size_px: PositiveInt = 256  # longer side of the pictures the encoder is given


class FusionStageConfig(StrictModel):
    """Some fusion blocks at one UV resolution."""

    resolution: PositiveInt = 32  # UV tokens along one side
    channels: PositiveInt = 128
    blocks: PositiveInt = 3
    level: int = Field(1, ge=0)  # pyramid level that is looked up, 0 = finest
    depths_mm: tuple[float, ...] = (-16.0, -6.0, 0.0, 6.0, 16.0)  # tried along the normal of the anchor
    max_step_mm: float = 20.0  # how far one block may move an anchor along each axis
    heads: PositiveInt = 4
    self_attention: bool = True


class LatentConfig(StrictModel):
    """The compact grid that `sample` and `animate` work on."""

    resolution: PositiveInt = 32
    channels: PositiveInt = 32


class DecoderConfig(StrictModel):
    """ResNet from the latent to UV maps; each entry doubles the resolution of the one before."""

    channels: tuple[PositiveInt, ...] = (128, 96, 48)
    blocks: PositiveInt = 2


class DetailConfig(StrictModel):
    """Residual maps that carry the images' own pixels to the texels."""

    channels: PositiveInt = 48
    query_channels: PositiveInt = 24  # per view and texel


class FeedbackConfig(StrictModel):
    """Rounds in which the head is drawn into its own views and corrected by what differs."""

    rounds: PositiveInt = 3
    image_size_px: PositiveInt = 512  # longer side of the pictures compared
    depths_mm: tuple[float, ...] = (-10.0, -4.0, -1.5, 0.0, 1.5, 4.0, 10.0)  # looked up along the normal of the texel
    view_channels: PositiveInt = 32  # per view and texel
    channels: PositiveInt = 48
    blocks: PositiveInt = 2


class BackgroundConfig(StrictModel):
    """Gaussians on a sphere around the rig, from one small vector."""

    latent_channels: PositiveInt = 32
    rows: PositiveInt = 16  # elevation bands; twice as many Gaussians around


class ModelConfig(StrictModel):
    """The whole network."""

    attention: AttentionKind = "projected"
    encoder: EncoderConfig = EncoderConfig()
    fusion: tuple[FusionStageConfig, ...] = (FusionStageConfig(),)
    latent: LatentConfig = LatentConfig()
    decoder: DecoderConfig = DecoderConfig()
    detail: DetailConfig | None = DetailConfig()
    feedback: FeedbackConfig | None = None
    background: BackgroundConfig = BackgroundConfig()
    max_offset_m: float = 0.25  # of a Gaussian from its texel, along each axis

    @property
    def image_size_px(self) -> int:
        """Longer side of the pictures that the model makes use of; larger ones it makes smaller itself."""
        compared = 0 if self.feedback is None else self.feedback.image_size_px
        return max(self.encoder.image_size_px, compared)

    @property
    def resolution(self) -> int:
        """Texels along one side of the predicted maps."""
        return self.latent.resolution * 2 ** (len(self.decoder.channels) - 1)


def expression_weights(checkpoint: Path | None) -> Path:
    """Where the expression transformer of some weights is: beside them, else beside those that come with headsup."""
    beside = (checkpoint or DEFAULT_CHECKPOINT).with_name(EXPRESSION_FILE)
    return beside if beside.is_file() else DEFAULT_CHECKPOINT.with_name(EXPRESSION_FILE)
