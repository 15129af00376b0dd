"""Which features of two pictures show the same point, judged by the pictures alone and never by the calibration."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int
from scipy.special import gammaln

from headsup_cli.calibration.features import Features
from headsup_cli.media.opencv import cv2
from headsup_cli.runtime.progress import progress
from headsup_cli.runtime.threads import usable_cores

_RATIO = 0.85  # nearest over second nearest descriptor; the epipolar check is what removes wrong matches
_COARSE = 700  # features that pairs are first tried with
_PARTNERS = 7  # pictures that each is matched with
_MOST_THREADS = 8  # each holds some 100 MB
_INLIER_PX = 1.5
_LEAST_INLIERS = 16
_MOST_FALSE_ALARMS = 1e-4  # expected number of equally good epipolar geometries among as many random matches


@dataclass(frozen=True)
class PairMatches:
    """Matches of two pictures that one epipolar geometry explains."""

    first: int  # index of the picture
    second: int
    indices: Int[np.ndarray, "m 2"]  # of the features of the two


def match_pictures(
    features: Sequence[Features], flattened: Sequence[Float64[np.ndarray, "_ 2"]], neighbours: set[tuple[int, int]]
) -> list[PairMatches]:
    """Match pictures of one moment with those they share most with.

    Args:
        features: By picture.
        flattened: The features' pixels without lens distortion, by picture; NaN where the lens reaches none.
        neighbours: Pairs (smaller index first) worth trying whatever the pictures say.
    """
    pairs = sorted(neighbours | _promising_pairs(features))
    with ThreadPoolExecutor(min(usable_cores(), _MOST_THREADS)) as pool:
        matched = pool.map(lambda pair: _matches(pair, features, flattened), pairs)
        return [pair for pair in progress(matched, "matching", len(pairs)) if pair is not None]


def _promising_pairs(features: Sequence[Features]) -> set[tuple[int, int]]:
    votes = np.zeros((len(features), len(features)), int)
    for i, j in combinations(range(len(features)), 2):
        first, second = (features[k].descriptors[:_COARSE] for k in (i, j))
        votes[i, j] = votes[j, i] = len(_mutual(first, second))
    partners = np.argsort(-votes, axis=1, kind="stable")[:, :_PARTNERS]
    return {(min(i, j), max(i, j)) for i, row in enumerate(partners.tolist()) for j in row if i != j}


def _mutual(first: np.ndarray, second: np.ndarray) -> Int[np.ndarray, "m 2"]:
    """Indices of features that are each other's nearest, and far nearer than the second nearest."""
    if min(len(first), len(second)) < 2:
        return np.zeros((0, 2), int)
    likeness = first @ second.T  # [n, m], cosines
    nearest = likeness.argmax(1)
    rows = np.flatnonzero(likeness.argmax(0)[nearest] == np.arange(len(first)))
    columns = nearest[rows]
    best = likeness[rows, columns]
    likeness[rows, columns] = -1
    distance, second_distance = (np.sqrt(np.maximum(2 - 2 * x, 1e-12)) for x in (best, likeness[rows].max(1)))
    kept = distance < _RATIO * second_distance
    return np.stack([rows[kept], columns[kept]], 1)


def _matches(
    pair: tuple[int, int], features: Sequence[Features], flattened: Sequence[Float64[np.ndarray, "_ 2"]]
) -> PairMatches | None:
    indices = _mutual(*(features[k].descriptors for k in pair))
    points = [flattened[picture][indices[:, side]] for side, picture in enumerate(pair)]
    sound = np.isfinite(points[0]).all(1) & np.isfinite(points[1]).all(1)
    indices, points = indices[sound], [side[sound] for side in points]
    if len(indices) < _LEAST_INLIERS:
        return None
    _, inliers = cv2.findFundamentalMat(points[0], points[1], cv2.USAC_MAGSAC, _INLIER_PX, 0.9999, 5000)
    if inliers is None or inliers.sum() < _LEAST_INLIERS:
        return None
    extent = np.ptp(points[1], axis=0)
    chance = 2 * _INLIER_PX * float(np.hypot(*extent) / max(extent.prod(), 1.0))
    if _log_false_alarms(len(indices), int(inliers.sum()), min(chance, 1.0)) > np.log(_MOST_FALSE_ALARMS):
        return None
    return PairMatches(*pair, indices[inliers.ravel() > 0])


def _log_false_alarms(matches: int, inliers: int, chance: float) -> float:
    """Moisan and Stival, "A probabilistic criterion to detect rigid point matches", IJCV 2004: seven matches fix F."""
    ways = _log_choose(matches, inliers) + _log_choose(inliers, 7)
    return float(np.log(max(matches - 7, 1)) + ways + (inliers - 7) * np.log(chance))


def _log_choose(n: int, k: int) -> float:
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))
