"""The network that finds landmarks in a crop of a head: small, convolutional, told from where the head is seen.

What the whole crop shows gives a guess of where each point is, from where a mean head would have it. Around the guess
lies a heat map, whose mean is the point's position (Sun et al., "Integral Human Pose Regression", ECCV 2018), with a
standard deviation of its own, trained by Gaussian likelihood (Wood et al., "3D Face Reconstruction with Dense
Landmarks", ECCV 2022).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from headsup_cli.preprocessing.landmarks.points import POINT_COUNT

CROP_PX = 128
STRIDE_PX = 4  # of the heat maps
_WIDTHS = (32, 64, 96)  # at strides 4, 8 and 16
_BLOCKS = (1, 2, 3)
_DETAIL_WIDTH = 96  # from which the heat maps are drawn, with the finest stage
_GUESS_WIDTHS = (32, 256)  # of each cell at stride 16; hidden
_GUESS_UNIT_PX = 8.0
_GUESS_SIGMA_PX = 12.0  # by which points lie from the guess, before any training
_TARGET_SIGMA_PX = 2.5
_SIGMA_RANGE_PX = (0.15, 60.0)


class LandmarkEstimate(NamedTuple):
    """Points in the pixels of a crop, pixel centres at half-integers."""

    positions_px: Float[Tensor, "n k 2"]
    sigma_px: Float[Tensor, "n k"]  # standard deviation along either axis
    guess_px: Float[Tensor, "n k 2"]  # around which the heat maps look
    log_heat: Float[Tensor, "n k cells"]  # log of a distribution over the cells of the heat maps


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(inner)))


def _stage(inputs: int, width: int, blocks: int) -> nn.Sequential:
    """Halves the resolution."""
    entry = [nn.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*entry, *(_Residual(width) for _ in range(blocks)))


class LandmarkNetwork(nn.Module):
    """Finds `POINT_COUNT` landmarks in a square crop."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU())
        self.fine = _stage(16, fine, _BLOCKS[0])
        self.middle = _stage(fine, middle, _BLOCKS[1])
        self.coarse = _stage(middle, coarse, _BLOCKS[2])
        narrow, hidden = _GUESS_WIDTHS
        self.outlook = nn.Sequential(nn.Conv2d(coarse, narrow, 1), nn.ReLU(), nn.Flatten())
        seen = narrow * (CROP_PX // (4 * STRIDE_PX)) ** 2
        offset = nn.Linear(hidden, 2 * POINT_COUNT)
        nn.init.zeros_(offset.weight)
        nn.init.zeros_(offset.bias)
        self.guess = nn.Sequential(nn.Linear(seen + 2 * POINT_COUNT, hidden), nn.ReLU(), offset)
        self.log_guess_sigma = nn.Parameter(torch.full((POINT_COUNT,), math.log(_GUESS_SIGMA_PX)))
        self.coarse_to_middle = nn.Conv2d(coarse, middle, 1)
        self.middle_again = _Residual(middle)
        self.middle_to_fine = nn.Conv2d(middle, fine, 1)
        self.fine_again = _Residual(fine)
        detail = nn.Conv2d(fine, _DETAIL_WIDTH, 3, padding=1, bias=False)
        self.detail = nn.Sequential(detail, nn.BatchNorm2d(_DETAIL_WIDTH), nn.ReLU())
        self.heat = nn.Conv2d(fine + _DETAIL_WIDTH, POINT_COUNT, 1)
        nn.init.zeros_(self.heat.weight)
        self.log_sigma = nn.Linear(coarse, POINT_COUNT)
        self.log_sigma_here = nn.Parameter(torch.zeros(POINT_COUNT, fine + 1))

    def forward(self, images: Float[Tensor, "n 3 s s"], expected_px: Float[Tensor, "n k 2"]) -> LandmarkEstimate:
        """Find the landmarks.

        Args:
            images: sRGB in [0, 1], `CROP_PX` square, the head about upright in the middle, not facing left.
            expected_px: Where a mean head would have its landmarks, by the direction from which it is seen.
        """
        fine = self.fine(self.stem(images * 2 - 1))  # [n, c, 32, 32]
        middle = self.middle(fine)
        coarse = self.coarse(middle)  # [n, c, 8, 8]
        told = torch.cat([self.outlook(coarse), expected_px.flatten(1) / (CROP_PX / 2) - 1], 1)
        guess = expected_px + _GUESS_UNIT_PX * self.guess(told).float().unflatten(1, (-1, 2))  # [n, k, 2]
        middle = self.middle_again(middle + _doubled(self.coarse_to_middle(coarse)))
        fine = self.fine_again(fine + _doubled(self.middle_to_fine(middle)))
        around = _log_gaussian(guess, fine.shape[-1], self.log_guess_sigma.exp()[:, None, None])
        across, down = around.unbind(2)  # [n, k, 32]
        heat = self.heat(torch.cat([fine, self.detail(fine)], 1)) + (down[..., :, None] + across[..., None, :])
        log_heat = heat.flatten(2).log_softmax(-1)  # [n, k, 32 * 32]
        probability = log_heat.exp()
        grid = probability.unflatten(2, fine.shape[2:])  # [n, k, 32, 32]
        along = torch.stack([grid.sum(2), grid.sum(3)], 2)  # [n, k, 2, 32]: by column, by row
        steps = _steps_px(fine.shape[-1], fine)
        positions = (along * steps).sum(-1)  # no matrix product: autocast would make half precision of it
        spread = ((along * steps.square()).sum(-1) - positions.square()).sum(-1).clamp_min(0.25).log()  # [n, k]
        here = torch.cat([probability @ fine.flatten(2).mT, spread[..., None]], -1)  # [n, k, c + 1]
        log_sigma = self.log_sigma(coarse.mean((2, 3))) + (here * self.log_sigma_here).sum(-1)
        low, high = _SIGMA_RANGE_PX
        return LandmarkEstimate(positions, log_sigma.exp().clamp(low, high), guess, log_heat)


def _log_gaussian(points_px: Tensor, cells: int, sigma_px: float | Tensor) -> Tensor:
    """Around points [n, k, 2], at the cells' middles along either axis, but for a constant: [n, k, 2, cells]."""
    return (points_px[..., None] - _steps_px(cells, points_px)).square() / (-2 * sigma_px**2)


def _steps_px(cells: int, like: Tensor) -> Tensor:
    return (torch.arange(cells, device=like.device, dtype=like.dtype) + 0.5) * STRIDE_PX


def heat_loss(found: LandmarkEstimate, points_px: Float[Tensor, "n k 2"]) -> Float[Tensor, ""]:
    """Cross-entropy of the heat maps against a cell-wide Gaussian at the points; teaches faster than their means do."""
    cells = round(found.log_heat.shape[-1] ** 0.5)
    across, down = _log_gaussian(points_px, cells, _TARGET_SIGMA_PX).softmax(-1).unbind(2)  # [n, k, cells]
    along = (found.log_heat.unflatten(2, (cells, cells)) @ across[..., None]).squeeze(-1)
    return -(down * along).sum(-1).mean()


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
