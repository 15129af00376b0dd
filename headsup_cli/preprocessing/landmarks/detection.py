"""Landmarks of one head in all views of a rig at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.preprocessing.head_shape import load_head_shape
from headsup_cli.preprocessing.landmarks.crops import CROP_MIDDLE_M, crop, crop_cameras, expected_px
from headsup_cli.preprocessing.landmarks.network import CROP_PX
from headsup_cli.preprocessing.landmarks.points import MIRRORED, POINT_COUNT, faces_left
from headsup_cli.preprocessing.landmarks.triangulation import Sightings
from headsup_cli.preprocessing.landmarks.weights_file import load_network

_WIDEST_DEG = 115.0  # between the face's direction and a view's; from further round nothing can be known


class RigView(NamedTuple):
    """An undistorted picture with its camera."""

    image: UInt8[np.ndarray, "h w 3"]  # sRGB
    K: Float64[np.ndarray, "3 3"]  # pixel centres at half-integers
    cam_from_rig: Float64[np.ndarray, "4 4"]  # metres


@runtime_checkable
class LandmarkDetector(Protocol):
    """Finds the points of `points.py` in upright crops of a head."""

    crop_px: int

    def __call__(self, crops: Float32[np.ndarray, "c s s 3"], cameras: Cameras) -> Sightings:
        """Sightings in crops (sRGB in [0, 1]) by their cameras, whose world is the rough head frame."""


class NetworkDetector:
    """Our own network, with the weights that ship."""

    crop_px = CROP_PX

    def __init__(self) -> None:
        self._network, self._mean_points = load_network(), load_head_shape().landmark_mean

    def __call__(self, crops: Float32[np.ndarray, "c s s 3"], cameras: Cameras) -> Sightings:
        """See `LandmarkDetector`."""
        expected = expected_px(cameras, self._mean_points)  # [c, k, 2]
        left = faces_left(expected)
        shown = np.where(left[:, None, None, None], crops[:, :, ::-1], crops)
        images = torch.from_numpy(shown).permute(0, 3, 1, 2)  # [c, 3, s, s], channels last in memory
        with torch.inference_mode():
            found = self._network(images, torch.from_numpy(_turned(expected, left)).float())
        sigma = found.sigma_px.double().numpy()
        positions = _turned(found.positions_px.double().numpy(), left)
        return Sightings(cameras, positions, np.where(left[:, None], sigma[:, MIRRORED], sigma))


def _turned(points_px: Float64[np.ndarray, "c k 2"], left: Bool[np.ndarray, " c"]) -> Float64[np.ndarray, "c k 2"]:
    """Points of crops that are mirrored where `left`."""
    return np.where(left[:, None, None], points_px[:, MIRRORED] * [-1, 1] + [CROP_PX, 0], points_px)


def detect(
    detector: LandmarkDetector, views: Sequence[RigView], rig_from_head: Float64[np.ndarray, "4 4"]
) -> Sightings:
    """Find the landmarks in every view that may see the face.

    Args:
        detector: Finds them in one crop.
        views: What the rig saw.
        rig_from_head: Roughly where the head is, to 20 mm, 10 degrees and 15 % of its size; a similarity.

    Returns:
        Sightings by cameras whose world is the rough head frame; by none if no view may see the face.
    """
    poses = [_without_scale(view.cam_from_rig @ rig_from_head) for view in views]
    centres = np.array([-pose[:3, :3].T @ pose[:3, 3] for pose in poses]).reshape(-1, 3)
    ahead = [i for i, pose in enumerate(poses) if _may_see_the_face(pose, centres[i])]
    cameras = crop_cameras(centres[ahead], detector.crop_px)
    if not ahead:
        return Sightings(cameras, np.zeros((0, POINT_COUNT, 2)), np.zeros((0, POINT_COUNT)))
    crops = [crop(views[i].image, views[i].K, poses[i], cameras[at]) for at, i in enumerate(ahead)]
    return detector(np.stack(crops), cameras)


def _without_scale(similarity: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    rigid = similarity.copy()
    rigid[:3] /= np.cbrt(np.linalg.det(similarity[:3, :3]))
    return rigid


def _may_see_the_face(cam_from_head: Float64[np.ndarray, "4 4"], centre: Float64[np.ndarray, " 3"]) -> bool:
    towards = centre - CROP_MIDDLE_M
    ahead = cam_from_head[2, :3] @ CROP_MIDDLE_M + cam_from_head[2, 3] > 0
    return bool(ahead and towards[2] > np.cos(np.radians(_WIDEST_DEG)) * np.linalg.norm(towards))
