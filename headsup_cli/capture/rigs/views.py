"""From posed pictures, as structure from motion knows them, to cameras of a rig and moments."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from headsup_cli.capture.confined_paths import confined
from headsup_cli.capture.rigs.calibrated_camera import CalibratedCamera
from headsup_cli.capture.rigs.picture_layout import MASK_FOLDERS, as_file_name, frame_name, pictures_below
from headsup_cli.errors import InputError
from headsup_cli.media.images import READABLE_SUFFIXES
from headsup_cli.media.pictures import Picture

_SAME_ROTATION = 1e-3  # largest difference between elements of the matrices
_SAME_POSITION = 1e-3  # of the distance from the world's origin

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PosedPicture:
    """A picture with a camera of its own."""

    name: str  # path relative to the pictures' folder, with forward slashes
    picture: Picture
    camera: CalibratedCamera
    mask: Picture | None = None


@dataclass(frozen=True)
class Rig:
    """Cameras, and their pictures and masks by frame."""

    cameras: dict[str, CalibratedCamera]
    images: dict[str, dict[str, Picture]]
    masks: dict[str, dict[str, Picture]]


def group_views(views: Sequence[PosedPicture]) -> Rig:
    """Find the cameras that several pictures are of: same pose, and same name within different folders.

    `<frame>/<camera>.png` and `<camera>/<frame>.png` are told apart by which of them makes cameras stand still.
    Otherwise each picture is a camera, and all are of one moment.

    Raises:
        InputError: Two pictures have the same name.
    """
    by_stem = _grouped(views, lambda path: (path.stem, path.parts[:-1]))
    by_folder = _grouped(views, lambda path: ("_".join(path.parts[:-1]), (path.stem,)))
    for groups in (by_stem, by_folder):
        if len(groups) < len(views) and all(_stands_still(list(group.values())) for group in groups.values()):
            return _rig(groups)
    stems_suffice = len(by_stem) == len(views)
    alone = _grouped(views, lambda path: (path.stem if stems_suffice else "_".join(path.with_suffix("").parts), ()))
    if sum(map(len, alone.values())) < len(views):
        raise InputError(
            views[0].picture.path.parent,
            found="two pictures whose names differ in nothing but their suffix",
            expected="a name of its own for each",
            remedy="rename one of them",
        )
    return _rig(alone)


_Groups = dict[str, dict[str, PosedPicture]]  # camera -> frame -> view


def _grouped(views: Iterable[PosedPicture], split: Callable[[PurePosixPath], tuple[str, tuple[str, ...]]]) -> _Groups:
    groups: _Groups = defaultdict(dict)
    for view in views:
        camera, moment = split(PurePosixPath(view.name))
        groups[as_file_name(camera)][frame_name(*moment)] = view
    return groups


def _stands_still(views: Sequence[PosedPicture]) -> bool:
    first = views[0].camera
    return all(_is_same(view.camera, first) for view in views[1:])


def _is_same(camera: CalibratedCamera, other: CalibratedCamera) -> bool:
    difference = np.abs(camera.cam_from_world - other.cam_from_world)
    reach = max(1e-12, float(np.linalg.norm(other.cam_from_world[:3, 3])))
    return (
        float(difference[:3, :3].max()) < _SAME_ROTATION
        and float(difference[:3, 3].max()) < _SAME_POSITION * reach
        and camera.lens.model == other.lens.model
        and np.allclose(camera.K, other.K, rtol=1e-3)
    )


def _rig(groups: _Groups) -> Rig:
    images: dict[str, dict[str, Picture]] = defaultdict(dict)
    masks: dict[str, dict[str, Picture]] = defaultdict(dict)
    for camera in sorted(groups):
        for frame in sorted(groups[camera]):
            view = groups[camera][frame]
            images[frame][camera] = view.picture
            if view.mask is not None:
                masks[frame][camera] = view.mask
    cameras = {name: next(iter(groups[name].values())).camera for name in sorted(groups)}
    return Rig(cameras, {frame: images[frame] for frame in sorted(images)}, dict(masks))


def find_picture(names: Iterable[Path], folder: Path) -> Path | None:
    """The first of some files that is there, as it is or with a picture's suffix.

    Raises:
        InputError: It lies outside `folder`.
    """
    for name in names:
        for path in (name, *(name.with_name(name.name + suffix) for suffix in READABLE_SUFFIXES)):
            if os.path.isfile(confined(path, folder)):  # noqa: PTH113 - Path's raises for names that cannot be
                return path
    return None


def find_mask(folder: Path, name: str) -> Picture | None:
    """The mask of the picture `name`: `masks/<name>`, `masks/<name>.png` or with another suffix instead."""
    for root in (folder / "masks", folder / "mask"):
        if root.is_dir() and (path := find_picture([root / name, (root / name).with_suffix("")], folder)):
            return Picture(path)
    return None


def posed_pictures(folder: Path, root: Path, calibrated: Mapping[str, CalibratedCamera]) -> list[PosedPicture]:
    """Find the pictures and masks of cameras that are known by their pictures' names.

    A picture is `<root>/<name>`, or `<root>/<frame>/<name>` where one calibration is for several moments.

    Raises:
        InputError: One lies outside `folder`.
    """
    inside = sorted(entry for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    views = []
    for name, camera in calibrated.items():
        direct = find_picture([root / name], folder)
        nested = [] if direct else [path for frame in inside if (path := find_picture([frame / name], folder))]
        found = [direct] if direct else nested
        if not found:
            logger.warning("%s: the picture %s of the calibration is not there; ignored", root, name)
        for path in found:
            at = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            views.append(PosedPicture(at, Picture(path), camera, find_mask(folder, at)))
    return views


def posed_by_label(folder: Path, calibrated: Mapping[str, CalibratedCamera]) -> list[PosedPicture]:
    """Find the pictures of cameras that are known by their pictures' names, with or without suffix, in any case.

    They are in `images/`, in its subfolders, or in `folder` itself where there is no such folder.

    Raises:
        InputError: One lies outside `folder`.
    """
    root = folder / "images" if (folder / "images").is_dir() else folder
    camera_of = {
        Path(label).stem.casefold() if _has_suffix(label) else label.casefold(): c for label, c in calibrated.items()
    }
    views = []
    for path in pictures_below(root, folder):
        inside = path.relative_to(root)
        if inside.parts[0] in MASK_FOLDERS:
            continue
        name = inside.as_posix()
        camera = camera_of.get(inside.with_suffix("").as_posix().casefold()) or camera_of.get(path.stem.casefold())
        if camera is not None:
            views.append(PosedPicture(name, Picture(path), camera, find_mask(folder, name)))
    found = {id(view.camera) for view in views}
    missing = [label for label, camera in calibrated.items() if id(camera) not in found]
    if missing:
        logger.warning("%s: no pictures of %d cameras: %s", root, len(missing), ", ".join(missing[:5]))
    return views


def _has_suffix(label: str) -> bool:
    return Path(label).suffix.lower() in READABLE_SUFFIXES
