"""Evaluating one subject: the head, made on the way or read, against the cameras that it was not made from."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from headsup_cli.capture.capture import Capture, CaptureView, is_capture, read_capture
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
from headsup_cli.errors import InputError
from headsup_cli.evaluation.heldout import HeldoutView, heldout_view, load_reference
from headsup_cli.evaluation.pictures import strip_path, write_scored_pictures, write_strip
from headsup_cli.evaluation.protocol import Protocol, metric_settings
from headsup_cli.evaluation.regions import region_weights
from headsup_cli.evaluation.results import SubjectScores, read_scores, write_scores
from headsup_cli.evaluation.scoring import score_view
from headsup_cli.gaussians.head import Head, read_head
from headsup_cli.inference.capture_views import capture_views
from headsup_cli.inference.options import ReconstructOptions
from headsup_cli.inference.reconstruct import reconstruct
from headsup_cli.jobs.head_source import source_hash
from headsup_cli.jobs.receipts import fingerprint
from headsup_cli.metrics.lpips import Lpips, load_lpips
from headsup_cli.model.checkpoint import Checkpoint, load_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT
from headsup_cli.preprocessing.frames import FrameReader
from headsup_cli.preprocessing.inventory import digest, take_inventory
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.preprocess import preprocess_rig, usable_threads
from headsup_cli.runtime.atomic import atomic_directory
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template

_REGIONS = ("eyes", "mouth")


@dataclass(frozen=True)
class EvaluateOptions:
    """What is compared."""

    heldout: str  # number of cameras, their names with commas between, or a folder
    reconstruct: ReconstructOptions  # of heads made on the way
    size: tuple[int, int] | None = None  # of the compared pictures, pixels; each its own by default
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)  # sRGB in [0, 1]
    pictures: bool = False  # whether predictions and references are kept as PNG


@dataclass(frozen=True)
class _Compared:
    """What meets what."""

    head: Head
    frame: str
    views: list[HeldoutView]
    heldout: str  # how the views were chosen, in words


@dataclass
class EvaluateJob:
    """Scores subjects; model, metric and template are loaded once, when they are first needed."""

    output: Path
    options: EvaluateOptions
    heads: Path | None  # folder of heads by subject; None makes them from the checkpoint
    checkpoint: Path | None
    lpips: Path | None
    device: str
    template_folder: Path | None
    read: Callable[[Path], RigDump] = read_rig_dump
    _template: Template | None = field(default=None, repr=False)
    _model: Checkpoint | None = field(default=None, repr=False)
    _metric: Lpips | None = field(default=None, repr=False)
    _last_key: tuple[Path, str] | None = field(default=None, repr=False)

    def __call__(self, subject: Path) -> None:
        """Write a subject's scores and pictures; the folder appears complete or not at all."""
        surface, metric = self._surface(), self._loaded_metric()
        compared = self._compared(subject)
        gaussians = compared.head.gaussians(surface).to(self.device)
        weights = region_weights(surface, compared.head.maps.resolution, _REGIONS).to(self.device)
        background = torch.tensor(self.options.background, device=self.device)
        scores, sizes = {}, set()
        with atomic_directory(self.folder(subject)) as unfinished:
            for view in compared.views:
                reference = load_reference(view, self.options.size, self.options.background)
                scored = score_view(gaussians, weights, reference, background, metric)
                scores[view.name] = scored.scores
                sizes.add(f"{reference.camera.width}x{reference.camera.height}")
                write_strip(scored, strip_path(unfinished, view.name))
                if self.options.pictures:
                    write_scored_pictures(scored, unfinished, view.name)
            result = SubjectScores(
                subject=self.folder(subject).name,
                made_from=self._key(subject),
                protocol=self._protocol(compared, sizes),
                views=scores,
            )
            write_scores(result, unfinished)

    def folder(self, subject: Path) -> Path:
        """Where a subject's scores go."""
        return self.output / _name(subject)

    def is_done(self, subject: Path) -> bool:
        """Whether they are there already, made by this version from the same pictures, heads and options."""
        try:
            return read_scores(self.folder(subject)).made_from == self._key(subject)
        except InputError:
            return False

    def _compared(self, subject: Path) -> _Compared:
        """A head, and the views that it is compared in and was not made from."""
        folder, wanted = self._heldout_folder(subject), self.options.reconstruct.frame
        head = None if self.heads is None else read_head(self._head_folder(subject))
        if head is not None:
            wanted = wanted or _frame_of(head)
            if folder is not None:
                return self._compared_in(folder, head, wanted)
        capture = self._capture(subject, wanted)
        frame = capture.frame_named(wanted)
        names = [] if folder is not None else self._withheld(capture, frame, _seen_by(head))
        if head is None:
            inputs = _restricted(capture, frame, set(capture.frames[frame].views) - set(names))
            options = replace(self.options.reconstruct, frame=frame)
            head = reconstruct(inputs, self._weights(), self._surface(), options, device=self.device).head
        if folder is not None:
            return self._compared_in(folder, head, frame)
        told = self.options.heldout
        views = _capture_views(capture, frame, names, head.rig_from_head)
        return _Compared(head, frame, views, told if "," in told or told in names else "spread around")

    def _heldout_folder(self, subject: Path) -> Path | None:
        """The rig dump that holds the subject's held-out views; None where cameras of its own are withheld."""
        told = self.options.heldout
        if told.isdigit() or "," in told:
            return None
        candidates = (subject / told, Path(told) / _name(subject), Path(told))
        return next((folder for folder in candidates if is_rig_dump(folder)), None)

    def _head_folder(self, subject: Path) -> Path:
        assert self.heads is not None
        return self.heads / _name(subject)

    def _capture(self, subject: Path, frame: str | None) -> Capture:
        if is_capture(subject):
            return read_capture(subject)
        return preprocess_rig(self.read(subject), _preparation(frame), self._surface())

    def _withheld(self, capture: Capture, frame: str, seen: Collection[str]) -> list[str]:
        """Names of the cameras to compare in, none of which the head was made from.

        Raises:
            InputError: A camera is not there or was seen, or too few remain.
        """
        views, told = capture.frames[frame].views, self.options.heldout
        unseen = [name for name in views if name not in seen]
        if told.isdigit() and not (told in views and int(told) > len(views)):  # rigs number their cameras, too
            spare = len(unseen) if seen else len(unseen) - 1
            if not 0 < int(told) <= spare:
                raise self._bad_heldout(capture, f"{told} cameras", f"1 to {spare}" if spare > 0 else "unseen cameras")
            return capture_views(_restricted(capture, frame, unseen), frame, limit=int(told))[0]
        names = [name for name in (part.strip() for part in told.split(",")) if name]
        unusable = next((name for name in names if name not in unseen), None)
        if unusable is not None or not names or len(names) == len(views):
            what = "an input view" if unusable in views else "neither a camera of the subject nor a folder"
            found = f"{unusable}, {what}," if unusable is not None else f"{len(names)} of {len(views)} cameras"
            raise self._bad_heldout(capture, found, f"some of {', '.join(unseen)}" if unseen else "unseen cameras")
        return names

    def _bad_heldout(self, capture: Capture, found: str, expected: str) -> InputError:
        return InputError(
            f"subject {capture.subject}",
            field="--heldout",
            found=found,
            expected=expected,
            remedy="hold out other cameras, or give heads that were made from fewer views",
        )

    def _compared_in(self, folder: Path, head: Head, frame: str | None) -> _Compared:
        """A head and the views of a rig dump that shares the subject's world."""
        dump = self.read(folder)
        only = next(iter(dump.frames)) if len(dump.frames) == 1 else None
        chosen = frame if frame in dump.frames else only
        if chosen is None:
            raise InputError(
                folder,
                field="frame",
                found=f"'{frame}'",
                expected=f"one of {', '.join(dump.frames)}",
                remedy="name one of them by --frame",
            )
        reader = FrameReader(dump, "auto", usable_threads())
        world_from_head = _in_the_worlds_unit(head.rig_from_head, dump)
        views = []
        for name, view in reader.read(chosen).views.items():
            pinhole = reader.pinholes[name]
            picture, size = CaptureView(view.image, view.mask), (pinhole.width, pinhole.height)
            pose = dump.cameras[name].cam_from_rig
            views.append(heldout_view(name, picture, pose, pinhole.K, size, world_from_head))
        return _Compared(head, frame or chosen, views, f"folder {self.options.heldout}")

    def _protocol(self, compared: _Compared, sizes: Collection[str]) -> Protocol:
        inputs, effort = len(_seen_by(compared.head)), self.options.reconstruct.refine
        made = "" if effort is None else f"{effort.steps} steps" if effort.steps else f"{effort.seconds:g} s"
        weights = self.checkpoint or DEFAULT_CHECKPOINT
        return Protocol(
            heads="heads as given" if self.heads is not None else f"weights {weights.name} {sha256_of(weights)[:12]}",
            refine="as given" if self.heads is not None else made or "none",
            frames=[compared.frame],
            heldout=compared.heldout,
            input_views=(inputs, inputs),
            heldout_views=(len(compared.views), len(compared.views)),
            sizes=sorted(sizes),
            background="#" + "".join(f"{round(255 * value):02x}" for value in self.options.background),
            metrics=metric_settings(None if self._metric is None else self._metric.name),
        )

    def _key(self, subject: Path) -> str:
        """A hash of all that the scores are made from; the last one is kept between `is_done` and the call."""
        if self._last_key is None or self._last_key[0] != subject:
            self._last_key = subject, self._hash(subject)
        return self._last_key[1]

    def _hash(self, subject: Path) -> str:
        surface, heldout = self._surface(), self._heldout_folder(subject)
        if is_capture(subject):
            pictures = sha256_of(subject)
        else:
            frame = self.options.reconstruct.frame  # a head knows its own, which is not known here
            prepared = _preparation(frame) if frame or self.heads is None else PreprocessOptions()
            pictures = digest(take_inventory(self.read(subject), prepared, surface))
        weights = self.checkpoint or DEFAULT_CHECKPOINT
        heads = sha256_of(weights) if self.heads is None else source_hash(self._head_folder(subject))
        others = [None if path is None else sha256_of(path) for path in (heldout, self.lpips)]
        return fingerprint(pictures, heads, others, surface.sha256, asdict(self.options))

    def _surface(self) -> Template:
        if self._template is None:
            self._template = load_template(self.template_folder)
        return self._template

    def _weights(self) -> Checkpoint:
        if self._model is None:
            self._model = load_checkpoint(self.checkpoint, self._surface(), self.device)
        return self._model

    def _loaded_metric(self) -> Lpips | None:
        if self._metric is None and self.lpips is not None:
            self._metric = load_lpips(self.lpips, self.device)
        return self._metric


