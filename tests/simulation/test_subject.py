import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from headsup_cli.capture.rigs.native import read_calibration, read_rig
from headsup_cli.errors import InputError
from headsup_cli.media.images import read_mask
from headsup_cli.media.pictures import read_mask_picture, read_picture
from headsup_cli.simulation.body.anatomy import SKIN
from headsup_cli.simulation.drawing.lens_view import pixels_seen
from headsup_cli.simulation.rig.faults import PRESETS, Faults
from headsup_cli.simulation.rig.rig import HEAD_CENTRE_M, RigPlan, parse_rig
from headsup_cli.simulation.subject import NEUTRAL, SimulationOptions, is_written, simulate_subject, write_subject
from headsup_cli.simulation.truth import BACKGROUND, DEPTH_UNIT_M, LABELS, seen_landmarks

_PATH = Path(__file__).parents[2] / "benchmarks" / "simulate_truth.py"
_spec = importlib.util.spec_from_file_location("simulate_truth", _PATH)
checks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(checks)

SEED = 4  # short hair, neither beard nor accessories
CLEAN = SimulationOptions(rig=RigPlan(cameras=3), width=180, height=240, faults=Faults(jpeg=0.0))
STUDIO = replace(CLEAN, preset="studio", faults=replace(PRESETS["studio"], jpeg=0.0), expressions=2)
HARSH = replace(CLEAN, preset="harsh", faults=replace(PRESETS["harsh"], calibration=0.5), truth="light")
EXPRESSION = "01_expression"


def written(factory, options, seed=SEED):
    folder = factory.mktemp(options.preset)
    write_subject(simulate_subject(seed, options), folder)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return written(tmp_path_factory, CLEAN)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    return written(tmp_path_factory, STUDIO)


@pytest.fixture(scope="module")
def harsh(tmp_path_factory):
    return written(tmp_path_factory, HARSH)


@pytest.fixture(scope="module")
def bald():
    """A subject without hair before badly distorting lenses, and its moment."""
    options = replace(HARSH, width=240, height=320, truth="all")
    subject = checks.without_hair(simulate_subject(SEED, options))
    return subject, subject.posed(NEUTRAL)


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
    assert list(dump.frames) == [NEUTRAL, EXPRESSION]
    assert dump.expressions[NEUTRAL] == {}
    assert dump.backgrounds.keys() == dump.cameras.keys()
    for name, frame in dump.frames.items():
        assert not frame.masks
        for camera, picture in frame.images.items():
            outside = read_mask(studio / "truth" / "masks" / name / f"{camera}.png") == 0
            difference = read_picture(picture)[outside].astype(float) - read_picture(dump.backgrounds[camera])[outside]
            assert np.abs(difference).mean() < 6  # noise
            assert read_picture(picture)[outside].std() > 4  # a room, not a wall


def test_harsh_dump_lacks_plates_and_errs(harsh):
    dump = read_rig(harsh)
    assert 0 < len(dump.backgrounds) < len(dump.cameras)
    assert min(camera.lens.coefficients[0] for camera in dump.cameras.values()) < -0.05
    true = read_calibration(harsh / "truth" / "calibration.json")
    for name, camera in dump.cameras.items():
        turn = camera.cam_from_rig[:3, :3] @ true[name].cam_from_rig[:3, :3].T
        assert 0.05 < np.degrees(np.linalg.norm(cv2.Rodrigues(turn)[0])) < 4
        np.testing.assert_allclose(camera.centre, true[name].centre, atol=1e-9)
    assert not (harsh / "truth" / "depth").exists()
    assert (harsh / "images" / "cam00.jpg").exists()


def test_mask_is_the_projected_mesh_in_every_camera(bald):
    subject, posed = bald
    for name, camera in subject.cameras.items():
        assert not camera.lens.is_ideal
        assert checks.mask_overlap(subject, posed, name) > 0.99


def test_mask_holds_mesh_and_hair(studio):
    subject = simulate_subject(SEED, STUDIO)
    mesh = subject.posed(EXPRESSION).mesh
    for name, camera in subject.cameras.items():
        mask = read_mask(studio / "truth" / "masks" / EXPRESSION / f"{name}.png")
        expected = checks.silhouette(camera, mesh.columns[:, :3], mesh.faces)
        assert np.minimum(mask, expected).sum() / expected.sum() > 0.99
        column, row = np.floor(pixels_seen(camera, mesh.strands.columns[:, :3])[0]).astype(int).T
        inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        assert (mask[row[inside], column[inside]] > 0).mean() > 0.97
        assert mask.sum() > 1.02 * expected.sum()


