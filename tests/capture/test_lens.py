from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headsup_cli.capture.lens import MAX_COEFFICIENTS, Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs.colmap import MODELS, intrinsics_of

LENSES = [
    Lens("opencv", (-0.28, 0.1, 0.0, 0.0)),
    Lens("opencv", (-0.2, 0.25, -0.001, 0.001, 0.04)),
    Lens("opencv", (0.2, 0.05, 0.001, -0.002, 0.01, 0.3, 0.02, 0.01)),
    Lens("opencv", (-0.2, 0.1, 0.001, -0.002, 0.01, 0.1, 0.02, 0.01, 0.002, -0.001, 0.003, 0.001)),
    Lens("fisheye", (0.1, -0.03, 0.01, -0.002)),
]  # those that OpenCV has
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


COLMAP_EXTRAS = {  # what follows the focal lengths and the principal point
    "SIMPLE_RADIAL": [-0.2],
    "RADIAL": [-0.2, 0.05],
    "OPENCV": [-0.2, 0.05, 0.002, -0.003],
    "OPENCV_FISHEYE": [0.1, -0.03, 0.01, -0.002],
    "FULL_OPENCV": [0.2, 0.05, 0.001, -0.002, 0.01, 0.3, 0.02, 0.01],
    "FOV": [0.9],
    "SIMPLE_RADIAL_FISHEYE": [0.1],
    "RADIAL_FISHEYE": [0.1, -0.02],
    "THIN_PRISM_FISHEYE": [0.1, 0.02, 0.003, -0.004, 0.01, 0.02, 0.003, 0.004],
    "RAD_TAN_THIN_PRISM_FISHEYE": [0.1, 0.02, 0.003, -0.004, 0.01, 0.02, 0.003, 0.004, 0.001, 0.002, 0.003, 0.005],
    "SIMPLE_DIVISION": [0.2],
    "DIVISION": [-0.3],
    "EUCM": [0.6, 1.1],
}


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_of_colmap_is_colmaps(model):
    pycolmap = pytest.importorskip("pycolmap")
    size, simple = (640, 480), MODELS[model].parameters.startswith("f ")
    parameters = [*([510.0] if simple else [510.0, 490.0]), 321.0, 237.0, *COLMAP_EXTRAS.get(model, [])]
    theirs = pycolmap.Camera(model=model, width=640, height=480, params=parameters)
    assert int(getattr(pycolmap.CameraModelId, model)) == MODELS[model].number
    assert theirs.params_info.replace(",", "") == MODELS[model].parameters
    found = intrinsics_of(Path("cameras.txt"), 1, model, size, tuple(parameters))
    ours = RigCamera("a", found.K, found.lens, np.eye(4), *size)
    rays = np.pad(POINTS, ((0, 0), (0, 1)), constant_values=1.0)
    np.testing.assert_allclose(ours.project(POINTS), theirs.img_from_cam(rays), atol=1e-9)
    np.testing.assert_allclose(ours.unproject(ours.project(POINTS)), POINTS, atol=1e-9)


def test_fourth_radial_term_is_no_divisor():
    *_, k4 = coefficients = (-0.2, 0.05, 0.002, -0.003, 0.01, 0.3)
    r2 = (POINTS**2).sum(1)
    without = Lens("opencv", coefficients[:5]).distort(POINTS)
    np.testing.assert_allclose(Lens("brown", coefficients).distort(POINTS), without + POINTS * (k4 * r2**4)[:, None])


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


@given(st.sampled_from(sorted(MAX_COEFFICIENTS)), st.lists(st.floats(-0.05, 0.05), min_size=12, max_size=12))
def test_mild_lenses_are_inverted(model, coefficients):
    lens = Lens(model, tuple(coefficients[: MAX_COEFFICIENTS[model]]))
    np.testing.assert_allclose(lens.undistort(lens.distort(POINTS)), POINTS, atol=1e-9)
