"""Numbers in sentences."""


def rounded(value: float, digits: int = 2) -> str:
    """A number to so many digits, or to the next integer where that is more: never 4e+03."""
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text else text
