"""What a capture is made from: by its hashes a finished capture is known to be still valid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from headsup_cli import __version__
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.schemas import ProvenanceEntry
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.parallel import in_threads
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.template.template import Template

_HASH_THREADS = 4


def take_inventory(
    dump: RigDump, options: PreprocessOptions, template: Template, **stored_as: str | int
) -> ProvenanceEntry:
    """Fingerprint every file that a capture of `dump` is made from, and write down how it is made.

    Archives and videos, which may hold terabytes of which a subject needs little, are known by size and time of change.

    Args:
        dump: What came off the rig.
        options: How the capture is made.
        template: Whose frame is the head frame.
        stored_as: Codec and quality, where the capture is stored.
    """
    frames = [
        dump.frames[name] for name in dump.frames if options.frames in ("all", "neutral") or name in options.frames
    ]
    pictures = [*dump.backgrounds.values()]
    for frame in frames:
        pictures += [*frame.images.values(), *frame.masks.values()]
    containers = {picture.path for picture in pictures if picture.member or picture.video_frame is not None}
    files = sorted(
        {picture.path for picture in pictures} | {path for path in dump.path.glob("*.json") if path.is_file()}
    )
    chosen = options.frames if isinstance(options.frames, str) else ",".join(options.frames)
    return ProvenanceEntry(
        program=f"headsup {__version__}",
        source=dump.path.resolve().name,
        importer=dump.importer,
        inputs_sha256=dict(
            zip(
                (_shown(path, dump.path) for path in files),
                in_threads(lambda path: _fingerprint(path, container=path in containers), files, _HASH_THREADS),
                strict=True,
            )
        ),
        options=asdict(options)
        | {"frames": chosen, "template": template.sha256, "cameras": _hash_of_cameras(dump)}
        | {"landmarks": None if options.landmarks is None else _fingerprint(options.landmarks, container=False)}
        | stored_as,
        left_out={},
    )


def digest(inventory: ProvenanceEntry) -> str:
    """One hash of all that an inventory says."""
    return hashlib.sha256(inventory.model_dump_json().encode()).hexdigest()


def with_left_out(inventory: ProvenanceEntry, left_out: Mapping[str, str]) -> ProvenanceEntry:
    """The inventory with the views that could not be used ("frame/camera") and the reasons."""
    return inventory.model_copy(update={"left_out": dict(sorted(left_out.items()))})


def _fingerprint(path: Path, *, container: bool) -> str:
    if not path.is_file():
        return "missing"
    if not container:
        return sha256_of(path)
    status = path.stat()
    return f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _hash_of_cameras(dump: RigDump) -> str:
    """A hash of the calibration as it was read, whatever files it came in."""
    content = hashlib.sha256(f"{dump.metres_per_unit!r} {dump.scale}".encode())
    for name, camera in sorted(dump.cameras.items()):
        content.update(f"{name} {camera.width} {camera.height} {camera.lens!r}".encode())
        content.update(camera.K.tobytes() + camera.cam_from_rig.tobytes())
    return content.hexdigest()
