"""From the splats' gradients to the Gaussians', sixteen Gaussians at a time: the backward of `projection_kernels`."""

import numpy as np

from headsup_cli.rendering.compilation import inline, kernel
from headsup_cli.rendering.layout import (
    ANTIALIASED,
    CAMERA,
    CHUNK,
    COUNTED,
    EPS2D,
    FOCAL_X,
    FOCAL_Y,
    GAUSSIAN,
    GROUP,
    ROW,
    ROWS,
    SLOT,
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
    TILES_HIGH,
    TILES_WIDE,
)
from headsup_cli.rendering.packing_kernels import add_triples, load_quads, load_triples, store_quads
from headsup_cli.rendering.projection_kernels import (
    HALF_LOG2_E,
    LN_2,
    SH_0,
    base_colours,
    camera_point,
    camera_row,
    clamped_slopes,
    dot,
    jacobian_row,
    raw_colours,
    root_of_covariance,
    scaled,
    sh_basis,
    square_root_rows,
    squared_area,
    view_direction,
    whitening,
)
from headsup_cli.rendering.simd import (
    LANES,
    add_strided,
    broadcast,
    first_lanes,
    fma,
    integers,
    load,
    load_lanes,
    load_strided,
    mask_of,
    maximum,
    pointer,
    select,
    stack,
    store,
    store_lanes,
    take_ticket,
    use_full_width,
)

_WORK = ROW * LANES


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
def zero(array, start, stop):
    """Fill array[start:stop] with 0."""
    for at in range(start, stop):
        array[at] = 0.0


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
def sh_backward(gained, view, mean, base, coefficients, degree, bands, first, count, cameras, basis, d_coefficients):
    """Add the gradients by the coefficients above degree 0, from the colours' (`gained`).

    Returns the gradients by the colours before the clamp, and by the mean, which turns the viewing direction.
    """
    direction, inverse = view_direction(cameras, view, mean)
    sh_basis(degree, direction, basis)
    raw = raw_colours(base, coefficients, degree, bands, first, count, basis)
    d_red, d_green, d_blue = unclamped(gained, raw)
    at, stride, lanes = 3 * bands * first, 3 * bands, first_lanes(count)
    for k in range(1, (degree + 1) * (degree + 1)):
        value = load(basis, LANES * k)
        red = load_strided(coefficients, at + 3 * k, stride, count)
        green = load_strided(coefficients, at + 3 * k + 1, stride, count)
        blue = load_strided(coefficients, at + 3 * k + 2, stride, count)
        add_strided(d_coefficients, at + 3 * k, stride, value * d_red, lanes)
        add_strided(d_coefficients, at + 3 * k + 1, stride, value * d_green, lanes)
        add_strided(d_coefficients, at + 3 * k + 2, stride, value * d_blue, lanes)
        store(basis, LANES * k, fma(red, d_red, fma(green, d_green, blue * d_blue)))
    slopes = sh_slopes(degree, direction, basis)
    radial = dot(slopes, direction)
    turned = (
        (slopes[0] - radial * direction[0]) * inverse,
        (slopes[1] - radial * direction[1]) * inverse,
        (slopes[2] - radial * direction[2]) * inverse,
    )
    return (d_red, d_green, d_blue), turned


@inline
def unclamped(gained, raw):
    """Gradients by colours, where these were not clamped to 0."""
    return (
        select(raw[0] >= 0.0, gained[0], 0.0),
        select(raw[1] >= 0.0, gained[1], 0.0),
        select(raw[2] >= 0.0, gained[2], 0.0),
    )


@inline
def add_base_colours(d_coefficients, degree, bands, first, count, d_colour):
    """Add the gradients by `base_colours`, of all views."""
    share = 1.0 if degree < 0 else SH_0
    red, green, blue = share * d_colour[0], share * d_colour[1], share * d_colour[2]
    if bands == 1:
        add_triples(d_coefficients, first, count, (red, green, blue))
    else:
        at, stride, lanes = 3 * bands * first, 3 * bands, first_lanes(count)
        add_strided(d_coefficients, at, stride, red, lanes)
        add_strided(d_coefficients, at + 1, stride, green, lanes)
        add_strided(d_coefficients, at + 2, stride, blue, lanes)


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
def in_group(row, end, first, ints):
    """Whether a row is before `end` and belongs to the group that begins at Gaussian `first`."""
    return row < end and ints[row * ROW + GAUSSIAN] < first + GROUP


