"""The network: views of a head in, a head of Gaussians out, in one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.uv_maps import GaussianMaps
from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.attributes import maps_from_raw
from headsup_cli.model.background import BackgroundModel
from headsup_cli.model.bottleneck import Bottleneck
from headsup_cli.model.config import ModelConfig
from headsup_cli.model.decoder import LatentDecoder
from headsup_cli.model.detail import DetailMap
from headsup_cli.model.encoder import ImageEncoder
from headsup_cli.model.sightings import sight
from headsup_cli.model.uv_fusion import UvFusion
from headsup_cli.model.views import Views
from headsup_cli.template.template import Template


@dataclass(frozen=True)
class HeadPrediction:
    """What one forward pass says about a subject, in the head frame."""

    latent: Float[Tensor, "z q q"]
    maps: GaussianMaps  # with detail where the model has it
    latent_maps: GaussianMaps  # what the latent alone gives
    anchor_offset: Float[Tensor, "3 s s"]  # metres, tangent frame: where the fusion moved the finest anchors
    background: Gaussians | None  # only for views without masks


class HeadModel(nn.Module):
    """Encoder, UV fusion, latent, decoder, detail and background (docs/model.md)."""

    def __init__(self, config: ModelConfig, template: Template) -> None:
        super().__init__()
        self.config = config
        finest, pyramid = config.fusion[-1], config.encoder.pyramid_channels
        self.encoder = ImageEncoder(config.encoder)
        self.fusion = UvFusion(config.attention, config.fusion, pyramid, template)
        self.anchors = UvAnchors(template, config.resolution)
        self.bottleneck = Bottleneck(
            finest.channels,
            config.latent.channels,
            latent_resolution=config.latent.resolution,
            resolution=config.resolution,
        )
        self.decoder = LatentDecoder(config.latent, config.decoder, template)
        self.detail = None if config.detail is None else DetailMap(
            config.detail,
            decoder=config.decoder.channels[-1],
            tokens=finest.channels,
            pyramid=pyramid,
            anchors=self.anchors,
        )  # fmt: skip
        self.background = BackgroundModel(config.background, pyramid)

    def forward(self, views: Views) -> HeadPrediction:
        """Predict a head from views of any number, in any order."""
        pyramid = self.encoder(views)
        tokens, offset = self.fusion(pyramid, views.cameras)
        seen = sight(self.anchors, offset, views)
        latent = self.bottleneck(tokens, seen)
        raw, features = self.decoder(latent)
        detailed = raw if self.detail is None else self.detail(raw, features, tokens, seen, pyramid, views)
        return HeadPrediction(
            latent=latent[0],
            maps=self._maps(detailed),
            latent_maps=self._maps(raw),
            anchor_offset=offset[0],
            background=None if views.masked else self.background(pyramid, views),
        )

    def encode(self, views: Views) -> Float[Tensor, "z q q"]:
        """The latent alone."""
        tokens, offset = self.fusion(self.encoder(views), views.cameras)
        return self.bottleneck(tokens, sight(self.anchors, offset, views))[0]

    def decode(self, latent: Float[Tensor, "z q q"]) -> GaussianMaps:
        """The maps that a latent alone describes."""
        return self._maps(self.decoder(latent[None])[0])

    def _maps(self, raw: Float[Tensor, "1 22 r r"]) -> GaussianMaps:
        return maps_from_raw(raw, max_offset_m=self.config.max_offset_m)
