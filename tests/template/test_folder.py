import numpy as np
import pytest
import yaml

from headsup_cli.errors import InputError
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.default import load_template
from headsup_cli.template.folder import read_template_folder, write_template_folder
from headsup_cli.template.parts import REGIONS
from headsup_cli.template.texels import sample_texels

# A tetrahedron: ear canals left and right at (+-70, 0, 0) mm, an eye and the crown; its UVs are four corners of a fan.
OBJ = """# a comment
o head
v 70 0 0
v -70 0 0
v 0 0 90
v 0 100 10
vt 0.1 0.1
vt 0.9 0.1
vt 0.5 0.9
vt 0.5 0.4
f 1/1 2/2 3/4
f 2/2 4/3 3/-1
f 4/3 1/1 3/4
"""
FILE = {
    "name": "ours",
    "units": "mm",
    "landmarks": {"ear_canal_left": 0, "ear_canal_right": 1, "orbitale_left": 2, "orbitale_right": 2},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "neutral.obj").write_text(OBJ)
    (tmp_path / "template.yaml").write_text(yaml.safe_dump(FILE))
    return tmp_path


def put(folder, **changes):
    (folder / "template.yaml").write_text(yaml.safe_dump(FILE | changes))


def test_default_survives_the_round_trip(tmp_path):
    template = load_template()
    write_template_folder(template, tmp_path / "copy")
    kept = ("eyeBlinkLeft", "jawOpen", "tongueOut")  # reading all 52 under the type checker takes its time
    for path in (tmp_path / "copy/blendshapes").iterdir():
        if path.stem not in kept:
            path.unlink()
    copy = load_template(tmp_path / "copy")
    np.testing.assert_allclose(copy.vertices, template.vertices, atol=2e-6)
    for index, name in enumerate(ARKIT_NAMES):
        expected = template.blendshapes[index] if name in kept else 0
        np.testing.assert_allclose(copy.blendshapes[index], expected, atol=2e-6)
    np.testing.assert_allclose(copy.uvs, template.uvs, atol=2e-6)
    assert copy.landmarks == template.landmarks
    assert copy.part_names == template.part_names
    for name in ("faces", "uv_faces", "face_parts"):
        assert np.array_equal(getattr(copy, name), getattr(template, name))
    assert np.array_equal(copy.regions["face"], template.regions["face"] >= 0.5)
    assert np.mean(sample_texels(copy, 64).face == sample_texels(template, 64).face) > 0.99


def test_units_and_frame_are_ours(folder):
    template = read_template_folder(folder)
    np.testing.assert_allclose(template.vertices[:3], [[0.07, 0, 0], [-0.07, 0, 0], [0, 0, 0.09]], atol=1e-6)
    np.testing.assert_allclose(template.uvs[2], [0.5, 0.1], atol=1e-6)  # v runs down
    assert template.part_names == ("head",)
    assert set(template.regions) == set(REGIONS)
    assert template.regions["face"].min() == 1
    assert template.blendshapes.max() == 0


def test_turned_and_moved_mesh_comes_upright(folder):
    expected = read_template_folder(folder).vertices
    turn = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    lines = OBJ.splitlines()
    for index, line in enumerate(lines):
        if line.startswith("v "):
            moved = turn @ np.array(line.split()[1:], dtype=float) + [500, -20, 7]
            lines[index] = "v " + " ".join(map(str, moved))
    (folder / "neutral.obj").write_text("\n".join(lines))
    np.testing.assert_allclose(read_template_folder(folder).vertices, expected, atol=1e-6)


def test_environment_names_the_template(folder, monkeypatch):
    monkeypatch.setenv("HEADSUP_TEMPLATE", str(folder))
    assert load_template().name == "ours"


def test_blendshapes_are_offsets(folder):
    put(folder, blendshapes="shapes")
    (folder / "shapes").mkdir()
    (folder / "shapes/jawOpen.obj").write_text(OBJ.replace("v 0 100 10", "v 0 80 10"))
    posed = read_template_folder(folder).posed({"jawOpen": 0.5})
    np.testing.assert_allclose(posed[3], [0, 0.09, 0.01], atol=1e-6)


def test_regions_are_lists_of_vertices(folder):
    put(folder, regions={"scalp": [3]})
    regions = read_template_folder(folder).regions
    assert regions["scalp"].tolist() == [0, 0, 0, 1]
    assert regions["face"].max() == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": "inch"}, "units"),
        ({"units": "m"}, "units.*140 m apart"),
        ({"landmarks": {"ear_canal_left": 0}}, "landmarks.ear_canal_right"),
        ({"landmarks": FILE["landmarks"] | {"chin": 4}}, "landmarks.chin is 4"),
        ({"landmarks": FILE["landmarks"] | {"orbitale_left": 0, "orbitale_right": 1}}, "landmarks.*one line"),
        ({"regions": {"face": [0, 9]}}, "regions.face is 9"),
        ({"mesh": "../neutral.obj"}, "way out"),
        ({"mesh": "other.obj"}, "other.obj.*not readable"),
        ({"blendshapes": "nowhere"}, "nowhere.*no folder"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_faults_in_the_yaml_are_named(folder, changes, message):
    put(folder, **changes)
    with pytest.raises(InputError, match=message):
        read_template_folder(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("v 70 0 0", "v 70 0", "line 3.*3 finite numbers"),
        ("v 70 0 0", "v nan 0 0", "line 3.*3 finite numbers"),
        ("f 1/1 2/2 3/4", "f 1/1 2/2 9/4", "line 11.*'9'"),
        ("f 1/1 2/2 3/4", "f 1/1 2/2 x/4", "line 11.*'x'"),
        ("f 1/1 2/2 3/4", "f 1/1 2/2 0/4", "line 11.*'0'"),
        ("f 1/1 2/2 3/4", "f 1 2 3", "line 11.*without a UV"),
        ("f 1/1 2/2 3/4", "f 1/1 2/2", "line 11.*2 corners"),
        ("vt 0.9 0.1", "vt 1.9 0.1", r"UVs in \[0, 1\]"),
        ("f 4/3 1/1 3/4", "f 4/3 1/1 3/2", "overlapping"),
    ],
)
def test_faults_in_the_mesh_are_named(folder, old, new, message):
    (folder / "neutral.obj").write_text(OBJ.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_template_folder(folder)


@pytest.mark.parametrize("content", ["", "v 1 2 3\n", "\x00\xff binary"])
def test_no_mesh_is_no_mesh(folder, content):
    (folder / "neutral.obj").write_text(content)
    with pytest.raises(InputError, match=r"neutral\.obj.*no faces"):
        read_template_folder(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("jawOpn.obj", OBJ, "no ARKit blendshape"),
        ("jawOpen.obj", OBJ.replace("v 0 100 10\n", ""), "3 vertices"),
        ("jawOpen.obj", "", "no vertices"),
    ],
)
def test_faults_in_blendshapes_are_named(folder, name, content, message):
    put(folder, blendshapes="shapes")
    (folder / "shapes").mkdir()
    (folder / "shapes" / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_template_folder(folder)


def test_missing_folder_is_told(tmp_path):
    with pytest.raises(InputError, match=r"template\.yaml"):
        load_template(tmp_path / "nowhere")
