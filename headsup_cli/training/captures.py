"""Captures as training data: listed once, decoded when a sample needs them."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import Field

from headsup_cli.batch.subjects import expand_subjects
from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.capture import CAPTURE_FILE, Capture, CaptureView, is_capture, read_capture
from headsup_cli.capture.schemas import CaptureFile
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import HeadsupError, InputError
from headsup_cli.media.opencv import cv2
from headsup_cli.runtime.atomic import atomic_write_text
from headsup_cli.runtime.progress import progress
from headsup_cli.training.config import ValidationConfig
from headsup_cli.training.dataset import TrainingExample, TrainingSubject, held_out_example

logger = logging.getLogger(__name__)

_FEWEST_PEOPLE_TO_SPARE_ONE = 10
_FEWEST_CAMERAS_TO_SPARE_ONE = 4


class _IndexEntry(StrictModel):
    """One capture, as far as it must be known to be drawn."""

    modified_ns: int
    size_bytes: int
    frames: dict[str, int]  # views of each


class _IndexFile(StrictModel, populate_by_name=True):
    schema_: Literal["headsup-training-index/1"] = Field("headsup-training-index/1", alias="schema")
    captures: dict[str, _IndexEntry]


@dataclass(frozen=True)
class IndexedCapture:
    """Where a capture is, and how many views its frames have."""

    folder: Path
    frames: tuple[tuple[str, int], ...]  # those with at least two views


def index_captures(paths: Sequence[Path], index_file: Path) -> list[IndexedCapture]:
    """List captures; only those that `index_file` does not know as they are now get read.

    Args:
        paths: Captures, and folders of captures.
        index_file: Read where it is there, and written.

    Returns:
        Usable captures by folder name. Others are named in a warning.

    Raises:
        HeadsupError: There is none.
    """
    folders = [folder for path in paths for folder in expand_subjects([path], is_capture)]
    known = load_json_config(index_file, _IndexFile).captures if index_file.exists() else {}
    entries: dict[str, _IndexEntry] = {}
    unusable: list[str] = []
    for folder in progress(folders, "listing captures"):
        try:
            entries[str(folder)] = _current_entry(folder, known.get(str(folder)))
        except InputError as error:
            unusable.append(str(error))
            logger.warning("left out: %s", error)
    if not entries:
        raise HeadsupError(f"none of {len(folders)} captures can be used; the last one: {unusable[-1]}")
    if entries != known:
        atomic_write_text(index_file, _IndexFile(captures=entries).model_dump_json(by_alias=True) + "\n")
    return [IndexedCapture(Path(folder), tuple(entry.frames.items())) for folder, entry in sorted(entries.items())]


def _current_entry(folder: Path, known: _IndexEntry | None) -> _IndexEntry:
    path = folder / CAPTURE_FILE
    if not path.is_file():
        read_capture(folder)  # says what is wrong
    stat = path.stat()
    if known is not None and (known.modified_ns, known.size_bytes) == (stat.st_mtime_ns, stat.st_size):
        return known
    counts = {name: len(frame.views) for name, frame in load_json_config(path, CaptureFile).frames.items()}
    frames = {name: count for name, count in counts.items() if count > 1}
    if not frames:
        raise InputError(
            path, field="frames", found="with one view each", expected="two or more", remedy="train without it"
        )
    return _IndexEntry(modified_ns=stat.st_mtime_ns, size_bytes=stat.st_size, frames=frames)


def split_people(
    captures: Sequence[IndexedCapture], config: ValidationConfig
) -> tuple[list[IndexedCapture], list[IndexedCapture]]:
    """People to train on, and people to validate on, chosen by the hash of their folder's name.

    With few people none is held out, and validation looks at held-out cameras of the people trained on.
    """
    if len(captures) < _FEWEST_PEOPLE_TO_SPARE_ONE:
        logger.info("validation: held-out cameras only, %d people are too few to hold one out", len(captures))
        return list(captures), list(captures)
    by_hash = sorted(captures, key=lambda capture: _hash(capture.folder.name))
    count = max(1, round(config.people_share * len(captures)))
    return by_hash[count:], by_hash[:count]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@dataclass(frozen=True)
class CaptureSource:
    """Moments of captured people by number: a new order of the people in every epoch, a frame at random.

    Cameras are ordered by the hash of their name, so that those held out are the same for everybody in a rig; they come
    last and are not counted.
    """

    captures: tuple[IndexedCapture, ...]
    seed: int
    camera_share: float  # held out

    def view_count(self, index: int) -> int:
        """See `dataset.PictureSource`."""
        return self._seen(self._drawn(index)[2])

    def views(self, index: int, chosen: Sequence[int], longer_side_px: int) -> TrainingSubject:
        """See `dataset.PictureSource`."""
        capture, frame, _ = self._drawn(index)
        return _load(capture.folder, frame, chosen, longer_side_px)

    def held_out(self, config: ValidationConfig, longer_side_px: int) -> list[TrainingExample]:
        """The first people's first frames, their held-out cameras as targets; what is broken is left out."""
        examples: list[TrainingExample] = []
        for capture in self.captures[: config.people]:
            frame, count = capture.frames[0]
            seen = min(self._seen(count), count - 1)
            try:
                subject = _load(capture.folder, frame, range(count), longer_side_px)
            except InputError as error:
                logger.warning("left out of validation: %s", error)
                continue
            examples.append(held_out_example(subject, inputs=min(seen, config.input_views), held_out=count - seen))
        return examples

    def _seen(self, count: int) -> int:
        spare = max(1, round(self.camera_share * count)) if count >= _FEWEST_CAMERAS_TO_SPARE_ONE else 0
        return count - spare

    def _drawn(self, index: int) -> tuple[IndexedCapture, str, int]:
        epoch, position = divmod(index, len(self.captures))
        capture = self.captures[_order(len(self.captures), self.seed, epoch)[position]]
        choice = np.random.default_rng([self.seed, 0xF4A3E, index]).integers(len(capture.frames))
        return capture, *capture.frames[choice]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 0xE90C4, epoch]).permutation(count)


