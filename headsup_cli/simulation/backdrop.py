"""What stands behind simulated people: a patterned room, with the parallax of a real one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.simulation.noise import noise_at


@dataclass(frozen=True)
class Backdrop:
    """A ball around the rig, painted with clouds, bars and lamps; `contrast` 0 leaves one plain colour."""

    radius_m: float
    colour: Float[np.ndarray, "3"]  # sRGB
    contrast: float
    bars: int  # around the room
    offset: Float[np.ndarray, "3"]


def sample_backdrop(rng: np.random.Generator, contrast: float) -> Backdrop:
    """Draw a backdrop; `contrast` scales what is painted on it."""
    return Backdrop(
        radius_m=rng.uniform(2.0, 3.5),
        colour=np.clip(rng.uniform(0.12, 0.75) + rng.normal(0, 0.04, 3), 0, 1),
        contrast=contrast,
        bars=int(rng.integers(6, 40)),
        offset=rng.uniform(0, 32, 3),
    )


def render_backdrop(
    backdrop: Backdrop, cameras: Cameras, gain: Float[np.ndarray, "c 3"]
) -> Float32[np.ndarray, "c h w 3"]:
    """The empty room as the cameras see it (clean plates), sRGB."""
    if backdrop.contrast == 0:
        plain = backdrop.colour * gain ** (1 / 2.4)  # a gain on linear colour, in sRGB's power law
        shape = (len(cameras), cameras.height, cameras.width, 3)
        return np.broadcast_to(plain[:, None, None].astype(np.float32), shape).clip(0, 1)
    return np.stack([_room(backdrop, cameras[view], gain[view]) for view in range(len(cameras))])


def _room(backdrop: Backdrop, camera: Cameras, gain: Float[np.ndarray, "3"]) -> Float32[np.ndarray, "h w 3"]:
    centre, direction = camera.centres[0].numpy(), camera.ray_directions()[0].numpy()
    along = direction @ centre
    distance = np.sqrt(along**2 - centre @ centre + backdrop.radius_m**2) - along
    point = centre + direction * distance[..., None]  # [h, w, 3] on the ball
    clouds = noise_at(point.reshape(-1, 3), 0.5, backdrop.offset).reshape(*point.shape[:2], 4)
    grain = noise_at(point.reshape(-1, 3), 0.05, backdrop.offset).reshape(*point.shape[:2], 4)
    azimuth = np.arctan2(point[..., 0], point[..., 2])
    bars = np.tanh(6 * np.sin(backdrop.bars * azimuth + clouds[..., 3]))
    shade = 0.12 * clouds[..., :1] + 0.04 * clouds[..., :3] + 0.04 * grain[..., :1] + 0.07 * bars[..., None]
    lamp = np.clip((clouds[..., 2:3] - 0.8) * 6, 0, 1)
    colour = (backdrop.colour + backdrop.contrast * shade) * (1 - lamp) + lamp
    return (np.clip(colour, 0, 1) * gain ** (1 / 2.4)).clip(0, 1).astype(np.float32)
