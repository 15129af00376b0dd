"""What a result was made from, in a small JSON file beside it, so that a finished one is known and left alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from headsup_cli import __version__
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError
from headsup_cli.runtime.atomic import atomic_write_text


class Receipt(StrictModel, populate_by_name=True):
    """`<result>.json`."""

    schema_: Literal["headsup-receipt/1"] = Field(alias="schema")
    program: str
    made_from: str = Field(description="Hash of the inputs, the options and the program's version.")
    details: dict[str, Any]


def fingerprint(*parts: Any) -> str:
    """A hash of values that JSON can hold, and of this program's version."""
    return hashlib.sha256(json.dumps([__version__, *parts], sort_keys=True).encode()).hexdigest()


def write_receipt(path: Path, made_from: str, details: dict[str, Any]) -> None:
    """Say beside a finished result what it was made from."""
    receipt = Receipt(
        schema_="headsup-receipt/1", program=f"headsup {__version__}", made_from=made_from, details=details
    )
    atomic_write_text(path, receipt.model_dump_json(by_alias=True, indent=1) + "\n")


def is_current(path: Path, made_from: str) -> bool:
    """Whether there is a receipt, and of this making."""
    try:
        return path.is_file() and load_json_config(path, Receipt).made_from == made_from
    except InputError:
        return False
