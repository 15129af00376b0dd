from dataclasses import replace

import numpy as np
import pytest
import torch

from headsup_cli.cameras.camera import Cameras
from headsup_cli.simulation.body.anatomy import (
    CLOTHES,
    EARRING,
    GLASSES,
    HAT,
    LENS,
    SCARF,
    SKIN,
    default_anatomy,
    vertex_normals,
)
from headsup_cli.simulation.drawing.lighting import sample_lamps
from headsup_cli.simulation.drawing.shading import render_mesh
from headsup_cli.simulation.drawing.strands import SCALP
from headsup_cli.simulation.dress.accessories import hair_hidden_deg, sample_accessories, wear
from headsup_cli.simulation.dress.clothes import KINDS, dress, sample_garment
from headsup_cli.simulation.dress.cutting import split
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig.rig import look_at
from headsup_cli.template.anny_source import AnnySource

NOTHING = {"rims": "none", "earrings": "none", "headwear": "none", "sunglasses": False}


@pytest.fixture(scope="module")
def bald():
    """Somebody without hair, and the posed vertices."""
    person = sample_person(np.random.default_rng(21))
    person = replace(person, hair=replace(person.hair, style="bald"), accessories=worn(person))
    return person, posed_vertices(person, {})


def worn(person, **wears):
    return replace(person.accessories, **(NOTHING | wears))


def test_splitting_keeps_the_surface_and_shares_vertices():
    rng = np.random.default_rng(0)
    columns = np.c_[rng.uniform(-1, 1, (30, 2)), np.zeros(30)]
    faces = np.array([[0, 1, 2], [2, 1, 3], [4, 5, 6]])
    new, pieces, source, above = split(columns, faces, columns[:, 0])

    def area(points, triangles):
        a, b, c = (points[triangles[:, k], :2] for k in range(3))
        u, v = b - a, c - a
        return 0.5 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])

    np.testing.assert_allclose(np.bincount(source, area(new, pieces), 3), area(columns, faces))
    middle = new[pieces].mean(1)[:, 0]
    assert (middle[above] > 0).all()
    assert (middle[~above] <= 0).all()
    assert len(np.unique(new.round(12), axis=0)) == len(new)


def test_accessories_are_as_common_as_agreed():
    rng = np.random.default_rng(1)
    drawn = [sample_accessories(rng, float(n % 2), float(rng.uniform(0.5, 0.95))) for n in range(4000)]
    assert 0.16 < np.mean([a.rims != "none" for a in drawn]) < 0.26
    assert 0.11 < np.mean([a.earrings != "none" for a in drawn]) < 0.19
    assert 0.04 < np.mean([a.headwear in ("cap", "beanie") for a in drawn]) < 0.08
    assert 0.025 < np.mean([a.headwear == "headscarf" for a in drawn]) < 0.055


@pytest.mark.parametrize("rims", ["round", "square", "aviator", "cat-eye"])
def test_glasses_sit_before_the_eyes_and_on_the_ears(bald, rims):
    person, vertices = bald
    mesh = wear(worn(person, rims=rims), default_anatomy(), vertices)
    landmarks = AnnySource.shared().mesh.landmarks
    lens = mesh.vertices[np.unique(mesh.faces[mesh.part == LENS])]
    frame = mesh.vertices[np.unique(mesh.faces[mesh.part == GLASSES])]
    for side, sign in (("left", 1), ("right", -1)):
        pupil, ear = vertices[landmarks[f"pupil_{side}"]], vertices[landmarks[f"ear_top_{side}"]]
        own = lens[lens[:, 0] * sign > 0]
        assert (own[:, :2].min(0) < pupil[:2]).all()
        assert (own[:, :2].max(0) > pupil[:2]).all()
        assert own[:, 2].min() > pupil[2]
        assert np.linalg.norm(frame - ear, axis=1).min() < 0.012
    assert frame[:, 2].max() < vertices[landmarks["nose_tip"], 2] + 0.012


def test_earrings_hang_from_the_lobes(bald):
    person, vertices = bald
    for kind in ("studs", "hoops", "drops"):
        mesh = wear(worn(person, earrings=kind), default_anatomy(), vertices)
        assert (mesh.part == EARRING).all()
        lobe = vertices[AnnySource.shared().mesh.landmarks["ear_lobe_left"]]
        distance = np.linalg.norm(mesh.vertices - lobe, axis=1)
        assert distance.min() < 0.006


