"""Albedo and gloss of skin, eyes, mouth, cloth and accessories at one point of rest space."""

import numpy as np

from headsup_cli.simulation.body.anatomy import HALF_EYE_DISTANCE_M
from headsup_cli.simulation.body.appearance import (
    BANDS,
    BLOCKS,
    BLOOD,
    BLOTCHES,
    CLOUDS,
    DOTS,
    HEATHER,
    MELANIN,
    PLAID,
    PLAIN,
    PRINT,
    STRIPES,
)
from headsup_cli.simulation.compilation import inline
from headsup_cli.simulation.drawing.single_precision_kernels import exp, single
from headsup_cli.simulation.noise_kernels import CELLS, noise4

_SURFACE_ALBEDO = np.float32(0.012)  # what even the darkest skin scatters back
_IRIS_EDGE = np.float32(0.42)  # radians from the optical axis
_HALF_EYE_DISTANCE_M = np.float32(HALF_EYE_DISTANCE_M)


@inline
@single
def step(low, high, value):
    """0 at `low`, 1 at `high` (which may be the smaller of the two), with level ends."""
    fraction = min(max((value - low) / (high - low), 0.0), 1.0)
    return fraction * fraction * (3.0 - 2.0 * fraction)


@inline
@single
def _spots(volume, x, y, z, share):
    """1 inside round spots, at most one in each cell of the lattice, in `share` of the cells."""
    floor_x, floor_y, floor_z = np.floor(x), np.floor(y), np.floor(z)
    i, j, k = int(floor_x), int(floor_y), int(floor_z)
    cell = ((i & (CELLS - 1)) * CELLS + (j & (CELLS - 1))) * CELLS + (k & (CELLS - 1))
    if share <= 0.0 or volume[cell, 3] > 5.5 * share - 2.9:
        return 0.0
    dx = x - floor_x - 0.5 - 0.08 * volume[cell, 0]
    dy = y - floor_y - 0.5 - 0.08 * volume[cell, 1]
    dz = z - floor_z - 0.5 - 0.08 * volume[cell, 2]
    radius = 0.30 + 0.06 * volume[cell, 1]
    return step(radius, 0.55 * radius, np.sqrt(dx * dx + dy * dy + dz * dz))


@inline
@single
def pattern_colour(pattern, volume, x, y, z):
    """A pattern's colour at a point of rest space."""
    first, second = pattern.first, pattern.second
    if pattern.kind == PLAIN:
        return first[0], first[1], first[2]
    inverse = 1.0 / pattern.cell_m
    axes, offset = pattern.axes, pattern.offset
    u = (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) * inverse + offset[0]
    v = (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) * inverse + offset[1]
    w = (axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z) * inverse + offset[2]
    if pattern.kind == BLOCKS:
        cell = ((int(np.floor(u)) & 31) * CELLS + (int(np.floor(v)) & 31)) * CELLS + (int(np.floor(w)) & 31)
        return (
            max(first[0] + 0.22 * volume[cell, 0], 0.01),
            max(first[1] + 0.22 * volume[cell, 1], 0.01),
            max(first[2] + 0.22 * volume[cell, 2], 0.01),
        )
    if pattern.kind == CLOUDS:
        n0, n1, n2, _ = noise4(volume, u, v, w)
        return (
            max(first[0] + 0.5 * second[0] * n0, 0.01),
            max(first[1] + 0.5 * second[1] * n1, 0.01),
            max(first[2] + 0.5 * second[2] * n2, 0.01),
        )
    share = _second_share(pattern.kind, volume, x, y, z, u, v, w)
    return (
        first[0] + share * (second[0] - first[0]),
        first[1] + share * (second[1] - first[1]),
        first[2] + share * (second[2] - first[2]),
    )