@inline
def sum_group_slots(sums, row, end, first, ints, slots, written):
    """Fill `sums`, sixteen rows of ten, with what a group's splats of a view gathered over their tiles.

    The group's rows are those from `row` on. Returns the row after them, and which Gaussians they are as bits.
    """
    for i in range(LANES):
        store(sums, i * ROW, broadcast(sums, 0.0))
    bits = np.uint32(0)
    while in_group(row, end, first, ints):
        at = row * ROW
        lane, start = ints[at + GAUSSIAN] - first, np.int64(ints[at + SLOT])
        total = broadcast(sums, 0.0)
        for slot in range(start, start + np.int64(ints[at + TILES_WIDE]) * ints[at + TILES_HIGH]):
            if written[slot] != 0:
                total += load(slots, slot * ROW)
        store(sums, lane * ROW, total)
        bits |= np.uint32(1) << np.uint32(lane)
        row += 1
    return row, bits


@inline
def add_view(totals, view, mean, factor, gradients, visible, cameras, settings):
    """Add a view's share to the gradients by the means and by the rows of the covariances' square root."""
    d_mean, d_0, d_1, d_2 = gradients
    point = camera_point(cameras, view, mean)
    d_point, d_factor = project_group_backward(totals, view, point, factor, cameras, settings)
    d_point = masked(visible, d_point)
    right, down, forward = camera_row(cameras, view, 0), camera_row(cameras, view, 1), camera_row(cameras, view, 2)
    turned = mixed(1.0, mixed(d_point[0], right, d_point[1], down), d_point[2], forward)
    return (
        mixed(1.0, d_mean, 1.0, turned),
        mixed(1.0, d_0, 1.0, masked(visible, d_factor[0])),
        mixed(1.0, d_1, 1.0, masked(visible, d_factor[1])),
        mixed(1.0, d_2, 1.0, masked(visible, d_factor[2])),
    )


@inline
def add_geometry(first, count, made_of, opacities, d_factor, d_mean, d_opacity, d_gaussians):
    """Add a group's gradients to the arrays, all but the colours'."""
    matrix, scale, q, inverse_norm = made_of
    d_means, d_quats, d_scales, d_opacities, _ = d_gaussians
    d_0, d_1, d_2 = d_factor
    d_matrix = (scaled(d_0, scale), scaled(d_1, scale), scaled(d_2, scale))
    d_scale = (
        fma(d_0[0], matrix[0][0], fma(d_1[0], matrix[1][0], d_2[0] * matrix[2][0])),
        fma(d_0[1], matrix[0][1], fma(d_1[1], matrix[1][1], d_2[1] * matrix[2][1])),
        fma(d_0[2], matrix[0][2], fma(d_1[2], matrix[1][2], d_2[2] * matrix[2][2])),
    )
    add_triples(d_means, first, count, d_mean)
    add_triples(d_scales, first, count, d_scale)
    d_quat = quaternion_gradient(d_matrix, q, inverse_norm)
    w, x, y, z = load_quads(d_quats, first, count)
    store_quads(d_quats, first, count, (w + d_quat[0], x + d_quat[1], y + d_quat[2], z + d_quat[3]))
    lanes = first_lanes(count)
    opacity, before = load_lanes(opacities, first, lanes), load_lanes(d_opacities, first, lanes)
    store_lanes(d_opacities, first, before + select(opacity > 0.0, d_opacity / opacity, 0.0), lanes)


