"""What is true of the fragments of a simulated person, one after the other."""

import numpy as np

from headsup_cli.simulation.compilation import inline, kernel


@kernel
def describe(
    face_map, barycentric, columns, faces, part, node_columns, first, kind, strand_labels, turn, normals, labels,
):  # fmt: skip
    """Fill in labels [h, w] and unit normals [h, w, 3], turned by `turn`, where a face or a strand is seen."""
    mesh_faces = len(part)
    for row in range(face_map.shape[0]):
        for column in range(face_map.shape[1]):
            face = face_map[row, column]
            a, b, c = barycentric[row, column, 0], barycentric[row, column, 1], barycentric[row, column, 2]
            if face >= mesh_faces:
                node = first[face - mesh_faces]
                labels[row, column] = strand_labels[kind[face - mesh_faces]]
                x, y, z = _blended(node_columns, node, node + 1, node, a, b, np.float32(0))
            elif face >= 0:
                labels[row, column] = part[face]
                x, y, z = _blended(columns, faces[face, 0], faces[face, 1], faces[face, 2], a, b, c)
            else:
                continue
            norm = 1 / (np.sqrt(x * x + y * y + z * z) + np.float32(1e-9))
            for axis in range(3):
                normals[row, column, axis] = norm * (turn[axis, 0] * x + turn[axis, 1] * y + turn[axis, 2] * z)


@inline
def _blended(columns, i, j, k, a, b, c):
    """Weighted sum of the normals of three rows."""
    return (
        a * columns[i, 6] + b * columns[j, 6] + c * columns[k, 6],
        a * columns[i, 7] + b * columns[j, 7] + c * columns[k, 7],
        a * columns[i, 8] + b * columns[j, 8] + c * columns[k, 8],
    )
