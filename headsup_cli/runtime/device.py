"""The choice of where tensors live."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headsup_cli.errors import InputError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device of this machine; `auto` prefers CUDA.

    Raises:
        InputError: The name is none of these, or the machine has no such device.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise _bad_device(name, "auto, cpu, cuda or cuda:N")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    present = torch.cuda.device_count()
    if device.type == "cuda" and present == 0:
        raise _bad_device(name, "cpu, as PyTorch sees no CUDA device")
    if device.type == "cuda" and (device.index or 0) >= present:
        raise _bad_device(name, f"one of cuda:0 to cuda:{present - 1}")
    return device


def _bad_device(name: str, expected: str) -> InputError:
    return InputError("--device", found=f"'{name}'", expected=expected, remedy="leave it out, or see 'headsup doctor'")