@inline
@single
def _second_share(kind, volume, x, y, z, u, v, w):
    """How much of a pattern's second colour a point has; `u`, `v`, `w`: its place in the pattern's cells."""
    if kind == BANDS:
        return step(-0.12, 0.12, np.sin(6.28318 * v) - 0.35)
    if kind == PLAID:
        share = 0.45 * step(-0.2, 0.2, np.sin(6.28318 * u)) + 0.45 * step(-0.2, 0.2, np.sin(6.28318 * v))
        share += 0.1 * step(0.86, 0.94, np.sin(6.28318 * u + 2.2)) + 0.1 * step(0.86, 0.94, np.sin(6.28318 * v + 2.2))
        return share
    if kind == DOTS:
        du, dv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
        return step(0.26, 0.20, np.sqrt(du * du + dv * dv))
    if kind == PRINT:  # one emblem on the chest
        across, up = x / 0.062, (y + 0.265) / 0.045
        wobble = noise4(volume, u, v, 0.0)[0]
        return step(0.04, -0.04, max(abs(across), abs(up)) + 0.45 * wobble - 0.8) if z > -0.085 else 0.0
    if kind == STRIPES:
        return step(-0.25, 0.25, np.sin(3.14159 * v + 0.5 * noise4(volume, u, v, w)[0]))
    if kind == BLOTCHES:
        return step(-0.1, 0.1, noise4(volume, u, v, w)[0])
    if kind == HEATHER:
        return 0.5 + 0.5 * noise4(volume, u, v, w)[0]
    return np.float32((int(np.floor(u)) + int(np.floor(v)) + int(np.floor(w))) & 1)


@inline
@single
def skin(paint, volume, x, y, z, scalp, beard, collar):
    """Albedo, gloss and its exponent of skin and of the roots in it; `collar`: height over the clothes' edge."""
    offset = paint.offset
    broad = noise4(volume, x * 28.0 + offset[0], y * 28.0 + offset[1], z * 28.0 + offset[2])
    middle = noise4(volume, x * 130.0 + offset[1], y * 130.0 + offset[2], z * 130.0 + offset[0])
    fine = noise4(volume, x * 620.0 + offset[2], y * 620.0 + offset[0], z * 620.0 + offset[1])
    side = abs(x)
    front = step(-0.05, 0.0, z)
    cheek = front * step(0.0011, 0.0, (side - 0.040) ** 2 + (y + 0.038) ** 2)
    nose = front * step(0.00040, 0.0, x * x + (y + 0.042) ** 2)
    forehead = front * step(0.012, 0.028, y) * step(0.055, 0.03, side)
    lip = _lip(paint, side, y, z)
    melanin, blood, orbit = _pigments(
        paint, volume, x, y, z, (broad, middle, fine), (front, cheek, nose, forehead), lip
    )
    red, green, blue = _made_up(paint, volume, x, y, z, lip * paint.lipstick, *_scattered(paint, melanin, blood))
    pores = (1.0 + paint.pores * (0.05 * fine[2] + 0.025 * middle[2])) * (0.45 + 0.55 * step(-0.004, 0.012, collar))
    red, green, blue = red * pores, green * pores, blue * pores
    creased = 0.0
    if paint.wrinkles > 0.02 and z > -0.07:
        creased = paint.wrinkles * _wrinkles(paint, broad[3], side, y, z)
        red, green, blue = red * (1.0 - 0.30 * creased), green * (1.0 - 0.42 * creased), blue * (1.0 - 0.45 * creased)
    stubble = (1.0 - lip) * beard * paint.beard_density
    red, green, blue, hairy = _hairs(paint, volume, x, y, z, orbit, scalp, stubble, fine, red, green, blue)
    gloss = paint.shine * (0.7 + 0.9 * forehead + 1.1 * nose + 0.3 * cheek + 0.3 * middle[3])
    gloss *= (1.0 - 0.75 * hairy) * (1.0 - 0.6 * creased)
    return red, green, blue, max(gloss, 0.0) + (0.05 + 0.10 * paint.lipstick) * lip, 15.0 + 14.0 * (nose + lip)


