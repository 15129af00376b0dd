"""Drawing and shading strands: ribbons facing the camera, z-buffered sample by sample, lit as fibres."""

import numpy as np

from headsup_cli.rendering.mesh_kernels import NEAR_M
from headsup_cli.rendering.simd import take_ticket
from headsup_cli.simulation.compilation import inline, kernel
from headsup_cli.simulation.drawing.single_precision_kernels import single

HIGHLIGHTS = 2  # lamps that are seen reflected
_SLICES = 24  # of depth; strands stay in one piece within a slice, which keeps what they touch in the cache
_TILE = 8  # pixels a side, by which segments are found to be hidden
_LOOKS = 5  # how often that is done anew while segments are drawn
# Marschner's two reflections in the plane of the fibre: off its tilted scales, and through it and back, coloured.
# Sines of the shift, widths of the lobes, strengths.
_SURFACE_SHIFT, _SURFACE_WIDTH, _SURFACE = np.array([-0.10, 0.12, 0.16], np.float32)
_INNER_SHIFT, _INNER_WIDTH, _INNER = np.array([0.16, 0.24, 0.9], np.float32)


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
    n_cameras, height, width = face_map.shape
    bands = (height + band_rows - 1) // band_rows
    farthest = np.empty((band_rows // _TILE + 1, width // _TILE + 1), np.float32)
    while True:
        task = take_ticket(tickets)
        if task >= n_cameras * bands:
            return
        camera, top = task // bands, (task % bands) * band_rows
        end = min(top + band_rows, height)
        nodes = projected[camera]
        look = first.shape[0] // _LOOKS + 1
        for place in range(first.shape[0]):
            if place % look == 0:
                _find_farthest(depth_map[camera], top, end, farthest)
            segment = order[camera, place]
            if not _is_hidden(nodes, first[segment], top, end, width, farthest):
                _draw_segment(
                    nodes, first[segment], mesh_faces + segment, top, end, face_map[camera], barycentric[camera],
                    depth_map[camera],
                )  # fmt: skip


@inline
def _find_farthest(depth_map, top, end, farthest):
    """The largest depth in every tile of a band."""
    farthest[:] = np.float32(0)
    for row in range(top, end):
        tiles = farthest[(row - top) // _TILE]
        for tile in range(tiles.shape[0]):
            for column in range(tile * _TILE, min((tile + 1) * _TILE, depth_map.shape[1])):
                tiles[tile] = max(tiles[tile], depth_map[row, column])


@inline
def _is_hidden(nodes, node, top, end, width, farthest):
    """Whether a segment is outside the band, or behind all that its tiles show already."""
    ax, ay, az = nodes[node, 0], nodes[node, 1], nodes[node, 2]
    bx, by, bz = nodes[node + 1, 0], nodes[node + 1, 1], nodes[node + 1, 2]
    margin = np.float32(1.5) * max(nodes[node, 3], nodes[node + 1, 3]) + np.float32(1)
    left, right, upper, lower = min(ax, bx) - margin, max(ax, bx) + margin, min(ay, by) - margin, max(ay, by) + margin
    if az * bz == 0 or not (right > 0 and left < width and lower > top and upper < end):
        return True
    nearest = 1 / max(az, bz)
    first_column, last_column = int(max(left, np.float32(0))) // _TILE, int(min(right, width - 1)) // _TILE
    for row in range((int(max(upper, top)) - top) // _TILE, (int(min(lower, end - 1)) - top) // _TILE + 1):
        for column in range(first_column, last_column + 1):
            if nearest < farthest[row, column]:
                return False
    return True


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
    inverse, rounding = 1 / long, np.float32(0.5)  # doubles would cost a third more
    # On the screen's axes, a ribbon cut along a row or a column is wider by the slope.
    widen = np.sqrt(dx * dx + dy * dy) * abs(inverse)
    begin, finish = (ay, by) if steep else (ax, bx)
    across, slope = (ax, dx) if steep else (ay, dy)
    width = face_map.shape[1]
    low = max(int(np.ceil(min(begin, finish) - rounding)), top if steep else 0)
    high = min(int(np.ceil(max(begin, finish) - rounding)), end if steep else width)
    lowest, highest = np.float32(0 if steep else top), np.float32(width if steep else end)
    for place in range(low, high):
        t = (np.float32(place) + rounding - begin) * inverse
        middle, half = across + t * slope, (aw + t * (bw - aw)) * widen
        left = int(max(middle - half + rounding, lowest))
        right = int(min(middle + half + rounding, highest))
        if left >= right:
            continue
        depth = 1 / (az + t * (bz - az))
        for other in range(left, right):
            row, column = (place, other) if steep else (other, place)
            if depth < depth_map[row, column]:
                depth_map[row, column] = depth
                face_map[row, column] = index
                second = t * bz * depth  # perspective-correct
                barycentric[row, column, 0] = 1 - second
                barycentric[row, column, 1] = second
                barycentric[row, column, 2] = (np.float32(other) + rounding - middle) / half


@inline
@single
def _bell(x):
    """Close to exp(-x^2 / 2)."""
    rest = max(1.0 - 0.125 * x * x, 0.0)
    rest *= rest
    return rest * rest


@kernel
def colour_nodes(face_map, mesh_faces, columns, first, highlights, highlight_colours, centre, colours):
    """Linear colours [n, 3] from `centre` of the nodes of the segments that a face map shows."""
    shown = np.zeros(columns.shape[0], np.bool_)
    for row in range(face_map.shape[0]):
        for column in range(face_map.shape[1]):
            segment = face_map[row, column] - mesh_faces
            if segment >= 0:
                shown[first[segment]] = shown[first[segment] + 1] = True
    for node in range(columns.shape[0]):
        if shown[node]:
            _colour_node(columns[node], highlights, highlight_colours, centre, colours[node])


@inline
@single
def _colour_node(node, highlights, highlight_colours, centre, out):
    tx, ty, tz = node[3], node[4], node[5]
    vx, vy, vz = centre[0] - node[0], centre[1] - node[1], centre[2] - node[2]
    norm = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * norm, vy * norm, vz * norm
    seen = tx * vx + ty * vy + tz * vz
    seen_across = np.sqrt(max(1.0 - seen * seen, 1e-4))
    out[0], out[1], out[2] = node[9], node[10], node[11]
    for lamp in range(HIGHLIGHTS):
        lx, ly, lz = highlights[lamp, 0], highlights[lamp, 1], highlights[lamp, 2]
        lit = tx * lx + ty * ly + tz * lz
        # Cosine between lamp and eye around the fibre; reflections fade towards the far side.
        turned = (lx * vx + ly * vy + lz * vz - lit * seen) / (np.sqrt(max(1.0 - lit * lit, 1e-4)) * seen_across)
        around = np.sqrt(max(0.5 + 0.5 * turned, 0.0)) * node[16 + lamp]
        surface = (lit + seen - _SURFACE_SHIFT) / _SURFACE_WIDTH
        inner = (lit + seen - _INNER_SHIFT) / _INNER_WIDTH
        gloss = _SURFACE * around * _bell(surface)
        glow = _INNER * around * around * _bell(inner)
        for channel in range(3):
            out[channel] += highlight_colours[lamp, channel] * (gloss + glow * node[12 + channel])


@inline
def strand_colour(colours, node, barycentric, y, x):
    """Linear colour of a strand between `node` and the next, darker towards its sides."""
    aside = barycentric[y, x, 2]
    rounded = 1 - np.float32(0.25) * aside * aside
    a, b = rounded * barycentric[y, x, 0], rounded * barycentric[y, x, 1]
    return (
        a * colours[node, 0] + b * colours[node + 1, 0],
        a * colours[node, 1] + b * colours[node + 1, 1],
        a * colours[node, 2] + b * colours[node + 1, 2],
    )
