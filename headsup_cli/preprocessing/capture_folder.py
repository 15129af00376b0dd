"""Captures on disk, frame by frame: a run that is killed goes on where it was, and ends in the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headsup_cli.capture.capture import (
    CaptureFrame,
    CaptureView,
    Encoding,
    is_capture,
    read_capture,
    write_capture_file,
    write_view,
)
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.capture.schemas import ProvenanceEntry
from headsup_cli.errors import InputError
from headsup_cli.preprocessing.inventory import digest, take_inventory, with_left_out
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.parallel import in_threads
from headsup_cli.preprocessing.preprocess import Preprocessing
from headsup_cli.preprocessing.qa_page import QA_FILE, qa_page
from headsup_cli.runtime.atomic import atomic_directory, atomic_write_text
from headsup_cli.runtime.progress import StageTimes, progress
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template


@dataclass
class PreprocessJob:
    """Makes captures of rig dumps, in any process: what it has looked up is kept between `is_done` and the call."""

    output: Path
    options: PreprocessOptions
    encoding: Encoding
    template_folder: Path | None
    read: Callable[[Path], RigDump] = read_rig_dump
    _template: Template | None = field(default=None, repr=False)
    _looked_at: tuple[Path, RigDump, ProvenanceEntry] | None = field(default=None, repr=False)

    def __call__(self, rig: Path) -> None:
        """Write a rig dump's capture; the folder appears complete or not at all."""
        dump, inventory = self._inventory(rig)
        write_preprocessed(dump, self.options, self._surface(), self.folder(rig), self.encoding, inventory)

    def folder(self, rig: Path) -> Path:
        """Where a rig dump's capture goes."""
        return self.output / rig.resolve().name

    def is_done(self, rig: Path) -> bool:
        """Whether it is there already, made by this version from the same inputs with the same options."""
        folder = self.folder(rig)
        if not is_capture(folder):
            return False
        try:
            made_from = read_capture(folder).provenance
        except InputError:
            return False
        return with_left_out(made_from, {}) == self._inventory(rig)[1]

    def _inventory(self, rig: Path) -> tuple[RigDump, ProvenanceEntry]:
        if self._looked_at is None or self._looked_at[0] != rig:
            dump = self.read(rig)
            stored_as: dict[str, str | int] = {"codec": self.encoding.suffix[1:], "quality": self.encoding.quality}
            self._looked_at = rig, dump, take_inventory(dump, self.options, self._surface(), **stored_as)
        return self._looked_at[1:]

    def _surface(self) -> Template:
        if self._template is None:
            self._template = load_template(self.template_folder)
        return self._template


def write_preprocessed(
    dump: RigDump,
    options: PreprocessOptions,
    template: Template,
    folder: Path,
    encoding: Encoding,
    inventory: ProvenanceEntry,
) -> None:
    """Make a capture and write it with its QA page.

    Finished frames are kept in a hidden folder beside `folder` until all are there, so a later call with the same
    inventory makes only those that are missing.

    Raises:
        InputError: As for `preprocess_rig`.
    """
    work = Preprocessing(dump, options, template, StageTimes())
    store = _FrameStore(folder.with_name(f".{folder.name}.unfinished"), digest(inventory), encoding, work.threads)
    left_out, frames = dict(dump.left_out), {}
    for name in progress(work.frame_names, "frames"):
        frames[name], failures = store.kept(name) or store.keep(name, *work.frame(name))
        left_out |= failures
    capture = work.capture(frames, with_left_out(inventory, left_out))
    write_capture_file(capture, store.capture)
    atomic_write_text(store.capture / QA_FILE, qa_page(work, capture))
    store.publish(folder)


class _FrameStore:
    """The frames of an unfinished capture on disk; those of another `key` are thrown away."""

    def __init__(self, folder: Path, key: str, encoding: Encoding, threads: int) -> None:
        self.folder, self.capture = folder, folder / "capture"
        self.encoding, self.threads = encoding, threads
        key_file = folder / "key"
        if not (key_file.is_file() and key_file.read_text() == key and self.capture.is_dir()):
            shutil.rmtree(folder, ignore_errors=True)
            atomic_write_text(key_file, key)
            self.capture.mkdir()

    def keep(self, name: str, frame: CaptureFrame, left_out: dict[str, str]) -> tuple[CaptureFrame, dict[str, str]]:
        """Write a frame; returns it as `kept` does."""
        shutil.rmtree(self.capture / "images" / name, ignore_errors=True)  # litter of a killed run
        shutil.rmtree(self.capture / "masks" / name, ignore_errors=True)
        cameras = list(frame.views)

        def write(camera: str) -> CaptureView:
            return write_view(frame.views[camera], self.capture, name, camera, self.encoding)

        views = dict(zip(cameras, in_threads(write, cameras, self.threads), strict=True))
        masked = [camera for camera, view in views.items() if view.mask is not None]
        record = {"views": cameras, "masked": masked, "expression": frame.expression, "left_out": left_out}
        atomic_write_text(self._record(name), json.dumps(record))
        return CaptureFrame(views, frame.expression), left_out

    def kept(self, name: str) -> tuple[CaptureFrame, dict[str, str]] | None:
        """A frame that has been written, its pictures as paths, and its views left out; None if it has not."""
        if not self._record(name).is_file():
            return None
        record = json.loads(self._record(name).read_text())
        images, masks = self.capture / "images" / name, self.capture / "masks" / name
        views = {
            camera: CaptureView(
                images / f"{camera}{self.encoding.suffix}",
                masks / f"{camera}.png" if camera in record["masked"] else None,
            )
            for camera in record["views"]
        }
        return CaptureFrame(views, record["expression"]), record["left_out"]

    def publish(self, folder: Path) -> None:
        """Give the capture its name."""
        for litter in self.capture.glob(".*"):  # of a run that was killed while it wrote capture.json
            litter.unlink()
        with atomic_directory(folder) as temporary:
            temporary.rmdir()
            self.capture.rename(temporary)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _record(self, name: str) -> Path:
        return self.folder / "frames" / f"{name}.json"
