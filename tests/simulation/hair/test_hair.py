from dataclasses import replace

import numpy as np
import pytest
import torch

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import MeshFragments, rasterise_mesh
from headsup_cli.simulation.body.anatomy import default_anatomy, vertex_normals
from headsup_cli.simulation.body.appearance import sample_paint
from headsup_cli.simulation.drawing.lighting import sample_lamps
from headsup_cli.simulation.drawing.strands import BEARD, BROW, LASH, SCALP, Strands, merge_strands
from headsup_cli.simulation.hair.facial_hair import grow_beard
from headsup_cli.simulation.hair.growth import grow_hair
from headsup_cli.simulation.hair.hair import beard_density, hairline_deg, sample_hair, scalp_density, scalp_mask, shorn
from headsup_cli.simulation.hair.light import lit_strands, shine_through
from headsup_cli.simulation.hair.light_kernels import share_at
from headsup_cli.simulation.hair.roots import measured_body
from headsup_cli.simulation.hair.styles import STYLES
from headsup_cli.template.anny_source import AnnySource

COARSE_M = 0.002  # few, wide strands: quick to grow


@pytest.fixture(scope="module")
def body():
    return measured_body(AnnySource.shared().vertices_for({"age": 2 / 3}))


@pytest.fixture(scope="module")
def hairs():
    rng, found = np.random.default_rng(2), {}
    for draw in range(3000):
        hair = sample_hair(rng, gender=float(draw % 2), age=0.45 + 0.2 * (draw % 3))
        if hair.has_strands or hair.style == "bald":
            found.setdefault(hair.style, replace(hair, brow_strands=True))
    return found


@pytest.fixture(scope="module")
def paint():
    paint = sample_paint(np.random.default_rng(1), default_anatomy(), 0.0, 0.7, 0.5, 0.0)
    return paint._replace(beard_density=1.0, grey=0.0)


def distances(body, points):
    out = np.empty((len(points), 1), np.float32)
    share_at(body.field.distance[None], np.ascontiguousarray(points), body.field.origin, body.field.cell_m, out)
    return out[:, 0]


def front_camera(size=64):
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))[None].clone()
    pose[:, 2, 3] = 1.0
    K = torch.tensor([[[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]]], dtype=torch.float64)
    return Cameras(pose, K, size, size)


def line(points, width, normal=(0.0, 0.0, 1.0)):
    columns = np.zeros((len(points), 18), np.float32)
    columns[:, :3], columns[:, 6:9], columns[:, 15] = points, normal, width
    n = len(points) - 1
    return Strands(columns, np.arange(n, dtype=np.int32), np.zeros(n, np.uint8))


def empty_view(camera):
    shape = (1, camera.height, camera.width)
    return MeshFragments(
        np.full(shape, -1, np.int32), np.zeros((*shape, 3), np.float32), np.full(shape, np.inf, np.float32)
    )


def test_all_styles_are_drawn(hairs):
    assert hairs.keys() == STYLES.keys()


@pytest.mark.parametrize("style", STYLES)
def test_every_style_grows_from_the_scalp_and_keeps_out_of_the_head(style, hairs, body, paint):
    anatomy, hair = default_anatomy(), hairs[style]
    mask = scalp_mask(hair, anatomy)
    assert (mask.max() == 0) == (style == "bald")
    assert mask[AnnySource.shared().mesh.landmarks["nose_tip"]] == 0
    tresses = grow_hair(hair, paint, body, COARSE_M)
    assert {BROW, LASH} <= {tress.kind for tress in tresses}
    scalp = [tress for tress in tresses if tress.kind == SCALP]
    assert bool(scalp) == (style != "bald")
    for tress in scalp:
        assert np.isfinite(tress.nodes).all()
        assert np.linalg.norm(tress.nodes, axis=-1).max() < 0.8
        deep = distances(body, tress.nodes[:, 1:].reshape(-1, 3)) < -0.004
        assert deep.mean() < 0.01


@pytest.mark.parametrize("style", sorted(STYLES.keys() - {"bald"}))
def test_hair_leaves_the_eyes_free_and_ends_with_the_bust(style, hairs, body, paint):
    bust = measured_body(body.vertices, bottom_m=-0.2)
    hair = replace(hairs[style], level_m=0.3)
    nodes = np.concatenate([t.nodes.reshape(-1, 3) for t in grow_hair(hair, paint, bust, COARSE_M) if t.kind == SCALP])
    for side in ("left", "right"):
        away = nodes - bust.landmarks[f"pupil_{side}"]
        assert ((np.abs(away[:, 0]) < 0.010) & (np.abs(away[:, 1]) < 0.006) & (away[:, 2] > 0)).mean() < 0.0005
    assert nodes[:, 1].min() > bust.bottom_y(np.zeros(1))[0] - 0.03


