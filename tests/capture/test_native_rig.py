import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headsup_cli.capture.rigs import native
from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
from headsup_cli.errors import InputError
from headsup_cli.media.images import write_image
from headsup_cli.media.pictures import read_picture

WIDTH, HEIGHT = 24, 32
CAMERAS = ("left", "front camera", "ŕight")


def calibration(units="m", pixel_origin="center"):
    per_metre = {"m": 1.0, "cm": 100.0, "mm": 1000.0}[units]
    cameras = {}
    for index, name in enumerate(CAMERAS):
        angle = 0.5 * (index - 1)
        c, s = np.cos(angle), np.sin(angle)
        cameras[name] = {
            "K": [[60.0, 0.0, 11.5], [0.0, 61.0, 15.5], [0.0, 0.0, 1.0]],
            "dist": [-0.1, 0.01, 0.001, -0.001, 0.0],
            "R": [[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]],
            "t": [0.01 * per_metre, 0.0, 1.0 * per_metre],
            "width": WIDTH,
            "height": HEIGHT,
        }
    return {"schema": "headsup-rig/1", "units": units, "pixel_origin": pixel_origin, "cameras": cameras}


def write_dump(folder: Path, *, frames=(None,), masks=True, content=None):
    """Write a native dump and return its folder."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calibration.json").write_text(json.dumps(content or calibration()))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[8:, 6:18] = 255
    for frame in frames:
        for name in CAMERAS:
            image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            write_image(folder / "images" / (frame or "") / f"{name}.png", image)
            if masks:
                write_image(folder / "masks" / (frame or "") / f"{name}.png", mask)
    return folder


def written(folder, **changes):
    """A dump whose first camera has the given entries."""
    content = calibration()
    content["cameras"][CAMERAS[0]] |= changes
    return write_dump(folder, content=content)


@pytest.mark.parametrize("units", ["m", "cm", "mm"])
def test_cameras_are_read_in_metres(tmp_path, units):
    dump = read_rig_dump(write_dump(tmp_path / "d", content=calibration(units)))
    np.testing.assert_allclose(dump.cameras[CAMERAS[1]].cam_from_rig[:3, 3], [0.01, 0, 1.0], atol=1e-12)
    assert dump.metres_per_unit == {"m": 1.0, "cm": 0.01, "mm": 0.001}[units]


@pytest.mark.parametrize(("origin", "cx"), [("center", 12.0), ("corner", 11.5)])
def test_pixel_centres_become_half_integers(tmp_path, origin, cx):
    dump = read_rig_dump(write_dump(tmp_path / "d", content=calibration(pixel_origin=origin)))
    assert dump.cameras[CAMERAS[0]].K[0, 2] == cx
    assert dump.cameras[CAMERAS[0]].K[0, 0] == 60.0


def test_one_frame_and_several(tmp_path):
    assert list(read_rig_dump(write_dump(tmp_path / "one")).frames) == [native.ONLY_FRAME]
    folder = write_dump(tmp_path / "many", frames=("smile", "neutral"))
    (folder / "expressions.json").write_text('{"smile": {"mouthSmileLeft": 0.9}, "neutral": {}}')
    dump = read_rig_dump(folder)
    assert set(dump.frames) == {"smile", "neutral"}
    assert dump.expressions == {"smile": {"mouthSmileLeft": 0.9}, "neutral": {}}
    assert set(dump.frames["smile"].masks) == set(CAMERAS)


def test_what_is_written_is_read_again(tmp_path):
    dump = read_rig_dump(write_dump(tmp_path / "d", content=calibration("mm")))
    copy = tmp_path / "copy"
    images = {name: read_picture(picture) for name, picture in dump.frames[native.ONLY_FRAME].images.items()}
    mask = {name: np.full((HEIGHT, WIDTH), 255, np.uint8) for name in images}
    native.write_rig_frame(copy, images, mask, frame="smile")
    native.write_backgrounds(copy, images)
    native.write_expressions(copy, {"smile": {"jawOpen": 0.5}})
    native.write_calibration(copy / "calibration.json", dump.cameras)
    again = read_rig_dump(copy)
    for name, camera in dump.cameras.items():
        np.testing.assert_allclose(again.cameras[name].K, camera.K)
        np.testing.assert_allclose(again.cameras[name].cam_from_rig, camera.cam_from_rig, atol=1e-12)
        np.testing.assert_array_equal(read_picture(again.frames["smile"].images[name]), images[name])
        np.testing.assert_array_equal(read_picture(again.backgrounds[name]), images[name])
    assert again.expressions == {"smile": {"jawOpen": 0.5}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"R": [[1, 0, 0], [0, 1.1, 0], [0, 0, 1]]}, "rotation"),
        ({"R": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, "rotation"),
        ({"K": [[float("nan"), 0, 12], [0, 60, 16], [0, 0, 1]]}, "finite"),
        ({"K": [[-60, 0, 12], [0, 60, 16], [0, 0, 1]]}, "positive focal"),
        ({"K": [[60, 0, 12], [0, 60, 16]]}, "K"),
        ({"dist": [0.0, 0.0]}, "dist"),
        ({"lens": "fisheye"}, "dist"),
        ({"lens": "pinhole"}, "lens"),
        ({"width": 0}, "width"),
        ({"height": 10**9}, "height"),
        ({"t": ["a", 0, 0]}, "t[0]"),
        ({"focal": 3}, "focal"),
    ],
)
def test_bad_calibration_is_named_with_its_camera_and_field(tmp_path, changes, named):
    with pytest.raises(InputError) as error:
        read_rig_dump(written(tmp_path / "d", **changes))
    message = str(error.value)
    assert CAMERAS[0] in message
    assert named in message
    assert "\n" not in message


def test_picture_of_another_size_is_refused(tmp_path):
    with pytest.raises(InputError, match="24 x 32 pixels, expected 48 x 32 as calibrated"):
        read_rig_dump(written(tmp_path / "d", width=48))
    with pytest.raises(InputError, match="24 x 32 pixels, expected 32 x 24 as calibrated; turn it back"):
        read_rig_dump(written(tmp_path / "turned", width=32, height=24))


def test_camera_without_picture_is_left_out_with_a_warning(tmp_path, caplog):
    folder = write_dump(tmp_path / "d")
    (folder / "images" / f"{CAMERAS[0]}.png").unlink()
    dump = read_rig_dump(folder)
    assert set(dump.frames[native.ONLY_FRAME].images) == set(CAMERAS[1:])
    assert dump.left_out == {f"{native.ONLY_FRAME}/{CAMERAS[0]}": "no picture"}
    assert CAMERAS[0] in caplog.text


def test_pictures_of_no_known_camera_are_refused(tmp_path):
    folder = write_dump(tmp_path / "d")
    for path in (folder / "images").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(InputError, match="none of the 3 calibrated cameras"):
        read_rig_dump(folder)


def test_link_out_of_the_dump_is_refused(tmp_path):
    folder = write_dump(tmp_path / "d")
    secret = tmp_path / "secret.png"
    write_image(secret, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    target = folder / "images" / f"{CAMERAS[0]}.png"
    target.unlink()
    target.symlink_to(secret)
    with pytest.raises(InputError, match="a way out of its folder"):
        read_rig_dump(folder)


def test_same_camera_twice_and_loose_pictures_are_refused(tmp_path):
    folder = write_dump(tmp_path / "twice")
    write_image(folder / "images" / f"{CAMERAS[0]}.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(InputError, match="there twice"):
        read_rig_dump(folder)
    folder = write_dump(tmp_path / "loose", frames=("a", None))
    with pytest.raises(InputError, match="pictures beside frame folders"):
        read_rig_dump(folder)


def test_folders_that_are_no_dump(tmp_path):
    assert not is_rig_dump(tmp_path)
    with pytest.raises(InputError, match="no rig dump"):
        read_rig_dump(tmp_path)
    with pytest.raises(InputError, match="missing"):
        read_rig_dump(tmp_path / "nowhere")
    folder = write_dump(tmp_path / "uncalibrated")
    (folder / "calibration.json").unlink()
    with pytest.raises(InputError, match="pictures without calibration cannot be used"):
        read_rig_dump(folder)
    folder = write_dump(tmp_path / "blind")
    for path in (folder / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="without pictures"):
        read_rig_dump(folder)


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", "nul\x00", "x" * 200])
def test_camera_names_must_be_file_names(tmp_path, name):
    content = calibration()
    content["cameras"][name] = content["cameras"][CAMERAS[0]]
    with pytest.raises(InputError):
        native.read_calibration(_json(tmp_path, content))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(field=st.sampled_from(["K", "dist", "R", "t", "width", "height"]), value=json_values)
def test_any_value_in_any_field_is_read_or_told(tmp_path_factory, field, value):
    content = calibration()
    content["cameras"][CAMERAS[0]][field] = value
    path = _json(tmp_path_factory.mktemp("c"), content)
    try:
        camera = native.read_calibration(path)[CAMERAS[0]]
    except InputError as error:
        message = str(error)
        camera = None
    if camera is None:
        assert field in message
        return
    assert np.isfinite(camera.K).all()
    np.testing.assert_allclose(np.linalg.det(camera.cam_from_rig), 1.0)


@settings(max_examples=60, deadline=None)
@given(text=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_file_is_read_or_told(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("c") / "calibration.json"
    path.write_bytes(text)
    with pytest.raises(InputError):
        native.read_calibration(path)


def _json(folder, content):
    path = folder / "calibration.json"
    path.write_text(json.dumps(content))
    return path
