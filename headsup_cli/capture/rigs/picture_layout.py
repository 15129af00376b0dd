"""Which picture is of which camera at which moment, told by the names of files and folders."""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from headsup_cli.capture.confined_paths import confined
from headsup_cli.errors import InputError
from headsup_cli.media.images import READABLE_SUFFIXES
from headsup_cli.media.pictures import Picture

ONLY_FRAME = "frame"  # name of the frame where the pictures' names tell of none
MASK_FOLDERS = ("masks", "mask", "fg_masks", "alpha_maps")
_MAX_DEPTH = 4
_MAX_PICTURES = 2_000_000

Names = Mapping[str, tuple[str, ...]]  # camera -> what its files or folder may be called

logger = logging.getLogger(__name__)


def as_file_name(name: str) -> str:
    """A name made one that a file can have."""
    name = name.encode(errors="replace").decode()  # JSON may hold half characters
    return "".join("_" if c in "/\\:" or ord(c) < 32 else c for c in name).lstrip(".")[:128] or ONLY_FRAME


def wrong_size(picture: Picture, size: tuple[int, int], calibrated: tuple[int, int]) -> InputError:
    """The error of a picture whose width and height are not its camera's."""
    turned = "turn it back to how the camera saw it (EXIF's orientation is not heeded)"
    scaled = "use the pictures' own calibration, or scale the one to the other"
    return InputError(
        picture,
        found="{} x {} pixels".format(*size),
        expected="{} x {} as calibrated".format(*calibrated),
        remedy=turned if size == calibrated[::-1] else scaled,
    )


def frame_name(*parts: str) -> str:
    """The name of a moment from the folders and the file that tell of it."""
    return as_file_name("_".join(parts)) if parts else ONLY_FRAME


def pictures_below(root: Path, dump: Path) -> Iterator[Path]:
    """Paths of the pictures in a folder and its subfolders, in the order of their names.

    Raises:
        InputError: A link leads out of `dump`, or there are too many.
    """
    count = 0
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        deep = len(here.relative_to(root).parts) >= _MAX_DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if Path(name).suffix.lower() in READABLE_SUFFIXES and not name.startswith("."):
                count += 1
                yield confined(here / name, dump)
    if count > _MAX_PICTURES:
        raise InputError(root, found=f"{count} pictures", expected=f"at most {_MAX_PICTURES}", remedy="split the dump")


def find_pictures(folder: Path, names: Names) -> dict[str, dict[str, Picture]]:
    """Pictures by frame and camera in `images/`, or in `folder` itself where there is no such folder.

    The camera is told by the file's name or by that of one of the folders it is in, whichever fits most pictures; what
    else there is in the path names the frame: `<camera>.png`, `<frame>/<camera>.png`, `<camera>/<frame>.png` and
    `<sequence>/<camera>/<frame>.png` are all understood.

    Raises:
        InputError: Two pictures are of one camera and frame, or a link leads out of the dump.
    """
    root = folder / "images"
    return _by_frame(root if root.is_dir() else folder, folder, names)


def find_masks(folder: Path, names: Names) -> dict[str, dict[str, Picture]]:
    """Masks in `masks/` (or `mask/`, `fg_masks/`, `alpha_maps/`), laid out as the pictures are."""
    roots = [folder / name for name in MASK_FOLDERS if (folder / name).is_dir()]
    return _by_frame(roots[0], folder, names) if roots else {}


def find_backgrounds(folder: Path, names: Names) -> dict[str, Picture]:
    """Clean plates, `background/<camera>.<ext>`."""
    return _by_frame(folder / "background", folder, names).get(ONLY_FRAME, {})


def _by_frame(root: Path, folder: Path, names: Names) -> dict[str, dict[str, Picture]]:
    camera_of = {alias.casefold(): camera for camera, aliases in names.items() for alias in aliases}
    apart = {folder / name for name in (*MASK_FOLDERS, "background")} - {root}
    paths = [path for path in pictures_below(root, folder) if not apart.intersection(path.parents)]
    parts = {path: PurePosixPath(path.relative_to(root).with_suffix("").as_posix()).parts for path in paths}
    position = _camera_position(list(parts.values()), camera_of)
    found: dict[str, dict[str, Picture]] = defaultdict(dict)
    strangers = []
    for path, words in parts.items():
        camera = camera_of.get(words[position].casefold()) if len(words) >= -position else None
        if camera is None:
            strangers.append(path)
            continue
        frame = frame_name(*words[:position], *words[len(words) + position + 1 :])
        if camera in found[frame]:
            raise _twice(root, camera, found[frame][camera].path, path)
        found[frame][camera] = Picture(path)
    if strangers:
        logger.warning("%s and %d more: of no calibrated camera; ignored", strangers[0], len(strangers) - 1)
    return {frame: found[frame] for frame in sorted(found) if found[frame]}


def _camera_position(paths: list[tuple[str, ...]], camera_of: Mapping[str, str]) -> int:
    """Which part of the paths, counted from the end, most often names a camera; the file itself where that is open."""
    matches = Counter(-1 - i for words in paths for i, word in enumerate(words[::-1]) if word.casefold() in camera_of)
    return max(matches, key=lambda position: (matches[position], position), default=-1)


def _twice(root: Path, camera: str, first: Path, second: Path) -> InputError:
    return InputError(
        root,
        field=camera,
        found=f"there twice ({first.name}, {second.name})",
        expected="one picture per camera and frame",
        remedy="remove one of the two",
    )
