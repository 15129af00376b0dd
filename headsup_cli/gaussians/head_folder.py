"""What a head's folder holds and how it was made, without its maps; importing it costs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError

HEAD_FILE = "head.json"
MAPS_FILE = "head.safetensors"
PLY_FILE = "gaussians.ply"
MAX_RESOLUTION = 2048


class HeadFile(StrictModel, populate_by_name=True):
    """`head.json`."""

    schema_: Literal["headsup-head/1"] = Field(alias="schema")
    subject: str
    template: str
    template_sha256: str
    resolution: int = Field(gt=0, le=MAX_RESOLUTION)
    rig_from_head: list[list[float]] = Field(min_length=4, max_length=4)
    maps: Literal["head.safetensors"] = "head.safetensors"
    ply: Literal["gaussians.ply"] = "gaussians.ply"
    provenance: dict[str, Any]


def is_head(folder: Path) -> bool:
    """Whether `folder` holds a head."""
    return (folder / HEAD_FILE).is_file()


def read_provenance(folder: Path) -> dict[str, Any]:
    """What a head says of its making, without reading its maps.

    Raises:
        InputError: The folder holds no head, or its `head.json` is damaged.
    """
    return read_head_file(folder).provenance


def read_head_file(folder: Path) -> HeadFile:
    """`head.json`, checked.

    Raises:
        InputError: The folder holds no head, or the file is damaged.
    """
    path = folder / HEAD_FILE
    if not path.is_file():
        raise InputError(
            folder,
            found=f"without {HEAD_FILE}",
            expected="a head",
            remedy="give a folder that headsup reconstruct made",
        )
    return load_json_config(path, HeadFile)
