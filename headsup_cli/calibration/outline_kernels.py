"""Rays of one outline held against all other outlines."""

import numpy as np

from headsup_cli.calibration.compilation import inline, kernel

_COARSE = 64  # samples along a ray
_FINE = 4  # to either side of the best, twice


@inline
def _distance(maps, camera, matrices, x, y, z):
    """How far inside the outline a point of the world appears to a camera, thousandths of the picture; bilinear."""
    P = matrices[camera]
    depth = P[2, 0] * x + P[2, 1] * y + P[2, 2] * z + P[2, 3]
    if depth <= 0:
        return np.float32(-1e3)
    height, width = maps.shape[1:]
    u = (P[0, 0] * x + P[0, 1] * y + P[0, 2] * z + P[0, 3]) / depth - 0.5
    v = (P[1, 0] * x + P[1, 1] * y + P[1, 2] * z + P[1, 3]) / depth - 0.5
    u, v = min(max(u, 0.0), width - 1.001), min(max(v, 0.0), height - 1.001)
    i, j = int(u), int(v)
    a, b = np.float32(u - i), np.float32(v - j)
    upper = maps[camera, j, i] * (1 - a) + maps[camera, j, i + 1] * a
    lower = maps[camera, j + 1, i] * (1 - a) + maps[camera, j + 1, i + 1] * a
    return upper * (1 - b) + lower * b


@inline
def _clearance(maps, matrices, ignored, own, x, y, z, enough, first):
    """Least distance over the cameras, and whose; not looked for further once below `enough`."""
    least, whose = np.float32(1e3), first
    if first != own and not ignored[first]:
        least = min(least, _distance(maps, first, matrices, x, y, z))
        if least <= enough:
            return least, whose
    for camera in range(len(maps)):
        if camera in (own, first) or ignored[camera]:
            continue
        distance = _distance(maps, camera, matrices, x, y, z)
        if distance < least:
            least, whose = distance, camera
            if least <= enough:
                break
    return least, whose


@kernel
def clearances(maps, matrices, ignored, origin, direction, own, near, far):
    """How far inside all other outlines each ray comes at best; negative where it misses them.

    Args:
        maps: Signed distances to the outlines, positive inside, in any one unit, float32 [c, h, w].
        matrices: From the world, homogeneous, to pixels of the maps, times depth, float64 [c, 3, 4].
        ignored: Cameras that do not count, bool [c].
        origin: Of the rays, float64 [n, 3].
        direction: Of the rays, float64 [n, 3].
        own: The camera whose ray it is, int64 [n].
        near: Where to begin to look along each, float64 [n].
        far: Where to end, float64 [n].

    Returns:
        In the maps' unit, float32 [n].
    """
    out = np.empty(len(own), np.float32)
    for ray in range(len(own)):
        middle, half = (near[ray] + far[ray]) / 2, (far[ray] - near[ray]) / 2
        best, first = np.float32(-1e6), 0
        for level in range(3):
            count = _COARSE // 2 if level == 0 else _FINE
            start = middle
            for step in range(-count, count + 1):
                along = start + half * step / count
                x = origin[ray, 0] + along * direction[ray, 0]
                y = origin[ray, 1] + along * direction[ray, 1]
                z = origin[ray, 2] + along * direction[ray, 2]
                least, first = _clearance(maps, matrices, ignored, own[ray], x, y, z, best, first)
                if least > best:
                    best, middle = least, along
            half /= count
        out[ray] = best
    return out
