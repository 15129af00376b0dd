"""Value noise with smooth interpolation on a periodic lattice."""

import numpy as np

from headsup_cli.simulation.compilation import inline, kernel

CELLS = 32  # the field repeats after this many cells


@inline
def noise4(volume, x, y, z):
    """Four smooth fields at a point given in cells: zero mean, standard deviation about 0.5, range about +-2."""
    floor_x, floor_y, floor_z = np.floor(x), np.floor(y), np.floor(z)
    fx, fy, fz = np.float32(x - floor_x), np.float32(y - floor_y), np.float32(z - floor_z)
    one, two, three = np.float32(1), np.float32(2), np.float32(3)  # whole numbers would make doubles of them
    fx, fy, fz = fx * fx * (three - two * fx), fy * fy * (three - two * fy), fz * fz * (three - two * fz)
    x0, y0, z0 = int(floor_x) & (CELLS - 1), int(floor_y) & (CELLS - 1), int(floor_z) & (CELLS - 1)
    x1, y1, z1 = (x0 + 1) & (CELLS - 1), (y0 + 1) & (CELLS - 1), (z0 + 1) & (CELLS - 1)
    x0, x1, y0, y1 = x0 * CELLS * CELLS, x1 * CELLS * CELLS, y0 * CELLS, y1 * CELLS
    gx, gy, gz = one - fx, one - fy, one - fz
    w000, w001, w010, w011 = gx * gy * gz, gx * gy * fz, gx * fy * gz, gx * fy * fz
    w100, w101, w110, w111 = fx * gy * gz, fx * gy * fz, fx * fy * gz, fx * fy * fz
    a, b, c, d = x0 + y0 + z0, x0 + y0 + z1, x0 + y1 + z0, x0 + y1 + z1
    e, f, g, h = x1 + y0 + z0, x1 + y0 + z1, x1 + y1 + z0, x1 + y1 + z1
    v0 = (
        w000 * volume[a, 0]
        + w001 * volume[b, 0]
        + w010 * volume[c, 0]
        + w011 * volume[d, 0]
        + w100 * volume[e, 0]
        + w101 * volume[f, 0]
        + w110 * volume[g, 0]
        + w111 * volume[h, 0]
    )
    v1 = (
        w000 * volume[a, 1]
        + w001 * volume[b, 1]
        + w010 * volume[c, 1]
        + w011 * volume[d, 1]
        + w100 * volume[e, 1]
        + w101 * volume[f, 1]
        + w110 * volume[g, 1]
        + w111 * volume[h, 1]
    )
    v2 = (
        w000 * volume[a, 2]
        + w001 * volume[b, 2]
        + w010 * volume[c, 2]
        + w011 * volume[d, 2]
        + w100 * volume[e, 2]
        + w101 * volume[f, 2]
        + w110 * volume[g, 2]
        + w111 * volume[h, 2]
    )
    v3 = (
        w000 * volume[a, 3]
        + w001 * volume[b, 3]
        + w010 * volume[c, 3]
        + w011 * volume[d, 3]
        + w100 * volume[e, 3]
        + w101 * volume[f, 3]
        + w110 * volume[g, 3]
        + w111 * volume[h, 3]
    )
    return v0, v1, v2, v3


@kernel
def fill_noise(volume, points, out):
    """`noise4` at every row of `points` [n, 3] in cells."""
    for index in range(points.shape[0]):
        values = noise4(volume, points[index, 0], points[index, 1], points[index, 2])
        for channel in range(4):
            out[index, channel] = values[channel]