def test_a_shorn_head_is_bald_or_painted(hairs, body, paint):
    anatomy, rng, covers = default_anatomy(), np.random.default_rng(4), []
    for _ in range(12):
        hair = shorn(rng, hairs["long"])
        assert {tress.kind for tress in grow_hair(hair, paint, body, COARSE_M)} == {LASH}
        covers.append(float(scalp_mask(hair, anatomy).max()))
    assert min(covers) == 0
    assert max(covers) > 0.8


def test_no_lock_lies_on_the_forehead_of_combed_hair(hairs, body, paint):
    for style in ("parted", "bob", "swept"):
        (scalp,) = (t for t in grow_hair(hairs[style], paint, body, COARSE_M) if t.kind == SCALP)
        x, y, z = np.moveaxis(scalp.nodes - body.landmarks["brow_middle_left"], -1, 0)
        middle = np.abs(x + body.landmarks["brow_middle_left"][0]) < 0.02
        assert (middle & (np.abs(y - 0.008) < 0.010) & (z > -0.03)).mean() < 0.001


def test_hair_is_the_same_every_time_and_follows_the_body(hairs, body, paint):
    moved = measured_body((body.vertices + np.float32([0, 0.02, 0])).astype(np.float32))
    first, again, other = (grow_hair(hairs["bob"], paint, one, COARSE_M) for one in (body, body, moved))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a.nodes, b.nodes)
        np.testing.assert_allclose(c.nodes[:, 0], a.nodes[:, 0] + [0, 0.02, 0], atol=1e-5)


def test_coarser_pictures_get_fewer_wider_strands(hairs, body, paint):
    fine, coarse = (grow_hair(hairs["short"], paint, body, sample_m)[0] for sample_m in (0.0004, 0.001))
    assert len(coarse.nodes) < 0.6 * len(fine.nodes)
    assert coarse.widths.mean() >= 0.001
    assert coarse.widths.sum() == pytest.approx(fine.widths.sum(), rel=0.1)


def test_headwear_keeps_hair_away(hairs, body, paint):
    def scalp_strands(hidden_deg):
        tresses = grow_hair(hairs["short"], paint, body, COARSE_M, hidden_deg)
        return sum(len(tress.nodes) for tress in tresses if tress.kind == SCALP)

    bare = scalp_strands(None)
    assert 0 < scalp_strands(lambda azimuth: np.full_like(azimuth, 70.0)) < 0.7 * bare
    assert scalp_strands(lambda azimuth: np.full_like(azimuth, 180.0)) == 0


def test_density_falls_off_at_the_hairline(hairs):
    hair = replace(hairs["short"], recession_deg=0.0, crown_loss_deg=0.0)
    polar = hairline_deg(hair, np.zeros(1)) + np.linspace(-20, 12, 9)
    rest = np.random.default_rng(0).uniform(-0.1, 0.1, (9 * 200, 3))
    density = scalp_density(hair, np.zeros(len(rest)), np.repeat(polar, 200), rest).reshape(9, 200).mean(1)
    assert density[0] > 0.99
    assert density[-1] < 0.01
    assert (np.diff(density) < 0.01).all()
    assert ((density > 0.1) & (density < 0.9)).sum() >= 2
    receded = scalp_density(replace(hair, recession_deg=20.0), np.zeros(1), np.array([50.0]), rest[:1])
    assert receded[0] < 0.2


def test_beards_leave_the_lips_and_have_shapes(hairs, body, paint):
    anatomy = default_anatomy()
    hair = replace(hairs["short"], beard="full")
    tresses = grow_beard(hair, paint, body, 0.03, COARSE_M)
    assert [tress.kind for tress in tresses] == [BEARD]
    assert grow_beard(hair, paint._replace(beard_density=0.0), body, 0.03, COARSE_M) == []
    lips = np.array([[0.0, anatomy.mouth_y + 0.004, 0.02], [0.01, anatomy.mouth_y - 0.006, 0.02]])
    assert (beard_density(hair, anatomy, lips) == 0).all()
    jaw = np.array([[0.05, anatomy.mouth_y - 0.01, -0.01], [0.0, anatomy.mouth_y - 0.03, 0.01]])
    assert (beard_density(hair, anatomy, jaw) > 0.5).all()
    assert list(beard_density(replace(hair, beard="goatee"), anatomy, jaw) > 0.5) == [False, True]
    assert (beard_density(replace(hair, beard="moustache"), anatomy, jaw) == 0).all()


