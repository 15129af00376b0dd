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
    COUNTED,
    DEPTH,
    EPS2D,
    FAR,
    FOCAL_X,
    FOCAL_Y,
    GAUSSIAN,
    GREEN,
    GROUP,
    HEIGHT,
    LOG2_255,
    NEAR,
    POSITION,
    RADIUS_CLIP,
    RED,
    ROTATION,
    ROW,
    ROWS,
    SLOT,
    SLOTS,
    TILE,
    TILE_X,
    TILE_Y,
    TILES_HIGH,
    TILES_WIDE,
    TRANSLATION,
    WIDTH,
)
from headsup_cli.rendering.packing_kernels import load_quads, load_triples
from headsup_cli.rendering.simd import (
    LANES,
    bit_count,
    bits_of,
    broadcast,
    ceil,
    first_lanes,
    floor,
    fma,
    integers,
    lane_bits,
    lane_sums,
    load,
    load_lanes,
    load_strided,
    log2,
    maximum,
    minimum,
    moved,
    pointer,
    select,
    square_root,
    stack,
    store,
    take_ticket,
    trailing_zeros,
    transpose,
    use_full_width,
)

_WORK = ROW * LANES
HALF_LOG2_E = float(0.5 * np.log2(np.e))
LN_2 = float(np.log(2.0))
SH_0 = 0.2820947917738781


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
def root_of_covariance(quats, scales, first, count):
    """Rows of M, with M M^T the covariances of sixteen Gaussians in the world, and what they are made of.

    That is the rotation's rows, the scales, the unit quaternion and 1 / its length before.
    """
    q, inverse_norm = unit_quaternion(load_quads(quats, first, count))
    scale, matrix = load_triples(scales, first, count), rotation_rows(q)
    factor = (scaled(matrix[0], scale), scaled(matrix[1], scale), scaled(matrix[2], scale))
    return factor, matrix, scale, q, inverse_norm


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
def view_direction(cameras, view, mean):
    """Unit direction from the camera to the means, and 1 / distance."""
    at = view * CAMERA + POSITION
    x, y, z = mean[0] - cameras[at], mean[1] - cameras[at + 1], mean[2] - cameras[at + 2]
    inverse = 1.0 / square_root(maximum(dot((x, y, z), (x, y, z)), 1e-30))
    return (x * inverse, y * inverse, z * inverse), inverse


@inline
def base_colours(coefficients, degree, bands, first, count):
    """What of the colours is the same from everywhere: those given (degree -1), or 0.5 and the first harmonic."""
    if bands == 1:
        red, green, blue = load_triples(coefficients, first, count)
    else:
        at, stride = 3 * bands * first, 3 * bands
        red, green = load_strided(coefficients, at, stride, count), load_strided(coefficients, at + 1, stride, count)
        blue = load_strided(coefficients, at + 2, stride, count)
    if degree < 0:
        return red, green, blue
    return fma(red, SH_0, 0.5), fma(green, SH_0, 0.5), fma(blue, SH_0, 0.5)


@inline
def raw_colours(base, coefficients, degree, bands, first, count, basis):
    """0.5 + SH at a basis already evaluated, before the clamp at 0, from `base_colours` on."""
    at, stride = 3 * bands * first, 3 * bands
    red, green, blue = base
    for k in range(1, (degree + 1) * (degree + 1)):
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
def tile_range(centre, reach, size):
    """First tile and number of tiles whose pixel centres lie within `reach` of `centre`; the mask of those with any."""
    slack = reach * 1e-5 + 1e-3
    low = maximum(ceil(centre - reach - slack - 0.5), 0.0)
    high = minimum(floor(centre + reach + slack - 0.5), size - 1.0)
    first = floor(low * (1.0 / TILE))
    return first, floor(maximum(high, 0.0) * (1.0 / TILE)) - first + 1.0, low <= high


