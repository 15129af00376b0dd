from dataclasses import replace

import numpy as np
import pytest
from simple_rigs import changed, moved, named, ring, seen, turned, with_focal

from headsup_cli.calibration.check import judge
from headsup_cli.calibration.diagnosis import differences
from headsup_cli.calibration.readings import best_reading, fit_origin
from headsup_cli.calibration.refinement import refine_calibration
from headsup_cli.calibration.sanity import check_units
from headsup_cli.capture.lens import Lens
from headsup_cli.errors import InputError

CAMERAS = ring(6)
TRACKS = seen(CAMERAS, 1400)
GL = np.diag([1.0, -1.0, -1.0, 1.0])


def judged(cameras, tracks=TRACKS):
    return judge(tracks, named(cameras))


def test_passes_a_right_calibration():
    result = judged(CAMERAS)
    assert not result.failed
    assert result.reading.reading.name == "as given"
    assert [c.status for c in result.cameras] == ["ok"] * len(CAMERAS)
    assert result.median_px < 0.4
    assert not result.rig


@pytest.mark.parametrize(
    ("cause", "wrong"),
    [
        ("moved", moved(CAMERAS[3], np.array([0.002, 0.003, 0.002]))),
        pytest.param("reading", replace(CAMERAS[3], cam_from_rig=GL @ CAMERAS[3].cam_from_rig), marks=pytest.mark.slow),
    ],
)
def test_names_the_one_wrong_camera_and_the_cause(cause, wrong):
    result = judged(changed(CAMERAS, 3, wrong))
    assert result.wrong == ["c03"]
    assert result.cameras[0].diagnosis.cause == cause
    turn, shift = differences(CAMERAS[3], result.corrected["c03"])
    assert turn < 0.05
    assert shift < 1.0
    assert result.corrected["c03"].K[0, 0] == pytest.approx(CAMERAS[3].K[0, 0], rel=2e-3)


@pytest.fixture(scope="module")
def one_turned():
    return judged(changed(CAMERAS, 3, turned(CAMERAS[3], 0.3, (1, 1, 0))))


def test_says_by_how_much(one_turned):
    assert one_turned.wrong == ["c03"]
    told = one_turned.cameras[0]
    assert told.diagnosis.cause == "turned"
    assert told.diagnosis.rotation_deg == pytest.approx(0.3, abs=0.02)
    assert "turned by 0.3 degrees" in told.sentences[0]
    assert told.leave_one_out_px > 8


@pytest.mark.slow
def test_names_two_swapped_cameras():
    swapped = changed(CAMERAS, 2, replace(CAMERAS[5], id="c02"))
    swapped = changed(swapped, 5, replace(CAMERAS[2], id="c05"))
    result = judged(swapped)
    assert sorted(result.wrong) == ["c02", "c05"]
    assert {c.id: c.diagnosis.other for c in result.cameras[:2]} == {"c02": 5, "c05": 2}


def with_centre_as_t(camera):
    pose = camera.cam_from_rig.copy()
    pose[:3, 3] = camera.centre
    return replace(camera, cam_from_rig=pose)


@pytest.mark.parametrize(
    ("name", "misread"),
    [
        ("OpenGL axes", lambda c: replace(c, cam_from_rig=GL @ c.cam_from_rig)),
        ("camera-to-world", lambda c: replace(c, cam_from_rig=np.linalg.inv(c.cam_from_rig))),
        ("centre given as t", with_centre_as_t),
        ("intrinsics for another resolution", lambda c: replace(c, K=c.K * np.array([[2.0], [2.0], [1.0]]))),
        ("already undistorted", lambda c: replace(c, lens=Lens("opencv", (-0.35, 0.3, 0.001, 0.001, 0.0)))),
    ],
)
def test_tells_how_a_rig_was_misread(name, misread):
    cameras = CAMERAS if name != "already undistorted" else ring(6, dist=(0.0, 0.0, 0.0, 0.0, 0.0))
    tracks = TRACKS if cameras is CAMERAS else seen(cameras, 1400)
    best, given = best_reading(tracks, [misread(c) for c in cameras])
    assert best.reading.name == name
    assert given.reading.name == "as given"


def test_goes_on_with_the_reading_that_fits():
    result = judged([replace(c, cam_from_rig=GL @ c.cam_from_rig) for c in CAMERAS])
    assert result.failed
    assert "OpenGL axes" in result.rig[0].sentence
    assert not result.wrong
    assert result.median_px < 0.4


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_tells_wrong_units(factor):
    finding = check_units([moved(c, (factor - 1) * c.centre) for c in CAMERAS])
    assert finding.severity == "failed"
    assert "millimetres" in finding.sentence
    assert "e+" not in finding.sentence