def test_hair_is_lit_and_shades_the_skin(hairs, body, paint):
    tresses = grow_hair(hairs["long"], paint, body, COARSE_M)
    lamps = sample_lamps(np.random.default_rng(3))
    strongest = np.argsort(-lamps.colours.sum(1))[:2]
    light = shine_through(tresses, body.field, lamps, strongest)
    strands = lit_strands(tresses, light)
    assert np.isfinite(strands.columns).all()
    assert strands.first.max() + 1 < len(strands.columns)
    assert len(strands.first) == len(strands.kind) == sum(t.nodes.shape[0] * (t.nodes.shape[1] - 1) for t in tresses)
    assert strands.columns[:, 9:12].min() >= 0
    assert strands.columns[:, 9:12].mean() > 0.005
    normals = vertex_normals(body.vertices, default_anatomy().faces)
    through = light.on_skin(body.vertices, normals)
    landmarks = AnnySource.shared().mesh.landmarks
    assert through.min() >= 0
    assert through.max() <= 1
    assert through[landmarks["nose_tip"]].mean() > through[landmarks["occiput"]].mean() + 0.1


def test_strands_cover_samples_by_their_width_and_win_by_depth():
    camera = front_camera()
    pixel_m = 1 / 128
    vertical = line([[0.0, -0.1, 0.0], [0.0, 0.1, 0.0]], 4 * pixel_m)
    seen = merge_strands(empty_view(camera), vertical, 10, camera)
    row = seen.face[0, 32]
    assert (row == 10).sum() == 4
    np.testing.assert_allclose(seen.depth[seen.face == 10], 1.0, rtol=1e-5)
    across = seen.barycentric[0, 32, row == 10, 2]
    np.testing.assert_allclose(across, [-0.75, -0.25, 0.25, 0.75], atol=1e-3)
    weights = seen.barycentric[seen.face == 10]
    np.testing.assert_allclose(weights[:, 0] + weights[:, 1], 1, atol=1e-5)
    thin = line([[-0.1, -0.2, 0.0], [0.11, 0.2, 0.0]], 0.3 * pixel_m)
    share = (merge_strands(empty_view(camera), thin, 0, camera).face >= 0).sum() / (0.4 / pixel_m)
    assert 0.15 < share < 0.6  # thinner than a sample: found by some
    corners = np.array([[-1, -1, 0.05], [1, -1, 0.05], [0, 1, 0.05]], float)
    wall = rasterise_mesh(corners, np.array([[0, 1, 2]]), camera)
    assert (merge_strands(wall, vertical, 1, camera).face < 1).all()
    behind = rasterise_mesh(corners - [0, 0, 0.1], np.array([[0, 1, 2]]), camera)
    assert (merge_strands(behind, vertical, 1, camera).face == 1).sum() > 50


def test_no_strand_that_could_be_seen_is_left_out():
    camera, rng = front_camera(), np.random.default_rng(5)
    starts, ends = rng.uniform([-0.3, -0.3, -0.5], [0.3, 0.3, 0.2], (2, 150, 3))
    nearest, owner = np.full((64, 64), np.inf, np.float32), np.full((64, 64), -1)
    columns = [line(points, 0.03).columns for points in zip(starts, ends, strict=True)]
    for index, own in enumerate(columns):
        alone = merge_strands(empty_view(camera), Strands(own, *line(own[:, :3], 0.03)[1:]), 0, camera).depth[0]
        owner = np.where(alone < nearest, index, owner)
        nearest = np.minimum(alone, nearest)
    first, kind = np.arange(0, 300, 2, dtype=np.int32), np.zeros(150, np.uint8)
    seen = merge_strands(empty_view(camera), Strands(np.concatenate(columns), first, kind), 0, camera)
    np.testing.assert_array_equal(seen.depth[0], nearest)
    np.testing.assert_array_equal(seen.face[0], owner)


def test_merging_is_the_same_on_any_number_of_threads(hairs, body, paint):
    tresses = grow_hair(hairs["curly"], paint, body, COARSE_M)
    lamps = sample_lamps(np.random.default_rng(3))
    before, results = torch.get_num_threads(), []
    camera = front_camera(96)
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            light = shine_through(tresses, body.field, lamps, np.arange(2))
            strands = lit_strands(tresses, light)
            results.append((strands.columns, *vars(merge_strands(empty_view(camera), strands, 0, camera)).values()))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
