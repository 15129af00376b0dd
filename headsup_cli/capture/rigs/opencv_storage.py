"""OpenCV's FileStorage as plain values: YAML with `%YAML:1.0`, XML and JSON, matrices as arrays.

Read here rather than by `cv2.FileStorage`, which is no parser to give a stranger's file to.
"""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml
from jaxtyping import Float64

from headsup_cli.capture.rigs.text_files import heads, no_calibration, read_text, read_xml
from headsup_cli.errors import InputError

_MARKS = (b"opencv-matrix", b"opencv_storage", b"opencv-nd-matrix")
_SUFFIXES = (".yml", ".yaml", ".xml", ".json")
_MATRIX_TAGS = ("tag:yaml.org,2002:opencv-matrix", "tag:yaml.org,2002:opencv-nd-matrix")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one where PyYAML was built with it
_MAX_YAML_CHARACTERS = 32 << 20


def storage_files(folder: Path) -> list[Path]:
    """The files of a folder that OpenCV has written."""
    return [path for path, head in heads(folder, *_SUFFIXES) if any(mark in head for mark in _MARKS)]


def read_storage(path: Path, folder: Path) -> dict[str, Any]:
    """Read one file; numbers may still be text.

    Raises:
        InputError: It is damaged, or holds something else than a map.
    """
    if path.suffix.lower() == ".xml":
        content = _from_xml(read_xml(path, folder), path)
    elif path.suffix.lower() == ".json":
        content = _from_json(read_text(path, folder), path)
    else:
        content = read_yaml(path, folder)
    if not isinstance(content, dict):
        raise no_calibration(path, "without names for its values")
    return {str(key): value for key, value in content.items()}


def read_yaml(path: Path, folder: Path) -> Any:
    """Parse YAML, OpenCV's or ordinary, without anchors.

    Raises:
        InputError: It is no YAML, or repeats parts of itself by reference.
    """
    text = re.sub(r"\A%YAML[^\n]*\n", "", read_text(path, folder))
    if len(text) > _MAX_YAML_CHARACTERS:
        raise no_calibration(path, f"YAML of more than {_MAX_YAML_CHARACTERS >> 20} MiB")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            raise no_calibration(path, "YAML with references")
        return yaml.load(text, Loader=_storage_loader(path))
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise no_calibration(path, "no YAML (" + " ".join(str(error).split())[:100] + ")") from error


def _storage_loader(path: Path) -> type:
    class Loader(_Loader):  # type: ignore[misc, valid-type]
        pass

    def construct(loader: Any, node: Any) -> np.ndarray:
        if not isinstance(node, yaml.MappingNode):
            raise no_calibration(path, "an opencv-matrix without rows, cols and data")
        return _matrix(loader.construct_mapping(node, deep=True), path)

    for tag in _MATRIX_TAGS:
        Loader.add_constructor(tag, construct)
    return Loader


def _from_json(text: str, path: Path) -> Any:
    def made(value: dict[str, Any]) -> Any:
        return _matrix(value, path) if value.get("type_id") in ("opencv-matrix", "opencv-nd-matrix") else value

    try:
        return json.loads(text, object_hook=made)
    except (ValueError, RecursionError) as error:
        raise no_calibration(path, f"no JSON ({error})") from error


def _from_xml(element: ElementTree.Element, path: Path) -> Any:
    if element.get("type_id") in ("opencv-matrix", "opencv-nd-matrix"):
        return _matrix({child.tag: child.text or "" for child in element}, path)
    children = list(element)
    if not children:
        return (element.text or "").strip()
    if all(child.tag == "_" for child in children):
        return [_from_xml(child, path) for child in children]
    return {child.tag: _from_xml(child, path) for child in children}


def _matrix(node: dict[Any, Any], path: Path) -> Float64[np.ndarray, "..."]:
    """An array of `rows` x `cols`, or `sizes`, with the channels of `dt` last."""
    try:
        shape = _words(node["sizes"]) if "sizes" in node else [node["rows"], node["cols"]]
        channels = int(re.fullmatch(r"(\d*)[a-z]", str(node["dt"]).strip())[1] or 1)  # type: ignore[index]
        sides = [int(side) for side in shape] + ([channels] if channels > 1 else [])
        array = np.array([float(word) for word in _words(node["data"])], np.float64)
        if array.size != np.prod([float(side) for side in sides]):
            raise ValueError(f"{array.size} numbers for {'x'.join(map(str, sides))}")
        return array.reshape(sides)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise no_calibration(path, f"an opencv-matrix that is damaged ({error})") from error


def _words(value: Any) -> list[Any]:
    return value.split() if isinstance(value, str) else list(value)


def as_array(value: Any, source: object, field: str) -> Float64[np.ndarray, "..."]:
    """Numbers however they were stored.

    Raises:
        InputError: They are none.
    """
    try:
        words = value.split() if isinstance(value, str) else value
        array = np.array(words, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            source, field=field, found="no numbers", expected="numbers", remedy="export the calibration again"
        ) from error
    return array


def as_names(value: Any) -> list[str]:
    """A list of names, which XML holds as words and multiview calibration as one text with commas."""
    if isinstance(value, str):
        return [word.strip().strip('"') for word in re.split(r"[,\s]+", value.strip()) if word.strip()]
    return [str(name) for name in value] if isinstance(value, list) else []
