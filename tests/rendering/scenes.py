"""Small random scenes that each lean on one rule of the rasteriser."""

from collections.abc import Callable

import torch

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians


def random_gaussians(
    n: int,
    seed: int,
    degree: int = 1,
    spread: float = 0.3,
    scale: tuple[float, float] = (0.004, 0.2),
    opacity: tuple[float, float] = (0.0, 1.0),
) -> Gaussians:
    """Around the origin, metres, float64; quaternions of random length."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    low, high = torch.tensor(scale, dtype=torch.float64).log().tolist()
    return Gaussians(
        normal(n, 3) * spread,
        normal(n, 4) * 2,
        uniform(low, high, n, 3).exp(),
        uniform(*opacity, n),
        normal(n, (degree + 1) ** 2, 3) * 0.5,
    )


def orbit(
    views: int = 2, width: int = 50, height: int = 39, distance: float = 1.0, centre: tuple[float, float] = (0.4, 0.6)
) -> Cameras:
    """Cameras turned about the origin, principal point off the middle, float64."""
    pose = torch.eye(4, dtype=torch.float64).repeat(views, 1, 1)
    angles = torch.arange(views, dtype=torch.float64) * 0.5
    pose[:, 0, 0], pose[:, 0, 2] = angles.cos(), angles.sin()
    pose[:, 2, 0], pose[:, 2, 2] = -angles.sin(), angles.cos()
    pose[:, 2, 3] = distance
    K = torch.tensor([[60.0, 0, width * centre[0]], [0, 62.0, height * centre[1]], [0, 0, 1]], dtype=torch.float64)
    return Cameras(pose, K.repeat(views, 1, 1), width, height)


SCENES: dict[str, Callable[[], tuple[Gaussians, Cameras]]] = {
    "plain": lambda: (random_gaussians(150, 1), orbit()),
    "behind and across the near plane": lambda: (random_gaussians(200, 2, spread=0.8), orbit(distance=0.3)),
    "nearly transparent": lambda: (random_gaussians(200, 3, opacity=(0.0, 0.02)), orbit()),
    "nearly opaque": lambda: (random_gaussians(150, 4, opacity=(0.97, 1.0)), orbit()),
    "larger than the image": lambda: (random_gaussians(30, 5, scale=(0.5, 4.0)), orbit()),
    "smaller than a pixel": lambda: (random_gaussians(300, 6, scale=(1e-5, 1e-3)), orbit()),
    "needles": lambda: (random_gaussians(120, 7, scale=(1e-4, 0.5)), orbit()),
    "far off the axis": lambda: (random_gaussians(150, 8, spread=1.0), orbit(centre=(-0.5, 1.7))),
    "deep": lambda: (random_gaussians(600, 9, spread=0.05, scale=(0.02, 0.1), opacity=(0.3, 0.9)), orbit(1)),
}
