import numpy as np

from headsup_cli.preprocessing.head_shape import load_head_shape
from headsup_cli.preprocessing.landmarks.points import MIRRORED, POINT_COUNT
from headsup_cli.preprocessing.landmarks.task_file import from_mesh


def test_mirroring_twice_changes_nothing():
    assert (MIRRORED[MIRRORED] == np.arange(POINT_COUNT)).all()


def test_mirrored_points_of_the_mean_head_lie_on_the_other_side():
    points = load_head_shape().landmark_mean
    np.testing.assert_allclose(points[MIRRORED], points * [-1, 1, 1], atol=0.002)


def test_mediapipe_points_are_mapped_and_ears_left_unknown():
    mesh = np.random.default_rng(0).uniform(0, 256, (478, 2))
    positions, sigma = from_mesh(mesh)
    np.testing.assert_array_equal(positions[30], mesh[4])  # tip of the nose
    np.testing.assert_array_equal(positions[[36, 45]], mesh[[33, 263]])  # outer corners of the eyes
    assert np.isfinite(sigma[:68]).all()
    assert np.isinf(sigma[68:74]).all()
