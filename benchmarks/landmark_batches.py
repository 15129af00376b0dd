"""Batches to train the landmark network on: simulated crops, disturbed in every way that pictures of rigs may be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from headsup_cli.media.opencv import cv2
from headsup_cli.preprocessing.head_shape import load_head_shape
from headsup_cli.preprocessing.landmarks.crops import CROP_MIDDLE_M, CROP_SIDE_M
from headsup_cli.preprocessing.landmarks.network import CROP_PX
from headsup_cli.preprocessing.landmarks.points import MIRRORED, faces_left

FIRST_UNSEEN = 1_000_000  # people from this number on are for evaluation alone
BATCH = 32
VIEWS = 12  # of one person
HELD_OUT_STEP = 5  # of the crops held out, every how many-th is looked at
FILES_AT_ONCE = 12  # whose crops are mixed
SIMULATED_CROP_PX = 128  # of the pixels that simulated crops have; the rest is margin
TURN_DEG, DIRECTION_DEG, GROWTH, SHIFT_M = 5.0, 5.0, 0.07, 0.009  # standard deviations of the rough head pose
STRETCH = 0.05  # standard deviation of the logarithm of width over height, by which more faces are broad or long
ANY_WAY_UP = 0.06  # share of crops turned at will, so that the network knows when a head is not upright
NO_HEAD, NOWHERE_M = 0.04, 0.03  # share of crops that show no head, so that the network knows; spread of their points
NOISE_LEVELS = 4
BEND_CELLS, BEND_M, BEND_ROUNDS = (4, 8), 0.008, 4  # along each side; largest standard deviation; of inversion


class Batch(NamedTuple):
    """What the network sees and what it is to say."""

    images: Tensor  # [b, 3, s, s] in [0, 1]
    expected_px: Tensor  # [b, k, 2] of a mean head, by a direction that is a little off
    points_px: Tensor  # [b, k, 2]


def batches(folder: Path, rng: np.random.Generator) -> Iterator[Batch]:
    """Endless batches."""
    mean_points = load_head_shape().landmark_mean
    while True:
        paths = training_files(folder)
        chosen = [paths[i] for i in rng.permutation(len(paths))[:FILES_AT_ONCE]]
        files = [np.load(path) for path in chosen]
        images, points = (np.concatenate([file[kind] for file in files]) for kind in ("images", "points"))
        order = rng.permutation(len(images))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            picked = order[start : start + BATCH]
            yield disturbed(images[picked], points[picked], mean_points, rng)


def held_out_batches(folder: Path) -> list[Batch]:
    """The same few crops, every time, of people that are never trained on; none if there are none."""
    mean_points, rng = load_head_shape().landmark_mean, np.random.default_rng(0)
    held_out = sorted(set(folder.glob("people_*.npz")) - set(training_files(folder)))
    files = [np.load(path) for path in held_out]
    chosen = [[file[kind][::HELD_OUT_STEP] for kind in ("images", "points")] for file in files]
    return [disturbed(images, points, mean_points, rng) for images, points in chosen]


def training_files(folder: Path) -> list[Path]:
    """Files of people that may be trained on, in order."""
    return [path for path in sorted(folder.glob("people_*.npz")) if int(path.stem.split("_")[1]) < FIRST_UNSEEN]


def disturbed(images: np.ndarray, points: np.ndarray, mean_points: np.ndarray, rng: np.random.Generator) -> Batch:
    """Crops [b, s, s, 4] and points [b, k, 2] as the network is to see them."""
    out = np.empty((len(images), CROP_PX, CROP_PX, 3), np.float32)
    expected, moved = expected_roughly(points, mean_points, rng), np.empty_like(points)
    grain = rng.standard_normal((2 * CROP_PX, 2 * CROP_PX, 3), dtype=np.float32)
    for index, image in enumerate(images):
        mirror = faces_left(expected[index])  # as the detector does
        if mirror:
            expected[index] = expected[index][MIRRORED] * [-1, 1] + [CROP_PX, 0]
        if rng.random() < NO_HEAD:
            out[index], moved[index] = _without_a_head(images, expected[index], rng)
            continue
        layer, moved[index] = _moved(image, points[index], mirror, rng)
        layer = layer.astype(np.float32) / 255
        out[index] = layer[..., :3] + _background(images, rng) * (1 - layer[..., 3:])
        if rng.random() < 0.25:
            _occlude(out[index], images, rng)
        out[index] = _as_a_camera_would(out[index], grain, rng)
    return Batch(torch.from_numpy(out).permute(0, 3, 1, 2), torch.from_numpy(expected), torch.from_numpy(moved))


def expected_roughly(points: np.ndarray, mean_points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where a mean head has its points, seen from about where these points [b, k, 2] are, in pixels [b, k, 2]."""
    about_middle = mean_points - mean_points.mean(0)
    projection = np.linalg.pinv(about_middle) @ (points - points.mean(1, keepdims=True))  # [b, 3, 2]
    u, _, vt = np.linalg.svd(projection.transpose(0, 2, 1), full_matrices=False)  # nearest scaled rotation
    off = Rotation.from_rotvec(rng.normal(0, np.radians(DIRECTION_DEG), (len(points), 3))).as_matrix()
    across = np.einsum("kc,bcd,bde->bke", mean_points - CROP_MIDDLE_M, off, (u @ vt).transpose(0, 2, 1))
    return (CROP_PX / 2 + across * (CROP_PX / CROP_SIDE_M)).astype(np.float32)


