"""A training run on disk: all that is needed to go on exactly where it stopped, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headsup_cli.errors import InputError
from headsup_cli.runtime.atomic import atomic_path

STATE_FILE = "state.safetensors"
_OPTIMIZER_KEYS = ("step", "exp_avg", "exp_avg_sq")


def save_state(folder: Path, step: int, model: nn.Module, ema: nn.Module, optimizer: torch.optim.AdamW) -> None:
    """Write weights, averaged weights, Adam's moments and the step in one file, atomically."""
    parameters = dict(model.named_parameters())
    tensors: dict[str, Tensor] = {"step": torch.tensor(step)}
    tensors |= {f"model/{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"ema/{name}": value for name, value in ema.state_dict().items()}
    for name, parameter in parameters.items():
        state = optimizer.state.get(parameter, {})
        tensors |= {f"optimizer/{name}/{key}": state[key] for key in _OPTIMIZER_KEYS if key in state}
    with atomic_path(folder / STATE_FILE) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)


def load_state(folder: Path, model: nn.Module, ema: nn.Module, optimizer: torch.optim.AdamW) -> int:
    """Restore what `save_state` wrote; 0 where the folder holds no run yet.

    Raises:
        InputError: The state is damaged or belongs to another model.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return 0
    try:
        tensors = load_file(path)
        model.load_state_dict(_under(tensors, "model/"))
        ema.load_state_dict(_under(tensors, "ema/"))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            path,
            found=f"unusable ({str(error).splitlines()[0]})",
            expected="the state of a run with this configuration",
            remedy="give the configuration that it was started with, or another folder",
        ) from error
    for name, parameter in model.named_parameters():
        state: dict[str, Any] = _under(tensors, f"optimizer/{name}/")
        if state:
            optimizer.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device) for key, value in state.items()
            }
    return int(tensors["step"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
