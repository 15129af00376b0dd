"""Shadowed, wrapped diffuse light at vertices."""

import numpy as np

from headsup_cli.simulation.compilation import kernel

SHADOW_BIAS_M = 0.006
# Light bleeds past the terminator under the skin, red the furthest.
WRAP = np.array([0.30, 0.18, 0.14], np.float32)


@kernel
def gather_light(vertices, normals, directions, colours, projections, depth, through, out):
    """Add to vertices [v, 3] the light of lamps whose shadow maps [l, s, s] do not hide it, `through` hair [v, l]."""
    size = depth.shape[1]
    for lamp in range(directions.shape[0]):
        matrix = projections[lamp]
        for vertex in range(vertices.shape[0]):
            x, y, z = vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2]
            distance = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
            column = int((matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]) / distance)
            row = int((matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]) / distance)
            lit = 0.0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    r, c = min(max(row + dy, 0), size - 1), min(max(column + dx, 0), size - 1)
                    # Neighbours on a slope lie deeper by up to a texel and a half.
                    lit += 1.0 if depth[lamp, r, c] > distance - SHADOW_BIAS_M * (1 + abs(dx) + abs(dy)) else 0.0
            cosine = (
                normals[vertex, 0] * directions[lamp, 0]
                + normals[vertex, 1] * directions[lamp, 1]
                + normals[vertex, 2] * directions[lamp, 2]
            )
            for channel in range(3):
                wrapped = (cosine + WRAP[channel]) / (1 + WRAP[channel])
                if wrapped > 0:
                    out[vertex, channel] += colours[lamp, channel] * wrapped * through[vertex, lamp] * lit / 9.0
