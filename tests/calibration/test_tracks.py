import numpy as np
from simple_rigs import RADIUS_M, ring, seen

from headsup_cli.calibration.features import Features
from headsup_cli.calibration.matching import PairMatches
from headsup_cli.calibration.tracks import concatenate, join_matches, leave_one_out, triangulate


def features(count):
    return Features(np.arange(2.0 * count).reshape(-1, 2), np.zeros((count, 128), np.float32))


def test_matches_join_into_chains_and_contradictions_are_dropped():
    matches = [
        PairMatches(0, 1, np.array([[0, 1], [2, 2], [3, 3]])),
        PairMatches(1, 2, np.array([[1, 4], [2, 2]])),
        PairMatches(0, 2, np.array([[0, 4], [1, 2]])),  # 1 and 2 of the first picture would be one point
    ]
    tracks = join_matches([5, 6, 7], [features(5)] * 3, matches)
    chains = sorted(tuple(tracks.camera[tracks.point == p]) for p in range(tracks.count))
    assert chains == [(5, 6), (5, 6, 7)]
    assert np.array_equal(tracks.pixel[tracks.camera == 7], [[8.0, 9.0]])


def test_exact_observations_triangulate_exactly():
    cameras = ring(5)
    tracks = seen(cameras, 300, noise_px=0.0, outliers=0.0)
    points = triangulate(tracks, cameras)
    assert np.allclose(np.linalg.norm(points / (RADIUS_M * np.array([0.8, 1.2, 1.0])), axis=1), 1, atol=1e-6)
    assert np.abs(leave_one_out(tracks, 2, cameras[2], cameras)).max() < 1e-4


def test_moments_stay_apart():
    part = seen(ring(3), 50)
    both = concatenate([part, part])
    assert both.count == 2 * part.count
    assert concatenate([]).count == 0
