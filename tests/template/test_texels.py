import numpy as np
import pytest

from headsup_cli.template.template import Template
from headsup_cli.template.texels import (
    overlapping_share,
    sample_texels,
    texel_frames,
    texel_positions,
    texel_sizes,
    vertex_normals,
)


@pytest.fixture
def square():
    """A flat 2 x 1 m rectangle facing +Z over the left half of the UV square, u along +X, v down."""
    vertices = np.array([[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]], dtype=np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    return Template.with_hash(
        "square",
        vertices=vertices,
        faces=faces,
        uvs=np.array([[0, 1], [0.5, 1], [0.5, 0], [0, 0]], dtype=np.float32),
        uv_faces=faces,
        blendshapes=np.zeros((52, 4, 3), dtype=np.float32),
        landmarks={},
        part_names=("skin",),
        face_parts=np.zeros(2, dtype=np.uint8),
        regions={},
    )


def test_flat_square_by_hand(square):
    texels = sample_texels(square, 4)
    assert np.array_equal(texels.mask, [[True, True, False, False]] * 4)
    positions = texel_positions(texels, square.vertices)
    np.testing.assert_allclose(positions[0, 0], [0.5, 0.875, 0], atol=1e-6)  # top left: u 0.125, v 0.125
    np.testing.assert_allclose(positions[3, 1], [1.5, 0.125, 0], atol=1e-6)
    frames = texel_frames(square, texels, square.vertices)
    np.testing.assert_allclose(frames, np.broadcast_to(np.eye(3), frames.shape), atol=1e-6)
    np.testing.assert_allclose(texel_sizes(square, texels, square.vertices)[texels.mask], [[1.0, 0.25]] * 8, atol=1e-6)


def test_overlap_is_measured(square):
    triangles = square.uvs[square.uv_faces]
    assert overlapping_share(triangles) == 0
    assert overlapping_share(np.concatenate([triangles, triangles[:1]])) == pytest.approx(0.5, abs=0.02)


def test_barycentric_coordinates_lead_back_to_the_centre(template):
    texels = sample_texels(template, 128)
    rows, columns = np.nonzero(texels.mask)
    face = texels.face[rows, columns]
    uv = np.einsum("nk,nkd->nd", texels.barycentric[rows, columns], template.uvs[template.uv_faces[face]])
    np.testing.assert_allclose(uv, (np.stack([columns, rows], -1) + 0.5) / 128, atol=1e-6)
    assert np.array_equal(texels.vertex_indices[rows, columns], template.faces[face])
    assert (texels.barycentric[~texels.mask] == 0).all()
    assert (texels.face[~texels.mask] == -1).all()
    assert sample_texels(template, 128) is texels


def test_frames_are_rotations_that_face_outwards(template):
    texels = sample_texels(template, 128)
    frames = texel_frames(template, texels, template.vertices)
    np.testing.assert_allclose(frames @ frames.swapaxes(-1, -2), np.broadcast_to(np.eye(3), frames.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(frames), 1, atol=1e-5)
    normals = vertex_normals(template.vertices, template.faces)
    interpolated = texel_positions(texels, normals)[texels.mask]
    cosine = (frames[texels.mask][..., 2] * interpolated).sum(-1) / np.linalg.norm(interpolated, axis=-1)
    assert cosine.min() > 0.999
    chin = template.vertices[template.landmarks["chin"]]
    distance = np.linalg.norm(texel_positions(texels, template.vertices) - chin, axis=-1)
    at_chin = frames[np.unravel_index(distance.argmin(), distance.shape)]
    assert at_chin[0, 0] > 0.95  # tangent: +X, the subject's left, the picture's right
    assert at_chin[1, 1] > 0.8  # bitangent: up
    assert at_chin[2, 2] > 0.8  # normal: out of the face


def test_frames_turn_little_from_texel_to_texel(template):
    texels = sample_texels(template, 256)
    frames = texel_frames(template, texels, template.vertices)
    skin = texels.mask & (template.face_parts[texels.face] == 0)
    face = skin & (np.take(template.regions["face"], texels.vertex_indices).min(-1) > 0.9)
    beside = face[:, 1:] & face[:, :-1]
    cosine = (np.einsum("rsij,rsij->rs", frames[:, 1:], frames[:, :-1]) - 1) / 2
    angle_deg = np.degrees(np.arccos(np.clip(cosine[beside], -1, 1)))
    assert np.quantile(angle_deg, 0.99) < 15
    assert np.median(angle_deg) < 2


def test_frames_follow_the_pose(template):
    texels = sample_texels(template, 64)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.float32)
    still = texel_frames(template, texels, template.vertices)[texels.mask]
    turned = texel_frames(template, texels, template.vertices @ turn.T)[texels.mask]
    np.testing.assert_allclose(turned, turn @ still, atol=1e-4)


def test_sizes_add_up_to_the_surface(template):
    texels = sample_texels(template, 256)
    sizes = texel_sizes(template, texels, template.vertices)
    a, b, c = (template.vertices[template.faces[:, corner]].astype(float) for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert sizes[texels.mask].prod(-1).sum() == pytest.approx(area, rel=0.05)
    assert sizes[texels.mask].min() > 0
