"""The rasteriser for machines without a GPU: numba kernels on all cores, with an analytic backward."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.rendering.backend import RenderOutput, RenderSettings
from headsup_cli.rendering.binning_kernels import list_tiles
from headsup_cli.rendering.buffers import BufferPool
from headsup_cli.rendering.compositing_kernels import GRID, PADDING, composite, composite_backward
from headsup_cli.rendering.layout import (
    CAMERA,
    CENTRE_X,
    CENTRE_Y,
    CHUNK,
    COUNTED,
    FOCAL_X,
    FOCAL_Y,
    POSITION,
    ROTATION,
    ROW,
    ROWS,
    TILE,
    TRANSLATION,
)
from headsup_cli.rendering.projection_backward_kernels import backpropagate_views
from headsup_cli.rendering.projection_kernels import count_visible, project_views
from headsup_cli.runtime.threads import run_shared

_ROWS_AT_ONCE = 4_000_000  # Gaussians times views projected together: bounds the memory a call needs (256 MB of rows)
_ATTRIBUTES = ("means", "quats", "scales", "opacities", "colours or sh")
_GRIDS = {np.dtype(dtype): GRID.astype(dtype) for dtype in (np.float32, np.float64)}
_pool = BufferPool()


def render_on_cpu(
    gaussians: Gaussians,
    cameras: Cameras,
    colours: Float[Tensor, "n k 3"],
    sh_degree: int | None,
    background: Float[Tensor, " c #h #w 3"] | None,
    settings: RenderSettings,
) -> RenderOutput:
    """Draw on all cores; see `Backend`. Computes in float64 where the means are float64, else in float32."""
    dtype = torch.float64 if gaussians.means.dtype == torch.float64 else torch.float32
    attributes = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, colours)
    rgb, alpha, depth = _Rasterise.apply(
        *(tensor.to(dtype) for tensor in attributes),
        None if background is None else background.to(dtype),
        _camera_rows(cameras, dtype),
        (cameras.width, cameras.height),
        -1 if sh_degree is None else sh_degree,
        settings,
    )
    return RenderOutput(rgb, alpha, depth)


def _camera_rows(cameras: Cameras, dtype: torch.dtype) -> np.ndarray:
    """One row per view, as `layout` has it."""
    poses, K = (tensor.detach().double().numpy() for tensor in (cameras.cam_from_world, cameras.K))
    rotations, translations = poses[:, :3, :3], poses[:, :3, 3]
    rows = np.zeros((len(poses), CAMERA), np.float64)
    rows[:, ROTATION:TRANSLATION] = rotations.reshape(-1, 9)
    rows[:, TRANSLATION:FOCAL_X] = translations
    rows[:, FOCAL_X : FOCAL_Y + 1] = K[:, (0, 1), (0, 1)]
    rows[:, CENTRE_X : CENTRE_Y + 1] = K[:, :2, 2]
    rows[:, POSITION : POSITION + 3] = -(rotations * translations[:, :, None]).sum(1)
    return rows if dtype == torch.float64 else rows.astype(np.float32)


def _run(kernel: Any, *arguments: Any) -> None:
    """A kernel on as many threads as torch uses."""
    tickets = np.zeros(2, np.int64)  # pieces of work, and threads, so far
    threads = torch.get_num_threads() if kernel.overloads else 1  # the first call compiles
    run_shared(lambda: kernel(tickets, *arguments), threads)


@dataclass(frozen=True)
class _Scene:
    """The inputs as flat arrays."""

    means: np.ndarray
    quats: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    coefficients: np.ndarray
    degree: int  # -1: the coefficients are colours
    width: int
    height: int
    numbers: np.ndarray  # the scalar settings, as `layout` has them
    max_alpha: float

    @property
    def grid(self) -> np.ndarray:
        """Constants of compositing."""
        return _GRIDS[self.means.dtype]

    @property
    def tiles(self) -> tuple[int, int]:
        """Across and down."""
        return -(-self.width // TILE), -(-self.height // TILE)


@dataclass(frozen=True)
class _Views:
    """What projecting and sorting a few views has found out: what both directions of compositing read."""

    cameras: np.ndarray  # [v, CAMERA]
    firsts: np.ndarray  # [v * chunks + 1, COUNTED], where the rows and slots of a view's chunk begin
    rows: np.ndarray  # [visible * ROW], the splats of all views
    starts: np.ndarray  # [v * tiles + 1]
    entries: np.ndarray  # [starts[-1]], and padding: the splats of each tile
    reached: np.ndarray  # [starts[-1]], which blocks of the tile the splat matters to; empty where no gradient is asked


def _prepare(scene: _Scene, cameras: np.ndarray, keep: bool) -> _Views:
    """Project, sort and bin; `keep` what the backward pass needs."""
    views, threads, (wide, high) = len(cameras), torch.get_num_threads(), scene.tiles
    firsts = _count(scene, cameras)
    visible, intersections = firsts[-1].tolist()
    rows = _pool.take((visible * ROW,), scene.means.dtype)
    view_firsts = firsts[:: (len(firsts) - 1) // views, ROWS].copy() if visible else np.zeros(views + 1, np.int64)
    room = int(np.diff(view_firsts).max(initial=0))
    scratch = _pool.take((2 * visible + 2 * threads * room,), np.uint64)
    keys, rectangles, pairs = scratch[:visible].view(np.uint32), scratch[visible : 2 * visible], scratch[2 * visible :]
    tile_counts = np.zeros((threads, views, (high + 1) * (wide + 1)), np.int32)
    cursors = firsts[:-1].reshape(views, -1, COUNTED).copy()
    _run(
        project_views, scene.means, scene.quats, scene.scales, scene.opacities, scene.coefficients, scene.degree,
        cameras, scene.numbers, cursors, rows, keys, rectangles, tile_counts,
    )  # fmt: skip
    counts = tile_counts.sum(0).reshape(views, high + 1, wide + 1).cumsum(1).cumsum(2)[:, :high, :wide]
    starts = np.zeros(views * wide * high + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    entries = _pool.take((intersections + PADDING,), np.int32)
    entries[-PADDING:] = 0
    edges = _bands(starts, views, wide, high)
    _run(list_tiles, edges, wide, high, view_firsts, keys, rectangles, room, pairs, starts[:-1].copy(), entries)
    reached = _pool.take((intersections if keep else 0,), np.uint16)
    return _Views(cameras, firsts, rows, starts, entries, reached)


def _bands(starts: np.ndarray, views: int, wide: int, high: int) -> np.ndarray:
    """Edges [v, bands + 1] of bands of tile rows, with about as many list entries each.

    There are as many as keep all threads busy, and no more, as every band looks at all splats of its view.
    """
    threads = torch.get_num_threads()
    bands = 1 if views >= 4 * threads else threads // math.gcd(views, threads)
    edges = np.full((views, bands + 1), high, np.int64)
    edges[:, 0] = 0
    for view in range(views if bands > 1 and starts[-1] > 0 else 0):
        before = starts[view * wide * high : (view + 1) * wide * high + 1 : wide]
        shares = before[0] + (before[-1] - before[0]) * np.arange(1, bands) / bands
        edges[view, 1:-1] = np.searchsorted(before, shares)
    return edges


def _count(scene: _Scene, cameras: np.ndarray) -> np.ndarray:
    """Where the rows and slots of each view and chunk of Gaussians begin, and where all end: [v * chunks + 1, COUNTED].

    Refuses numbers that are not finite.
    """
    chunks = -(-scene.opacities.size // CHUNK)
    counts = np.zeros((len(cameras), chunks, COUNTED), np.int64)
    flags = np.zeros(len(_ATTRIBUTES), np.int64)
    _run(
        count_visible, scene.means, scene.quats, scene.scales, scene.opacities, scene.coefficients, cameras,
        scene.numbers, counts, flags,
    )  # fmt: skip
    _refuse_non_finite(scene, flags)
    firsts = np.zeros((len(cameras) * chunks + 1, COUNTED), np.int64)
    np.cumsum(counts.reshape(-1, COUNTED), axis=0, out=firsts[1:])
    return firsts


def _refuse_non_finite(scene: _Scene, flags: np.ndarray) -> None:
    for name, flag in zip(_ATTRIBUTES, flags, strict=True):
        if flag:
            arrays = (scene.means, scene.quats, scene.scales, scene.opacities, scene.coefficients)
            array = arrays[_ATTRIBUTES.index(name)].reshape(scene.opacities.size, -1)
            first = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
            found = f"not finite at Gaussian {first}"
            raise InputError("gaussians", field=name, found=found, expected="finite numbers", remedy="mend or drop it")


def _composite(scene: _Scene, views: _Views, background: np.ndarray, images: list[np.ndarray]) -> None:
    """Fill rgb, alpha and depth of the views."""
    pixels = background.size // (3 * len(views.cameras))
    _run(
        composite, *scene.tiles, scene.numbers, scene.max_alpha,
        views.rows, views.starts, views.entries, scene.grid, background.reshape(-1), pixels,
        *(image.reshape(-1) for image in images), views.reached.size > 0, views.reached,
    )  # fmt: skip


def _composite_backward(
    scene: _Scene, views: _Views, images: list[np.ndarray], d_images: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The splats' gradients, a slot per splat and tile, and which slots are written."""
    intersections = int(views.starts[-1])
    slots, written = _pool.take((intersections * ROW,), scene.means.dtype), _pool.take((intersections,), np.uint8)
    written.fill(0)
    _run(
        composite_backward, *scene.tiles, scene.numbers, scene.max_alpha,
        views.rows, views.starts, views.entries, views.reached, scene.grid,
        *(image.reshape(-1) for image in images),
        *(part for image in d_images for part in (image.size > 0, image.reshape(-1))), slots, written,
    )  # fmt: skip
    return slots, written


