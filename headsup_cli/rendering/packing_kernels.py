"""Rows of [n, 3] and [n, 4] arrays, sixteen at a time, as a vector per column."""

from headsup_cli.rendering.compilation import inline
from headsup_cli.rendering.simd import LANES, first_lanes, load_lanes, shuffle, store_lanes

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
def add_triples(array, first, count, triple):
    """Add to sixteen rows of an [n, 3] array."""
    x, y, z = load_triples(array, first, count)
    store_triples(array, first, count, (x + triple[0], y + triple[1], z + triple[2]))
