import math

import numpy as np
import torch

from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.trajectories import look_at, orbit, pinhole
from headsup_cli.gaussians.rotations import matrix_from_quat


def cameras(count: int = 3, width: int = 40, height: int = 30) -> Cameras:
    generator = torch.Generator().manual_seed(0)
    eyes = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    poses = look_at(eyes, torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]))
    K = pinhole(50.0, width, height).repeat(count, 1, 1)
    K[:, 0, 2] += 3.0
    return Cameras(poses, K, width, height)


def test_rays_project_back_onto_their_pixel_centres():
    rig = cameras()
    points = (rig.centres[:, None, None] + 0.7 * rig.ray_directions())[1].flatten(0, 1)
    pixels, depth = rig.project(points)
    y, x = torch.meshgrid(torch.arange(30) + 0.5, torch.arange(40) + 0.5, indexing="ij")
    torch.testing.assert_close(pixels[1], torch.stack([x, y], -1).flatten(0, 1), atol=1e-3, rtol=0)
    assert (depth[1] > 0).all()


def test_resizing_keeps_what_a_pixel_shows():
    rig = cameras()
    points = torch.randn(10, 3) * 0.1
    pixels, _ = rig.project(points)
    half, _ = rig.resized(20, 15).project(points)
    torch.testing.assert_close(half, pixels / 2, atol=1e-4, rtol=0)


def test_a_change_of_frame_changes_no_picture():
    rig = cameras()
    similarity = torch.eye(4)
    similarity[:3, :3] = 1000 * matrix_from_quat(torch.tensor([0.3, -0.5, 0.7, 0.1]))
    similarity[:3, 3] = torch.tensor([5.0, 6.0, 7.0])
    new_points = torch.randn(10, 3) * 1e-4
    old_points = new_points @ similarity[:3, :3].T + similarity[:3, 3]
    expected, _ = rig.project(old_points)
    moved = rig.in_frame(similarity)
    actual, _ = moved.project(new_points)
    torch.testing.assert_close(actual, expected, atol=1e-2, rtol=1e-4)
    identity = moved.cam_from_world[:, :3, :3] @ moved.cam_from_world[:, :3, :3].mT
    torch.testing.assert_close(identity, torch.eye(3).expand(3, 3, 3), atol=1e-5, rtol=0)


def test_plucker_moments_are_perpendicular_and_the_same_all_along_the_ray():
    rig = cameras()
    rays = rig.plucker_rays()
    direction, moment = rays[..., :3], rays[..., 3:]
    torch.testing.assert_close(direction.square().sum(-1), torch.ones(3, 30, 40), atol=1e-6, rtol=0)
    torch.testing.assert_close((direction * moment).sum(-1), torch.zeros(3, 30, 40), atol=1e-6, rtol=0)
    further = rig.centres[:, None, None] + 2.0 * direction
    torch.testing.assert_close(torch.cross(further, direction, dim=-1), moment, atol=1e-5, rtol=0)


def test_world_from_cam_is_the_inverse():
    rig = cameras()
    product = rig.world_from_cam @ rig.cam_from_world
    torch.testing.assert_close(product, torch.eye(4).expand(3, 4, 4), atol=1e-6, rtol=0)


def test_the_orbit_faces_the_head_upright_and_goes_all_around():
    turn = orbit(36, 200, 200)
    pixels, depth = turn.project(torch.tensor([[0.0, -0.03, 0.0], [0.0, 0.07, 0.0], [0.1, -0.03, 0.0]]))
    torch.testing.assert_close(pixels[:, 0], torch.full((36, 2), 100.0), atol=1e-3, rtol=0)
    assert (pixels[:, 1, 1] < 100).all(), "up is up in every picture"
    assert pixels[0, 2, 0] > 100, "the subject's left is on the right of the first picture"
    assert (depth > 0).all()
    assert turn.centres[0, 2] > 0.9, "the first camera is in front of the face"
    azimuth = np.unwrap(torch.atan2(turn.centres[:, 0], turn.centres[:, 2]).numpy())
    assert math.isclose(azimuth[-1] - azimuth[0], 2 * math.pi * 35 / 36, rel_tol=1e-3)
