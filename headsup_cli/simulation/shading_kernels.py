"""The painter: colours of the fragments of a simulated person, one after the other."""

import numpy as np

from headsup_cli.simulation.anatomy import CLOTHES, EARRING, EYE, GLASSES, HAT, SCARF, SKIN, TEETH, TONGUE
from headsup_cli.simulation.compilation import inline, kernel
from headsup_cli.simulation.strand_kernels import strand_colour
from headsup_cli.simulation.surface_kernels import cheeks_inside, cloth, eye, skin, teeth, tongue

_LUT_SIZE = 4096
_linear = np.linspace(0, 1, _LUT_SIZE)
SRGB_LUT = np.where(_linear <= 0.0031308, 12.92 * _linear, 1.055 * _linear ** (1 / 2.4) - 0.055).astype(np.float32)


@kernel
def shade_rows(
    face_map, barycentric, veil, columns, faces, part, highlights, highlight_colours, strand_columns, strand_first,
    record, centre, gain, volume, lut, samples, rgb, alpha,
):  # fmt: skip
    """Average the samples of every pixel of a band of rows: encoded colour over black, and coverage.

    Faces beyond the mesh's are segments of strands. `veil` holds what a lens before the sample reflects, 0 where there
    is none; it is empty if there is none at all.
    """
    height, width = alpha.shape
    paint = record[0]
    cx, cy, cz = centre[0], centre[1], centre[2]
    veiled, mesh_faces = veil.shape[0] > 0, len(part)
    last = samples * samples - 1
    for row in range(height):
        for column in range(width):
            covered, uniform, hairy, shaded = np.float32(0), True, True, 0
            first = face_map[row * samples, column * samples]
            for sample in range(samples * samples):
                y, x = row * samples + sample // samples, column * samples + sample % samples
                face = face_map[y, x]
                behind = veiled and veil[y, x] > 0
                covered += np.float32(1) if face >= 0 else 1 - paint.lens[1] if behind else np.float32(0)
                uniform &= 0 <= face < mesh_faces and 0 <= first < mesh_faces and not behind
                hairy &= face >= mesh_faces and not behind
                uniform = uniform and part[face] == part[first] and part[face] != EYE
            step_by = samples + 1 if uniform or hairy else 1  # the diagonal is enough where there is no edge
            y, x = row * samples, column * samples
            single = uniform and face_map[y + samples - 1, x + samples - 1] == first
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for sample in range(0, samples * samples if covered > 0 else 0, last + 1 if single else step_by):
                y, x = row * samples + sample // samples, column * samples + sample % samples
                face = face_map[y, x]
                shaded += 1
                r, g, b = np.float32(0), np.float32(0), np.float32(0)
                if face >= mesh_faces:
                    r, g, b = strand_colour(
                        strand_columns, strand_first[face - mesh_faces], barycentric[y, x, 0], barycentric[y, x, 1],
                        barycentric[y, x, 2], highlights, highlight_colours, cx, cy, cz,
                    )  # fmt: skip
                elif face >= 0:
                    wa, wb, wc = barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2]
                    if single:  # one face fills the pixel: its centre
                        y, x = y + samples - 1, x + samples - 1
                        wa = np.float32(0.5) * (wa + barycentric[y, x, 0])
                        wb = np.float32(0.5) * (wb + barycentric[y, x, 1])
                        wc = np.float32(0.5) * (wc + barycentric[y, x, 2])
                    r, g, b = _fragment(
                        columns, faces[face, 0], faces[face, 1], faces[face, 2], wa, wb, wc,
                        part[face], highlights, highlight_colours, paint, volume, cx, cy, cz,
                    )  # fmt: skip
                if veiled and veil[y, x] > 0:
                    r = r * paint.lens[0] + veil[y, x]
                    g = g * paint.lens[1] + veil[y, x]
                    b = b * paint.lens[2] + veil[y, x]
                red += _encoded(lut, r * gain[0])
                green += _encoded(lut, g * gain[1])
                blue += _encoded(lut, b * gain[2])
            shaded = max(shaded, 1)
            rgb[row, column, 0] = red / shaded
            rgb[row, column, 1] = green / shaded
            rgb[row, column, 2] = blue / shaded
            alpha[row, column] = covered / np.float32(samples * samples)


