"""Alpha compositing of rows, front to back, and its backward: a tile of 16x16 pixels per ticket.

A tile is sixteen blocks of 4x4 pixels, a block is one vector. Each splat first asks, for all sixteen blocks at once,
which it can reach and which are not finished, and visits only those. Alpha is 2^(log2 opacity - u^2 - v^2), with
(u, v) = W (pixel - mean). Stopped pixels carry a negative transmittance.
"""

import numpy as np

from headsup_cli.rendering.compilation import inline, kernel
from headsup_cli.rendering.layout import (
    BLOCK,
    BLUE,
    CHUNK,
    DEPTH,
    GREEN,
    HEIGHT,
    LOG2_255,
    LOG2_OPACITY,
    RED,
    ROW,
    SLOT,
    TILE,
    TILE_X,
    TILE_Y,
    TILES_WIDE,
    WIDTH,
    WXX,
    WXY,
    WYY,
    X,
    Y,
)
from headsup_cli.rendering.simd import (
    EXP2_CONSTANTS,
    LANES,
    absolute,
    bit_column,
    broadcast,
    exp2,
    first_lanes,
    fma,
    lane_bits,
    lane_sums,
    load,
    load_fields,
    load_lanes,
    maximum,
    minimum,
    pack,
    pointer,
    prefetch,
    select,
    shuffle,
    stack,
    store,
    store_lanes,
    take_ticket,
    trailing_zeros,
    use_full_width,
)

STOP = 1e-4  # transmittance below which a pixel takes no more splats
PADDING = 2 * LANES  # entries read past a tile's list
BATCH = 128  # splats of a tile that are drawn before the next are looked at
LIST = BATCH + LANES  # room for a block's list
_STATE = 6 * LANES * LANES  # numbers kept for a tile: six vectors a block
_LISTS = LANES * LIST
REACH = LOG2_255 + 0.01  # of a splat with opacity 1: log2 of what is drawn, and a little for rounding
HALF_BLOCK = 0.5 * (BLOCK - 1)  # from a block's centre to its outermost pixel centres

