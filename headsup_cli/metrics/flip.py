"""FLIP, how different two pictures look when one alternates between them.

Andersson, Nilsson, Akenine-Möller, Oskarsson, Åström, Fairchild: "FLIP: A Difference Evaluator for Alternating Images"
(2020), for pictures of low dynamic range. Values and names of constants are the paper's.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

PIXELS_PER_DEGREE = (
    0.7 * (3840 / 0.7) * math.pi / 180
)  # the paper's viewer: 0.7 m from a display 0.7 m and 3840 px wide

_COLOUR_EXPONENT, _COLOUR_KNEE, _COLOUR_KNEE_ERROR = 0.7, 0.4, 0.95  # q_c, p_c, p_t
_FEATURE_EXPONENT = 0.5  # q_f
_FEATURE_WIDTH_DEG = 0.082  # w
# Contrast sensitivity as sums of Gaussians a sqrt(pi / b) exp(-pi^2 x^2 / b), x in degrees: (a, b) by opponent channel.
_SENSITIVITY = (((1.0, 0.0047),), ((1.0, 0.0053),), ((34.1, 0.04), (13.5, 0.025)))
_WIDEST = 0.04
_XYZ_FROM_LINEAR = (
    (10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794),
    (2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897),
    (1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382),
)
_CIE_DELTA = 6 / 29

_Planes = Float[Tensor, "n 3 h w"]


def flip(
    image: Float[Tensor, "*batch h w 3"],
    reference: Float[Tensor, "*batch h w 3"],
    *,
    pixels_per_degree: float = PIXELS_PER_DEGREE,
) -> Float[Tensor, "*batch h w"]:
    """Error maps in [0, 1]; a picture's FLIP value is the mean of its map.

    Args:
        image: Pictures to judge, sRGB in [0, 1].
        reference: What they should be.
        pixels_per_degree: Of the viewer's field of view.
    """
    planes = (x.movedim(-1, -3).reshape(-1, 3, *x.shape[-3:-1]).clamp(0, 1) for x in (image, reference))
    seen, wanted = (_opponent(_linear(picture)) for picture in planes)  # [n, 3, h, w]
    colour = _colour_difference(seen, wanted, pixels_per_degree)
    feature = _feature_difference(seen[:, 0], wanted[:, 0], pixels_per_degree)
    return (colour ** (1 - feature)).reshape(image.shape[:-1])


def _colour_difference(seen: _Planes, wanted: _Planes, ppd: float) -> Float[Tensor, "n h w"]:
    difference = _hyab(_perceived(seen, ppd), _perceived(wanted, ppd)) ** _COLOUR_EXPONENT  # [n, h, w]
    green, blue = (seen.new_tensor(colour).view(1, 3, 1, 1) for colour in ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    largest = (_hyab(_hunt_lab(green), _hunt_lab(blue)) ** _COLOUR_EXPONENT).item()
    knee = _COLOUR_KNEE * largest
    beyond = _COLOUR_KNEE_ERROR + (difference - knee) / (largest - knee) * (1 - _COLOUR_KNEE_ERROR)
    return torch.where(difference < knee, difference * (_COLOUR_KNEE_ERROR / knee), beyond)


def _perceived(opponent: _Planes, ppd: float) -> _Planes:
    """What is left of the colours at the viewer's distance, in Lab with Hunt's adjustment."""
    radius = math.ceil(3 * math.sqrt(_WIDEST / (2 * math.pi**2)) * ppd)
    degrees = torch.arange(-radius, radius + 1, dtype=opponent.dtype, device=opponent.device) / ppd
    channels = []
    for plane, gaussians in zip(opponent.unbind(1), _SENSITIVITY, strict=True):
        kernels = [torch.exp(-(math.pi**2) * degrees.square() / b) for _, b in gaussians]
        masses = [
            a * math.sqrt(math.pi / b) * k.sum().item() ** 2 for (a, b), k in zip(gaussians, kernels, strict=True)
        ]
        weights = plane.new_tensor(masses) / sum(masses)
        blurred = torch.stack([_correlated(plane, k / k.sum(), k / k.sum()) for k in kernels])  # [gaussians, n, h, w]
        channels.append(torch.einsum("g,gnhw->nhw", weights, blurred))
    return _hunt_lab(_linear_from_opponent(torch.stack(channels, 1)).clamp(0, 1))


def _feature_difference(
    seen: Float[Tensor, "n h w"], wanted: Float[Tensor, "n h w"], ppd: float
) -> Float[Tensor, "n h w"]:
    """How much edges and points of the lightness differ."""
    deviation_px = 0.5 * _FEATURE_WIDTH_DEG * ppd
    radius = math.ceil(3 * deviation_px)
    x = torch.arange(-radius, radius + 1, dtype=seen.dtype, device=seen.device)
    gaussian = torch.exp(-x.square() / (2 * deviation_px**2))
    smooth = gaussian / gaussian.sum()
    edge, point = _balanced(-x * gaussian), _balanced((x.square() / deviation_px**2 - 1) * gaussian)

    def strength(lightness: Tensor, detector: Tensor) -> Tensor:
        across, down = _correlated(lightness, smooth, detector), _correlated(lightness, detector, smooth)
        return torch.hypot(across, down)

    first, second = ((lightness + 16) / 116 for lightness in (seen, wanted))
    differences = [(strength(first, detector) - strength(second, detector)).abs() for detector in (edge, point)]
    return (torch.maximum(*differences) / math.sqrt(2)).pow(_FEATURE_EXPONENT).clamp(0, 1)


def _balanced(kernel: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Positive weights that sum to one, negative ones to minus one."""
    return torch.where(kernel < 0, kernel / -kernel[kernel < 0].sum(), kernel / kernel[kernel > 0].sum())