def test_leaves_a_camera_unjudged_that_shares_nothing():
    tracks = TRACKS.where((TRACKS.camera != 4) | (np.arange(len(TRACKS.camera)) % 97 == 0))
    result = judged(CAMERAS, tracks)
    assert {c.id: c for c in result.cameras}["c04"].status == "unchecked"
    assert not result.failed


def test_does_not_judge_by_a_single_partner():
    with_4 = np.isin(TRACKS.point, TRACKS.point[TRACKS.camera == 4])
    tracks = TRACKS.where(~with_4 | np.isin(TRACKS.camera, [3, 4]))
    report = {c.id: c for c in judged(changed(CAMERAS, 4, turned(CAMERAS[4], 1.0)), tracks).cameras}["c04"]
    assert report.status == "unchecked"


def few_and_doubtful(cameras, index, partners, seed):
    """Camera `index` shares but 40 points with each of two others, and more than half of its matches are wrong."""
    tracks, rng = seen(cameras, outliers=0.0, seed=seed), np.random.default_rng(seed)
    sees = np.zeros((len(cameras), tracks.count), bool)
    sees[tracks.camera, tracks.point] = True
    kept = ~sees[index][tracks.point]
    left = np.flatnonzero(sees[index])
    rng.shuffle(left)
    for partner in partners:
        shared = left[sees[partner, left]][:40]
        left = np.setdiff1d(left, shared, assume_unique=True)
        rng.shuffle(left)
        kept |= np.isin(tracks.point, shared) & np.isin(tracks.camera, [index, partner])
    pixel, wrong = tracks.pixel.copy(), (tracks.camera == index) & (rng.random(len(tracks.point)) < 0.55)
    pixel[wrong] += rng.normal(0, 12, (wrong.sum(), 2))
    return replace(tracks, pixel=pixel).where(kept)


@pytest.mark.parametrize("seed", [0, 14])
def test_wrong_matches_do_not_outvote_the_right_ones(seed):
    cameras = ring(7)
    tracks = few_and_doubtful(cameras, 3, (2, 4), seed)
    right = {camera.id: camera for camera in judged(cameras, tracks).cameras}["c03"]
    assert right.status == "ok"
    assert right.moved_px > right.allowed_px
    assert not right.correction_stands
    assert "does not count" in right.sentences[-1]
    wrong = judged(changed(cameras, 3, turned(cameras[3], 1.0)), tracks)
    assert wrong.wrong == ["c03"]
    assert wrong.cameras[0].correction_stands


def test_a_zoom_is_not_taken_for_a_shift_straight_at_the_subject():
    cameras = ring(7)
    tracks = seen(cameras, 120)
    told = judged(changed(cameras, 3, with_focal(cameras[3], 1 / 1.015)), tracks).cameras[0]
    assert told.sentences[0].startswith("focal length 1.5 % too short")


@pytest.mark.parametrize("shift_px", [0.5, -0.5])
def test_warns_of_half_a_pixel(shift_px):
    shifted = [replace(c, K=c.K + shift_px * np.array([[0, 0, 1.0], [0, 0, 1.0], [0, 0, 0]])) for c in CAMERAS]
    origin = fit_origin(TRACKS, shifted)
    assert origin is not None
    assert ("corner" if shift_px > 0 else "center") in origin.remedy
    assert fit_origin(TRACKS, CAMERAS) is None


def test_tells_when_nothing_was_seen_twice():
    with pytest.raises(InputError, match="nothing in common"):
        judged(CAMERAS, TRACKS.where(np.zeros(len(TRACKS.camera), bool)))


def test_refining_mends_the_wrong_camera_and_leaves_the_others(one_turned):
    refined = refine_calibration(one_turned, intrinsics=False)
    off = {name: differences(camera, refined.cameras[name]) for name, camera in named(CAMERAS).items()}
    assert max(turn for turn, _ in off.values()) < 0.02
    assert max(shift for _, shift in off.values()) < 0.5
    assert refined.by_camera["c03"].after_px < 0.1 * refined.by_camera["c03"].before_px
    assert all(np.array_equal(refined.cameras[c.id].K, c.K) for c in CAMERAS)


@pytest.mark.slow
def test_refining_intrinsics_mends_a_focal_length():
    result = judged(changed(CAMERAS, 3, with_focal(CAMERAS[3], 1.015)))
    told = result.cameras[0]
    assert told.diagnosis.cause == "focal"
    assert told.diagnosis.focal_percent == pytest.approx(1.5, abs=0.2)
    assert told.sentences[0].startswith("focal length 1.5 % too long")
    assert refine_calibration(result, intrinsics=False).needs_intrinsics == ["c03"]
    refined = refine_calibration(result, intrinsics=True)
    assert not refined.needs_intrinsics
    assert refined.cameras["c03"].K[0, 0] == pytest.approx(CAMERAS[3].K[0, 0], rel=2e-3)
