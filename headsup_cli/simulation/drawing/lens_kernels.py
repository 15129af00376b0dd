"""OpenCV's lens model over many points at once."""

import numpy as np

from headsup_cli.simulation.compilation import kernel


@kernel
def move_through_lens(columns, turn, shift, k, ahead_m):
    """Move positions (columns 0-2) to where an ideal camera sees them as the lens `k` (k1 to s4, 12) shows them.

    `turn` [3, 3] and `shift` take them to the camera's axes; the model is `capture.lens.Lens`'s `opencv`. Points nearer
    than `ahead_m` stay where they are.
    """
    for row in range(columns.shape[0]):
        px, py, pz = columns[row, 0], columns[row, 1], columns[row, 2]
        z = turn[2, 0] * px + turn[2, 1] * py + turn[2, 2] * pz + shift[2]
        if not z > ahead_m:
            continue
        x = (turn[0, 0] * px + turn[0, 1] * py + turn[0, 2] * pz + shift[0]) / z
        y = (turn[1, 0] * px + turn[1, 1] * py + turn[1, 2] * pz + shift[1]) / z
        r2 = x * x + y * y
        radial = (1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))) / (1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7])))
        dx = x * (radial - 1) + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x) + r2 * (k[8] + r2 * k[9])
        dy = y * (radial - 1) + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y + r2 * (k[10] + r2 * k[11])
        dx, dy = dx * z, dy * z
        columns[row, 0] = px + np.float32(turn[0, 0] * dx + turn[1, 0] * dy)
        columns[row, 1] = py + np.float32(turn[0, 1] * dx + turn[1, 1] * dy)
        columns[row, 2] = pz + np.float32(turn[0, 2] * dx + turn[1, 2] * dy)
