"""The painter: colours of the fragments of a simulated person, one after the other."""

import numpy as np

from headsup_cli.simulation.body.anatomy import CLOTHES, EARRING, EYE, GLASSES, HAT, SCARF, SKIN, TEETH, TONGUE
from headsup_cli.simulation.compilation import inline, kernel
from headsup_cli.simulation.drawing.single_precision_kernels import exp, single
from headsup_cli.simulation.drawing.strand_kernels import HIGHLIGHTS, strand_colour
from headsup_cli.simulation.drawing.surface_kernels import cheeks_inside, cloth, eye, skin, step, teeth, tongue

_CARRIED = 16  # numbers at every vertex, `LitMesh.columns`
_LUT_SIZE = 4096
_LUT_TOP = np.float32(_LUT_SIZE - 1)
_linear = np.linspace(0, 1, _LUT_SIZE)
SRGB_LUT = np.where(_linear <= 0.0031308, 12.92 * _linear, 1.055 * _linear ** (1 / 2.4) - 0.055).astype(np.float32)


@kernel
def shade_rows(
    face_map, barycentric, veil, columns, faces, part, highlights, highlight_colours, strand_colours, strand_first,
    record, centre, gain, volume, lut, samples, rgb, alpha,
):  # fmt: skip
    """Average the samples of every pixel of a band of rows: encoded colour over black, and coverage.

    Faces beyond the mesh's are segments of strands, whose nodes have `strand_colours` [n, 3]. `veil` holds what a lens
    before the sample reflects, 0 where there is none; it is empty if there is none at all.
    """
    height, width = alpha.shape
    paint = record[0]
    cx, cy, cz = centre[0], centre[1], centre[2]
    veiled, mesh_faces = veil.shape[0] > 0, len(part)
    half, here = np.float32(0.5), np.empty(_CARRIED, np.float32)
    for row in range(height):
        for column in range(width):
            top, left = row * samples, column * samples
            first, covered = face_map[top, left], np.float32(0)
            shown = part[first] if 0 <= first < mesh_faces else EYE
            uniform = shown != EYE
            for y in range(top, top + samples):
                for x in range(left, left + samples):
                    face = face_map[y, x]
                    behind = veiled and veil[y, x] > 0
                    covered += np.float32(1) if face >= 0 else 1 - paint.lens[1] if behind else np.float32(0)
                    uniform = uniform and 0 <= face < mesh_faces and part[face] == shown and not behind
            alpha[row, column] = covered / np.float32(samples * samples)
            rgb[row, column, 0], rgb[row, column, 1], rgb[row, column, 2] = 0, 0, 0
            if covered == 0:
                continue
            shaded = 1 if uniform else samples  # one is enough where there is no edge
            share = np.float32(1) / np.float32(shaded * shaded)
            for y in range(top, top + shaded):
                for x in range(left, left + shaded):
                    face = face_map[y, x]
                    r, g, b = np.float32(0), np.float32(0), np.float32(0)
                    if face >= mesh_faces:
                        r, g, b = strand_colour(strand_colours, strand_first[face - mesh_faces], barycentric, y, x)
                    elif face >= 0:
                        _blend(columns, faces, face, barycentric, y, x, np.float32(1), np.float32(0), here)
                        if uniform and samples > 1:  # the mean of two opposite corners is the pixel's centre
                            v, u = y + samples - 1, x + samples - 1
                            _blend(columns, faces, face_map[v, u], barycentric, v, u, half, half, here)
                        r, g, b = _fragment(here, part[face], highlights, highlight_colours, paint, volume, cx, cy, cz)
                    if veiled and veil[y, x] > 0:
                        r = r * paint.lens[0] + veil[y, x]
                        g = g * paint.lens[1] + veil[y, x]
                        b = b * paint.lens[2] + veil[y, x]
                    rgb[row, column, 0] += share * _encoded(lut, r * gain[0])
                    rgb[row, column, 1] += share * _encoded(lut, g * gain[1])
                    rgb[row, column, 2] += share * _encoded(lut, b * gain[2])


