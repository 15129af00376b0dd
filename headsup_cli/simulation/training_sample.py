"""Training samples made on the fly: a person nobody has seen before, for every seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.simulation.expressions import sample_expression
from headsup_cli.simulation.lighting import sample_lamps
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig import LAYOUTS, sample_cameras, sample_faults
from headsup_cli.simulation.shading import render_mesh


@dataclass(frozen=True)
class TrainingSample:
    """One person seen by a rig, in the head frame."""

    images: Float32[np.ndarray, "c h w 3"]  # sRGB in 0..1, premultiplied by the mask (over black)
    masks: Float32[np.ndarray, "c h w"]  # coverage
    cameras: Cameras  # float64
    vertices: Float32[np.ndarray, "v 3"]  # template topology, posed and displaced: the tracked mesh, without hair


def training_sample(
    seed: int, views: int = 16, width: int = 192, height: int = 256, supersampling: int = 2
) -> TrainingSample:
    """Simulate one person; a pure function of its arguments, whatever the number of threads or processes.

    Args:
        seed: Chooses everything.
        views: Number of cameras.
        width: Image width in pixels.
        height: Image height in pixels.
        supersampling: Samples per pixel along each side.
    """
    rng = np.random.default_rng([seed, 0x4EAD5])
    person = sample_person(rng, pattern_share=0.4, departure=1.0)
    vertices = posed_vertices(person, sample_expression(rng) if rng.random() < 0.7 else {})
    mesh = lit_mesh(person, vertices, sample_lamps(rng))
    layout = LAYOUTS[rng.choice(len(LAYOUTS), p=[0.6, 0.15, 0.1, 0.15])]
    cameras = sample_cameras(rng, views, width, height, layout, fill=rng.uniform(0.6, 0.95))
    faults = sample_faults(rng, views, strength=rng.choice([0.0, rng.uniform(0, 0.6)]))
    rgb, alpha = render_mesh(mesh, person.paint, cameras, supersampling, faults.gain)
    noise = rng.standard_normal(rgb.shape, dtype=np.float32) * faults.noise[:, None, None, None].astype(np.float32)
    images = np.clip(rgb + noise * alpha[..., None], 0, 1)
    return TrainingSample(images, alpha, cameras, vertices)
