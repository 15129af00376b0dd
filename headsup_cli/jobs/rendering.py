"""Rendering one head, in any process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.rigs.native import read_calibration
from headsup_cli.errors import InputError
from headsup_cli.inference.camera_paths import NAMED_PATHS, read_camera_path
from headsup_cli.inference.pictures import Look, Scene, write_film, write_sequence, write_sheet, write_stills
from headsup_cli.jobs.head_source import read_head_source, source_hash, source_name
from headsup_cli.jobs.receipts import fingerprint, is_current, write_receipt
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template

Form = Literal["mp4", "webm", "gif", "png", "sheet"]
DEFAULT_SIZE_PX = 512
_FRAMES, _SHEET_FRAMES = 120, 12  # of a path without a length of its own


@dataclass(frozen=True)
class Shot:
    """Along which path, in what form, how large and how fast."""

    path: str = "orbit"  # one of NAMED_PATHS, or a file of key frames
    cameras: Path | None = None  # instead of a path, stills for the cameras of this calibration.json
    form: Form = "mp4"
    size: tuple[int, int] | None = None  # width and height in pixels
    frames: int | None = None
    fps: float = 30.0

    @property
    def name(self) -> str:
        """What results are called."""
        return self.path if self.path in NAMED_PATHS else Path(self.path).stem

    def along_path(self) -> Cameras:
        """The cameras in the head frame.

        Raises:
            InputError: The path is no name, and no file of key frames.
        """
        width, height = self.size or (DEFAULT_SIZE_PX, DEFAULT_SIZE_PX)
        usual = _SHEET_FRAMES if self.form == "sheet" else _FRAMES
        if self.path in NAMED_PATHS:
            return NAMED_PATHS[self.path](self.frames or usual, width, height)
        file = Path(self.path)
        if not file.exists():
            expected = ", ".join(NAMED_PATHS) + " or a file of key frames"
            raise InputError("--path", found=f"'{self.path}'", expected=expected, remedy="choose one of them")
        keyed = read_camera_path(file)
        length = usual if self.form == "sheet" else round(keyed.seconds * self.fps) + (not keyed.is_closed)
        return keyed.cameras(self.frames or max(length, 1), width, height, file)


@dataclass
class RenderJob:
    """Draws heads; the template is loaded once, when it is first needed."""

    output: Path
    shot: Shot
    look: Look
    device: str
    template_folder: Path | None
    folder_each: bool  # whether each head has a folder of its own in `output`
    _template: Template | None = field(default=None, repr=False)

    def __call__(self, source: Path) -> None:
        """Write a head's pictures; files and folders appear complete or not at all."""
        head = read_head_source(source, self._surface())
        scene, result = Scene(head.gaussians.to(self.device), self.look), self.result(source)
        if self.shot.cameras is not None:
            rig = read_calibration(self.shot.cameras)
            write_stills(scene, head.rig_from_head, rig, result, size=self.shot.size)
        else:
            path = self.shot.along_path().to(self.device)
            write: dict[Form, Callable[[], None]] = {
                "sheet": lambda: write_sheet(scene, path, result),
                "png": lambda: write_sequence(scene, path, result),
            }
            write.get(self.shot.form, lambda: write_film(scene, path, result, fps=self.shot.fps))()
        write_receipt(self._receipt(source), self._made_from(source), {"head": str(source), **self._options()})

    def result(self, source: Path) -> Path:
        """The file or folder of a head's pictures."""
        folder = self.output / source_name(source) if self.folder_each else self.output
        if self.shot.cameras is not None:
            return folder if self.look.show == "rgb" else folder / self.look.show
        name = self.shot.name if self.look.show == "rgb" else f"{self.shot.name}_{self.look.show}"
        return folder / (name + {"png": "", "sheet": "_sheet.png"}.get(self.shot.form, f".{self.shot.form}"))

    def told(self, source: Path) -> str:
        """What the command says of them."""
        if self.shot.cameras is None:
            return str(self.result(source))
        return f"{self.result(source)}: {len(read_calibration(self.shot.cameras))} stills"

    def is_done(self, source: Path) -> bool:
        """Whether they are there already, of the same head with the same options."""
        return self.result(source).exists() and is_current(self._receipt(source), self._made_from(source))

    def _receipt(self, source: Path) -> Path:
        result = self.result(source)
        return result / "stills.json" if self.shot.cameras is not None else result.with_name(f"{result.name}.json")

    def _made_from(self, source: Path) -> str:
        shot = self.shot
        files = [file for file in (shot.cameras, Path(shot.path)) if file is not None and file.is_file()]
        inputs = [*source_hash(source), *map(sha256_of, files), self._surface().sha256]
        return fingerprint("render", inputs, self._options())

    def _options(self) -> dict[str, object]:
        return {"shot": {**asdict(self.shot), "cameras": str(self.shot.cameras or "")}, "look": asdict(self.look)}

    def _surface(self) -> Template:
        if self._template is None:
            self._template = load_template(self.template_folder)
        return self._template