def test_depth_normals_and_labels_are_the_meshs(bald):
    subject, posed = bald
    rng = np.random.default_rng(0)
    for name, camera in subject.cameras.items():
        truth = subject.view(NEUTRAL, name, posed).truth
        assert ((truth.labels == BACKGROUND) == (truth.depth == 0)).all()
        rows, columns = np.nonzero((truth.labels != BACKGROUND) & ~np.isin(truth.labels, [33, 34, 35, LABELS["hair"]]))
        close, facing = [], []
        for index in rng.choice(len(rows), 40, replace=False):
            row, column = rows[index], columns[index]
            depth, normal, part = checks.met_by_ray(posed.mesh, camera, (column + 0.5, row + 0.5))
            close.append(abs(depth - truth.depth[row, column]) < 2e-3 and part == truth.labels[row, column])
            facing.append(abs(normal @ truth.normals[row, column]))
        assert np.mean(close) > 0.95  # a ray may pass an edge on the other side
        assert np.median(facing) > 0.97
        shown = truth.labels != BACKGROUND
        np.testing.assert_allclose(np.linalg.norm(truth.normals[shown], axis=1), 1, atol=1e-3)


def test_landmarks_are_where_label_pictures_show_them(bald):
    subject, posed = bald
    points = np.stack(list(posed.landmarks.values()))
    for camera in subject.cameras.values():
        errors = checks.landmark_errors(camera, points)
        assert len(errors) > 50
        assert max(errors) < 0.5


def test_landmarks_are_where_the_depth_has_them(bald):
    subject, posed = bald
    points = np.stack(list(posed.landmarks.values()))
    found = 0
    for name, camera in subject.cameras.items():
        truth = subject.view(NEUTRAL, name, posed).truth
        pixels, visible = seen_landmarks(camera, points, truth.depth)
        rows, columns = np.mgrid[: camera.height, : camera.width]
        centres = np.stack([columns, rows], -1) + 0.5
        rays = camera.unproject(centres.reshape(-1, 2).astype(float)).reshape(*rows.shape, 2)
        shown = np.concatenate([rays, np.ones_like(rays[..., :1])], -1) * truth.depth[..., None]  # camera's axes
        local = points @ camera.cam_from_rig[:3, :3].T + camera.cam_from_rig[:3, 3]
        for pixel, point in zip(pixels[visible], local[visible], strict=True):
            column, row = np.floor(pixel).astype(int)
            patch = np.s_[row - 1 : row + 2, column - 1 : column + 2]
            whole = truth.labels[patch].shape == (3, 3) and (truth.labels[patch] == SKIN).all()
            if not whole or np.ptp(truth.depth[patch]) > 0.006:
                continue
            # The pixel at which the surface, taken as flat around here, shows the landmark.
            at = np.c_[centres[patch].reshape(9, 2), np.ones(9)]
            flat = np.linalg.lstsq(at, shown[patch].reshape(9, 3), rcond=None)[0]  # [3, 3]
            if np.abs(at @ flat - shown[patch].reshape(9, 3)).max() > 2e-4:  # metres; it is not flat
                continue
            there = np.linalg.lstsq(flat[:2].T, point - flat[2], rcond=None)[0]
            assert np.abs(there - pixel).max() < 0.5
            found += 1
    assert found > 30


def test_hidden_landmarks_are_told():
    options = replace(CLEAN, rig=RigPlan("ring", 8))
    subject = simulate_subject(SEED, options)
    posed = subject.posed(NEUTRAL)
    points = posed.landmarks
    sees = {}
    for name, camera in subject.cameras.items():
        truth = subject.view(NEUTRAL, name, posed).truth
        visible = seen_landmarks(camera, np.stack(list(points.values())), truth.depth)[1]
        sees[name] = dict(zip(points, visible, strict=True))
        side = camera.centre @ [0, 0, 1] / np.linalg.norm(camera.centre)
        assert sees[name]["nose_tip"] == (side > 0) or abs(side) < 0.35
    assert sees["cam00"]["ibug_36"]
    assert sees["cam00"]["ibug_45"]


def test_presets_share_person_and_cameras(clean, studio):
    one, other = (np.load(folder / "truth" / f"vertices_{NEUTRAL}.npy") for folder in (clean, studio))
    np.testing.assert_array_equal(one, other)
    truths = [json.loads((folder / "truth" / "truth.json").read_text()) for folder in (clean, studio)]
    assert truths[0]["attributes"] == truths[1]["attributes"]
    ours, theirs = read_rig(clean).cameras, read_rig(studio).cameras
    for name in ours:
        np.testing.assert_allclose(ours[name].K, theirs[name].K)
        in_head = [
            rig[name].cam_from_rig @ truth["rig_from_head"] for rig, truth in zip((ours, theirs), truths, strict=True)
        ]
        np.testing.assert_allclose(*in_head, atol=1e-6)


@pytest.mark.parametrize("preset", ["studio", "harsh"])
def test_faults_switched_off_one_by_one_leave_the_clean_picture(preset):
    off = replace(
        PRESETS[preset], **dict.fromkeys(("distortion", "gain", "noise", "blur", "light", "room", "jpeg"), 0.0)
    )
    ours, theirs = (simulate_subject(SEED, replace(CLEAN, faults=faults)) for faults in (CLEAN.faults, off))
    one, other = (subject.view(NEUTRAL, "cam01", subject.posed(NEUTRAL)) for subject in (ours, theirs))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.truth.labels, other.truth.labels)


