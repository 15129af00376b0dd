"""Reconstructing one subject from whatever it comes as, in any process."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headsup_cli import __version__
from headsup_cli.capture.capture import Capture, is_capture, read_capture
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.errors import InputError
from headsup_cli.gaussians.head_folder import is_head, read_provenance
from headsup_cli.inference.options import ReconstructOptions
from headsup_cli.model.config import DEFAULT_CHECKPOINT, expression_weights
from headsup_cli.preprocessing.inventory import digest, take_inventory
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.runtime.atomic import atomic_directory
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.runtime.progress import StageTimes
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template

if TYPE_CHECKING:
    from headsup_cli.inference.reconstruct import Reconstruction
    from headsup_cli.model.checkpoint import Checkpoint

ORBIT_FILE = "orbit.mp4"
_ORBIT_SIZE_PX = 512


@dataclass
class ReconstructJob:
    """Makes heads of captures and rig dumps; model and template are loaded once, when they are first needed.

    What works is imported then too, so that finished work is told without the seconds that torch takes to start.

    The head of one frame is the folder `<output>/<subject>`; with every frame, the heads are
    `<output>/<subject>/<frame>`.
    """

    output: Path
    options: ReconstructOptions
    size: int  # longer side of the working pictures of rig dumps, pixels
    orbit: bool
    checkpoint: Path | None
    device: str  # as `resolve_device` has it
    template_folder: Path | None
    read: Callable[[Path], RigDump] = read_rig_dump
    frames: Literal["one", "every"] = "one"  # the options' frame, or every frame of the subject
    neutralise: bool = False  # take the frame's expression out of the head again
    queue: tuple[Path, ...] = ()  # subjects in the order in which this process gets them: it prepares one ahead
    _template: Template | None = field(default=None, repr=False)
    _model: Checkpoint | None = field(default=None, repr=False)
    _keys: dict[Path, str] = field(default_factory=dict, repr=False)
    _last_dump: tuple[Path, RigDump] | None = field(default=None, repr=False)
    _ahead: _Ahead | None = field(default=None, repr=False)

    def __call__(self, subject: Path) -> None:
        """Write a subject's heads; each folder appears complete or not at all."""
        self._refuse_other_layout(subject)
        times = StageTimes()
        capture = self._prepared(subject, times)
        self._prepare_next(subject)
        for frame in capture.frames if self.frames == "every" else [self.options.frame]:
            if not self._is_made(subject, frame):
                self._make(subject, capture, frame, times)

    def folder(self, subject: Path) -> Path:
        """Where a subject's head goes, or its heads."""
        return self.output / (read_capture(subject).subject if is_capture(subject) else subject.resolve().name)

    def is_done(self, subject: Path) -> bool:
        """Whether all is there already, made by this version from the same pictures, weights and options."""
        return all(self._is_made(subject, frame) for frame in self._frame_names(subject))

    def capture(self, subject: Path, times: StageTimes) -> Capture:
        """A subject's capture, prepared now if it comes as a rig dump."""
        if is_capture(subject):
            return read_capture(subject)
        from headsup_cli.preprocessing.preprocess import preprocess_rig

        return preprocess_rig(self._dump(subject), self._preparation(), self._surface(), times=times)

    def _make(self, subject: Path, capture: Capture, frame: str | None, times: StageTimes) -> None:
        from headsup_cli.inference.pictures import write_orbit
        from headsup_cli.inference.reconstruct import reconstruct, write_reconstruction

        surface = self._surface()
        result = reconstruct(
            capture,
            self._weights(),
            surface,
            replace(self.options, frame=frame),
            device=self._resolved_device(),
            times=replace(times, seconds=dict(times.seconds)),
            made_from=self._key(subject, frame),
        )
        if self.neutralise:
            result = self._made_neutral(result, capture, frame)
        with atomic_directory(self._head_folder(subject, frame)) as unfinished:
            write_reconstruction(result, unfinished, surface)
            if self.orbit:
                turning = result.gaussians.to(self._resolved_device())
                write_orbit(turning, unfinished / ORBIT_FILE, width=_ORBIT_SIZE_PX, height=_ORBIT_SIZE_PX)

    def _made_neutral(self, made: Reconstruction, capture: Capture, frame: str | None) -> Reconstruction:
        """The head without the expression that the capture says it was in; head and report say which that was."""
        from headsup_cli.jobs.rigging import made_neutral

        shown = {name: weight for name, weight in _expression(capture, frame).items() if weight}
        if not shown:
            return made
        surface = self._surface()
        head = made_neutral(made.head, shown, surface, self._weights(), checkpoint=self.checkpoint)
        head = replace(head, provenance={**head.provenance, "neutralised": shown})
        return replace(made, head=head, gaussians=head.gaussians(surface), report={**made.report, "neutralised": shown})

    def _head_folder(self, subject: Path, frame: str | None) -> Path:
        folder = self.folder(subject)
        return folder / frame if self.frames == "every" and frame is not None else folder

    def _frame_names(self, subject: Path) -> list[str | None]:
        if self.frames == "one":
            return [self.options.frame]
        return [*(read_capture(subject) if is_capture(subject) else self._dump(subject)).frames]

    def _is_made(self, subject: Path, frame: str | None) -> bool:
        folder = self._head_folder(subject, frame)
        if not is_head(folder) or (self.orbit and not (folder / ORBIT_FILE).is_file()):
            return False
        try:
            return read_provenance(folder).get("made_from") == self._key(subject, frame)
        except InputError:
            return False

    def _refuse_other_layout(self, subject: Path) -> None:
        """A folder of heads must not take the place of a head, nor the other way round."""
        folder = self.folder(subject)
        if folder.is_dir() and any(folder.iterdir()) and is_head(folder) == (self.frames == "every"):
            raise InputError(
                folder,
                found="a head" if is_head(folder) else "a folder that is no head",
                expected="room for " + ("the heads of every frame" if self.frames == "every" else "one head"),
                remedy="give another --output, or move it away",
            )

    def _prepared(self, subject: Path, times: StageTimes) -> Capture:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.is_for(subject):
            times.seconds.update(ahead.times.seconds)
            return ahead.capture.result()
        return self.capture(subject, times)

    def _prepare_next(self, subject: Path) -> None:
        """Start on the next subject that needs work while this one is reconstructed."""
        if subject in self.queue[:-1]:
            self._ahead = _Ahead(self, self.queue[self.queue.index(subject) + 1 :])

    def _preparation(self) -> PreprocessOptions:
        if self.frames == "every":
            return PreprocessOptions(size=self.size)
        return PreprocessOptions(
            size=self.size, frames="neutral" if self.options.frame is None else (self.options.frame,)
        )

    def _key(self, subject: Path, frame: str | None) -> str:
        """A hash of all that the head of a frame is made from; the pictures are hashed once."""
        if subject not in self._keys:
            self._keys[subject] = self._hash_of_inputs(subject)
        return hashlib.sha256(f"{self._keys[subject]} {frame}".encode()).hexdigest()

    def _hash_of_inputs(self, subject: Path) -> str:
        surface = self._surface()
        if is_capture(subject):
            pictures = sha256_of(subject)
        else:
            pictures = digest(take_inventory(self._dump(subject), self._preparation(), surface))
        weights = sha256_of(self.checkpoint or DEFAULT_CHECKPOINT)
        made_from = [__version__, pictures, weights, surface.sha256, asdict(self.options)]
        if self.neutralise:
            made_from.append(sha256_of(expression_weights(self.checkpoint)))
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def _dump(self, subject: Path) -> RigDump:
        """A subject's rig dump; the last one is kept, which is hashed first and prepared next."""
        last = self._last_dump  # looked at once: the next subject is prepared on a thread
        if last is None or last[0] != subject:
            last = self._last_dump = subject, self.read(subject)
        return last[1]

    def _surface(self) -> Template:
        if self._template is None:
            self._template = load_template(self.template_folder)
        return self._template

    def _resolved_device(self) -> str:
        from headsup_cli.runtime.device import resolve_device

        return str(resolve_device(self.device))

    def _weights(self) -> Checkpoint:
        from headsup_cli.model.checkpoint import load_checkpoint

        if self._model is None:
            self._model = load_checkpoint(self.checkpoint, self._surface(), self._resolved_device())
        return self._model


