"""Upright crops of a head out of calibrated pictures, each seen by a camera of its own."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.media.opencv import cv2
from headsup_cli.preprocessing.landmarks.network import CROP_PX

CROP_SIDE_M = 0.26  # of the crop, at the distance of its middle
CROP_MIDDLE_M = np.array([0.0, -0.02, 0.055])  # head frame: between nose, chin, brows and ears


def crop_cameras(centres: Float[np.ndarray, "c 3"], crop_px: int = CROP_PX, margin_px: int = 0) -> Cameras:
    """Cameras at `centres` (head frame, metres) that look at the middle of the face, the head's +Y up.

    Args:
        centres: Optical centres.
        crop_px: Width and height of the crop.
        margin_px: What is shown beyond on each side.
    """
    forward = CROP_MIDDLE_M - centres
    distance = np.linalg.norm(forward, axis=1, keepdims=True)  # [c, 1]
    forward = forward / distance
    right = np.cross(forward, [0.0, 1.0, 0.0])
    overhead = np.linalg.norm(right, axis=1) < 1e-6
    right[overhead] = [-1.0, 0.0, 0.0]
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    pose = np.tile(np.eye(4), (len(centres), 1, 1))
    pose[:, :3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    pose[:, :3, 3] = -np.einsum("cij,cj->ci", pose[:, :3, :3], centres)
    K = np.tile(np.eye(3), (len(centres), 1, 1))
    size_px = crop_px + 2 * margin_px
    K[:, [0, 1], [0, 1]] = crop_px * distance / CROP_SIDE_M
    K[:, :2, 2] = size_px / 2
    return Cameras(torch.from_numpy(pose), torch.from_numpy(K), size_px, size_px)


def expected_px(cameras: Cameras, mean_points: Float[np.ndarray, "k 3"]) -> Float64[np.ndarray, "c k 2"]:
    """Where `crop_cameras` would see a mean head, perspective left aside so that only the direction counts."""
    across = (mean_points - CROP_MIDDLE_M) @ cameras.cam_from_world[:, :2, :3].mT.numpy()  # [c, k, 2]
    return cameras.width / 2 + across * (CROP_PX / CROP_SIDE_M)


def crop(
    image: UInt8[np.ndarray, "h w 3"],
    K: Float64[np.ndarray, "3 3"],
    cam_from_head: Float64[np.ndarray, "4 4"],
    target: Cameras,
) -> Float32[np.ndarray, "s s 3"]:
    """What `target`, one camera at the same place, sees of an undistorted picture; sRGB in [0, 1], black outside.

    Args:
        image: The picture.
        K: Its intrinsics, pixel centres at half-integers.
        cam_from_head: Its pose, in the frame of `target`.
        target: From `crop_cameras`.
    """
    target_pose, target_K = target.cam_from_world[0].numpy(), target.K[0].numpy()
    turn = cam_from_head[:3, :3] @ target_pose[:3, :3].T
    crop_from_image = np.linalg.inv(K @ turn @ np.linalg.inv(target_K))
    shrink = float(np.sqrt(K[0, 0] * K[1, 1]) / target_K[0, 0])  # pixels of the picture in one of the crop
    levels = max(int(np.floor(np.log2(max(shrink, 1)))), 0)
    source = image if levels == 0 else cv2.resize(
        image, (-(-image.shape[1] >> levels), -(-image.shape[0] >> levels)), interpolation=cv2.INTER_AREA
    )  # fmt: skip
    ratio = np.array([image.shape[1] / source.shape[1], image.shape[0] / source.shape[0], 1.0])
    corner, back = _shift(0.5), _shift(-0.5)  # OpenCV puts the centre of the first pixel at 0
    warp = back @ crop_from_image @ np.diag(ratio) @ corner
    size = (target.width, target.height)
    return cv2.warpPerspective(source, warp, size, flags=cv2.INTER_LINEAR).astype(np.float32) / 255


def _shift(amount: float) -> Float64[np.ndarray, "3 3"]:
    shift = np.eye(3)
    shift[:2, 2] = amount
    return shift
