import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headsup_cli.preprocessing.landmarks.crops import CROP_MIDDLE_M, crop, crop_cameras, expected_px
from headsup_cli.preprocessing.landmarks.network import CROP_PX


def test_crops_are_upright_and_centred_on_the_face():
    centres = np.array([[0.0, 0.1, 1.0], [1.2, -0.3, 0.2], [-0.4, 0.6, -0.7], [0.0, 0.8, 0.055]])
    cameras = crop_cameras(centres)
    above = CROP_MIDDLE_M + np.array([0, 0.05, 0])
    pixels, depth = cameras.project(torch.from_numpy(np.stack([CROP_MIDDLE_M, above])))
    np.testing.assert_allclose(pixels[:, 0], CROP_PX / 2, atol=1e-9)
    np.testing.assert_allclose(pixels[:3, 1, 0], CROP_PX / 2, atol=1e-9)
    assert (pixels[:3, 1, 1] < CROP_PX / 2).all()
    assert (depth > 0).all()


def test_expected_points_are_projections_but_for_perspective():
    cameras = crop_cameras(np.array([[0.3, 0.2, 40.0], [30.0, 5.0, -20.0]]))
    points = CROP_MIDDLE_M + np.random.default_rng(0).uniform(-0.08, 0.08, (10, 3))
    np.testing.assert_allclose(expected_px(cameras, points), cameras.project(torch.from_numpy(points))[0], atol=0.2)


@pytest.mark.parametrize("focal_px", [300.0, 2500.0])
def test_a_crop_shows_points_where_its_camera_sees_them(focal_px):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [172, 8, 25], degrees=True).as_matrix()
    pose[:3, 3] = [0.03, -0.04, 1.0]
    size = int(focal_px * 0.5)
    K = np.array([[focal_px, 0, size / 2], [0, focal_px, size / 2], [0, 0, 1]])
    centre = -pose[:3, :3].T @ pose[:3, 3]
    target = crop_cameras(centre[None])
    for offset in np.random.default_rng(1).uniform(-0.04, 0.04, (4, 3)):
        point = CROP_MIDDLE_M + offset
        x, y, z = K @ (pose[:3, :3] @ point + pose[:3, 3])
        columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
        blob = np.exp(-((columns - x / z) ** 2 + (rows - y / z) ** 2) / (2 * (0.008 * focal_px) ** 2))
        image = np.repeat((255 * blob).astype(np.uint8)[..., None], 3, -1)
        seen = crop(image, K, pose, target)[..., 0]
        steps = np.arange(CROP_PX) + 0.5
        found = np.array([(seen.sum(0) @ steps), (seen.sum(1) @ steps)]) / seen.sum()
        np.testing.assert_allclose(found, target.project(torch.from_numpy(point[None]))[0][0, 0], atol=0.15)
