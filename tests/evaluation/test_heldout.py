import numpy as np
import pytest
import torch

from headsup_cli.capture.capture import CaptureView
from headsup_cli.errors import InputError
from headsup_cli.evaluation.heldout import heldout_view, load_reference
from headsup_cli.gaussians.rotations import matrix_from_quat

K = np.array([[300.0, 0, 32], [0, 310, 24], [0, 0, 1]])


def rotation(seed):
    quat = torch.randn(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return matrix_from_quat(quat).numpy()


def pose(rotation, translation):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def view(picture, cam_from_world=None, world_from_head=None):
    eye = np.eye(4)
    return heldout_view(
        "c", picture, eye if cam_from_world is None else cam_from_world, K, (64, 48),
        eye if world_from_head is None else world_from_head,
    )  # fmt: skip


def picture(mask=None):
    rng = np.random.default_rng(0)
    return CaptureView(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), mask)


@pytest.mark.parametrize("scale", [1.0, 1000.0, 0.37])
def test_a_point_of_the_head_lands_where_the_rig_sees_it(scale):
    cam_from_world = pose(rotation(0), np.array([0.1, -0.2, 1.3]) * scale)
    world_from_head = pose(rotation(0).T @ rotation(0) * scale, np.array([0.05, 0.02, -0.1]) * scale)
    points = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, (20, 3))).float()
    seen = view(picture(), cam_from_world, world_from_head).camera
    pixels, depth = seen.project(points)
    world = points.numpy() @ world_from_head[:3, :3].T + world_from_head[:3, 3]
    camera = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    expected = camera @ K.T
    np.testing.assert_allclose(pixels[0], expected[:, :2] / expected[:, 2:], atol=1e-2)
    np.testing.assert_allclose(depth[0], camera[:, 2] / scale, rtol=1e-4)  # metres


def test_references_are_composited_with_their_mask():
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:40], mask[30:32, 20:40] = 255, 51
    shown = picture(mask)
    reference = load_reference(view(shown), None, (1.0, 0.5, 0.0))
    rgb = torch.from_numpy(shown.load_image()) / 255
    torch.testing.assert_close(reference.rgb[10:30, 20:40], rgb[10:30, 20:40])
    torch.testing.assert_close(reference.rgb[0, 0], torch.tensor([1.0, 0.5, 0.0]))
    torch.testing.assert_close(reference.rgb[31, 25], 0.2 * rgb[31, 25] + 0.8 * torch.tensor([1.0, 0.5, 0.0]))


def test_a_smaller_comparison_averages_areas_and_scales_the_camera():
    mask = np.full((48, 64), 255, np.uint8)
    shown = picture(mask)
    reference = load_reference(view(shown), (32, 12), (0.0, 0.0, 0.0))
    blocks = shown.load_image().reshape(12, 4, 32, 2, 3).mean((1, 3)) / 255
    np.testing.assert_allclose(reference.rgb, blocks, atol=1e-6)
    assert (reference.camera.width, reference.camera.height) == (32, 12)
    np.testing.assert_allclose(reference.camera.K[0], K * np.array([[0.5], [0.25], [1]]))


@pytest.mark.parametrize("mask", [None, np.zeros((48, 64), np.uint8)], ids=["none", "empty"])
def test_a_view_without_subject_is_refused(mask):
    with pytest.raises(InputError, match=r"camera c: with.*mask"):
        load_reference(view(picture(mask)), None, (0.0, 0.0, 0.0))
