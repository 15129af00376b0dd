import numpy as np
import pytest

from headsup_cli.simulation.attributes import attributes, hair_colour
from headsup_cli.simulation.body.anatomy import EYE, SKIN, Part, default_anatomy
from headsup_cli.simulation.body.expressions import coefficients, sample_expression
from headsup_cli.simulation.body.identity import age_years, neutral_vertices, sample_identity
from headsup_cli.simulation.body.measurements import face_measurements
from headsup_cli.simulation.drawing.lighting import SETUPS, sample_lamps
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig.rig import LAYOUTS, sample_cameras
from headsup_cli.template.anny_source import AnnySource
from headsup_cli.template.arkit import ARKIT_NAMES


def test_identities_are_young_and_old_of_both_sexes():
    rng = np.random.default_rng(0)
    people = [sample_identity(rng) for _ in range(60)]
    years = [age_years(person.age) for person in people]
    assert min(years) < 12
    assert max(years) > 70
    assert 20 <= sum(person.gender > 0.5 for person in people) <= 40
    assert all(sum(person.ancestry.values()) == pytest.approx(1) for person in people)


def test_children_have_smaller_heads_and_eyeballs_stay_round():
    anatomy = default_anatomy()
    for seed in range(12):
        rng = np.random.default_rng([seed, 9])
        identity = sample_identity(rng)
        vertices = neutral_vertices(rng, identity, anatomy, departure=1.0)
        measured = face_measurements(vertices)
        for name, size in identity.size_mm.items():
            assert measured[name] == pytest.approx(size, rel=0.06), name
        for eye in anatomy.eye_vertices:
            ratio = np.ptp(vertices[eye, :2], axis=0) / np.ptp(anatomy.rest[eye, :2], axis=0)
            assert ratio[0] == pytest.approx(ratio[1], rel=0.12)


def test_expressions_are_arkit_and_eyes_look_the_same_way():
    rng = np.random.default_rng(1)
    drawn = [sample_expression(rng) for _ in range(60)]
    for expression in drawn:
        assert expression.keys() <= set(ARKIT_NAMES)
        assert all(0 < value <= 1 for value in expression.values())
        assert expression.get("eyeLookOutLeft") == expression.get("eyeLookInRight")
        assert expression.get("eyeLookUpLeft") == expression.get("eyeLookUpRight")
    assert {"jawOpen", "mouthSmileLeft", "eyeBlinkLeft", "browInnerUp"} <= set().union(*drawn)
    assert coefficients({"jawOpen": 0.5})[ARKIT_NAMES.index("jawOpen")] == 0.5


def test_expression_moves_the_mouth_and_not_the_skull():
    person = sample_person(np.random.default_rng(4))
    moved = np.linalg.norm(posed_vertices(person, {"jawOpen": 1.0}) - posed_vertices(person, {}), axis=1)
    landmarks = AnnySource.shared().mesh.landmarks
    assert moved[landmarks["chin"]] > 0.008
    assert moved[landmarks["crown"]] < 1e-4


def test_body_is_cut_cleanly_and_lit():
    rng = np.random.default_rng(5)
    people = [sample_person(rng) for _ in range(6)]
    lamps = sample_lamps(rng)
    shapes = set()
    for person in people:
        mesh = lit_mesh(person, posed_vertices(person, {}), lamps)
        assert np.isfinite(mesh.columns).all()
        assert mesh.faces.max() < len(mesh.columns)
        assert len(mesh.part) == len(mesh.faces)
        assert (mesh.part == EYE).sum() == (default_anatomy().part == EYE).sum()
        assert mesh.columns[:, 11:14].min() >= 0
        assert set(mesh.part.tolist()) <= set(Part)
        shapes.add(int((mesh.part == SKIN).sum()))
    assert len(shapes) > 2


def test_nostrils_ears_and_chin_are_shaded():
    anatomy, landmarks = default_anatomy(), AnnySource.shared().mesh.landmarks
    assert anatomy.openness[landmarks["crown"]] > 0.95
    assert anatomy.openness[landmarks["nose_tip"]] > 0.95
    assert anatomy.openness[landmarks["ear_canal_left"]] < 0.6
    assert anatomy.openness[landmarks["upper_lid_left"]] < 0.6


def test_lamps_light_the_face_evenly_in_every_setup():
    drawn = [sample_lamps(np.random.default_rng([seed, 11])) for seed in range(60)]
    assert {lamps.setup for lamps in drawn} == set(SETUPS)
    for lamps in drawn:
        np.testing.assert_allclose(np.linalg.norm(lamps.directions, axis=1), 1, atol=1e-5)
        ahead = np.array([[0, 0, 1], [0.6, 0.3, 0.74], [-0.6, 0.3, 0.74]])
        light = (np.clip(ahead @ lamps.directions.T, 0, None) @ lamps.colours).mean(1)
        assert 0.45 < light.max() < 1.8


def test_attributes_say_what_was_drawn():
    seen = set()
    for seed in range(25):
        person = sample_person(np.random.default_rng([seed, 12]))
        said = attributes(person)
        assert all(isinstance(value, str | float | bool) for value in said.values())
        assert said["clothes"] == person.garment.kind
        assert (said["glasses"] == "none") == (person.accessories.rims == "none")
        assert said["person"] in (("woman", "girl") if said["sex"] == "female" else ("man", "boy"))
        assert (said["age_years"] >= 18) == (said["person"] in ("man", "woman"))
        seen.add((said["skin"], said["eyes"], said["hair_colour"]))
    assert len(seen) > 12
    assert hair_colour(np.array([0.02, 0.015, 0.012]), 0.0) == "black"
    assert hair_colour(np.array([0.02, 0.015, 0.012]), 0.9) == "white"
    assert hair_colour(np.array([0.05, 0.1, 0.5]), 0.0) == "dyed blue"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cameras_look_at_the_head(layout):
    cameras = sample_cameras(np.random.default_rng(6), 16, 90, 120, layout)
    middle = cameras.cam_from_world.new_tensor([[0.0, 0.01, 0.02]])
    pixels, depth = cameras.project(middle)
    assert ((depth > 0.6) & (depth < 1.8)).all()
    assert ((pixels[:, 0] - pixels.new_tensor([45.0, 60.0])).abs() < pixels.new_tensor([27.0, 36.0])).all()
    rotation = cameras.cam_from_world[:, :3, :3]
    assert (rotation @ rotation.mT - rotation.new_tensor(np.eye(3))).abs().max() < 1e-9
    assert (rotation[:, 1, 1] < -0.5).all()  # image rows run down, the head's +Y up
