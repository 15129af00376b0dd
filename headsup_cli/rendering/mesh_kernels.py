"""Z-buffer rasterisation of triangles: exact integer edge functions over vertices snapped to a subpixel grid."""

import numpy as np

from headsup_cli.rendering.compilation import inline, kernel
from headsup_cli.rendering.simd import take_ticket

NEAR_M = 0.01
SUBPIXELS = 256  # vertices snap to this fraction of a pixel, so that edge functions are exact integers
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
def edge(ax, ay, bx, by, x, y):
    """Twice the signed area of (a, b, point), positive to the right of a -> b on the screen (y down)."""
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax)


@inline
def lowest_inside(ax, ay, bx, by):
    """Least edge value that counts as inside, right of a -> b: 0 on top and left edges, which the face owns, else 1."""
    return 0 if by < ay or (by == ay and bx > ax) else 1


@kernel
def draw_meshes(tickets, snapped, inverse_depth, faces, band_rows, face_map, barycentric, depth_map):
    """Draw bands of rows until the tickets run out."""
    n_cameras, height, _ = face_map.shape
    bands = (height + band_rows - 1) // band_rows
    while True:
        task = take_ticket(tickets)
        if task >= n_cameras * bands:
            return
        camera, first_row = task // bands, (task % bands) * band_rows
        end_row = min(first_row + band_rows, height)
        points, inverses = snapped[camera], inverse_depth[camera]
        draw_band(points, inverses, faces, face_map[camera, first_row:end_row], first_row)
        resolve_band(
            points,
            inverses,
            faces,
            face_map[camera, first_row:end_row],
            barycentric[camera, first_row:end_row],
            depth_map[camera, first_row:end_row],
            first_row,
        )


@inline
def draw_band(points, inverse_depth, faces, face_map, first_row):
    """The index of the nearest face at each pixel of the band of rows that starts at `first_row`."""
    height, width = face_map.shape
    nearest = np.zeros((height, width))  # inverse depth
    face_map[:] = -1
    half = SUBPIXELS // 2
    for index in range(faces.shape[0]):
        i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
        ax, ay, bx, by, cx, cy = points[i, 0], points[i, 1], points[j, 0], points[j, 1], points[k, 0], points[k, 1]
        top = max((min(ay, by, cy) - half + SUBPIXELS - 1) // SUBPIXELS - first_row, 0)
        bottom = min((max(ay, by, cy) - half) // SUBPIXELS - first_row, height - 1)
        left = max((min(ax, bx, cx) - half + SUBPIXELS - 1) // SUBPIXELS, 0)
        right = min((max(ax, bx, cx) - half) // SUBPIXELS, width - 1)
        if top > bottom or left > right or inverse_depth[i] * inverse_depth[j] * inverse_depth[k] == 0:
            continue
        area = edge(ax, ay, bx, by, cx, cy)
        if area == 0:
            continue
        if area < 0:  # seen from behind: swap two corners
            j, k, bx, by, cx, cy, area = k, j, cx, cy, bx, by, -area
        floor_a, floor_b, floor_c = (
            lowest_inside(bx, by, cx, cy),
            lowest_inside(cx, cy, ax, ay),
            lowest_inside(ax, ay, bx, by),
        )
        step_a, step_b, step_c = (by - cy) * SUBPIXELS, (cy - ay) * SUBPIXELS, (ay - by) * SUBPIXELS
        depth_a, depth_b, depth_c = inverse_depth[i] / area, inverse_depth[j] / area, inverse_depth[k] / area
        x = left * SUBPIXELS + half
        for row in range(top, bottom + 1):
            y = (row + first_row) * SUBPIXELS + half
            weight_a, weight_b = edge(bx, by, cx, cy, x, y), edge(cx, cy, ax, ay, x, y)
            weight_c = area - weight_a - weight_b
            for column in range(left, right + 1):
                if weight_a >= floor_a and weight_b >= floor_b and weight_c >= floor_c:
                    inverse = weight_a * depth_a + weight_b * depth_b + weight_c * depth_c
                    if inverse > nearest[row, column]:
                        nearest[row, column] = inverse
                        face_map[row, column] = index
                weight_a += step_a
                weight_b += step_b
                weight_c += step_c


@inline
def resolve_band(points, inverse_depth, faces, face_map, barycentric, depth_map, first_row):
    """Depth and perspective-correct weights of the faces that won."""
    for row in range(face_map.shape[0]):
        for column in range(face_map.shape[1]):
            index = face_map[row, column]
            if index < 0:
                depth_map[row, column] = np.inf
                barycentric[row, column] = 0.0
                continue
            x, y = column * SUBPIXELS + SUBPIXELS // 2, (row + first_row) * SUBPIXELS + SUBPIXELS // 2
            i, j, k = faces[index, 0], faces[index, 1], faces[index, 2]
            ax, ay, bx, by, cx, cy = points[i, 0], points[i, 1], points[j, 0], points[j, 1], points[k, 0], points[k, 1]
            area = edge(ax, ay, bx, by, cx, cy)
            first = edge(bx, by, cx, cy, x, y) * inverse_depth[i] / area
            second = edge(cx, cy, ax, ay, x, y) * inverse_depth[j] / area
            third = edge(ax, ay, bx, by, x, y) * inverse_depth[k] / area
            depth = 1.0 / (first + second + third)
            depth_map[row, column] = depth
            barycentric[row, column, 0] = first * depth
            barycentric[row, column, 1] = second * depth
            barycentric[row, column, 2] = third * depth
