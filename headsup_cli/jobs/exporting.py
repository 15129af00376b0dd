"""Exporting one head, in any process."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from headsup_cli.capture.rigs.native import read_calibration
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.inference.camera_paths import around
from headsup_cli.inference.head_export import FORMATS, Placement, export_head
from headsup_cli.inference.pictures import rig_views
from headsup_cli.inference.visibility import seen_by
from headsup_cli.jobs.head_source import read_head_source, source_hash, source_name
from headsup_cli.jobs.receipts import fingerprint, is_current, write_receipt
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template

AROUND = "around"  # views from everywhere, instead of a rig's
_RINGS_DEG, _PER_RING, _SIZE_PX = (-50.0, -20.0, 10.0, 40.0, 70.0), 16, 512


@dataclass
class ExportJob:
    """Writes heads as files; the template is loaded once, when it is first needed."""

    output: Path
    format: str  # one of FORMATS
    placement: Placement
    prune: str | None  # AROUND or a calibration.json, whose cameras decide which Gaussians are seen
    template_folder: Path | None
    _template: Template | None = field(default=None, repr=False)

    def __call__(self, source: Path) -> None:
        """Write a head's file; it appears once it was read back and compared."""
        head, path = read_head_source(source, self._surface()), self.result(source)
        kept = head.gaussians if self.prune is None else self._pruned(head.gaussians, head.rig_from_head)
        likeness_db = export_head(kept, path, FORMATS[self.format], self.placement)
        details = {
            "head": str(source),
            **self._options(),
            "gaussians": len(kept),
            "pruned": len(head.gaussians) - len(kept),
            "psnr_db": round(min(likeness_db, 200.0), 2),
        }
        write_receipt(self._receipt(source), self._made_from(source), details)
        dropped = f", {details['pruned']} of {len(head.gaussians)} Gaussians dropped" if self.prune else ""
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {likeness_db:.1f} dB from the head{dropped}")

    def result(self, source: Path) -> Path:
        """The file of a head."""
        return self.output / (source_name(source) + FORMATS[self.format].suffix)

    def is_done(self, source: Path) -> bool:
        """Whether it is there already, of the same head with the same options."""
        return self.result(source).is_file() and is_current(self._receipt(source), self._made_from(source))

    def _pruned(self, gaussians: Gaussians, rig_from_head: Float64[np.ndarray, "4 4"]) -> Gaussians:
        if self.prune == AROUND:
            views = [around(_RINGS_DEG, _PER_RING, _SIZE_PX)]
        else:
            views = rig_views(rig_from_head, read_calibration(Path(str(self.prune))))
        return gaussians[torch.stack([seen_by(gaussians, some) for some in views]).any(0)]

    def _receipt(self, source: Path) -> Path:
        result = self.result(source)
        return result.with_name(f"{result.name}.json")

    def _made_from(self, source: Path) -> str:
        rig = [] if self.prune in (None, AROUND) else [sha256_of(Path(str(self.prune)))]
        return fingerprint("export", source_hash(source), rig, self._surface().sha256, self._options())

    def _options(self) -> dict[str, object]:
        return {"format": self.format, "placement": asdict(self.placement), "prune": self.prune}

    def _surface(self) -> Template:
        if self._template is None:
            self._template = load_template(self.template_folder)
        return self._template
