"""What a table of figures has to say about how they came about."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from headsup_cli import __version__
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.evaluation.regions import BOX_MARGIN
from headsup_cli.metrics.flip import PIXELS_PER_DEGREE

NO_LPIPS = "not computed, no weights (--lpips FILE)"
_NAMED_FRAMES = 4
_SETTINGS = {
    "PSNR": "mean over images, 8-bit predictions, mask > 0.5",
    "SSIM": f"Gaussian 11 px sigma 1.5, range 1, border reflected, foreground: mask's box + {200 * BOX_MARGIN:.0f} %",
    "FLIP": f"LDR, {PIXELS_PER_DEGREE:.1f} px/deg",
    "affine": "one affine map of colours per image, fitted in the mask",
}


class Protocol(StrictModel):
    """How heads were made and compared; `line` says it in words."""

    heads: str  # which weights, or which folder
    refine: str
    frames: list[str] = Field(min_length=1)  # that heads and pictures show
    heldout: str  # how the cameras were chosen
    input_views: tuple[int, int]  # least and most of a subject; 0 where a head does not say
    heldout_views: tuple[int, int]
    sizes: list[str] = Field(min_length=1)  # of the compared pictures, WxH
    background: str  # #rrggbb
    metrics: dict[str, str]
    program: str = f"headsup {__version__}"

    @property
    def line(self) -> str:
        """One line for people."""
        settings = "; ".join(f"{name} {value}" for name, value in self.metrics.items())
        return (
            f"protocol: {_span(self.input_views)} input views; {_span(self.heldout_views)} held-out cameras "
            f"({self.heldout}); {self._size()}; on {self.background}; {self._frames()}; {self.heads}; "
            f"refine {self.refine}; {settings}; {self.program}"
        )

    def _size(self) -> str:
        return self.sizes[0] if len(self.sizes) == 1 else f"{self.sizes[0]} to {self.sizes[-1]}"

    def _frames(self) -> str:
        if len(self.frames) > _NAMED_FRAMES:
            return f"{len(self.frames)} frames"
        return f"frame{'s' * (len(self.frames) > 1)} {', '.join(self.frames)}"


def metric_settings(lpips: str | None) -> dict[str, str]:
    """Settings of the metrics by name.

    Args:
        lpips: Net and input range of LPIPS, None where its weights are missing.
    """
    return _SETTINGS | {"LPIPS": lpips or NO_LPIPS}


def combined(protocols: Sequence[Protocol]) -> Protocol:
    """One protocol for subjects that differ in no more than their numbers of views and sizes of pictures."""

    def span(name: str) -> tuple[int, int]:
        values = [count for protocol in protocols for count in getattr(protocol, name)]
        return min(values), max(values)

    sizes = {size for protocol in protocols for size in protocol.sizes}
    frames = {frame for protocol in protocols for frame in protocol.frames}
    return protocols[0].model_copy(
        update={
            "input_views": span("input_views"),
            "heldout_views": span("heldout_views"),
            "frames": sorted(frames),
            "sizes": sorted(sizes, key=lambda size: [int(side) for side in size.split("x")]),
        }
    )


def _span(counts: tuple[int, int]) -> str:
    low, high = counts
    if not high:
        return "unknown"
    return str(low) if low == high else f"{low} to {high}"
