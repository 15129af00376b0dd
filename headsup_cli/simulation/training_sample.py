"""Training samples made on the fly: a person nobody has seen before, for every seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.lens import Lens
from headsup_cli.media.images import to_8bit
from headsup_cli.media.opencv import cv2
from headsup_cli.simulation.body.expressions import sample_expression
from headsup_cli.simulation.body.landmarks import landmarks_68
from headsup_cli.simulation.drawing.lighting import hardened, sample_lamps
from headsup_cli.simulation.drawing.shading import LitMesh, render_mesh
from headsup_cli.simulation.drawing.strands import sample_footprint_m
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig.backdrop import render_backdrop, sample_backdrop
from headsup_cli.simulation.rig.faults import CameraFaults, Faults, recorded, sample_camera_faults
from headsup_cli.simulation.rig.rig import LAYOUTS, RigLayout, as_rig_cameras, sample_cameras
from headsup_cli.simulation.truth import TruthMaps, seen_landmarks, truth_maps

_LAYOUT_CHANCES = (0.6, 0.15, 0.1, 0.15)  # of LAYOUTS
_CUT_HEIGHTS_M = (-0.27, -0.12)  # of the plane below which a bust is cut off, over the ear canals
_CUT_TILT = 0.25  # spread of the plane's slope


@dataclass(frozen=True)
class SampleTruth:
    """What a sample's pixels show; `truth.TruthMaps` of all views, and the 68 landmarks."""

    depth: Float32[np.ndarray, "c h w"]  # metres, 0 where there is nothing
    normals: Float32[np.ndarray, "c h w 3"]  # camera axes
    labels: UInt8[np.ndarray, "c h w"]  # truth.LABELS
    landmark_pixels: Float32[np.ndarray, "c 68 2"]  # pixel centres at half-integers
    landmark_visible: Bool[np.ndarray, "c 68"]


@dataclass(frozen=True)
class TrainingSample:
    """One person seen by a rig, in the head frame."""

    images: Float32[np.ndarray, "c h w 3"]  # sRGB in 0..1, over black (premultiplied by the mask) or before a room
    masks: Float32[np.ndarray, "c h w"]  # coverage
    cameras: Cameras  # float64
    vertices: Float32[np.ndarray, "v 3"]  # template topology, posed and displaced: the tracked mesh, without hair
    landmarks: Float32[np.ndarray, "68 3"]  # iBUG's order
    truth: SampleTruth | None


def training_sample(
    seed: int,
    views: int = 16,
    width: int = 192,
    height: int = 256,
    supersampling: int = 2,
    *,
    layout: RigLayout | None = None,
    faults: Faults | None = None,
    with_truth: bool = False,
    pattern_share: float = 0.4,
    departure: float = 1.0,
    bust_share: float = 0.0,
    scan_share: float = 0.15,
) -> TrainingSample:
    """Simulate one person; a pure function of its arguments, whatever the number of threads or processes.

    Args:
        seed: Chooses everything that is not given.
        views: Number of cameras.
        width: Image width in pixels.
        height: Image height in pixels.
        supersampling: Samples per pixel along each side.
        layout: How the cameras stand; None draws one.
        faults: What is wrong with the pictures; None draws mild faults. Lenses are ideal and masks complete whatever it
            says, as in a capture; `calibration` turns the cameras that are returned; with `room` above 0 the pictures
            have a background.
        with_truth: Whether to draw depth, normals, labels and landmarks in the pictures.
        pattern_share: Chance of random patterns on the skin, see `sample_person`.
        departure: How far shapes leave what anny can express, see `sample_person`.
        bust_share: Chance that the person ends in a slanting cut through chest or neck, as scans and busts do.
        scan_share: Chance that the person is as scans of heads come, see `sample_person`; half close their eyes.
    """
    rng = np.random.default_rng([seed, 0x4EAD5])
    person = sample_person(rng, pattern_share, departure, scan_share)
    expression = sample_expression(rng) if rng.random() < 0.7 else {}
    if not person.hair.brow_strands and rng.spawn(1)[0].random() < 0.5:  # nobody can look into a scanner for long
        expression |= {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0, "eyeWideLeft": 0.0, "eyeWideRight": 0.0}
    vertices = posed_vertices(person, expression)
    drawn = _mild_faults(rng)
    faults = drawn if faults is None else faults
    lamps = hardened(sample_lamps(rng), faults.light)
    layout_drawn = LAYOUTS[rng.choice(len(LAYOUTS), p=_LAYOUT_CHANCES)]
    cameras = sample_cameras(rng, views, width, height, layout or layout_drawn, rng.uniform(0.6, 0.95), faults.spread)
    mesh = lit_mesh(person, vertices, lamps, sample_footprint_m(cameras, supersampling))
    shares = sample_camera_faults(rng, views, faults)
    if bust_share > 0 and rng.random() < bust_share:
        mesh = _cut_off(mesh, rng)
    rgb, alpha = render_mesh(mesh, person.paint, cameras, supersampling, np.stack([share.gain for share in shares]))
    backdrop = sample_backdrop(rng, faults.room, beyond_m=float(cameras.centres.norm(dim=1).max()))
    images = np.empty_like(rgb)
    for view, share in enumerate(shares):
        behind = None if faults.room == 0 else render_backdrop(backdrop, cameras[view], share.gain[None])[0]
        images[view] = _picture(rgb[view], alpha[view], behind, share, faults.jpeg, rng)
    landmarks = landmarks_68(vertices, person.paint.brow_lift).astype(np.float32)
    return TrainingSample(
        images=images,
        masks=alpha,
        cameras=_strayed(cameras, shares),
        vertices=vertices,
        landmarks=landmarks,
        truth=_truth(mesh, cameras, landmarks) if with_truth else None,
    )


