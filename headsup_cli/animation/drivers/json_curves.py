"""Curves in JSON: NVIDIA Audio2Face, MediaPipe FaceLandmarker results, and plain objects by name."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from headsup_cli.animation.curves import MAX_FRAMES, Curves, arkit_name, weights_from_columns
from headsup_cli.animation.drivers.text_table import read_lines
from headsup_cli.errors import InputError

DEFAULT_FPS = 30.0

logger = logging.getLogger(__name__)


def recognises(path: Path) -> bool:
    """Any JSON."""
    return path.suffix.lower() == ".json"


def read(path: Path) -> Curves:
    """Read a clip, in one of three layouts.

    Audio2Face's (`facsNames`, `weightMat`, `exportFps`); a list of frames, each a MediaPipe result (`faceBlendshapes`
    or a list of `{"categoryName", "score"}`; Python's `face_blendshapes` of `category_name` too) or an object of
    weights by name, with an optional `time` in seconds; and one object of lists by name, with an optional `fps`.

    Raises:
        InputError: None of these, or a value that is no number.
    """
    try:
        content = json.loads("\n".join(read_lines(path)))
    except (ValueError, RecursionError) as error:
        raise _unknown(path, f"no JSON ({error})") from error
    if isinstance(content, dict) and "weightMat" in content:
        return _audio2face(path, content)
    if isinstance(content, dict) and isinstance(content.get("frames"), list):
        return _frames(path, content["frames"], content.get("fps", DEFAULT_FPS))
    if isinstance(content, list):
        return _frames(path, content, DEFAULT_FPS)
    if isinstance(content, dict) and any(arkit_name(name) for name in content):
        return _lists(path, content)
    raise _unknown(path, "neither frames nor lists of coefficients")


def _audio2face(path: Path, content: Mapping[str, Any]) -> Curves:
    names, rows = content.get("facsNames"), content["weightMat"]
    if not isinstance(names, list) or not isinstance(rows, list) or not rows or len(rows) > MAX_FRAMES:
        raise _unknown(path, "weightMat without facsNames, or without frames")
    table = np.empty((len(rows), len(names)))
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise _unknown(path, f"weightMat[{index}] that does not hold {len(names)} numbers")
        table[index] = [_number(path, f"weightMat[{index}][{k}]", value) for k, value in enumerate(row)]
    rate = _rate(path, content.get("exportFps", DEFAULT_FPS))
    columns = {str(name): table[:, index] for index, name in enumerate(names)}
    return _curves(path, np.arange(len(rows)) / rate, columns)


def _frames(path: Path, frames: Sequence[Any], fps: Any) -> Curves:
    if not 1 <= len(frames) <= MAX_FRAMES:
        raise _unknown(path, f"{len(frames)} frames")
    weights = [_by_name(path, index, frame) for index, frame in enumerate(frames)]
    names = {name for frame in weights for name in frame}
    columns = {
        name: np.array([_number(path, f"frame {i}, {name}", frame.get(name, 0.0)) for i, frame in enumerate(weights)])
        for name in sorted(names)
    }
    times = columns.pop("time", None)
    if times is None:
        times = np.arange(len(frames)) / _rate(path, fps)
    if (np.diff(times) <= 0).any():
        raise _unknown(path, "times that do not ascend")
    return _curves(path, times - times[0], columns)


def _by_name(path: Path, index: int, frame: Any) -> dict[str, Any]:
    """Weights of a frame, whichever way they are nested, and its `time` where it has one."""
    if isinstance(frame, list):
        entries = [entry for entry in frame if isinstance(entry, dict)]
        return {str(entry.get("categoryName", entry.get("category_name"))): entry.get("score") for entry in entries}
    if not isinstance(frame, dict):
        raise _unknown(path, f"frame {index} that is no object")
    time = {"time": frame["time"]} if "time" in frame else {}
    for name in ("faceBlendshapes", "face_blendshapes"):
        if name in frame:
            faces = frame[name]
            face = faces[0] if isinstance(faces, list) and faces else []  # nobody in the picture: all at rest
            return _by_name(path, index, face.get("categories") if isinstance(face, dict) else face) | time
    if isinstance(frame.get("weights"), dict):
        return frame["weights"] | time
    return frame


def _lists(path: Path, content: Mapping[str, Any]) -> Curves:
    columns = {
        name: np.array([_number(path, f"{name}[{i}]", value) for i, value in enumerate(values)])
        for name, values in content.items()
        if isinstance(values, list) and (arkit_name(name) or name == "time")
    }
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or not 1 <= max(lengths) <= MAX_FRAMES:
        raise _unknown(path, f"lists of {sorted(lengths)} numbers")
    times = columns.pop("time", np.arange(max(lengths)) / _rate(path, content.get("fps", DEFAULT_FPS)))
    if (np.diff(times) <= 0).any():
        raise _unknown(path, "times that do not ascend")
    return _curves(path, times - times[0], columns)


def _curves(path: Path, times: Float64[np.ndarray, " t"], columns: Mapping[str, Float64[np.ndarray, " t"]]) -> Curves:
    if not any(arkit_name(name) for name in columns):
        raise _unknown(path, "no coefficient of ARKit's")
    unknown = [name for name in columns if not arkit_name(name) and name != "_neutral"]
    if unknown:
        logger.warning("%s: curves that are no coefficients are left out: %s", path, ", ".join(unknown))
    return Curves(times, weights_from_columns(columns, len(times)))


def _rate(path: Path, value: Any) -> float:
    rate = _number(path, "fps", value)
    if not 0 < rate <= 1000:
        raise InputError(path, field="fps", found=f"{rate:g}", expected="0 to 1000", remedy="state the clip's rate")
    return rate


def _number(path: Path, field: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)  # integers of any length are JSON, too
    raise InputError(path, field=field, found=repr(value)[:40], expected="a finite number", remedy="correct the value")


def _unknown(path: Path, found: str) -> InputError:
    return InputError(
        path,
        found=found,
        expected="curves of Audio2Face, MediaPipe, or lists of weights by ARKit name",
        remedy="see docs/animation.md for the layouts",
    )