def _moved(
    image: np.ndarray, points: np.ndarray, mirror: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Turned, scaled, shifted and cut to the crop's size."""
    size = image.shape[0]
    if mirror:
        image, points = cv2.flip(image, 1), points[MIRRORED] * [-1, 1] + [size, 0]
    turn = rng.uniform(-np.pi, np.pi) if rng.random() < ANY_WAY_UP else np.radians(rng.normal(0, TURN_DEG))
    scale = np.exp(rng.normal(0, GROWTH)) * CROP_PX / SIMULATED_CROP_PX
    stretch = np.exp(rng.normal(0, STRETCH / 2))
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * [stretch, 1 / stretch]
    off_m = np.clip(rng.normal(0, SHIFT_M, 2), -0.03, 0.03)
    shift = CROP_PX / 2 - matrix @ [size / 2, size / 2] + CROP_PX / CROP_SIDE_M * off_m
    bend = _bend(rng)  # [s, s, 2]
    pixels = np.stack(np.meshgrid(np.arange(CROP_PX) + 0.5, np.arange(CROP_PX) + 0.5), -1) + bend
    source = ((pixels - shift) @ np.linalg.inv(matrix).T - 0.5).astype(np.float32)  # OpenCV's first pixel is at 0
    return cv2.remap(image, source, None, cv2.INTER_LINEAR), _unbent(points @ matrix.T + shift, bend)


def _bend(rng: np.random.Generator) -> np.ndarray:
    """Smooth displacements [s, s, 2] in pixels, by which faces differ more than simulated people's do.

    Brows, jaws and lips leave their usual places one by one, so that they have to be looked at to be found.
    """
    cells = int(rng.integers(*BEND_CELLS))
    coarse = rng.normal(0, rng.uniform(0, BEND_M) * CROP_PX / CROP_SIDE_M, (cells, cells, 2)).astype(np.float32)
    return cv2.resize(coarse, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC)


def _unbent(points: np.ndarray, bend: np.ndarray) -> np.ndarray:
    """Where points [k, 2] of an unbent crop lie in the bent one, whose pixels look `bend` away."""
    there = points.astype(np.float32)
    for _ in range(BEND_ROUNDS):
        there = points.astype(np.float32) - _at(bend, there)
    return there


def _at(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A field's values at points [k, 2], the border's beyond it."""
    column, row = (points[None] - 0.5).transpose(2, 0, 1)
    return cv2.remap(field, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def _background(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A plain wall, a gradient, clouds of every size, or what another crop shows, enlarged."""
    kind = rng.random()
    colour = np.clip(rng.uniform(0, 1) + rng.normal(0, 0.06, 3), 0, 1).astype(np.float32)
    if kind < 0.3:
        return colour
    if kind < 0.85:
        canvas = np.broadcast_to(colour, (CROP_PX, CROP_PX, 3)).copy()
        for level in range(rng.integers(1, NOISE_LEVELS + 1)):
            cells = int(2 ** (level + rng.integers(1, 4)))  # along each side
            noise = rng.normal(0, rng.uniform(0.02, 0.25), (cells, cells, rng.choice([1, 3]))).astype(np.float32)
            ways = rng.choice([cv2.INTER_NEAREST, cv2.INTER_CUBIC], p=[0.2, 0.8])
            canvas += cv2.resize(noise, (CROP_PX, CROP_PX), interpolation=int(ways)).reshape(CROP_PX, CROP_PX, -1)
        return canvas.clip(0, 1)
    other = images[rng.integers(len(images)), ..., :3]
    side = int(rng.integers(20, 100))
    y, x = rng.integers(0, other.shape[0] - side, 2)
    part = np.ascontiguousarray(other[y : y + side, x : x + side])
    return cv2.resize(part, (CROP_PX, CROP_PX), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255


def _without_a_head(
    images: np.ndarray, expected: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A picture of anything else; its points may lie anywhere about where they are expected."""
    any_colours = rng.random((CROP_PX, CROP_PX, 3), dtype=np.float32)
    picture = any_colours if rng.random() < 0.25 else _background(images, rng)
    spread_px = NOWHERE_M * CROP_PX / CROP_SIDE_M
    return np.broadcast_to(picture, any_colours.shape), expected + rng.normal(0, spread_px, expected.shape)


def _occlude(image: np.ndarray, images: np.ndarray, rng: np.random.Generator) -> None:
    """Something in front of the head, in place."""
    cover = np.zeros((CROP_PX, CROP_PX), np.uint8)
    middle = tuple(int(v) for v in rng.integers(0, CROP_PX, 2))
    axes = tuple(int(v) for v in rng.integers(CROP_PX // 24, CROP_PX // 3, 2))
    cv2.ellipse(cover, middle, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    there = cover > 0
    image[there] = np.broadcast_to(_background(images, rng), image.shape)[there]


def _as_a_camera_would(image: np.ndarray, grain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other exposure, tint, curve, sharpness and noise."""
    gain = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.10, 3))
    curve = (np.linspace(0, 1, 256)[:, None] * gain).clip(0, 1) ** np.exp(rng.normal(0, 0.25))
    image = cv2.LUT((image * 255).astype(np.uint8), (curve[None] * 255).astype(np.uint8))
    if rng.random() < 0.1:
        image = np.repeat(image.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 2.7)))
    image = image.astype(np.float32) / 255
    if rng.random() < 0.5:
        y, x = rng.integers(0, CROP_PX, 2)
        image += grain[y : y + CROP_PX, x : x + CROP_PX] * np.float32(rng.uniform(0, 0.06))
    return image.clip(0, 1)
