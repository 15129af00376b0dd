"""Samples as heads on disk, with a sheet of pictures and a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from headsup_cli import __version__
from headsup_cli.cameras.trajectories import orbit
from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import Head, read_head, write_head
from headsup_cli.inference.sampling import Samples
from headsup_cli.media.images import write_image
from headsup_cli.model.checkpoint import Checkpoint
from headsup_cli.model.prior import LoadedPrior
from headsup_cli.rendering.sequences import render_frames
from headsup_cli.runtime.atomic import atomic_directory, atomic_write_text
from headsup_cli.runtime.progress import progress
from headsup_cli.template.template import Template

REPORT_FILE = "report.json"
SHEET_FILE = "contact_sheet.png"
_TILE_PX = 176
_ANGLES = (0, 1, 4)  # of eight around the head: from in front, from the side, from behind


@dataclass(frozen=True)
class Sampler:
    """What makes heads of latents: decoder, template, and the prior that the latents come from."""

    checkpoint: Checkpoint
    prior: LoadedPrior
    template: Template
    device: torch.device | str = "cpu"

    def write(self, samples: Samples, folder: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Write `folder`/sample_NNNN/ for each latent, a contact sheet and, last of all, the report.

        Args:
            samples: From `sampling`.
            folder: Heads of these names in it are replaced.
            asked: Prompt, seed and so on, kept in every head's provenance and in the report.

        Returns:
            The report.
        """
        names = [f"sample_{number:04d}" for number in range(len(samples.latents))]
        pictures = []
        for name, latent in zip(progress(names, "decoding"), samples.latents, strict=True):
            head = self._head(name, latent, {**asked, "sample": name})
            with atomic_directory(folder / name) as unfinished:
                write_head(head, unfinished, self.template)
            pictures.append(_strip(head.gaussians(self.template)))
        write_image(folder / SHEET_FILE, _sheet(pictures))
        report = self._report(samples, names, asked)
        atomic_write_text(folder / REPORT_FILE, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        return report

    @torch.no_grad()
    def _head(self, name: str, latent: Float[Tensor, "z q q"], asked: Mapping[str, Any]) -> Head:
        return Head(
            subject=name,
            maps=self.checkpoint.model.decode(latent.to(self.device)).map(lambda tensor: tensor.cpu()),
            template=self.template.name,
            template_sha256=self.template.sha256,
            rig_from_head=np.eye(4),
            latent=latent.cpu(),
            provenance={
                "program": f"headsup {__version__}",
                "checkpoint": dict(self.checkpoint.provenance),
                "prior": dict(self.prior.provenance),
                "sampled": dict(asked),
            },
        )

    def _report(self, samples: Samples, names: Sequence[str], asked: Mapping[str, Any]) -> dict[str, Any]:
        least, hundredth = self.prior.prior.likeness.nearest_stranger.tolist()
        distances = [round(value, 3) for value in samples.nearest.tolist()]
        return {
            "schema": "headsup-samples/1",
            "program": f"headsup {__version__}",
            **asked,
            "prior": dict(self.prior.provenance),
            "memorisation": {
                "nearest_held_out_person": round(least, 3),
                "nearest_hundredth_of_held_out_people": round(hundredth, 3),
                "too_near": [name for name, near in zip(names, distances, strict=True) if near < hundredth],
            },
            "samples": [
                {"head": name, "distance_to_nearest_training_person": near, "draws": draws}
                for name, near, draws in zip(names, distances, samples.draws.tolist(), strict=True)
            ],
        }


def head_latent(folder: Path, prior: LoadedPrior, checkpoint: Checkpoint) -> Float[Tensor, "z q q"]:
    """The latent that a head was decoded from.

    Raises:
        InputError: The folder holds no head, one without latent, or one of other weights.
    """
    head = read_head(folder)
    wanted = prior.prior.space.grid
    shape = None if head.latent is None else tuple(head.latent.shape)
    made_by = head.provenance.get("checkpoint", {})
    if head.latent is None or shape != wanted or dict(made_by) != dict(checkpoint.provenance):
        found = "without a latent" if shape is None else f"of other weights (its latent is {shape})"
        raise InputError(
            folder,
            found=found,
            expected=f"a head with a latent {wanted} of the weights at hand",
            remedy="reconstruct it again, or name its weights with --checkpoint",
        )
    return head.latent


def _strip(gaussians: Gaussians) -> UInt8[np.ndarray, "h w 3"]:
    """A head from in front, from the side and from behind."""
    cameras = orbit(8, _TILE_PX, _TILE_PX)[list(_ANGLES)]
    return np.concatenate(list(render_frames(gaussians, cameras)), axis=1)


def _sheet(pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Strips in as many columns as make the sheet about square, filled row by row."""
    columns = max(1, round((len(pictures) / len(_ANGLES)) ** 0.5))
    blank = np.zeros_like(pictures[0])
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(padded[first : first + columns], axis=1) for first in range(0, len(padded), columns)]
    return np.concatenate(rows)
