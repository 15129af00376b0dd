import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from headsup_cli.preprocessing.head_frame import (
    HeadFrame,
    find_head_frame_by_landmarks,
    glimpse_head_frame,
    head_frame_from_cameras,
    rough_fits,
)
from headsup_cli.preprocessing.landmarks.detection import NetworkDetector, RigView
from headsup_cli.preprocessing.landmarks.head_pose import pose_from_landmarks
from headsup_cli.preprocessing.landmarks.points import IBUG_COUNT, OUTER_EYE_CORNERS
from headsup_cli.preprocessing.silhouette_fit import head_mesh, silhouettes
from headsup_cli.simulation.training_sample import training_sample

RIG_FROM_HEAD = np.eye(4)
RIG_FROM_HEAD[:3, :3] = Rotation.from_rotvec([0.1, 0.5, -0.05]).as_matrix()
RIG_FROM_HEAD[:3, 3] = 0.4, 1.2, -0.3


@pytest.fixture(scope="module")
def mesh(template):
    return head_mesh(template.vertices, template.faces, -0.08)


@pytest.fixture(scope="module")
def sample():
    """A simulated person that the network has not seen."""
    return training_sample(3, views=14, width=384, height=512, supersampling=1)


@pytest.fixture(scope="module")
def views(sample):
    """The person in a rig, on grey."""
    images = sample.images + 0.4 * (1 - sample.masks[..., None])
    poses = sample.cameras.cam_from_world.numpy() @ np.linalg.inv(RIG_FROM_HEAD)
    pixels = np.round(images.clip(0, 1) * 255).astype(np.uint8)
    return [RigView(*view) for view in zip(pixels, sample.cameras.K.numpy(), poses, strict=True)]


@pytest.fixture(scope="module")
def masks(sample, views):
    return silhouettes([view.cam_from_rig for view in views], [view.K for view in views], list(sample.masks))


def _off(transform, turn_deg, move_m):
    shift = np.eye(4)
    shift[:3, :3] = Rotation.from_euler("xyz", turn_deg, degrees=True).as_matrix()
    shift[:3, 3] = move_m
    return transform @ shift


def _error(frame):
    apart = np.linalg.inv(RIG_FROM_HEAD) @ frame.rig_from_head
    rotation = apart[:3, :3] / np.cbrt(np.linalg.det(apart[:3, :3]))
    return np.degrees(Rotation.from_matrix(rotation).magnitude()), np.linalg.norm(apart[:3, 3])


def test_landmarks_mend_a_rough_frame(mesh, views):
    start = _off(RIG_FROM_HEAD, [7, -6, 4], [0.01, -0.012, 0.008])
    found = find_head_frame_by_landmarks(HeadFrame(start, "silhouettes", np.ones(3), 0.002), views, mesh, "metric")
    turn_deg, move_m = _error(found)
    assert found.method == "landmarks"
    assert turn_deg < 5.0
    assert move_m < 0.01
    assert found.scale_sigma == 0


def test_landmarks_lie_where_the_face_has_them(sample, views):
    start = _off(RIG_FROM_HEAD, [4, -3, 2], [0.005, -0.006, 0.004])
    found = pose_from_landmarks(NetworkDetector(), views, start, "metric")
    points = RIG_FROM_HEAD @ np.c_[sample.landmarks, np.ones(IBUG_COUNT)].T  # [4, 68]
    placed = found.points.positions[:IBUG_COUNT] @ found.rig_from_points[:3, :3].T + found.rig_from_points[:3, 3]
    error_m = np.linalg.norm(placed - points[:3].T, axis=1)
    corners_m = np.linalg.norm(np.subtract(*sample.landmarks[list(OUTER_EYE_CORNERS)]))
    assert error_m.mean() / corners_m < 0.035
    assert error_m[27:IBUG_COUNT].mean() / corners_m < 0.025  # nose, eyes and lips


def test_a_head_is_found_by_pictures_and_cameras_alone(mesh, views):
    rough = head_frame_from_cameras(np.stack([view.cam_from_rig for view in views]))
    turn_deg, move_m = _error(find_head_frame_by_landmarks(rough, views, mesh, "metric"))
    assert turn_deg < 6.0
    assert move_m < 0.015


def test_a_face_is_glimpsed_behind_its_outlines(mesh, views, masks):
    found = glimpse_head_frame(rough_fits(masks, mesh), views, mesh, "metric")
    turn_deg, move_m = _error(found)
    assert found.method == "landmarks"
    assert turn_deg < 5.0
    assert move_m < 0.008


def test_nothing_is_glimpsed_where_no_face_is_seen(mesh, views, masks):
    rng = np.random.default_rng(0)
    noise = [view._replace(image=rng.integers(0, 255, view.image.shape, dtype=np.uint8)) for view in views]
    assert glimpse_head_frame(rough_fits(masks, mesh), noise, mesh, "metric") is None
    empty = [np.zeros((512, 384), np.float32)] * len(views)
    nobody = silhouettes([view.cam_from_rig for view in views], [view.K for view in views], empty)
    assert rough_fits(nobody, mesh) is None


def test_a_rig_without_units_is_scaled_to_a_head(mesh, views):
    grown = []
    for view in views:
        pose = view.cam_from_rig.copy()
        pose[:3, 3] *= 1.4
        grown.append(view._replace(cam_from_rig=pose))
    start = RIG_FROM_HEAD.copy()
    start[:3] *= 1.4
    found = find_head_frame_by_landmarks(HeadFrame(start, "silhouettes", np.ones(3), 0.002), grown, mesh, "arbitrary")
    assert np.cbrt(np.linalg.det(found.rig_from_head[:3, :3])) == pytest.approx(1.4, rel=0.2)
    assert found.scale_sigma > 0.02


def test_where_no_face_is_seen_the_rough_frame_stays(mesh, views, caplog):
    rng = np.random.default_rng(0)
    noise = [view._replace(image=rng.integers(0, 255, view.image.shape, dtype=np.uint8)) for view in views]
    rough = HeadFrame(RIG_FROM_HEAD, "silhouettes", np.ones(3), 0.002)
    assert find_head_frame_by_landmarks(rough, noise, mesh, "metric") is rough
    assert "no face" in caplog.text
