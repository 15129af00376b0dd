"""What training is fed: subjects with pictures, cameras and, where there is one, a tracked mesh."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.rotations import matrix_from_quat
from headsup_cli.model.views import Views
from headsup_cli.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainingSubject:
    """One moment of one person."""

    rgb: Float[Tensor, "v h w 3"]  # sRGB in [0, 1], multiplied by the mask
    mask: Float[Tensor, "v h w 1"]
    cameras: Cameras  # head frame
    surface: Float[Tensor, "n 3"] | None  # the template's vertices on this person, metres, head frame


@runtime_checkable
class SubjectSource(Protocol):
    """Subjects by number; the same number gives the same subject."""

    def __call__(self, index: int) -> TrainingSubject:
        """Load or simulate subject `index`."""
        ...


@dataclass(frozen=True)
class TrainingExample:
    """A subject divided into what the model is given and what it has to show."""

    inputs: Views
    targets: Views
    surface: Float[Tensor, "n 3"] | None


class ExampleStream(torch.utils.data.Dataset[TrainingExample]):
    """Examples as a pure function of seed and index, so that a resumed run sees the same ones."""

    def __init__(self, source: SubjectSource, config: TrainingConfig, first: int, count: int) -> None:
        self.source, self.config, self.first, self.count = source, config, first, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> TrainingExample:
        index = self.first + position
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + index)
        subject = _misaligned(self.source(index), self.config, generator)
        order = torch.randperm(len(subject.cameras), generator=generator)
        fewest, most = self.config.input_views
        spare = len(order) - 1  # at least one view is always new to the model
        few, many = min(fewest, spare), min(most, spare)
        inputs = few + int((many - few + 1) * torch.rand((), generator=generator).square())  # few more often: cheaper
        shown = order[-self.config.render_views :]  # mostly views that the model is not given
        masked = bool(torch.rand((), generator=generator) >= self.config.unmasked_probability)
        views = _views(subject, masked, generator)
        return TrainingExample(views[order[:inputs]], views[shown], subject.surface)


def _views(subject: TrainingSubject, masked: bool, generator: torch.Generator) -> Views:
    if masked:
        return Views(subject.rgb, subject.mask, subject.cameras, masked=True)
    room = _room(subject.cameras, generator)
    return Views(subject.rgb + (1 - subject.mask) * room, torch.ones_like(subject.mask), subject.cameras, masked=False)


def _room(cameras: Cameras, generator: torch.Generator) -> Float[Tensor, "v h w 3"]:
    """A smooth room at infinity: colours that depend on the direction of the ray alone."""
    frequencies = 3 * torch.randn(3, 6, generator=generator)
    phases = 6.28 * torch.rand(6, generator=generator)
    mixing = 0.15 * torch.randn(6, 3, generator=generator)
    base = torch.rand(3, generator=generator)
    waves = torch.sin(cameras.ray_directions() @ frequencies + phases)  # [v, h, w, 6]
    return (base + waves @ mixing).clamp(0, 1)


def _misaligned(subject: TrainingSubject, config: TrainingConfig, generator: torch.Generator) -> TrainingSubject:
    """The subject in a head frame as wrong as preprocessing may leave it."""
    draw = torch.randn(7, generator=generator)
    half_angle = draw[:3] * math.radians(config.alignment_deg) / 2
    rotation = matrix_from_quat(torch.cat([torch.ones(1), half_angle]))
    scale = 1 + config.alignment_scale * float(draw[3].clamp(-2, 2))
    true_from_seen = torch.eye(4)
    true_from_seen[:3, :3] = rotation / scale
    true_from_seen[:3, 3] = draw[4:] * config.alignment_mm / 1000
    surface = subject.surface
    if surface is not None:
        surface = (surface - true_from_seen[:3, 3]) @ torch.linalg.inv(true_from_seen[:3, :3]).T
    return replace(subject, cameras=subject.cameras.in_frame(true_from_seen), surface=surface)


def subject_from_arrays(
    rgb: np.ndarray, mask: np.ndarray, cameras: Cameras, surface: np.ndarray | None
) -> TrainingSubject:
    """A subject from pictures [v, h, w, 3] on black, masks [v, h, w] and the template's vertices [n, 3] on it."""
    return TrainingSubject(
        rgb=torch.from_numpy(rgb).float(),
        mask=torch.from_numpy(mask).float()[..., None],
        cameras=Cameras(cameras.cam_from_world.float(), cameras.K.float(), cameras.width, cameras.height),
        surface=None if surface is None else torch.from_numpy(surface).float(),
    )
