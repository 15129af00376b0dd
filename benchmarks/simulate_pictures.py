"""Make the contact sheets of docs/simulate.md: `python benchmarks/simulate_pictures.py`."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.media.opencv import cv2
from headsup_cli.simulation.body.expressions import sample_expression
from headsup_cli.simulation.drawing.lighting import sample_lamps
from headsup_cli.simulation.drawing.shading import render_mesh
from headsup_cli.simulation.drawing.strands import sample_footprint_m
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig.faults import PRESETS, Preset
from headsup_cli.simulation.rig.rig import RigPlan, look_at
from headsup_cli.simulation.subject import SimulatedSubject, SimulationOptions, simulate_subject
from headsup_cli.simulation.truth import BACKGROUND, seen_landmarks

IMAGES = Path(__file__).parents[1] / "docs" / "images"
GREY = np.float32(0.42)
SUPERSAMPLING = 3
EXPRESSION = "01_expression"


def turntable(azimuths_deg: tuple[float, ...], width: int, height: int) -> Cameras:
    """Cameras around the head at a metre and a half."""
    angle = np.radians(azimuths_deg)
    centre = np.stack([1.5 * np.sin(angle), 0.08 + 0 * angle, 1.5 * np.cos(angle)], -1)
    target = np.tile([0.0, -0.03, -0.01], (len(angle), 1))
    K = np.array([[3.3 * height, 0, width / 2], [0, 3.3 * height, height / 2], [0, 0, 1]])
    pose = torch.from_numpy(look_at(centre, target, np.zeros(len(angle))))
    return Cameras(pose, torch.from_numpy(K).repeat(len(angle), 1, 1), width, height)


def strip(
    seed: int, cameras: Cameras, pattern_share: float, departure: float, scan_share: float = 0.0
) -> Float32[np.ndarray, "h cw 3"]:
    """One person from every camera, side by side."""
    rng = np.random.default_rng([seed, 0])
    person = sample_person(rng, pattern_share, departure, scan_share)
    vertices = posed_vertices(person, sample_expression(rng) if seed % 2 else {})
    mesh = lit_mesh(person, vertices, sample_lamps(rng), sample_footprint_m(cameras, SUPERSAMPLING))
    rgb, alpha = render_mesh(mesh, person.paint, cameras, SUPERSAMPLING, np.ones((len(cameras), 3)))
    return np.concatenate(list(rgb + (1 - alpha)[..., None] * GREY), 1)


def sheet(strips: list[Float[np.ndarray, "h w 3"]], across: int) -> Float[np.ndarray, "H W 3"]:
    """Strips in rows of `across`."""
    rows = [np.concatenate(strips[i : i + across], 1) for i in range(0, len(strips), across)]
    return np.concatenate(rows)


def person_on_rig(preset: Preset, seed: int, width: int) -> SimulatedSubject:
    """A subject with two frames before sixteen cameras."""
    options = SimulationOptions(
        rig=RigPlan(), width=width, height=width * 4 // 3, expressions=2, preset=preset, faults=PRESETS[preset]
    )
    return simulate_subject(seed, options)


def presets(seed: int) -> Float32[np.ndarray, "H W 3"]:
    """The same person in the three presets, seen by eight of the cameras."""
    rows = []
    for preset in PRESETS:
        subject = person_on_rig(preset, seed, 114)
        posed = subject.posed(EXPRESSION)
        shots = [subject.view(EXPRESSION, f"cam{camera:02d}", posed).image for camera in range(1, 16, 2)]
        rows.append(np.concatenate(shots, 1))
    return np.concatenate(rows).astype(np.float32) / 255


def truths(seed: int) -> Float32[np.ndarray, "h W 3"]:
    """A picture with its landmarks, then mask, depth, normals and parts."""
    subject = person_on_rig("harsh", seed, 270)
    posed, name = subject.posed(EXPRESSION), "cam06"
    view = subject.view(EXPRESSION, name, posed)
    points = np.stack(list(posed.landmarks.values()))[:68]
    marked = view.image.copy()
    for (x, y), visible in zip(*seen_landmarks(subject.cameras[name], points, view.truth.depth), strict=True):
        colour = (60, 255, 60) if visible else (255, 60, 60)
        cv2.circle(marked, (round(16 * x - 8), round(16 * y - 8)), 24, colour, -1, cv2.LINE_AA, 4)
    shown = view.truth.labels != BACKGROUND
    depth = view.truth.depth
    near, far = depth[shown].min(), depth[shown].max()
    palette = np.random.default_rng(4).integers(60, 256, (256, 3))
    panels = [
        marked / 255,
        np.repeat(view.mask[..., None], 3, 2) / 255,
        np.repeat(np.where(shown, 1 - 0.8 * (depth - near) / (far - near), 0)[..., None], 3, 2),
        np.where(shown[..., None], view.truth.normals * [0.5, -0.5, -0.5] + 0.5, 0),
        palette[view.truth.labels] / 255 * shown[..., None],
    ]
    return np.concatenate(panels, 1).astype(np.float32)


def main() -> None:
    views = turntable((0.0, 50.0, -90.0, 180.0), 105, 140)
    people = [strip(seed, views, pattern_share=0.0, departure=0.4) for seed in range(100, 140)]
    write_image(IMAGES / "simulate_people.jpg", to_8bit(sheet(people, 4)), jpeg_quality=85)
    pair = turntable((20.0, 160.0), 90, 120)
    training = [strip(seed, pair, pattern_share=0.4, departure=1.0, scan_share=0.3) for seed in range(200, 216)]
    write_image(IMAGES / "simulate_training.jpg", to_8bit(sheet(training, 8)), jpeg_quality=85)
    write_image(IMAGES / "simulate_presets.jpg", to_8bit(presets(104)), jpeg_quality=85)
    write_image(IMAGES / "simulate_truth.png", to_8bit(truths(104)))


if __name__ == "__main__":
    main()
