"""The processes of a run that `torchrun` started; without it there is one, and nothing here does anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, for the time of the body.

    Args:
        device: The kind of device; each process takes the GPU of its local rank.

    Yields:
        This process's device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_rank() -> int:
    """Which of them this one is."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first_process() -> bool:
    """Whether this is the one that writes and talks."""
    return process_rank() == 0


def mean_over_processes(values: dict[str, float]) -> dict[str, float]:
    """Mean of each value over the processes that have it; `images` adds up."""
    if process_count() == 1:
        return dict(values)
    everyone: list[dict[str, float]] = [{} for _ in range(process_count())]
    dist.all_gather_object(everyone, values)
    names = dict.fromkeys(name for one in everyone for name in one)
    gathered = {name: [one[name] for one in everyone if name in one] for name in names}
    return {name: sum(found) if name == "images" else sum(found) / len(found) for name, found in gathered.items()}
