"""SOG and the viewer in one HTML file, by PlayCanvas's `splat-transform` (npm, Node.js 22), from and to PLY.

Source: github.com/playcanvas/splat-transform. It turns PLY by 180 degrees about z on load, so that y points up and the
face of a head looks along -z.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from headsup_cli.errors import HeadsupError, InputError, MissingDependencyError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import read_ply, write_ply

_LEAST_NODE = 22
_TIMEOUT_S = 1800
_NEEDED = (
    f"SOG and HTML need Node.js {_LEAST_NODE} or newer and splat-transform; install Node.js from nodejs.org and run "
    "'npm install -g @playcanvas/splat-transform'."
)
_EMBEDDED = re.compile(rb"data:application/octet-stream;base64,([A-Za-z0-9+/=]{64,})")
_VIEW = {"position": [0.0, -0.03, -1.0], "target": [0.0, -0.03, 0.0], "fov": 30}  # in front of the face, 1 m away
_EFFECTS = {
    "sharpness": {"enabled": False, "amount": 0},
    "bloom": {"enabled": False, "intensity": 1, "blurLevel": 2},
    "grading": {"enabled": False, "brightness": 0, "contrast": 1, "saturation": 1, "tint": [1, 1, 1]},
    "vignette": {"enabled": False, "intensity": 0.5, "inner": 0.3, "outer": 0.75, "curvature": 1},
    "fringing": {"enabled": False, "intensity": 0.5},
}


def write_sog(path: Path, gaussians: Gaussians) -> None:
    """Write PlayCanvas's SOG, compressed harder than anything else.

    Args:
        path: Where to, ending in .sog; written in place, so callers give a temporary name.
        gaussians: In the head frame.

    Raises:
        MissingDependencyError: There is no splat-transform.
        HeadsupError: It failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        ply = Path(folder) / "head.ply"
        write_ply(ply, gaussians)
        _run("-w", "-g", "cpu", str(ply), str(path))


def read_sog(path: Path) -> Gaussians:
    """Read a SOG into the head frame.

    Raises:
        MissingDependencyError: There is no splat-transform.
        HeadsupError: It failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        ply = Path(folder) / "head.ply"
        _run("-w", str(path), str(ply))
        return read_ply(ply)


def write_html(path: Path, gaussians: Gaussians) -> None:
    """Write a page that holds the head as SOG and the viewer for it; the camera begins in front of the face.

    Args:
        path: Where to, ending in .html; written in place, so callers give a temporary name.
        gaussians: In the head frame.

    Raises:
        MissingDependencyError: There is no splat-transform.
        HeadsupError: It failed.
    """
    settings = {
        "version": 2, "tonemapping": "none", "highPrecisionRendering": False, "background": {"color": [0.4, 0.4, 0.4]},
        "postEffectSettings": _EFFECTS, "animTracks": [], "cameras": [{"initial": _VIEW}], "annotations": [],
        "startMode": "default",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        ply, look = Path(folder) / "head.ply", Path(folder) / "settings.json"
        write_ply(ply, gaussians)
        look.write_text(json.dumps(settings))
        _run("-w", "-g", "cpu", "-E", str(look), str(ply), str(path))


def read_html(path: Path) -> Gaussians:
    """Read the head out of a page that `write_html` made, into the head frame.

    Raises:
        InputError: The page holds none.
        MissingDependencyError: There is no splat-transform.
        HeadsupError: It failed.
    """
    held = _EMBEDDED.search(path.read_bytes())
    if held is None:
        raise InputError(path, found="a page without a head", expected="one with", remedy="export it again")
    with tempfile.TemporaryDirectory() as folder:
        sog = Path(folder) / "head.sog"
        sog.write_bytes(base64.b64decode(held[1]))
        return read_sog(sog)


def _run(*arguments: str) -> None:
    """Run splat-transform without a shell and without a network."""
    command = [_program(), "--quiet", *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise HeadsupError(f"splat-transform was not done after {_TIMEOUT_S} s.") from error
    if done.returncode != 0 or not Path(arguments[-1]).is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise HeadsupError(f"splat-transform failed ({lines[-1] if lines else f'exit code {done.returncode}'}).")


def _program() -> str:
    """The path of splat-transform, once the PATH has it and a Node.js that runs it."""
    node, program = shutil.which("node"), shutil.which("splat-transform")
    if node is None or program is None:
        raise MissingDependencyError(_NEEDED)
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major[1]) < _LEAST_NODE:
        raise MissingDependencyError(f"{_NEEDED[:-1]} (found Node.js {version.strip() or 'without a version'}).")
    return program
