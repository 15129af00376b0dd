"""Make the contact sheets of docs/simulate.md: `python benchmarks/simulate_pictures.py`."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.simulation.expressions import sample_expression
from headsup_cli.simulation.lighting import sample_lamps
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig import look_at
from headsup_cli.simulation.shading import render_mesh
from headsup_cli.simulation.subject import SimulationOptions, simulate_subject

IMAGES = Path(__file__).parents[1] / "docs" / "images"
GREY = np.float32(0.42)


def turntable(azimuths_deg: tuple[float, ...], width: int, height: int) -> Cameras:
    """Cameras around the head at a metre and a half."""
    angle = np.radians(azimuths_deg)
    centre = np.stack([1.5 * np.sin(angle), 0.08 + 0 * angle, 1.5 * np.cos(angle)], -1)
    target = np.tile([0.0, -0.03, -0.01], (len(angle), 1))
    K = np.array([[3.3 * height, 0, width / 2], [0, 3.3 * height, height / 2], [0, 0, 1]])
    pose = torch.from_numpy(look_at(centre, target, np.zeros(len(angle))))
    return Cameras(pose, torch.from_numpy(K).repeat(len(angle), 1, 1), width, height)


def strip(seed: int, cameras: Cameras, pattern_share: float, departure: float) -> Float32[np.ndarray, "h cw 3"]:
    """One person from every camera, side by side."""
    rng = np.random.default_rng([seed, 0])
    person = sample_person(rng, pattern_share, departure)
    vertices = posed_vertices(person, sample_expression(rng) if seed % 2 else {})
    mesh = lit_mesh(person, vertices, sample_lamps(rng))
    rgb, alpha = render_mesh(mesh, person.paint, cameras, 3, np.ones((len(cameras), 3)))
    return np.concatenate(list(rgb + (1 - alpha)[..., None] * GREY), 1)


def sheet(strips: list[Float[np.ndarray, "h w 3"]], across: int) -> Float[np.ndarray, "H W 3"]:
    rows = [np.concatenate(strips[i : i + across], 1) for i in range(0, len(strips), across)]
    return np.concatenate(rows)


def main() -> None:
    views = turntable((0.0, 50.0, -90.0, 180.0), 90, 120)
    people = [strip(seed, views, pattern_share=0.0, departure=0.4) for seed in range(100, 140)]
    write_image(IMAGES / "simulate_people.png", to_8bit(sheet(people, 4)))
    pair = turntable((20.0, 160.0), 90, 120)
    training = [strip(seed, pair, pattern_share=0.4, departure=1.0) for seed in range(200, 216)]
    write_image(IMAGES / "simulate_training.png", to_8bit(sheet(training, 8)))
    options = SimulationOptions(cameras=16, width=114, height=152, expressions=3, preset="studio")
    subject = simulate_subject(104, options)
    frames = [subject.render_frame(name).images for name in subject.expressions]
    studio = [np.concatenate([frame[f"cam{camera:02d}"] for camera in range(1, 16, 2)], 1) for frame in frames]
    write_image(IMAGES / "simulate_studio.png", np.concatenate(studio))


if __name__ == "__main__":
    main()
