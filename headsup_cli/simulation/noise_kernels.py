"""Value noise with smooth interpolation on a periodic lattice."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from headsup_cli.simulation.compilation import inline, kernel

CELLS = 32  # the field repeats after this many cells


@intrinsic
def _blend(typingctx: Any, volume: Any, nodes: Any, weights: Any) -> Any:
    """Weighted sum of rows of `volume` [n, 4] as a tuple: four lanes at once, which LLVM does not find by itself."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes, index = ir.VectorType(ir.FloatType(), 4), ir.IntType(32)
        data = builder.bitcast(context.make_array(volume)(context, builder, args[0]).data, lanes.as_pointer())
        total = None
        pairs = (cgutils.unpack_tuple(builder, packed, len(nodes)) for packed in args[1:])
        for node, weight in zip(*pairs, strict=True):
            first = builder.insert_element(ir.Constant(lanes, ir.Undefined), weight, index(0))
            spread = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(index, 4), [0] * 4))
            share = builder.fmul(spread, builder.load(builder.gep(data, [node]), align=4), flags=["fast"])
            total = share if total is None else builder.fadd(total, share, flags=["fast"])
        values = [builder.extract_element(total, index(lane)) for lane in range(4)]
        return context.make_tuple(builder, sig.return_type, values)

    return types.UniTuple(types.float32, 4)(volume, nodes, weights), codegen


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
    a, b, c, d = gx * gy, gx * fy, fx * gy, fx * fy
    return _blend(
        volume,
        (
            x0 + y0 + z0,
            x0 + y0 + z1,
            x0 + y1 + z0,
            x0 + y1 + z1,
            x1 + y0 + z0,
            x1 + y0 + z1,
            x1 + y1 + z0,
            x1 + y1 + z1,
        ),
        (a * gz, a * fz, b * gz, b * fz, c * gz, c * fz, d * gz, d * fz),
    )


@kernel
def fill_noise(volume, points, out):
    """`noise4` at every row of `points` [n, 3] in cells."""
    for index in range(points.shape[0]):
        values = noise4(volume, points[index, 0], points[index, 1], points[index, 2])
        for channel in range(4):
            out[index, channel] = values[channel]
