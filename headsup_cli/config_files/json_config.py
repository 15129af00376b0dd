"""JSON files that headsup reads: sized, parsed and checked before anything else sees them."""

import json
from pathlib import Path

from headsup_cli.config_files.schema import Model, validate
from headsup_cli.errors import InputError

_MAX_BYTES = 256 << 20


def load_json_config(path: Path, model: type[Model], *, wrapped_in: str | None = None) -> Model:
    """Read a JSON file and check it against `model`.

    Args:
        path: The file.
        model: What it must be.
        wrapped_in: Check `{wrapped_in: content}` instead of the content itself, for files whose top keys are free.

    Raises:
        InputError: The file cannot be read, is no JSON, or a field (named in the message) is wrong.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise _no_json(path, f"larger than {_MAX_BYTES >> 20} MiB")
        content = json.loads(text)
    except OSError as error:
        raise _no_json(path, f"not readable ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise _no_json(path, f"no JSON ({error})") from error
    return validate(model, {wrapped_in: content} if wrapped_in else content, path)


def _no_json(path: Path, found: str) -> InputError:
    return InputError(path, found=found, expected="a JSON file", remedy="compare with the formats under docs/")
