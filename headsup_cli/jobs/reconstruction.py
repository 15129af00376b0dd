"""Reconstructing one subject from whatever it comes as, in any process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headsup_cli import __version__
from headsup_cli.capture.capture import Capture, is_capture, read_capture
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.errors import InputError
from headsup_cli.gaussians.head import is_head, read_provenance
from headsup_cli.inference.pictures import write_orbit
from headsup_cli.inference.reconstruct import ReconstructOptions, reconstruct, write_reconstruction
from headsup_cli.model.checkpoint import DEFAULT_CHECKPOINT, Checkpoint, load_checkpoint
from headsup_cli.preprocessing.inventory import digest, take_inventory
from headsup_cli.preprocessing.preprocess import PreprocessOptions, preprocess_rig
from headsup_cli.runtime.atomic import atomic_directory
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.runtime.progress import StageTimes
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template

ORBIT_FILE = "orbit.mp4"
_ORBIT_SIZE_PX = 512


@dataclass
class ReconstructJob:
    """Makes heads of captures and rig dumps; model and template are loaded once, when they are first needed."""

    output: Path
    options: ReconstructOptions
    size: int  # longer side of the working pictures of rig dumps, pixels
    orbit: bool
    checkpoint: Path | None
    device: str
    template_folder: Path | None
    read: Callable[[Path], RigDump] = read_rig_dump
    _template: Template | None = field(default=None, repr=False)
    _model: Checkpoint | None = field(default=None, repr=False)
    _last_key: tuple[Path, str] | None = field(default=None, repr=False)

    def __call__(self, subject: Path) -> None:
        """Write a subject's head; the folder appears complete or not at all."""
        times, surface = StageTimes(), self._surface()
        capture = self._capture(subject, times)
        result = reconstruct(
            capture,
            self._weights(),
            surface,
            self.options,
            device=self.device,
            times=times,
            made_from=self._key(subject),
        )
        with atomic_directory(self.folder(subject)) as unfinished:
            write_reconstruction(result, unfinished, surface)
            if self.orbit:
                turning = result.gaussians.to(self.device)
                write_orbit(turning, unfinished / ORBIT_FILE, width=_ORBIT_SIZE_PX, height=_ORBIT_SIZE_PX)

    def folder(self, subject: Path) -> Path:
        """Where a subject's head goes."""
        return self.output / (read_capture(subject).subject if is_capture(subject) else subject.resolve().name)

    def is_done(self, subject: Path) -> bool:
        """Whether it is there already, made by this version from the same pictures, weights and options."""
        folder = self.folder(subject)
        if not is_head(folder) or (self.orbit and not (folder / ORBIT_FILE).is_file()):
            return False
        try:
            return read_provenance(folder).get("made_from") == self._key(subject)
        except InputError:
            return False

    def _capture(self, subject: Path, times: StageTimes) -> Capture:
        if is_capture(subject):
            return read_capture(subject)
        return preprocess_rig(self.read(subject), self._preparation(), self._surface(), times=times)

    def _preparation(self) -> PreprocessOptions:
        return PreprocessOptions(
            size=self.size, frames="neutral" if self.options.frame is None else (self.options.frame,)
        )

    def _key(self, subject: Path) -> str:
        """A hash of all that the head is made from; the last one is kept between `is_done` and the call."""
        if self._last_key is None or self._last_key[0] != subject:
            self._last_key = subject, self._hash(subject)
        return self._last_key[1]

    def _hash(self, subject: Path) -> str:
        surface = self._surface()
        if is_capture(subject):
            pictures = sha256_of(subject)
        else:
            pictures = digest(take_inventory(self.read(subject), self._preparation(), surface))
        weights = sha256_of(self.checkpoint or DEFAULT_CHECKPOINT)
        made_from = [__version__, pictures, weights, surface.sha256, asdict(self.options)]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def _surface(self) -> Template:
        if self._template is None:
            self._template = load_template(self.template_folder)
        return self._template

    def _weights(self) -> Checkpoint:
        if self._model is None:
            self._model = load_checkpoint(self.checkpoint, self._surface(), self.device)
        return self._model
