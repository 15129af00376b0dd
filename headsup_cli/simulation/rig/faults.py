"""What is wrong with simulated rigs: how much of it, by preset or by hand, and how each camera got its share."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32

from headsup_cli.capture.lens import Lens
from headsup_cli.errors import InputError
from headsup_cli.media.opencv import cv2
from headsup_cli.simulation.rig.rig import RigSpread, rotation

Preset = Literal["clean", "studio", "harsh"]
OF_DRAWN_RIGS = ("focal", "principal", "irregularity", "distortion", "tilt")  # a given calibration has its own


def _dial(default: float, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"range": (low, high), "meaning": meaning})


@dataclass(frozen=True)
class Faults:
    """How far a rig is from an ideal one, each with its own unit; the defaults are ideal cameras put up by hand."""

    focal: float = _dial(RigSpread.focal, 0.0, 0.5, "largest relative deviation of a camera's focal length")
    principal: float = _dial(
        RigSpread.principal, 0.0, 0.1, "standard deviation of the principal points, the picture's side being 1"
    )
    irregularity: float = _dial(RigSpread.irregularity, 0.0, 3.0, "0 the layout's pattern, 1 cameras put up by hand")
    distortion: float = _dial(0.0, 0.0, 0.5, "strongest barrel distortion, as -k1")
    gain: float = _dial(0.0, 0.0, 0.9, "largest relative error of a camera's colour channel")
    noise: float = _dial(0.0, 0.0, 0.5, "largest standard deviation of the noise, white being 1")
    blur: float = _dial(0.0, 0.0, 20.0, "largest standard deviation of the blur, pixels")
    jpeg: float = _dial(95.0, 0.0, 100.0, "JPEG quality; 0 writes PNG")
    light: float = _dial(0.0, 0.0, 1.0, "0 light as it was drawn, 1 all from its strongest lamp")
    room: float = _dial(0.0, 0.0, 3.0, "0 plain backdrop, 1 a studio, more: more cluttered")
    tilt: float = _dial(0.0, 0.0, 180.0, "the rig's world turned by up to so many degrees about each axis")
    calibration: float = _dial(
        0.0, 0.0, 30.0, "standard deviation of the cameras' directions in calibration.json, degrees"
    )
    plates: float = _dial(0.0, 0.0, 1.0, "share of cameras with a clean plate")
    masks: float = _dial(1.0, 0.0, 1.0, "share of cameras with a mask")

    @property
    def spread(self) -> RigSpread:
        """What concerns where drawn cameras stand and how they look, in ideal lenses."""
        return RigSpread(self.focal, self.principal, self.irregularity)

    def __post_init__(self) -> None:
        for dial in fields(self):
            (low, high), value = dial.metadata["range"], getattr(self, dial.name)
            if not low <= value <= high:
                raise InputError(
                    "simulation", field=f"fault {dial.name}", found=f"{value:g}", expected=f"{low:g} to {high:g}",
                    remedy=f"it is the {dial.metadata['meaning']}",
                )  # fmt: skip


PRESETS: dict[Preset, Faults] = {
    "clean": Faults(),
    "studio": Faults(distortion=0.14, gain=0.12, noise=0.012, jpeg=95.0, room=1.0, tilt=180.0, plates=1.0, masks=0.0),
    "harsh": Faults(
        distortion=0.28,
        gain=0.25,
        noise=0.03,
        blur=1.0,
        jpeg=75.0,
        light=0.7,
        room=2.0,
        tilt=180.0,
        plates=0.6,
        masks=0.0,
    ),
}


def parse_faults(preset: Preset, changes: list[str], drawn_rig: bool = True) -> Faults:
    """The faults of a preset with some of them set by hand.

    Args:
        preset: Name of a preset.
        changes: Settings `NAME=VALUE`.
        drawn_rig: Whether the cameras are drawn, rather than a given calibration's.

    Raises:
        InputError: An unknown name, a value that is no number or out of its range, or a fault that a given calibration
            leaves no room for.
    """
    names, values = [dial.name for dial in fields(Faults)], {}
    for change in changes:
        name, _, value = change.partition("=")
        try:
            if name not in names:
                raise ValueError
            values[name] = float(value)
        except ValueError:
            raise InputError(
                "--fault", found=f"'{change}'", expected=f"NAME=NUMBER, NAME one of {', '.join(names)}",
                remedy="see docs/simulate.md for what each number means",
            ) from None  # fmt: skip
        if name in OF_DRAWN_RIGS and not drawn_rig:
            raise InputError(
                "--fault", found=f"'{change}' beside a given calibration",
                expected="its cameras, lenses and world to be used as they are",
                remedy="leave it out, or draw a rig with --cameras 16",
            )  # fmt: skip
    return replace(PRESETS[preset], **values)


@dataclass(frozen=True)
class CameraFaults:
    """What sets one camera apart from an ideal one."""

    lens: Lens
    gain: Float[np.ndarray, "3"]  # on linear colour
    noise: float  # standard deviation on the encoded image, 0..1
    blur_px: float
    stray: Float[np.ndarray, "3 3"]  # from how the camera looks to how the calibration says it does
    has_plate: bool
    has_mask: bool


def sample_camera_faults(rng: np.random.Generator, n: int, faults: Faults) -> list[CameraFaults]:
    """Draw every camera's share; turning one dial changes nothing that another one does."""
    lens, gain, noise, blur, stray, plate = rng.spawn(6)
    radial = faults.distortion * lens.uniform([-1, -0.15], [0.1, 0.25], (n, 2))  # k1, k2
    rest = faults.distortion / 0.14 * lens.normal(0, [0.0008, 0.0008, 0.01], (n, 3))  # p1, p2, k3
    deviation = (0.6 * gain.uniform(-1, 1, (n, 1)) + 0.4 * gain.uniform(-1, 1, (n, 3))) * np.log1p(faults.gain)
    sigma, blur_px = faults.noise * noise.uniform(0.15, 1, n), faults.blur * blur.uniform(0, 1, n)
    turns = np.radians(faults.calibration) * stray.standard_normal((n, 3))
    kept = plate.permutation(n) / n
    return [
        CameraFaults(
            lens=Lens("opencv", tuple((0.0 + np.concatenate([radial[camera], rest[camera]])).tolist())),
            gain=np.exp(deviation[camera]),
            noise=float(sigma[camera]),
            blur_px=float(blur_px[camera]),
            stray=rotation(turns[camera]),
            has_plate=bool(kept[camera] < faults.plates),
            has_mask=bool(kept[camera] < faults.masks),
        )
        for camera in range(n)
    ]


def recorded(
    picture: Float32[np.ndarray, "h w 3"], faults: CameraFaults, noise: np.random.Generator
) -> Float32[np.ndarray, "h w 3"]:
    """What the sensor and its electronics make of a picture: blurred, then noisy; the gain is in it already."""
    if faults.blur_px > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), faults.blur_px)
    if faults.noise > 0:
        picture = picture + np.float32(faults.noise) * noise.standard_normal(picture.shape, dtype=np.float32)
    return picture
