"""Checks named weights that come from users."""

from collections.abc import Iterable, Mapping

from headsup_cli.errors import InputError


def check_coefficients(what: str, given: Mapping[str, float], names: Iterable[str], *, low: float) -> None:
    """Checks that every name is known and every value lies in [low, 1] (which NaN does not).

    Raises:
        InputError: Names the first coefficient that does not.
    """
    known = tuple(names)
    for name, value in given.items():
        if name not in known:
            raise InputError(
                what, field=name, found="unknown", expected=f"one of {', '.join(known)}", remedy="correct the name"
            )
        if not low <= value <= 1:
            raise InputError(
                what,
                field=name,
                found=f"{value:g}",
                expected=f"a number from {low:g} to 1",
                remedy="bring it into range",
            )
