"""Depth order and tile lists: a radix sort per view, then a counting sort of the sorted splats into tiles."""

import numpy as np

from headsup_cli.rendering.compilation import inline, kernel
from headsup_cli.rendering.layout import CHUNK, FARTHEST, NEAREST, VISIBLE
from headsup_cli.rendering.simd import moved, pointer, stack, take_ticket

DIGIT_BITS = 11
DIGITS = 1 << DIGIT_BITS
_HISTOGRAMS = 3 * DIGITS  # as many as 32 bits have digits
_MASK, _WORD = np.uint64(DIGITS - 1), np.uint64(0xFFFFFFFF)


@inline
def depth_range(view, counts):
    """Number of visible splats of a view, the nearest one's key, and the range of the keys."""
    n, lowest, highest = 0, 0xFFFFFFFF, 0
    for chunk in range(counts.shape[1]):
        n += counts[view, chunk, VISIBLE]
        lowest = min(lowest, counts[view, chunk, NEAREST])
        highest = max(highest, counts[view, chunk, FARTHEST])
    return n, np.uint64(lowest), np.uint64(max(highest - lowest, 0))


@inline
def count_digits(view, counts, keys, first_key, lowest, pairs, histograms, digits):
    """Write (depth - lowest, row) of the visible splats in the order of the Gaussians; count each digit's values."""
    for i in range(digits * DIGITS):
        histograms[i] = 0
    n = 0
    for chunk in range(counts.shape[1]):
        for row in range(chunk * CHUNK, chunk * CHUNK + counts[view, chunk, VISIBLE]):
            key = np.uint64(keys[first_key + row]) - lowest
            pairs[n] = (key << np.uint64(32)) | np.uint64(row)
            n += 1
            for digit in range(digits):
                histograms[digit * DIGITS + np.int64((key >> np.uint64(digit * DIGIT_BITS)) & _MASK)] += 1


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


@kernel
def sort_views(tickets, counts, keys, pairs, order):
    """Rows of the visible splats of each view, nearest first, equal depths in the order of the Gaussians."""
    views, length = keys.shape
    keys, pairs, order = pointer(keys), pointer(pairs), pointer(order)
    histograms = stack(order, _HISTOGRAMS)
    while True:
        view = take_ticket(tickets)
        if view >= views:
            return
        n, lowest, reach = depth_range(view, counts)
        digits = 0
        while reach >> np.uint64(digits * DIGIT_BITS) != 0:
            digits += 1
        source, target = moved(pairs, 2 * view * length), moved(pairs, (2 * view + 1) * length)
        count_digits(view, counts, keys, view * length, lowest, source, histograms, digits)
        for digit in range(digits):
            scatter(n, source, target, histograms, digit)
            source, target = target, source
        for i in range(n):
            order[view * length + i] = np.int32(source[i] & _WORD)


@inline
def rectangle_of(packed):
    """First tile across and down, and the ones after the last, of four times 16 bits."""
    low, high = np.int64(packed & _WORD), np.int64(packed >> np.uint64(32))
    return low & 0xFFFF, low >> 16, high & 0xFFFF, high >> 16


@kernel
def fill_tiles(tickets, bands, tiles_wide, tiles_high, length, counts, rectangles, order, cursors, entries):
    """List the rows of each tile's splats, nearest first; `cursors` [views, tiles] begin at the lists' starts.

    A ticket is a band of tile rows of a view.
    """
    views, tiles = counts.shape[0], tiles_wide * tiles_high
    rectangles, order, cursors, entries = pointer(rectangles), pointer(order), pointer(cursors), pointer(entries)
    while True:
        ticket = take_ticket(tickets)
        if ticket >= views * bands:
            return
        view, band = divmod(ticket, bands)
        low, high = band * tiles_high // bands, (band + 1) * tiles_high // bands
        first, first_tile = view * length, view * tiles
        for i in range(first, first + counts[view, :, VISIBLE].sum()):
            row = np.int64(order[i])
            left, top, right, bottom = rectangle_of(rectangles[first + row])
            for y in range(max(top, low), min(bottom, high)):
                for tile in range(first_tile + y * tiles_wide + left, first_tile + y * tiles_wide + right):
                    entries[cursors[tile]] = row
                    cursors[tile] += 1
