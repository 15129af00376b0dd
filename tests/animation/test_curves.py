import numpy as np
import pytest

from headsup_cli.animation.clips import CLIPS, clip
from headsup_cli.animation.curve_plot import CurvePlot
from headsup_cli.animation.curves import MAX_WEIGHT, Curves, arkit_name, weights_from_columns
from headsup_cli.errors import InputError
from headsup_cli.template.arkit import ARKIT_NAMES

JAW, LEFT, RIGHT = (ARKIT_NAMES.index(name) for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"))


def ramp(frames=11, fps=10.0):
    weights = np.zeros((frames, 52), np.float32)
    weights[:, JAW] = np.linspace(0, 1, frames)
    weights[:, LEFT] = 0.5
    head = np.tile(np.array([0.1, 0.2, 0.3], np.float32), (frames, 1))
    gaze = np.tile(np.array([[0.1, 0.2], [0.3, 0.4]], np.float32), (frames, 1, 1))
    return Curves(np.arange(frames) / fps, weights, head, gaze)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("JawOpen", "jawOpen"),
        ("eyeBlink_L", "eyeBlinkLeft"),
        ("mouth_right", "mouthRight"),
        ("BROWINNERUP", "browInnerUp"),
        ("_neutral", None),
        ("HeadYaw", None),
    ],
)
def test_names_in_any_spelling(spelling, name):
    assert arkit_name(spelling) == name


def test_every_name_is_its_own_spelling():
    assert [arkit_name(name) for name in ARKIT_NAMES] == list(ARKIT_NAMES)


def test_resampling_interpolates():
    curves = ramp().resampled(25.0)
    assert len(curves) == 26
    np.testing.assert_allclose(np.diff(curves.times_s), 0.04)
    np.testing.assert_allclose(curves.weights[:, JAW], curves.times_s, atol=1e-6)
    np.testing.assert_allclose(curves.gaze_rad[3], [[0.1, 0.2], [0.3, 0.4]], atol=1e-6)


def test_mirroring_twice_changes_nothing_and_once_changes_sides():
    curves = ramp()
    mirrored, back = curves.mirrored(), curves.mirrored().mirrored()
    assert mirrored.weights[0, RIGHT] == 0.5
    assert mirrored.weights[0, LEFT] == 0
    np.testing.assert_allclose(mirrored.head_rad[0], [-0.1, 0.2, -0.3])
    np.testing.assert_allclose(mirrored.gaze_rad[0], [[-0.3, 0.4], [-0.1, 0.2]])
    for one, other in (
        (curves.weights, back.weights),
        (curves.head_rad, back.head_rad),
        (curves.gaze_rad, back.gaze_rad),
    ):
        np.testing.assert_allclose(one, other)


def test_smoothing_takes_the_edge_off_but_keeps_the_mean():
    weights = np.zeros((101, 52), np.float32)
    weights[50, JAW] = 1
    smooth = Curves(np.arange(101) / 100, weights).smoothed(0.05).weights[:, JAW]
    assert smooth.max() == pytest.approx(1 / (np.sqrt(2 * np.pi) * 5), rel=0.01)
    assert smooth.sum() == pytest.approx(1, rel=1e-3)


def test_gains_exaggerate_up_to_a_limit():
    curves = ramp().with_gains({"jawOpen": 3.0, "eyeBlink_L": 0.5})
    assert curves.weights[-1, JAW] == MAX_WEIGHT
    assert curves.weights[0, LEFT] == 0.25
    with pytest.raises(InputError, match="jawOpne"):
        ramp().with_gains({"jawOpne": 1.0})


def test_weights_are_brought_into_range():
    weights = weights_from_columns({"JawOpen": np.array([-0.5, 0.5, 9.0]), "nonsense": np.ones(3)}, 3)
    np.testing.assert_array_equal(weights[:, JAW], [0, 0.5, MAX_WEIGHT])
    assert weights.sum() == 0.5 + MAX_WEIGHT


@pytest.mark.parametrize("name", CLIPS)
def test_clips_begin_and_end_at_rest_and_move(name):
    curves = clip(name)
    assert not curves.weights[0].any()
    assert curves.weights[-1].max() < 0.02
    assert curves.weights.max() > 0.5
    assert curves.weights.max() <= 1


def test_range_of_motion_shows_every_shape():
    assert (clip("range-of-motion").weights.max(0) > 0.95).all()


def test_plot_shows_the_moving_curve_and_the_time():
    plot = CurvePlot(ramp(), 200, 60)
    early, late = plot.at(0.1), plot.at(0.9)
    changed = (early != late).any((0, 2)).nonzero()[0]
    assert changed.min() < 40
    assert changed.max() > 160
    assert len(np.unique(plot.strip.reshape(-1, 3), axis=0)) > 2


def test_plot_draws_every_moving_curve_and_none_across_the_names():
    strip = CurvePlot(clip("range-of-motion"), 520, 120).strip
    paper = strip[-1, 0]
    peaks = (strip[60] != paper).any(1)  # half way up: each of the 52 goes up and comes down again
    assert np.diff(peaks.astype(int)).clip(0).sum() > 60
    late = CurvePlot(ramp(), 600, 120).strip[:30, 580:]
    assert (late == paper).all(), "the curve is at its top here, the names stand to the left"