@pytest.mark.parametrize(("headwear", "part"), [("cap", HAT), ("beanie", HAT), ("headscarf", SCARF)])
def test_headwear_covers_the_crown_and_leaves_the_face(bald, headwear, part):
    person, vertices = bald
    anatomy, landmarks = default_anatomy(), AnnySource.shared().mesh.landmarks
    degrees = 58.0 if headwear == "headscarf" else 0.0
    accessories = worn(person, headwear=headwear, headwear_deg=degrees)
    mesh = wear(accessories, anatomy, vertices)
    assert (mesh.part == part).all()
    crown = vertices[landmarks["crown"]]
    assert 0.002 < mesh.vertices[:, 1].max() - crown[1] < 0.06
    for name in ("nose_tip", "chin", "pupil_left", "pupil_right"):
        offset = mesh.vertices[:, :2] - vertices[landmarks[name], :2]
        before = mesh.vertices[:, 2] > vertices[landmarks[name], 2]
        assert not (before & (np.linalg.norm(offset, axis=1) < 0.008)).any(), name
    hidden = hair_hidden_deg(accessories, np.array([0.0, 90.0, 180.0]))
    assert (hidden > 45).all()
    assert (hair_hidden_deg(worn(person), np.array([0.0, 180.0])) == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_clothes_lie_on_the_skin_below_their_edge(bald, kind):
    _, vertices = bald
    anatomy = default_anatomy()
    seeds = (np.random.default_rng([seed, 3]) for seed in range(400))
    garment = next(g for g in (sample_garment(rng, 0.5) for rng in seeds) if g.kind == kind)
    cloth = dress(garment, vertices, anatomy.rest, anatomy.faces[anatomy.part == SKIN])
    if kind == "none":
        assert cloth is None
        return
    assert np.isfinite(cloth.vertices).all()
    assert cloth.faces.max() < len(cloth.vertices)
    assert cloth.below.min() >= 0
    assert (garment.height(cloth.rest) < 0.02 + 1.7 * garment.collar_m).all()  # but for collars
    assert cloth.vertices[:, 1].max() < vertices[AnnySource.shared().mesh.landmarks["nose_base"], 1]


@pytest.mark.parametrize("kind", ["polo", "shirt", "hoodie", "turtleneck"])
def test_collars_face_whoever_looks_on(bald, kind):
    _, vertices = bald
    anatomy = default_anatomy()
    seeds = (np.random.default_rng([seed, 3]) for seed in range(400))
    garment = next(g for g in (sample_garment(rng, 0.5) for rng in seeds) if g.kind == kind)
    cloth = dress(garment, vertices, anatomy.rest, anatomy.faces[anatomy.part == SKIN])
    collar = garment.height(cloth.rest) > 0.003
    outwards = (cloth.vertices[collar] - cloth.vertices[collar].mean(0)) * [1, 0, 1]
    radius, turn = np.linalg.norm(outwards, axis=1), np.round(5 * np.arctan2(outwards[:, 0], outwards[:, 2]))
    outside = [radius[i] >= np.quantile(radius[turn == turn[i]], 0.9) for i in range(len(radius))]
    normals = vertex_normals(cloth.vertices, cloth.faces)[collar]
    assert ((normals * outwards).sum(1)[outside] > 0).all()


def test_clear_lenses_show_the_eyes_and_dark_ones_hide_them(bald):
    person, vertices = bald
    eye = vertices[AnnySource.shared().mesh.landmarks["pupil_left"]].astype(float)
    pose = look_at(eye[None] + [[0, 0, 0.8]], eye[None], np.zeros(1))
    K = np.array([[[600.0, 0, 20], [0, 600.0, 20], [0, 0, 1]]])
    camera = Cameras(torch.from_numpy(pose), torch.from_numpy(K), 40, 40)
    lamps = sample_lamps(np.random.default_rng(3))
    pictures = []
    for wears, passes in ((worn(person), 0.9), (worn(person, rims="round"), 0.92), (worn(person, rims="round"), 0.1)):
        paint = person.paint._replace(lens=np.full(3, passes, np.float32))
        one = replace(person, paint=paint, accessories=wears)
        picture, alpha = render_mesh(lit_mesh(one, vertices, lamps), paint, camera, 2, np.ones((1, 3)))
        pictures.append(picture[0, 15:25, 15:25])
        assert alpha[0, 15:25, 15:25].min() == 1
    bare, clear, dark = pictures
    assert np.abs(clear - bare).mean() < 0.12
    assert dark.mean() < 0.75 * bare.mean()


def test_labels_follow_what_is_worn(bald):
    person, vertices = bald
    dressed = replace(person, accessories=worn(person, rims="square", headwear="cap", earrings="studs"))
    lamps = sample_lamps(np.random.default_rng(3))
    parts = set(lit_mesh(dressed, vertices, lamps).part.tolist())
    assert {GLASSES, LENS, EARRING, HAT} <= parts
    assert (CLOTHES in parts) == (person.garment.kind != "none")
    assert not {GLASSES, LENS, EARRING, HAT, SCARF} & set(lit_mesh(person, vertices, lamps).part.tolist())


@pytest.mark.parametrize("expression", [{"eyeLookInLeft": 0.6, "eyeLookOutRight": 0.6}, {"browInnerUp": 1.0}])
def test_a_look_or_raised_brows_move_neither_glasses_nor_hair(expression):
    person = next(
        p for p in (sample_person(np.random.default_rng(seed)) for seed in range(99)) if p.hair.style == "long"
    )
    person = replace(person, accessories=worn(person, rims="square", earrings="hoops"))
    lamps = sample_lamps(np.random.default_rng(3))
    still, moved = (lit_mesh(person, posed_vertices(person, pose), lamps) for pose in ({}, expression))
    for part in (GLASSES, LENS, EARRING):
        np.testing.assert_array_equal(*(mesh.columns[mesh.faces[mesh.part == part], :3] for mesh in (still, moved)))
    hair = [mesh.strands.columns[mesh.strands.first[mesh.strands.kind == SCALP], :3] for mesh in (still, moved)]
    assert len(hair[0]) > 1000
    np.testing.assert_array_equal(*hair)


def test_headscarves_follow_the_chin_but_not_the_brows(bald):
    person, rest = bald
    accessories, anatomy = worn(person, headwear="headscarf", headwear_deg=58.0), default_anatomy()

    def opening(expression):
        mesh = wear(accessories, anatomy, rest, posed_vertices(person, expression))
        front = mesh.vertices[(np.abs(mesh.vertices[:, 0]) < 0.01) & (mesh.vertices[:, 2] > 0.0)]
        above = front[:, 1] > rest[AnnySource.shared().mesh.landmarks["nose_tip"], 1]
        return front[above, 1].min(), front[~above, 1].max()

    (top, bottom), (raised, _), (_, opened) = (opening(pose) for pose in ({}, {"browInnerUp": 1.0}, {"jawOpen": 1.0}))
    assert abs(raised - top) < 0.002
    assert opened < bottom - 0.006
