import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headsup_cli.cameras.camera import Cameras
from headsup_cli.cameras.trajectories import look_at
from headsup_cli.preprocessing.head_frame import convergence_point, find_head_frame, head_frame_from_cameras
from headsup_cli.preprocessing.silhouette_fit import coarsened, head_mesh, silhouettes
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh

CHIN_HEIGHT_M = -0.1
RING = (range(0, 360, 30), (0, 25, -15) * 4)
ARC = ((-60, -40, -20, 0, 20, 40, 60), (10, -15, 20, 0, -10, 25, 5))


def _star(rows, columns, radius):
    """A closed mesh given by its radius over polar angle and azimuth (0 = ahead)."""
    polar, azimuth = np.meshgrid(np.linspace(0.01, np.pi - 0.01, rows), np.arange(columns) * 2 * np.pi / columns,
                                 indexing="ij")  # fmt: skip
    direction = np.stack([np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], -1)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1], np.roll(index, -1, 1)[:-1]
    c, d = index[1:], np.roll(index, -1, 1)[1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
    return (direction * radius(polar, azimuth)[..., None]).reshape(-1, 3), faces


@pytest.fixture(scope="module")
def mesh():
    """A head of sorts: a skull longer than wide, nose, chin and ears, on a neck and shoulders."""

    def radius(polar, azimuth):
        turn = np.minimum(azimuth, 2 * np.pi - azimuth)
        skull = 1 / np.sqrt((np.sin(polar) * np.sin(azimuth) / 0.078) ** 2 + (np.cos(polar) / 0.125) ** 2
                            + (np.sin(polar) * np.cos(azimuth) / 0.095) ** 2)  # fmt: skip

        def bump(height, at_polar, polar_width, at_turn, turn_width):
            return height * np.exp(-(((polar - at_polar) / polar_width) ** 2) - ((turn - at_turn) / turn_width) ** 2)

        return (skull + bump(0.03, 1.8, 0.14, 0, 0.16) + bump(0.02, 2.3, 0.2, 0, 0.3) + bump(0.02, 1.6, 0.2, 1.75, 0.12)
                + bump(0.015, 1.2, 0.5, 3.14, 0.9))  # fmt: skip

    head, head_faces = _star(60, 60, radius)
    bust, bust_faces = _star(30, 40, lambda polar, azimuth: np.full_like(polar, 1.0))
    bust = bust * [0.2, 0.09, 0.1] + [0, -0.3, -0.03]
    neck = bust / [0.2, 0.09, 0.1] @ np.diag([0.055, 0.15, 0.06])
    neck += np.array([0, -0.17, -0.02]) - neck.mean(0)
    vertices = np.concatenate([head, bust, neck])
    offsets = np.cumsum([0, len(head), len(bust)])
    faces = np.concatenate(
        [part + offset for part, offset in zip((head_faces, bust_faces, bust_faces), offsets, strict=True)]
    )
    return head_mesh(vertices, faces, CHIN_HEIGHT_M)


def _rig(azimuths_deg, elevations_deg, rng, roll_deg=0.0):
    azimuth, elevation = np.radians(list(azimuths_deg)), np.radians(list(elevations_deg))
    eyes = np.stack([np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)], -1)
    target = torch.from_numpy(rng.uniform(-0.02, 0.02, 3) - np.array([0, 0.04, 0]))
    poses = look_at(torch.from_numpy(eyes * 1.1), target, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    roll = torch.eye(4, dtype=torch.float64)
    roll[:3, :3] = torch.from_numpy(Rotation.from_euler("z", roll_deg, degrees=True).as_matrix())
    width, height = (200, 150) if roll_deg % 180 else (150, 200)
    K = torch.tensor([[520.0, 0, width / 2], [0, 520.0, height / 2], [0, 0, 1]], dtype=torch.float64)
    return Cameras(roll @ poses, K.repeat(len(eyes), 1, 1), width, height)


def _seen(mesh, cameras, rotation, translation, scale):
    placed = (mesh.vertices * scale) @ rotation.T + translation
    masks = rasterise_mesh(placed, mesh.faces, cameras).face >= 0
    coverages = [mask.astype(np.float32) for mask in masks]
    return silhouettes(list(cameras.cam_from_world.numpy()), list(cameras.K.numpy()), coverages)


def _angles_deg(rotation, truth):
    return np.degrees(np.arccos(np.clip((rotation * truth).sum(0)[1:], -1, 1)))  # of up and forward


@pytest.mark.parametrize(
    ("layout", "yaw", "pitch", "roll", "camera_roll"),
    [
        (RING, 170, 15, -8, 0),
        (RING, -75, -20, 10, 0),
        (ARC, 25, -15, 5, 0),
        (ARC, -30, 15, 0, 180),
        (RING, 100, 10, 5, 90),
    ],
)
def test_pose_is_found_from_silhouettes(mesh, layout, yaw, pitch, roll, camera_roll):
    rng = np.random.default_rng(abs(yaw))
    truth = Rotation.from_euler("yxz", [yaw, pitch, roll], degrees=True).as_matrix()
    translation, scale = rng.uniform(-0.03, 0.03, 3), np.array([1.06, 0.95, 1.02])
    found = find_head_frame(_seen(mesh, _rig(*layout, rng, camera_roll), truth, translation, scale), mesh)
    assert found.method == "silhouettes"
    assert (_angles_deg(found.rig_from_head[:3, :3], truth) < 2.0).all()
    np.testing.assert_allclose(found.rig_from_head[:3, 3], translation, atol=0.005)
    np.testing.assert_allclose(found.template_scale, scale, atol=0.04)
    assert found.residual_m < 0.002


def test_hair_and_a_lost_mask_are_let_go(mesh):
    rng = np.random.default_rng(5)
    truth = Rotation.from_euler("yxz", [40, -10, 5], degrees=True).as_matrix()
    hairy = mesh.vertices.copy()
    crown = (hairy[:, 1] > 0.06) | ((hairy[:, 2] < -0.02) & (hairy[:, 1] > -0.08))
    hairy[crown] *= 1.15
    subject = head_mesh(hairy, mesh.faces, CHIN_HEIGHT_M)
    views = _seen(subject, _rig(*RING, rng), truth, np.zeros(3), np.ones(3))
    views.masks[3] = False
    found = find_head_frame(views, mesh)
    assert (_angles_deg(found.rig_from_head[:3, :3], truth) < 5.0).all()


def test_without_usable_masks_the_cameras_decide(mesh, caplog):
    rng = np.random.default_rng(6)
    views = _seen(mesh, _rig(*ARC, rng), np.eye(3), np.array([9.0, 0, 0]), np.ones(3))
    found = find_head_frame(views, mesh)
    assert found.method == "cameras"
    assert found.residual_m is None
    assert "rough" in caplog.text


def test_cameras_alone_give_position_up_and_front():
    rng = np.random.default_rng(7)
    world = Rotation.from_rotvec([0.4, -1.0, 0.7])
    rotation = np.eye(4)
    rotation[:3, :3] = world.as_matrix().T
    rotation[:3, 3] = 0.1, 0.2, 0.3
    cam_from_rig = _rig(*ARC, rng).cam_from_world.numpy() @ rotation
    found = head_frame_from_cameras(cam_from_rig)
    assert (_angles_deg(found.rig_from_head[:3, :3], world.as_matrix()) < 8.0).all()
    middle = world.as_matrix() @ (np.array([0, -0.04, 0]) - [0.1, 0.2, 0.3])
    np.testing.assert_allclose(convergence_point(cam_from_rig), middle, atol=0.05)


def test_parallel_cameras_have_a_point_ahead():
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = -0.1, 0.0, 0.1
    np.testing.assert_allclose(convergence_point(poses), [0, 0, 1], atol=1e-6)


def test_a_coarse_mesh_has_the_same_outlines(template):
    mesh = head_mesh(template.vertices, template.faces, CHIN_HEIGHT_M)
    coarse = coarsened(mesh, 0.012)
    assert len(coarse.faces) < 0.45 * len(mesh.faces)
    assert coarse.chin_height_m == mesh.chin_height_m
    cameras = _rig(*RING, np.random.default_rng(0))
    drawn = [rasterise_mesh(m.vertices, m.faces, cameras).face >= 0 for m in (mesh, coarse)]
    assert (drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum() > 0.97
