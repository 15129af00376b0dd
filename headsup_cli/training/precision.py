"""How the model computes while it is trained: bfloat16 where it does no harm, blocks once more to save memory."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from headsup_cli.model.attention import GlobalAttention
from headsup_cli.model.layers import ResidualBlock, SelfAttention, UvMixer
from headsup_cli.model.uv_fusion import FusionStage

_HEAVY = (ResidualBlock, UvMixer, SelfAttention, GlobalAttention)


def use_bfloat16(model: nn.Module) -> None:
    """Let the model's heavy blocks compute under autocast from now on; weights and what leaves them stay float32.

    Autocast over the whole forward pass would also take the projection of points into views to bfloat16, whose eight
    bits are a few pixels of error.
    """
    for module in model.modules():
        kind: Any = type(module)
        if kind in _HEAVY:
            module.__class__ = _in_bfloat16(kind)  # a class, unlike a patched method, survives deepcopy


def recompute_fusion(model: nn.Module, wanted: bool) -> None:
    """Choose whether fusion blocks are computed again in the backward pass, which saves memory."""
    for module in model.modules():
        if isinstance(module, FusionStage):
            module.recompute = wanted


@cache
def _in_bfloat16(kind: Any) -> type[nn.Module]:
    def forward(self: nn.Module, x: Tensor, *others: Any) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            result: Tensor = kind.forward(self, x, *others)
        return result.float()

    return type(f"Bfloat16{kind.__name__}", (kind,), {"forward": forward})
