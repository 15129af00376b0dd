from dataclasses import replace

import numpy as np
import pytest

from headsup_cli.preprocessing.colour_gains import Observations, log_gains

CAMERAS, POINTS = 9, 1500


def _observed(gains, sheen=0.0, brightness_noise=0.0, hue_noise=0.0, seed=0):
    """Skin on a ball with light from above, seen from all around the front; sheen is white and lies in front."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(POINTS, 3)) + np.array([0, 0, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    azimuth = np.linspace(-1.5, 1.5, CAMERAS)
    towards = np.stack([np.sin(azimuth), 0.4 * np.cos(3 * azimuth), np.cos(azimuth)], -1)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    facing = towards @ normals.T
    mirrored = 2 * facing[..., None] * normals - towards[:, None]
    albedo = np.array([0.45, 0.25, 0.18]) * np.exp(rng.normal(0, 0.1, (POINTS, 1)) + 0.3 * normals[:, 1:2])
    light = np.log(albedo + sheen * np.maximum(mirrored[..., 2:], 0) ** 2) + gains[:, None]
    light = light + rng.normal(0, brightness_noise, (CAMERAS, POINTS, 1)) + rng.normal(0, hue_noise, light.shape)
    return Observations(light, facing, mirrored, facing > 0.3, np.full((CAMERAS, 3), np.nan))


def _gains(seed=1):
    gains = np.random.default_rng(seed).normal(0, 0.08, (CAMERAS, 3))
    return gains - gains.mean(0)


def test_gains_without_noise_are_exact():
    gains = _gains()
    found, spread = log_gains(_observed(gains))
    np.testing.assert_allclose(found, gains, atol=1e-6)
    assert spread < 1e-5


@pytest.mark.parametrize("sheen", [0.02, 0.1])
def test_sheen_is_told_from_gains(sheen):
    gains = _gains()
    found, _ = log_gains(_observed(gains, sheen))
    assert np.abs(found - gains).max() < 0.006


def test_brightness_that_strays_leaves_hues_exact():
    gains = _gains()
    found, spread = log_gains(_observed(gains, 0.05, brightness_noise=0.08, hue_noise=0.004))
    error = found - gains
    hues = error - error.mean(1, keepdims=True)
    assert np.abs(hues).max() < 0.004
    assert np.abs(error).max() < 0.03
    assert 0.05 < spread < 0.1


def test_a_common_factor_is_no_gain():
    observed = _observed(_gains(), 0.05, 0.02)
    brighter = replace(observed, light=observed.light + 0.3)
    np.testing.assert_allclose(log_gains(brighter)[0], log_gains(observed)[0], atol=1e-9)


def test_pictures_without_any_difference_have_no_gains():
    observed = _observed(np.zeros((CAMERAS, 3)))
    flat = replace(observed, light=np.zeros_like(observed.light))
    np.testing.assert_allclose(log_gains(flat)[0], 0, atol=1e-9)


def test_cameras_that_share_no_point_have_no_gains():
    observed = _observed(_gains())
    apart = np.arange(POINTS)[None] % CAMERAS == np.arange(CAMERAS)[:, None]
    found, _ = log_gains(replace(observed, seen=apart))
    np.testing.assert_array_equal(found, 0)


def test_some_of_the_cameras():
    observed = _observed(_gains())
    kept = np.arange(CAMERAS) < 4
    np.testing.assert_array_equal(observed.of_cameras(kept).light, observed.light[:4])
    assert len(log_gains(observed.of_cameras(kept))[0]) == 4
