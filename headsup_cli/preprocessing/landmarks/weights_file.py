"""The landmark network's weights: safetensors with readable JSON beside. No code in either is ever run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.preprocessing.landmarks.network import LandmarkNetwork
from headsup_cli.runtime.atomic import atomic_write_bytes, atomic_write_text

DEFAULT_WEIGHTS = Path(__file__).parents[1] / "weights" / "landmarks.safetensors"


class _WeightsFile(StrictModel, populate_by_name=True):
    """The JSON beside the weights."""

    schema_: Literal["headsup-landmarks/1"] = Field(alias="schema")
    provenance: dict[str, Any]


def save_network(path: Path, network: LandmarkNetwork, provenance: Mapping[str, Any]) -> None:
    """Write `path` (safetensors, half precision) and the JSON of the same name, each atomically, the JSON first."""
    file = _WeightsFile(schema_="headsup-landmarks/1", provenance=dict(provenance))
    atomic_write_text(path.with_suffix(".json"), file.model_dump_json(by_alias=True, indent=1) + "\n")
    weights = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    atomic_write_bytes(path, save(weights))


def load_network(path: Path = DEFAULT_WEIGHTS) -> LandmarkNetwork:
    """Read the network, ready to be used.

    Raises:
        InputError: A file is missing or damaged.
    """
    if path == DEFAULT_WEIGHTS and not path.exists():
        raise MissingDependencyError(f"{path}: the landmark network's weights are missing; install headsup again.")
    load_json_config(path.with_suffix(".json"), _WeightsFile)
    network = LandmarkNetwork()
    try:
        weights = load_file(path)
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(
            path,
            found=f"unusable ({str(error).splitlines()[0]})",
            expected="the landmark network's weights",
            remedy="install headsup again",
        ) from error
    if not all(torch.isfinite(tensor).all() for tensor in network.state_dict().values()):
        raise InputError(path, found="not finite", expected="finite weights", remedy="install headsup again")
    return network.eval()