def _groups(views: int, gaussians: int) -> list[slice]:
    """The views, in groups that are projected together."""
    size = max(1, _ROWS_AT_ONCE // max(gaussians, 1))
    return [slice(start, min(start + size, views)) for start in range(0, views, size)]


class _Rasterise(torch.autograd.Function):
    """Gaussians to images."""

    @staticmethod
    def forward(
        ctx: Any, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colours: Tensor,
        background: Tensor | None, cameras: np.ndarray, size: tuple[int, int], degree: int, settings: RenderSettings,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        attributes = (means, quats, scales, opacities, colours)
        flat = [_flat(tensor) for tensor in attributes]
        flat_means, flat_quats, flat_scales, flat_opacities, flat_colours = flat
        width, height = size
        numbers = np.array(
            [
                settings.near_m, settings.far_m, settings.radius_clip_px, settings.eps2d,
                settings.mode == "antialiased", width, height,
            ],
            flat[0].dtype,
        )  # fmt: skip
        scene = _Scene(
            flat_means, flat_quats, flat_scales, flat_opacities, flat_colours,
            degree, width, height, numbers, settings.max_alpha,
        )  # fmt: skip
        images = [_pool.take((len(cameras), height, width, channels), flat[0].dtype) for channels in (3, 1, 1)]
        keep = any(ctx.needs_input_grad[:5])
        plain = np.zeros(0, flat[0].dtype) if background is None else background.detach().contiguous().numpy()
        kept = []
        for part in _groups(len(cameras), len(means)):
            views = _prepare(scene, cameras[part], keep)
            _composite(scene, views, plain[part] if plain.size else plain, [image[part] for image in images])
            if keep:
                kept.append((part, views))
        rgb, alpha, depth = (torch.from_numpy(image) for image in images)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*attributes, rgb, alpha, depth)
        ctx.scene, ctx.kept = scene, kept
        ctx.background_shape = None if background is None else background.shape
        return rgb, alpha, depth

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        *attributes, rgb, alpha, depth = ctx.saved_tensors
        d_background = None
        if ctx.background_shape is not None and ctx.needs_input_grad[5] and gradients[0] is not None:
            d_background = ((1 - alpha) * gradients[0]).sum_to_size(ctx.background_shape)
        if not any(ctx.needs_input_grad[:5]):
            return (None,) * 5 + (d_background,) + (None,) * 4
        scene: _Scene = ctx.scene
        d_attributes = [_pool.take(tuple(tensor.shape), scene.means.dtype) for tensor in attributes]
        empty = np.zeros(0, scene.means.dtype)
        d_images = [empty if g is None else g.contiguous().numpy() for g in gradients]
        images = [image.numpy() for image in (rgb, alpha, depth)]
        for part, views in ctx.kept:
            _backpropagate(scene, views, part, images, d_images, d_attributes)
        if not ctx.kept:
            for array in d_attributes:
                array.fill(0)
        return (*(torch.from_numpy(array) for array in d_attributes), d_background, *(None,) * 4)


def _backpropagate(
    scene: _Scene,
    views: _Views,
    part: slice,
    images: list[np.ndarray],
    d_images: list[np.ndarray],
    d_attributes: list[np.ndarray],
) -> None:
    """Add the gradients of some views to `d_attributes`, or write them where these are the first views."""
    d_part = [image[part] if image.size else image for image in d_images]
    slots, written = _composite_backward(scene, views, [image[part] for image in images], d_part)
    _run(
        backpropagate_views, scene.means, scene.quats, scene.scales, scene.opacities, scene.coefficients, scene.degree,
        views.cameras, scene.numbers, views.firsts, views.rows, slots, written, int(part.start > 0),
        *(array.reshape(-1) for array in d_attributes),
    )  # fmt: skip


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy().reshape(-1)
