"""What every blendshape does to every texel, kept only where it does something, texel by texel."""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64


def sparse_rows(
    dense: Iterable[Float32[np.ndarray, "n d"]], kept: Callable[[Float32[np.ndarray, "n d"]], Bool[np.ndarray, " n"]]
) -> tuple[Int64[np.ndarray, " n1"], Int32[np.ndarray, " m"], Float32[np.ndarray, "m d"]]:
    """Gather the rows that matter.

    Args:
        dense: Values of all n texels, one array for each blendshape.
        kept: Which rows of such an array to keep.

    Returns:
        Where each texel's rows begin (and the last one's end), the blendshape of each row, and the rows.
    """
    rows, shapes, values, count = [], [], [], 0
    for shape, array in enumerate(dense):
        count = len(array)
        moving = np.flatnonzero(kept(array))
        rows.append(moving)
        shapes.append(np.full(len(moving), shape, np.int32))
        values.append(array[moving])
    row = np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=count))])
    return first.astype(np.int64), np.concatenate(shapes)[order], np.concatenate(values)[order]