@inline
def backpropagate_group(
    first, count, views, spans, gaussians, degree, cameras, settings, ints, slots, written, d_gaussians, work
):  # fmt: skip
    """Add up the gradients of sixteen Gaussians over the views, and add them to the arrays.

    `spans` holds, per view, the chunk's first row that is not done yet and the row after its last.
    """
    means, quats, scales, opacities, coefficients, bands = gaussians
    d_coefficients = d_gaussians[4]
    sums, basis = work
    nothing = broadcast(means, 0.0)
    mean = load_triples(means, first, count)
    factor, matrix, scale, q, inverse_norm = root_of_covariance(quats, scales, first, count)
    none = nothing, nothing, nothing
    d_opacity, d_colour, d_mean, d_0, d_1, d_2 = nothing, none, none, none, none, none
    base = base_colours(coefficients, degree, bands, first, count)
    for view in range(views):
        if not in_group(spans[2 * view], spans[2 * view + 1], first, ints):
            continue
        spans[2 * view], bits = sum_group_slots(sums, spans[2 * view], spans[2 * view + 1], first, ints, slots, written)
        visible, totals = mask_of(bits), load_totals(sums)
        d_mean, d_0, d_1, d_2 = add_view(
            totals, view, mean, factor, (d_mean, d_0, d_1, d_2), visible, cameras, settings
        )
        d_opacity += totals[SUM]
        gained = totals[SUM_RED], totals[SUM_GREEN], totals[SUM_BLUE]
        if degree > 0:
            gained, turned = sh_backward(
                gained, view, mean, base, coefficients, degree, bands, first, count, cameras, basis, d_coefficients
            )
            d_mean = mixed(1.0, d_mean, 1.0, turned)
        elif degree == 0:
            gained = unclamped(gained, base)
        d_colour = mixed(1.0, d_colour, 1.0, gained)
    add_base_colours(d_coefficients, degree, bands, first, count, d_colour)
    made_of = matrix, scale, q, inverse_norm
    add_geometry(first, count, made_of, opacities, (d_0, d_1, d_2), d_mean, d_opacity, d_gaussians)


@inline
def zero_chunk(start, stop, d_gaussians, bands):
    """Fill a chunk's gradients with 0."""
    d_means, d_quats, d_scales, d_opacities, d_coefficients = d_gaussians
    zero(d_means, 3 * start, 3 * stop)
    zero(d_quats, 4 * start, 4 * stop)
    zero(d_scales, 3 * start, 3 * stop)
    zero(d_opacities, start, stop)
    zero(d_coefficients, 3 * bands * start, 3 * bands * stop)


@kernel
def backpropagate_views(
    tickets, means, quats, scales, opacities, coefficients, degree, cameras, settings, firsts, rows, slots, written,
    adding, d_means, d_quats, d_scales, d_opacities, d_coefficients,
):  # fmt: skip
    """From the splats' slots to the gradients of the Gaussians, a chunk of Gaussians per ticket.

    `firsts` [views * chunks + 1, COUNTED] say where the rows of a view's chunk begin. Writes d_*, or adds to them where
    `adding` is not 0.
    """
    use_full_width()
    n, views, chunks = opacities.size, cameras.shape[0], (opacities.size + CHUNK - 1) // CHUNK
    bands = coefficients.size // (3 * n)
    gaussians = (
        pointer(means), pointer(quats), pointer(scales), pointer(opacities), pointer(coefficients), bands
    )  # fmt: skip
    d_gaussians = pointer(d_means), pointer(d_quats), pointer(d_scales), pointer(d_opacities), pointer(d_coefficients)
    cameras, settings, ints, firsts = pointer(cameras), pointer(settings), integers(rows), pointer(firsts)
    slots, written = pointer(slots), pointer(written)
    work, spans = (stack(means, _WORK), stack(means, _WORK)), np.empty(2 * views, np.int64)
    while True:
        chunk = take_ticket(tickets)
        if chunk >= chunks:
            return
        start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, n)
        if adding == 0:
            zero_chunk(start, stop, d_gaussians, bands)
        for view in range(views):
            at = (view * chunks + chunk) * COUNTED + ROWS
            spans[2 * view], spans[2 * view + 1] = firsts[at], firsts[at + COUNTED]
        for first in range(start, stop, GROUP):
            seen = False
            for view in range(views):
                seen |= in_group(spans[2 * view], spans[2 * view + 1], first, ints)
            if seen:
                backpropagate_group(
                    first, stop - first, views, spans, gaussians, degree, cameras, settings, ints, slots, written,
                    d_gaussians, work,
                )  # fmt: skip
