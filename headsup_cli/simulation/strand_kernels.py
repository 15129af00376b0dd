"""Drawing and shading strands: ribbons facing the camera, z-buffered sample by sample, lit as fibres."""

import numpy as np

from headsup_cli.rendering.mesh_kernels import NEAR_M
from headsup_cli.rendering.simd import take_ticket
from headsup_cli.simulation.compilation import inline, kernel

_SLICES = 128  # of depth
# Marschner's two reflections in the plane of the fibre: off its tilted scales, and through it and back, coloured.
# Sines of the shift, widths of the lobes, strengths.
_SURFACE_SHIFT, _SURFACE_WIDTH, _SURFACE = -0.10, 0.12, 0.16
_INNER_SHIFT, _INNER_WIDTH, _INNER = 0.16, 0.24, 0.9


@kernel
def project_strands(columns, first, matrices, focal, projected, order):
    """Pixel coordinates, inverse depth (0 where unusable) and half the width in pixels of every node, [c, n, 4].

    And the order [c, m] to draw the segments in: the nearest first, more or less, which spares what they hide.
    """
    for camera in range(matrices.shape[0]):
        matrix = matrices[camera]
        for node in range(columns.shape[0]):
            x, y, z = columns[node, 0], columns[node, 1], columns[node, 2]
            depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
            inverse = 1 / depth if depth > NEAR_M else np.float32(0)
            projected[camera, node, 0] = (
                matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]
            ) * inverse
            projected[camera, node, 1] = (
                matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]
            ) * inverse
            projected[camera, node, 2] = inverse
            projected[camera, node, 3] = 0.5 * columns[node, 15] * focal[camera] * inverse
        _sort_by_depth(projected[camera], first, order[camera])


@inline
def _slice(below, scale):
    return int(min(max(below * scale, np.float32(0)), np.float32(_SLICES - 1)))


@inline
def _sort_by_depth(nodes, first, order):
    """Counting sort into slices of inverse depth."""
    low, high = np.float32(1e9), np.float32(0)
    for segment in range(first.shape[0]):
        low, high = min(low, nodes[first[segment], 2]), max(high, nodes[first[segment], 2])
    scale = (_SLICES - 1) / max(high - low, np.float32(1e-6))
    start = np.zeros(_SLICES + 1, np.int64)
    for segment in range(first.shape[0]):
        start[_slice(high - nodes[first[segment], 2], scale) + 1] += 1
    for place in range(_SLICES):
        start[place + 1] += start[place]
    for segment in range(first.shape[0]):
        place = _slice(high - nodes[first[segment], 2], scale)
        order[start[place]] = segment
        start[place] += 1


@kernel
def draw_strands(tickets, projected, order, first, mesh_faces, band_rows, face_map, barycentric, depth_map):
    """Draw bands of rows until the tickets run out."""
    n_cameras, height, _ = face_map.shape
    bands = (height + band_rows - 1) // band_rows
    while True:
        task = take_ticket(tickets)
        if task >= n_cameras * bands:
            return
        camera, top = task // bands, (task % bands) * band_rows
        end = min(top + band_rows, height)
        nodes = projected[camera]
        for place in range(first.shape[0]):
            segment = order[camera, place]
            node = first[segment]
            ay, by, half = nodes[node, 1], nodes[node + 1, 1], nodes[node, 3] + 1
            if max(ay, by) + half < top or min(ay, by) - half > end or nodes[node, 2] * nodes[node + 1, 2] == 0:
                continue
            _draw_segment(
                nodes, node, mesh_faces + segment, top, end, face_map[camera], barycentric[camera], depth_map[camera]
            )


