"""Networks on disk: weights in a safetensors file, and beside it the JSON of the same name that describes them.

No code in either is ever run.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from headsup_cli.errors import InputError
from headsup_cli.runtime.atomic import atomic_write_bytes, atomic_write_text


def write_weights(path: Path, network: nn.Module, description: BaseModel, dtype: torch.dtype) -> None:
    """Write `path` and the JSON of the same name, each atomically, the JSON first.

    Args:
        path: The `.safetensors` file.
        network: Whose weights and buffers.
        description: What the JSON says.
        dtype: Of the stored floating-point numbers; half the width is half the file.
    """
    atomic_write_text(path.with_suffix(".json"), description.model_dump_json(by_alias=True, indent=1) + "\n")
    weights = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None).contiguous()
        for name, tensor in network.state_dict().items()
    }
    atomic_write_bytes(path, save(weights))


def read_weights(path: Path, *, remedy: str) -> dict[str, Tensor]:
    """The tensors of `path` by name, floating-point ones as float32.

    Raises:
        InputError: The file is missing or damaged, or holds numbers that are not finite; `remedy` says what to do.
    """
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unusable(path, error, remedy) from error
    weights = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise InputError(path, field=name, found="not finite", expected="finite weights", remedy=remedy)
    return weights


def restore_weights(network: nn.Module, path: Path, weights: dict[str, Tensor], *, remedy: str) -> None:
    """Put what `read_weights` found into a network.

    Raises:
        InputError: The weights are not those of such a network.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise _unusable(path, error, remedy) from error


def _unusable(path: Path, error: Exception, remedy: str) -> InputError:
    found = f"unusable ({str(error).splitlines()[0]})"
    return InputError(path, found=found, expected="the weights that its JSON describes", remedy=remedy)