@inline
@single
def _pigments(paint, volume, x, y, z, noises, regions, lip):
    """Melanin and blood in the skin, and the distance from the nearer eye's centre."""
    broad, middle, fine = noises
    front, cheek, nose, forehead = regions
    side, offset, mottle = abs(x), paint.offset, paint.mottle
    chin = front * step(0.0005, 0.0, x * x + (y + 0.100) ** 2)
    ear = step(0.066, 0.074, side) * step(-0.075, -0.045, y) * step(0.035, 0.015, y)
    mouth = front * step(0.0011, 0.0003, x * x + (y - paint.mouth_y) ** 2)
    eye_x = side - _HALF_EYE_DISTANCE_M
    orbit = np.sqrt(eye_x * eye_x + y * y + z * z)
    lid = step(0.024, 0.0165, orbit)
    under = step(0.00016, 0.0, 0.5 * (eye_x - 0.001) ** 2 + (y + 0.014) ** 2) * front
    melanin = 1.0 + mottle * (0.06 * broad[0] + 0.045 * middle[0]) + 0.05 * forehead - 0.10 * step(0.05, 0.09, y)
    melanin = paint.melanin * (melanin + 0.10 * lid + 0.14 * mouth) + 0.02 * mottle * fine[0]
    melanin += 0.06 * paint.tired * under
    if paint.freckles > 0.02:
        sunny = step(-0.6, 0.6, broad[2] + 1.2 * cheek + 1.2 * nose - 0.4) * front
        melanin += 0.28 * sunny * _spots(volume, x * 300.0, y * 300.0, z * 300.0, 0.75 * paint.freckles)
    melanin += 0.7 * _spots(volume, x * 85.0 + offset[0], y * 85.0 + offset[1], z * 85.0 + offset[2], paint.moles)
    flush = 0.30 * cheek + 0.42 * nose + 0.22 * chin + 0.40 * ear + 0.20 * lid + 0.15 * under
    blood = paint.blood * (1.0 + mottle * (0.14 * broad[1] + 0.10 * middle[1]) + paint.flush * flush)
    blood += lip * paint.lip_blood * (1.0 + 0.12 * fine[0])
    melanin += lip * (0.05 + 0.10 * paint.melanin)
    return melanin, blood, orbit


@inline
@single
def _scattered(paint, melanin, blood):
    """Albedo of skin with these pigments."""
    bare = paint.bare
    return (
        _SURFACE_ALBEDO + bare[0] * exp(-MELANIN[0] * melanin - BLOOD[0] * blood),
        _SURFACE_ALBEDO + bare[1] * exp(-MELANIN[1] * melanin - BLOOD[1] * blood),
        _SURFACE_ALBEDO + bare[2] * exp(-MELANIN[2] * melanin - BLOOD[2] * blood),
    )


@inline
@single
def _made_up(paint, volume, x, y, z, painted, red, green, blue):
    """Albedo under lipstick, `painted` of which hides it, and under the skin's pattern if there is one."""
    red += painted * (paint.lip_colour[0] - red)
    green += painted * (paint.lip_colour[1] - green)
    blue += painted * (paint.lip_colour[2] - blue)
    if paint.skin_pattern.amount > 0.0:
        share = paint.skin_pattern.amount
        r, g, b = pattern_colour(paint.skin_pattern, volume, x, y, z)
        red, green, blue = red + share * (r - red), green + share * (g - green), blue + share * (b - blue)
    return red, green, blue


@inline
@single
def _hairs(paint, volume, x, y, z, orbit, scalp, stubble, fine, red, green, blue):
    """Skin with the roots of the scalp's hair, with brows, lashes and stubble; and how much of it they hide."""
    tone = 0.8 + 0.25 * fine[2]
    grey = paint.grey * step(-0.9, 0.9, fine[1])
    rooted = 0.0
    if scalp > 0.0:
        uneven = 0.22 * fine[0] * (1.0 - scalp) * step(0.0, 0.15, scalp)
        rooted = 0.90 * step(0.12, 0.75, scalp + uneven)
        red, green, blue = _hairy(red, green, blue, rooted, paint.hair, tone, grey)
    lash = abs(orbit - paint.eye_radius - 0.0007)
    hairy = paint.lashes * step(0.0014, 0.0002, lash) * (1.0 if y > -0.001 else 0.45)
    hairy = max(max(hairy, _brow(paint, volume, x, y, z)), step(0.0, 1.0, stubble) * (0.62 + 0.18 * fine[3]))
    if hairy > 0.0:
        red, green, blue = _hairy(red, green, blue, hairy, paint.natural, tone, grey)
    return red, green, blue, max(hairy, rooted)


@inline
@single
def _hairy(red, green, blue, share, colour, tone, grey):
    """Skin under hair of a colour, `share` of which hides it and `grey` of which has lost its pigment."""
    red += share * (tone * (colour[0] + grey * (0.40 - colour[0])) - red)
    green += share * (tone * (colour[1] + grey * (0.39 - colour[1])) - green)
    blue += share * (tone * (colour[2] + grey * (0.38 - colour[2])) - blue)
    return red, green, blue


@inline
@single
def _groove(distance, width):
    """1 in a groove, falling off over its width on either side."""
    return exp(-(distance / width) * (distance / width))


