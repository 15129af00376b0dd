"""The stage that trains the model which reconstructs heads."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from headsup_cli.errors import InputError
from headsup_cli.model.checkpoint import load_checkpoint
from headsup_cli.model.head_model import HeadModel
from headsup_cli.runtime.atomic import atomic_write_text
from headsup_cli.template.template import Template
from headsup_cli.training.config import Preset
from headsup_cli.training.dataset import PictureSource, SubjectSource, TrainingExample
from headsup_cli.training.head_objective import HeadObjective
from headsup_cli.training.loop import TrainingReport, optimise
from headsup_cli.training.processes import is_first_process
from headsup_cli.training.validation import Validation

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"


def train(
    source: SubjectSource | PictureSource,
    preset: Preset,
    template: Template,
    folder: Path,
    *,
    device: torch.device,
    workers: int = 1,
    provenance: Mapping[str, Any],
    seconds: float = math.inf,
    init: Path | None = None,
    held_out: Callable[[], list[TrainingExample]] | None = None,
    tensorboard: bool = False,
) -> TrainingReport:
    """Train a model, or go on with the run that `folder` holds.

    Args:
        source: Subjects by number.
        preset: Model and schedule; written to `folder` first.
        template: The surface that the Gaussians hang on.
        folder: Where state, checkpoints (averaged weights), metrics and sample pictures go.
        device: Where to train.
        workers: Processes that make examples; 0 makes them in this one.
        provenance: Goes into the checkpoint.
        seconds: Stop after this time, finished or not; the schedule stays that of `preset`.
        init: Start a new run from these weights (`.safetensors`).
        held_out: Loads people to validate on, whose targets are cameras that training never sees.
        tensorboard: Write event files as well.

    Returns:
        What was done.

    Raises:
        InputError: The folder holds a run with another model, or `init` does not fit.
        KeyboardInterrupt: After Ctrl-C, once the step is finished and saved.
    """
    torch.manual_seed(preset.training.seed)
    model = HeadModel(preset.model, template).to(device)
    if init is not None:
        _start_from(init, model, template, device)
    _freeze_all_but(preset.training.trained_parts, model)
    validation = None if held_out is None else Validation(held_out, preset, template, folder, provenance)
    objective = HeadObjective(
        model, preset, template, source, workers=workers, provenance=provenance, validation=validation
    )
    if is_first_process():
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(folder / CONFIG_FILE, preset.model_dump_json(indent=1) + "\n")
    return optimise(objective, preset.training, folder, device=device, seconds=seconds, tensorboard=tensorboard)


def _start_from(init: Path, model: HeadModel, template: Template, device: torch.device) -> None:
    """Take over weights; parts that they do not have, such as feedback in older ones, start from scratch."""
    weights = load_checkpoint(init, template, device).model.state_dict()
    known = {name.partition(".")[0] for name in weights}
    own = model.state_dict()
    fresh = {name.partition(".")[0] for name in own} - known
    if fresh:
        logger.info("%s knows no %s: trained from scratch", init, ", ".join(sorted(fresh)))
    try:
        model.load_state_dict(weights | {name: value for name, value in own.items() if name.partition(".")[0] in fresh})
    except RuntimeError as error:
        raise InputError(
            init,
            found=f"other weights ({str(error).splitlines()[1].strip()})",
            expected="those of a model with this configuration",
            remedy="give the configuration that it was trained with",
        ) from error


def _freeze_all_but(parts: tuple[str, ...], model: HeadModel) -> None:
    known = dict(model.named_children())
    for part in parts:
        if part not in known:
            expected = f"some of {', '.join(known)}"
            raise InputError("training.trained_parts", found=part, expected=expected, remedy="name parts of the model")
    for name, module in known.items():
        module.requires_grad_(not parts or name in parts)
