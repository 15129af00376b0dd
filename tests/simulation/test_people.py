import numpy as np
import pytest

from headsup_cli.simulation.anatomy import EYE, SKIN, default_anatomy
from headsup_cli.simulation.expressions import coefficients, sample_expression
from headsup_cli.simulation.hair import STYLES, grow_hair, sample_hair, scalp_mask
from headsup_cli.simulation.identity import neutral_vertices, sample_identity
from headsup_cli.simulation.lighting import sample_lamps
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig import LAYOUTS, sample_cameras
from headsup_cli.template.anny_source import AnnySource
from headsup_cli.template.arkit import ARKIT_NAMES


def test_identities_spread_within_human_ranges():
    landmarks, anatomy = AnnySource.shared().mesh.landmarks, default_anatomy()
    rng = np.random.default_rng(0)
    apart, tall, ages = [], [], []
    for _ in range(30):
        identity = sample_identity(rng)
        vertices = neutral_vertices(rng, identity, anatomy, departure=0.4)
        left, right = (vertices[landmarks[f"pupil_{side}"]] for side in ("left", "right"))
        apart.append(np.linalg.norm(left - right) * 1000)
        tall.append((vertices[landmarks["crown"]][1] - vertices[landmarks["chin"]][1]) * 1000)
        ages.append(identity.age)
        assert sum(identity.ancestry.values()) == pytest.approx(1)
    # Between a small child's and a large man's: pupils 46 to 78 mm apart, 150 to 270 mm from chin to crown.
    assert min(apart) > 46
    assert max(apart) < 78
    assert min(tall) > 150
    assert max(tall) < 270
    assert np.std(apart) > 1.5
    assert np.std(tall) > 5
    assert min(ages) < 0.5
    assert max(ages) > 0.8


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


def test_every_style_of_hair_grows_on_the_scalp():
    anatomy, rng, seen = default_anatomy(), np.random.default_rng(2), set()
    vertices = AnnySource.shared().vertices_for({"age": 2 / 3})
    for draw in range(300):
        hair = sample_hair(rng, gender=float(draw % 2), age=0.6)
        if hair.style in seen:
            continue
        seen.add(hair.style)
        mask, mesh = scalp_mask(hair, anatomy), grow_hair(hair, anatomy, vertices)
        assert (mask.max() == 0) == (hair.style == "bald")
        assert mask[AnnySource.shared().mesh.landmarks["nose_tip"]] == 0
        if hair.style in ("bald", "shaved"):
            assert mesh is None
            continue
        assert np.isfinite(mesh.vertices).all()
        assert mesh.faces.max() < len(mesh.vertices)
        assert np.linalg.norm(mesh.vertices - [0, 0.05, 0], axis=1).max() < 0.75
        top = mesh.vertices[:, 1].max() - vertices[:, 1].max()
        assert -0.002 < top < 0.17
    assert seen == set(STYLES)


def test_expression_moves_the_mouth_and_not_the_skull():
    person = sample_person(np.random.default_rng(4))
    moved = np.linalg.norm(posed_vertices(person, {"jawOpen": 1.0}) - posed_vertices(person, {}), axis=1)
    landmarks = AnnySource.shared().mesh.landmarks
    assert moved[landmarks["chin"]] > 0.008
    assert moved[landmarks["crown"]] < 1e-4


def test_body_is_cut_cleanly_and_lit():
    rng = np.random.default_rng(5)
    people = [sample_person(rng) for _ in range(8)]
    lamps = sample_lamps(rng)
    shapes = set()
    for person in people:
        mesh = lit_mesh(person, posed_vertices(person, {}), lamps)
        assert np.isfinite(mesh.columns).all()
        assert mesh.faces.max() < len(mesh.columns)
        assert len(mesh.part) == len(mesh.faces)
        assert (mesh.part == EYE).sum() == (default_anatomy().part == EYE).sum()
        assert mesh.columns[:, 11:].min() > 0
        shapes.add(int((mesh.part == SKIN).sum()))
    assert len(shapes) > 2


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
