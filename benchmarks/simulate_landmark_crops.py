"""Simulate the crops that the landmark network is trained on; what is there already is kept.

python benchmarks/simulate_landmark_crops.py /tmp/landmarks --people 4000
python benchmarks/simulate_landmark_crops.py /tmp/landmarks --people 32 --first 1000000   # never trained on
"""

from __future__ import annotations

import argparse
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
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person

MARGIN_PX = 16  # on each side, to move, turn and scale
SUPERSAMPLING = 2
PEOPLE_PER_FILE = 32
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
    person = sample_person(rng, pattern_share=0.1, departure=float(rng.uniform(0.3, 1.0)))
    vertices = posed_vertices(person, sample_expression(rng) if rng.random() < 0.75 else {})
    lamps, cameras = sample_lamps(rng), crop_cameras(sample_centres(rng), SIMULATED_CROP_PX, MARGIN_PX)
    mesh = lit_mesh(person, vertices, lamps, sample_footprint_m(cameras, SUPERSAMPLING))
    rgb, alpha = render_mesh(mesh, person.paint, cameras, SUPERSAMPLING, np.ones((VIEWS, 3)))
    named = named_landmarks(vertices)
    ibug = landmarks_68(vertices, person.paint.brow_lift)
    points = np.concatenate([ibug, np.stack([named[name] for name in TEMPLATE_POINTS])])
    images = np.concatenate([rgb, alpha[..., None]], -1).clip(0, 1) * 255
    pixels, _ = cameras.project(torch.from_numpy(points.astype(np.float64)))
    return np.round(images).astype(np.uint8), pixels.numpy().astype(np.float32)


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
    parser.add_argument("--people", type=int, default=4000)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    simulate(arguments.folder, arguments.people, arguments.first)
