"""What the packed formats share: smallest-three quaternions and whole numbers of few bits."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt32

SQRT_HALF = np.sqrt(0.5)


def largest_component(
    quats: Float[np.ndarray, "n 4"],
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Index of the largest component of unit quaternions, and the others in order, signed so that it is positive."""
    unit = quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
    largest = np.abs(unit).argmax(1)
    sign = np.where(np.take_along_axis(unit, largest[:, None], 1) < 0, -1.0, 1.0)
    others = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    return largest, np.take_along_axis(unit * sign, others, 1)


def from_largest_component(
    largest: Int[np.ndarray, " n"], others: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "n 4"]:
    """The unit quaternions that `largest_component` took apart."""
    quats = np.empty((len(others), 4))
    index = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    np.put_along_axis(quats, index, others, 1)
    rest = np.sqrt(np.maximum(1 - (others**2).sum(1), 0))
    np.put_along_axis(quats, largest[:, None].astype(np.int64), rest[:, None], 1)
    return quats


def to_bits(values: Float[np.ndarray, "*shape"], bits: int) -> UInt32[np.ndarray, "*shape"]:
    """Values in [0, 1] as whole numbers of so many bits."""
    top = (1 << bits) - 1
    return np.clip(np.floor(values * top + 0.5), 0, top).astype(np.uint32)


def from_bits(values: UInt32[np.ndarray, "*shape"], bits: int) -> Float[np.ndarray, "*shape"]:
    """The values in [0, 1] that the lowest `bits` stand for."""
    top = (1 << bits) - 1
    return (values & np.uint32(top)) / top


def to_bytes(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Rounded and clamped to 0..255."""
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
