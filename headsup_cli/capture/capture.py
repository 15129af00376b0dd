"""A capture (docs/capture-format.md): one subject, undistorted, masked, in metres, in the head frame."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from headsup_cli.capture.confined_paths import confined
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.schemas import (
    CaptureCameraEntry,
    CaptureFile,
    CaptureFrameEntry,
    CaptureViewEntry,
    HeadFrameEntry,
    ProvenanceEntry,
    RigCameraRecord,
)
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.errors import InputError
from headsup_cli.media.images import read_image, read_image_size, read_mask, to_8bit, write_image
from headsup_cli.runtime.atomic import atomic_directory, atomic_write_text

CAPTURE_FILE = "capture.json"


@dataclass(frozen=True)
class OriginalCamera:
    """Intrinsics of the distorted picture that a view was made from; pixel centres at half-integers."""

    K: Float64[np.ndarray, "3 3"]
    lens: Lens
    width: int
    height: int


@dataclass(frozen=True)
class CaptureCamera:
    """An undistorted camera in the head frame; OpenCV axes, pixel centres at half-integers."""

    K: Float64[np.ndarray, "3 3"]  # pixels
    cam_from_head: Float64[np.ndarray, "4 4"]  # rigid, metres
    width: int
    height: int
    original: OriginalCamera
    colour_gain: Float64[np.ndarray, " 3"] = field(default_factory=lambda: np.ones(3))  # linear RGB, already applied


@dataclass(frozen=True)
class CaptureView:
    """One picture and its mask, held as pixels or as paths to read when asked."""

    image: UInt8[np.ndarray, "h w 3"] | Path
    mask: UInt8[np.ndarray, "h w"] | Path | None  # white = subject; None where the subject is not masked

    def load_image(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture, sRGB."""
        return read_image(self.image) if isinstance(self.image, Path) else self.image

    def load_mask(self) -> Float32[np.ndarray, "h w"] | None:
        """Coverage by the subject in [0, 1], or None where it is not known."""
        if isinstance(self.mask, Path):
            return read_mask(self.mask)
        return None if self.mask is None else self.mask.astype(np.float32) / 255.0


@dataclass(frozen=True)
class CaptureFrame:
    """One moment: views by camera id, and ARKit weights where known."""

    views: dict[str, CaptureView]
    expression: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Capture:
    """One subject, ready for training and reconstruction."""

    subject: str
    cameras: dict[str, CaptureCamera]
    frames: dict[str, CaptureFrame]
    rig_from_head: Float64[np.ndarray, "4 4"]  # similarity: head frame in metres -> rig's world in the rig's units
    head_frame: HeadFrameEntry
    provenance: ProvenanceEntry

    def frame_named(self, wanted: str | None) -> str:
        """The frame asked for, or the first, which is the most neutral.

        Raises:
            InputError: There is none of that name.
        """
        if wanted is None:
            return next(iter(self.frames))
        if wanted in self.frames:
            return wanted
        raise InputError(
            f"capture {self.subject}",
            field="frame",
            found=f"'{wanted}'",
            expected=f"one of {', '.join(list(self.frames)[:20])}",
            remedy="name one of them by --frame",
        )


def is_capture(folder: Path) -> bool:
    """Whether `folder` holds a capture."""
    return (folder / CAPTURE_FILE).is_file()


def read_capture(folder: Path) -> Capture:
    """Read a capture; pictures stay on disk until a view is asked for them.

    Raises:
        InputError: `capture.json` is missing or wrong, or names a picture that is missing or lies elsewhere.
    """
    if not is_capture(folder):
        raise InputError(
            folder, found=f"without {CAPTURE_FILE}", expected="a capture", remedy="make one with headsup preprocess"
        )
    file = load_json_config(folder / CAPTURE_FILE, CaptureFile)
    return Capture(
        subject=file.subject,
        cameras={name: _camera(entry) for name, entry in file.cameras.items()},
        frames={name: _frame(folder, file, name) for name in file.frames},
        rig_from_head=np.array(file.rig_from_head, dtype=np.float64),
        head_frame=file.head_frame,
        provenance=file.provenance,
    )


def validate_capture(folder: Path) -> Capture:
    """Read a capture and decode every picture of it.

    Raises:
        InputError: As for `read_capture`, or a picture is damaged or of another size than its camera.
    """
    capture = read_capture(folder)
    for name, view in _views(capture):
        camera = capture.cameras[name]
        for path in (view.image, view.mask):
            if isinstance(path, Path):
                _check_size(path, camera)
        view.load_image()
        view.load_mask()
    return capture