def _cut_off(mesh: LitMesh, rng: np.random.Generator) -> LitMesh:
    up = np.array([0, 1, 0]) + rng.normal(0, _CUT_TILT, 3)
    heights = mesh.columns[mesh.faces, :3].mean(1) @ (up / np.linalg.norm(up))
    kept = heights > rng.uniform(*_CUT_HEIGHTS_M)
    return mesh._replace(faces=mesh.faces[kept], part=mesh.part[kept])


def _mild_faults(rng: np.random.Generator) -> Faults:
    """What pictures that went through `headsup preprocess` are still like."""
    strength, light = rng.uniform(0, 1, 2)
    ideal, hard = rng.random(2) < [0.5, 0.3]
    if ideal:
        strength = 0.0
    return Faults(gain=0.12 * strength, noise=0.008 * strength, blur=0.6 * strength, light=0.7 * light * hard)


def _picture(
    rgb: Float32[np.ndarray, "h w 3"],
    alpha: Float32[np.ndarray, "h w"],
    behind: Float32[np.ndarray, "h w 3"] | None,
    share: CameraFaults,
    quality: float,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "h w 3"]:
    """One recorded picture, cut out along the mask unless something stands behind."""
    cover = alpha[..., None]
    picture = recorded(rgb if behind is None else rgb + (1 - cover) * behind, share, rng)
    if 0 < quality < 95:  # finer ones look like the original
        encoded = cv2.imencode(".jpg", to_8bit(picture), [cv2.IMWRITE_JPEG_QUALITY, round(quality)])[1]
        picture = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.float32) / 255
    if behind is None:
        picture = np.minimum(picture, cover)
    return np.clip(picture, 0, 1)


def _strayed(cameras: Cameras, shares: list[CameraFaults]) -> Cameras:
    """The cameras as a calibration with errors has them."""
    turned = cameras.cam_from_world.clone()
    turned[:, :3] = torch.from_numpy(np.stack([share.stray for share in shares])) @ turned[:, :3]
    return replace(cameras, cam_from_world=turned)


def _truth(mesh: LitMesh, cameras: Cameras, landmarks: Float32[np.ndarray, "68 3"]) -> SampleTruth:
    maps: list[TruthMaps] = []
    seen = []
    for index, camera in enumerate(as_rig_cameras(cameras, [Lens()] * len(cameras)).values()):
        maps.append(truth_maps(mesh, cameras[index]))
        seen.append(seen_landmarks(camera, landmarks, maps[-1].depth))
    return SampleTruth(
        depth=np.stack([view.depth for view in maps]),
        normals=np.stack([view.normals for view in maps]),
        labels=np.stack([view.labels for view in maps]),
        landmark_pixels=np.stack([pixels for pixels, _ in seen]).astype(np.float32),
        landmark_visible=np.stack([visible for _, visible in seen]),
    )
