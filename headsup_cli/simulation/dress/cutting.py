"""Cuts triangle meshes along level lines of a field on their vertices."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def split(
    columns: Float[np.ndarray, "v k"], faces: Int[np.ndarray, "f 3"], field: Float[np.ndarray, " v"]
) -> tuple[Float[np.ndarray, "w k"], Int[np.ndarray, "g 3"], Int[np.ndarray, " g"], Bool[np.ndarray, " g"]]:
    """Divide triangles where `field` changes its sign; the pieces on either side share the new vertices.

    Args:
        columns: What vertices carry, blended along the edges that are cut.
        faces: The triangles.
        field: Above 0 on one side, 0 or less on the other.

    Returns:
        Columns with the new vertices after the old; faces; for each the face that it is a piece of; and whether it
        lies where the field is above 0.
    """
    above = field > 0
    count = above[faces].sum(1)
    whole, cut = np.flatnonzero((count == 0) | (count == 3)), np.flatnonzero((count == 1) | (count == 2))
    odd_above = count[cut] == 1  # the corner that is alone on its side
    alone = np.where(odd_above[:, None], above[faces[cut]], ~above[faces[cut]]).argmax(1)
    a, b, c = (np.take_along_axis(faces[cut], ((alone + k) % 3)[:, None], 1)[:, 0] for k in range(3))
    ends = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
    edges, index = np.unique(ends, axis=0, return_inverse=True)
    ab, ac = len(columns) + index.reshape(2, -1)
    i, j = edges.T
    share = (field[i] / (field[i] - field[j]))[:, None]
    added = columns[i] * (1 - share) + columns[j] * share
    pieces = [(a, ab, ac), (ab, b, c), (ab, c, ac)]
    side = np.concatenate([count[whole] == 3, odd_above, ~odd_above, ~odd_above])
    return (
        np.concatenate([columns, added.astype(columns.dtype)]),
        np.concatenate([faces[whole], *(np.stack(piece, 1) for piece in pieces)]),
        np.concatenate([whole, cut, cut, cut]),
        side,
    )


def compacted(
    columns: Float[np.ndarray, "v k"], faces: Int[np.ndarray, "f 3"]
) -> tuple[Float[np.ndarray, "w k"], Int[np.ndarray, "f 3"]]:
    """Leave out vertices that no face uses."""
    used, index = np.unique(faces, return_inverse=True)
    return columns[used], index.reshape(-1, 3)