@dataclass(frozen=True)
class Encoding:
    """How a capture's pictures are stored; masks are always PNG."""

    suffix: Literal[".png", ".jpg", ".webp"] = ".png"
    quality: int = 95  # of .jpg and .webp, 1 to 100

    def write(self, path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Write a picture, sRGB."""
        write_image(path, image, jpeg_quality=self.quality, webp_quality=self.quality)


def write_capture(capture: Capture, folder: Path, encoding: Encoding | None = None) -> None:
    """Write a capture as a folder that appears complete or not at all.

    Args:
        capture: What to write; views held as paths are read and written anew.
        folder: Final path; a capture of that name is replaced.
        encoding: Format of the images; PNG.
    """
    with atomic_directory(folder) as temporary:
        frames = {
            name: CaptureFrame(
                {
                    camera: write_view(view, temporary, name, camera, encoding or Encoding())
                    for camera, view in frame.views.items()
                },
                frame.expression,
            )
            for name, frame in capture.frames.items()
        }
        write_capture_file(replace(capture, frames=frames), temporary)


def write_view(view: CaptureView, folder: Path, frame: str, camera: str, encoding: Encoding) -> CaptureView:
    """Write the pictures of one view into a capture's folder, and return the view as it is stored there."""
    image, mask = folder / "images" / frame / f"{camera}{encoding.suffix}", folder / "masks" / frame / f"{camera}.png"
    encoding.write(image, view.load_image())
    if view.mask is None:
        return CaptureView(image, None)
    write_image(mask, to_8bit(read_mask(view.mask)) if isinstance(view.mask, Path) else view.mask)
    return CaptureView(image, mask)


def write_capture_file(capture: Capture, folder: Path) -> None:
    """Write `capture.json` to a folder that holds the capture's pictures already."""

    def entry(view: CaptureView) -> CaptureViewEntry:
        image, mask = (
            path.relative_to(folder).as_posix() if isinstance(path, Path) else None for path in (view.image, view.mask)
        )
        if image is None:
            raise ValueError("pictures must be written before the file that names them")
        return CaptureViewEntry(image=image, mask=mask)

    file = CaptureFile(
        schema="headsup-capture/1",
        subject=capture.subject,
        cameras={name: _camera_entry(camera) for name, camera in capture.cameras.items()},
        frames={
            name: CaptureFrameEntry(
                expression=frame.expression, views={camera: entry(view) for camera, view in frame.views.items()}
            )
            for name, frame in capture.frames.items()
        },
        rig_from_head=capture.rig_from_head.tolist(),
        head_frame=capture.head_frame,
        provenance=capture.provenance,
    )
    atomic_write_text(folder / CAPTURE_FILE, file.model_dump_json(by_alias=True, indent=1) + "\n")


def _camera(entry: CaptureCameraEntry) -> CaptureCamera:
    original = entry.rig
    return CaptureCamera(
        K=np.array(entry.K, dtype=np.float64),
        cam_from_head=np.array(entry.cam_from_head, dtype=np.float64),
        width=entry.width,
        height=entry.height,
        original=OriginalCamera(
            np.array(original.K, dtype=np.float64), original.as_lens(), original.width, original.height
        ),
        colour_gain=np.array(entry.colour_gain, dtype=np.float64),
    )


def _camera_entry(camera: CaptureCamera) -> CaptureCameraEntry:
    original = camera.original
    return CaptureCameraEntry(
        K=camera.K.tolist(),
        cam_from_head=camera.cam_from_head.tolist(),
        width=camera.width,
        height=camera.height,
        colour_gain=camera.colour_gain.tolist(),
        rig=RigCameraRecord(
            K=original.K.tolist(),
            lens=original.lens.model,
            dist=original.lens.stored_coefficients,
            width=original.width,
            height=original.height,
        ),
    )


def _frame(folder: Path, file: CaptureFile, frame_name: str) -> CaptureFrame:
    entry = file.frames[frame_name]
    views = {}
    for name, view in entry.views.items():
        field_path = f"frames.{frame_name}.views.{name}"
        if name not in file.cameras:
            raise InputError(
                folder / CAPTURE_FILE,
                field=field_path,
                found="of no known camera",
                expected=f"one of {_shown(file.cameras)}",
                remedy="add the camera or remove the view",
            )
        image = _picture(folder, view.image, f"{field_path}.image")
        mask = None if view.mask is None else _picture(folder, view.mask, f"{field_path}.mask")
        views[name] = CaptureView(image, mask)
    return CaptureFrame(views, entry.expression)


def _picture(folder: Path, relative: str, field_path: str) -> Path:
    path = confined(folder / relative, folder)
    if path.is_file():
        return path
    raise InputError(
        folder / CAPTURE_FILE,
        field=field_path,
        found=f"{relative}, which is not there",
        expected="a picture's path",
        remedy="restore the file or run headsup preprocess again",
    )


def _views(capture: Capture) -> Iterator[tuple[str, CaptureView]]:
    for frame in capture.frames.values():
        yield from frame.views.items()


def _check_size(path: Path, camera: CaptureCamera) -> None:
    size = read_image_size(path)
    if size != (camera.width, camera.height):
        raise InputError(
            path,
            found="{} x {} pixels".format(*size),
            expected=f"{camera.width} x {camera.height} as in {CAPTURE_FILE}",
            remedy="run headsup preprocess again",
        )


def _shown(names: Mapping[str, object]) -> str:
    return ", ".join(list(names)[:8]) + (", ..." if len(names) > 8 else "")
