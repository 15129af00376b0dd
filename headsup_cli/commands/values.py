"""Values as people type them: sizes, colours, amounts of work."""

import re
from dataclasses import dataclass

import typer

MAX_SIDE_PX = 8192
_COLOURS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0), "grey": (0.5, 0.5, 0.5), "gray": (0.5, 0.5, 0.5)}


def parse_size(text: str) -> tuple[int, int]:
    """Width and height in pixels from `WxH`."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < width <= MAX_SIDE_PX or not 0 < height <= MAX_SIDE_PX:
        raise typer.BadParameter(f"'{text}' is no size such as 512x512, at most {MAX_SIDE_PX} pixels a side.")
    return width, height


def parse_colour(text: str) -> tuple[float, float, float]:
    """Red, green, blue (sRGB in [0, 1]) from a name or `#rrggbb`."""
    if text in _COLOURS:
        return _COLOURS[text]
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise typer.BadParameter(f"'{text}' is no colour: give black, white, grey or #rrggbb.")
    red, green, blue = (int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


@dataclass(frozen=True)
class Effort:
    """An amount of optimisation: one of the two."""

    seconds: float | None = None
    steps: int | None = None


def parse_effort(text: str) -> Effort:
    """An amount of optimisation from `60`, `60s` (seconds) or `1000steps`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:s|sec|seconds)?", text)
    if match and float(match[1]) > 0:
        return Effort(seconds=float(match[1]))
    match = re.fullmatch(r"(\d+)steps", text)
    if match and int(match[1]) > 0:
        return Effort(steps=int(match[1]))
    raise typer.BadParameter(f"'{text}' is no amount of work: give seconds (60 or 60s) or steps (1000steps).")


def parse_gain(text: str) -> tuple[str, float]:
    """A name and a factor from `NAME=X`."""
    match = re.fullmatch(r"(\w+)=(\d+(?:\.\d+)?)", text)
    if not match:
        raise typer.BadParameter(f"'{text}' is no gain: give a coefficient and a factor, such as jawOpen=1.5.")
    return match[1], float(match[2])
