"""Z-buffer rasterisation of triangles, row by row, over vertices snapped to a subpixel grid."""

import numpy as np

from headsup_cli.rendering.compilation import inline, kernel
from headsup_cli.rendering.simd import bits_of, pointer, take_ticket

NEAR_M = 0.01
SUBPIXELS = 256  # vertices snap to this fraction of a pixel, so that edge functions are exact integers
_PIXEL = 1 / SUBPIXELS
_LAST_INDEX = 2**32 - 1  # the lower half of a key
MAX_COORDINATE_PX = 2.0**21  # beyond it the product of two snapped coordinates could overflow 64 bits


@kernel
def project_vertices(vertices, matrices, snapped, inverse_depth):
    """Snapped pixel coordinates [c, v, 2] and inverse depths [c, v], which stay 0 where a vertex is unusable."""
    for camera in range(matrices.shape[0]):
        matrix = matrices[camera]  # [3, 4]
        for vertex in range(vertices.shape[0]):
            x, y, z = vertices[vertex, 0], vertices[vertex, 1], vertices[vertex, 2]
            depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3]
            if not depth > NEAR_M:
                continue
            u = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]) / depth
            v = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]) / depth
            if abs(u) < MAX_COORDINATE_PX and abs(v) < MAX_COORDINATE_PX:
                snapped[camera, vertex, 0] = round(u * SUBPIXELS)
                snapped[camera, vertex, 1] = round(v * SUBPIXELS)
                inverse_depth[camera, vertex] = 1.0 / depth


@inline
def sample_key(inverse_depth, index):
    """What a z-buffer keeps of the nearest surface by taking maxima: its inverse depth, then the lowest index."""
    return (np.int64(bits_of(np.float32(inverse_depth))) << 32) | (_LAST_INDEX - index)


@inline
def key_index(key):
    """The index in a `sample_key`; -1 where there is no surface (key 0)."""
    return _LAST_INDEX - (key & _LAST_INDEX) if key > 0 else -1


@kernel
def draw_meshes(tickets, snapped, inverse_depth, faces, band_rows, face_map, barycentric, depth_map):
    """Draw bands of rows until the tickets run out."""
    n_cameras, height, width = face_map.shape
    bands = (height + band_rows - 1) // band_rows
    keys = np.empty((band_rows, width), np.int64)
    while True:
        task = take_ticket(tickets)
        if task >= n_cameras * bands:
            return
        camera, first_row = task // bands, (task % bands) * band_rows
        end_row = min(first_row + band_rows, height)
        points, inverses, band = snapped[camera], inverse_depth[camera], keys[: end_row - first_row]
        band[:] = 0
        draw_faces(points, inverses, faces, band, first_row)
        resolve_band(
            points,
            inverses,
            faces,
            band,
            face_map[camera, first_row:end_row],
            barycentric[camera, first_row:end_row],
            depth_map[camera, first_row:end_row],
            first_row,
        )


@inline
def draw_faces(points, inverse_depth, faces, keys, first_row):
    """Raise the keys [h, w] of the band of rows that starts at `first_row` to those of the faces over them.

    An edge is walked from its upper end for both of its faces, and owned by the one to its right.
    """
    height, width = keys.shape
    samples, half = pointer(keys), SUBPIXELS // 2
    for index in range(faces.shape[0]):
        i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
        ay, by, cy = points[i, 1], points[j, 1], points[k, 1]
        top = max((min(ay, by, cy) + half - 1) // SUBPIXELS - first_row, 0)
        bottom = min((max(ay, by, cy) + half - 1) // SUBPIXELS - first_row, height)
        if top >= bottom or inverse_depth[i] * inverse_depth[j] * inverse_depth[k] == 0:
            continue
        if by < ay:  # sort the corners from the top down
            i, j, ay, by = j, i, by, ay
        if cy < ay:
            i, k, ay, cy = k, i, cy, ay
        if cy < by:
            j, k, by, cy = k, j, cy, by
        ax, bx, cx = points[i, 0], points[j, 0], points[k, 0]
        area = edge(ax, ay, bx, by, cx, cy)
        if area == 0:
            continue
        whole, upper, lower = (cx - ax) / (cy - ay), (bx - ax) / max(by - ay, 1), (cx - bx) / max(cy - by, 1)
        depth_a, depth_b, depth_c = inverse_depth[i] / area, inverse_depth[j] / area, inverse_depth[k] / area
        right = (by - cy) * depth_a + (cy - ay) * depth_b + (ay - by) * depth_c
        down = (cx - bx) * depth_a + (ax - cx) * depth_b + (bx - ax) * depth_c
        for row in range(top, bottom):
            y = (row + first_row) * SUBPIXELS + half
            one = ax + (y - ay) * whole
            other = ax + (y - ay) * upper if y < by else bx + (y - by) * lower
            left = max(int(np.ceil((min(one, other) - half) * _PIXEL)), 0)
            end = min(int(np.ceil((max(one, other) - half) * _PIXEL)), width)
            inverse = inverse_depth[i] + (left * SUBPIXELS + half - ax) * right + (y - ay) * down
            for column in range(np.uint64(row * width + left), np.uint64(row * width + max(end, left))):
                samples[column] = max(samples[column], sample_key(inverse, index))
                inverse += right * SUBPIXELS


@inline
def edge(ax, ay, bx, by, x, y):
    """Twice the signed area of (a, b, point), positive to the right of a -> b on the screen (y down)."""
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax)


@inline
def face_weights(points, inverse_depth, faces, index, row, column):
    """Perspective-correct weights of a face's corners at the centre of a pixel, and the depth there."""
    x, y = column * SUBPIXELS + SUBPIXELS // 2, row * SUBPIXELS + SUBPIXELS // 2
    i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
    ax, ay, bx, by, cx, cy = points[i, 0], points[i, 1], points[j, 0], points[j, 1], points[k, 0], points[k, 1]
    first = edge(bx, by, cx, cy, x, y) * inverse_depth[i]
    second = edge(cx, cy, ax, ay, x, y) * inverse_depth[j]
    third = edge(ax, ay, bx, by, x, y) * inverse_depth[k]
    inverse = 1.0 / (first + second + third)
    return first * inverse, second * inverse, third * inverse, edge(ax, ay, bx, by, cx, cy) * inverse


@inline
def resolve_band(points, inverse_depth, faces, keys, face_map, barycentric, depth_map, first_row):
    """Index, weights and depth of the faces that won."""
    for row in range(face_map.shape[0]):
        for column in range(face_map.shape[1]):
            index = key_index(keys[row, column])
            face_map[row, column] = index
            first, second, third, depth = 0.0, 0.0, 0.0, np.inf
            if index >= 0:
                first, second, third, depth = face_weights(points, inverse_depth, faces, index, row + first_row, column)
            barycentric[row, column, 0], barycentric[row, column, 1] = first, second
            barycentric[row, column, 2], depth_map[row, column] = third, depth
