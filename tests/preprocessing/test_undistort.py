import cv2
import numpy as np
import pytest

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.preprocessing.undistort import Pinhole, resize, undistort, undistorted_view

LENSES = {
    "barrel": [-0.28, 0.1, 0.0, 0.0, 0.0],
    "pincushion": [0.2, 0.05, 0.001, -0.002, 0.0],
    "all": [-0.2, 0.25, -0.001, 0.001, 0.04],
}


def _camera(dist, width=180, height=240):
    K = np.array([[400.0, 0, 93.3], [0, 404.0, 117.7], [0, 0, 1]])
    return RigCamera("a", K, Lens("opencv", tuple(dist)), np.eye(4), width, height)


@pytest.mark.parametrize("lens", LENSES)
def test_points_land_where_the_undistorted_view_projects_them(lens):
    """Draw soft dots where OpenCV projects points into the distorted picture; find them again where K says."""
    camera = _camera(LENSES[lens])
    points = np.array([[x, y, 1.0] for x in (-0.15, -0.02, 0.16) for y in (-0.21, 0.03, 0.2)])
    opencv_K = camera.K.copy()
    opencv_K[:2, 2] -= 0.5
    dots, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), opencv_K, np.array(camera.lens.coefficients))
    rows, columns = np.mgrid[: camera.height, : camera.width]
    picture = np.zeros((camera.height, camera.width), np.float32)
    for x, y in dots[:, 0]:
        picture += np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.0**2)).astype(np.float32)
    view = undistorted_view(camera)
    straight = undistort(picture, camera, view)
    expected = points @ view.K.T
    for x, y in expected[:, :2]:
        near = (abs(columns + 0.5 - x) < 8) & (abs(rows + 0.5 - y) < 8)
        weight = straight[near] / straight[near].sum()
        found = (columns[near] + 0.5) @ weight, (rows[near] + 0.5) @ weight
        np.testing.assert_allclose(found, (x, y), atol=0.05)


@pytest.mark.parametrize("lens", LENSES)
def test_no_black_borders_and_nothing_given_away(lens):
    camera = _camera(LENSES[lens])
    view = undistorted_view(camera)

    def sources_inside(focal_factor):
        K = view.K.copy()
        K[[0, 1], [0, 1]] *= focal_factor
        grid = np.stack(np.meshgrid(np.arange(view.width) + 0.5, np.arange(view.height) + 0.5), -1).reshape(-1, 2)
        source = camera.project((grid - K[:2, 2]) / K[[0, 1], [0, 1]])
        return (source > 0.49).all() and (source < np.array([view.width, view.height]) - 0.49).all()

    assert sources_inside(1.0)
    assert not sources_inside(0.99)
    assert view.K[0, 0] / view.K[1, 1] == pytest.approx(camera.K[0, 0] / camera.K[1, 1])


def test_without_distortion_pixels_are_copied():
    camera = _camera([0.0] * 5)
    picture = np.random.default_rng(0).integers(0, 255, (240, 180, 3), dtype=np.uint8)
    np.testing.assert_array_equal(undistort(picture, camera, undistorted_view(camera)), picture)


def test_crop_and_resize_keep_points_on_their_pixels():
    view = Pinhole(_camera([0.0] * 5).K, 180, 240)
    point = np.array([0.05, -0.02, 1.0])
    small = view.cropped(10, 20, 120, 160).resized_to(80)
    assert (small.width, small.height) == (60, 80)
    np.testing.assert_allclose((small.K @ point)[:2], ((view.K @ point)[:2] - [10, 20]) / 2)
    assert view.resized_to(1000).width == 180
    ramp = np.tile(np.arange(120, dtype=np.float32), (160, 1))
    np.testing.assert_allclose(resize(ramp, small)[0, :3], [0.5, 2.5, 4.5])
