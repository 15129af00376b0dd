import numpy as np
import pytest
import torch

from headsup_cli.preprocessing.landmarks.crops import CROP_MIDDLE_M, crop_cameras
from headsup_cli.preprocessing.landmarks.triangulation import Sightings, triangulate


@pytest.fixture
def scene():
    rng = np.random.default_rng(2)
    azimuth = np.radians([-60, -30, -10, 15, 40, 70])
    centres = np.stack([np.sin(azimuth), rng.uniform(-0.3, 0.3, 6), np.cos(azimuth)], -1)
    points = CROP_MIDDLE_M + rng.uniform(-0.06, 0.06, (20, 3))
    cameras = crop_cameras(centres)
    return cameras, points, cameras.project(torch.from_numpy(points))[0].numpy()


def test_exact_sightings_give_exact_points(scene):
    cameras, points, pixels = scene
    found = triangulate(Sightings(cameras, pixels, np.full(pixels.shape[:2], 0.5)), CROP_MIDDLE_M)
    np.testing.assert_allclose(found.positions, points, atol=2e-5)


def test_a_view_that_errs_is_outvoted(scene):
    cameras, points, pixels = scene
    pixels[2] += [15.0, -9.0]
    found = triangulate(Sightings(cameras, pixels, np.full(pixels.shape[:2], 0.5)), CROP_MIDDLE_M)
    np.testing.assert_allclose(found.positions, points, atol=1e-3)


def test_the_covariance_tells_how_points_err(scene):
    cameras, points, pixels = scene
    rng = np.random.default_rng(3)
    errors, sigma = [], None
    for _ in range(30):
        noisy = pixels + rng.normal(0, 1.0, pixels.shape)
        found = triangulate(Sightings(cameras, noisy, np.ones(pixels.shape[:2])), CROP_MIDDLE_M)
        errors.append(found.positions - points)
        sigma = np.sqrt(found.covariance[:, range(3), range(3)].mean(0))
    ratio = np.std(errors, axis=(0, 1)) / sigma
    assert ((ratio > 0.5) & (ratio < 1.3)).all()


def test_a_point_that_no_view_knows_has_no_certainty(scene):
    cameras, points, pixels = scene
    sigma = np.full(pixels.shape[:2], 0.5)
    sigma[:, 4] = np.inf
    found = triangulate(Sightings(cameras, pixels, sigma), CROP_MIDDLE_M)
    assert np.sqrt(found.covariance[4, 0, 0]) > 0.1
    np.testing.assert_allclose(np.delete(found.positions, 4, 0), np.delete(points, 4, 0), atol=2e-5)
