"""How captures are made; importing it costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MaskSource = Literal["auto", "given", "plates", "rembg", "none"]


@dataclass(frozen=True)
class PreprocessOptions:
    """How captures are made."""

    size: int = 1000  # longer side of the working pictures, pixels; smaller originals keep their size
    crop: Literal["none", "subject"] = "none"
    frames: tuple[str, ...] | Literal["all", "neutral"] = "all"  # names, or every frame, or the most neutral one
    masks: MaskSource = "auto"
    colour: Literal["match", "none"] = "match"
    landmarks: Path | None = None  # a MediaPipe .task file in place of our own network
