from dataclasses import replace

import numpy as np
import pytest
import torch

from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.trajectories import look_at
from headsup_cli.preprocessing.colour_match import ColourView, apply_gain, match_colours, room_hue
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh

SIDE = 160
K = np.array([[420.0, 0, SIDE / 2], [0, 420.0, SIDE / 2], [0, 0, 1]])


def _srgb(linear):
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def _views(template, gains, sheen=0.0, contrast=0.2, seed=0, hair=0.0):
    """Skin with blotches under even light, a white sheen from a lamp above, and hair that shines as it likes."""
    rng = np.random.default_rng(seed)
    azimuth = np.linspace(-2.6, 2.6, len(gains))
    eyes = np.stack([np.sin(azimuth), 0.3 * rng.uniform(-1, 1, len(gains)), np.cos(azimuth)], -1) * 0.6
    poses = look_at(torch.from_numpy(eyes), torch.zeros(3).double(), torch.tensor([0.0, 1.0, 0.0]).double())
    cameras = Cameras(poses, torch.from_numpy(K).expand(len(gains), 3, 3), SIDE, SIDE)
    fragments = rasterise_mesh(template.vertices, template.faces, cameras)
    corners = template.vertices[template.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    middles = corners.mean(1)
    skin = np.array([0.45, 0.25, 0.18]) * (1 + contrast * np.sin(60 * middles @ rng.normal(size=3)))[:, None]
    views = {}
    for index, gain in enumerate(gains):
        towards = eyes[index] - middles
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        mirrored = 2 * (towards * normals).sum(1, keepdims=True) * normals - towards
        lit = skin + sheen * np.maximum(mirrored[:, 1:2], 0) ** 2
        if hair:
            strands = middles[:, 1] > np.quantile(middles[:, 1], 0.6)
            shine = rng.normal(hair * np.sin(3 * azimuth[index]), hair, (strands.sum(), 1))
            lit[strands] *= np.exp(shine)
        face = fragments.face[index]
        light = np.where(face[..., None] >= 0, lit[face], 0.02) * gain
        image = (np.clip(_srgb(light) + rng.normal(0, 0.01, light.shape), 0, 1) * 255).astype(np.uint8)
        views[f"c{index}"] = ColourView(image, ((face >= 0) * 255).astype(np.uint8), K, poses[index].numpy())
    return views


def _plate(gain, seed, colour=(1.0, 1.0, 1.0)):
    wall = np.random.default_rng(seed).uniform(0.05, 0.3, (60, 80, 1)) * colour * gain
    return (_srgb(wall) * 255).astype(np.uint8)


def _with_rooms(views, plates):
    return {
        name: replace(view, room_hue=room_hue(plate)) for (name, view), plate in zip(views.items(), plates, strict=True)
    }


def _burnt(view):
    """With hair alone to be seen."""
    rows = np.flatnonzero(view.mask.any(1))
    image = view.image.copy()
    image[int(np.quantile(rows, 0.35)) :] = 255
    return replace(view, image=image)


def _error(factors, gains):
    left = np.log(np.stack(list(factors.values())) * gains)
    return np.abs(left - left.mean(0)).max()


@pytest.mark.parametrize("sheen", [0.0, 0.06])
def test_gains_are_found(toy_template, sheen):
    gains = np.exp(np.random.default_rng(3).normal(0, 0.08, (8, 3)))
    factors = match_colours(_views(toy_template, gains, sheen), toy_template.vertices, toy_template.faces)
    assert _error(factors, gains) < 0.012
    np.testing.assert_allclose(np.exp(np.log(list(factors.values())).mean(0)), 1, rtol=1e-6)


def test_hair_has_less_say_than_skin(toy_template):
    gains = np.exp(np.random.default_rng(3).normal(0, 0.08, (8, 3)))
    factors = match_colours(_views(toy_template, gains, hair=0.2), toy_template.vertices, toy_template.faces)
    assert _error(factors, gains) < 0.0055  # 0.0072 if all points have the same say


def test_a_camera_that_sees_hair_alone_is_not_changed_much(toy_template):
    gains = np.exp(np.random.default_rng(3).normal(0, 0.04, (8, 3)))
    views = _views(toy_template, gains, hair=0.3)
    views["c4"] = _burnt(views["c4"])
    left = np.log(list(match_colours(views, toy_template.vertices, toy_template.faces).values()) * gains)
    others = np.delete(left, 4, 0)
    assert np.abs(left[4] - others.mean(0)).max() < 0.1  # 0.4 if nothing is expected of its gain


@pytest.mark.parametrize("sheen", [0.06, 0.2])
def test_a_room_of_one_hue_tells_gains_from_sheen(toy_template, sheen):
    gains = np.exp(np.random.default_rng(4).normal(0, 0.08, (8, 3)))
    views = _views(toy_template, gains, sheen, hair=0.1)
    with_rooms = _with_rooms(views, [_plate(gain, index) for index, gain in enumerate(gains)])
    surface = toy_template.vertices, toy_template.faces
    assert _error(match_colours(with_rooms, *surface), gains) < 0.9 * _error(match_colours(views, *surface), gains)


def test_a_camera_that_sees_hair_alone_has_its_hue_from_the_room(toy_template):
    gains = np.exp(np.random.default_rng(3).normal(0, 0.08, (8, 3)))
    views = _views(toy_template, gains, hair=0.3)
    views["c4"] = _burnt(views["c4"])
    plates = [_plate(gain, index, (1.2, 1.0, 0.7)) for index, gain in enumerate(gains)]
    factors = match_colours(_with_rooms(views, plates), toy_template.vertices, toy_template.faces)
    left = np.log(list(factors.values()) * gains)
    hues = left - left.mean(1, keepdims=True)
    assert np.abs(hues[4] - hues.mean(0)).max() < 0.01


def test_a_motley_room_and_an_odd_plate_do_no_harm(toy_template):
    gains = np.exp(np.random.default_rng(3).normal(0, 0.08, (8, 3)))
    views = _views(toy_template, gains, sheen=0.06)
    rng = np.random.default_rng(0)
    motley = [_plate(gain, index, np.exp(rng.normal(0, 0.3, 3))) for index, gain in enumerate(gains)]
    odd = [_plate(gain, index, (1, 1, 0.3) if index == 2 else (1, 1, 1)) for index, gain in enumerate(gains)]
    surface = toy_template.vertices, toy_template.faces
    without = _error(match_colours(views, *surface), gains)
    for plates in (motley, odd):
        assert _error(match_colours(_with_rooms(views, plates), *surface), gains) < 1.1 * without


def test_hue_of_a_room():
    gain = np.array([1.1, 1.0, 0.9])
    hue = np.log(gain) - np.log(gain).mean()
    np.testing.assert_allclose(room_hue(_plate(gain, 0)), hue, atol=0.003)
    burnt = _plate(gain, 0)
    burnt[:, :30] = 255
    np.testing.assert_allclose(room_hue(burnt), hue, atol=0.003)
    assert room_hue(np.zeros((60, 80, 3), np.uint8)) is None


def test_a_camera_that_shares_nothing_keeps_its_colours(toy_template):
    views = _views(toy_template, np.ones((6, 3)))
    blind = views["c2"]
    views["c2"] = ColourView(blind.image, np.zeros_like(blind.mask), blind.K, blind.cam_from_head)
    factors = match_colours(views, toy_template.vertices, toy_template.faces)
    np.testing.assert_array_equal(factors["c2"], 1)


def test_without_overlap_nothing_changes(toy_template):
    views = dict(list(_views(toy_template, np.full((6, 3), 1.1)).items())[:1])
    np.testing.assert_array_equal(match_colours(views, toy_template.vertices, toy_template.faces)["c0"], 1)


def test_a_surface_in_the_wrong_place_changes_nothing(toy_template, caplog):
    gains = np.exp(np.random.default_rng(3).normal(0, 0.08, (8, 3)))
    views = _views(toy_template, gains, contrast=0.9)
    factors = match_colours(views, toy_template.vertices * 0.8 + 0.02, toy_template.faces)
    assert "left as they are" in caplog.text
    np.testing.assert_array_equal(list(factors.values()), 1)


def test_gain_multiplies_light():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None].repeat(3, -1)
    np.testing.assert_array_equal(apply_gain(image, np.ones(3)), image)
    doubled = apply_gain(image, np.array([2.0, 1.0, 0.5]))
    assert abs(int(doubled[8, 0, 0]) - round(255 * _srgb(2 * ((128 / 255 + 0.055) / 1.055) ** 2.4))) <= 1
    assert doubled[8, 0, 1] == 128
    assert doubled[15, 15, 0] == 255
