import numpy as np
import pytest
import torch

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh

WIDTH, HEIGHT = 48, 40
SQUARE = np.array([[0, 0, 1.0], [1, 0, 1], [1, 1, 1], [0, 1, 1]])
SQUARE_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def pixel_camera(focal_px: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> Cameras:
    """At the origin, looking along +z; at depth 1 and focal length 1 metres are pixels."""
    K = torch.tensor([[[focal_px, 0, shift[0]], [0, focal_px, shift[1]], [0, 0, 1]]], dtype=torch.float64)
    return Cameras(torch.eye(4, dtype=torch.float64)[None], K, WIDTH, HEIGHT)


def turned_cameras(n: int) -> Cameras:
    angle = torch.linspace(-0.3, 0.3, n, dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64).repeat(n, 1, 1)
    pose[:, 0, 0] = pose[:, 2, 2] = torch.cos(angle)
    pose[:, 0, 2], pose[:, 2, 0] = torch.sin(angle), -torch.sin(angle)
    pose[:, 2, 3] = 2.0
    K = torch.tensor([[55.0, 0, 24.3], [0, 52.0, 19.1], [0, 0, 1]], dtype=torch.float64).repeat(n, 1, 1)
    return Cameras(pose, K, WIDTH, HEIGHT)


def ray_cast(vertices: np.ndarray, faces: np.ndarray, cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Weights [c, h, w, f, 3] and depth [c, h, w, f] of every face's plane along every pixel's ray, in camera space."""
    pose, K = cameras.cam_from_world.numpy(), cameras.K.numpy()
    corners = vertices[faces] @ pose[:, None, :3, :3].swapaxes(-1, -2) + pose[:, None, None, :3, 3]  # [c, f, 3, 3]
    columns, rows = np.meshgrid(np.arange(cameras.width) + 0.5, np.arange(cameras.height) + 0.5)
    rays = (
        np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(K).swapaxes(-1, -2)[:, None]
    )  # [c, h, w, 3]
    scaled = np.einsum("chwk,cfkj->chwfj", rays, np.linalg.inv(corners))  # rays as sums of corners
    depth = 1 / scaled.sum(-1)
    return scaled * depth[..., None], depth


def test_agrees_with_ray_casting():
    rng = np.random.default_rng(3)
    vertices = rng.uniform(-0.9, 0.9, (60, 3))
    faces = rng.integers(0, 60, (50, 3))
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])]
    cameras = turned_cameras(3)
    seen = rasterise_mesh(vertices, faces, cameras)
    weights, depth = ray_cast(vertices, faces, cameras)
    inside = (weights > 0).all(-1)
    near_edge = (np.abs(weights).min(-1) < 0.02) & (weights > -0.02).all(-1)
    depth = np.where(inside, depth, np.inf)
    nearest = depth.min(-1)
    second = np.sort(depth, -1)[..., 1]
    clear = ~near_edge.any(-1) & ~(second < nearest + 1e-3)
    expected = np.where(np.isfinite(nearest), depth.argmin(-1), -1)
    assert clear.mean() > 0.3
    assert (expected[clear] >= 0).mean() > 0.2
    np.testing.assert_array_equal(seen.face[clear], expected[clear])
    hit = clear & (expected >= 0)
    np.testing.assert_allclose(seen.depth[hit], nearest[hit], atol=0.02)
    own = np.take_along_axis(weights, np.maximum(expected, 0)[..., None, None], -2)[..., 0, :]
    assert np.abs(seen.barycentric[hit] - own[hit]).max() < 0.05  # vertices snap to 1/256 pixel, slivers feel it
    assert np.median(np.abs(seen.barycentric[hit] - own[hit])) < 1e-3


def test_pixel_centres_lie_at_half_integers():
    seen = rasterise_mesh(SQUARE * [10, 4, 1] + [10, 5, 0], SQUARE_FACES, pixel_camera())
    rows, columns = np.nonzero(seen.face[0] >= 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 8, 10, 19)
    assert len(rows) == 40
    assert (seen.depth[0][rows, columns] == 1).all()
    outside = seen.face[0] < 0
    assert np.isinf(seen.depth[0][outside]).all()
    assert (seen.barycentric[0][outside] == 0).all()


def test_shared_edges_neither_overlap_nor_leak():
    rng = np.random.default_rng(0)
    side = 9
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).astype(float)
    grid[1:-1, 1:-1] += rng.uniform(-0.4, 0.4, (side - 2, side - 2, 2))
    points = grid.reshape(-1, 2) / (side - 1) * [WIDTH, HEIGHT]
    points[::3] = np.round(points[::3]) + 0.5 * (np.arange(len(points[::3])) % 2)[:, None]  # edges through centres
    points = np.where(
        (grid.reshape(-1, 2) == 0) | (grid.reshape(-1, 2) == side - 1),
        grid.reshape(-1, 2) / (side - 1) * [WIDTH, HEIGHT],
        points,
    )
    vertices = np.c_[points, np.ones(len(points))]
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, d, c], 1)])  # of both orientations
    assert (rasterise_mesh(vertices, faces, pixel_camera()).face >= 0).all()
    covered = sum((rasterise_mesh(vertices, face[None], pixel_camera()).face >= 0).astype(int) for face in faces)
    assert (covered == 1).mean() > 0.97  # a jittered quad may fold over its neighbour
    assert covered.min() == 1


def test_nearer_wins_and_at_equal_depth_the_first():
    far, near = SQUARE * [20, 20, 1], SQUARE * [20, 20, 0.5]
    vertices = np.concatenate([far, far, near])
    faces = np.concatenate([SQUARE_FACES, SQUARE_FACES + 4, SQUARE_FACES + 8])
    seen = rasterise_mesh(vertices, faces[:4], pixel_camera())
    assert set(np.unique(seen.face)) == {-1, 0, 1}
    seen = rasterise_mesh(vertices * [1, 1, 1], faces, pixel_camera(0.5))
    assert set(np.unique(seen.face)) == {-1, 4, 5}
    assert seen.depth.min() == 0.5


def test_perspective_correct_weights():
    vertices = np.array([[-1, -1, 1.0], [3, -1, 3], [-1, 3, 3]])
    seen = rasterise_mesh(vertices, np.array([[0, 1, 2]]), pixel_camera(20, (24, 20)))
    hit = seen.face[0] >= 0
    points = seen.barycentric[0][hit] @ vertices
    rows, columns = np.nonzero(hit)
    np.testing.assert_allclose(points[:, 0] / points[:, 2] * 20 + 24, columns + 0.5, atol=0.01)
    np.testing.assert_allclose(points[:, 1] / points[:, 2] * 20 + 20, rows + 0.5, atol=0.01)
    np.testing.assert_allclose(points[:, 2], seen.depth[0][hit], atol=1e-4)


@pytest.mark.parametrize("z", [-1.0, 0.0, 0.005, np.nan])
def test_faces_that_reach_behind_the_camera_are_left_out(z):
    vertices = np.concatenate([SQUARE * [20, 20, 1], [[5.0, 5, z]]])
    faces = np.array([[0, 1, 4], [0, 2, 3]])
    assert set(np.unique(rasterise_mesh(vertices, faces, pixel_camera()).face)) == {-1, 1}


def test_does_not_depend_on_threads():
    rng = np.random.default_rng(1)
    vertices, faces = rng.uniform(-0.9, 0.9, (90, 3)), rng.integers(0, 90, (200, 3))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(rasterise_mesh(vertices, faces, turned_cameras(2)))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*(vars(result).values() for result in results), strict=True):
        np.testing.assert_array_equal(one, other)


def test_empty_mesh():
    seen = rasterise_mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), pixel_camera())
    assert (seen.face == -1).all()
