"""Ava-256 (github.com/facebookresearch/ava-256: utils.py, data/ava_dataset.py, DATASHEET.md)."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
from annotated_types import Len

from headsup_cli.capture.confined_paths import confined
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import (
    TO_HALF_INTEGERS_PX,
    CalibratedCamera,
    intrinsics,
    rigid,
)
from headsup_cli.capture.rigs.picture_layout import as_file_name
from headsup_cli.capture.rigs.text_files import ForeignModel, bad_field, head_of
from headsup_cli.capture.schemas import MAX_CAMERAS, Matrix3
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.errors import InputError
from headsup_cli.media.images import READABLE_SUFFIXES
from headsup_cli.media.pictures import Picture, archive_members

TREE = """
decoder/camera_calibration.json             the KRT list; or without decoder/
decoder/image/cam<id>.zip                   cam<id>/<frame>.avif
decoder/segmentation_parts/cam<id>.zip      optional, labels: all but background and chair are subject
"""
_CALIBRATED_SIZE = (2668, 4096)
_SUBJECT_LABELS = (1, 2, 4, 5, 6, 7, 8, 9, 10)  # 0 is background, 3 the chair

logger = logging.getLogger(__name__)


class _Camera(ForeignModel):
    cameraId: str | int  # noqa: N815 - the file's spelling
    distortionModel: str = "RadialAndTangential"  # noqa: N815
    K: Matrix3
    distortion: Annotated[list[float], Len(4, 5)]
    T: Annotated[list[Annotated[list[float], Len(3, 4)]], Len(4, 4)]


class _File(ForeignModel):
    KRT: Annotated[list[_Camera], Len(1, MAX_CAMERAS)]


def recognises(folder: Path) -> bool:
    """Whether there is a camera_calibration.json with a KRT list."""
    return b'"KRT"' in head_of(_root(folder) / "camera_calibration.json")


def read_rig(folder: Path) -> RigDump:
    """Read a capture; intrinsics are scaled to the pictures that are there.

    Raises:
        InputError: The calibration is wrong, or an archive is damaged.
    """
    root = _root(folder)
    cameras = _cameras(root / "camera_calibration.json")
    images = _archived(root / "image", folder, cameras, "brightness")
    masks = _archived(root / "segmentation_parts", folder, cameras, _SUBJECT_LABELS)
    found = Findings(cameras, images, masks, metres_per_unit=1e-3, resized=True)
    return assemble(folder, "ava-256", found)


def _root(folder: Path) -> Path:
    return folder / "decoder" if (folder / "decoder").is_dir() else folder


def _cameras(path: Path) -> dict[str, CalibratedCamera]:
    """K and T are stored transposed: the translation is in the last row."""
    cameras = {}
    for entry in load_json_config(path, _File).KRT:
        name = str(entry.cameraId)
        if entry.distortionModel != "RadialAndTangential":
            raise bad_field(path, f"distortion of camera {name}", entry.distortionModel[:40], "RadialAndTangential")
        T = np.array([row[:3] for row in entry.T])
        cameras[as_file_name(name)] = CalibratedCamera(
            K=intrinsics(path, name, np.array(entry.K).T, pixel_shift=TO_HALF_INTEGERS_PX),
            lens=Lens("opencv", tuple(entry.distortion)),
            cam_from_world=rigid(path, name, T[:3].T, T[3]),
            size=_CALIBRATED_SIZE,
        )
    return cameras


def _archived(
    folder: Path, dump: Path, cameras: Iterable[str], coverage: str | tuple[int, ...]
) -> Mapping[str, Mapping[str, Picture]]:
    frames: dict[str, dict[str, Picture]] = defaultdict(dict)
    for camera in cameras:
        path = folder / f"cam{camera}.zip"
        if not path.is_file():
            continue
        try:
            members = archive_members(confined(path, dump))
        except InputError as error:
            logger.warning("camera %s is left out: %s", camera, error)
            continue
        for member in members:
            name = PurePosixPath(member)
            if name.suffix.lower() in READABLE_SUFFIXES:
                picture = Picture(path, member=member, coverage=coverage)  # type: ignore[arg-type]
                frames[as_file_name(name.stem)][camera] = picture
    return {name: frames[name] for name in sorted(frames)}