@inline
def project_group(view, point, root, opacities, cameras, settings, lanes):
    """Project sixteen Gaussians into one view: which can show in the image, their splats and the tiles these reach.

    A splat is the projected mean (x, y), the covariance (xx, xy, yy) and its determinant, and log2 of the opacity.
    """
    inverse_z = 1.0 / point[2]
    slope_x, slope_y = clamped_slopes(cameras, settings, view, point, inverse_z)
    forward = camera_row(cameras, view, 2)
    focal_x = cameras[view * CAMERA + FOCAL_X] * inverse_z
    focal_y = cameras[view * CAMERA + FOCAL_Y] * inverse_z
    a = square_root_rows(jacobian_row(focal_x, slope_x, camera_row(cameras, view, 0), forward), root)
    b = square_root_rows(jacobian_row(focal_y, slope_y, camera_row(cameras, view, 1), forward), root)
    eps2d = settings[EPS2D]
    sharp_xx, xy, sharp_yy = dot(a, a), dot(a, b), dot(b, b)
    sharp_determinant = squared_area(a, b)
    determinant = sharp_determinant + eps2d * (sharp_xx + sharp_yy + eps2d)
    xx, yy = sharp_xx + eps2d, sharp_yy + eps2d
    opacity, log2_opacity = opacities
    if settings[ANTIALIASED] > 0.0:
        opacity = opacity * square_root(sharp_determinant / determinant)
        log2_opacity = log2(maximum(opacity, 1e-6))
    x = fma(focal_x, point[0], broadcast(opacity, cameras[view * CAMERA + CENTRE_X]))
    y = fma(focal_y, point[1], broadcast(opacity, cameras[view * CAMERA + CENTRE_Y]))
    # Where alpha falls to 1/255, at most 3.33 standard deviations out: gsplat's opacity-aware extent
    squared_extent = minimum(2.0 * LN_2 * (log2_opacity + LOG2_255), 3.33 * 3.33)
    reach_x = square_root(maximum(squared_extent * xx, 0.0))
    reach_y = square_root(maximum(squared_extent * yy, 0.0))
    clip = settings[RADIUS_CLIP]
    left, wide, inside_x = tile_range(x, reach_x, settings[WIDTH])
    top, high, inside_y = tile_range(y, reach_y, settings[HEIGHT])
    visible = lanes & (determinant > 0.0) & (opacity >= 1.0 / 255.0) & inside_x & inside_y
    visible &= (ceil(reach_x) > clip) | (ceil(reach_y) > clip)
    return visible, (x, y, xx, xy, yy, determinant, log2_opacity), (left, top, wide, high)


@inline
def store_group(fields, marks, splats, depth, tiles):
    """Fill all `fields` of sixteen splats (`marks`: the integers among them) but those of the colour."""
    x, y, xx, xy, yy, determinant, log2_opacity = splats
    wxx, wxy, wyy = whitening(xx, xy, yy, determinant)
    store(fields, 0, x)
    store(fields, LANES, y)
    store(fields, 2 * LANES, wxx)
    store(fields, 3 * LANES, wxy)
    store(fields, 4 * LANES, wyy)
    store(fields, 5 * LANES, log2_opacity)
    store(fields, DEPTH * LANES, depth)
    store(marks, TILE_X * LANES, tiles[0])
    store(marks, TILE_Y * LANES, tiles[1])
    store(marks, TILES_WIDE * LANES, tiles[2])
    store(marks, TILES_HIGH * LANES, tiles[3])


@inline
def colour_group(fields, view, mean, base, coefficients, degree, bands, first, count, cameras, basis):
    """Fill RED .. BLUE of `fields`."""
    red, green, blue = base
    if degree > 0:
        direction, _ = view_direction(cameras, view, mean)
        sh_basis(degree, direction, basis)
        red, green, blue = raw_colours(base, coefficients, degree, bands, first, count, basis)
    if degree >= 0:
        red, green, blue = maximum(red, 0.0), maximum(green, 0.0), maximum(blue, 0.0)
    store(fields, RED * LANES, red)
    store(fields, GREEN * LANES, green)
    store(fields, BLUE * LANES, blue)


@inline
def count_tiles(tile_counts, left, top, wide, high, stride):
    """Count a splat in each tile it touches, at four corners: sums along both axes make them counts."""
    first = top * stride + left
    tile_counts[first] += 1
    tile_counts[first + wide] -= 1
    tile_counts[first + high * stride] -= 1
    tile_counts[first + high * stride + wide] += 1


@inline
def put_rows(bits, first, fields, marks, cursor, rows, ints, keys, rectangles, tile_counts, stride):
    """Append the visible of the group that begins at Gaussian `first` to the rows of a view, at its `cursor`."""
    transpose(fields)
    row, slot = cursor[ROWS], cursor[SLOTS]
    while bits != 0:
        lane = trailing_zeros(bits)
        bits &= bits - np.uint32(1)
        at = lane * ROW
        left, top = np.int64(marks[at + TILE_X]), np.int64(marks[at + TILE_Y])
        wide, high = np.int64(marks[at + TILES_WIDE]), np.int64(marks[at + TILES_HIGH])
        store(rows, row * ROW, load(fields, at))
        ints[row * ROW + SLOT], ints[row * ROW + GAUSSIAN] = slot, first + lane
        keys[row] = bits_of(fields[at + DEPTH])
        rectangles[row] = np.uint64(left | top << 16 | (left + wide) << 32 | (top + high) << 48)
        count_tiles(tile_counts, left, top, wide, high, stride)
        slot += wide * high
        row += 1
    cursor[ROWS], cursor[SLOTS] = row, slot


@inline
def load_group(first, n, means, quats, scales, opacities):
    """Of sixteen Gaussians the means, covariances' roots, opacities and their log2, and the mask of those there are."""
    count = n - first
    lanes = first_lanes(count)
    root, _, _, _, _ = root_of_covariance(quats, scales, first, count)
    opacity = load_lanes(opacities, first, lanes)
    return load_triples(means, first, count), root, (opacity, log2(maximum(opacity, 1e-6))), lanes


