"""Checkpoints: weights as safetensors, everything else as readable JSON beside them. Never pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.config_files.weights_file import read_weights, restore_weights, write_weights
from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.model.config import DEFAULT_CHECKPOINT, ModelConfig
from headsup_cli.model.head_model import HeadModel
from headsup_cli.template.template import Template

_REMEDY = "copy the checkpoint again, or take an earlier one"
_LATENT_PARTS = ("encoder.", "fusion.", "bottleneck.", "decoder.")


@dataclass(frozen=True)
class Checkpoint:
    """A model with where it came from."""

    model: HeadModel
    provenance: Mapping[str, Any] = field(default_factory=dict)


class _CheckpointFile(StrictModel, populate_by_name=True):
    """The JSON beside the weights."""

    schema_: Literal["headsup-checkpoint/1"] = Field(alias="schema")
    model: ModelConfig
    template: str
    template_sha256: str
    provenance: dict[str, Any]


def save_checkpoint(
    path: Path,
    model: HeadModel,
    template: Template,
    *,
    provenance: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write `path` (safetensors) and the JSON of the same name, each atomically, the JSON first.

    Args:
        path: Ends in `.safetensors`.
        model: Whose parameters to write.
        template: The one it was trained on.
        provenance: Program version, seed, data, steps: whatever made these weights.
        dtype: Of the stored weights; bfloat16 halves the file.
    """
    file = _CheckpointFile(
        schema_="headsup-checkpoint/1",
        model=model.config,
        template=template.name,
        template_sha256=template.sha256,
        provenance=dict(provenance),
    )
    write_weights(path, model, file, dtype)


def load_checkpoint(path: Path | None, template: Template, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a model; no code in the file is ever run.

    Args:
        path: The `.safetensors` file; the weights that ship with headsup by default.
        template: The one at hand; its UV layout must be the checkpoint's.
        device: Where to put the model.

    Raises:
        InputError: A file is missing or damaged, or was trained on another template.
    """
    path = path or DEFAULT_CHECKPOINT
    if path == DEFAULT_CHECKPOINT and not path.exists():
        raise MissingDependencyError(f"{path}: the default weights are missing; install headsup again.")
    file = load_json_config(path.with_suffix(".json"), _CheckpointFile)
    if file.template_sha256 != template.sha256:
        raise InputError(
            path,
            field="template",
            found=f"{file.template} ({file.template_sha256[:12]})",
            expected=f"{template.name} ({template.sha256[:12]})",
            remedy="use weights that were trained on this template, or unset HEADSUP_TEMPLATE",
        )
    model = HeadModel(file.model, template)
    restore_weights(model, path, read_weights(path, remedy=_REMEDY), remedy=_REMEDY)
    return Checkpoint(model.to(device).eval(), file.provenance)


def latent_fingerprint(path: Path) -> str:
    """SHA-256, in hexadecimal, of the weights that decide what a latent means: those that make it and that decode it.

    What was trained on latents (a prior, a latent rig) fits every checkpoint with the same fingerprint, whatever its
    detail map and feedback are like. Weights are compared in bfloat16, the precision in which they ship.

    Raises:
        InputError: The file is missing or damaged.
    """
    weights = read_weights(path, remedy=_REMEDY)
    digest = hashlib.sha256()
    for name in sorted(name for name in weights if name.startswith(_LATENT_PARTS)):
        values = weights[name].to(torch.bfloat16).contiguous().view(torch.int16)
        digest.update(f"{name} {list(values.shape)}\n".encode() + values.numpy().tobytes())
    return digest.hexdigest()
