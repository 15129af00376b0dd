"""Whatever holds a head: a folder that headsup wrote, or any 3DGS PLY."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import read_head
from headsup_cli.gaussians.head_folder import HEAD_FILE, MAPS_FILE, is_head
from headsup_cli.gaussians.ply import read_ply, turn_over
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.template.template import Template


@dataclass(frozen=True)
class HeadSource:
    """A head as it is drawn."""

    gaussians: Gaussians  # in the head frame; of a PLY, in its world with y up
    rig_from_head: Float64[np.ndarray, "4 4"]  # of a PLY, to its world as it is stored


def read_head_source(source: Path, template: Template) -> HeadSource:
    """Read a head folder or a PLY.

    Raises:
        InputError: It is neither, or damaged, or made for another template.
    """
    if source.is_dir() or is_head(source):
        head = read_head(source)
        return HeadSource(head.gaussians(template), head.rig_from_head)
    return HeadSource(read_ply(source), turn_over().numpy().astype(np.float64))


def source_hash(source: Path) -> list[str]:
    """Hashes of the files that `read_head_source` reads."""
    files = [source / HEAD_FILE, source / MAPS_FILE] if is_head(source) else [source]
    return [sha256_of(file) for file in files if file.is_file()]


def source_name(source: Path) -> str:
    """What results of it are called: the name of the folder, or of the file without its ending."""
    return source.resolve().name.removesuffix(".ply")
