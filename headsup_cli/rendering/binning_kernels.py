"""Tile lists in the order of depth: a radix sort, then a counting sort into tiles, for each band of tile rows apart."""

import numpy as np

from headsup_cli.rendering.compilation import inline, kernel
from headsup_cli.rendering.simd import moved, pointer, prefetch, stack, take_ticket

DIGIT_BITS = 11
DIGITS = 1 << DIGIT_BITS
_HISTOGRAMS = 3 * DIGITS  # as many as 32 bits have digits
_MASK, _WORD = np.uint64(DIGITS - 1), np.uint64(0xFFFFFFFF)


_AHEAD = 16  # splats whose rectangles are asked for before they are needed


@inline
def key_range(first, last, keys):
    """The nearest splat's key among the rows first..last, and the range of the keys."""
    lowest, highest = np.uint32(0xFFFFFFFF), np.uint32(0)
    for row in range(first, last):
        lowest, highest = min(lowest, keys[row]), max(highest, keys[row])
    return np.uint64(lowest), np.uint64(highest - lowest) if last > first else np.uint64(0)


@inline
def rectangle_of(packed):
    """First tile across and down, and the ones after the last, of four times 16 bits."""
    low, high = np.int64(packed & _WORD), np.int64(packed >> np.uint64(32))
    return low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16


@inline
def count_digits(first, last, keys, lowest, rectangles, low, high, pairs, histograms, digits):
    """Write (depth - lowest, row) of the rows first..last that touch tile rows low..high, in their order.

    Counts each digit's values, and returns the number of splats.
    """
    for i in range(digits * DIGITS):
        histograms[i] = 0
    n = np.int64(0)
    for row in range(first, last):
        _, top, _, bottom = rectangle_of(rectangles[row])
        key, touches = np.uint64(keys[row]) - lowest, np.int64(top < high and bottom > low)
        pairs[n] = (key << np.uint64(32)) | np.uint64(row)
        n += touches
        for digit in range(digits):
            histograms[digit * DIGITS + np.int64((key >> np.uint64(digit * DIGIT_BITS)) & _MASK)] += touches
    return n


@inline
def scatter(n, source, target, histograms, digit):
    """One stable pass of the sort, over one digit."""
    position = 0
    first, shift = digit * DIGITS, np.uint64(32 + digit * DIGIT_BITS)
    for i in range(first, first + DIGITS):
        position, histograms[i] = position + histograms[i], position
    for i in range(n):
        pair = source[i]
        at = first + np.int64((pair >> shift) & _MASK)
        target[histograms[at]] = pair
        histograms[at] += 1


@inline
def fill_tiles(n, pairs, rectangles, low, high, tiles_wide, cursors, entries):
    """Append sorted rows to the lists of their tiles in rows low..high; `cursors` is where these go on."""
    for i in range(n):
        prefetch(rectangles, np.int64(pairs[min(i + _AHEAD, n - 1)] & _WORD))
        row = np.int64(pairs[i] & _WORD)
        left, top, right, bottom = rectangle_of(rectangles[row])
        for y in range(max(top, low), min(bottom, high)):
            for tile in range(y * tiles_wide + left, y * tiles_wide + right):
                entries[cursors[tile]] = row
                cursors[tile] += 1


@kernel
def list_tiles(tickets, edges, tiles_wide, tiles_high, firsts, keys, rectangles, room, pairs, cursors, entries):
    """List the rows of each tile's splats, nearest first, equal depths in the order of the Gaussians.

    A ticket is a band of a view, the tile rows from edges[view, band] to edges[view, band + 1]; the rows of splats of
    view i are those from firsts[i] to firsts[i + 1]. `cursors` [views, tiles] begin at the lists' starts; `pairs` is
    memory to sort in, twice `room` for each thread.
    """
    views, bands = edges.shape[0], edges.shape[1] - 1
    keys, rectangles, pairs = pointer(keys), pointer(rectangles), pointer(pairs)
    cursors, entries = pointer(cursors), pointer(entries)
    histograms = stack(entries, _HISTOGRAMS)
    source = moved(pairs, 2 * room * take_ticket(moved(tickets, 1)))
    target = moved(source, room)
    while True:
        ticket = take_ticket(tickets)
        if ticket >= views * bands:
            return
        view, band = divmod(ticket, bands)
        low, high = edges[view, band], edges[view, band + 1]
        first, last = firsts[view], firsts[view + 1]
        lowest, reach = key_range(first, last, keys)
        digits = 0
        while reach >> np.uint64(digits * DIGIT_BITS) != 0:
            digits += 1
        n = count_digits(first, last, keys, lowest, rectangles, low, high, source, histograms, digits)
        for digit in range(digits):
            scatter(n, source, target, histograms, digit)
            source, target = target, source
        fill_tiles(
            n, source, rectangles, low, high, tiles_wide, moved(cursors, view * tiles_wide * tiles_high), entries
        )
