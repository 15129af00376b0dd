"""What is drawn on the pictures of the QA page."""

import numpy as np
import pytest

from headsup_cli.capture.capture import CaptureCamera, OriginalCamera
from headsup_cli.capture.lens import Lens
from headsup_cli.preprocessing.qa_page import _LANDMARK_COLOUR, _MESH_COLOUR, _Overlay

SIZE = 64


@pytest.fixture
def camera():
    K = np.array([[SIZE, 0, SIZE / 2], [0, SIZE, SIZE / 2], [0, 0, 1.0]])
    pose = np.eye(4)
    pose[2, 3] = 1.0
    return CaptureCamera(K, pose, SIZE, SIZE, OriginalCamera(K, Lens(), SIZE, SIZE), np.ones(3))


def _dots(landmark, camera):
    square = np.array([[-0.2, -0.2, 0], [0.2, -0.2, 0], [0.2, 0.2, 0], [-0.2, 0.2, 0]])
    overlay = _Overlay(square, np.array([[0, 2, 1], [0, 3, 2]]), np.array([landmark], np.float64))
    drawn = overlay.on(np.zeros((SIZE, SIZE, 3), np.uint8), camera)
    assert (drawn == _MESH_COLOUR).all(-1).any()  # the outline of the square
    return (
        np.argwhere((drawn == _LANDMARK_COLOUR).all(-1)).mean(0) if (drawn == _LANDMARK_COLOUR).all(-1).any() else None
    )


def test_a_landmark_before_the_surface_is_a_dot_where_it_projects(camera):
    np.testing.assert_allclose(_dots([0.1, -0.05, -0.01], camera), [SIZE / 2 - 3.3, SIZE / 2 + 6.4], atol=1)


@pytest.mark.parametrize("landmark", [[0, 0, 0.1], [0, 0, -2], [3, 0, 0]], ids=["hidden", "behind", "outside"])
def test_a_landmark_that_is_not_seen_is_not_drawn(landmark, camera):
    assert _dots(landmark, camera) is None
