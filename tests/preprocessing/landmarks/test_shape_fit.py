import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from headsup_cli.preprocessing.head_shape import load_head_shape
from headsup_cli.preprocessing.landmarks.points import IBUG_COUNT
from headsup_cli.preprocessing.landmarks.shape_fit import fit_head
from headsup_cli.preprocessing.landmarks.triangulation import SpacePoints


def _points(rng, identity=None, scale=1.0, noise_m=0.0005):
    shape = load_head_shape()
    identity = np.zeros(len(shape.modes)) if identity is None else identity
    smile = np.zeros(len(shape.landmark_expressions))
    smile[24] = 0.4
    own = shape.landmark_mean + np.tensordot(identity, shape.landmark_modes, 1)
    own = own + np.tensordot(smile, shape.landmark_expressions, 1)
    rotation = Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix()
    translation = rng.normal(0, 0.01, 3)
    placed = scale * own @ rotation.T + translation + rng.normal(0, noise_m, own.shape)
    covariance = np.tile(np.eye(3) * noise_m**2, (len(own), 1, 1))
    return SpacePoints(placed, covariance, np.ones(len(own))), rotation, translation


def _angle_deg(first, second):
    return np.degrees(Rotation.from_matrix(first.T @ second).magnitude())


def test_pose_is_found_under_another_identity():
    rng = np.random.default_rng(0)
    shape = load_head_shape()
    for _ in range(5):
        points, rotation, translation = _points(rng, rng.normal(0, 0.7, len(shape.modes)))
        fit = fit_head(points, shape, "metric")
        assert _angle_deg(fit.rotation, rotation) < 4.0
        np.testing.assert_allclose(fit.translation, translation, atol=0.006)
        assert np.median(fit.residuals_m) < 0.002


def test_landmarks_gone_astray_are_let_go():
    points, rotation, translation = _points(np.random.default_rng(1))
    points.positions[[3, 30, 40, 55]] += [[0.05, 0, 0], [0, 0.06, 0], [0, 0, -0.04], [0.03, 0.03, 0]]
    fit = fit_head(points, load_head_shape(), "metric")
    assert _angle_deg(fit.rotation, rotation) < 1.0
    np.testing.assert_allclose(fit.translation, translation, atol=0.002)


@pytest.mark.parametrize("size", ["metric", "arbitrary"])
def test_the_origin_is_between_the_heads_own_ears(size):
    points, rotation, translation = _points(np.random.default_rng(3))
    aside = np.array([0.0, 0.004, 0.006])
    canals = slice(IBUG_COUNT, IBUG_COUNT + 2)
    points.positions[canals] += aside @ rotation.T
    shape = load_head_shape()
    fit = fit_head(points, shape, size)
    np.testing.assert_allclose(fit.origin, aside, atol=0.0015)
    np.testing.assert_allclose(fit.world_from_head[:3, 3], translation + rotation @ aside, atol=0.002)
    by_head = fit.surface(shape) @ fit.world_from_head[:3, :3].T + fit.world_from_head[:3, 3]
    by_shape = fit.scale * shape.vertices(fit.identity) @ fit.rotation.T + fit.translation
    np.testing.assert_allclose(by_head, by_shape, atol=1e-9)


def test_ears_that_nobody_sees_leave_the_origin_where_the_shape_has_it():
    points, _, _ = _points(np.random.default_rng(3))
    canals = slice(IBUG_COUNT, IBUG_COUNT + 2)
    points.positions[canals] += 0.05
    points.covariance[canals] = np.eye(3) * 0.5**2
    assert np.linalg.norm(fit_head(points, load_head_shape(), "metric").origin) < 1e-4


@pytest.mark.parametrize("scale", [0.7, 1.5])
def test_a_rig_without_units_takes_the_mean_size(scale):
    points, rotation, _ = _points(np.random.default_rng(2), scale=scale, noise_m=0.0002)
    fit = fit_head(points, load_head_shape(), "arbitrary")
    assert fit.scale == pytest.approx(scale, rel=0.01)
    assert _angle_deg(fit.rotation, rotation) < 1.5
    assert 0.02 < fit.log_scale_sigma < 0.15
