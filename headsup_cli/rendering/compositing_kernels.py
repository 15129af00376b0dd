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
from headsup_cli.rendering.packing_kernels import load_triples, store_triples
from headsup_cli.rendering.simd import (
    BIT_PLACES,
    EXP2_CONSTANTS,
    LANES,
    absolute,
    append_places,
    broadcast,
    exp2,
    first_lanes,
    fma,
    integers,
    lane_bits,
    lane_sums,
    load,
    load_fields,
    load_lanes,
    maximum,
    minimum,
    moved,
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
BATCH = 128  # splats of a tile that are drawn before the next are looked at
PADDING = BATCH + LANES  # entries read past a tile's list
LIST = BATCH + LANES  # room for a block's list
PLANES = 6  # vectors kept for a block; drawing needs but five
_STATE = PLANES * LANES * LANES
_CENTRES = 2 * BATCH
_LISTS = LANES * LIST
REACH = LOG2_255 + 0.01  # of a splat with opacity 1: log2 of what is drawn, and a little for rounding
HALF_BLOCK = 0.5 * (BLOCK - 1)  # from a block's centre to its outermost pixel centres

_lane = np.arange(LANES)
_BLOCK_X, _BLOCK_Y = _lane % 4 * BLOCK - 6.0, _lane // 4 * BLOCK - 6.0
# For each block its pixels' x, then y, from the tile's centre
GRID = np.concatenate(
    [
        part
        for x, y in zip(_BLOCK_X, _BLOCK_Y, strict=True)
        for part in (x + _lane % BLOCK - 1.5, y + _lane // BLOCK - 1.5)
    ]
    + [np.array(EXP2_CONSTANTS)]
)
_CONSTANTS = 2 * LANES * LANES  # where the last of these begin

_line_0, _line_1, _line_2, _line_3 = (
    shuffle(4, tuple(i // 4 * LANES + 4 * line + i % 4 for i in range(LANES))) for line in range(4)
)


@inline
def tile_place(tile, tiles_wide, tiles_high, width, height):
    """View, left and top pixel of a tile counted over all views, and the index of its first pixel."""
    view, place = divmod(tile, tiles_wide * tiles_high)
    top, left = place // tiles_wide * TILE, place % tiles_wide * TILE
    return view, left, top, (view * height + top) * width + left


@inline
def turn(state, planes):
    """Between a tile's pixels block by block and line by line: its own inverse."""
    for four in range(0, PLANES * LANES * LANES, 4 * PLANES * LANES):
        for at in range(four, four + planes * LANES, LANES):
            a, b = load(state, at), load(state, at + PLANES * LANES)
            c, d = load(state, at + 2 * PLANES * LANES), load(state, at + 3 * PLANES * LANES)
            store(state, at, _line_0(a, b, c, d))
            store(state, at + PLANES * LANES, _line_1(a, b, c, d))
            store(state, at + 2 * PLANES * LANES, _line_2(a, b, c, d))
            store(state, at + 3 * PLANES * LANES, _line_3(a, b, c, d))


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
def meet(entry, entries, rows, left, top, meetings, centres, place):
    """For each block of a tile, which of sixteen splats reach it, as the bits of `meetings`.

    A block is reached if it holds a pixel with alpha >= 1/255, and a little oftener: over a block, u and v stray from
    their value at its centre by at most HALF_BLOCK (|wxx| + |wxy|) and HALF_BLOCK wyy. Writes the splats' (u, v) at the
    tile's centre to `centres` too.
    """
    x, y, wxx, wxy, wyy, log2_opacity, _, _ = load_fields(rows, 0, entries, entry)
    dy = (top + TILE // 2) - y
    centre_u, centre_v = fma(wxx, (left + TILE // 2) - x, wxy * dy), wyy * dy
    store(centres, place, centre_u)
    store(centres, BATCH + place, centre_v)
    half_u, half_v = HALF_BLOCK * (wxx + absolute(wxy)), HALF_BLOCK * wyy
    budget = log2_opacity + REACH
    for i in range(4):
        v = maximum(absolute(fma(wyy, BLOCK * i - 6.0, centre_v)) - half_v, 0.0)
        shear, left_over = fma(wxy, BLOCK * i - 6.0, centre_u), fma(-v, v, budget)
        for j in range(4):
            u = maximum(absolute(fma(wxx, BLOCK * j - 6.0, shear)) - half_u, 0.0)
            meetings[4 * i + j] = lane_bits(u * u <= left_over)


@inline
def fetch(entry, entries, rows):
    """Ask for the rows of sixteen splats of a tile."""
    for i in range(LANES):
        prefetch(rows, np.int64(entries[entry + i]) * ROW)


@inline
def list_blocks(start, stop, entries, rows, left, top, alive, meetings, centres, lists, counts, places):
    """List, for each live block of a tile, which of the splats start..stop of its list reach it, counted from start."""
    for block in range(LANES):
        counts[block] = 0
    for entry in range(start, stop, LANES):
        fetch(entry + LANES, entries, rows)
        meet(entry, entries, rows, left, top, meetings, centres, entry - start)
        wanted = np.uint32(0xFFFF) >> np.uint32(max(entry + LANES - stop, 0))
        for block in range(LANES):
            bits = np.uint32(meetings[block]) & wanted if alive >> np.uint32(block) & np.uint32(1) else np.uint32(0)
            counts[block] += append_places(lists, block * LIST + counts[block], entry - start, bits, places)


@inline
def whiten(x, y, rows, at, centre_u, centre_v):
    """(u, v) of the splat whose row begins at `at`, at pixels (x, y) from the tile's centre, where they are given."""
    return fma(rows[at + WXX], x, fma(rows[at + WXY], y, centre_u)), fma(rows[at + WYY], y, centre_v)


@inline
def whiten_listed(x, y, rows, at, centres, ordinal):
    """The same of a splat whose centre values are in `centres`."""
    return whiten(x, y, rows, at, broadcast(x, centres[ordinal]), broadcast(x, centres[BATCH + ordinal]))


@inline
def log2_alpha(u, v, rows, at):
    """Of the splat whose row begins at `at`."""
    return fma(-u, u, fma(-v, v, broadcast(u, rows[at + LOG2_OPACITY])))


@inline
def alpha_of(power, constants, least, most, nothing):
    """2^power, at most `most`, and 0 where it is below 1/255."""
    return select(power >= least, minimum(exp2(power, constants), most), nothing)


@inline
def row_of(lists, place, entries, start):
    """Where the row of a splat begins that a block's list names."""
    return np.int64(entries[start + lists[place]]) * ROW


@inline
def draw_block(
    start, count, lists, entries, rows, centres, grid, block, state, constants, least, most, stop_at, keep, touched
):  # fmt: skip
    """Draw the splats of a block's list over its pixels; return whether any pixel takes more.

    With `keep`, set the block's bit in `touched` for splats that take light from one of its pixels, or stop one.

    The next splat's alpha and the one after's exponent are computed meanwhile: a processor's scheduler is too small to
    look that far ahead.
    """
    x, y = load(grid, 2 * block * LANES), load(grid, (2 * block + 1) * LANES)
    place, first = PLANES * LANES * block, block * LIST
    light, nothing = load(state, place), broadcast(state, 0.0)
    goes_on, light = light > nothing, absolute(light)
    r, g, b = load(state, place + LANES), load(state, place + 2 * LANES), load(state, place + 3 * LANES)
    z = load(state, place + 4 * LANES)
    at, next_at = row_of(lists, first, entries, start), row_of(lists, first + 1, entries, start)
    u, v = whiten_listed(x, y, rows, at, centres, lists[first])
    opacity = alpha_of(log2_alpha(u, v, rows, at), constants, least, most, nothing)
    u, v = whiten_listed(x, y, rows, next_at, centres, lists[first + 1])
    next_power = log2_alpha(u, v, rows, next_at)
    for i in range(first, first + count):
        after_next_at = row_of(lists, i + 2, entries, start)
        u, v = whiten_listed(x, y, rows, after_next_at, centres, lists[i + 2])
        after_next_power = log2_alpha(u, v, rows, after_next_at)
        next_opacity = alpha_of(next_power, constants, least, most, nothing)
        if keep and lane_bits(goes_on & (opacity > nothing)) != 0:
            touched[lists[i]] |= np.uint16(1 << block)
        after = fma(-light, opacity, light)
        goes_on &= after > stop_at
        weight = select(goes_on, light * opacity, nothing)
        light = select(goes_on, after, light)
        r, g = fma(weight, rows[at + RED], r), fma(weight, rows[at + GREEN], g)
        b, z = fma(weight, rows[at + BLUE], b), fma(weight, rows[at + DEPTH], z)
        at, next_at = next_at, after_next_at
        opacity, next_power = next_opacity, after_next_power
        if lane_bits(goes_on) == 0:
            break
    store(state, place, select(goes_on, light, -light))
    store(state, place + LANES, r)
    store(state, place + 2 * LANES, g)
    store(state, place + 3 * LANES, b)
    store(state, place + 4 * LANES, z)
    return lane_bits(goes_on) != 0


@inline
def draw_tile(
    start, stop, entries, rows, left, top, grid, state, work, constants, least, most, stop_at, keep, reached
):  # fmt: skip
    """Draw the splats start..stop of the list over a tile; with `keep`, fill `reached` for the backward pass."""
    meetings, centres, lists, counts, places = work
    alive = np.uint32(0xFFFF)
    if keep:
        for entry in range(start, stop):
            reached[entry] = 0
    while start < stop and alive != 0:
        last = min(start + BATCH, stop)
        list_blocks(start, last, entries, rows, left, top, alive, meetings, centres, lists, counts, places)
        for block in range(LANES):
            if counts[block] != 0 and not draw_block(
                start, counts[block], lists, entries, rows, centres, grid, block, state, constants,
                least, most, stop_at, keep, moved(reached, start),
            ):  # fmt: skip
                alive &= ~(np.uint32(1) << np.uint32(block))
        start = last


@inline
def clear(state, width, lines):
    """A tile with nothing drawn yet, line by line; pixels outside the image, `width` by `lines`, take no splats."""
    one, nothing = broadcast(state, 1.0), broadcast(state, 0.0)
    for line in range(LANES):
        at = PLANES * LANES * line
        store(state, at, select(first_lanes(width if line < lines else 0), one, -one))
        for plane in range(1, PLANES):
            store(state, at + plane * LANES, nothing)


@inline
def store_line(state, at, pixel, count, view, background, background_pixels, rgb, alpha, depth):
    """Put `count` pixels of a line of a tile that is done over the background and into the images."""
    left = absolute(load(state, at))
    r, g, b = load(state, at + LANES), load(state, at + 2 * LANES), load(state, at + 3 * LANES)
    if background_pixels > 1:
        back_r, back_g, back_b = load_triples(background, pixel, count)
        r, g, b = fma(left, back_r, r), fma(left, back_g, g), fma(left, back_b, b)
    elif background_pixels == 1:
        r = fma(left, background[3 * view], r)
        g = fma(left, background[3 * view + 1], g)
        b = fma(left, background[3 * view + 2], b)
    covered = 1.0 - left
    store_triples(rgb, pixel, count, (r, g, b))
    store_lanes(alpha, pixel, covered, first_lanes(count))
    store_lanes(depth, pixel, load(state, at + 4 * LANES) / maximum(covered, 1e-10), first_lanes(count))


@kernel
def composite(
    tickets, tiles_wide, tiles_high, settings, max_alpha, rows, starts, entries, grid,
    background, background_pixels, rgb, alpha, depth, keep, reached,
):  # fmt: skip
    """Fill `rgb`, `alpha` and `depth`; `background` holds 0, one (per view) or `background_pixels` colours a view.

    With `keep`, fill `reached` too: for each entry, which blocks of its tile the splat matters to.
    """
    use_full_width()
    width, height, tiles = np.int64(settings[WIDTH]), np.int64(settings[HEIGHT]), starts.size - 1
    rows, entries, grid, background = pointer(rows), pointer(entries), pointer(grid), pointer(background)
    rgb, alpha, depth, reached = pointer(rgb), pointer(alpha), pointer(depth), pointer(reached)
    state = stack(grid, _STATE)  # by block: transmittance (negative: stopped), red, green, blue, depth
    meetings, centres, counts = stack(np.uint16(0), LANES), stack(grid, _CENTRES), stack(starts, LANES)
    lists = stack(entries, _LISTS)
    for i in range(_LISTS):
        lists[i] = 0
    work = meetings, centres, lists, counts, pointer(BIT_PLACES)
    constants = exp2_constants(grid)
    least, most, stop_at = broadcast(grid, -LOG2_255), broadcast(grid, max_alpha), broadcast(grid, STOP)
    while True:
        tile = take_ticket(tickets)
        if tile >= tiles:
            return
        view, left, top, pixel = tile_place(tile, tiles_wide, tiles_high, width, height)
        columns, lines = min(width - left, TILE), min(height - top, TILE)
        clear(state, columns, lines)
        start, stop = starts[tile], starts[tile + 1]
        if start < stop:
            turn(state, 1)
            draw_tile(
                start, stop, entries, rows, left, top, grid, state, work, constants, least, most, stop_at, keep, reached
            )
            turn(state, PLANES)
        for line in range(lines):
            store_line(
                state, PLANES * LANES * line, pixel + line * width, columns, view, background, background_pixels,
                rgb, alpha, depth,
            )  # fmt: skip


@inline
def load_line(
    state, at, pixel, count, rgb, alpha, depth, has_rgb, d_rgb, has_alpha, d_alpha, has_depth, d_depth
):  # fmt: skip
    """Fill a line of the backward's state: transmittance, what is still to come along the ray, the colour's gradients.

    With q the colour and depth of a splat times their gradients, the loss depends on the splats through sum(w q) and
    the last transmittance; the second plane holds both, for all splats still to come. The background cancels out of it.
    """
    nothing, inside = broadcast(state, 0.0), first_lanes(count)
    covered = load_lanes(alpha, pixel, inside)
    d_covered, d_z, rest = nothing, nothing, nothing
    d_r, d_g, d_b = nothing, nothing, nothing
    if has_alpha:
        d_covered = load_lanes(d_alpha, pixel, inside)
    if has_depth:
        expected, d_expected = load_lanes(depth, pixel, inside), load_lanes(d_depth, pixel, inside)
        d_z = select(covered > 0.0, d_expected / maximum(covered, 1e-10), 0.0)
        d_covered -= d_z * expected
        rest = expected * d_expected
    if has_rgb:
        r, g, b = load_triples(rgb, pixel, count)
        d_r, d_g, d_b = load_triples(d_rgb, pixel, count)
        rest = fma(r, d_r, fma(g, d_g, fma(b, d_b, rest)))
    store(state, at, select(inside, broadcast(state, 1.0), nothing))
    store(state, at + LANES, fma(covered - 1.0, d_covered, rest))
    store(state, at + 2 * LANES, d_r)
    store(state, at + 3 * LANES, d_g)
    store(state, at + 4 * LANES, d_b)
    store(state, at + 5 * LANES, d_z)


@inline
def whiten_centre(rows, at, left, top, nothing):
    """(u, v) of the splat whose row begins at `at`, at the tile's centre, in each lane and as `meet` computes it."""
    dy = (top + TILE // 2) - (nothing + rows[at + Y])
    u = fma(rows[at + WXX], (left + TILE // 2) - (nothing + rows[at + X]), rows[at + WXY] * dy)
    return u, rows[at + WYY] * dy


@inline
def learn_splat(bits, rows, at, left, top, grid, state, constants, least, most, stop_at, has_depth):
    """Let a splat go by in the blocks of `bits` as `draw_block` does; return sums over their pixels."""
    nothing = broadcast(grid, 0.0)
    centre_u, centre_v = whiten_centre(rows, at, left, top, nothing)
    red, green, blue, z = rows[at + RED], rows[at + GREEN], rows[at + BLUE], rows[at + DEPTH]
    s, s_u, s_v, s_uu, s_uv, s_vv = nothing, nothing, nothing, nothing, nothing, nothing
    s_r, s_g, s_b, s_z = nothing, nothing, nothing, nothing
    while bits != 0:
        block = trailing_zeros(bits)
        bits &= bits - np.uint32(1)
        place = PLANES * LANES * block
        x, y = load(grid, 2 * block * LANES), load(grid, (2 * block + 1) * LANES)
        u, v = whiten(x, y, rows, at, centre_u, centre_v)
        opacity = alpha_of(log2_alpha(u, v, rows, at), constants, least, most, nothing)
        light = load(state, place)
        after = fma(-light, opacity, light)
        goes_on = after > stop_at
        weight = select(goes_on, light * opacity, nothing)
        store(state, place, select(goes_on, after, nothing))
        d_r, d_g = load(state, place + 2 * LANES), load(state, place + 3 * LANES)
        d_b = load(state, place + 4 * LANES)
        own = d_b * blue
        if has_depth:
            d_z = load(state, place + 5 * LANES)
            own, s_z = fma(d_z, z, own), fma(weight, d_z, s_z)
        own = weight * fma(d_r, red, fma(d_g, green, own))
        rest = load(state, place + LANES) - own
        store(state, place + LANES, rest)
        g = fma(-rest, opacity / (1.0 - opacity), own)
        g = select(goes_on & (opacity < most), g, nothing)
        g_u, g_v = g * u, g * v
        s, s_u, s_v = s + g, s_u + g_u, s_v + g_v
        s_uu, s_uv, s_vv = fma(g_u, u, s_uu), fma(g_u, v, s_uv), fma(g_v, v, s_vv)
        s_r, s_g, s_b = fma(weight, d_r, s_r), fma(weight, d_g, s_g), fma(weight, d_b, s_b)
    return lane_sums((s, s_u, s_v, s_uu, s_uv, s_vv, s_r, s_g, s_b, s_z))


@inline
def learn_tile(
    start, stop, entries, reached, rows, ints, left, top, grid, state, constants, least, most, stop_at, has_depth,
    slots, written,
):  # fmt: skip
    """Let the splats start..stop of the list go by over a tile of a view, and fill their slots for it."""
    tile_y, tile_x = top // TILE, left // TILE
    while start < stop and reached[stop - 1] == 0:  # hidden, as is most of what lies far back
        stop -= 1
    for entry in range(start, stop):
        prefetch(rows, np.int64(entries[entry + LANES]) * ROW)
        bits = np.uint32(reached[entry])
        if bits == 0:
            continue
        at = np.int64(entries[entry]) * ROW
        slot = np.int64(ints[at + SLOT]) + tile_x - ints[at + TILE_X]
        slot += (tile_y - ints[at + TILE_Y]) * ints[at + TILES_WIDE]
        sums = learn_splat(bits, rows, at, left, top, grid, state, constants, least, most, stop_at, has_depth)
        store(slots, slot * ROW, sums)
        written[slot] = 1


@kernel
def composite_backward(
    tickets, tiles_wide, tiles_high, settings, max_alpha, rows, starts, entries, reached, grid,
    rgb, alpha, depth, has_rgb, d_rgb, has_alpha, d_alpha, has_depth, d_depth, slots, written,
):  # fmt: skip
    """Fill the slots of all splats that show, and mark them in `written`."""
    use_full_width()
    width, height, tiles = np.int64(settings[WIDTH]), np.int64(settings[HEIGHT]), starts.size - 1
    rows, ints, entries, grid = pointer(rows), integers(rows), pointer(entries), pointer(grid)
    rgb, alpha, depth = pointer(rgb), pointer(alpha), pointer(depth)
    d_rgb, d_alpha, d_depth = pointer(d_rgb), pointer(d_alpha), pointer(d_depth)
    slots, written, reached = pointer(slots), pointer(written), pointer(reached)
    state = stack(grid, _STATE)  # by block: transmittance, still to come, gradients of red, green, blue, depth
    constants = exp2_constants(grid)
    least, most, stop_at = broadcast(grid, -LOG2_255), broadcast(grid, max_alpha), broadcast(grid, STOP)
    while True:
        tile = take_ticket(tickets)
        if tile >= tiles:
            return
        if starts[tile] == starts[tile + 1]:
            continue
        _, left, top, pixel = tile_place(tile, tiles_wide, tiles_high, width, height)
        columns, lines = min(width - left, TILE), min(height - top, TILE)
        for line in range(TILE):
            load_line(
                state, PLANES * LANES * line, pixel + line * width, columns if line < lines else 0, rgb, alpha, depth,
                has_rgb, d_rgb, has_alpha, d_alpha, has_depth, d_depth,
            )  # fmt: skip
        turn(state, PLANES)
        learn_tile(
            starts[tile], starts[tile + 1], entries, reached, rows, ints, left, top, grid, state, constants,
            least, most, stop_at, has_depth, slots, written,
        )  # fmt: skip
