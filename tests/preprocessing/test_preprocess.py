import json
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from headsup_cli.cameras.trajectories import look_at
from headsup_cli.capture.capture import validate_capture, write_capture
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs import native
from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.preprocess import preprocess_rig
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.runtime.progress import StageTimes

WIDTH, HEIGHT = 60, 80
FULL = PreprocessOptions()


def _cameras():
    eyes = torch.tensor([[-0.5, 0.1, 0.9], [0.0, -0.1, 1.0], [0.6, 0.0, 0.8], [0.2, 0.5, 0.9]], dtype=torch.float64)
    poses = look_at(eyes, torch.zeros(3, dtype=torch.float64), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    K = np.array([[180.0, 0, 30.2], [0, 181, 39.7], [0, 0, 1]])
    lens = Lens("opencv", (-0.15, 0.1, 0.001, 0.0, 0.0))
    return {f"c{i}": RigCamera(f"c{i}", K, lens, pose, WIDTH, HEIGHT) for i, pose in enumerate(poses.numpy())}


def _write_calibration(folder: Path, per_metre: float = 1.0):
    native.write_calibration(folder / "calibration.json", _cameras())
    if per_metre != 1.0:
        content = json.loads((folder / "calibration.json").read_text())
        content["units"] = {1000.0: "mm"}[per_metre]
        for camera in content["cameras"].values():
            camera["t"] = [per_metre * x for x in camera["t"]]
        (folder / "calibration.json").write_text(json.dumps(content))


def _pictures():
    """A skin-coloured oval before a wall, its mask, and the wall alone."""
    rng = np.random.default_rng(0)
    mask = cv2.ellipse(np.zeros((HEIGHT, WIDTH), np.uint8), (30, 40), (16, 23), 0, 0, 360, 255, -1)
    wall = cv2.GaussianBlur(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), (0, 0), 3)
    return np.where(mask[..., None] > 0, np.uint8([220, 170, 150]), wall), mask, wall


def _write_dump(folder, subject_shown_by="masks", frames=(None,), per_metre=1.0):
    image, mask, wall = _pictures()
    for frame in frames:
        masks = dict.fromkeys(_cameras(), mask) if subject_shown_by == "masks" else None
        native.write_rig_frame(folder, dict.fromkeys(_cameras(), image), masks, frame=frame)
    if subject_shown_by == "plates":
        native.write_backgrounds(folder, dict.fromkeys(_cameras(), wall))
    _write_calibration(folder, per_metre)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return _write_dump(tmp_path_factory.mktemp("rigs") / "anna", per_metre=1000.0)


@pytest.fixture(scope="module")
def times():
    return StageTimes()


@pytest.fixture(scope="module")
def capture(folder, toy_template, times):
    return preprocess_rig(read_rig_dump(folder), FULL, toy_template, times=times)


def test_capture_projects_as_the_rig_does(capture, folder):
    """A point of the head frame, by way of the rig's world, its own camera and the lens: the same pixel."""
    head_points = np.random.default_rng(1).uniform(-0.08, 0.08, (20, 3))
    rig_points_m = (head_points @ capture.rig_from_head[:3, :3].T + capture.rig_from_head[:3, 3]) / 1000
    for name, rig_camera in read_rig_dump(folder).cameras.items():
        camera = capture.cameras[name]
        by_capture = (head_points @ camera.cam_from_head[:3, :3].T + camera.cam_from_head[:3, 3]) @ camera.K.T
        by_capture = by_capture[:, :2] / by_capture[:, 2:]
        rotation, _ = cv2.Rodrigues(rig_camera.cam_from_rig[:3, :3])
        original_K, dist = camera.original.K, np.array(camera.original.lens.coefficients)
        distorted, _ = cv2.projectPoints(rig_points_m, rotation, rig_camera.cam_from_rig[:3, 3], original_K, dist)
        straight = cv2.undistortPoints(distorted, original_K, dist, P=camera.K)[:, 0]
        np.testing.assert_allclose(by_capture, straight, atol=0.02)


def test_capture_survives_disk(capture, tmp_path):
    write_capture(capture, tmp_path / "anna")
    again = validate_capture(tmp_path / "anna")
    assert again.subject == "anna"
    assert again.head_frame == capture.head_frame
    view = capture.frames[native.ONLY_FRAME].views["c1"]
    np.testing.assert_array_equal(again.frames[native.ONLY_FRAME].views["c1"].load_image(), view.image)


