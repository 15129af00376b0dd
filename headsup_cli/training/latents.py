"""Encoding portraits: the latents that the prior and the animation model are trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import InputError
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.latent_set import Attributes, LatentSet, joined, load_latents, save_latents
from headsup_cli.model.views import Views
from headsup_cli.runtime.progress import progress
from headsup_cli.template.arkit import ARKIT_NAMES

__all__ = ["LatentSet", "Portrait", "encode", "encode_latents", "load_latents", "mirrored", "save_latents"]

_SHARD = 32  # portraits per file while encoding
_SIDES = {"Left": "Right", "Right": "Left"}


@dataclass(frozen=True)
class Portrait:
    """One moment of one person, to be encoded."""

    views: Views
    subject: int
    coefficients: Float[Tensor, "52"]  # ARKit's order
    attributes: Attributes


def mirrored(portrait: Portrait) -> Portrait:
    """The portrait with left and right exchanged, as real as the first: of another subject, see `LatentSet`."""
    views, flip = portrait.views, torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    K = views.cameras.K.clone()
    K[:, 0, 2] = views.cameras.width - K[:, 0, 2]
    K[:, 0, 1] = -K[:, 0, 1]
    pose = flip @ views.cameras.cam_from_world @ flip
    return Portrait(
        views=replace(
            views,
            rgb=views.rgb.flip(2),
            mask=views.mask.flip(2),
            cameras=Cameras(pose, K, views.cameras.width, views.cameras.height),
        ),
        subject=-1 - portrait.subject,
        coefficients=portrait.coefficients[_mirrored_order()],
        attributes=portrait.attributes,
    )


def _mirrored_order() -> list[int]:
    def opposite(name: str) -> str:
        side = next((side for side in _SIDES if name.endswith(side)), None)
        return name if side is None else name.removesuffix(side) + _SIDES[side]

    return [ARKIT_NAMES.index(opposite(name)) for name in ARKIT_NAMES]


def encode_latents(
    source: Callable[[int], Portrait],
    count: int,
    model: HeadModel,
    folder: Path,
    *,
    model_hash: str,
    device: torch.device | str = "cpu",
) -> LatentSet:
    """Encode portraits; what a run that was stopped had finished is not done again.

    Args:
        source: Portraits by number, from 0; the same number gives the same portrait.
        count: How many.
        model: Weights in evaluation mode, on `device`.
        folder: Keeps the finished part, a file for every 32 portraits.
        model_hash: `latent_fingerprint` of the weights; parts of other weights in `folder` are refused.
        device: Where to work; the result is on the CPU.

    Raises:
        InputError: `folder` holds latents of another model.
    """
    parts = []
    for first in progress(range(0, count, _SHARD), "encoding"):
        last = min(first + _SHARD, count)
        path = folder / f"{first:07d}-{last:07d}.safetensors"
        if not path.exists():
            save_latents(path, _encoded([source(i) for i in range(first, last)], model, model_hash, device))
        parts.append(load_latents(path))
        if parts[-1].model_hash != model_hash:
            raise InputError(
                path,
                field="model_hash",
                found=parts[-1].model_hash[:12],
                expected=model_hash[:12],
                remedy="give another folder, or delete this one",
            )
    return joined(parts)


def _encoded(portraits: list[Portrait], model: HeadModel, model_hash: str, device: torch.device | str) -> LatentSet:
    return LatentSet(
        latents=torch.stack([encode(model, portrait.views.to(device)).cpu() for portrait in portraits]),
        subject=torch.tensor([portrait.subject for portrait in portraits]),
        coefficients=torch.stack([portrait.coefficients for portrait in portraits]),
        attributes=tuple(portrait.attributes for portrait in portraits),
        model_hash=model_hash,
    )


@torch.no_grad()
def encode(model: HeadModel, views: Views) -> Float[Tensor, "z q q"]:
    """The latent of views at any resolution."""
    return model.encode(views.at_least(model.config.encoder.image_size_px))
