"""Whatever is in a calibration, it is read or told in one sentence."""

import json
import logging
import os
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headsup_cli.capture.rigs.calibrated_camera import rotation_from_quaternion
from headsup_cli.capture.rigs.detection import IMPORTERS, is_rig_dump, read_rig_dump
from headsup_cli.errors import InputError
from headsup_cli.media.images import write_image
from headsup_cli.media.pictures import Picture, picture_size, read_picture

# For each dialect the files that a stranger may have written.
FILES = {
    "native": ["calibration.json"],
    "colmap text": ["sparse/0/cameras.txt", "sparse/0/images.txt"],
    "colmap binary": ["sparse/cameras.bin", "sparse/images.bin"],
    "nerfstudio": ["transforms.json"],
    "blender": ["transforms_train.json"],
    "vhap": ["transforms.json"],
    "nersemble v2": ["calibration/camera_params.json", "calibration/color_calibration.json"],
    "nersemble v1": ["../camera_params/d/camera_params.json", "../color_correction/d/222200036.npy"],
    "ava-256": ["decoder/camera_calibration.json", "decoder/image/cam400883.zip"],
    "krt": ["KRT"],
    "facescape": ["params.json"],
    "stereo yml": ["intrinsics.yml", "extrinsics.yml"],
    "stereo xml": ["intrinsics.xml"],
    "stereo json": ["extrinsics.json"],
    "easymocap": ["intri.yml", "extri.yml"],
    "mc-calib": ["calibrated_cameras_data.yml"],
    "multiview": ["result.yaml"],
    "kalibr": ["camchain.yaml"],
    "metashape": ["cameras.xml"],
    "realityscan csv": ["cameras.csv"],
    "realityscan xmp": ["images/a/left.xmp"],
}
WORDS = [
    "nan",
    "-inf",
    "1e999",
    "-1",
    "0",
    "1e-320",
    "9" * 400,
    "",
    "x",
    "\x00",
    "../../etc",
    "é",
    "[[[",
    "&a *a",
    "<<",
]
VALUES = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1e308,
        10**400,
        float("nan"),
        "",
        "\ud800",
        "../x",
        "\x00",
        [],
        {},
        [[1]],
        [1, "a"],
        {"a": 1},
        "1",
    ]
)


@pytest.fixture(scope="module")
def dialects(tmp_path_factory):
    """A dump of each dialect, written when first asked for."""
    written = {}

    def of(name, write):
        if name not in written:
            written[name] = tmp_path_factory.mktemp("dumps") / "d"
            write(name, written[name])
        return written[name]

    return of


def read_or_told(folder):
    """Read a dump; None where it was refused in one sentence."""
    logging.disable()
    try:
        return read_rig_dump(folder) if is_rig_dump(folder) else None
    except InputError as error:
        told = str(error)
    finally:
        logging.disable(logging.NOTSET)
    assert "\n" not in told
    return None


def with_word_replaced(content, index, word):
    words = list(re.finditer(rb"[^\s,<>\[\]{}:\"=]+", content))
    if not words:
        return content
    match = words[index % len(words)]
    return content[: match.start()] + word.encode(errors="replace") + content[match.end() :]


def with_value_replaced(content, index, value):
    """A JSON file with one of its nodes replaced."""
    root = json.loads(content)
    nodes = []

    def visit(node):
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            nodes.append((node, key))
            visit(node[key])

    visit(root)
    parent, key = nodes[index % len(nodes)]
    parent[key] = value
    return json.dumps(root).encode()


def with_bytes_replaced(content, index, patch):
    start = index % (len(content) + 1)
    return content[:start] + patch + content[start + len(patch) :]


