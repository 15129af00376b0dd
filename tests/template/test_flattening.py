import numpy as np
import pytest

from headsup_cli.template.flattening import Disc, Rectangle, flatten


def grid_disc(side, height):
    """A grid over the unit square, bulging out by `height(x, y)`."""
    y, x = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    vertices = np.stack([x - 0.5, y, height(x, y)], -1).reshape(-1, 3)
    corner = np.arange(side * side).reshape(side, side)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    even = np.ones(len(faces))
    return Disc(
        vertices,
        faces,
        filler=np.zeros((0, 3), dtype=int),
        density=even,
        yielding=0 * even,
        corners=np.array([corner[0, 0], corner[0, -1], corner[-1, -1], corner[-1, 0]]),
        twins=corner[:, ::-1].ravel(),
    )


def signed_areas(disc, uvs):
    p, q, r = (uvs[disc.faces[:, corner]] * [1, -1] for corner in range(3))
    return ((q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0]) / 2


def test_a_flat_square_stays_as_it_is():
    disc = grid_disc(7, lambda x, y: 0 * x)
    uvs = flatten(disc, Rectangle(0.0, 1.0, 0.0, 1.0))
    np.testing.assert_allclose(uvs, disc.vertices[:, :2] * [1, -1] + [0.5, 1], atol=1e-6)


def test_a_bulge_gets_its_share_of_the_area():
    disc = grid_disc(21, lambda x, y: 1.5 * np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.02))
    uvs = flatten(disc, Rectangle(0.25, 1.0, 0.0, 0.5))
    areas = signed_areas(disc, uvs)
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(0.75 * 0.5)
    a, b, c = (disc.vertices[disc.faces[:, corner]] for corner in range(3))
    surface = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    share = surface > np.median(surface)
    assert areas[share].sum() / areas.sum() == pytest.approx(surface[share].sum() / surface.sum(), abs=0.1)
    np.testing.assert_allclose(uvs[disc.twins], [1.25, 0] + uvs * [-1, 1], atol=1e-12)
