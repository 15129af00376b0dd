import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from headsup_cli.capture.rigs.native import read_rig
from headsup_cli.commands.simulate import simulate
from headsup_cli.errors import InputError
from headsup_cli.media.images import read_mask
from headsup_cli.media.pictures import read_mask_picture, read_picture
from headsup_cli.simulation.subject import NEUTRAL, SimulationOptions, is_written, simulate_subject, write_subject

CLEAN = SimulationOptions(cameras=3, width=90, height=120, suffix=".png")
STUDIO = replace(CLEAN, preset="studio", expressions=2)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    write_subject(simulate_subject(3, CLEAN), folder)
    return folder


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studio")
    write_subject(simulate_subject(3, STUDIO), folder)
    return folder


def read_ply(path):
    header, _, body = path.read_bytes().partition(b"end_header\n")
    vertices, faces = (int(line.split()[-1]) for line in header.decode().splitlines() if line.startswith("element"))
    rows = np.frombuffer(body, np.dtype([("count", "u1"), ("corners", "<i4", 3)]), faces, vertices * 12)
    return np.frombuffer(body, "<f4", vertices * 3).reshape(-1, 3), rows["corners"]


def silhouette(camera, vertices, faces):
    """Drawn by OpenCV through the lens, at eight times the size."""
    turn, _ = cv2.Rodrigues(camera.cam_from_rig[:3, :3])
    pixels, _ = cv2.projectPoints(
        vertices.astype(np.float64), turn, camera.cam_from_rig[:3, 3], camera.K, np.array(camera.lens.coefficients)
    )
    canvas = np.zeros((camera.height * 8, camera.width * 8), np.uint8)
    for triangle in np.round(pixels[:, 0] * 8 - 0.5).astype(np.int32)[faces]:
        cv2.fillConvexPoly(canvas, triangle, 255)
    return cv2.resize(canvas, (camera.width, camera.height), interpolation=cv2.INTER_AREA) / 255


def test_clean_dump_reads_back(clean):
    dump = read_rig(clean)
    assert list(dump.cameras) == ["cam00", "cam01", "cam02"]
    (frame,) = dump.frames.values()
    assert frame.images.keys() == frame.masks.keys() == dump.cameras.keys()
    assert not dump.backgrounds
    assert all(camera.lens.is_ideal for camera in dump.cameras.values())
    background = read_picture(frame.images["cam00"])[read_mask_picture(frame.masks["cam00"]) == 0]
    assert np.ptp(background, axis=0).max() == 0


def test_studio_dump_has_plates_instead_of_masks(studio):
    dump = read_rig(studio)
    assert list(dump.frames) == [NEUTRAL, "01_expression"]
    assert dump.expressions[NEUTRAL] == {}
    assert dump.backgrounds.keys() == dump.cameras.keys()
    for name, frame in dump.frames.items():
        assert not frame.masks
        for camera, path in frame.images.items():
            outside = read_mask(studio / "truth" / "masks" / name / f"{camera}.png") == 0
            difference = read_picture(path)[outside].astype(float) - read_picture(dump.backgrounds[camera])[outside]
            assert np.abs(difference).mean() < 6  # noise
            assert read_picture(path)[outside].std() > 4  # a room, not a wall


def test_masks_match_the_true_surface_through_the_lens(clean, studio):
    for folder, masks, frame in (
        (clean, clean / "masks", NEUTRAL),
        (studio, studio / "truth/masks/01_expression", "01_expression"),
    ):
        vertices, faces = read_ply(folder / "truth" / f"surface_{frame}.ply")
        for name, camera in read_rig(folder).cameras.items():
            mask, expected = read_mask(masks / f"{name}.png"), silhouette(camera, vertices, faces)
            assert np.minimum(mask, expected).sum() / np.maximum(mask, expected).sum() > 0.98


def test_presets_share_person_and_calibration(clean, studio):
    one, other = (np.load(folder / "truth" / f"vertices_{NEUTRAL}.npy") for folder in (clean, studio))
    np.testing.assert_array_equal(one, other)
    ours, theirs = read_rig(clean).cameras, read_rig(studio).cameras
    for name in ours:
        np.testing.assert_allclose(ours[name].K, theirs[name].K)
    truths = [json.loads((folder / "truth" / "truth.json").read_text()) for folder in (clean, studio)]
    assert truths[0]["attributes"] == truths[1]["attributes"]


def test_truth_places_the_head_in_the_rig(studio):
    truth, cameras = json.loads((studio / "truth" / "truth.json").read_text()), read_rig(studio).cameras
    rig_from_head = np.array(truth["rig_from_head"])
    landmarks = truth["frames"][NEUTRAL]["landmarks"]
    middle = (np.array(landmarks["ear_canal_left"]) + landmarks["ear_canal_right"]) / 2
    np.testing.assert_allclose(middle, rig_from_head[:3, 3], atol=0.01)
    for camera in cameras.values():
        assert 0.6 < np.linalg.norm(camera.centre - middle) < 1.9


def test_written_is_known_by_seed_and_options(clean, tmp_path):
    assert is_written(clean, 3, CLEAN)
    assert not is_written(clean, 4, CLEAN)
    assert not is_written(clean, 3, replace(CLEAN, expressions=2))
    assert not is_written(tmp_path, 3, CLEAN)
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "truth.json").write_text("[1")
    assert not is_written(tmp_path, 3, CLEAN)


@pytest.mark.parametrize("field", ["cameras", "width", "height", "expressions"])
def test_nothing_to_simulate_is_refused(field):
    with pytest.raises(InputError, match=field):
        SimulationOptions(**{field: 0})


def test_command_resumes_to_the_same_bytes(tmp_path):
    app = typer.Typer()
    app.command()(simulate)
    arguments = ["-n", "2", "-o", str(tmp_path), "--cameras", "1", "--size", "45x60", "--seed", "8"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    picture = tmp_path / "person_000009" / "images" / "cam00.jpg"
    before = picture.read_bytes()
    (tmp_path / "person_000009" / "calibration.json").unlink()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert picture.read_bytes() == before
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["done", "done", "skipped", "done"]
    assert CliRunner().invoke(app, [*arguments, "--size", "0x60"]).exit_code == 2
