import numpy as np
from simple_rigs import ring, seen

from headsup_cli.calibration.adjustment import EVERYTHING, _jacobians, adjust, stepped_camera
from headsup_cli.calibration.tracks import reproject, triangulate

CAMERAS = ring(4)


def test_jacobians_are_those_of_the_projection():
    camera, h = CAMERAS[1], 1e-6
    points = np.random.default_rng(0).normal(0, 0.05, (20, 3))

    def project(c, where):
        local = where @ c.cam_from_rig[:3, :3].T + c.cam_from_rig[:3, 3]
        return c.project(local[:, :2] / local[:, 2:])

    by_point, by_name = _jacobians(camera, points, EVERYTHING)
    for k in range(3):
        step = h * np.eye(3)[k]
        numeric = (project(camera, points + step) - project(camera, points - step)) / (2 * h)
        assert np.allclose(by_point[..., k], numeric, rtol=1e-4, atol=1e-2)
    for k in range(by_name.shape[2]):
        step = h * np.eye(by_name.shape[2])[k]
        ends = [project(stepped_camera(camera, sign * step, EVERYTHING), points) for sign in (1, -1)]
        assert np.allclose(by_name[..., k], (ends[0] - ends[1]) / (2 * h), rtol=1e-4, atol=1e-2)


def test_points_alone_reach_the_minimum():
    tracks = seen(CAMERAS, 400, noise_px=0.2, outliers=0.0)
    start = triangulate(tracks, CAMERAS)
    adjusted = adjust(tracks, CAMERAS, start + 1e-3, {}, scale_px=50.0)  # next to least squares
    before = np.square(tracks.pixel - reproject(tracks, start, CAMERAS)).sum()
    assert np.square(adjusted.errors).sum() <= 1.0001 * before
    assert adjusted.cameras == CAMERAS
