"""Animating one head, in any process."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from headsup_cli.animation.curves import Curves
from headsup_cli.animation.outputs import Output, VideoOptions, animation_path, write_animation
from headsup_cli.animation.rigs import RigKind
from headsup_cli.gaussians.head import read_head
from headsup_cli.jobs.head_source import source_hash, source_name
from headsup_cli.jobs.receipts import fingerprint, is_current, write_receipt
from headsup_cli.jobs.rigging import ready_to_animate
from headsup_cli.model.config import DEFAULT_CHECKPOINT, expression_weights
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template


@dataclass
class AnimateJob:
    """Animates heads; the template is loaded once, when it is first needed."""

    output: Path
    curves: Curves  # at the rate of the options
    name: str  # of the clip
    rig: RigKind
    to: Output
    options: VideoOptions
    checkpoint: Path | None  # those of the latent rig
    expression: Path | None
    device: str
    template_folder: Path | None
    folder_each: bool  # whether each head has a folder of its own in `output`
    _template: Template | None = field(default=None, repr=False)

    def __call__(self, source: Path) -> None:
        """Write a head's animation; it appears complete or not at all."""
        head, surface, result = read_head(source), self._surface(), self.result(source)
        ready = ready_to_animate(head, surface, self.rig, checkpoint=self.checkpoint, expression=self.expression)
        write_animation(ready, self.curves, result, self.to, self.options, device=self.device)
        details = {"head": str(source), "clip": self.name, **self._options()}
        write_receipt(self._receipt(source), self._made_from(source), details)

    def result(self, source: Path) -> Path:
        """The file or folder of a head's animation."""
        folder = self.output / source_name(source) if self.folder_each else self.output
        return animation_path(folder, self.name, self.to)

    def is_done(self, source: Path) -> bool:
        """Whether it is there already, of the same head, clip and options."""
        return self.result(source).exists() and is_current(self._receipt(source), self._made_from(source))

    def _receipt(self, source: Path) -> Path:
        result = self.result(source)
        return result.with_name(f"{result.name}.json")

    def _made_from(self, source: Path) -> str:
        weights = () if self.rig == "geometric" else self._weights()
        inputs = [*source_hash(source), *map(sha256_of, weights), self._surface().sha256, _hash_of(self.curves)]
        return fingerprint("animate", inputs, self._options())

    def _weights(self) -> tuple[Path, Path]:
        return self.checkpoint or DEFAULT_CHECKPOINT, self.expression or expression_weights(self.checkpoint)

    def _options(self) -> dict[str, object]:
        return {"rig": self.rig, "to": self.to, "options": asdict(self.options)}

    def _surface(self) -> Template:
        if self._template is None:
            self._template = load_template(self.template_folder)
        return self._template


def _hash_of(curves: Curves) -> str:
    digest = hashlib.sha256()
    for array in (curves.times_s, curves.weights, curves.head_rad, curves.gaze_rad):
        digest.update(b"none" if array is None else array.tobytes())
    return digest.hexdigest()