@lru_cache(maxsize=32)
def _capture(folder: Path) -> Capture:
    return read_capture(folder)


def _load(folder: Path, frame: str, chosen: Sequence[int], longer_side_px: int) -> TrainingSubject:
    """Some views of a frame, in the order of their cameras' hashes, all at one size."""
    capture = _capture(folder)
    if frame not in capture.frames:
        raise InputError(folder, field=f"frame {frame}", found="gone", expected="as listed", remedy="start again")
    views = capture.frames[frame].views
    names = sorted(views, key=_hash)
    sizes = Counter((capture.cameras[name].width, capture.cameras[name].height) for name in names)
    common = max(sizes, key=lambda size: (sizes[size], size))
    width, height = (max(1, round(side * longer_side_px / max(common))) for side in common)
    picked = [names[i] for i in chosen if i < len(names)]
    pictures = [_picture(views[name], width, height) for name in picked]
    cameras = [capture.cameras[name] for name in picked]
    K = np.stack([np.diag([width / c.width, height / c.height, 1.0]) @ c.K for c in cameras])
    masked = all(view.mask is not None for view in views.values())
    whole, cut_out, mask = (torch.from_numpy(np.stack(images)) for images in zip(*pictures, strict=True))
    poses = torch.from_numpy(np.stack([c.cam_from_head for c in cameras])).float()
    seen_by = Cameras(poses, torch.from_numpy(K).float(), width, height)
    if not masked:
        return TrainingSubject(whole, torch.ones_like(mask), seen_by, surface=None, masked=False)
    return TrainingSubject(cut_out, mask, seen_by, surface=None, whole=whole)


def _picture(
    view: CaptureView, width: int, height: int
) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w 1"]]:
    """A view at another size: the picture, the subject on black (cut out before pixels are mixed), and its mask."""
    picture, coverage = view.load_image().astype(np.float32) / 255, view.load_mask()
    if coverage is None:
        coverage = np.ones(picture.shape[:2], np.float32)
    whole, cut_out, mask = (
        np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        for image in (picture, picture * coverage[..., None], coverage)
    )
    return whole, cut_out, mask[..., None]
