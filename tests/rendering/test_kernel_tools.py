"""The tools under the kernels: vectors, buffers, compilation."""

import gc

import numpy as np
import pytest
import torch

from headsup_cli.rendering import simd
from headsup_cli.rendering.buffers import BufferPool
from headsup_cli.rendering.compilation import kernel
from headsup_cli.rendering.simd import EXP2_CONSTANTS, LANES


@kernel
def _functions(values, constants, bits, out):
    x = simd.load(values, 0)
    c = (
        simd.broadcast(values, constants[0]), simd.broadcast(values, constants[1]),
        simd.broadcast(values, constants[2]), simd.broadcast(values, constants[3]),
        simd.broadcast(values, constants[4]), simd.broadcast(values, constants[5]),
        simd.broadcast(values, constants[6]),
    )  # fmt: skip
    simd.store(out, 0, simd.exp2(x, c))
    simd.store(out, LANES, simd.log2(simd.absolute(x) + 1e-3))
    mask = simd.mask_of(bits)
    simd.store(out, 2 * LANES, simd.select(mask & (x > 0.0), x, -1.0))
    simd.store(out, 3 * LANES, simd.lane_sums((x, x * x, 2.0 - x)))
    simd.store_lanes(out, 4 * LANES, simd.load_lanes(values, 1, mask), simd.first_lanes(5))
    return simd.lane_bits(mask), simd.trailing_zeros(np.uint32(bits))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors(dtype):
    rng = np.random.default_rng(0)
    values = rng.uniform(-20, 3, LANES + 1).astype(dtype)
    values[1] = 0.7
    out = np.full(5 * LANES, 9, dtype)
    found = _functions(values, np.array(EXP2_CONSTANTS, dtype), 0b1011_0000_0110_0010, out)
    exact, x, rows = values.astype(np.float64), values[:LANES], out.reshape(5, LANES)
    small = 4e-7 if dtype == np.float32 else 1e-15
    np.testing.assert_allclose(rows[0], 2 ** exact[:LANES], rtol=small)
    np.testing.assert_allclose(rows[1], np.log2(np.abs(exact[:LANES]) + 1e-3), rtol=0, atol=2 * small)
    mask = np.array([bit == "1" for bit in f"{0b1011_0000_0110_0010:016b}"[::-1]])
    np.testing.assert_array_equal(rows[2], np.where(mask & (x > 0), x, -1))
    np.testing.assert_allclose(rows[3, :3], [x.sum(), (x * x).sum(), (2 - x).sum()], rtol=1e-5)
    np.testing.assert_array_equal(rows[4], np.where(np.arange(16) < 5, np.where(mask, values[1:], 0), 9))
    assert found == (0b1011_0000_0110_0010, 1)


@kernel
def _places(word, indices, rows, out, places):
    for i, field in enumerate(simd.load_fields(rows, 16, indices, 0)):
        simd.store(out, i * LANES, field)
    return simd.bit_count(word), simd.append_places(places, 1, 40, word, simd.BIT_PLACES)


def test_places():
    rng = np.random.default_rng(1)
    word, indices = np.uint32(0b1011_0000_0110_0010), rng.permutation(16).astype(np.int32)
    rows, out = rng.random((17, 16)).astype(np.float32), np.zeros((8, 16), np.float32)
    places = np.full(20, 99, np.int32)
    counts = _places(word, indices, rows.reshape(-1), out.reshape(-1), places)
    np.testing.assert_array_equal(out, rows[1:][indices, :8].T)
    assert counts == (6, 6)
    np.testing.assert_array_equal(places[:7], [99, 41, 45, 46, 52, 53, 55])
    assert set(places[7:]) <= {40, 48, 99}  # what is read past the end names a splat too


def test_memory_is_used_again_only_when_the_last_view_is_gone():
    pool = BufferPool()
    array = pool.take((1000, 30), np.float32)
    address = array.ctypes.data
    assert address % 64 == 0
    tensor = torch.from_numpy(array[10:])[:, :5]
    del array
    gc.collect()
    assert pool.take((1000, 30), np.float32).ctypes.data != address
    del tensor
    gc.collect()
    addresses = {pool.take((999, 30), np.float32).ctypes.data for _ in range(2)}
    assert address in addresses


def test_a_pool_takes_empty_shapes():
    assert BufferPool().take((0, 3), np.float64).shape == (0, 3)


@pytest.mark.parametrize("writable", [True, False])
def test_kernels_work_with_and_without_a_cache_folder(run_python, tmp_path, writable):
    module = tmp_path / "doubling.py"
    module.write_text(
        "from headsup_cli.rendering.compilation import kernel\n"
        "@kernel\ndef double(x):\n    return 2 * x\n"
        "print(double(21), sum(double.stats.cache_hits.values()))\n"
    )
    folder = tmp_path / "cache" if writable else tmp_path / "doubling.py" / "no folder"
    runs = [run_python(f"import runpy; runpy.run_path({str(module)!r})", HEADSUP_CACHE_DIR=str(folder)) for _ in "ab"]
    assert [run.stdout.split() for run in runs] == [["42", "0"], ["42", "1" if writable else "0"]], runs[1].stderr
    assert not (tmp_path / "__pycache__").exists()