def test_rig_and_noise_are_dialled():
    spread = Faults(jpeg=0.0, focal=0.0, principal=0.0, irregularity=0.0)
    regular = simulate_subject(SEED, replace(CLEAN, faults=spread))
    assert len({float(camera.K[0, 0]) for camera in regular.cameras.values()}) == 1
    for camera in regular.cameras.values():
        np.testing.assert_array_equal(camera.K[:2, 2], [90, 120])
        np.testing.assert_allclose(pixels_seen(camera, HEAD_CENTRE_M[None])[0], [[90, 120]], atol=1e-6)
    noisy, clean = (
        simulate_subject(SEED, replace(CLEAN, faults=Faults(jpeg=0.0, noise=noise))) for noise in (0.02, 0.0)
    )
    one = clean.view(NEUTRAL, "cam01", clean.posed(NEUTRAL))
    difference = noisy.view(NEUTRAL, "cam01", noisy.posed(NEUTRAL)).image.astype(float) - one.image
    assert 0.3 < difference.std() < 6


def test_same_pixels_on_any_number_of_threads():
    subject = simulate_subject(SEED, replace(STUDIO, expressions=1))
    before, views = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            views.append(subject.view(NEUTRAL, "cam00", subject.posed(NEUTRAL)))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(views[0].image, views[1].image)
    np.testing.assert_array_equal(views[0].truth.depth, views[1].truth.depth)


def test_truth_places_the_head_in_the_rig(studio):
    truth, cameras = json.loads((studio / "truth" / "truth.json").read_text()), read_rig(studio).cameras
    rig_from_head = np.array(truth["rig_from_head"])
    record = json.loads((studio / "truth" / f"landmarks_{NEUTRAL}.json").read_text())
    landmarks = dict(zip(record["names"], np.array(record["rig"]), strict=True))
    middle = (landmarks["ear_canal_left"] + landmarks["ear_canal_right"]) / 2
    np.testing.assert_allclose(middle, rig_from_head[:3, 3], atol=0.01)
    for name, camera in cameras.items():
        assert 0.6 < np.linalg.norm(camera.centre - middle) < 1.9
        seen = record["cameras"][name]
        pixels = pixels_seen(camera, np.array(record["rig"]))[0]
        np.testing.assert_allclose(seen["pixels"], pixels, atol=0.01)
        assert len(seen["visible"]) == len(record["names"]) > 68
    assert truth["expressions"][EXPRESSION]
    assert {"age_years", "sex", "hair", "light"} <= truth["attributes"].keys()


def test_stored_maps_are_what_was_drawn(studio):
    subject = simulate_subject(SEED, STUDIO)
    truth = subject.view(EXPRESSION, "cam02", subject.posed(EXPRESSION)).truth
    read = {
        kind: cv2.imread(str(studio / "truth" / kind / EXPRESSION / "cam02.png"), cv2.IMREAD_UNCHANGED)
        for kind in ("depth", "normals", "labels")
    }
    np.testing.assert_array_equal(read["labels"], truth.labels)
    np.testing.assert_allclose(read["depth"] * DEPTH_UNIT_M, truth.depth, atol=0.6 * DEPTH_UNIT_M)
    shown = truth.labels != BACKGROUND
    normals = (read["normals"][..., ::-1].astype(float) - 128) / 127
    np.testing.assert_allclose(normals[shown], truth.normals[shown], atol=0.005)
    assert (read["normals"][~shown] == 0).all()


def test_a_given_calibration_is_kept_and_the_head_stands_where_it_looks(studio):
    plan = parse_rig(str(studio))
    subject = simulate_subject(SEED + 1, replace(CLEAN, rig=plan))
    for name, camera in subject.stated_calibration().items():
        np.testing.assert_allclose(camera.cam_from_rig, plan.calibration[name].cam_from_rig, atol=1e-9)
        assert camera.lens == plan.calibration[name].lens
        assert (camera.width, camera.height) == (180, 240)
        pixel, _ = pixels_seen(camera, subject.rig_from_head[:3, 3][None])
        assert np.abs(pixel[0] - [90, 120]).max() < 40
        up = camera.cam_from_rig[:3, :3] @ subject.rig_from_head[:3, 1]
        assert up[1] < -0.5
    view = subject.view(NEUTRAL, "cam01", subject.posed(NEUTRAL))
    assert 0.2 < (view.mask > 0).mean() < 0.9
    smaller = plan.resized(90, 120).calibration["cam00"]
    np.testing.assert_allclose(smaller.K[:2], plan.calibration["cam00"].K[:2] / 2)


def test_written_is_known_by_seed_and_options(clean, tmp_path):
    assert is_written(clean, SEED, CLEAN)
    assert not is_written(clean, SEED + 1, CLEAN)
    assert not is_written(clean, SEED, replace(CLEAN, expressions=2))
    assert not is_written(clean, SEED, replace(CLEAN, faults=Faults(jpeg=0.0, noise=0.01)))
    assert not is_written(tmp_path, SEED, CLEAN)
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "truth.json").write_text("[1")
    assert not is_written(tmp_path, SEED, CLEAN)


@pytest.mark.parametrize("field", ["width", "height", "expressions"])
def test_nothing_to_simulate_is_refused(field):
    with pytest.raises(InputError, match=field):
        SimulationOptions(**{field: 0})