@inline
def _encoded(lut, value):
    return lut[int(min(max(value, 0.0), 1.0) * (_LUT_SIZE - 1) + 0.5)]


@inline
def _mixed(values, i, j, k, a, b, c, channel):
    return a * values[i, channel] + b * values[j, channel] + c * values[k, channel]


@inline
def _fragment(
    columns, i, j, k, a, b, c, part, highlights, highlight_colours, paint, volume, cx, cy, cz
):  # fmt: skip
    """Linear colour of one sample: the blend of corners i, j, k by weights a, b, c, seen from (cx, cy, cz)."""
    px, py, pz = (
        _mixed(columns, i, j, k, a, b, c, 3),
        _mixed(columns, i, j, k, a, b, c, 4),
        _mixed(columns, i, j, k, a, b, c, 5),
    )
    if part == SKIN:
        scalp, beard = _mixed(columns, i, j, k, a, b, c, 9), _mixed(columns, i, j, k, a, b, c, 10)
        collar = _mixed(columns, i, j, k, a, b, c, 15)
        red, green, blue, shine, power = skin(paint, volume, px, py, pz, scalp, beard, collar)
    elif part == CLOTHES:
        below, rib = _mixed(columns, i, j, k, a, b, c, 15), _mixed(columns, i, j, k, a, b, c, 9)
        red, green, blue, shine, power = cloth(paint, paint.cloth, volume, px, py, pz, below, rib, paint.hem)
    elif part == EYE:
        red, green, blue, shine, power = eye(paint, volume, px, py, pz)
    elif part == TEETH:
        red, green, blue, shine, power = teeth(paint, volume, px, py, pz)
    elif part == TONGUE:
        red, green, blue, shine, power = tongue(volume, px, py, pz)
    elif part in (HAT, SCARF):
        below, rib = _mixed(columns, i, j, k, a, b, c, 15), _mixed(columns, i, j, k, a, b, c, 9)
        red, green, blue, shine, power = cloth(paint, paint.headwear, volume, px, py, pz, below, rib, 0.0)
    elif part == GLASSES:
        red, green, blue, shine, power = paint.glasses[0], paint.glasses[1], paint.glasses[2], 0.25, 60.0
    elif part == EARRING:
        red, green, blue, shine, power = 0.35 * paint.metal[0], 0.35 * paint.metal[1], 0.35 * paint.metal[2], 0.9, 30.0
    else:
        red, green, blue, shine, power = cheeks_inside(pz)
    red *= _mixed(columns, i, j, k, a, b, c, 11)
    green *= _mixed(columns, i, j, k, a, b, c, 12)
    blue *= _mixed(columns, i, j, k, a, b, c, 13)
    nx, ny, nz = (
        _mixed(columns, i, j, k, a, b, c, 6),
        _mixed(columns, i, j, k, a, b, c, 7),
        _mixed(columns, i, j, k, a, b, c, 8),
    )
    vx = cx - _mixed(columns, i, j, k, a, b, c, 0)
    vy = cy - _mixed(columns, i, j, k, a, b, c, 1)
    vz = cz - _mixed(columns, i, j, k, a, b, c, 2)
    inverse = 1 / np.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * inverse, vy * inverse, vz * inverse
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    grazing = 1 - min(abs(nx * vx + ny * vy + nz * vz) / length, 1.0)
    shine *= _mixed(columns, i, j, k, a, b, c, 14) * (1 + 4 * grazing * grazing * grazing * grazing)
    for lamp in range(highlights.shape[0]):
        # Blinn's half-way vector between the lamp and the eye; cosine^power as a Gaussian.
        hx, hy, hz = highlights[lamp, 0] + vx, highlights[lamp, 1] + vy, highlights[lamp, 2] + vz
        along = nx * hx + ny * hy + nz * hz
        squared = along * along / ((hx * hx + hy * hy + hz * hz) * length * length + 1e-12)
        exponent = 0.5 * power * (squared - 1)
        if along > 0 and exponent > -6:
            gloss = shine * np.exp(exponent)
            red += gloss * highlight_colours[lamp, 0]
            green += gloss * highlight_colours[lamp, 1]
            blue += gloss * highlight_colours[lamp, 2]
    return red, green, blue
