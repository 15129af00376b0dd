"""The KRT text file of Multiface and several studios (github.com/facebookresearch/multiface, dataset.py)."""

from pathlib import Path

import numpy as np

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import TO_HALF_INTEGERS_PX, CalibratedCamera, intrinsics, rigid
from headsup_cli.capture.rigs.picture_layout import as_file_name, find_backgrounds, find_masks, find_pictures
from headsup_cli.capture.rigs.text_files import bad_field, no_calibration, numbers, read_text

TREE = """
KRT                                   or *.krt, KRT.txt: name, K, distortion, [R|t] of each camera, millimetres
images/<camera>.png                   or images/<frame>/<camera>.png, or images/<sequence>/<camera>/<frame>.png
masks/...                             optional, same layout
"""
_NAMES = ("KRT", "KRT.txt", "krt", "krt.txt")


def recognises(folder: Path) -> bool:
    """Whether there is a KRT file."""
    return _file(folder) is not None


def read_rig(folder: Path) -> RigDump:
    """Read a KRT file; its unit is guessed from how far the cameras stand from the subject.

    Raises:
        InputError: The file is missing or damaged, or pictures do not fit it.
    """
    path = _file(folder)
    if path is None:
        raise no_calibration(folder / "KRT", "missing")
    cameras = dict(_camera(path, block) for block in _blocks(path, folder))
    names = {name: (name,) for name in cameras}
    images, masks = find_pictures(folder, names), find_masks(folder, names)
    return assemble(folder, "krt", Findings(cameras, images, masks, find_backgrounds(folder, names)))


def _file(folder: Path) -> Path | None:
    named = [path for name in _NAMES if (path := folder / name).is_file()]
    return next(iter(named or sorted(folder.glob("*.krt"))), None)


def _blocks(path: Path, folder: Path) -> list[list[str]]:
    """Eight lines for each camera; blank lines between them count for nothing."""
    lines = [line for line in read_text(path, folder).splitlines() if line.strip()]
    if not lines or len(lines) % 8:
        raise no_calibration(path, f"of {len(lines)} lines that are not blank, where each camera has 8")
    return [lines[start : start + 8] for start in range(0, len(lines), 8)]


def _camera(path: Path, block: list[str]) -> tuple[str, CalibratedCamera]:
    name = block[0].strip()
    K = [numbers(line, 3, path, f"K of camera {name}") for line in block[1:4]]
    distortion = [float(word) for word in _words(path, name, block[4])]
    pose = np.array([numbers(line, 4, path, f"pose of camera {name}") for line in block[5:8]])
    return as_file_name(name), CalibratedCamera(
        K=intrinsics(path, name, K, pixel_shift=TO_HALF_INTEGERS_PX),
        lens=Lens("opencv", tuple(distortion)),
        cam_from_world=rigid(path, name, pose[:, :3], pose[:, 3]),
        size=None,
    )


def _words(path: Path, name: str, line: str) -> list[str]:
    words = line.split()
    if len(words) not in (4, 5, 8, 12):
        raise bad_field(path, f"distortion of camera {name}", f"{len(words)} words", "4, 5, 8 or 12 coefficients")
    return [str(value) for value in numbers(line, len(words), path, f"distortion of camera {name}")]
