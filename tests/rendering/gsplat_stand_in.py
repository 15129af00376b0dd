"""gsplat without CUDA: its own `rasterization` in Python, over stand-ins for the operators it calls.

Shapes, names, packing and what gsplat asks of its arguments (contiguous tensors, say) are gsplat's own; only the
kernels are replaced, by gsplat's reference where it has a differentiable one for CPUs and else by ours.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from reference import LEAST_ALPHA, Splats, composite
from reference import spherical_harmonics as harmonics
from torch import Tensor


def _with_signature_of(real: Callable) -> Callable:
    """A decorator: arguments are bound as `real` would bind them, and handed over by name."""
    signature = inspect.signature(real)

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def bound(*args: Any, **kwargs: Any) -> Any:
            call = signature.bind(*args, **kwargs)
            call.apply_defaults()
            return function(**call.arguments)

        return bound

    return decorate


def stand_ins() -> dict[str, Callable]:
    """For each CUDA operator that `gsplat.rendering` calls, what to put in its place."""
    from gsplat.cuda import _torch_impl as impl
    from gsplat.cuda import _wrapper as real

    @_with_signature_of(real.fully_fused_projection)
    def fully_fused_projection(means: Tensor, quats: Tensor, scales: Tensor, **s: Any) -> tuple:
        assert s["packed"], "only packed mode is stood in for"
        covariances, _ = impl._quat_scale_to_covar_preci(quats, scales, compute_preci=False)
        names = ("viewmats", "Ks", "width", "height", "eps2d", "near_plane", "far_plane", "calc_compensations")
        radii, means2d, depths, conics, factors = impl._fully_fused_projection(
            means, covariances, *(s[name] for name in names)
        )
        seen = s["opacities"] * (1 if factors is None else factors) >= LEAST_ALPHA
        seen = seen & (radii > 0).all(-1) & (radii > s["radius_clip"]).any(-1)
        views, which = seen.nonzero(as_tuple=True)
        packed = [tensor[views, which] for tensor in (radii, means2d, depths, conics)]
        return torch.zeros_like(views), views, which, *packed, None if factors is None else factors[views, which]

    @_with_signature_of(real.spherical_harmonics)
    def spherical_harmonics(degrees_to_use: int, dirs: Tensor, coeffs: Tensor, masks: Tensor) -> Tensor:
        assert masks.all()
        return harmonics(degrees_to_use, dirs, coeffs)

    @_with_signature_of(real.isect_tiles)
    def isect_tiles(
        means2d: Tensor, radii: Tensor, depths: Tensor, n_images: int, image_ids: Tensor, **s: Any
    ) -> tuple:
        own = (image_ids == torch.arange(n_images)[:, None])[..., None]  # [images, nnz, 1]
        spread = [tensor.detach().expand(n_images, *tensor.shape) for tensor in (means2d, radii, depths)]
        sizes = s["tile_size"], s["tile_width"], s["tile_height"]
        _, keys, which = impl._isect_tiles(spread[0], torch.where(own, spread[1], 0), spread[2].float(), *sizes)
        return None, keys, which % len(means2d) if len(means2d) else which

    @_with_signature_of(real.isect_offset_encode)
    def isect_offset_encode(isect_ids: Tensor, n_images: int, tile_width: int, tile_height: int) -> Tensor:
        return impl._isect_offset_encode(isect_ids, n_images, tile_width, tile_height)

    @_with_signature_of(real.rasterize_to_pixels)
    def rasterize_to_pixels(
        means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, isect_offsets: Tensor, flatten_ids: Tensor,
        **s: Any,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        assert s["packed"]
        assert s["backgrounds"] is None
        assert colors.shape[1] == 4
        height, width, tile = s["image_height"], s["image_width"], s["tile_size"]
        nothing = 0 * (means2d.sum() + conics.sum() + colors.sum() + opacities.sum())  # a gradient all the same
        images = means2d.new_zeros(len(isect_offsets), height, width, 4) + nothing
        left = means2d.new_ones(len(isect_offsets), height, width, 1)
        ends = torch.cat([isect_offsets.flatten()[1:], torch.tensor([len(flatten_ids)])]).reshape(isect_offsets.shape)
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        matrices = conics[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
        for view, row, column in (isect_offsets < ends).nonzero().tolist():
            ids = flatten_ids[isect_offsets[view, row, column] : ends[view, row, column]].long()
            splats = Splats(means2d[ids], matrices[ids], matrices[ids], opacities[ids], colors[ids, :3], colors[ids, 3])
            patch = view, slice(row * tile, (row + 1) * tile), slice(column * tile, (column + 1) * tile)
            pixels = torch.stack([x[patch[1:]], y[patch[1:]]], -1).to(means2d) + 0.5
            values, remains, _ = composite(splats, pixels.reshape(-1, 2), max_alpha=0.999)
            images[patch], left[patch] = values.reshape(*pixels.shape[:2], 4), remains.reshape(*pixels.shape[:2], 1)
        return images, 1 - left

    return {
        function.__name__: function
        for function in (
            fully_fused_projection, spherical_harmonics, isect_tiles, isect_offset_encode, rasterize_to_pixels
        )
    }  # fmt: skip
