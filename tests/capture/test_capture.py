import json

import numpy as np
import pytest

from headsup_cli.capture.capture import (
    Capture,
    CaptureCamera,
    CaptureFrame,
    CaptureView,
    OriginalCamera,
    is_capture,
    read_capture,
    validate_capture,
    write_capture,
)
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.schemas import HeadFrameEntry, ProvenanceEntry
from headsup_cli.errors import InputError
from headsup_cli.media.images import write_image

WIDTH, HEIGHT = 12, 16


def _camera(x_m):
    pose = np.eye(4)
    pose[:3, 3] = x_m, 0.0, 1.0
    K = np.array([[50.0, 0, 6], [0, 50, 8], [0, 0, 1]])
    original = OriginalCamera(
        np.diag([2.0, 2.0, 1.0]) @ K, Lens("opencv", (0.01, 0.0, 0.001, 0.0, 0.0)), 2 * WIDTH, 2 * HEIGHT
    )
    return CaptureCamera(K, pose, WIDTH, HEIGHT, original)


def made_up_capture():
    rng = np.random.default_rng(0)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:] = 200
    views = {
        "left": CaptureView(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), mask),
        "right eye": CaptureView(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), None),
    }
    rig_from_head = np.diag([1000.0, 1000.0, 1000.0, 1.0])
    rig_from_head[:3, 3] = 5.0
    return Capture(
        subject="anna",
        cameras={"left": _camera(-0.1), "right eye": _camera(0.1)},
        frames={"smile": CaptureFrame(views, {"jawOpen": 0.25})},
        rig_from_head=rig_from_head,
        head_frame=HeadFrameEntry(method="silhouettes", template_scale=[1.0, 1.1, 0.9], residual_mm=2.5),
        provenance=ProvenanceEntry(
            program="headsup 0", source="anna", importer="native", inputs_sha256={}, options={"size": 12}, left_out={}
        ),
    )


@pytest.fixture
def capture():
    return made_up_capture()


@pytest.fixture
def folder(capture, tmp_path):
    write_capture(capture, tmp_path / "anna")
    return tmp_path / "anna"


def _edit(folder, change):
    path = folder / "capture.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_written_is_read_again(capture, folder):
    again = validate_capture(folder)
    assert is_capture(folder)
    assert again.subject == "anna"
    assert again.head_frame == capture.head_frame
    assert again.provenance == capture.provenance
    assert again.frames["smile"].expression == {"jawOpen": 0.25}
    np.testing.assert_array_equal(again.rig_from_head, capture.rig_from_head)
    for name, camera in capture.cameras.items():
        np.testing.assert_array_equal(again.cameras[name].K, camera.K)
        np.testing.assert_array_equal(again.cameras[name].cam_from_head, camera.cam_from_head)
        assert again.cameras[name].original.lens == camera.original.lens
    for name, view in capture.frames["smile"].views.items():
        np.testing.assert_array_equal(again.frames["smile"].views[name].load_image(), view.image)
    np.testing.assert_array_equal(again.frames["smile"].views["left"].load_mask()[:, 0] > 0.5, np.arange(HEIGHT) >= 4)
    assert again.frames["smile"].views["right eye"].load_mask() is None


def test_same_capture_gives_same_bytes(capture, folder, tmp_path):
    write_capture(capture, tmp_path / "again")
    first, again = (
        {path.relative_to(place): path.read_bytes() for path in place.rglob("*.*")}
        for place in (folder, tmp_path / "again")
    )
    assert first
    assert again == first


def test_failed_write_leaves_the_old_capture(capture, folder, monkeypatch):
    before = (folder / "capture.json").read_bytes()
    monkeypatch.setattr("headsup_cli.capture.capture.write_image", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_capture(capture, folder)
    assert (folder / "capture.json").read_bytes() == before
    assert [path.name for path in folder.parent.iterdir()] == ["anna"]


def test_folder_without_capture(tmp_path):
    with pytest.raises(InputError, match="headsup preprocess"):
        read_capture(tmp_path)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/hostname", "images/smile/link.png"])
def test_pictures_outside_the_capture_are_refused(folder, path):
    write_image(folder.parent / "secret.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (folder / "images/smile/link.png").symlink_to(folder.parent / "secret.png")
    _edit(folder, lambda content: content["frames"]["smile"]["views"]["left"].update(image=path))
    with pytest.raises(InputError, match="a way out of its folder"):
        read_capture(folder)


def _stretch(content):
    content["cameras"]["left"]["cam_from_head"][0][0] = 1.2


def _mirror(content):
    content["rig_from_head"][0][0] *= -1


def _shear(content):
    content["rig_from_head"][0][1] = 100.0


def _nan(content):
    content["cameras"]["left"]["K"][0][2] = float("nan")


def _stranger(content):
    content["frames"]["smile"]["views"]["nobody"] = content["frames"]["smile"]["views"]["left"]


def _unknown_key(content):
    content["colour"] = "red"


def _future(content):
    content["schema"] = "headsup-capture/9"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_stretch, "cameras.left.cam_from_head"),
        (_mirror, "rig_from_head"),
        (_shear, "rig_from_head"),
        (_nan, "cameras.left.K"),
        (_stranger, "nobody"),
        (_unknown_key, "colour"),
        (_future, "headsup-capture/1"),
    ],
)
def test_wrong_fields_are_named(folder, change, named):
    _edit(folder, change)
    with pytest.raises(InputError) as error:
        read_capture(folder)
    assert named in str(error.value)


def test_missing_picture_is_named(folder):
    (folder / "masks/smile/left.png").unlink()
    with pytest.raises(InputError, match=r"frames\.smile\.views\.left\.mask"):
        read_capture(folder)


def test_validate_finds_wrong_size_and_damage(folder):
    path = folder / "images/smile/left.png"
    intact = path.read_bytes()
    write_image(path, np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8))
    with pytest.raises(InputError, match="13 x 16 pixels, expected 12 x 16"):
        validate_capture(folder)
    path.write_bytes(intact[: len(intact) // 2])
    with pytest.raises(InputError, match="truncated"):
        validate_capture(folder)