_lane = np.arange(LANES)
_BLOCK_X, _BLOCK_Y = _lane % 4 * BLOCK - 6.0, _lane // 4 * BLOCK - 6.0
# Positions from the tile's centre: the blocks' centres, x then y, and for each block its pixels' x, then y
GRID = np.concatenate(
    [_BLOCK_X, _BLOCK_Y]
    + [
        part
        for x, y in zip(_BLOCK_X, _BLOCK_Y, strict=True)
        for part in (x + _lane % BLOCK - 1.5, y + _lane // BLOCK - 1.5)
    ]
    + [np.array(EXP2_CONSTANTS)]
)
_CONSTANTS = 2 * LANES + 2 * LANES * LANES  # where the last of these begin

_RGB_ROWS = [shuffle(3, tuple(i % 3 * 16 + 4 * y + i // 3 if i < 12 else -1 for i in range(16))) for y in range(4)]
_ROWS_RGB = [shuffle(4, tuple(i // 4 * 16 + i % 4 * 3 + c for i in range(16))) for c in range(3)]
_PLANE_ROWS = [shuffle(3, tuple(4 * y + i if i < 4 else -1 for i in range(16))) for y in range(4)]
_ROWS_PLANE = shuffle(4, tuple(i // 4 * 16 + i % 4 for i in range(16)))
_rgb_row_0, _rgb_row_1, _rgb_row_2, _rgb_row_3 = _RGB_ROWS
_plane_row_0, _plane_row_1, _plane_row_2, _plane_row_3 = _PLANE_ROWS
_red_of, _green_of, _blue_of = _ROWS_RGB


@inline
def load_plane(image, at, width, columns, lines):
    """A block of a [h, w] image whose first pixel stands at `at`; 0 beyond `columns` and `lines`."""
    r0 = load_lanes(image, at, first_lanes(min(columns, 4) if lines > 0 else 0))
    r1 = load_lanes(image, at + width, first_lanes(min(columns, 4) if lines > 1 else 0))
    r2 = load_lanes(image, at + 2 * width, first_lanes(min(columns, 4) if lines > 2 else 0))
    r3 = load_lanes(image, at + 3 * width, first_lanes(min(columns, 4) if lines > 3 else 0))
    return _ROWS_PLANE(r0, r1, r2, r3)


@inline
def load_rgb(image, at, width, columns, lines):
    """A block of a [h, w, 3] image as three vectors; 0 beyond `columns` and `lines`."""
    lanes = 3 * min(columns, 4)
    r0 = load_lanes(image, 3 * at, first_lanes(lanes if lines > 0 else 0))
    r1 = load_lanes(image, 3 * (at + width), first_lanes(lanes if lines > 1 else 0))
    r2 = load_lanes(image, 3 * (at + 2 * width), first_lanes(lanes if lines > 2 else 0))
    r3 = load_lanes(image, 3 * (at + 3 * width), first_lanes(lanes if lines > 3 else 0))
    return _red_of(r0, r1, r2, r3), _green_of(r0, r1, r2, r3), _blue_of(r0, r1, r2, r3)


@inline
def store_plane(image, at, width, columns, lines, value):
    """The opposite of `load_plane`."""
    lanes = min(columns, 4)
    store_lanes(image, at, _plane_row_0(value, value, value), first_lanes(lanes if lines > 0 else 0))
    store_lanes(image, at + width, _plane_row_1(value, value, value), first_lanes(lanes if lines > 1 else 0))
    store_lanes(image, at + 2 * width, _plane_row_2(value, value, value), first_lanes(lanes if lines > 2 else 0))
    store_lanes(image, at + 3 * width, _plane_row_3(value, value, value), first_lanes(lanes if lines > 3 else 0))


@inline
def store_rgb(image, at, width, columns, lines, r, g, b):
    """The opposite of `load_rgb`."""
    lanes = 3 * min(columns, 4)
    store_lanes(image, 3 * at, _rgb_row_0(r, g, b), first_lanes(lanes if lines > 0 else 0))
    store_lanes(image, 3 * (at + width), _rgb_row_1(r, g, b), first_lanes(lanes if lines > 1 else 0))
    store_lanes(image, 3 * (at + 2 * width), _rgb_row_2(r, g, b), first_lanes(lanes if lines > 2 else 0))
    store_lanes(image, 3 * (at + 3 * width), _rgb_row_3(r, g, b), first_lanes(lanes if lines > 3 else 0))


@inline
def tile_place(tile, tiles_wide, tiles_high, width, height):
    """View, left and top pixel of a tile counted over all views, and the index of its first pixel."""
    view, place = divmod(tile, tiles_wide * tiles_high)
    top, left = place // tiles_wide * TILE, place % tiles_wide * TILE
    return view, left, top, (view * height + top) * width + left


@inline
def block_place(block, left, top, first_pixel, width, height):
    """Index of a block's first pixel, and how many columns and lines of the image are left there (may be negative)."""
    x, y = block % 4 * BLOCK, block // 4 * BLOCK
    return first_pixel + y * width + x, width - left - x, height - top - y


@inline
def inside_image(grid, columns, lines):
    """The pixels of a block that lie in the image, and whether there are any."""
    inside = (load(grid, 2 * LANES) + 7.5 < columns) & (load(grid, 3 * LANES) + 7.5 < lines)
    return inside, lane_bits(inside) != 0


@inline
def exp2_constants(grid):
    """Vectors of `EXP2_CONSTANTS`."""
    return (
        broadcast(grid, grid[_CONSTANTS]), broadcast(grid, grid[_CONSTANTS + 1]),
        broadcast(grid, grid[_CONSTANTS + 2]), broadcast(grid, grid[_CONSTANTS + 3]),
        broadcast(grid, grid[_CONSTANTS + 4]), broadcast(grid, grid[_CONSTANTS + 5]),
        broadcast(grid, grid[_CONSTANTS + 6]),
    )  # fmt: skip


@inline
def meet(entry, entries, rows, base, left, top, meetings):
    """For each block of a tile, which of sixteen splats reach it, as the bits of `meetings`.

    A block is reached if it holds a pixel with alpha >= 1/255, and a little oftener: over a block, u and v stray from
    their value at its centre by at most HALF_BLOCK (|wxx| + |wxy|) and HALF_BLOCK wyy.
    """
    x, y, wxx, wxy, wyy, log2_opacity, _, _ = load_fields(rows, base, entries, entry)
    half_u, half_v = HALF_BLOCK * (wxx + absolute(wxy)), HALF_BLOCK * wyy
    budget = log2_opacity + REACH
    for i in range(4):
        dy = (top + (BLOCK * i + BLOCK // 2)) - y
        v = maximum(absolute(wyy * dy) - half_v, 0.0)
        shear, left_over = wxy * dy, fma(-v, v, budget)
        for j in range(4):
            u = maximum(absolute(fma(wxx, (left + (BLOCK * j + BLOCK // 2)) - x, shear)) - half_u, 0.0)
            meetings[4 * i + j] = lane_bits(u * u <= left_over)


@inline
def fetch(entry, entries, rows, base):
    """Ask for the rows of sixteen splats of a tile."""
    for i in range(LANES):
        prefetch(rows, base + np.int64(entries[entry + i]) * ROW)


@inline
def list_blocks(start, stop, entries, rows, base, left, top, alive, meetings, lists, counts):
    """List, for each live block of a tile, the rows of those splats start..stop of its list that reach it."""
    for block in range(LANES):
        counts[block] = 0
    for entry in range(start, stop, LANES):
        fetch(entry + LANES, entries, rows, base)
        meet(entry, entries, rows, base, left, top, meetings)
        wanted = np.uint32(0xFFFF) >> np.uint32(max(entry + LANES - stop, 0))
        for block in range(LANES):
            bits = np.uint32(meetings[block]) & wanted if alive >> np.uint32(block) & np.uint32(1) else np.uint32(0)
            counts[block] += pack(lists, block * LIST + counts[block], entries, entry, bits)


@inline
def pixel_centres(grid, block, left, top):
    """X and y of a block's pixel centres."""
    x, y = load(grid, (2 + 2 * block) * LANES), load(grid, (3 + 2 * block) * LANES)
    return x + (left + TILE // 2), y + (top + TILE // 2)


@inline
def log2_alpha(x, y, rows, at):
    """Of the splat whose row begins at `at`, at pixel centres (x, y)."""
    dy = y - rows[at + Y]
    u = fma(rows[at + WXX], x - rows[at + X], rows[at + WXY] * dy)
    v = rows[at + WYY] * dy
    return fma(-u, u, fma(-v, v, broadcast(rows, rows[at + LOG2_OPACITY])))


@inline
def alpha_of(power, constants, least, most, nothing):
    """2^power, at most `most`, and 0 where it is below 1/255."""
    return select(power >= least, minimum(exp2(power, constants), most), nothing)


@inline
def draw_block(first, last, lists, rows, base, x, y, state, place, constants, least, most, stop_at):
    """Draw the splats of a block's list over its pixels, centres (x, y); return whether any pixel takes more.

    The next splat's alpha and the one after's exponent are computed meanwhile: a processor's scheduler is too small to
    look that far ahead.
    """
    light, left = load(state, place), load(state, place + LANES)
    r, g, b = load(state, place + 2 * LANES), load(state, place + 3 * LANES), load(state, place + 4 * LANES)
    z = load(state, place + 5 * LANES)
    nothing = broadcast(state, 0.0)
    goes_on = light > nothing
    at, next_at = base + np.int64(lists[first]) * ROW, base + np.int64(lists[first + 1]) * ROW
    opacity = alpha_of(log2_alpha(x, y, rows, at), constants, least, most, nothing)
    next_power = log2_alpha(x, y, rows, next_at)
    for i in range(first, last):
        after_next_at = base + np.int64(lists[i + 2]) * ROW
        after_next_power = log2_alpha(x, y, rows, after_next_at)
        next_opacity = alpha_of(next_power, constants, least, most, nothing)
        after = fma(-light, opacity, light)
        goes_on = after > stop_at
        weight = select(goes_on, light * opacity, nothing)
        light = select(goes_on, after, nothing)
        left = select(goes_on, after, left)
        r, g = fma(weight, rows[at + RED], r), fma(weight, rows[at + GREEN], g)
        b, z = fma(weight, rows[at + BLUE], b), fma(weight, rows[at + DEPTH], z)
        at, next_at = next_at, after_next_at
        opacity, next_power = next_opacity, after_next_power
        if lane_bits(goes_on) == 0:
            break
    store(state, place, light)
    store(state, place + LANES, left)
    store(state, place + 2 * LANES, r)
    store(state, place + 3 * LANES, g)
    store(state, place + 4 * LANES, b)
    store(state, place + 5 * LANES, z)
    return lane_bits(goes_on) != 0


@inline
def store_block(state, place, pixel, width, columns, lines, view, background, background_pixels, rgb, alpha, depth):
    """Put a block that is done over the background and into the images."""
    left = load(state, place + LANES)
    r, g, b = load(state, place + 2 * LANES), load(state, place + 3 * LANES), load(state, place + 4 * LANES)
    if background_pixels > 1:
        back_r, back_g, back_b = load_rgb(background, pixel, width, columns, lines)
        r, g, b = fma(left, back_r, r), fma(left, back_g, g), fma(left, back_b, b)
    elif background_pixels == 1:
        r = fma(left, background[3 * view], r)
        g = fma(left, background[3 * view + 1], g)
        b = fma(left, background[3 * view + 2], b)
    covered = 1.0 - left
    z = load(state, place + 5 * LANES) / maximum(covered, 1e-10)
    store_rgb(rgb, pixel, width, columns, lines, r, g, b)
    store_plane(alpha, pixel, width, columns, lines, covered)
    store_plane(depth, pixel, width, columns, lines, z)


@kernel
def composite(
    tickets, tiles_wide, tiles_high, settings, max_alpha, row_count, rows, starts, entries, grid,
    background, background_pixels, rgb, alpha, depth,
):  # fmt: skip
    """Fill `rgb`, `alpha` and `depth`; `background` holds 0, one (per view) or `background_pixels` colours a view."""
    use_full_width()
    width, height, tiles = np.int64(settings[WIDTH]), np.int64(settings[HEIGHT]), starts.size - 1
    rows, entries, grid, background = pointer(rows), pointer(entries), pointer(grid), pointer(background)
    rgb, alpha, depth = pointer(rgb), pointer(alpha), pointer(depth)
    state = stack(grid, _STATE)  # by block: transmittance (0: stopped), the last of it, red, green, blue, depth
    meetings, counts, lists = stack(np.uint16(0), LANES), stack(starts, LANES), stack(entries, _LISTS)
    for i in range(_LISTS):
        lists[i] = 0
    constants, nothing = exp2_constants(grid), broadcast(grid, 0.0)
    least, most, stop_at = broadcast(grid, -LOG2_255), broadcast(grid, max_alpha), broadcast(grid, STOP)
    while True:
        tile = take_ticket(tickets)
        if tile >= tiles:
            return
        view, left, top, first_pixel = tile_place(tile, tiles_wide, tiles_high, width, height)
        alive = np.uint32(0)
        for block in range(LANES):
            _, columns, lines = block_place(block, left, top, first_pixel, width, height)
            inside, any_inside = inside_image(grid, columns, lines)
            alive |= np.uint32(any_inside) << np.uint32(block)
            store(state, 6 * LANES * block, select(inside, broadcast(grid, 1.0), nothing))
            store(state, (6 * block + 1) * LANES, broadcast(grid, 1.0))
            for plane in range(2, 6):
                store(state, (6 * block + plane) * LANES, nothing)
        base = view * row_count * ROW
        for start in range(starts[tile], starts[tile + 1], BATCH):
            stop = min(start + BATCH, starts[tile + 1])
            list_blocks(start, stop, entries, rows, base, left, top, alive, meetings, lists, counts)
            for block in range(LANES):
                if counts[block] == 0:
                    continue
                x, y = pixel_centres(grid, block, left, top)
                first = block * LIST
                if not draw_block(
                    first, first + counts[block], lists, rows, base, x, y, state, 6 * LANES * block, constants,
                    least, most, stop_at,
                ):  # fmt: skip
                    alive &= ~(np.uint32(1) << np.uint32(block))
            if alive == 0:
                break
        for block in range(LANES):
            pixel, columns, lines = block_place(block, left, top, first_pixel, width, height)
            if columns > 0 and lines > 0:
                store_block(
                    state, 6 * LANES * block, pixel, width, columns, lines, view, background, background_pixels,
                    rgb, alpha, depth,
                )  # fmt: skip


@inline
def load_gradients(
    state, block, pixel, width, columns, lines, rgb, alpha, depth,
    has_rgb, d_rgb, has_alpha, d_alpha, has_depth, d_depth
):  # fmt: skip
    """Fill the planes 1..5 of the backward's state: what is still to come along the ray, and the colour's gradients.

    With q the colour and depth of a splat times their gradients, the loss depends on the splats through sum(w q) and
    the last transmittance; the first plane holds both, for all splats still to come. The background cancels out of it.
    """
    place = 6 * LANES * block
    nothing = broadcast(state, 0.0)
    covered = load_plane(alpha, pixel, width, columns, lines)
    d_covered, d_z, rest = nothing, nothing, nothing
    d_r, d_g, d_b = nothing, nothing, nothing
    if has_alpha:
        d_covered = load_plane(d_alpha, pixel, width, columns, lines)
    if has_depth:
        expected = load_plane(depth, pixel, width, columns, lines)
        d_expected = load_plane(d_depth, pixel, width, columns, lines)
        d_z = select(covered > 0.0, d_expected / maximum(covered, 1e-10), 0.0)
        d_covered -= d_z * expected
        rest = expected * d_expected
    if has_rgb:
        r, g, b = load_rgb(rgb, pixel, width, columns, lines)
        d_r, d_g, d_b = load_rgb(d_rgb, pixel, width, columns, lines)
        rest = fma(r, d_r, fma(g, d_g, fma(b, d_b, rest)))
    store(state, place + LANES, fma(covered - 1.0, d_covered, rest))
    store(state, place + 2 * LANES, d_r)
    store(state, place + 3 * LANES, d_g)
    store(state, place + 4 * LANES, d_b)
    store(state, place + 5 * LANES, d_z)


@inline
def learn_splat(bits, alive, rows, at, left, top, grid, state, constants, least, most, stop_at):
    """Let a splat go by in the blocks of `bits` as `draw_block` does; return sums over their pixels, and who lives."""
    nothing = broadcast(grid, 0.0)
    wxx, wxy, wyy = rows[at + WXX], rows[at + WXY], rows[at + WYY]
    dx, dy = left + TILE // 2 - rows[at + X], top + TILE // 2 - rows[at + Y]
    u_0, v_0 = broadcast(grid, wxx * dx + wxy * dy), broadcast(grid, wyy * dy)
    log2_opacity = broadcast(grid, rows[at + LOG2_OPACITY])
    red, green, blue, z = rows[at + RED], rows[at + GREEN], rows[at + BLUE], rows[at + DEPTH]
    s, s_u, s_v, s_uu, s_uv, s_vv = nothing, nothing, nothing, nothing, nothing, nothing
    s_r, s_g, s_b, s_z = nothing, nothing, nothing, nothing
    while bits != 0:
        block = trailing_zeros(bits)
        bits &= bits - np.uint32(1)
        place = 6 * LANES * block
        x, y = load(grid, (2 + 2 * block) * LANES), load(grid, (3 + 2 * block) * LANES)
        u, v = fma(wxx, x, fma(wxy, y, u_0)), fma(wyy, y, v_0)
        opacity = alpha_of(fma(-u, u, fma(-v, v, log2_opacity)), constants, least, most, nothing)
        light = load(state, place)
        after = fma(-light, opacity, light)
        goes_on = after > stop_at
        weight = select(goes_on, light * opacity, nothing)
        store(state, place, select(goes_on, after, nothing))
        if lane_bits(goes_on) == 0:
            alive &= ~(np.uint32(1) << np.uint32(block))
        d_r, d_g = load(state, place + 2 * LANES), load(state, place + 3 * LANES)
        d_b, d_z = load(state, place + 4 * LANES), load(state, place + 5 * LANES)
        own = weight * fma(d_r, red, fma(d_g, green, fma(d_b, blue, d_z * z)))
        rest = load(state, place + LANES) - own
        store(state, place + LANES, rest)
        g = fma(-rest, opacity / (1.0 - opacity), own)
        g = select(goes_on & (opacity < most), g, nothing)
        g_u, g_v = g * u, g * v
        s, s_u, s_v = s + g, s_u + g_u, s_v + g_v
        s_uu, s_uv, s_vv = fma(g_u, u, s_uu), fma(g_u, v, s_uv), fma(g_v, v, s_vv)
        s_r, s_g = fma(weight, d_r, s_r), fma(weight, d_g, s_g)
        s_b, s_z = fma(weight, d_b, s_b), fma(weight, d_z, s_z)
    return lane_sums((s, s_u, s_v, s_uu, s_uv, s_vv, s_r, s_g, s_b, s_z)), alive


@kernel
def composite_backward(
    tickets, tiles_wide, tiles_high, settings, max_alpha, row_count, rows, ints, starts, entries, grid, slot_bases,
    rgb, alpha, depth, has_rgb, d_rgb, has_alpha, d_alpha, has_depth, d_depth, slots, written,
):  # fmt: skip
    """Fill the slots of all splats that show, and mark them in `written`."""
    use_full_width()
    width, height, tiles = np.int64(settings[WIDTH]), np.int64(settings[HEIGHT]), starts.size - 1
    rows, ints, entries, grid = pointer(rows), pointer(ints), pointer(entries), pointer(grid)
    rgb, alpha, depth = pointer(rgb), pointer(alpha), pointer(depth)
    d_rgb, d_alpha, d_depth = pointer(d_rgb), pointer(d_alpha), pointer(d_depth)
    slots, written = pointer(slots), pointer(written)
    state = stack(grid, _STATE)  # by block: transmittance, still to come, gradients of red, green, blue, depth
    meetings = stack(np.uint16(0), LANES)
    constants, nothing = exp2_constants(grid), broadcast(grid, 0.0)
    least, most, stop_at = broadcast(grid, -LOG2_255), broadcast(grid, max_alpha), broadcast(grid, STOP)
    while True:
        tile = take_ticket(tickets)
        if tile >= tiles:
            return
        if starts[tile] == starts[tile + 1]:
            continue
        view, left, top, first_pixel = tile_place(tile, tiles_wide, tiles_high, width, height)
        alive = np.uint32(0)
        for block in range(LANES):
            pixel, columns, lines = block_place(block, left, top, first_pixel, width, height)
            inside, any_inside = inside_image(grid, columns, lines)
            store(state, 6 * LANES * block, select(inside, broadcast(grid, 1.0), nothing))
            if any_inside:
                alive |= np.uint32(1) << np.uint32(block)
                load_gradients(
                    state,
                    block,
                    pixel,
                    width,
                    columns,
                    lines,
                    rgb,
                    alpha,
                    depth,
                    has_rgb,
                    d_rgb,
                    has_alpha,
                    d_alpha,
                    has_depth,
                    d_depth,
                )
        base, end = view * row_count * ROW, starts[tile + 1]
        for start in range(starts[tile], end, LANES):
            fetch(start + LANES, entries, rows, base)
            meet(start, entries, rows, base, left, top, meetings)
            for entry in range(start, min(start + LANES, end)):
                bits = bit_column(meetings, entry - start) & alive
                if bits == 0:
                    continue
                row = np.int64(entries[entry])
                at = base + row * ROW
                sums, alive = learn_splat(
                    bits, alive, rows, at, left, top, grid, state, constants, least, most, stop_at
                )
                slot = slot_bases[view, row // CHUNK] + ints[at + SLOT]
                slot += (top // TILE - ints[at + TILE_Y]) * ints[at + TILES_WIDE] + left // TILE - ints[at + TILE_X]
                store(slots, slot * ROW, sums)
                written[slot] = 1
            if alive == 0:
                break