def _name(subject: Path) -> str:
    return read_capture(subject).subject if is_capture(subject) else subject.resolve().name


def _seen_by(head: Head | None) -> list[str]:
    """The input views of a head, as far as it names them."""
    views = None if head is None else head.provenance.get("views")
    return views if isinstance(views, list) else []


def _frame_of(head: Head) -> str | None:
    frame = head.provenance.get("frame")
    return frame if isinstance(frame, str) else None


def _preparation(frame: str | None) -> PreprocessOptions:
    return PreprocessOptions(frames="neutral" if frame is None else (frame,))


def _restricted(capture: Capture, frame: str, cameras: Collection[str]) -> Capture:
    """One frame of a capture, seen by some of its cameras."""
    moment = capture.frames[frame]
    views = {name: view for name, view in moment.views.items() if name in cameras}
    return replace(capture, frames={frame: replace(moment, views=views)})


def _capture_views(
    capture: Capture, frame: str, cameras: Collection[str], rig_from_head: Float64[np.ndarray, "4 4"]
) -> list[HeldoutView]:
    """Views of a capture for a head that may stand in another head frame than the capture."""
    seen_from_head = np.linalg.inv(capture.rig_from_head) @ rig_from_head
    views = []
    for name in cameras:
        camera, picture = capture.cameras[name], capture.frames[frame].views[name]
        size = camera.width, camera.height
        views.append(heldout_view(name, picture, camera.cam_from_head, camera.K, size, seen_from_head))
    return views


def _in_the_worlds_unit(rig_from_head: Float64[np.ndarray, "4 4"], dump: RigDump) -> Float64[np.ndarray, "4 4"]:
    """The similarity to the dump's world with the unit of length that its cameras are read in."""
    scaled = rig_from_head.copy()
    scaled[:3] *= dump.metres_per_unit if dump.scale == "arbitrary" else 1 / np.cbrt(np.linalg.det(scaled[:3, :3]))
    return scaled
