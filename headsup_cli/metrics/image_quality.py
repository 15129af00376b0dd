"""How close two pictures are: PSNR and SSIM, batched and differentiable."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

_WINDOW_PX = 11
_SIGMA_PX = 1.5


def psnr(
    image: Float[Tensor, "*batch h w c"],
    reference: Float[Tensor, "*batch h w c"],
    mask: Float[Tensor, "*batch h w"] | None = None,
) -> Float[Tensor, "*batch"]:
    """Peak signal-to-noise ratio in dB of values in [0, 1], one per picture.

    Args:
        image: Pictures to judge.
        reference: What they should be.
        mask: Weight of every pixel; None weighs all the same. A mask that is empty gives NaN.
    """
    squared_error = (image - reference).square().mean(-1)  # [*batch, h, w]
    weight = torch.ones_like(squared_error) if mask is None else mask
    mean = (squared_error * weight).sum((-2, -1)) / weight.sum((-2, -1))  # [*batch]
    return -10.0 * torch.log10(mean)


def ssim(
    image: Float[Tensor, "*batch h w c"],
    reference: Float[Tensor, "*batch h w c"],
    *,
    border: Literal["inside", "reflect"] = "inside",
) -> Float[Tensor, "*batch"]:
    """Mean structural similarity of values in [0, 1], one per picture.

    Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004): Gaussian window of
    11 pixels and sigma 1.5, K1 = 0.01, K2 = 0.03, averaged over channels and windows.

    Args:
        image: Pictures to judge, at least 11 pixels in width and height.
        reference: What they should be.
        border: Which windows count: those that lie fully inside, as in the paper, or one around every pixel, the
            pictures being continued by their reflection, as torchmetrics has it.
    """
    if border == "reflect":
        image, reference = _reflected(image), _reflected(reference)
    return ssim_map(image, reference).mean((-3, -2, -1))


def ssim_map(
    image: Float[Tensor, "*batch h w c"], reference: Float[Tensor, "*batch h w c"]
) -> Float[Tensor, "*batch h-10 w-10 c"]:
    """Structural similarity of every window of `ssim` that lies fully inside; entry (i, j) is centred on (i+5, j+5)."""
    *batch, height, width, channels = image.shape
    x, y = (picture.movedim(-1, -3).reshape(-1, height, width) for picture in (image, reference))  # [n, h, w]
    moments = torch.stack([x, y, x * x + y * y, x * y])  # the two variances only ever appear as their sum
    mean_x, mean_y, mean_squares, mean_product = _gaussian_blur(moments)  # [n, h-10, w-10] each
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * product + c1) * (2 * (mean_product - product) + c2)
    similarity = similarity / ((squares + c1) * (mean_squares - squares + c2))
    return similarity.reshape(*batch, channels, *similarity.shape[-2:]).movedim(-3, -1)


def _reflected(images: Float[Tensor, "*batch h w c"]) -> Float[Tensor, "*batch h+10 w+10 c"]:
    planes = images.movedim(-1, -3).reshape(-1, 1, *images.shape[-3:-1])  # [n, 1, h, w]
    padded = F.pad(planes, (_WINDOW_PX // 2,) * 4, mode="reflect")
    return padded.reshape(*images.shape[:-3], images.shape[-1], *padded.shape[-2:]).movedim(-3, -1)


def _gaussian_blur(images: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h-10 w-10"]:
    # Two products with banded matrices: on a CPU about seven times as fast as convolutions, forward and backward.
    return _window_matrix(images.shape[-2], images) @ images @ _window_matrix(images.shape[-1], images).mT


def _window_matrix(size: int, like: Tensor) -> Float[Tensor, "{size}-10 {size}"]:
    """The matrix whose row i holds the Gaussian window over entries i to i + 10."""
    offset = torch.arange(_WINDOW_PX, device=like.device, dtype=like.dtype) - _WINDOW_PX // 2
    window = torch.exp(-0.5 * (offset / _SIGMA_PX).square())
    matrix = torch.zeros(size - _WINDOW_PX + 1, size, device=like.device, dtype=like.dtype)
    rows = torch.arange(len(matrix), device=like.device)
    for i, weight in enumerate(window / window.sum()):
        matrix[rows, rows + i] = weight
    return matrix
