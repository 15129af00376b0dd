"""What made an artefact: recorded in every artefact, read by people and by `--resume` logic."""

import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from headsup_cli import __version__
from headsup_cli.runtime.hashing import sha256_of

_RECORDED_PACKAGES = ("torch", "numpy", "numba", "gsplat", "anny", "opencv-python", "opencv-python-headless")


@dataclass(frozen=True)
class Provenance:
    """Program, machine, seed and inputs behind an artefact."""

    program: str
    python: str
    platform: str
    packages: dict[str, str]  # distribution name -> version, of those installed
    command_line: list[str]
    seed: int | None
    inputs_sha256: dict[str, str]  # path as the user gave it -> content hash
    created_utc: str  # ISO 8601

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        return asdict(self)


def record_provenance(inputs: Iterable[Path] = (), seed: int | None = None) -> Provenance:
    """Describe the running program and hash its inputs.

    Args:
        inputs: Files and folders that the artefact is made from.
        seed: Seed of the random numbers used, None where there are none.
    """
    return Provenance(
        program=f"headsup {__version__}",
        python=platform.python_version(),
        platform=platform.platform(),
        packages=installed_versions(_RECORDED_PACKAGES),
        command_line=sys.argv.copy(),
        seed=seed,
        inputs_sha256={str(path): sha256_of(path) for path in inputs},
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed, without importing any."""
    versions = {}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
