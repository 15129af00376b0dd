"""Depth order and tile lists: a radix sort per view, then a counting sort of the sorted splats into tiles."""

import numpy as np

from headsup_cli.rendering.compilation import inline, kernel
from headsup_cli.rendering.layout import CHUNK
from headsup_cli.rendering.simd import take_ticket

DIGIT_BITS = 11
DIGITS = 1 << DIGIT_BITS


@inline
def collect_keys(view, counts, keys, pairs):
    """Write (depth, row) of the visible splats in the order of the Gaussians; return their number and the depths' range."""
    lowest, highest, n = np.uint32(0xFFFFFFFF), np.uint32(0), 0
    for chunk in range(counts.shape[1]):
        for row in range(chunk * CHUNK, chunk * CHUNK + counts[view, chunk, 0]):
            key = keys[view, row]
            lowest, highest = min(lowest, key), max(highest, key)
            pairs[n] = (np.uint64(key) << np.uint64(32)) | np.uint64(row)
            n += 1
    return n, lowest, highest


@inline
def radix_pass(n, source, target, lowest, shift, histogram):
    """One stable pass over the digit of (depth - lowest) that starts at bit `shift`."""
    histogram[:] = 0
    mask = np.uint64(DIGITS - 1)
    for i in range(n):
        histogram[((source[i] - lowest) >> shift) & mask] += 1
    position = 0
    for digit in range(DIGITS):
        position, histogram[digit] = position + histogram[digit], position
    for i in range(n):
        digit = ((source[i] - lowest) >> shift) & mask
        target[histogram[digit]] = source[i]
        histogram[digit] += 1


@inline
def sort_view(view, counts, keys, pairs, order, histogram):
    """Rows of the visible splats of a view, nearest first, equal depths in the order of the Gaussians."""
    source, target = pairs[0], pairs[1]
    n, lowest, highest = collect_keys(view, counts, keys, source)
    base = np.uint64(lowest) << np.uint64(32)
    done = 0
    while n > 0 and np.uint64(highest - lowest) >> np.uint64(done) != 0:
        radix_pass(n, source, target, base, np.uint64(32 + done), histogram)
        source, target = target, source
        done += DIGIT_BITS
    for i in range(n):
        order[view, i] = np.int32(source[i] & np.uint64(0xFFFFFFFF))


@inline
def count_band(view, low, high, tiles_wide, counts, rectangles, tile_counts):
    """Number of splats in each tile of the tile rows low..high."""
    tile_counts[view, low * tiles_wide : high * tiles_wide] = 0
    for chunk in range(counts.shape[1]):
        for row in range(chunk * CHUNK, chunk * CHUNK + counts[view, chunk, 0]):
            left, right = rectangles[view, row, 0], rectangles[view, row, 2]
            for y in range(max(rectangles[view, row, 1], low), min(rectangles[view, row, 3], high)):
                for tile in range(y * tiles_wide + left, y * tiles_wide + right):
                    tile_counts[view, tile] += 1


@kernel
def sort_and_count(tickets, bands, tiles_wide, tiles_high, counts, keys, rectangles, pairs, order, tile_counts):
    """Sort each view by depth (the first tickets) and count the splats per tile, a band of tile rows per ticket."""
    views = counts.shape[0]
    histogram = np.empty(DIGITS, np.int64)
    while True:
        ticket = take_ticket(tickets)
        if ticket >= views * (1 + bands):
            return
        if ticket < views:
            sort_view(ticket, counts, keys, pairs[ticket], order, histogram)
            continue
        view, band = divmod(ticket - views, bands)
        low, high = band * tiles_high // bands, (band + 1) * tiles_high // bands
        count_band(view, low, high, tiles_wide, counts, rectangles, tile_counts)


@kernel
def fill_tiles(tickets, bands, tiles_wide, tiles_high, counts, rectangles, order, cursors, entries):
    """List the rows of each tile's splats, nearest first; `cursors` [views, tiles] begin at the lists' starts."""
    views = counts.shape[0]
    while True:
        ticket = take_ticket(tickets)
        if ticket >= views * bands:
            return
        view, band = divmod(ticket, bands)
        low, high = band * tiles_high // bands, (band + 1) * tiles_high // bands
        for i in range(counts[view, :, 0].sum()):
            row = order[view, i]
            left, right = rectangles[view, row, 0], rectangles[view, row, 2]
            for y in range(max(rectangles[view, row, 1], low), min(rectangles[view, row, 3], high)):
                for tile in range(y * tiles_wide + left, y * tiles_wide + right):
                    entries[cursors[view, tile]] = row
                    cursors[view, tile] += 1