@inline
@single
def _encoded(lut, value):
    return lut[int(min(max(value, 0.0), 1.0) * _LUT_TOP + 0.5)]


@inline
def _blend(columns, faces, face, barycentric, y, x, share, kept, out):
    """`share` of what a face's corners carry at one place of it, added to what is `kept` of `out`."""
    i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
    a, b, c = share * barycentric[y, x, 0], share * barycentric[y, x, 1], share * barycentric[y, x, 2]
    for channel in range(_CARRIED):
        value = a * columns[i, channel] + b * columns[j, channel] + c * columns[k, channel]
        out[channel] = value + kept * out[channel] if kept > 0 else value


@inline
@single
def _fragment(here, part, highlights, highlight_colours, paint, volume, cx, cy, cz):
    """Linear colour of one sample, which carries `here` (`LitMesh.columns`), seen from (cx, cy, cz)."""
    px, py, pz = here[3], here[4], here[5]
    if part == SKIN:
        red, green, blue, shine, power = skin(paint, volume, px, py, pz, here[9], here[10], here[15])
    elif part == CLOTHES:
        red, green, blue, shine, power = cloth(paint, paint.cloth, volume, px, py, pz, here[15], here[9], paint.hem)
    elif part == EYE:
        red, green, blue, shine, power = eye(paint, volume, px, py, pz)
    elif part == TEETH:
        red, green, blue, shine, power = teeth(paint, volume, px, py, pz)
    elif part == TONGUE:
        red, green, blue, shine, power = tongue(volume, px, py, pz)
    elif part in (HAT, SCARF):
        red, green, blue, shine, power = cloth(paint, paint.headwear, volume, px, py, pz, here[15], here[9], 0.0)
    elif part == GLASSES:
        red, green, blue, shine, power = paint.glasses[0], paint.glasses[1], paint.glasses[2], 0.25, 60.0
    elif part == EARRING:
        red, green, blue, shine, power = 0.35 * paint.metal[0], 0.35 * paint.metal[1], 0.35 * paint.metal[2], 0.9, 30.0
    else:
        red, green, blue, shine, power = cheeks_inside(pz)
    red, green, blue = red * here[11], green * here[12], blue * here[13]
    nx, ny, nz = here[6], here[7], here[8]
    vx, vy, vz = cx - here[0], cy - here[1], cz - here[2]
    inverse = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
    vx, vy, vz = vx * inverse, vy * inverse, vz * inverse
    length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
    facing = (nx * vx + ny * vy + nz * vz) / length
    inside = step(-0.1, -0.4, facing)  # of a bust or a sleeve that is cut open
    red, green, blue = red * (1.0 - 0.6 * inside), green * (1.0 - 0.65 * inside), blue * (1.0 - 0.65 * inside)
    grazing = 1.0 - min(abs(facing), 1.0)
    shine *= (1.0 - inside) * here[14] * (1.0 + 4.0 * grazing * grazing * grazing * grazing)
    for lamp in range(HIGHLIGHTS):
        # Blinn's half-way vector between the lamp and the eye; cosine^power as a Gaussian.
        hx, hy, hz = highlights[lamp, 0] + vx, highlights[lamp, 1] + vy, highlights[lamp, 2] + vz
        along = nx * hx + ny * hy + nz * hz
        squared = along * along / ((hx * hx + hy * hy + hz * hz) * length * length + 1e-12)
        exponent = 0.5 * power * (squared - 1.0)
        if along > 0.0 and exponent > -6.0:
            gloss = shine * exp(exponent)
            red += gloss * highlight_colours[lamp, 0]
            green += gloss * highlight_colours[lamp, 1]
            blue += gloss * highlight_colours[lamp, 2]
    return red, green, blue


@kernel
def lay_over(rgb, alpha, behind, out):
    """A premultiplied picture [h, w, 3] before another."""
    for row in range(alpha.shape[0]):
        for column in range(alpha.shape[1]):
            through = 1 - alpha[row, column]
            for channel in range(3):
                out[row, column, channel] = rgb[row, column, channel] + through * behind[row, column, channel]
