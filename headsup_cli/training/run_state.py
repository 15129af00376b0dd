"""A training run on disk: all that is needed to go on exactly where it stopped, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from headsup_cli.errors import InputError
from headsup_cli.runtime.atomic import atomic_write_bytes

STATE_FILE = "state.safetensors"
_OPTIMIZER_KEYS = ("step", "exp_avg", "exp_avg_sq")


def save_state(
    folder: Path, step: int, skipped: int, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.AdamW
) -> None:
    """Write weights, averaged weights, Adam's moments and how far it has come in one file, atomically."""
    tensors: dict[str, Tensor] = {"step": torch.tensor(step), "skipped": torch.tensor(skipped)}
    tensors |= {f"model/{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"ema/{name}": value for name, value in averaged.state_dict().items()}
    for name, parameter in network.named_parameters():
        state = optimizer.state.get(parameter, {})
        tensors |= {f"optimizer/{name}/{key}": state[key] for key in _OPTIMIZER_KEYS if key in state}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    atomic_write_bytes(folder / STATE_FILE, save(contiguous))


def load_state(folder: Path, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.AdamW) -> tuple[int, int]:
    """Restore what `save_state` wrote.

    Returns:
        The last step and how many were skipped; zeros where the folder holds no run yet.

    Raises:
        InputError: The state is damaged or belongs to another model.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return 0, 0
    try:
        tensors = load_file(path)
        network.load_state_dict(_under(tensors, "model/"))
        averaged.load_state_dict(_under(tensors, "ema/"))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            path,
            found=f"unusable ({str(error).splitlines()[0]})",
            expected="the state of a run with this configuration",
            remedy="give the configuration that it was started with, or another folder",
        ) from error
    for name, parameter in network.named_parameters():
        state: dict[str, Any] = _under(tensors, f"optimizer/{name}/")
        if state:
            optimizer.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device) for key, value in state.items()
            }
    return int(tensors["step"]), int(tensors.get("skipped", torch.tensor(0)))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
