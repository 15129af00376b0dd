"""From the raw numbers of a network's last layer to UV maps of Gaussian attributes within sane bounds."""

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.gaussians.uv_maps import GaussianMaps

SH_COEFFICIENTS = 4  # degree 1
RAW_CHANNELS = 3 + 3 + 3 + 1 + 3 * SH_COEFFICIENTS
MAX_LOG_SCALE = 1.6  # five times the texel's size, or a fifth of it
RAW_SPLIT = (3, 3, 3, 1, 3, 3 * (SH_COEFFICIENTS - 1))
_UNIT_OFFSET_M = 0.02  # what a raw offset of 1 means
_COLOUR_RANGE = 0.6  # colours lie in 0.5 +- this
_OPACITY_BIAS = 2.0  # raw 0 is an opacity of 0.88


def maps_from_raw(raw: Float[Tensor, "1 22 r r"], *, max_offset_m: float) -> GaussianMaps:
    """Bound every attribute smoothly; raw 0 is the bare template in mid grey.

    Args:
        raw: Offset, log scale, rotation (xyz about the tangent frame), opacity, colour, degree-1 coefficients.
        max_offset_m: Limit of the offset along each axis.
    """
    offset, log_scale, rotation, opacity, colour, directional = raw[0].permute(1, 2, 0).float().split(RAW_SPLIT, -1)
    real_part = torch.ones_like(rotation[..., :1])
    dc = torch.tanh(colour) * (_COLOUR_RANGE / SH_C0)
    return GaussianMaps(
        offset=max_offset_m * torch.tanh(offset * (_UNIT_OFFSET_M / max_offset_m)),
        log_scale=MAX_LOG_SCALE * torch.tanh(log_scale / MAX_LOG_SCALE),
        rotation=torch.cat([real_part, torch.tanh(rotation)], -1),
        opacity_logit=8 * torch.tanh((opacity + _OPACITY_BIAS) / 8),
        sh=torch.cat([dc[..., None, :], 0.3 * torch.tanh(directional).unflatten(-1, (SH_COEFFICIENTS - 1, 3))], -2),
    )


def raw_from_offset(offset: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The raw offset that gives a small `offset` (metres)."""
    return offset / _UNIT_OFFSET_M


def offset_from_raw(raw: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The offset (metres) that a small raw offset gives."""
    return raw * _UNIT_OFFSET_M


def raw_from_colour(rgb: Float[Tensor, "1 3 r r"]) -> Float[Tensor, "1 3 r r"]:
    """The raw colour that gives `rgb` in [0, 1]."""
    return torch.atanh((rgb.clamp(0, 1) - 0.5) / _COLOUR_RANGE)
