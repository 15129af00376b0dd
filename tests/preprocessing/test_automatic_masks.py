import cv2
import numpy as np
import pytest
import torch

from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.trajectories import look_at
from headsup_cli.preprocessing.automatic_masks import MaskedView, automatic_masks
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh

HEIGHT, WIDTH, COUNT = 240, 180, 6
K = np.array([[440.0, 0, WIDTH / 2], [0, 440.0, HEIGHT / 2], [0, 0, 1]])


def _scene(template, background):
    rng = np.random.default_rng(0)
    azimuth = np.linspace(0, 5.2, COUNT)
    eyes = torch.from_numpy(np.stack([np.sin(azimuth), 0.2 * np.cos(3 * azimuth), np.cos(azimuth)], -1) * 0.7)
    poses = look_at(eyes, torch.zeros(3).double(), torch.tensor([0.0, 1.0, 0.0]).double())
    cameras = Cameras(poses, torch.from_numpy(K).expand(COUNT, 3, 3), WIDTH, HEIGHT)
    truth = rasterise_mesh(template.vertices, template.faces, cameras).face >= 0
    views = []
    for mask, pose in zip(truth, poses.numpy(), strict=True):
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        skin = np.stack([200 - columns / 5, 150 - rows / 9, 120 - rows / 9], -1)
        image = np.where(mask[..., None], skin, background(rng)) + rng.normal(0, 2, skin.shape)
        views.append(MaskedView(np.clip(image, 0, 255).astype(np.uint8), K, pose))
    return views, truth


def _plain(rng):
    return np.linspace(60, 90, HEIGHT)[:, None, None] * np.ones((1, WIDTH, 3))


def _room(rng):
    clutter = cv2.GaussianBlur(rng.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 12)
    room = (clutter - 127) * 8 + (60, 75, 80)
    room[20:50, 20:60] = 250
    return np.clip(room, 0, 255)


@pytest.mark.parametrize(("background", "least"), [(_plain, 0.985), (_room, 0.95)])
def test_subject_is_found(toy_template, background, least):
    views, truth = _scene(toy_template, background)
    for mask, expected in zip(automatic_masks(views, 2), truth, strict=True):
        found = mask > 127
        assert (found & expected).sum() / (found | expected).sum() > least


def test_the_same_pictures_give_the_same_masks(toy_template):
    views, _ = _scene(toy_template, _room)
    for one, other in zip(automatic_masks(views, 1), automatic_masks(views, 3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_empty_plain_studio_gives_empty_masks(toy_template):
    views, _ = _scene(toy_template, _plain)
    empty = [MaskedView(_plain(None).astype(np.uint8), view.K, view.cam_from_rig) for view in views]
    assert not any(mask.any() for mask in automatic_masks(empty, 2))