def _correlated(
    planes: Float[Tensor, "n h w"], down: Float[Tensor, " k"], across: Float[Tensor, " k"]
) -> Float[Tensor, "n h w"]:
    """Correlation with an outer product, the border repeated outwards."""
    radius = len(down) // 2
    padded = F.pad(planes[:, None], (radius, radius, radius, radius), mode="replicate")
    return F.conv2d(F.conv2d(padded, across.view(1, 1, 1, -1)), down.view(1, 1, -1, 1))[:, 0]


def _hyab(first: _Planes, second: _Planes) -> Float[Tensor, "n h w"]:
    difference = first - second
    return difference[:, 0].abs() + torch.hypot(difference[:, 1], difference[:, 2])


def _hunt_lab(linear: _Planes) -> _Planes:
    """CIELAB whose chroma shrinks with lightness, as Hunt found it to."""
    x, y, z = _relative_xyz(linear).unbind(1)
    x, y, z = (
        torch.where(t > _CIE_DELTA**3, t.clamp_min(1e-9) ** (1 / 3), t / (3 * _CIE_DELTA**2) + 4 / 29)
        for t in (x, y, z)
    )
    lightness = 116 * y - 16
    return torch.stack([lightness, 0.01 * lightness * 500 * (x - y), 0.01 * lightness * 200 * (y - z)], 1)


def _opponent(linear: _Planes) -> _Planes:
    """YCxCz, the linear opponent space that contrast sensitivity is told in."""
    x, y, z = _relative_xyz(linear).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _linear_from_opponent(opponent: _Planes) -> _Planes:
    lightness, cx, cz = opponent.unbind(1)
    y = (lightness + 16) / 116
    xyz = torch.stack([y + cx / 500, y, y - cz / 200], 1)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(_relative_matrix(opponent)), xyz)


def _relative_xyz(linear: _Planes) -> _Planes:
    return torch.einsum("ij,njhw->nihw", _relative_matrix(linear), linear)


def _relative_matrix(like: Tensor) -> Float[Tensor, "3 3"]:
    """XYZ relative to the white point from linear sRGB."""
    matrix = torch.tensor(_XYZ_FROM_LINEAR, dtype=like.dtype, device=like.device)
    return matrix / matrix.sum(1, keepdim=True)


def _linear(encoded: _Planes) -> _Planes:
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
