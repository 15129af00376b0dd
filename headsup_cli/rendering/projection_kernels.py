"""Projection of Gaussians to splats and its backward, sixteen Gaussians at a time.

Everything follows gsplat 1.5.3 (`Utils.cuh`, `ProjectionEWA3DGSFused.cu`, `SphericalHarmonicsCUDA.cu`). Where a sign or
a factor differs in form, it is because the covariance is kept as the product of its square roots, which is both cheaper
and more exact in float32.
"""

import numpy as np

from headsup_cli.rendering.compilation import inline, kernel
from headsup_cli.rendering.layout import (
    ANTIALIASED,
    BLUE,
    CAMERA,
    CENTRE_X,
    CENTRE_Y,
    CHUNK,
    DEPTH,
    EPS2D,
    FAR,
    FARTHEST,
    FOCAL_X,
    FOCAL_Y,
    GREEN,
    GROUP,
    HEIGHT,
    LOG2_255,
    NEAR,
    NEAREST,
    POSITION,
    RADIUS_CLIP,
    RED,
    ROTATION,
    ROW,
    SLOT,
    SLOTS,
    SUM,
    SUM_BLUE,
    SUM_DEPTH,
    SUM_GREEN,
    SUM_RED,
    SUM_U,
    SUM_UU,
    SUM_UV,
    SUM_V,
    SUM_VV,
    TILE,
    TILE_X,
    TILE_Y,
    TILES_HIGH,
    TILES_WIDE,
    TRANSLATION,
    VISIBLE,
    WIDTH,
)
from headsup_cli.rendering.simd import (
    LANES,
    add_strided,
    bits_of,
    broadcast,
    ceil,
    first_lanes,
    floor,
    fma,
    integers,
    lane_bits,
    load,
    load_lanes,
    load_strided,
    log2,
    mask_of,
    maximum,
    minimum,
    moved,
    pointer,
    select,
    shuffle,
    square_root,
    stack,
    store,
    store_lanes,
    take_ticket,
    trailing_zeros,
    transpose,
    use_full_width,
)

_WORK = ROW * LANES
HALF_LOG2_E = float(0.5 * np.log2(np.e))
LN_2 = float(np.log(2.0))
SH_0 = 0.2820947917738781