@pytest.mark.parametrize("name", list(FILES))
def test_damaged_calibrations_are_read_or_told(name, dialects, write_dialect):
    folder = dialects(name, write_dialect)
    originals = {file: (folder / file).read_bytes() for file in FILES[name]}

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        file=st.sampled_from(FILES[name]),
        index=st.integers(0, 2**20),
        how=st.sampled_from(["word", "value", "bytes", "cut"]),
        word=st.sampled_from(WORDS),
        value=VALUES,
        patch=st.binary(min_size=1, max_size=8),
    )
    def check(file, index, how, word, value, patch):
        content = originals[file]
        if how == "cut":
            damaged = content[: index % len(content)]
        elif how == "bytes":
            damaged = with_bytes_replaced(content, index, patch)
        elif how == "value" and file.endswith(".json") and b"%" not in content[:1]:
            damaged = with_value_replaced(content, index, value)
        else:
            damaged = with_word_replaced(content, index, word)
        (folder / file).write_bytes(damaged)
        try:
            dump = read_or_told(folder)
        finally:
            (folder / file).write_bytes(content)
        for camera in dump.cameras.values() if dump else ():
            assert np.isfinite(camera.K).all()
            assert np.isfinite(camera.cam_from_rig).all()
            assert np.isfinite(camera.lens.coefficients).all()
            np.testing.assert_allclose(np.linalg.det(camera.cam_from_rig[:3, :3]), 1.0)

    check()
    assert read_or_told(folder) is not None


@pytest.mark.parametrize("name", ["colmap text", "nerfstudio", "krt", "facescape", "kalibr", "metashape"])
def test_a_reflection_is_named_with_its_camera(name, dialects, write_dialect, tmp_path):
    folder = tmp_path / "d"
    write_dialect(name, folder)
    file = folder / FILES[name][-1]
    if name == "colmap text":
        text = re.sub(r"(?m)^(\d+) \S+ \S+ \S+ \S+ (.*left)", r"\1 0 0 0 0 \2", file.read_text())
        named = "left"
    elif name == "nerfstudio":
        content = json.loads(file.read_text())
        frame = content["frames"][2]
        frame["transform_matrix"][0] = [-v for v in frame["transform_matrix"][0]]
        text, named = json.dumps(content), "left"
    elif name == "facescape":
        content = json.loads(file.read_text())
        content["13_Rt"][1] = [-v for v in content["13_Rt"][1]]
        text, named = json.dumps(content), "13"
    elif name == "krt":
        lines = file.read_text().split("\n")
        lines[14] = " ".join(str(-float(v)) for v in lines[14].split())
        text, named = "\n".join(lines), "400004"
    elif name == "kalibr":
        text, named = re.sub(r"(cam1[\s\S]*?T_cn_cnm1: \[\[)-?", r"\g<1>5", file.read_text(), count=1), "cam1"
    else:
        text = re.sub(r'(label="LEFT.*?<transform>)\S+', r"\g<1>7", file.read_text(encoding="utf-8"))
        named = "LEFT"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"rotation of camera .*{named}"):
        read_rig_dump(folder)


@pytest.mark.parametrize("model", ["omni-radtan", "ds-none", "pinhole-fov"])
def test_kalibrs_other_models_are_refused(write_dialect, tmp_path, model):
    write_dialect("kalibr", tmp_path / "d")
    path = tmp_path / "d" / "camchain.yaml"
    camera, distortion = model.split("-")
    text = path.read_text().replace("pinhole", camera, 1).replace("radtan", distortion, 1)
    path.write_text(text)
    with pytest.raises(
        InputError, match=rf"cam0 is a camera of model {model}, expected pinhole-radtan or pinhole-equi"
    ):
        read_rig_dump(tmp_path / "d")