@inline
@single
def _wrinkles(paint, wander, side, y, z):
    """How deep the creases of old age are, 0 to 1: on the forehead, at the eyes, beside nose and mouth, on the neck."""
    eye_x = side - _HALF_EYE_DISTANCE_M
    rows = (y + 0.0035 * wander + 5.0 * side * side) / 0.0092
    row = abs(rows - np.floor(rows) - 0.5) * 0.0092
    crease = 0.55 * _groove(row, 0.0011) * step(0.022, 0.030, y) * step(0.062, 0.050, y) * step(0.046, 0.030, side)
    crease = max(crease, 0.5 * _groove(side - 0.006, 0.0012) * step(0.001, 0.008, y) * step(0.026, 0.018, y))
    fan = eye_x - 0.010
    far = np.sqrt(fan * fan + y * y)
    ray = np.arctan2(y + 0.001, fan) * 4.2 + 0.5 * wander
    spread = step(0.006, 0.011, far) * step(0.026, 0.016, far) * step(0.0, 0.006, fan) * step(0.95, 0.6, abs(y / far))
    crease = max(crease, 0.6 * spread * _groove(ray - np.floor(ray) - 0.5, 0.17))
    under = np.sqrt(0.55 * eye_x * eye_x + (y + 0.002) * (y + 0.002)) - 0.0165 - 0.0012 * wander
    crease = max(crease, 0.55 * _groove(under, 0.0014) * step(-0.003, -0.009, y) * step(0.022, 0.014, abs(eye_x)))
    down = (-0.040 - y) / 0.042  # from the nose's wing to beside the mouth's corner
    if -0.1 < down < 1.1:
        fold = side - (0.0200 + 0.0125 * np.sqrt(max(down, 0.0)) + 0.0008 * wander)
        crease = max(crease, 0.85 * _groove(fold, 0.0019) * step(-0.1, 0.15, down) * step(1.1, 0.75, down))
    rings = (y + 0.35 * z + 0.003 * wander) / 0.017
    ring = abs(rings - np.floor(rings) - 0.5) * 0.017
    return max(crease, 0.5 * _groove(ring, 0.0016) * step(-0.125, -0.135, y) * step(-0.185, -0.17, y))


@inline
@single
def _lip(paint, side, y, z):
    """1 on the lips, 0 elsewhere: between two arcs over the line of the mouth, the upper dipping in the middle."""
    u = side / paint.mouth_half_width
    if u > 1.0 or z < -0.01:
        return 0.0
    arc = 1.0 - u * u
    top = paint.mouth_y + 0.0092 * arc - 0.0016 * exp(-((u / 0.18) ** 2)) + 0.0005
    bottom = paint.mouth_y - 0.0125 * arc
    return step(top + 0.0009, top - 0.0011, y) * step(bottom - 0.0013, bottom + 0.0011, y)


@inline
@single
def _brow(paint, volume, x, y, z):
    """Density of the eyebrow, 0 to 1: an arch over the eye that thins outwards, of hairs that lean outwards."""
    side = abs(x)
    along = (side - 0.0115) / 0.041
    if along < 0.0 or along > 1.0 or z < -0.03 or y < 0.002 or y > 0.035:
        return 0.0
    arch = 0.0150 + paint.brow_lift + 0.0055 * np.sin(2.3 * along + 0.1) - 0.004 * along * along
    half = paint.brow_width * (1.0 - 0.65 * along) * step(-0.10, 0.22, along)
    inside = 1.0 - abs(y - arch) / (half + 1e-6)
    if inside < -0.6:
        return 0.0
    lean = side - (0.35 + 0.9 * along) * (y - arch)
    hairs = noise4(volume, lean * 1500.0 + (7.0 if x > 0.0 else 0.0), y * 260.0, z * 120.0)[0]
    return 0.9 * paint.brow_density * step(-0.45, 0.55, inside + 0.45 * hairs)


