"""Which importer reads a folder: decided by looking at it, or by a person."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs import (
    ava256,
    colmap,
    facescape,
    kalibr,
    krt,
    metashape,
    native,
    nersemble,
    opencv,
    realityscan,
    transforms_json,
)
from headsup_cli.errors import InputError

Distortion = Literal["apply", "ignore"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Importer:
    """A dialect of rig dumps."""

    name: str
    description: str  # what the folder looks like, for a person
    tree: str  # the same as a directory tree
    recognises: Callable[[Path], bool]  # cheap: looks at names and the beginnings of small files
    read: Callable[[Path], RigDump]


IMPORTERS = (
    Importer("native", "calibration.json (headsup-rig/1)", native.TREE, native.recognises, native.read_rig),
    Importer("colmap", "COLMAP's sparse model", colmap.TREE, colmap.recognises, colmap.read_rig),
    Importer(
        "nerfstudio",
        "transforms.json of nerfstudio, instant-ngp or Blender",
        transforms_json.TREE,
        transforms_json.recognises,
        transforms_json.read_rig,
    ),
    Importer(
        "vhap",
        "transforms.json of VHAP, as GaussianAvatars takes it",
        transforms_json.VHAP_TREE,
        transforms_json.recognises_vhap,
        transforms_json.read_vhap_rig,
    ),
    Importer(
        "nersemble-v2",
        "a participant of NeRSemble v2",
        nersemble.TREE_V2,
        nersemble.recognises_v2,
        nersemble.read_v2_rig,
    ),
    Importer(
        "nersemble-v1", "a subject of NeRSemble v1", nersemble.TREE_V1, nersemble.recognises_v1, nersemble.read_v1_rig
    ),
    Importer("ava-256", "a capture of Ava-256", ava256.TREE, ava256.recognises, ava256.read_rig),
    Importer("krt", "a KRT text file, Multiface's or a studio's", krt.TREE, krt.recognises, krt.read_rig),
    Importer("opencv", "OpenCV's FileStorage in four layouts", opencv.TREE, opencv.recognises, opencv.read_rig),
    Importer("kalibr", "Kalibr's camchain.yaml", kalibr.TREE, kalibr.recognises, kalibr.read_rig),
    Importer("metashape", "Agisoft Metashape's cameras XML", metashape.TREE, metashape.recognises, metashape.read_rig),
    Importer(
        "realityscan-csv",
        "RealityScan's or RealityCapture's camera table",
        realityscan.CSV_TREE,
        realityscan.recognises_table,
        realityscan.read_table_rig,
    ),
    Importer(
        "realityscan-xmp",
        "RealityScan's or RealityCapture's XMP sidecars",
        realityscan.XMP_TREE,
        realityscan.recognises_sidecars,
        realityscan.read_sidecar_rig,
    ),
    Importer("facescape", "FaceScape's params.json", facescape.TREE, facescape.recognises, facescape.read_rig),
)
IMPORTER_NAMES = tuple(importer.name for importer in IMPORTERS)


def is_rig_dump(folder: Path) -> bool:
    """Whether any importer recognises `folder`, or it has pictures that lack no more than a calibration."""
    return folder.is_dir() and (bool(_recognising(folder)) or (folder / "images").is_dir())


def read_rig_dump(
    folder: Path, importer: str | None = None, *, distortion: Distortion = "apply", every: int = 1
) -> RigDump:
    """Read a rig dump of whichever dialect it is.

    Args:
        folder: The dump.
        importer: Name of the dialect (`IMPORTER_NAMES`); None to find it by looking.
        distortion: `ignore` takes the pictures to be free of it already, whatever the calibration says.
        every: Take every so many of the frames, for videos whose neighbours are much alike.

    Raises:
        InputError: No importer recognises the folder or several do, or the one that does finds fault with it.
    """
    dump = _importer(folder, importer).read(folder)
    if distortion == "ignore":
        dump = replace(dump, cameras={name: replace(camera, lens=Lens()) for name, camera in dump.cameras.items()})
    if every > 1:
        dump = replace(dump, frames={name: dump.frames[name] for name in list(dump.frames)[::every]})
    logger.info("%s: read as %s: %d cameras, %d frames", folder, dump.importer, len(dump.cameras), len(dump.frames))
    return dump


def list_importers() -> str:
    """Every dialect with its directory tree, for a person."""
    return "\n".join(f"{importer.name}: {importer.description}\n{_indented(importer.tree)}" for importer in IMPORTERS)


def _importer(folder: Path, name: str | None) -> Importer:
    if name is not None:
        chosen = [importer for importer in IMPORTERS if importer.name == name]
        if not chosen:
            raise InputError(
                name, found="no known format", expected=f"one of {', '.join(IMPORTER_NAMES)}", remedy="name one of them"
            )
    else:
        chosen = _recognising(folder)
    if len(chosen) > 1:
        names = " and ".join(importer.name for importer in chosen)
        raise InputError(
            folder, found=f"with several calibrations ({names})", expected="one", remedy="choose with --format"
        )
    if chosen:
        return chosen[0]
    if (folder / "images").is_dir():
        return IMPORTERS[0]  # which says what it lacks
    raise InputError(
        folder,
        found="missing" if not folder.exists() else "no rig dump",
        expected="a folder with " + ", or ".join(importer.description for importer in IMPORTERS),
        remedy="see headsup preprocess --list-formats",
    )


def _recognising(folder: Path) -> list[Importer]:
    """Who recognises a folder; our own format says so itself, whatever else lies beside it."""
    if IMPORTERS[0].recognises(folder):
        return [IMPORTERS[0]]
    return [importer for importer in IMPORTERS[1:] if importer.recognises(folder)]


def _indented(tree: str) -> str:
    return "".join(f"    {line}\n" for line in tree.strip("\n").split("\n"))
