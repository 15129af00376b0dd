"""The network: views of a head in, a head of Gaussians out, in one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.uv_maps import GaussianMaps, texel_anchors
from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.attributes import maps_from_raw
from headsup_cli.model.background import BackgroundModel
from headsup_cli.model.bottleneck import Bottleneck
from headsup_cli.model.config import ModelConfig
from headsup_cli.model.decoder import LatentDecoder
from headsup_cli.model.detail import DetailMap
from headsup_cli.model.encoder import ImageEncoder
from headsup_cli.model.feedback import RenderFeedback
from headsup_cli.model.sightings import sight
from headsup_cli.model.uv_fusion import UvFusion
from headsup_cli.model.views import Views
from headsup_cli.template.template import Template


@dataclass(frozen=True)
class HeadPrediction:
    """What one forward pass says about a subject, in the head frame."""

    latent: Float[Tensor, "z q q"]
    maps: GaussianMaps  # with detail and feedback where the model has them
    latent_maps: GaussianMaps  # what the latent alone gives
    anchor_offset: Float[Tensor, "3 s s"]  # metres, tangent frame: where the fusion moved the finest anchors
    background: Gaussians | None  # only for views without masks
    drafts: tuple[GaussianMaps, ...] = ()  # the maps before each round of feedback, the first one first


class HeadModel(nn.Module):
    """Encoder, UV fusion, latent, decoder, detail, feedback and background (docs/model.md)."""

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
        self.feedback = None if config.feedback is None else RenderFeedback(
            config.feedback,
            self.anchors,
            texel_anchors(template, config.resolution),
            max_offset_m=config.max_offset_m,
        )  # fmt: skip
        self.background = BackgroundModel(config.background, pyramid)

    def forward(self, views: Views) -> HeadPrediction:
        """Predict a head from views of any number, in any order."""
        views = views.in_own_order()
        small = views.at_most(self.config.encoder.image_size_px)
        pyramid = self.encoder(small)
        tokens, offset = self.fusion(pyramid, small.cameras)
        seen = sight(self.anchors, offset, small)
        latent = self.bottleneck(tokens, seen)
        raw, features = self.decoder(latent)
        detailed = raw if self.detail is None else self.detail(raw, features, tokens, seen, pyramid, small)
        room = None if views.masked else self.background(pyramid, small)
        rounds = [detailed] if self.feedback is None else [detailed, *self.feedback(detailed, views, room)]
        *drafts, maps = map(self._maps, rounds)
        return HeadPrediction(
            latent=latent[0],
            maps=maps,
            latent_maps=self._maps(raw),
            anchor_offset=offset[0],
            background=room,
            drafts=tuple(drafts),
        )

    def encode(self, views: Views) -> Float[Tensor, "z q q"]:
        """The latent alone."""
        small = views.in_own_order().at_most(self.config.encoder.image_size_px)
        tokens, offset = self.fusion(self.encoder(small), small.cameras)
        return self.bottleneck(tokens, sight(self.anchors, offset, small))[0]

    def decode(self, latent: Float[Tensor, "z q q"]) -> GaussianMaps:
        """The maps that a latent alone describes."""
        return self._maps(self.decoder(latent[None])[0])

    def _maps(self, raw: Float[Tensor, "1 22 r r"]) -> GaussianMaps:
        return maps_from_raw(raw, max_offset_m=self.config.max_offset_m)
