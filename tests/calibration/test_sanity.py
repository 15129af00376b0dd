from dataclasses import replace

import numpy as np
import pytest
from simple_rigs import ring, turned

from headsup_cli.calibration.sanity import check_cameras, check_units
from headsup_cli.capture.lens import Lens

CAMERAS = ring(6)


def test_finds_nothing_in_a_sound_rig():
    assert check_cameras(CAMERAS) == []
    assert check_units(CAMERAS) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: replace(c, K=np.array([[2400, 0, 900], [0, 2400, 500], [0, 0, 1.0]])), "outside"),
        (lambda c: replace(c, K=np.array([[2400, 0, 600], [0, 2400, 500], [0, 0, 1.0]])), "far from its middle"),
        (lambda c: replace(c, K=np.array([[24, 0, 375], [0, 24, 500], [0, 0, 1.0]])), "field of view"),
        (lambda c: replace(c, K=np.array([[2400, 0, 375], [0, 1200, 500], [0, 0, 1.0]])), "square"),
        (lambda c: replace(c, lens=Lens("opencv", (-9.0, 0.0, 0.0, 0.0))), "folds back"),
        (lambda c: turned(c, 120.0, (0, 1, 0)), "away"),
        (lambda c: replace(CAMERAS[0], id=c.id), "same pose as camera c00"),
    ],
)
def test_finds_what_is_odd_about_one_camera(change, word):
    findings = check_cameras([*CAMERAS[:4], change(CAMERAS[4]), *CAMERAS[5:]])
    assert [finding.camera for finding in findings] == ["c04"]
    assert word in findings[0].sentence
