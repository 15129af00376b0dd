"""How two crowds of feature vectors relate: moments, overlap, and who is whose nearest."""

import torch
from jaxtyping import Float
from torch import Tensor

NEIGHBOURS = 5  # Naeem et al. choose 5


def frechet_distance(first: Float[Tensor, "n d"], second: Float[Tensor, "m d"]) -> float:
    """Squared Fréchet distance of the Gaussians with the crowds' means and covariances (Dowson and Landau, 1982).

    The formula behind FID: |a - b|^2 + tr(A + B - 2 (A B)^(1/2)). It grows as crowds shrink, so compare distances
    between crowds of the same size.
    """
    a, b = first.double(), second.double()
    root = _root(_covariance(a))
    cross = torch.linalg.eigvalsh(root @ _covariance(b) @ root).clamp_min(0).sqrt().sum()
    spread = _covariance(a).trace() + _covariance(b).trace() - 2 * cross
    return float((a.mean(0) - b.mean(0)).square().sum() + spread)


def density_and_coverage(
    real: Float[Tensor, "n d"], made: Float[Tensor, "m d"], neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """How much of what is made lies among the real, and how much of the real is near something made.

    Naeem et al., "Reliable fidelity and diversity metrics for generative models" (ICML 2020): a ball about each real
    sample reaches to its k-th nearest real one. Density is the mean number of balls that hold a made sample, divided by
    k (1 for the same distribution, and it may exceed 1); coverage is the share of balls that hold at least one.
    """
    apart = torch.cdist(real, real)
    radius = apart.kthvalue(min(neighbours + 1, len(real)), dim=1).values  # the first is the sample itself
    inside = torch.cdist(real, made) < radius[:, None]  # [n, m]
    return float(inside.sum() / (neighbours * inside.shape[1])), float(inside.any(1).float().mean())


def nearest_distances(crowd: Float[Tensor, "n d"], others: Float[Tensor, "m d"]) -> tuple[Float[Tensor, " n"], Tensor]:
    """Distance of each of the crowd to its nearest among the others, and which one that is."""
    nearest = torch.cdist(crowd, others).min(1)
    return nearest.values, nearest.indices


def _covariance(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    centred = x - x.mean(0)
    return centred.T @ centred / max(len(x) - 1, 1)


def _root(symmetric: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    values, vectors = torch.linalg.eigh(symmetric)
    return vectors @ (values.clamp_min(0).sqrt()[:, None] * vectors.T)
