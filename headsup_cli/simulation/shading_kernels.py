"""The painter: colours of the fragments of a simulated person, one after the other."""

import numpy as np

from headsup_cli.simulation.anatomy import EYE, HAIR, HALF_EYE_DISTANCE_M, SKIN, TEETH
from headsup_cli.simulation.appearance import BARE_SKIN, BLOCKS, BLOOD, BLOTCHES, CLOUDS, MELANIN, PLAIN, STRIPES
from headsup_cli.simulation.compilation import inline, kernel
from headsup_cli.simulation.noise_kernels import CELLS, noise4

_LUT_SIZE = 4096
_linear = np.linspace(0, 1, _LUT_SIZE)
SRGB_LUT = np.where(_linear <= 0.0031308, 12.92 * _linear, 1.055 * _linear ** (1 / 2.4) - 0.055).astype(np.float32)


@kernel
def shade_rows(
    face_map, barycentric, columns, faces, part, highlights, highlight_colours, record, centre, gain, volume, lut,
    samples, rgb, alpha,
):  # fmt: skip
    """Average the samples of every pixel of a band of rows: encoded colour over black, and coverage."""
    height, width = alpha.shape
    paint = record[0]
    cx, cy, cz = centre[0], centre[1], centre[2]
    for row in range(height):
        for column in range(width):
            covered, uniform, shaded = 0, True, 0
            first = face_map[row * samples, column * samples]
            for sample in range(samples * samples):
                face = face_map[row * samples + sample // samples, column * samples + sample % samples]
                covered += face >= 0
                uniform &= face >= 0 and first >= 0 and part[face] == part[first] and part[face] != EYE
            step = samples + 1 if uniform else 1  # the diagonal is enough where there is no edge
            red, green, blue = np.float32(0), np.float32(0), np.float32(0)
            for sample in range(0, samples * samples if covered else 0, step):
                y, x = row * samples + sample // samples, column * samples + sample % samples
                face = face_map[y, x]
                shaded += 1
                if face < 0:
                    continue
                r, g, b = _fragment(
                    columns, faces[face, 0], faces[face, 1], faces[face, 2],
                    barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2],
                    part[face], highlights, highlight_colours, paint, volume, cx, cy, cz,
                )  # fmt: skip
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
    if part == HAIR:
        red, green, blue, shine, power = _hair(paint, volume, px, py, pz)
    elif part == EYE:
        red, green, blue, shine, power = _eye(paint, volume, px, py, pz)
    elif part == SKIN:
        scalp, beard = _mixed(columns, i, j, k, a, b, c, 9), _mixed(columns, i, j, k, a, b, c, 10)
        red, green, blue, shine, power = _skin(paint, volume, px, py, pz, scalp, beard)
    elif part == TEETH:
        red, green, blue, shine, power = paint.teeth[0], paint.teeth[1], paint.teeth[2], 0.15, 40.0
    else:
        red, green, blue, shine, power = 0.30, 0.085, 0.075, 0.06, 30.0
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
    for lamp in range(highlights.shape[0]):
        # Blinn's half-way vector between the lamp and the eye; cosine^power as a Gaussian.
        hx, hy, hz = highlights[lamp, 0] + vx, highlights[lamp, 1] + vy, highlights[lamp, 2] + vz
        along = nx * hx + ny * hy + nz * hz
        squared = along * along / ((hx * hx + hy * hy + hz * hz) * (nx * nx + ny * ny + nz * nz) + 1e-12)
        exponent = 0.5 * power * (squared - 1)
        if along > 0 and exponent > -6:
            gloss = shine * np.exp(exponent)
            red += gloss * highlight_colours[lamp, 0]
            green += gloss * highlight_colours[lamp, 1]
            blue += gloss * highlight_colours[lamp, 2]
    return red, green, blue


@inline
def _step(low, high, value):
    fraction = min(max((value - low) / (high - low), 0.0), 1.0)
    return fraction * fraction * (3 - 2 * fraction)


