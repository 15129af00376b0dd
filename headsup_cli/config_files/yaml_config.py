"""YAML configuration files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from headsup_cli.config_files.schema import Model, validate
from headsup_cli.errors import InputError

_MAX_BYTES = 1_000_000


def load_yaml_config(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """Read a configuration.

    Args:
        path: The YAML file, a mapping at its top.
        model: What it configures, a `StrictModel` so that unknown keys are rejected.
        overrides: Assignments such as `optimizer.learning_rate=3e-4` that win over the file; values are YAML.

    Raises:
        InputError: The file or an override cannot be read or does not fit the model.
    """
    data = _read_mapping(path)
    for override in overrides:
        _assign(data, override)
    return validate(model, data, path)


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise _no_mapping(path, f"larger than {_MAX_BYTES // 1000} kB")
        data = yaml.safe_load(text.decode())
    except OSError as error:
        raise _no_mapping(path, f"not readable ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _no_mapping(path, "no YAML (" + " ".join(str(error).split()) + ")") from error
    if not isinstance(data, dict):
        raise _no_mapping(path, f"a {type(data).__name__} at its top")
    return data


def _no_mapping(path: Path, found: str) -> InputError:
    return InputError(path, found=found, expected="a YAML mapping", remedy="compare with headsup_cli/configs")


def _assign(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise _bad_override(override, "no assignment")
    for part in parts[:-1]:
        if data.get(part) is None:
            data[part] = {}
        data = data[part]
        if not isinstance(data, dict):
            raise _bad_override(override, f"an assignment inside '{part}', which is a single value")
    try:
        data[parts[-1]] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise _bad_override(override, "no YAML on its right") from error


def _bad_override(override: str, found: str) -> InputError:
    return InputError(
        f"--set {override}", found=found, expected="KEY.SUBKEY=VALUE", remedy="write it as in the config file"
    )
