"""What training is fed: subjects with pictures, cameras and, where there is one, a tracked mesh."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import HeadsupError, InputError
from headsup_cli.gaussians.rotations import matrix_from_quat
from headsup_cli.model.views import Views
from headsup_cli.training.config import TrainingConfig

_MOST_BROKEN_IN_A_ROW = 20
_REPLACEMENT_STRIDE = 1_000_003  # from a broken subject's number to that of the one taken instead


@dataclass(frozen=True)
class TrainingSubject:
    """One moment of one person."""

    rgb: Float[Tensor, "v h w 3"]  # sRGB in [0, 1], multiplied by the mask
    mask: Float[Tensor, "v h w 1"]
    cameras: Cameras  # head frame
    surface: Float[Tensor, "n 3"] | None  # the template's vertices on this person, metres, head frame
    whole: Float[Tensor, "v h w 3"] | None = None  # the pictures with what stands behind, where that is known
    masked: bool = True  # whether `mask` says anything

    def __getitem__(self, index: Tensor) -> TrainingSubject:
        whole = None if self.whole is None else self.whole[index]
        return replace(self, rgb=self.rgb[index], mask=self.mask[index], cameras=self.cameras[index], whole=whole)


@runtime_checkable
class SubjectSource(Protocol):
    """Subjects by number; the same number gives the same subject."""

    def __call__(self, index: int) -> TrainingSubject:
        """Load or simulate subject `index`.

        Raises:
            InputError: It is broken; another one is taken instead.
        """
        ...


@runtime_checkable
class PictureSource(Protocol):
    """A source that need not decode every view of a subject."""

    def view_count(self, index: int) -> int:
        """How many views subject `index` has."""
        ...

    def views(self, index: int, chosen: Sequence[int], longer_side_px: int) -> TrainingSubject:
        """Only these views of subject `index`, in this order, with pictures of about that size."""
        ...


class WholeSubjects:
    """A source of whole subjects as one of pictures: the last subject is kept."""

    def __init__(self, source: SubjectSource) -> None:
        self.source = source
        self.last: tuple[int, TrainingSubject] | None = None

    def view_count(self, index: int) -> int:
        """See `PictureSource`."""
        return len(self._subject(index).cameras)

    def views(self, index: int, chosen: Sequence[int], longer_side_px: int) -> TrainingSubject:
        """See `PictureSource`."""
        return self._subject(index)[torch.tensor(chosen)]

    def _subject(self, index: int) -> TrainingSubject:
        if self.last is None or self.last[0] != index:
            self.last = index, self.source(index)
        return self.last[1]


@dataclass(frozen=True)
class TrainingExample:
    """A subject divided into what the model is given and what it has to show."""

    inputs: Views
    targets: Views
    surface: Float[Tensor, "n 3"] | None
    broken: tuple[str, ...] = ()  # what was wrong with the subjects that this one stands in for


class ExampleStream(torch.utils.data.Dataset[TrainingExample]):
    """Examples as a pure function of seed and index, so that a resumed run sees the same ones."""

    def __init__(self, source: SubjectSource | PictureSource, config: TrainingConfig, image_size_px: int) -> None:
        """Take subjects from `source` at `image_size_px` (longer side), where the stage gives no size of its own."""
        self.source = source if isinstance(source, PictureSource) else WholeSubjects(source)
        self.plan, self.seed, self.image_size_px = config.plan(), config.seed, image_size_px

    def __len__(self) -> int:
        return self.plan[-1].first_example + self.plan[-1].examples

    def __getitem__(self, index: int) -> TrainingExample:
        config = [stage for stage in self.plan if stage.first_example <= index][-1].config
        broken: list[str] = []
        while len(broken) < _MOST_BROKEN_IN_A_ROW:
            try:
                example = self._example(index, index + len(broken) * _REPLACEMENT_STRIDE, config)
            except InputError as error:
                broken.append(str(error))
            else:
                return replace(example, broken=tuple(broken))
        raise HeadsupError(f"{len(broken)} subjects in a row cannot be used; the last one: {broken[-1]}")

    def _example(self, index: int, number: int, config: TrainingConfig) -> TrainingExample:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        misalignment = torch.randn(7, generator=generator)
        order = torch.randperm(self.source.view_count(number), generator=generator)
        fewest, most = config.input_views
        spare = len(order) - 1  # at least one view is always new to the model
        few, many = min(fewest, spare), min(most, spare)
        inputs = few + int((many - few + 1) * torch.rand((), generator=generator).square())  # few more often: cheaper
        given, shown = order[:inputs], order[-config.render_views :]  # mostly views that the model is not given
        needed = torch.cat([given, shown]).unique()  # in order
        size = config.image_size_px or self.image_size_px
        subject = _misaligned(self.source.views(number, needed.tolist(), size), config, misalignment)
        masked = bool(torch.rand((), generator=generator) >= config.unmasked_probability)
        views = _jittered(_views(subject, masked, generator), config.colour_jitter, generator).resized(size)
        inputs_at, targets_at = (torch.searchsorted(needed, these) for these in (given, shown))
        return TrainingExample(views[inputs_at], views[targets_at], subject.surface)


def _views(subject: TrainingSubject, masked: bool, generator: torch.Generator) -> Views:
    if masked and subject.masked:
        return Views(subject.rgb, subject.mask, subject.cameras, masked=True)
    whole = subject.whole if subject.masked else subject.rgb
    if whole is None:
        whole = subject.rgb + (1 - subject.mask) * _room(subject.cameras, generator)
    return Views(whole, torch.ones_like(subject.mask), subject.cameras, masked=False)


def _jittered(views: Views, amount: float, generator: torch.Generator) -> Views:
    """Colours as another rig would have them: gains and a gamma that all views share; black stays black."""
    if amount == 0:
        return views
    draw = amount * torch.randn(4, generator=generator).clamp(-2, 2)
    return replace(views, rgb=(views.rgb.pow(draw[3].exp()) * draw[:3].exp()).clamp(0, 1))


def _room(cameras: Cameras, generator: torch.Generator) -> Float[Tensor, "v h w 3"]:
    """A smooth room at infinity: colours that depend on the direction of the ray alone."""
    frequencies = 3 * torch.randn(3, 6, generator=generator)
    phases = 6.28 * torch.rand(6, generator=generator)
    mixing = 0.15 * torch.randn(6, 3, generator=generator)
    base = torch.rand(3, generator=generator)
    waves = torch.sin(cameras.ray_directions() @ frequencies + phases)  # [v, h, w, 6]
    return (base + waves @ mixing).clamp(0, 1)


def _misaligned(subject: TrainingSubject, config: TrainingConfig, draw: Float[Tensor, "7"]) -> TrainingSubject:
    """The subject in a head frame as wrong as preprocessing may leave it; `draw` is normally distributed."""
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


def held_out_example(subject: TrainingSubject, *, inputs: int, held_out: int) -> TrainingExample:
    """A subject as validation sees it: the first views are given, the last ones are to be shown."""
    views = _views(subject, True, torch.Generator())
    return TrainingExample(views[:inputs], views[len(views) - held_out :], None)


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
