"""Rigs around a ball, and what they see of it: exactly, or as pictures."""

from dataclasses import replace

import numpy as np

from headsup_cli.calibration.tracks import Tracks, reproject
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.media.opencv import cv2

RADIUS_M = 0.12


def ring(count=7, width=750, height=1000, focal_px=2400.0, spread_deg=170.0, dist=(-0.2, 0.1, 0.0, 0.0, 0.0)):
    cameras = []
    for k in range(count):
        azimuth, elevation = np.radians(spread_deg * k / count), np.radians(25 * (-1) ** k)
        level = np.cos(elevation)
        direction = np.array([np.sin(azimuth) * level, np.sin(elevation), np.cos(azimuth) * level])
        z = -direction
        x = np.cross(z, [0.0, 1.0, 0.0])
        x /= np.linalg.norm(x)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([x, np.cross(z, x), z])
        pose[:3, 3] = -pose[:3, :3] @ (direction * (1.0 + 0.05 * (k % 3)))
        K = np.array([[focal_px, 0, width / 2 + 3 * k - 10], [0, focal_px, height / 2 + 8], [0, 0, 1.0]])
        cameras.append(RigCamera(f"c{k:02d}", K, Lens("opencv", dist), pose, width, height))
    return cameras


def seen(cameras, points=2000, noise_px=0.15, outliers=0.03, seed=0):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(points, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    where = normal * RADIUS_M * [0.8, 1.2, 1.0]
    camera, point = [], []
    for index, c in enumerate(cameras):
        towards = c.centre - where
        facing = np.einsum("ij,ij->i", normal, towards) / np.linalg.norm(towards, axis=1) > 0.35
        chosen = np.flatnonzero(facing & (rng.random(points) < 0.7))
        camera.append(np.full(len(chosen), index))
        point.append(chosen)
    camera, point = np.concatenate(camera), np.concatenate(point)
    order = np.argsort(point, kind="stable")
    tracks = Tracks(camera[order], point[order], np.zeros((len(order), 2)))
    pixel = reproject(tracks, where, cameras) + rng.normal(0, noise_px, (len(order), 2))
    wrong = rng.random(len(order)) < outliers
    pixel[wrong] += rng.normal(0, 30, (wrong.sum(), 2))
    return replace(tracks, pixel=pixel).where(np.ones(len(order), bool))


def turned(camera, degrees, axis=(1.0, 0.0, 0.0)):
    axis = np.array(axis) / np.linalg.norm(axis)
    pose = camera.cam_from_rig.copy()
    pose[:3, :3] = cv2.Rodrigues(axis * np.radians(degrees))[0] @ pose[:3, :3]
    pose[:3, 3] = -pose[:3, :3] @ camera.centre
    return replace(camera, cam_from_rig=pose)


def moved(camera, shift_m):
    pose = camera.cam_from_rig.copy()
    pose[:3, 3] = -pose[:3, :3] @ (camera.centre + shift_m)
    return replace(camera, cam_from_rig=pose)


def with_focal(camera, factor):
    return replace(camera, K=camera.K * np.array([[factor, 1, 1], [1, factor, 1], [1, 1, 1]]))


def changed(cameras, index, camera):
    return [camera if k == index else other for k, other in enumerate(cameras)]


def named(cameras):
    return {camera.id: camera for camera in cameras}


def photograph(camera, seed=0):
    """A speckled ball before a plain wall."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.random((1024, 2048)).astype(np.float32), (0, 0), 3.0)
    texture = (texture - texture.min()) / np.ptp(texture) * 255
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    ideal = camera.unproject(np.stack([x.ravel(), y.ravel()], -1))
    ray = np.pad(ideal, ((0, 0), (0, 1)), constant_values=1.0) @ camera.cam_from_rig[:3, :3]
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    along = -ray @ camera.centre
    gap = camera.centre @ camera.centre - along**2
    hit = gap < RADIUS_M**2
    depth = along - np.sqrt(np.maximum(RADIUS_M**2 - gap, 0))
    normal = (camera.centre + depth[:, None] * ray) / RADIUS_M
    u = (np.arctan2(normal[:, 0], normal[:, 2]) / (2 * np.pi) + 0.5) * 2047
    v = np.arccos(np.clip(normal[:, 1], -1, 1)) / np.pi * 1023
    shape = (camera.height, camera.width)
    drawn = cv2.remap(
        texture, u.reshape(shape).astype(np.float32), v.reshape(shape).astype(np.float32), cv2.INTER_CUBIC
    )
    gray = np.where(hit.reshape(shape), drawn, 30).clip(0, 255)
    return np.repeat((gray + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def silhouette(camera):
    """Mask of a lump of balls, anti-aliased by nothing: 0 or 1."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    ideal = camera.unproject(np.stack([x.ravel(), y.ravel()], -1))
    ray = np.pad(ideal, ((0, 0), (0, 1)), constant_values=1.0) @ camera.cam_from_rig[:3, :3]
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    inside = np.zeros(len(ray), bool)
    for radius, *middle in (
        (0.09, 0, 0, 0),
        (0.04, 0.03, 0.07, 0.07),
        (0.05, -0.07, -0.05, 0.02),
        (0.03, 0.02, -0.1, -0.06),
    ):
        towards = np.array(middle) - camera.centre
        inside |= towards @ towards - (ray @ towards) ** 2 < radius**2
    return inside.reshape(camera.height, camera.width).astype(np.float32)
