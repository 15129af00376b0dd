from dataclasses import replace

import numpy as np
import pytest
from simple_rigs import changed, named, ring, seen, silhouette, turned, with_focal

from headsup_cli.calibration.check import judge
from headsup_cli.calibration.outline_suspects import OutlineCorrection
from headsup_cli.calibration.outlines import OutlineRig, outline_of
from headsup_cli.calibration.tracks import Tracks

CAMERAS = ring(10, 150, 200, 480.0, 360.0)
NOTHING_SEEN = Tracks(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2)))


@pytest.fixture(scope="module")
def outlines():
    return [outline_of(silhouette(camera), camera) for camera in CAMERAS]


def judged(cameras, outlines, tracks=NOTHING_SEEN):
    return judge(tracks, named(cameras), outlines=outlines)


def test_outlines_of_a_right_rig_pass_through_each_other(outlines):
    rig = OutlineRig(outlines)
    assert rig.misses(CAMERAS).max() < 6.0  # thousandths: about a pixel
    assert rig.misses(changed(CAMERAS, 3, turned(CAMERAS[3], 2.0))).max() > 30.0


def test_passes_a_right_rig_without_a_single_point_in_common(outlines):
    result = judged(CAMERAS, outlines)
    assert not result.failed
    assert [c.status for c in result.cameras] == ["ok"] * len(CAMERAS)
    assert "by its outline" in result.cameras[0].sentences[0]


@pytest.mark.parametrize(("degrees", "axis"), [(0.5, (1, 1, 0)), (2.0, (0, 1, 0.2)), (30.0, (1, -1, 0))])
def test_names_a_turned_camera(outlines, degrees, axis):
    result = judged(changed(CAMERAS, 3, turned(CAMERAS[3], degrees, axis)), outlines)
    assert result.wrong == ["c03"]
    assert result.cameras[0].diagnosis.cause == "turned"
    assert result.cameras[0].diagnosis.rotation_deg == pytest.approx(degrees, abs=0.3)


def test_names_a_focal_length(outlines):
    result = judged(changed(CAMERAS, 6, with_focal(CAMERAS[6], 1.05)), outlines)
    assert result.wrong == ["c06"]
    assert "focal length" in result.cameras[0].sentences[0]


def test_names_two_swapped_cameras(outlines):
    swapped = changed(CAMERAS, 2, replace(CAMERAS[5], id="c02"))
    result = judged(changed(swapped, 5, replace(CAMERAS[2], id="c05")), outlines)
    assert sorted(result.wrong) == ["c02", "c05"]
    assert {c.id: c.diagnosis.other for c in result.cameras[:2]} == {"c02": 5, "c05": 2}


def test_does_not_take_a_bad_mask_for_a_bad_camera(outlines):
    mask = silhouette(CAMERAS[4])
    mask[: mask.shape[0] // 2] = 0
    result = judged(CAMERAS, changed(outlines, 4, outline_of(mask, CAMERAS[4])))
    assert not result.failed
    told = {c.id: c for c in result.cameras}["c04"]
    assert told.status == "warning"
    assert "mask" in told.sentences[0]


def test_leaves_what_points_have_settled_alone():
    cameras = ring(6)
    tracks = seen(cameras, 1400)
    bad = [outline_of(silhouette(turned(camera, 3.0)), camera) if k == 2 else outline_of(silhouette(camera), camera)
           for k, camera in enumerate(cameras)]  # fmt: skip
    assert not judged(cameras, bad, tracks).failed


def test_says_that_too_few_outlines_tell_nothing(outlines):
    some = [outline if k in (0, 5, 6, 7) else None for k, outline in enumerate(outlines)]
    statuses = {c.id: c.status for c in judged(CAMERAS, some).cameras}
    assert statuses["c01"] == "unchecked"


def test_a_mask_that_fills_the_picture_has_no_outline():
    assert outline_of(np.ones((200, 150), np.float32), CAMERAS[0]) is None
    assert outline_of(np.zeros((200, 150), np.float32), CAMERAS[0]) is None


@pytest.mark.parametrize(("excess", "expected"), [(310.0, True), (600.0, False)])
def test_a_turn_may_show_on_one_side_if_it_explains_the_whole(excess, expected):
    correction = OutlineCorrection(CAMERAS[0], "turned", 20.0, left=100.0, relief=300.0, own=300.0, excess=excess)
    assert correction.matters(1000) == expected