_OF_TRIPLE = [shuffle(3, tuple(range(i, 48, 3))) for i in range(3)]
_OF_QUAD = [shuffle(4, tuple(range(i, 64, 4))) for i in range(4)]
_TO_TRIPLES = [shuffle(3, tuple((16 * i + j) % 3 * 16 + (16 * i + j) // 3 for j in range(16))) for i in range(3)]
_TO_QUADS = [shuffle(4, tuple((16 * i + j) % 4 * 16 + (16 * i + j) // 4 for j in range(16))) for i in range(4)]
_x3, _y3, _z3 = _OF_TRIPLE
_w4, _x4, _y4, _z4 = _OF_QUAD
_t0, _t1, _t2 = _TO_TRIPLES
_q0, _q1, _q2, _q3 = _TO_QUADS


@inline
def load_triples(array, first, count):
    """Sixteen rows of an [n, 3] array as three vectors; rows past `count` are 0."""
    at, left = 3 * first, 3 * count
    a, b = load_lanes(array, at, first_lanes(left)), load_lanes(array, at + LANES, first_lanes(left - LANES))
    c = load_lanes(array, at + 2 * LANES, first_lanes(left - 2 * LANES))
    return _x3(a, b, c), _y3(a, b, c), _z3(a, b, c)


@inline
def load_quads(array, first, count):
    """Sixteen rows of an [n, 4] array as four vectors; rows past `count` are 0."""
    at, left = 4 * first, 4 * count
    a, b = load_lanes(array, at, first_lanes(left)), load_lanes(array, at + LANES, first_lanes(left - LANES))
    c = load_lanes(array, at + 2 * LANES, first_lanes(left - 2 * LANES))
    d = load_lanes(array, at + 3 * LANES, first_lanes(left - 3 * LANES))
    return _w4(a, b, c, d), _x4(a, b, c, d), _y4(a, b, c, d), _z4(a, b, c, d)


@inline
def store_triples(array, first, count, triple):
    """The opposite of `load_triples`."""
    x, y, z = triple
    at, left = 3 * first, 3 * count
    store_lanes(array, at, _t0(x, y, z), first_lanes(left))
    store_lanes(array, at + LANES, _t1(x, y, z), first_lanes(left - LANES))
    store_lanes(array, at + 2 * LANES, _t2(x, y, z), first_lanes(left - 2 * LANES))


@inline
def store_quads(array, first, count, quad):
    """The opposite of `load_quads`."""
    w, x, y, z = quad
    at, left = 4 * first, 4 * count
    store_lanes(array, at, _q0(w, x, y, z), first_lanes(left))
    store_lanes(array, at + LANES, _q1(w, x, y, z), first_lanes(left - LANES))
    store_lanes(array, at + 2 * LANES, _q2(w, x, y, z), first_lanes(left - 2 * LANES))
    store_lanes(array, at + 3 * LANES, _q3(w, x, y, z), first_lanes(left - 3 * LANES))


@inline
def dot(a, b):
    """Of two triples."""
    return fma(a[0], b[0], fma(a[1], b[1], a[2] * b[2]))


@inline
def unit_quaternion(quaternion):
    """The quaternion (w, x, y, z) at unit length, and 1 / its length."""
    w, x, y, z = quaternion
    inverse = 1.0 / square_root(fma(w, w, fma(x, x, fma(y, y, z * z))))
    return (w * inverse, x * inverse, y * inverse, z * inverse), inverse


@inline
def rotation_rows(q):
    """Rows of the rotation matrix of a unit quaternion."""
    w, x, y, z = q
    return (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)),
    )


@inline
def scaled(row, scale):
    """Component-wise product of two triples."""
    return row[0] * scale[0], row[1] * scale[1], row[2] * scale[2]


@inline
def camera_row(cameras, view, row):
    """Row of the rotation of a view, three scalars."""
    at = view * CAMERA + ROTATION + 3 * row
    return cameras[at], cameras[at + 1], cameras[at + 2]


@inline
def camera_point(cameras, view, mean):
    """World points in the camera's frame."""
    at = view * CAMERA + TRANSLATION
    return (
        dot(mean, camera_row(cameras, view, 0)) + cameras[at],
        dot(mean, camera_row(cameras, view, 1)) + cameras[at + 1],
        dot(mean, camera_row(cameras, view, 2)) + cameras[at + 2],
    )


@inline
def clamped_slopes(cameras, settings, view, point, inverse_z):
    """X / z and y / z, kept within the image plus 15 % a side, where the linearised projection holds."""
    at = view * CAMERA
    focal_x, focal_y = cameras[at + FOCAL_X], cameras[at + FOCAL_Y]
    centre_x, centre_y = cameras[at + CENTRE_X], cameras[at + CENTRE_Y]
    width, height = settings[WIDTH], settings[HEIGHT]
    margin_x, margin_y = 0.15 * width / focal_x, 0.15 * height / focal_y
    slope_x = maximum(point[0] * inverse_z, -(centre_x / focal_x + margin_x))
    slope_y = maximum(point[1] * inverse_z, -(centre_y / focal_y + margin_y))
    return (
        minimum(slope_x, (width - centre_x) / focal_x + margin_x),
        minimum(slope_y, (height - centre_y) / focal_y + margin_y),
    )


@inline
def jacobian_row(focal_inverse_z, slope, axis, forward):
    """Row of J R, the derivative of a pixel coordinate by the world point."""
    return (
        focal_inverse_z * (axis[0] - slope * forward[0]),
        focal_inverse_z * (axis[1] - slope * forward[1]),
        focal_inverse_z * (axis[2] - slope * forward[2]),
    )


@inline
def square_root_rows(jacobian, factor):
    """Row of J R M, with M M^T the covariance in the world."""
    return (
        fma(jacobian[0], factor[0][0], fma(jacobian[1], factor[1][0], jacobian[2] * factor[2][0])),
        fma(jacobian[0], factor[0][1], fma(jacobian[1], factor[1][1], jacobian[2] * factor[2][1])),
        fma(jacobian[0], factor[0][2], fma(jacobian[1], factor[1][2], jacobian[2] * factor[2][2])),
    )


@inline
def squared_area(a, b):
    """|a x b|^2: the determinant of the covariance with square-root rows a and b, without cancellation."""
    x = a[1] * b[2] - a[2] * b[1]
    y = a[2] * b[0] - a[0] * b[2]
    z = a[0] * b[1] - a[1] * b[0]
    return dot((x, y, z), (x, y, z))


@inline
def whitening(xx, xy, yy, determinant):
    """The upper triangle W with W^T W = log2(e) / 2 times the inverse covariance."""
    wxx = square_root(HALF_LOG2_E * yy / determinant)
    return wxx, -wxx * xy / yy, square_root(HALF_LOG2_E / yy)


@inline
def sh_basis(degree, direction, basis):
    """INRIA's real spherical harmonics of a unit direction, a vector each, into `basis`."""
    x, y, z = direction
    store(basis, 0, broadcast(x, SH_0))
    if degree > 0:
        store(basis, LANES, -0.48860251190292 * y)
        store(basis, 2 * LANES, 0.48860251190292 * z)
        store(basis, 3 * LANES, -0.48860251190292 * x)
    if degree > 1:
        store(basis, 4 * LANES, 1.092548430592079 * x * y)
        store(basis, 5 * LANES, -1.092548430592079 * y * z)
        store(basis, 6 * LANES, 0.9461746957575601 * z * z - 0.3153915652525201)
        store(basis, 7 * LANES, -1.092548430592079 * x * z)
        store(basis, 8 * LANES, 0.5462742152960395 * (x * x - y * y))
    if degree > 2:
        store(basis, 9 * LANES, -0.5900435899266435 * y * (3.0 * x * x - y * y))
        store(basis, 10 * LANES, 2.890611442640554 * x * y * z)
        store(basis, 11 * LANES, y * (0.4570457994644658 - 2.285228997322329 * z * z))
        store(basis, 12 * LANES, z * (1.865881662950577 * z * z - 1.119528997770346))
        store(basis, 13 * LANES, x * (0.4570457994644658 - 2.285228997322329 * z * z))
        store(basis, 14 * LANES, 1.445305721320277 * z * (x * x - y * y))
        store(basis, 15 * LANES, -0.5900435899266435 * x * (x * x - 3.0 * y * y))


@inline
def sh_slopes(degree, direction, weights):
    """Sum over the basis of `weights` (a vector each) times the basis function's gradient by (x, y, z)."""
    x, y, z = direction
    gx = -0.48860251190292 * load(weights, 3 * LANES)
    gy = -0.48860251190292 * load(weights, LANES)
    gz = 0.48860251190292 * load(weights, 2 * LANES)
    if degree > 1:
        w4, w5, w6 = load(weights, 4 * LANES), load(weights, 5 * LANES), load(weights, 6 * LANES)
        w7, w8 = load(weights, 7 * LANES), load(weights, 8 * LANES)
        gx += 1.092548430592079 * (w4 * y - w7 * z + w8 * x)
        gy += 1.092548430592079 * (w4 * x - w5 * z - w8 * y)
        gz += 1.8923493915151202 * w6 * z - 1.092548430592079 * (w5 * y + w7 * x)
    if degree > 2:
        w9, w10, w11 = load(weights, 9 * LANES), load(weights, 10 * LANES), load(weights, 11 * LANES)
        w12, w13 = load(weights, 12 * LANES), load(weights, 13 * LANES)
        w14, w15 = load(weights, 14 * LANES), load(weights, 15 * LANES)
        band = 0.4570457994644658 - 2.285228997322329 * z * z
        difference = x * x - y * y
        gx += -3.540261539559861 * w9 * x * y + 2.890611442640554 * (w10 * y * z + w14 * x * z)
        gx += w13 * band - 1.7701307697799304 * w15 * difference
        gy += -1.7701307697799304 * w9 * difference + 2.890611442640554 * (w10 * x * z - w14 * y * z)
        gy += w11 * band + 3.540261539559861 * w15 * x * y
        gz += 2.890611442640554 * w10 * x * y - 4.570457994644658 * z * (w11 * y + w13 * x)
        gz += w12 * (5.597644988851731 * z * z - 1.119528997770346) + 1.445305721320277 * w14 * difference
    return gx, gy, gz


@inline
def view_direction(cameras, view, mean):
    """Unit direction from the camera to the means, and 1 / distance."""
    at = view * CAMERA + POSITION
    x, y, z = mean[0] - cameras[at], mean[1] - cameras[at + 1], mean[2] - cameras[at + 2]
    inverse = 1.0 / square_root(maximum(dot((x, y, z), (x, y, z)), 1e-30))
    return (x * inverse, y * inverse, z * inverse), inverse


@inline
def raw_colours(coefficients, degree, bands, first, count, basis):
    """0.5 + SH at a basis already evaluated, before the clamp at 0."""
    if bands == 1:
        red, green, blue = load_triples(coefficients, first, count)
        return SH_0 * red + 0.5, SH_0 * green + 0.5, SH_0 * blue + 0.5
    at, stride = 3 * bands * first, 3 * bands
    red, green, blue = broadcast(basis, 0.5), broadcast(basis, 0.5), broadcast(basis, 0.5)
    for k in range((degree + 1) * (degree + 1)):
        weight = load(basis, LANES * k)
        red = fma(weight, load_strided(coefficients, at + 3 * k, stride, count), red)
        green = fma(weight, load_strided(coefficients, at + 3 * k + 1, stride, count), green)
        blue = fma(weight, load_strided(coefficients, at + 3 * k + 2, stride, count), blue)
    return red, green, blue


@inline
def is_finite(array, start, stop):
    """Whether all of array[start:stop] is."""
    zeros = broadcast(array, 0.0)
    for at in range(start, stop, LANES):
        zeros = fma(load_lanes(array, at, first_lanes(stop - at)), 0.0, zeros)
    return lane_bits(zeros >= 0.0) == 0xFFFF


@inline
def flag_non_finite(flags, first, last, means, quats, scales, opacities, coefficients, channels):
    """Set `flags[i]` where the i-th attribute of the Gaussians first..last holds NaN or infinity."""
    if not is_finite(means, 3 * first, 3 * last):
        flags[0] = 1
    if not is_finite(quats, 4 * first, 4 * last):
        flags[1] = 1
    if not is_finite(scales, 3 * first, 3 * last):
        flags[2] = 1
    if not is_finite(opacities, first, last):
        flags[3] = 1
    if not is_finite(coefficients, channels * first, channels * last):
        flags[4] = 1


@inline
def store_tile_range(marks, axis, centre, reach, size):
    """First tile and number of tiles whose pixel centres lie within `reach` of `centre`; the mask of those with any."""
    slack = reach * 1e-5 + 1e-3
    low = maximum(ceil(centre - reach - slack - 0.5), 0.0)
    high = minimum(floor(centre + reach + slack - 0.5), size - 1.0)
    first = floor(low * (1.0 / TILE))
    store(marks, (TILE_X + axis) * LANES, first)
    store(marks, (TILES_WIDE + axis) * LANES, floor(maximum(high, 0.0) * (1.0 / TILE)) - first + 1.0)
    return low <= high


@inline
def project_group(fields, marks, view, point, mean_rows, opacity, cameras, settings, lanes):
    """Project sixteen Gaussians into one view; fill all `fields` (`marks`: the integers among them) but the colour.

    Returns the mask of those that can show in the image.
    """
    inverse_z = 1.0 / point[2]
    slope_x, slope_y = clamped_slopes(cameras, settings, view, point, inverse_z)
    forward = camera_row(cameras, view, 2)
    focal_x = cameras[view * CAMERA + FOCAL_X] * inverse_z
    focal_y = cameras[view * CAMERA + FOCAL_Y] * inverse_z
    a = square_root_rows(jacobian_row(focal_x, slope_x, camera_row(cameras, view, 0), forward), mean_rows)
    b = square_root_rows(jacobian_row(focal_y, slope_y, camera_row(cameras, view, 1), forward), mean_rows)
    eps2d = settings[EPS2D]
    sharp_xx, xy, sharp_yy = dot(a, a), dot(a, b), dot(b, b)
    sharp_determinant = squared_area(a, b)
    determinant = sharp_determinant + eps2d * (sharp_xx + sharp_yy + eps2d)
    xx, yy = sharp_xx + eps2d, sharp_yy + eps2d
    if settings[ANTIALIASED] > 0.0:
        opacity = opacity * square_root(sharp_determinant / determinant)
    log2_opacity = log2(maximum(opacity, 1e-6))
    wxx, wxy, wyy = whitening(xx, xy, yy, determinant)
    x = fma(focal_x, point[0], broadcast(fields, cameras[view * CAMERA + CENTRE_X]))
    y = fma(focal_y, point[1], broadcast(fields, cameras[view * CAMERA + CENTRE_Y]))
    # Where alpha falls to 1/255, at most 3.33 standard deviations out: gsplat's opacity-aware extent
    squared_extent = minimum(2.0 * LN_2 * (log2_opacity + LOG2_255), 3.33 * 3.33)
    reach_x = square_root(maximum(squared_extent * xx, 0.0))
    reach_y = square_root(maximum(squared_extent * yy, 0.0))
    clip = settings[RADIUS_CLIP]
    visible = lanes & (determinant > 0.0) & (opacity >= 1.0 / 255.0)
    visible &= (ceil(reach_x) > clip) | (ceil(reach_y) > clip)
    visible &= store_tile_range(marks, 0, x, reach_x, settings[WIDTH])
    visible &= store_tile_range(marks, 1, y, reach_y, settings[HEIGHT])
    store(fields, 0, x)
    store(fields, LANES, y)
    store(fields, 2 * LANES, wxx)
    store(fields, 3 * LANES, wxy)
    store(fields, 4 * LANES, wyy)
    store(fields, 5 * LANES, log2_opacity)
    store(fields, DEPTH * LANES, point[2])
    return visible


@inline
def colour_group(fields, view, mean, coefficients, degree, bands, first, count, cameras, basis):
    """Fill RED .. BLUE of `fields`."""
    if degree < 0:
        colour = load_triples(coefficients, first, count)
    else:
        direction, _ = view_direction(cameras, view, mean)
        sh_basis(degree, direction, basis)
        red, green, blue = raw_colours(coefficients, degree, bands, first, count, basis)
        colour = maximum(red, 0.0), maximum(green, 0.0), maximum(blue, 0.0)
    store(fields, RED * LANES, colour[0])
    store(fields, GREEN * LANES, colour[1])
    store(fields, BLUE * LANES, colour[2])


@inline
def count_tiles(tile_counts, x, y, wide, high, tiles_wide):
    """Count a splat in each tile it touches."""
    for line in range(y, y + high):
        for tile in range(line * tiles_wide + x, line * tiles_wide + x + wide):
            tile_counts[tile] += 1


@inline
def put_rows(bits, first_row, fields, marks, rows, keys, rectangles, tally, tile_counts, tiles_wide):
    """Append the visible of a group to a view's rows, and to what is counted of its chunk in `tally`."""
    transpose(fields)
    row, slot = first_row + tally[VISIBLE], tally[SLOTS]
    nearest, farthest = tally[NEAREST], tally[FARTHEST]
    while bits != 0:
        lane = trailing_zeros(bits)
        bits &= bits - np.uint32(1)
        x, y = np.int64(marks[lane * ROW + TILE_X]), np.int64(marks[lane * ROW + TILE_Y])
        wide, high = np.int64(marks[lane * ROW + TILES_WIDE]), np.int64(marks[lane * ROW + TILES_HIGH])
        marks[lane * ROW + SLOT] = slot
        store(rows, row * ROW, load(fields, lane * ROW))
        key = bits_of(fields[lane * ROW + DEPTH])
        keys[row], rectangles[row] = key, np.uint64(x | y << 16 | (x + wide) << 32 | (y + high) << 48)
        nearest, farthest = min(nearest, np.int64(key)), max(farthest, np.int64(key))
        count_tiles(tile_counts, x, y, wide, high, tiles_wide)
        slot += wide * high
        row += 1
    tally[VISIBLE], tally[SLOTS], tally[NEAREST], tally[FARTHEST] = row - first_row, slot, nearest, farthest


@kernel
def project_views(
    tickets, means, quats, scales, opacities, coefficients, degree, cameras, settings,
    rows, keys, rectangles, group_bits, group_first, counts, seats, tile_counts, flags,
):  # fmt: skip
    """Project all Gaussians into all views, a chunk of Gaussians per ticket; `degree` -1 means colours, not SH.

    Per view, the visible Gaussians of chunk i fill `rows` in order from row i * CHUNK on,
    with their depth's bits in `keys` and tile rectangle in `rectangles`, packed into 64 bits. `group_bits` and
    `group_first` say which lanes of a group are visible, and where their rows begin; `counts` what `layout` lists per
    view and chunk; `tile_counts` [threads, views, tiles] what each thread found per tile, in the order of `seats`.
    """
    use_full_width()
    n, (views, chunks, fields_counted), capacity = opacities.size, counts.shape, keys.shape[1]
    bands = coefficients.size // (3 * n)
    tiles_wide, tiles = (np.int64(settings[WIDTH]) + TILE - 1) // TILE, tile_counts.shape[2]
    tile_counts, counts = moved(tile_counts, take_ticket(seats) * views * tiles), pointer(counts)
    keys, rectangles, rows = pointer(keys), pointer(rectangles), pointer(rows)
    means, quats, scales, opacities = pointer(means), pointer(quats), pointer(scales), pointer(opacities)
    coefficients, cameras, settings, flags = pointer(coefficients), pointer(cameras), pointer(settings), pointer(flags)
    fields, basis = stack(means, _WORK), stack(means, _WORK)
    marks = integers(fields)
    while True:
        chunk = take_ticket(tickets)
        if chunk >= chunks:
            return
        last = min((chunk + 1) * CHUNK, n)
        flag_non_finite(flags, chunk * CHUNK, last, means, quats, scales, opacities, coefficients, 3 * bands)
        for view in range(views):
            tally = moved(counts, (view * chunks + chunk) * fields_counted)
            tally[VISIBLE], tally[SLOTS], tally[NEAREST], tally[FARTHEST] = 0, 0, 0xFFFFFFFF, 0
        for first in range(chunk * CHUNK, last, GROUP):
            group, count = first // GROUP, last - first
            mean = load_triples(means, first, count)
            q, _ = unit_quaternion(load_quads(quats, first, count))
            scale = load_triples(scales, first, count)
            matrix = rotation_rows(q)
            factor = (scaled(matrix[0], scale), scaled(matrix[1], scale), scaled(matrix[2], scale))
            opacity = load_lanes(opacities, first, first_lanes(count))
            for view in range(views):
                point = camera_point(cameras, view, mean)
                lanes = first_lanes(count) & (point[2] >= settings[NEAR]) & (point[2] <= settings[FAR])
                visible = lanes
                if lane_bits(lanes) != 0:
                    visible = project_group(fields, marks, view, point, factor, opacity, cameras, settings, lanes)
                bits, tally = lane_bits(visible), moved(counts, (view * chunks + chunk) * fields_counted)
                group_bits[view, group], group_first[view, group] = bits, chunk * CHUNK + tally[VISIBLE]
                if bits != 0:
                    colour_group(fields, view, mean, coefficients, degree, bands, first, count, cameras, basis)
                    start = view * capacity
                    put_rows(
                        bits, chunk * CHUNK, fields, marks, moved(rows, start * ROW), moved(keys, start),
                        moved(rectangles, start), tally, moved(tile_counts, view * tiles), tiles_wide,
                    )  # fmt: skip


@inline
def zero(array, start, stop):
    """Fill array[start:stop] with 0."""
    for at in range(start, stop):
        array[at] = 0.0


@inline
def add_triples(array, first, count, triple):
    """Add to sixteen rows of an [n, 3] array."""
    x, y, z = load_triples(array, first, count)
    store_triples(array, first, count, (x + triple[0], y + triple[1], z + triple[2]))


@inline
def mixed(u, a, v, b):
    """U a + v b, of triples a and b."""
    return fma(u, a[0], v * b[0]), fma(u, a[1], v * b[1]), fma(u, a[2], v * b[2])


@inline
def masked(mask, triple):
    """0 outside the mask."""
    return select(mask, triple[0], 0.0), select(mask, triple[1], 0.0), select(mask, triple[2], 0.0)


@inline
def covariance_gradient(total, xx, xy, yy, determinant):
    """From the slots' sums to the gradients by the projected mean (x, y) and the blurred 2D covariance (xx, xy, yy).

    With w = W d and C the covariance, ln alpha = ... - ln 2 |w|^2 and C^-1 d = W^T w / k, k = log2(e) / 2. Hence the
    derivative by C is ln 2 W^T (sum of g w w^T) W / k, and by the mean 2 ln 2 W^T (sum of g w).
    """
    wxx, wxy, wyy = whitening(xx, xy, yy, determinant)
    d_x = 2.0 * LN_2 * wxx * total[SUM_U]
    d_y = 2.0 * LN_2 * fma(wxy, total[SUM_U], wyy * total[SUM_V])
    scale = LN_2 / HALF_LOG2_E
    uu, uv, vv = scale * total[SUM_UU], scale * total[SUM_UV], scale * total[SUM_VV]
    d_xx = wxx * wxx * uu
    d_xy = wxx * fma(wxy, uu, wyy * uv)
    d_yy = fma(wxy * wxy, uu, wyy * fma(2.0 * wxy, uv, wyy * vv))
    return d_x, d_y, d_xx, d_xy, d_yy


@inline
def project_group_backward(total, view, point, factor, cameras, settings):
    """Gradients of one view by the point in the camera's frame and by the covariance's square root in the world."""
    inverse_z = 1.0 / point[2]
    at = view * CAMERA
    slope_x, slope_y = clamped_slopes(cameras, settings, view, point, inverse_z)
    right, down, forward = camera_row(cameras, view, 0), camera_row(cameras, view, 1), camera_row(cameras, view, 2)
    focal_x, focal_y = cameras[at + FOCAL_X] * inverse_z, cameras[at + FOCAL_Y] * inverse_z
    p, q = jacobian_row(focal_x, slope_x, right, forward), jacobian_row(focal_y, slope_y, down, forward)
    a, b = square_root_rows(p, factor), square_root_rows(q, factor)
    eps2d = settings[EPS2D]
    sharp_xx, xy, sharp_yy = dot(a, a), dot(a, b), dot(b, b)
    sharp_determinant = squared_area(a, b)
    determinant = sharp_determinant + eps2d * (sharp_xx + sharp_yy + eps2d)
    xx, yy = sharp_xx + eps2d, sharp_yy + eps2d
    d_x, d_y, d_xx, d_xy, d_yy = covariance_gradient(total, xx, xy, yy, determinant)
    if settings[ANTIALIASED] > 0.0:  # opacity times the root of the determinants' ratio
        ratio = maximum(sharp_determinant / determinant, 1e-12)
        d_ratio = 0.5 * total[SUM] / (ratio * determinant)
        d_xx += d_ratio * (sharp_yy - ratio * yy)
        d_yy += d_ratio * (sharp_xx - ratio * xx)
        d_xy -= d_ratio * (1.0 - ratio) * xy
    d_a, d_b = mixed(2.0 * d_xx, a, 2.0 * d_xy, b), mixed(2.0 * d_xy, a, 2.0 * d_yy, b)
    d_factor = (
        mixed(p[0], d_a, q[0], d_b),
        mixed(p[1], d_a, q[1], d_b),
        mixed(p[2], d_a, q[2], d_b),
    )
    d_p = dot(d_a, factor[0]), dot(d_a, factor[1]), dot(d_a, factor[2])
    d_q = dot(d_b, factor[0]), dot(d_b, factor[1]), dot(d_b, factor[2])
    free_x, free_y = point[0] * inverse_z, point[1] * inverse_z
    d_slope_x = select((free_x >= slope_x) & (free_x <= slope_x), -focal_x * dot(d_p, forward), 0.0)
    d_slope_y = select((free_y >= slope_y) & (free_y <= slope_y), -focal_y * dot(d_q, forward), 0.0)
    from_x, from_y = fma(focal_x, d_x, d_slope_x * inverse_z), fma(focal_y, d_y, d_slope_y * inverse_z)
    d_z = -inverse_z * (dot(d_p, p) + dot(d_q, q)) - free_x * from_x - free_y * from_y + total[SUM_DEPTH]
    return (from_x, from_y, d_z), d_factor


@inline
def sh_backward(total, view, mean, coefficients, degree, bands, first, count, visible, cameras, basis, d_coefficients):
    """Add the gradients by the coefficients; return that by the mean, which turns the viewing direction."""
    direction, inverse = view_direction(cameras, view, mean)
    sh_basis(degree, direction, basis)
    raw = raw_colours(coefficients, degree, bands, first, count, basis)
    d_red = select(visible & (raw[0] >= 0.0), total[SUM_RED], 0.0)
    d_green = select(visible & (raw[1] >= 0.0), total[SUM_GREEN], 0.0)
    d_blue = select(visible & (raw[2] >= 0.0), total[SUM_BLUE], 0.0)
    if bands == 1:
        add_triples(d_coefficients, first, count, (SH_0 * d_red, SH_0 * d_green, SH_0 * d_blue))
        return d_red, d_red, d_red  # not looked at: the colour is the same from everywhere
    at, stride = 3 * bands * first, 3 * bands
    for k in range((degree + 1) * (degree + 1)):
        value = load(basis, LANES * k)
        red = load_strided(coefficients, at + 3 * k, stride, count)
        green = load_strided(coefficients, at + 3 * k + 1, stride, count)
        blue = load_strided(coefficients, at + 3 * k + 2, stride, count)
        add_strided(d_coefficients, at + 3 * k, stride, value * d_red, visible)
        add_strided(d_coefficients, at + 3 * k + 1, stride, value * d_green, visible)
        add_strided(d_coefficients, at + 3 * k + 2, stride, value * d_blue, visible)
        store(basis, LANES * k, fma(red, d_red, fma(green, d_green, blue * d_blue)))
    slopes = sh_slopes(degree, direction, basis)
    radial = dot(slopes, direction)
    return (
        (slopes[0] - radial * direction[0]) * inverse,
        (slopes[1] - radial * direction[1]) * inverse,
        (slopes[2] - radial * direction[2]) * inverse,
    )


@inline
def quaternion_gradient(d_matrix, q, inverse_norm):
    """From the gradient by the rotation matrix to that by the quaternion before it was made unit."""
    w, x, y, z = q
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = d_matrix
    d_w = 2.0 * (x * (m21 - m12) + y * (m02 - m20) + z * (m10 - m01))
    d_x = 2.0 * (-2.0 * x * (m11 + m22) + y * (m10 + m01) + z * (m20 + m02) + w * (m21 - m12))
    d_y = 2.0 * (x * (m10 + m01) - 2.0 * y * (m00 + m22) + z * (m21 + m12) + w * (m02 - m20))
    d_z = 2.0 * (x * (m20 + m02) + y * (m21 + m12) - 2.0 * z * (m00 + m11) + w * (m10 - m01))
    along = d_w * w + d_x * x + d_y * y + d_z * z
    return (
        (d_w - along * w) * inverse_norm,
        (d_x - along * x) * inverse_norm,
        (d_y - along * y) * inverse_norm,
        (d_z - along * z) * inverse_norm,
    )


@inline
def load_totals(sums):
    """The ten sums of sixteen Gaussians, one vector per sum."""
    return (
        load_strided(sums, 0, ROW, LANES), load_strided(sums, 1, ROW, LANES), load_strided(sums, 2, ROW, LANES),
        load_strided(sums, 3, ROW, LANES), load_strided(sums, 4, ROW, LANES), load_strided(sums, 5, ROW, LANES),
        load_strided(sums, 6, ROW, LANES), load_strided(sums, 7, ROW, LANES), load_strided(sums, 8, ROW, LANES),
        load_strided(sums, 9, ROW, LANES),
    )  # fmt: skip


@inline
def sum_group_slots(sums, bits, at, base, ints, slots, written):
    """Fill `sums`, sixteen rows of ten, with what the visible Gaussians of a group gathered over their tiles."""
    for i in range(LANES):
        store(sums, i * ROW, broadcast(sums, 0.0))
    while bits != 0:
        lane = trailing_zeros(bits)
        bits &= bits - np.uint32(1)
        start = base + ints[at + SLOT]
        tiles = np.int64(ints[at + TILES_WIDE]) * ints[at + TILES_HIGH]
        total = broadcast(sums, 0.0)
        for slot in range(start, start + tiles):
            if written[slot] != 0:
                total += load(slots, slot * ROW)
        store(sums, lane * ROW, total)
        at += ROW


@kernel
def backpropagate_views(
    tickets, means, quats, scales, opacities, coefficients, degree, cameras, settings,
    ints, group_bits, group_first, slot_bases, slots, written, adding,
    d_means, d_quats, d_scales, d_opacities, d_coefficients,
):  # fmt: skip
    """From the splats' slots to the gradients of the Gaussians, a chunk of Gaussians per ticket.

    Writes d_*, or adds to them where `adding` is not 0.
    """
    use_full_width()
    n = opacities.size
    views, chunks = slot_bases.shape
    bands = coefficients.size // (3 * n)
    length = ints.shape[1]
    means, quats, scales, opacities = pointer(means), pointer(quats), pointer(scales), pointer(opacities)
    coefficients, cameras, settings, ints = pointer(coefficients), pointer(cameras), pointer(settings), pointer(ints)
    slots, written, d_means, d_quats = pointer(slots), pointer(written), pointer(d_means), pointer(d_quats)
    d_scales, d_opacities, d_coefficients = pointer(d_scales), pointer(d_opacities), pointer(d_coefficients)
    sums, basis = stack(means, _WORK), stack(means, _WORK)
    while True:
        chunk = take_ticket(tickets)
        if chunk >= chunks:
            return
        last = min((chunk + 1) * CHUNK, n)
        if adding == 0:
            zero(d_means, 3 * chunk * CHUNK, 3 * last)
            zero(d_quats, 4 * chunk * CHUNK, 4 * last)
            zero(d_scales, 3 * chunk * CHUNK, 3 * last)
            zero(d_opacities, chunk * CHUNK, last)
            zero(d_coefficients, 3 * bands * chunk * CHUNK, 3 * bands * last)
        for first in range(chunk * CHUNK, last, GROUP):
            group, count = first // GROUP, last - first
            seen = False
            for view in range(views):
                seen |= group_bits[view, group] != 0
            if not seen:
                continue
            mean = load_triples(means, first, count)
            q, inverse_norm = unit_quaternion(load_quads(quats, first, count))
            scale = load_triples(scales, first, count)
            matrix = rotation_rows(q)
            factor = (scaled(matrix[0], scale), scaled(matrix[1], scale), scaled(matrix[2], scale))
            nothing = broadcast(means, 0.0)
            d_mean, d_opacity = (nothing, nothing, nothing), nothing
            d_0, d_1, d_2 = d_mean, d_mean, d_mean
            for view in range(views):
                bits = np.uint32(group_bits[view, group])
                if bits == 0:
                    continue
                row, base = np.int64(group_first[view, group]), slot_bases[view, chunk]
                sum_group_slots(sums, bits, view * length + row * ROW, base, ints, slots, written)
                total = load_totals(sums)
                visible = mask_of(bits)
                point = camera_point(cameras, view, mean)
                d_point, d_factor = project_group_backward(total, view, point, factor, cameras, settings)
                d_point = masked(visible, d_point)
                right, down = camera_row(cameras, view, 0), camera_row(cameras, view, 1)
                forward = camera_row(cameras, view, 2)
                turned = mixed(d_point[0], right, d_point[1], down)
                turned = mixed(1.0, turned, d_point[2], forward)
                d_mean = mixed(1.0, d_mean, 1.0, turned)
                d_0 = mixed(1.0, d_0, 1.0, masked(visible, d_factor[0]))
                d_1 = mixed(1.0, d_1, 1.0, masked(visible, d_factor[1]))
                d_2 = mixed(1.0, d_2, 1.0, masked(visible, d_factor[2]))
                d_opacity += total[SUM]
                if degree < 0:
                    add_triples(d_coefficients, first, count, (total[SUM_RED], total[SUM_GREEN], total[SUM_BLUE]))
                else:
                    turned = sh_backward(
                        total, view, mean, coefficients, degree, bands, first, count, visible, cameras, basis,
                        d_coefficients,
                    )  # fmt: skip
                    if degree > 0:
                        d_mean = mixed(1.0, d_mean, 1.0, masked(visible, turned))
            d_matrix = (scaled(d_0, scale), scaled(d_1, scale), scaled(d_2, scale))
            d_scale = (
                fma(d_0[0], matrix[0][0], fma(d_1[0], matrix[1][0], d_2[0] * matrix[2][0])),
                fma(d_0[1], matrix[0][1], fma(d_1[1], matrix[1][1], d_2[1] * matrix[2][1])),
                fma(d_0[2], matrix[0][2], fma(d_1[2], matrix[1][2], d_2[2] * matrix[2][2])),
            )
            opacity = load_lanes(opacities, first, first_lanes(count))
            d_opacity = select(opacity > 0.0, d_opacity / opacity, 0.0)
            add_triples(d_means, first, count, d_mean)
            add_triples(d_scales, first, count, d_scale)
            d_quat = quaternion_gradient(d_matrix, q, inverse_norm)
            w, x, y, z = load_quads(d_quats, first, count)
            store_quads(d_quats, first, count, (w + d_quat[0], x + d_quat[1], y + d_quat[2], z + d_quat[3]))
            before = load_lanes(d_opacities, first, first_lanes(count))
            store_lanes(d_opacities, first, before + d_opacity, first_lanes(count))
