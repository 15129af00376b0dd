import numpy as np
import pytest

from headsup_cli.simulation.attributes import attributes, hair_colour
from headsup_cli.simulation.body.anatomy import EYE, SKIN, Part, default_anatomy
from headsup_cli.simulation.body.expressions import coefficients, sample_expression, sample_shapes
from headsup_cli.simulation.body.identity import age_years, neutral_vertices, sample_identity
from headsup_cli.simulation.body.measurements import face_measurements
from headsup_cli.simulation.drawing.lighting import SETUPS, sample_lamps
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig.rig import HEAD_CENTRE_M, LAYOUTS, RigSpread, sample_cameras
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


def test_shapes_are_drawn_whatever_they_are_alone_and_together_on_one_side_and_on_both():
    rng = np.random.default_rng(2)
    drawn = [sample_shapes(rng) for _ in range(200)]
    assert set().union(*drawn) == set(ARKIT_NAMES)
    assert {len(shapes) for shapes in drawn} >= {1, 2, 3, 4, 5}
    assert all(0.3 <= weight <= 1 for shapes in drawn for weight in shapes.values())
    sides = [(shapes.get("browDownLeft"), shapes.get("browDownRight")) for shapes in drawn]
    assert any(left and left == right for left, right in sides)
    assert any(left and not right for left, right in sides)


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


def test_a_seed_draws_the_rig_that_it_always_drew():
    cameras = sample_cameras(np.random.default_rng(6), 3, 90, 120)
    middles = [[45.426109893, 61.289484133], [45.331759378, 59.779613551], [45.225118038, 61.563308625]]
    np.testing.assert_allclose(cameras.K[:, 0, 0], [232.409299518, 269.916547716, 243.874303487], atol=1e-8)
    np.testing.assert_allclose(cameras.K[:, :2, 2], middles, atol=1e-8)
    centres = [
        [-0.666178519, 0.489236247, -0.141159255],
        [-0.157667515, 0.171355733, 0.942108572],
        [0.745760206, -0.260154368, -0.232552925],
    ]
    np.testing.assert_allclose(cameras.centres, centres, atol=1e-8)


def test_focal_lengths_principal_points_and_places_are_spread_one_by_one():
    def drawn(layout="dome", **spread):
        cameras = sample_cameras(np.random.default_rng(6), 12, 90, 120, layout, spread=RigSpread(**spread))
        return cameras.K.numpy(), cameras.cam_from_world.numpy()

    (K, poses), middle = drawn(), np.array([45.0, 60.0])
    same_focal, same_poses = drawn(focal=0.0)
    np.testing.assert_array_equal(same_focal[:, 0, 0], same_focal[0, 0, 0])
    np.testing.assert_array_equal(same_focal[:, :2, 2], K[:, :2, 2])
    np.testing.assert_array_equal(same_poses, poses)
    deviation = K[:, 0, 0] / same_focal[:, 0, 0] - 1
    assert 0.06 < np.abs(deviation).max() < 0.136
    np.testing.assert_allclose(drawn(focal=0.26)[0][:, 0, 0] / same_focal[:, 0, 0] - 1, 2 * deviation, atol=1e-12)
    centred, same_poses = drawn(principal=0.0)
    np.testing.assert_array_equal(centred[:, :2, 2], np.tile(middle, (12, 1)))
    np.testing.assert_array_equal(centred[:, 0, 0], K[:, 0, 0])
    np.testing.assert_array_equal(same_poses, poses)
    np.testing.assert_allclose(drawn(principal=0.036)[0][:, :2, 2] - middle, 3 * (K[:, :2, 2] - middle), atol=1e-9)
    for layout in ("dome", "ring", "front"):
        same_K, regular = drawn(layout, irregularity=0.0)
        np.testing.assert_array_equal(same_K, drawn(layout)[0])
        centres = -np.einsum("cji,cj->ci", regular[:, :3, :3], regular[:, :3, 3])
        distance = np.linalg.norm(centres - HEAD_CENTRE_M, axis=1)
        np.testing.assert_allclose(distance, distance[0])
        np.testing.assert_allclose(
            regular[:, :3, :3] @ HEAD_CENTRE_M + regular[:, :3, 3], distance[:, None] * [0, 0, 1], atol=1e-9
        )
        np.testing.assert_allclose(regular[:, 0, 1], 0, atol=1e-9)  # no roll: rows are level