@inline
def _pattern(pattern, volume, x, y, z):
    """A pattern's colour at a point of rest space."""
    inverse = 1 / pattern.cell_m
    axes, offset = pattern.axes, pattern.offset
    u = (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) * inverse + offset[0]
    v = (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) * inverse + offset[1]
    w = (axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z) * inverse + offset[2]
    first, second = pattern.first, pattern.second
    if pattern.kind == PLAIN:
        return first[0], first[1], first[2]
    if pattern.kind == BLOCKS:
        cell = ((int(np.floor(u)) & 31) * CELLS + (int(np.floor(v)) & 31)) * CELLS + (int(np.floor(w)) & 31)
        return (
            max(first[0] + 0.22 * volume[cell, 0], 0.01),
            max(first[1] + 0.22 * volume[cell, 1], 0.01),
            max(first[2] + 0.22 * volume[cell, 2], 0.01),
        )
    n0, n1, n2, _ = noise4(volume, u, v, w)
    if pattern.kind == CLOUDS:
        return (
            max(first[0] + 0.5 * second[0] * n0, 0.01),
            max(first[1] + 0.5 * second[1] * n1, 0.01),
            max(first[2] + 0.5 * second[2] * n2, 0.01),
        )
    if pattern.kind == BLOTCHES:
        share = _step(-0.1, 0.1, n0)
    elif pattern.kind == STRIPES:
        share = _step(-0.25, 0.25, np.sin(3.14159 * v + 0.5 * n0))
    else:
        share = float((int(np.floor(u)) + int(np.floor(v)) + int(np.floor(w))) & 1)
    return (
        first[0] + share * (second[0] - first[0]),
        first[1] + share * (second[1] - first[1]),
        first[2] + share * (second[2] - first[2]),
    )


@inline
def _skin(paint, volume, x, y, z, scalp, beard):
    """Albedo, shine and its exponent of skin, and of what grows on it or covers it."""
    offset = paint.offset
    v_neck = paint.neckline * max(1 - abs(x) / 0.07, 0.0) if z > -0.08 else 0.0
    if y < paint.collar_y - 0.45 * (z + 0.085) - v_neck and paint.collar_y > -0.5:
        return _cloth(paint, volume, x, y, z)
    broad = noise4(volume, x * 28 + offset[0], y * 28 + offset[1], z * 28 + offset[2])
    middle = noise4(volume, x * 120 + offset[1], y * 120 + offset[2], z * 120 + offset[0])
    fine = noise4(volume, x * 420 + offset[2], y * 420 + offset[0], z * 420 + offset[1])
    side = abs(x)
    front = _step(-0.05, 0.0, z)
    cheek = front * _step(0.0013, 0.0, (side - 0.043) ** 2 + (y + 0.036) ** 2)
    nose = front * _step(0.0005, 0.0, x * x + (y + 0.042) ** 2)
    ear = _step(0.066, 0.074, side) * _step(-0.075, -0.045, y) * _step(0.035, 0.015, y)
    melanin = paint.melanin * (1 + 0.16 * paint.mottle * (broad[0] + 0.6 * middle[0])) + 0.04 * paint.mottle * fine[0]
    melanin += paint.freckles * 0.35 * _step(0.25, 0.55, fine[1]) * _step(-0.2, 0.5, broad[2] + cheek + nose)
    melanin += 0.9 * _step(2.45 - 0.3 * paint.moles, 2.6 - 0.3 * paint.moles, middle[3])
    blood = paint.blood * (1 + 0.35 * paint.mottle * broad[1] + 0.25 * middle[1] + 0.7 * cheek + 0.8 * nose + 0.6 * ear)
    lip = _lip(paint, side, y, z)
    blood += lip * paint.lip_blood
    melanin += lip * 0.12
    orbit = (side - HALF_EYE_DISTANCE_M) ** 2 + y * y + z * z
    blood += 0.10 * _step(0.009, 0.0, abs(np.sqrt(orbit) - 0.017))
    red = BARE_SKIN[0] * np.exp(-MELANIN[0] * melanin - BLOOD[0] * blood)
    green = BARE_SKIN[1] * np.exp(-MELANIN[1] * melanin - BLOOD[1] * blood)
    blue = BARE_SKIN[2] * np.exp(-MELANIN[2] * melanin - BLOOD[2] * blood)
    painted = lip * paint.lipstick
    red += painted * (paint.lip_colour[0] - red)
    green += painted * (paint.lip_colour[1] - green)
    blue += painted * (paint.lip_colour[2] - blue)
    if paint.skin_pattern.amount > 0:
        share = paint.skin_pattern.amount
        r, g, b = _pattern(paint.skin_pattern, volume, x, y, z)
        red, green, blue = red + share * (r - red), green + share * (g - green), blue + share * (b - blue)
    hairy = _brow(paint, side, y, z, fine[2], middle[2])
    hairy = max(hairy, paint.lashes * _step(0.0013, 0.0003, abs(np.sqrt(orbit) - paint.eye_radius - 0.0006)))
    hairy = max(hairy, 0.92 * scalp * _step(-0.9, 0.1, fine[0] + 2.4 * scalp - 1.2))
    hairy = max(hairy, (1 - lip) * beard * paint.beard_density * _step(-0.8, 0.3, fine[3] + 2.2 * beard - 1.0))
    tone = 0.75 + 0.35 * fine[2]
    grey = paint.grey * _step(-0.9, 0.9, fine[1])
    red += hairy * (tone * (paint.hair[0] + grey * (0.40 - paint.hair[0])) - red)
    green += hairy * (tone * (paint.hair[1] + grey * (0.39 - paint.hair[1])) - green)
    blue += hairy * (tone * (paint.hair[2] + grey * (0.38 - paint.hair[2])) - blue)
    return red, green, blue, (paint.shine + 0.05 * lip) * (1 - 0.7 * hairy), 18.0