@inline
def _draw_segment(nodes, node, index, top, end, face_map, barycentric, depth_map):
    """Step along the longer way of the segment, row by row or column by column, and fill across it."""
    ax, ay, az, aw = nodes[node, 0], nodes[node, 1], nodes[node, 2], nodes[node, 3]
    bx, by, bz, bw = nodes[node + 1, 0], nodes[node + 1, 1], nodes[node + 1, 2], nodes[node + 1, 3]
    dx, dy = bx - ax, by - ay
    steep = abs(dy) >= abs(dx)
    long = dy if steep else dx
    if abs(long) < 1e-6 or max(abs(ax), abs(bx), abs(ay), abs(by)) > 1e6:
        return
    inverse = 1 / long
    # On the screen's axes, a ribbon cut along a row or a column is wider by the slope.
    widen = np.sqrt(dx * dx + dy * dy) * abs(inverse)
    begin, finish = (ay, by) if steep else (ax, bx)
    width = face_map.shape[1]
    low = max(int(np.ceil(min(begin, finish) - 0.5)), top if steep else 0)
    high = min(int(np.ceil(max(begin, finish) - 0.5)), end if steep else width)
    for place in range(low, high):
        t = (place + 0.5 - begin) * inverse
        middle = (ax + t * dx) if steep else (ay + t * dy)
        half = (aw + t * (bw - aw)) * widen
        inverse_depth = az + t * (bz - az)
        depth = 1 / inverse_depth
        left = max(int(np.ceil(middle - half - 0.5)), 0 if steep else top)
        right = min(int(np.ceil(middle + half - 0.5)), width if steep else end)
        for other in range(left, right):
            row, column = (place, other) if steep else (other, place)
            if depth < depth_map[row, column]:
                depth_map[row, column] = depth
                face_map[row, column] = index
                second = t * bz * depth  # perspective-correct
                barycentric[row, column, 0] = 1 - second
                barycentric[row, column, 1] = second
                barycentric[row, column, 2] = (other + 0.5 - middle) / half


@inline
def _bell(x):
    """Close to exp(-x^2 / 2)."""
    rest = max(1 - 0.125 * x * x, 0.0)
    rest *= rest
    return rest * rest


@inline
def strand_colour(columns, node, a, b, across, highlights, highlight_colours, cx, cy, cz):
    """Linear colour of a strand between `node` and the next, weighted a and b, seen from (cx, cy, cz)."""
    other = node + 1
    red = a * columns[node, 9] + b * columns[other, 9]
    green = a * columns[node, 10] + b * columns[other, 10]
    blue = a * columns[node, 11] + b * columns[other, 11]
    tx = a * columns[node, 3] + b * columns[other, 3]
    ty = a * columns[node, 4] + b * columns[other, 4]
    tz = a * columns[node, 5] + b * columns[other, 5]
    norm = 1 / np.sqrt(tx * tx + ty * ty + tz * tz + 1e-9)
    tx, ty, tz = tx * norm, ty * norm, tz * norm
    vx = cx - columns[node, 0]
    vy = cy - columns[node, 1]
    vz = cz - columns[node, 2]
    norm = 1 / np.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * norm, vy * norm, vz * norm
    seen = tx * vx + ty * vy + tz * vz
    seen_across = np.sqrt(max(1 - seen * seen, 1e-4))
    rounded = 1 - 0.25 * across * across
    red, green, blue = red * rounded, green * rounded, blue * rounded
    for lamp in range(highlights.shape[0]):
        lx, ly, lz = highlights[lamp, 0], highlights[lamp, 1], highlights[lamp, 2]
        lit = tx * lx + ty * ly + tz * lz
        arrives = a * columns[node, 16 + lamp] + b * columns[other, 16 + lamp]
        # Cosine between lamp and eye around the fibre; reflections fade towards the far side.
        turned = (lx * vx + ly * vy + lz * vz - lit * seen) / (np.sqrt(max(1 - lit * lit, 1e-4)) * seen_across)
        around = np.sqrt(max(0.5 + 0.5 * turned, 0.0)) * arrives
        surface = (lit + seen - _SURFACE_SHIFT) / _SURFACE_WIDTH
        inner = (lit + seen - _INNER_SHIFT) / _INNER_WIDTH
        gloss = _SURFACE * around * _bell(surface)
        glow = _INNER * around * around * _bell(inner)
        red += highlight_colours[lamp, 0] * (gloss + glow * (a * columns[node, 12] + b * columns[other, 12]))
        green += highlight_colours[lamp, 1] * (gloss + glow * (a * columns[node, 13] + b * columns[other, 13]))
        blue += highlight_colours[lamp, 2] * (gloss + glow * (a * columns[node, 14] + b * columns[other, 14]))
    return red, green, blue
