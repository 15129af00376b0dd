"""Which importer reads a folder: decided by looking at it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs import native
from headsup_cli.errors import InputError


@dataclass(frozen=True)
class Importer:
    """A dialect of rig dumps."""

    name: str
    description: str  # what the folder looks like, for a person
    recognises: Callable[[Path], bool]  # cheap: looks at names, decodes nothing
    read: Callable[[Path], RigDump]


IMPORTERS = (  # the first that recognises a folder reads it
    Importer("native", "calibration.json and images/ (headsup-rig/1)", native.recognises, native.read_rig),
)


def is_rig_dump(folder: Path) -> bool:
    """Whether any importer recognises `folder`."""
    return any(importer.recognises(folder) for importer in IMPORTERS)


def read_rig_dump(folder: Path) -> RigDump:
    """Read a rig dump of whichever dialect it is.

    Raises:
        InputError: No importer recognises the folder, or the one that does finds fault with it.
    """
    for importer in IMPORTERS:
        if importer.recognises(folder):
            return importer.read(folder)
    raise InputError(
        folder,
        found="missing" if not folder.exists() else "no rig dump",
        expected="a folder with " + ", or ".join(importer.description for importer in IMPORTERS),
        remedy="see docs/rig-format.md for the layout",
    )