def _expression(capture: Capture, frame: str | None) -> Mapping[str, float]:
    """ARKit weights of a frame; none are a neutral face, if the capture tells those of any frame."""
    name = capture.frame_named(frame)
    if not any(moment.expression for moment in capture.frames.values()):
        raise InputError(
            f"capture {capture.subject}",
            field=f"frames.{name}.expression",
            found="not told",
            expected="the ARKit weights of the expression, for --neutralise to take it out",
            remedy="write them into the rig dump's expressions.json",
        )
    return capture.frames[name].expression


class _Ahead:
    """The capture of the next subject that needs work, in the making on a thread of its own."""

    def __init__(self, job: ReconstructJob, subjects: Sequence[Path]) -> None:
        self.capture: Future[Capture] = Future()
        self.times = StageTimes()
        self._subject: Path | None = None
        self._thread = threading.Thread(target=self._work, args=(job, subjects), daemon=True, name="headsup prepare")
        self._thread.start()

    def is_for(self, subject: Path) -> bool:
        """Wait until it is ready or has failed, and say whether it is this subject's."""
        self._thread.join()
        return self._subject == subject

    def _work(self, job: ReconstructJob, subjects: Sequence[Path]) -> None:
        try:
            self._subject = next((subject for subject in subjects if not job.is_done(subject)), None)
            if self._subject is not None:
                self.capture.set_result(job.capture(self._subject, self.times))
        except Exception as error:  # raised again when the subject's turn comes
            self.capture.set_exception(error)
