import pytest
import torch

from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.gaussians.rotations import matrix_from_quat, quat_from_matrix, quat_multiply
from headsup_cli.gaussians.spherical_harmonics import sh_basis, sh_rotation
from headsup_cli.gaussians.transform import transform_gaussians


def random_rotation(seed: int) -> torch.Tensor:
    quat = torch.randn(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return matrix_from_quat(quat)


def random_gaussians(count: int, degree: int) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator),
        quats=torch.randn(count, 4, generator=generator),
        scales=torch.rand(count, 3, generator=generator) + 0.01,
        opacities=torch.rand(count, generator=generator),
        sh=torch.randn(count, (degree + 1) ** 2, 3, generator=generator),
    )


def covariances(gaussians: Gaussians) -> torch.Tensor:
    axes = matrix_from_quat(gaussians.quats) * gaussians.scales[:, None]
    return axes @ axes.mT


@pytest.mark.parametrize("seed", range(8))
def test_quaternion_and_matrix_are_inverse(seed):
    rotation = random_rotation(seed)
    quat = quat_from_matrix(rotation)
    assert quat[0] >= 0
    torch.testing.assert_close(matrix_from_quat(quat), rotation)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_a_quaternion(axis):
    rotation = -torch.eye(3)
    rotation[axis, axis] = 1
    torch.testing.assert_close(matrix_from_quat(quat_from_matrix(rotation)), rotation)


def test_quaternion_product_composes_rotations():
    a, b = random_rotation(1), random_rotation(2)
    product = quat_multiply(quat_from_matrix(a), quat_from_matrix(b))
    torch.testing.assert_close(matrix_from_quat(product), a @ b)


def test_degree_one_signs_are_those_of_the_reference_code():
    direction = torch.tensor([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])
    c1 = 0.4886025119029199
    expected = torch.tensor([[0.0, c1 * 0.8, -c1 * 0.6], [-c1, 0.0, 0.0]])
    torch.testing.assert_close(sh_basis(direction, 1)[:, 1:], expected)


def test_basis_is_orthonormal_on_the_sphere():
    # Gauss-Legendre in z times a uniform rule in azimuth integrates products of degree <= 6 exactly.
    z, weights = (torch.from_numpy(v) for v in __import__("numpy").polynomial.legendre.leggauss(8))
    azimuth = torch.arange(16, dtype=torch.float64) / 16 * 2 * torch.pi
    radius = (1 - z * z).sqrt()
    directions = torch.stack(
        [radius[:, None] * azimuth.cos(), radius[:, None] * azimuth.sin(), z[:, None].expand(-1, 16)], -1
    )
    basis = sh_basis(directions, 3).flatten(0, 1)
    gram = basis.T @ (basis * (weights[:, None].expand(-1, 16) * 2 * torch.pi / 16).flatten()[:, None])
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("degree", range(4))
def test_rotated_coefficients_give_the_same_colour_in_the_rotated_direction(degree):
    rotation = random_rotation(3)
    directions = torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64), dim=-1)
    coefficients = torch.randn((degree + 1) ** 2, 3, dtype=torch.float64)
    rotated = sh_basis(directions @ rotation.T, degree) @ sh_rotation(rotation, degree) @ coefficients
    torch.testing.assert_close(rotated, sh_basis(directions, degree) @ coefficients)


def test_similarity_moves_means_and_covariances():
    gaussians = random_gaussians(20, 2)
    rotation, scale = random_rotation(4).float(), 2.5
    matrix = torch.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scale * rotation, torch.tensor([0.1, -2.0, 3.0])
    moved = transform_gaussians(gaussians, matrix)
    torch.testing.assert_close(moved.means, gaussians.means @ matrix[:3, :3].T + matrix[:3, 3])
    expected = matrix[:3, :3] @ covariances(gaussians) @ matrix[:3, :3].T
    torch.testing.assert_close(covariances(moved), expected, atol=1e-4, rtol=1e-4)
    back = transform_gaussians(moved, torch.linalg.inv(matrix))
    torch.testing.assert_close(back.sh, gaussians.sh, atol=1e-4, rtol=1e-4)


def test_concatenation_pads_lower_degrees_with_zeros():
    low, high = random_gaussians(3, 0), random_gaussians(2, 2)
    both = concatenate([low, high])
    assert len(both) == 5
    assert both.sh_degree == 2
    assert torch.equal(both.sh[:3, :1], low.sh)
    assert not both.sh[:3, 1:].any()
