import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsup_cli.capture.lens import MAX_COEFFICIENTS, Lens

LENSES = [
    Lens("opencv", (-0.28, 0.1, 0.0, 0.0)),
    Lens("opencv", (-0.2, 0.25, -0.001, 0.001, 0.04)),
    Lens("opencv", (0.2, 0.05, 0.001, -0.002, 0.01, 0.3, 0.02, 0.01)),
    Lens("opencv", (-0.2, 0.1, 0.001, -0.002, 0.01, 0.1, 0.02, 0.01, 0.002, -0.001, 0.003, 0.001)),
    Lens("fisheye", (0.1, -0.03, 0.01, -0.002)),
]
POINTS = np.random.default_rng(0).uniform(-0.35, 0.35, (60, 2))


@pytest.mark.parametrize("lens", LENSES)
def test_distort_is_opencvs(lens):
    rays = np.pad(POINTS, ((0, 0), (0, 1)), constant_values=1.0)
    coefficients = np.array(lens.coefficients)
    if lens.model == "fisheye":
        theirs, _ = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), np.eye(3), coefficients)
    else:
        theirs, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), np.eye(3), coefficients)
    np.testing.assert_allclose(lens.distort(POINTS), theirs.reshape(-1, 2), atol=1e-12)


@pytest.mark.parametrize("lens", LENSES)
def test_undistort_takes_back(lens):
    np.testing.assert_allclose(lens.undistort(lens.distort(POINTS)), POINTS, atol=1e-10)


def test_points_out_of_the_lens_reach_are_nan():
    barrel = Lens("opencv", (-0.5, 0.0, 0.0, 0.0))  # folds back at radius 0.82, where it reaches 0.54
    far, near = barrel.undistort(np.array([[2.0, 0.0], [0.3, 0.0]]))
    assert np.isnan(far).all()
    np.testing.assert_allclose(barrel.distort(near[None])[0], [0.3, 0.0], atol=1e-12)


def test_ideal():
    assert Lens().is_ideal
    assert Lens("opencv", (0.0,) * 5).is_ideal
    assert not Lens("fisheye", (0.0,) * 4).is_ideal  # equidistant even then
    np.testing.assert_array_equal(Lens().undistort(POINTS), POINTS)


@given(
    st.sampled_from(sorted(MAX_COEFFICIENTS)),
    st.lists(st.floats(-0.05, 0.05), min_size=4, max_size=4),
)
def test_mild_lenses_are_inverted(model, coefficients):
    lens = Lens(model, tuple(coefficients))
    np.testing.assert_allclose(lens.undistort(lens.distort(POINTS)), POINTS, atol=1e-9)