@inline
def within_depths(point, settings, lanes):
    """The mask of those between the near and the far plane."""
    return lanes & (point[2] >= settings[NEAR]) & (point[2] <= settings[FAR])


@kernel
def count_visible(
    tickets, means, quats, scales, opacities, coefficients, cameras, settings, counts, flags
):  # fmt: skip
    """Count what `layout` lists, [views, chunks, COUNTED], a chunk of Gaussians per ticket.

    The memory for a view's splats is taken once it is known how many there are, so that it does not grow with the
    Gaussians that a view does not show. Sets `flags[i]` where the i-th attribute holds NaN or infinity.
    """
    use_full_width()
    n, (views, chunks, _) = opacities.size, counts.shape
    channels = coefficients.size // n if n else 0
    means, quats, scales, opacities = pointer(means), pointer(quats), pointer(scales), pointer(opacities)
    coefficients, cameras, settings, flags = pointer(coefficients), pointer(cameras), pointer(settings), pointer(flags)
    counts, touched = pointer(counts), stack(means, LANES)
    while True:
        chunk = take_ticket(tickets)
        if chunk >= chunks:
            return
        last = min((chunk + 1) * CHUNK, n)
        flag_non_finite(flags, chunk * CHUNK, last, means, quats, scales, opacities, coefficients, channels)
        for first in range(chunk * CHUNK, last, GROUP):
            mean, root, opacity, lanes = load_group(first, n, means, quats, scales, opacities)
            for view in range(views):
                point, tally = camera_point(cameras, view, mean), moved(counts, (view * chunks + chunk) * COUNTED)
                visible = within_depths(point, settings, lanes)
                if lane_bits(visible) == 0:
                    continue
                visible, _, tiles = project_group(view, point, root, opacity, cameras, settings, visible)
                store(touched, 0, lane_sums((select(visible, tiles[2] * tiles[3], 0.0),)))
                tally[ROWS] += bit_count(lane_bits(visible))
                tally[SLOTS] += np.int64(touched[0])


@inline
def project_chunk(chunk, shape, gaussians, degree, cameras, settings, cursors, tables, work):
    """Project the Gaussians of a chunk into all views, one group after another."""
    n, views, chunks, tiles, stride = shape
    means, quats, scales, opacities, coefficients, bands = gaussians
    rows, ints, keys, rectangles, tile_counts = tables
    fields, marks, basis = work
    for first in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n), GROUP):
        mean, root, opacity, lanes = load_group(first, n, means, quats, scales, opacities)
        base = base_colours(coefficients, degree, bands, first, n - first)
        for view in range(views):
            point = camera_point(cameras, view, mean)
            visible = within_depths(point, settings, lanes)
            if lane_bits(visible) == 0:
                continue
            visible, splats, touched = project_group(view, point, root, opacity, cameras, settings, visible)
            bits = lane_bits(visible)
            if bits != 0:
                store_group(fields, marks, splats, point[2], touched)
                colour_group(
                    fields, view, mean, base, coefficients, degree, bands, first, n - first, cameras, basis
                )  # fmt: skip
                put_rows(
                    bits, first, fields, marks, moved(cursors, (view * chunks + chunk) * COUNTED), rows, ints, keys,
                    rectangles, moved(tile_counts, view * tiles), stride,
                )  # fmt: skip


@kernel
def project_views(
    tickets, means, quats, scales, opacities, coefficients, degree, cameras, settings,
    cursors, rows, keys, rectangles, tile_counts,
):  # fmt: skip
    """Project all Gaussians into all views, a chunk of Gaussians per ticket; `degree` -1 means colours, not SH.

    `cursors` [views, chunks, COUNTED] say where the rows and slots of a view's chunk begin. The visible Gaussians fill
    `rows`, with their depth's bits in `keys` and their rectangle of tiles in `rectangles`, packed into 64 bits.
    `tile_counts` [threads, views, (tiles high + 1) * (tiles wide + 1)] is what each thread counted (`count_tiles`).
    """
    use_full_width()
    n, (views, chunks, _), tiles = opacities.size, cursors.shape, tile_counts.shape[2]
    bands = coefficients.size // (3 * n) if n else 0
    stride = (np.int64(settings[WIDTH]) + TILE - 1) // TILE + 1
    tile_counts = moved(tile_counts, take_ticket(moved(tickets, 1)) * views * tiles)
    tables = pointer(rows), integers(rows), pointer(keys), pointer(rectangles), tile_counts
    cursors, cameras, settings = pointer(cursors), pointer(cameras), pointer(settings)
    gaussians = (
        pointer(means), pointer(quats), pointer(scales), pointer(opacities), pointer(coefficients), bands
    )  # fmt: skip
    fields, basis = stack(means, _WORK), stack(means, _WORK)
    while True:
        chunk = take_ticket(tickets)
        if chunk >= chunks:
            return
        project_chunk(
            chunk, (n, views, chunks, tiles, stride), gaussians, degree, cameras, settings, cursors, tables,
            (fields, integers(fields), basis),
        )  # fmt: skip