@inline
def _cloth(paint, volume, x, y, z):
    """Albedo, shine and its exponent of the shirt."""
    red, green, blue = _pattern(paint.cloth, volume, x, y, z)
    weave = 1 + 0.06 * noise4(volume, x * 260, y * 260, z * 260)[0]
    return red * weave, green * weave, blue * weave, 0.01, 8.0


@inline
def _lip(paint, side, y, z):
    """1 on the lips, 0 elsewhere: between two arcs over the line of the mouth, the upper dipping in the middle."""
    u = side / paint.mouth_half_width
    if u > 1 or z < -0.01:
        return 0.0
    arc = 1 - u * u
    top = paint.mouth_y + 0.0092 * arc - 0.0016 * np.exp(-((u / 0.18) ** 2)) + 0.0005
    bottom = paint.mouth_y - 0.0125 * arc
    return _step(top + 0.0007, top - 0.0007, y) * _step(bottom - 0.0009, bottom + 0.0009, y)


@inline
def _brow(paint, side, y, z, fine, middle):
    """Density of the eyebrow, 0 to 1: an arch over the eye that thins outwards."""
    along = (side - 0.011) / 0.042
    if along < 0 or along > 1 or z < -0.03:
        return 0.0
    arch = 0.0150 + paint.brow_lift + 0.0055 * np.sin(2.3 * along + 0.1) - 0.004 * along * along
    half = paint.brow_width * (1 - 0.65 * along) * _step(-0.05, 0.15, along)
    inside = 1 - abs(y - arch) / (half + 1e-6)
    return paint.brow_density * _step(-0.25, 0.45, inside + 0.35 * fine + 0.15 * middle)


@inline
def _eye(paint, volume, x, y, z):
    ex = x - HALF_EYE_DISTANCE_M if x > 0 else x + HALF_EYE_DISTANCE_M
    around = np.sqrt(ex * ex + y * y)
    angle = np.arctan2(around, z)  # at the eyeball's centre, from the optical axis
    streak = noise4(volume, 9 * ex / (around + 1e-6), 9 * y / (around + 1e-6), angle * 4)
    vein = noise4(volume, x * 500, y * 500, z * 500)[0]
    reddish = 0.06 + 0.10 * _step(0.5, 1.1, angle) + 0.02 * vein
    red, green, blue = 0.56, 0.55 - reddish, 0.52 - reddish
    iris_edge = 0.44
    inside = _step(iris_edge + 0.03, iris_edge - 0.03, angle)
    if inside > 0:
        tone = (0.85 + 0.35 * streak[0]) * (1 - 0.75 * _step(0.34, iris_edge, angle))
        open_pupil = _step(paint.pupil + 0.02, paint.pupil - 0.02, angle)
        tone *= 1 - 0.97 * open_pupil
        red += inside * (paint.iris[0] * tone - red)
        green += inside * (paint.iris[1] * tone - green)
        blue += inside * (paint.iris[2] * tone - blue)
    return red, green, blue, 0.9, 350.0


@inline
def _hair(paint, volume, x, y, z):
    offset = paint.offset
    strand = noise4(volume, x * 700 + offset[0], y * 22 + offset[1], z * 40)
    lock = noise4(volume, x * 170 + offset[1], y * 14 + offset[2], z * 40)
    tone = max(1 + paint.streaks * (0.55 * strand[0] + 0.55 * lock[0]), 0.15)
    grey = paint.grey * _step(-0.9, 0.9, strand[1] + 1.6 * paint.grey - 0.8)
    red = tone * (paint.hair[0] + grey * (0.42 - paint.hair[0]))
    green = tone * (paint.hair[1] + grey * (0.41 - paint.hair[1]))
    blue = tone * (paint.hair[2] + grey * (0.40 - paint.hair[2]))
    if paint.hair_pattern.amount > 0:
        share = paint.hair_pattern.amount
        r, g, b = _pattern(paint.hair_pattern, volume, x, y, z)
        red, green, blue = (
            red + share * (r * tone - red),
            green + share * (g * tone - green),
            blue + share * (b * tone - blue),
        )
    return red, green, blue, 0.05 * tone, 14.0
