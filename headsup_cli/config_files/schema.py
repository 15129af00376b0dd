"""From untrusted data to checked values, with errors that a person can act on."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from headsup_cli.errors import InputError

_SHOWN_CHARACTERS = 60


class StrictModel(BaseModel):
    """Base of everything read from a file: immutable, unknown keys and non-finite numbers rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], data: object, source: object) -> Model:
    """Check `data` (parsed YAML or JSON) against `model`.

    Args:
        model: What it should be.
        data: What it is.
        source: The file it came from, for the message.

    Raises:
        InputError: Naming the first field at fault and how many others are.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _input_error(error.errors(include_url=False), model, source) from error


def _input_error(faults: Sequence[Any], model: type[BaseModel], source: object) -> InputError:
    first = faults[0]
    found, expected, remedy = _wording(first, model)
    if len(faults) > 1:
        remedy += f", and see to {len(faults) - 1} more: " + ", ".join(_field_path(f["loc"]) for f in faults[1:4])
    return InputError(source, field=_field_path(first["loc"]), found=found, expected=expected, remedy=remedy)


def _wording(fault: Any, model: type[BaseModel]) -> tuple[str, str, str]:
    match fault["type"]:
        case "missing":
            return "missing", "a value", "add it"
        case "extra_forbidden":
            known = _known_keys(model, fault["loc"][:-1])
            close = get_close_matches(str(fault["loc"][-1]), known, n=1)
            expected = f"one of {', '.join(known)}" if known else "no such key"
            return "not a known key", expected, f"did you mean '{close[0]}'" if close else "remove it"
        case _:
            found = repr(fault["input"])
            if len(found) > _SHOWN_CHARACTERS:
                found = found[:_SHOWN_CHARACTERS] + "…"
            expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            return found, expected, "correct it"


def _known_keys(model: type[BaseModel], parents: Sequence[str | int]) -> list[str]:
    """The keys of the nested model at `parents`; empty where the path passes through something that is no model."""
    for parent in parents:
        field = model.model_fields.get(str(parent))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def _field_path(location: Sequence[str | int]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")
