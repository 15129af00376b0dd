"""The landmark network's weights: safetensors with readable JSON beside. No code in either is ever run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.config_files.weights_file import read_weights, restore_weights, write_weights
from headsup_cli.errors import MissingDependencyError
from headsup_cli.preprocessing.landmarks.network import LandmarkNetwork

_REMEDY = "install headsup again"
DEFAULT_WEIGHTS = Path(__file__).parents[1] / "weights" / "landmarks.safetensors"


class _WeightsFile(StrictModel, populate_by_name=True):
    """The JSON beside the weights."""

    schema_: Literal["headsup-landmarks/1"] = Field(alias="schema")
    provenance: dict[str, Any]


def save_network(path: Path, network: LandmarkNetwork, provenance: Mapping[str, Any]) -> None:
    """Write `path` (safetensors, half precision) and the JSON of the same name, each atomically, the JSON first."""
    file = _WeightsFile(schema_="headsup-landmarks/1", provenance=dict(provenance))
    write_weights(path, network, file, torch.float16)


def load_network(path: Path = DEFAULT_WEIGHTS) -> LandmarkNetwork:
    """Read the network, ready to be used.

    Raises:
        InputError: A file is missing or damaged.
    """
    if path == DEFAULT_WEIGHTS and not path.exists():
        raise MissingDependencyError(f"{path}: the landmark network's weights are missing; install headsup again.")
    load_json_config(path.with_suffix(".json"), _WeightsFile)
    network = LandmarkNetwork()
    restore_weights(network, path, read_weights(path, remedy=_REMEDY), remedy=_REMEDY)
    return network.eval()
