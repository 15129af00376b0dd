import numpy as np
from scipy.spatial.transform import Rotation

from headsup_cli.simulation.body.landmarks import landmarks_68, named_landmarks
from headsup_cli.template.anny_source import AVERAGE_ADULT, AnnySource
from headsup_cli.template.arkit import ARKIT_NAMES

# The point across from each one: sides are mirrored, the middle is its own.
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip

# Right half of the 68 points of ICT-FaceKit's generic face (MIT), centimetres: vertices of `generic_neutral_mesh.obj`
# that its README lists.
ICT_FACE_CM = {
    0: (-7.36, 3.68, 3.66), 1: (-7.28, 1.49, 3.93), 2: (-6.94, -0.46, 4.53), 3: (-6.56, -2.36, 5.17),
    4: (-5.72, -4.49, 6.13), 5: (-4.30, -6.21, 7.35), 6: (-3.05, -6.91, 8.77), 7: (-1.54, -7.26, 10.27),
    8: (0.00, -7.57, 10.43), 27: (0.00, 3.74, 10.73), 31: (-1.25, -1.14, 10.87), 32: (-0.60, -1.14, 11.42),
    33: (0.00, -1.20, 11.57), 36: (-4.46, 3.43, 8.60), 37: (-3.87, 3.87, 9.36), 38: (-2.78, 3.94, 9.53),
    39: (-1.84, 3.25, 9.20), 40: (-2.73, 3.08, 9.41), 41: (-3.86, 3.07, 9.23), 50: (-0.73, -2.42, 11.73),
    51: (0.00, -2.48, 11.84),
}  # fmt: skip


def test_average_head_is_symmetric_in_ibug_order():
    points = landmarks_68(AnnySource.shared().vertices_for(AVERAGE_ADULT))
    np.testing.assert_allclose(points[MIRRORED], points * [-1, 1, 1], atol=2e-4)
    assert (np.diff(points[:17, 0]) > -1e-3).all()  # the subject's right is -X
    assert (np.diff(points[17:27, 0]) > 0).all()
    assert (np.diff(points[27:31, 1]) < 0).all()


def test_points_are_where_their_names_say():
    vertices = AnnySource.shared().vertices_for(AVERAGE_ADULT)
    points, named = landmarks_68(vertices), named_landmarks(vertices)
    for index, name in {
        27: "nose_bridge", 30: "nose_tip", 33: "nose_base", 36: "eye_outer_right",
        39: "eye_inner_right", 42: "eye_inner_left", 45: "eye_outer_left", 48: "mouth_corner_right",
        54: "mouth_corner_left", 51: "upper_lip", 62: "upper_lip_inner", 66: "lower_lip_inner",
    }.items():  # fmt: skip
        assert np.linalg.norm(points[index] - named[name]) < 0.003
    assert named["chin_bottom"][1] < points[8, 1] < named["chin"][1]
    for eye in (slice(36, 42), slice(42, 48)):
        corner, upper_a, upper_b, other, lower_b, lower_a = points[eye]
        assert min(upper_a[1], upper_b[1]) > max(lower_a[1], lower_b[1])
        assert corner[0] < upper_a[0] < upper_b[0] < other[0]
        assert corner[0] < lower_a[0] < lower_b[0] < other[0]


def test_jaw_is_where_another_head_has_it():
    ours = landmarks_68(AnnySource.shared().vertices_for(AVERAGE_ADULT)).astype(np.float64)
    theirs = {index: np.array(point) / 100 for index, point in ICT_FACE_CM.items()}
    theirs |= {MIRRORED[index]: point * [-1, 1, 1] for index, point in theirs.items()}
    inner = [index for index in theirs if index > 16]
    theirs, ours = np.array([theirs[index] for index in [*range(17), *inner]]), ours[[*range(17), *inner]]
    turn, _ = Rotation.align_vectors(ours[17:] - ours[17:].mean(0), theirs[17:] - theirs[17:].mean(0))
    moved = turn.apply(theirs - theirs[17:].mean(0)) + ours[17:].mean(0)
    distances = np.linalg.norm(moved - ours, axis=1)
    assert distances[17:].mean() < 0.003
    assert distances[:17].mean() < 0.005
    assert distances.max() < 0.009


def test_landmarks_follow_the_expression():
    source = AnnySource.shared()
    neutral = source.vertices_for(AVERAGE_ADULT)
    opened = neutral + source.blendshapes_for(AVERAGE_ADULT)[ARKIT_NAMES.index("jawOpen")]
    moved = np.linalg.norm(landmarks_68(opened) - landmarks_68(neutral), axis=1)
    assert moved[8] > 0.01
    assert moved[66] > 0.008
    assert moved[27:36].max() < 0.005
    gap = landmarks_68(opened)[62, 1] - landmarks_68(opened)[66, 1]
    assert gap > 0.008


def test_lids_that_shut_meet():
    source = AnnySource.shared()
    neutral = source.vertices_for(AVERAGE_ADULT)
    shapes = source.blendshapes_for(AVERAGE_ADULT)
    blink = shapes[ARKIT_NAMES.index("eyeBlinkLeft")] + shapes[ARKIT_NAMES.index("eyeBlinkRight")]
    for strength in (0.6, 1.6):  # the latter as on eyes that are less open than the average
        points = landmarks_68(neutral + strength * blink)
        gaps = points[[37, 38, 43, 44], 1] - points[[41, 40, 47, 46], 1]
        assert (gaps >= 0).all()
        assert (gaps > 0.0005).all() == (strength < 1)
    shut = (neutral + 1.6 * blink)[[6, 54]]  # the right upper lid's own vertices
    np.testing.assert_allclose(points[[37, 38]], shut)
