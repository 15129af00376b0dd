"""Which parts of a picture look rendered: a critic that is trained against the model."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrizations import spectral_norm

_WIDTHS = (32, 64, 128)


class PatchDiscriminator(nn.Module):
    """Spectrally normalised convolutions that see 46 pixels (Isola et al., "Image-to-Image Translation", 2017)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((3, *_WIDTHS[:-1]), _WIDTHS, strict=True):
            layers += [spectral_norm(nn.Conv2d(before, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        layers.append(spectral_norm(nn.Conv2d(_WIDTHS[-1], 1, 4, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Float[Tensor, "v h w 3"]) -> Float[Tensor, "v 1 _ _"]:
        """How real each patch looks; sRGB in [0, 1] in."""
        return cast(Tensor, self.layers(images.permute(0, 3, 1, 2) * 2 - 1))


def adversarial_terms(
    discriminator: PatchDiscriminator, rendered: Float[Tensor, "v h w 3"], real: Float[Tensor, "v h w 3"]
) -> dict[str, Tensor]:
    """The model's term, which leaves the discriminator alone, and the discriminator's, which leaves the model alone.

    Both are to be lowered, in one backward pass (hinge loss; Lim and Ye, "Geometric GAN", 2017).
    """
    frozen = {name: value.detach() for name, value in discriminator.state_dict(keep_vars=True).items()}
    opinion = cast(Tensor, torch.func.functional_call(discriminator, frozen, (rendered,)))
    fake, true = discriminator(rendered.detach()), discriminator(real)
    return {"adversarial": -opinion.mean(), "discriminator": F.relu(1 + fake).mean() + F.relu(1 - true).mean()}