def test_provenance_and_times(capture, folder, times):
    recorded = capture.provenance.inputs_sha256
    assert recorded["calibration.json"] == sha256_of(folder / "calibration.json")
    assert len(recorded) == 1 + 4 + 4
    chosen = {"size": 1000, "crop": "none", "frames": "all", "masks": "auto", "colour": "match"}
    assert chosen.items() <= capture.provenance.options.items()
    stages = ["read, mask and undistort", "find head frame", "match colours", "crop and resize"]
    assert list(times.seconds) == stages


def test_plates_mask_as_given_masks_do(capture, tmp_path, toy_template):
    dump = read_rig_dump(_write_dump(tmp_path / "anna", "plates"))
    by_plates = preprocess_rig(dump, FULL, toy_template).frames[native.ONLY_FRAME].views["c0"].load_mask() > 0.5
    given = capture.frames[native.ONLY_FRAME].views["c0"].load_mask() > 0.5
    assert (by_plates & given).sum() / (by_plates | given).sum() > 0.95


def test_without_masks_the_cameras_decide(tmp_path, toy_template, caplog):
    unmasked = PreprocessOptions(masks="none")
    capture = preprocess_rig(read_rig_dump(_write_dump(tmp_path / "a", "nothing")), unmasked, toy_template)
    assert capture.head_frame.method == "cameras"
    assert capture.frames[native.ONLY_FRAME].views["c0"].load_mask() is None
    assert "from the cameras alone" in caplog.text
    assert all((camera.colour_gain == 1).all() for camera in capture.cameras.values())


@pytest.mark.parametrize("masks", ["given", "plates"])
def test_masks_that_are_asked_for_must_be_there(tmp_path, toy_template, masks):
    dump = read_rig_dump(_write_dump(tmp_path / "a", "nothing"))
    with pytest.raises(InputError, match=f"--masks {masks}"):
        preprocess_rig(dump, PreprocessOptions(masks=masks), toy_template)


def test_given_masks_can_be_set_aside_for_plates(tmp_path, toy_template):
    folder = _write_dump(tmp_path / "a")
    _, mask, wall = _pictures()
    native.write_rig_frame(folder, {}, dict.fromkeys(_cameras(), 255 - mask))  # wrong ones
    native.write_backgrounds(folder, dict.fromkeys(_cameras(), wall))
    capture = preprocess_rig(read_rig_dump(folder), PreprocessOptions(masks="plates"), toy_template)
    found = capture.frames[native.ONLY_FRAME].views["c0"].load_mask()
    assert found[40, 30] == 1
    assert found[2, 2] == 0


def test_a_plate_that_is_needed_for_colours_alone_may_be_broken(tmp_path, toy_template, caplog):
    folder = _write_dump(tmp_path / "a")
    native.write_backgrounds(folder, dict.fromkeys(_cameras(), _pictures()[2]))
    plate = next((folder / "background").glob("c1.*"))
    plate.write_bytes(plate.read_bytes()[:60])
    capture = preprocess_rig(read_rig_dump(folder), FULL, toy_template)
    assert set(capture.frames[native.ONLY_FRAME].views) == set(_cameras())
    assert "without the clean plate of camera c1" in caplog.text


def test_rembg_is_named_where_it_is_missing(folder, toy_template, monkeypatch):
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        preprocess_rig(read_rig_dump(folder), PreprocessOptions(masks="rembg"), toy_template)


def test_a_matting_models_masks_are_taken(folder, toy_template, monkeypatch):
    def remove(image, session, only_mask):
        return ((image[..., 0] > 190) * 255).astype(np.uint8)[..., None]

    monkeypatch.setitem(sys.modules, "rembg", SimpleNamespace(remove=remove, new_session=lambda: None))
    capture = preprocess_rig(read_rig_dump(folder), PreprocessOptions(masks="rembg"), toy_template)
    assert capture.frames[native.ONLY_FRAME].views["c0"].load_mask()[40, 30] == 1


@pytest.mark.parametrize(("level", "words"), [(0, "nearly nothing"), (255, "nearly the whole picture")])
def test_masks_that_are_no_subjects_are_doubted(tmp_path, toy_template, caplog, level, words):
    folder = _write_dump(tmp_path / "a")
    blank = np.full((HEIGHT, WIDTH), level, np.uint8)
    native.write_rig_frame(folder, {}, {"c0": blank, "c1": blank})
    capture = preprocess_rig(read_rig_dump(folder), FULL, toy_template)
    assert f"covers {words} in camera c0, c1" in caplog.text
    assert set(capture.cameras) == set(_cameras())


