import pytest
import torch

from headsup_cli.evaluation.latent_distribution import density_and_coverage, frechet_distance, nearest_distances


def normal(count: int, seed: int, dimensions: int = 4) -> torch.Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def test_frechet_distance_of_shifted_and_scaled_gaussians_is_the_formulas():
    a = normal(20_000, 0)
    shift = torch.tensor([1.0, 0.0, -2.0, 0.0])
    assert frechet_distance(a, a + shift) == pytest.approx(5.0, abs=1e-4)
    assert frechet_distance(a, 3 * a) == pytest.approx(4 * 2**2, rel=0.05)  # d (3 - 1)^2
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)


def test_frechet_distance_is_symmetric_and_sees_correlation():
    a, b = normal(4000, 0), normal(4000, 1)
    twisted = torch.stack([b[:, 0], b[:, 0] + 0.1 * b[:, 1], b[:, 2], b[:, 3]], 1)
    assert frechet_distance(a, twisted) == pytest.approx(frechet_distance(twisted, a), rel=1e-6)
    assert frechet_distance(a, twisted) > 20 * frechet_distance(a, b)


def test_two_crowds_of_one_kind_cover_each_other():
    density, coverage = density_and_coverage(normal(400, 0), normal(400, 1))
    assert density == pytest.approx(1, abs=0.15)
    assert coverage > 0.9


def test_a_generator_that_repeats_itself_covers_little_but_is_dense():
    real = normal(400, 0)
    density, coverage = density_and_coverage(real, real[:1] + 1e-4 * normal(400, 1))
    assert coverage < 0.1
    assert density > 0.9


def test_a_generator_of_outliers_has_neither():
    density, coverage = density_and_coverage(normal(200, 0), normal(200, 1) + 50)
    assert (density, coverage) == (0.0, 0.0)


def test_the_nearest_is_found():
    apart, which = nearest_distances(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.tensor([[3.0, 4.0], [9.0, 1.0]]))
    assert apart.tolist() == pytest.approx([5.0, 1.0])
    assert which.tolist() == [0, 1]
