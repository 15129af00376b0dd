"""What comes off a rig, whatever dialect it was stored in: cameras and the paths of pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from headsup_cli.capture.lens import Lens
from headsup_cli.media.pictures import Picture


@dataclass(frozen=True)
class RigCamera:
    """A calibrated camera in the rig's world, in metres whatever the dump's units are.

    OpenCV axes; pixel centres at half-integers.
    """

    id: str
    K: Float64[np.ndarray, "3 3"]  # pixels of the distorted image
    lens: Lens
    cam_from_rig: Float64[np.ndarray, "4 4"]  # rigid, metres
    width: int
    height: int

    def project(self, ideal: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Pixels of the distorted image at which points (x/z, y/z) of the camera's frame appear."""
        return self.lens.distort(ideal) @ self.K[:2, :2].T + self.K[:2, 2]

    def unproject(self, pixels: Float[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """The points (x/z, y/z) that appear at `pixels` of the distorted image; NaN where the lens reaches none."""
        return self.lens.undistort(np.linalg.solve(self.K[:2, :2], (pixels - self.K[:2, 2]).T).T)

    @property
    def centre(self) -> Float64[np.ndarray, " 3"]:
        """Optical centre in the rig's world, metres."""
        return -self.cam_from_rig[:3, :3].T @ self.cam_from_rig[:3, 3]


@dataclass(frozen=True)
class RigFrame:
    """One moment: pictures by camera id. Cameras without a usable picture are absent."""

    images: dict[str, Picture]
    masks: dict[str, Picture] = field(default_factory=dict)


@dataclass(frozen=True)
class RigDump:
    """A rig dump with its calibration checked and its pictures found, none of them decoded yet."""

    path: Path
    importer: str  # name of the dialect
    metres_per_unit: float  # of the dump's own lengths; cameras here are in metres already
    cameras: dict[str, RigCamera]
    frames: dict[str, RigFrame]
    backgrounds: dict[str, Picture] = field(default_factory=dict)  # clean plates by camera id
    expressions: dict[str, dict[str, float]] = field(default_factory=dict)  # ARKit weights by frame
    left_out: dict[str, str] = field(default_factory=dict)  # "frame/camera" -> why the view is not there
    scale: Literal["metric", "arbitrary"] = "metric"  # arbitrary: `metres_per_unit` is no more than a guess
