"""Simulate the crops that the landmark network is trained on; what is there already is kept.

python benchmarks/simulate_landmark_crops.py /tmp/landmarks --people 3200
python benchmarks/simulate_landmark_crops.py /tmp/landmarks --people 96 --first 1000000   # never trained on
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from landmark_batches import SIMULATED_CROP_PX, VIEWS

from headsup_cli.preprocessing.landmarks.crops import crop_cameras
from headsup_cli.preprocessing.landmarks.points import TEMPLATE_POINTS
from headsup_cli.runtime.atomic import atomic_path
from headsup_cli.simulation.body.expressions import sample_expression
from headsup_cli.simulation.body.landmarks import landmarks_68, named_landmarks
from headsup_cli.simulation.drawing.lighting import sample_lamps
from headsup_cli.simulation.drawing.shading import render_mesh
from headsup_cli.simulation.drawing.strands import sample_footprint_m
from headsup_cli.simulation.person import Person, lit_mesh, posed_vertices, sample_person

MARGIN_PX = 16  # on each side, to move, turn and scale
SUPERSAMPLING = 2
PEOPLE_PER_FILE = 32
BROW_LIFTS_M = (-0.008, 0.014)  # as far as they stay between lid and forehead
FROM_BEHIND = 0.12  # share of views that show no face


def simulate(folder: Path, people: int, first: int) -> None:
    for start in range(first, first + people, PEOPLE_PER_FILE):
        path = folder / f"people_{start:06d}.npz"
        if path.exists():
            continue
        crops = [simulated_crops(seed) for seed in range(start, start + PEOPLE_PER_FILE)]
        images, points = (np.concatenate(kind) for kind in zip(*crops, strict=True))
        with atomic_path(path) as temporary:
            np.savez(temporary, images=images, points=points)
        print(path.name, flush=True)


def simulated_crops(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops of one person, RGBA over black [n, s, s, 4] uint8, and points in their pixels [n, k, 2]."""
    rng = np.random.default_rng([seed, 0x1A2D])
    person = _of_any_brows(rng, sample_person(rng, 0.1, float(rng.uniform(0.3, 1.5)), scan_share=0.25))
    vertices = posed_vertices(person, _any_expression(rng))
    lamps, cameras = sample_lamps(rng), crop_cameras(sample_centres(rng), SIMULATED_CROP_PX, MARGIN_PX)
    mesh = lit_mesh(person, vertices, lamps, sample_footprint_m(cameras, SUPERSAMPLING))
    rgb, alpha = render_mesh(mesh, person.paint, cameras, SUPERSAMPLING, np.ones((VIEWS, 3)))
    named = named_landmarks(vertices)
    ibug = landmarks_68(vertices, person.paint.brow_lift)
    points = np.concatenate([ibug, np.stack([named[name] for name in TEMPLATE_POINTS])])
    images = np.concatenate([rgb, alpha[..., None]], -1).clip(0, 1) * 255
    pixels, _ = cameras.project(torch.from_numpy(points.astype(np.float64)))
    return np.round(images).astype(np.uint8), pixels.numpy().astype(np.float32)


def _of_any_brows(rng: np.random.Generator, person: Person) -> Person:
    """Brows as low, high, thick and thin as people's, so that they have to be looked at to be found."""
    lift_m = float(np.clip(rng.normal(0.002, 0.005), *BROW_LIFTS_M))
    paint = person.paint
    wide, dense = np.exp(rng.normal(0, 0.25)), min(paint.brow_density * np.exp(rng.normal(0, 0.3)), 1.0)
    paint = paint._replace(brow_lift=lift_m, brow_width=float(paint.brow_width * wide), brow_density=float(dense))
    return replace(person, paint=paint)


def _any_expression(rng: np.random.Generator) -> dict[str, float]:
    """A plausible one, none, or brows, lids and jaw each on their own."""
    kind = rng.random()
    if kind < 0.25:
        return {}
    if kind < 0.7:
        return sample_expression(rng)
    moved: dict[str, float] = {}
    brows = {"browInnerUp": 1.0} | {f"browOuterUp{side}": 1.0 for side in ("Left", "Right")}
    chosen = (
        brows if rng.random() < 0.5 else {"browDownLeft": 1.0, "browDownRight": 1.0},
        {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
        {"jawOpen": 0.8},
    )
    for shapes, chance in zip(chosen, (0.6, 0.6, 0.3), strict=True):
        if rng.random() < chance:
            strength = min(float(rng.uniform(0.2, 1.4)), 1.0)
            moved |= {name: strength * value * float(rng.uniform(0.7, 1.0)) for name, value in shapes.items()}
    return moved


def sample_centres(rng: np.random.Generator) -> np.ndarray:
    """Cameras around the face, few of them behind the head, metres."""
    behind = rng.random(VIEWS) < FROM_BEHIND
    turn_deg = np.where(behind, rng.uniform(100, 180, VIEWS), rng.uniform(0, 100, VIEWS))
    azimuth = np.radians(rng.choice([-1, 1], VIEWS) * turn_deg)
    elevation = np.radians(np.clip(rng.normal(8, 22, VIEWS), -45, 65))
    distance = np.exp(rng.uniform(np.log(0.4), np.log(2.5)))
    direction = [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    return distance * np.stack(direction, -1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=3200)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    simulate(arguments.folder, arguments.people, arguments.first)