def test_bombs_of_text_are_refused(write_dialect, tmp_path):
    write_dialect("kalibr", tmp_path / "k")
    lines = ["a0: &a0 [1, 1]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    path = tmp_path / "k" / "camchain.yaml"
    path.write_text(path.read_text() + "\n".join(lines))
    with pytest.raises(InputError, match="YAML with references"):
        read_rig_dump(tmp_path / "k")
    write_dialect("metashape", tmp_path / "m")
    path = tmp_path / "m" / "cameras.xml"
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    path.write_text(path.read_text(encoding="utf-8").replace("?>", "?>" + bomb, 1), encoding="utf-8")
    with pytest.raises(InputError, match="XML with a document type"):
        read_rig_dump(tmp_path / "m")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret.png", "a\x00b.png", "x" * 3000])
def test_paths_out_of_the_dump_are_refused(write_dialect, tmp_path, name):
    write_image(tmp_path / "secret.png", np.zeros((64, 48, 3), np.uint8))
    write_dialect("nerfstudio", tmp_path / "d")
    path = tmp_path / "d" / "transforms.json"
    content = json.loads(path.read_text())
    content["frames"][0]["file_path"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a way out of its folder|which is not there"):
        read_rig_dump(tmp_path / "d")


@pytest.mark.parametrize("name", ["colmap binary", "nerfstudio", "krt", "stereo yml", "metashape", "realityscan csv"])
def test_links_out_of_the_dump_are_refused(write_dialect, tmp_path, name):
    folder = tmp_path / "d"
    write_dialect(name, folder)
    target = next(path for path in sorted((folder / "images").rglob("*")) if path.suffix in (".png", ".jpg"))
    target.rename(tmp_path / "elsewhere.png")
    target.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match="a way out of its folder"):
        read_rig_dump(folder)


def test_picture_of_100_megapixels_is_refused_by_its_header(write_dialect, tmp_path):
    write_dialect("krt", tmp_path / "d")
    path = tmp_path / "d" / "images" / "E001_Neutral" / "400002" / "000220.png"
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">2I", 12_000, 8_400)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"expected 12000 x 8400|12000 x 8400 pixels, expected"):
        read_rig_dump(tmp_path / "d")


def zipped(path, content, announced=None):
    """An archive of one picture; `announced` is the size that it lies about."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", content)
    if announced is not None:
        data = path.read_bytes()
        data = data.replace(struct.pack("<I", len(content)), struct.pack("<I", announced))
        path.write_bytes(data)
    return Picture(path, member="a.png")


def test_zip_bombs_are_refused(tmp_path):
    image = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    assert read_picture(zipped(tmp_path / "good.zip", image)).shape == (8, 8, 3)
    with pytest.raises(InputError, match="MiB once unpacked"):
        read_picture(zipped(tmp_path / "big.zip", image, 3 << 30))
    with pytest.raises(InputError):
        read_picture(zipped(tmp_path / "liar.zip", image + bytes(10 << 20), len(image)))
    bomb = zipped(tmp_path / "bomb.zip", bytes(100 << 20))
    assert bomb.path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(InputError, match="without a readable"):
        read_picture(bomb)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    with pytest.raises(InputError, match="not in its archive"):
        read_picture(Picture(tmp_path / "good.zip", member="b.png"))
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match="damaged"):
        picture_size(Picture(tmp_path / "no.zip", member="a.png"))
    header = bytearray(image)
    header[16:24] = struct.pack(">2I", 60_000, 60_000)
    with pytest.raises(InputError, match="60000 x 60000 pixels"):
        read_picture(zipped(tmp_path / "wide.zip", bytes(header)))


@pytest.mark.parametrize("importer", [importer.name for importer in IMPORTERS])
def test_empty_folders_are_refused_by_every_importer(tmp_path, importer):
    with pytest.raises(InputError):
        read_rig_dump(tmp_path, importer)
    assert not is_rig_dump(tmp_path)
    assert not is_rig_dump(tmp_path / "nowhere")
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    assert Path(tmp_path).is_dir()


@pytest.mark.filterwarnings("error")
def test_a_huge_quaternion_is_told_without_an_overflow():
    with pytest.raises(InputError, match="a quaternion of norm inf"):
        rotation_from_quaternion("images.bin", "left", np.array([1e300, 1e300, 0.0, 0.0]))
