"""What comes off a rig, whatever dialect it was stored in: cameras and the paths of pictures."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class RigCamera:
    """A calibrated camera in the rig's world, in metres whatever the dump's units are.

    OpenCV axes and distortion model; pixel centres at half-integers.
    """

    id: str
    K: Float64[np.ndarray, "3 3"]  # pixels of the distorted image
    dist: Float64[np.ndarray, " 5"]  # k1, k2, p1, p2, k3
    cam_from_rig: Float64[np.ndarray, "4 4"]  # rigid, metres
    width: int
    height: int

    @property
    def centre(self) -> Float64[np.ndarray, " 3"]:
        """Optical centre in the rig's world, metres."""
        return -self.cam_from_rig[:3, :3].T @ self.cam_from_rig[:3, 3]


@dataclass(frozen=True)
class RigFrame:
    """One moment: pictures by camera id. Cameras without a usable picture are absent."""

    images: dict[str, Path]
    masks: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class RigDump:
    """A rig dump with its calibration checked and its pictures found, none of them decoded yet."""

    path: Path
    importer: str  # name of the dialect
    metres_per_unit: float  # of the dump's own lengths; cameras here are in metres already
    cameras: dict[str, RigCamera]
    frames: dict[str, RigFrame]
    backgrounds: dict[str, Path] = field(default_factory=dict)  # clean plates by camera id
    expressions: dict[str, dict[str, float]] = field(default_factory=dict)  # ARKit weights by frame
    left_out: dict[str, str] = field(default_factory=dict)  # "frame/camera" -> why the view is not there