@inline
@single
def eye(paint, volume, x, y, z):
    """Albedo, gloss and its exponent of the eyeball."""
    ex = x - _HALF_EYE_DISTANCE_M if x > 0.0 else x + _HALF_EYE_DISTANCE_M
    around = np.sqrt(ex * ex + y * y)
    angle = np.arctan2(around, z)  # at the eyeball's centre, from the optical axis
    vein = noise4(volume, x * 420.0, y * 700.0, z * 420.0)
    corner = step(0.50, 1.05, angle)
    thread = step(0.10, 0.0, abs(vein[0])) * corner * paint.veins
    red = 0.47 - 0.05 * corner
    green = 0.44 - 0.10 * corner - 0.18 * thread
    blue = 0.41 - 0.11 * corner - 0.16 * thread
    inside = step(_IRIS_EDGE + 0.025, _IRIS_EDGE - 0.025, angle)
    if inside > 0.0:
        cosine, sine = ex / (around + 1e-6), y / (around + 1e-6)
        fibre = noise4(volume, 11.0 * cosine, 11.0 * sine, angle * 5.0 + 3.0)
        wide = noise4(volume, 4.0 * cosine, 4.0 * sine, angle * 9.0)
        tone = 0.85 + 0.45 * fibre[0] + 0.2 * wide[0] - 0.30 * sine  # the cornea gathers light on the far side
        tone = max(tone, 0.25) * (1.0 - 0.82 * step(_IRIS_EDGE - 0.10, _IRIS_EDGE, angle))
        amber = paint.collarette * step(paint.pupil + 0.10, paint.pupil + 0.02, angle)
        hole = step(paint.pupil + 0.015, paint.pupil - 0.015, angle)
        tone *= 1.0 - hole
        red += inside * (tone * (paint.iris[0] + amber * (0.06 + 0.6 * paint.iris[0])) + 0.004 - red)
        green += inside * (tone * (paint.iris[1] + amber * 0.02) + 0.004 - green)
        blue += inside * (tone * (paint.iris[2] - amber * 0.5 * paint.iris[2]) + 0.004 - blue)
    return red, green, blue, 1.0, 420.0


@inline
@single
def teeth(paint, volume, x, y, z):
    """Albedo, gloss and its exponent of teeth and gums."""
    upper = y > paint.mouth_y - 0.001
    width = 0.0082 if upper else 0.0056
    cell = abs(x) / width
    gap = step(0.10, 0.02, min(cell - np.floor(cell), np.ceil(cell) - cell))
    edge = abs(y - paint.mouth_y) - 0.0005 * np.cos(6.28318 * cell)
    gum = step(0.0112, 0.0126, edge)
    deep = 0.25 + 0.75 * step(-0.022, 0.012, z)
    tone = deep * (1.0 - 0.5 * gap) * (1.0 + 0.05 * noise4(volume, x * 300.0, y * 300.0, z * 300.0)[0])
    red = tone * (paint.teeth[0] + gum * (0.45 - paint.teeth[0]))
    green = tone * (paint.teeth[1] + gum * (0.17 - paint.teeth[1]))
    blue = tone * (paint.teeth[2] + gum * (0.16 - paint.teeth[2]))
    return red, green, blue, 0.12 * deep, 50.0


@inline
@single
def tongue(volume, x, y, z):
    """Albedo, gloss and its exponent of the tongue, with a furrow along the middle."""
    rough = 1.0 + 0.16 * noise4(volume, x * 700.0, y * 700.0, z * 700.0)[0] - 0.25 * step(0.002, 0.0, abs(x))
    deep = rough * (0.2 + 0.8 * step(-0.045, 0.0, z))
    return 0.48 * deep, 0.18 * deep, 0.17 * deep, 0.05 * deep, 22.0


@inline
@single
def cheeks_inside(z):
    """Albedo, gloss and its exponent of the mouth's cavity, darker the deeper."""
    deep = 0.12 + 0.88 * step(-0.02, 0.012, z)
    return 0.30 * deep, 0.085 * deep, 0.075 * deep, 0.06 * deep, 30.0


@inline
@single
def cloth(paint, pattern, volume, x, y, z, below, rib, hem):
    """Albedo, gloss and its exponent of a garment.

    `below` is the depth under its edge, `rib` 1 on knitted ribs, `hem` the depth of the seam, 0 for none.
    """
    red, green, blue = pattern_colour(pattern, volume, x, y, z)
    thread = noise4(volume, x * 900.0, y * 900.0, z * 900.0)
    worn = noise4(volume, x * 60.0 + 5.0, y * 45.0, z * 60.0)
    weave = 1.0 + 0.07 * thread[0] + 0.05 * worn[0]
    seam = step(0.0012, 0.0004, abs(below - hem)) * step(0.001, 0.004, hem)
    weave *= (1.0 - 0.35 * seam) * (0.72 + 0.28 * step(0.0, 0.0022, below))
    if rib > 0.5:
        around = np.arctan2(x, z + 0.085)
        weave *= 0.90 + 0.12 * np.sin(around * 160.0)
    return red * weave, green * weave, blue * weave, paint.cloth_shine, 9.0