@pytest.mark.parametrize("side", [1, 2])
def test_tiny_pictures_of_one_camera(tmp_path, toy_template, side):
    K = np.array([[2.0, 0, side / 2], [0, 2.0, side / 2], [0, 0, 1]])
    pose = _cameras()["c0"].cam_from_rig
    folder = tmp_path / "dot"
    native.write_rig_frame(folder, {"c": np.full((side, side, 3), 90, np.uint8)})
    native.write_calibration(folder / "calibration.json", {"c": RigCamera("c", K, Lens(), pose, side, side)})
    capture = preprocess_rig(read_rig_dump(folder), FULL, toy_template)
    assert capture.frames[native.ONLY_FRAME].views["c"].load_image().shape == (side, side, 3)
    assert capture.head_frame.method == "cameras"


def test_plate_of_another_size_is_refused(tmp_path, toy_template):
    folder = _write_dump(tmp_path / "a", "plates")
    native.write_backgrounds(folder, {"c1": np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8)})
    with pytest.raises(InputError, match="61 x 80 pixels"):
        preprocess_rig(read_rig_dump(folder), FULL, toy_template)


def test_size_and_crop(folder, capture, toy_template):
    small = preprocess_rig(read_rig_dump(folder), PreprocessOptions(size=40, crop="subject"), toy_template)
    whole = capture.cameras["c0"]
    camera, view = small.cameras["c0"], small.frames[native.ONLY_FRAME].views["c0"]
    assert view.load_image().shape == (camera.height, camera.width, 3) == (40, camera.width, 3)
    assert camera.width < 40 * 0.8
    assert view.load_mask()[[0, -1]].max() == 0
    mask = capture.frames[native.ONLY_FRAME].views["c0"].load_mask()

    def middle_ray(mask, K):
        rows, columns = np.nonzero(mask > 0.5)
        return (np.array([columns.mean(), rows.mean()]) + 0.5 - K[:2, 2]) / K[[0, 1], [0, 1]]

    np.testing.assert_allclose(middle_ray(view.load_mask(), camera.K), middle_ray(mask, whole.K), atol=0.002)


def test_neutral_frame_comes_first_and_frames_can_be_chosen(tmp_path, toy_template):
    folder = _write_dump(tmp_path / "a", "nothing", frames=("browsUp", "neutral", "smile"))
    native.write_expressions(folder, {"browsUp": {"browInnerUp": 1.0}, "neutral": {}})
    dump = read_rig_dump(folder)
    assert list(preprocess_rig(dump, FULL, toy_template).frames) == ["neutral", "browsUp", "smile"]
    chosen = preprocess_rig(dump, PreprocessOptions(frames=("browsUp",)), toy_template)
    assert chosen.frames["browsUp"].expression == {"browInnerUp": 1.0}
    with pytest.raises(InputError, match="'frown'"):
        preprocess_rig(dump, PreprocessOptions(frames=("frown",)), toy_template)


def test_unreadable_view_is_left_out_while_others_remain(tmp_path, toy_template, caplog):
    folder = _write_dump(tmp_path / "a", "nothing")
    pictures = sorted((folder / "images").iterdir())
    for path in pictures[:3]:
        path.write_bytes(path.read_bytes()[:300])
    capture = preprocess_rig(read_rig_dump(folder), FULL, toy_template)
    assert list(capture.cameras) == list(capture.frames[native.ONLY_FRAME].views) == ["c3"]
    assert set(capture.provenance.left_out) == {f"{native.ONLY_FRAME}/c{i}" for i in range(3)}
    assert "view of camera c0 is left out" in caplog.text
    pictures[3].write_bytes(b"")
    with pytest.raises(InputError, match="without usable picture"):
        preprocess_rig(read_rig_dump(folder), FULL, toy_template)


def test_view_without_mask_among_masked_ones_is_left_out(tmp_path, toy_template):
    folder = _write_dump(tmp_path / "a")
    (folder / "masks/c2.png").unlink()
    capture = preprocess_rig(read_rig_dump(folder), FULL, toy_template)
    assert "c2" not in capture.cameras
    assert "no mask" in capture.provenance.left_out[f"{native.ONLY_FRAME}/c2"]
