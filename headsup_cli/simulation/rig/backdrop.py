"""What stands behind simulated people: a room with the parallax of a real one, out of focus as it would be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.media.opencv import cv2
from headsup_cli.simulation.noise import noise_volume
from headsup_cli.simulation.rig.backdrop_kernels import paint_room

_THINGS_PER_CLUTTER = 14
_COARSE = 2  # the room is painted at this fraction of the resolution
_DEFOCUS = 0.003  # standard deviation of the blur, of the picture's height


@dataclass(frozen=True)
class Backdrop:
    """A ball around the rig, painted with clouds, bars and lamps, with things standing before it.

    `contrast` 0 leaves one plain colour.
    """

    radius_m: float
    colour: Float[np.ndarray, "3"]  # sRGB
    contrast: float
    bars: int  # around the room
    offset: Float[np.ndarray, "3"]
    things: Float32[
        np.ndarray, "n 16"
    ]  # boxes: centre, half sizes (metres), axes' first two rows, colour, whether a lamp


def sample_backdrop(rng: np.random.Generator, clutter: float, beyond_m: float = 1.65) -> Backdrop:
    """Draw a backdrop.

    Args:
        rng: Source of all randomness.
        clutter: 0 for a plain one, 1 for a studio, more for a messier one; all have the same colour.
        beyond_m: How far the farthest camera stands from the head; the room lies beyond.
    """
    radius_m = max(rng.uniform(2.0, 3.5), 1.3 * beyond_m)
    colour = np.clip(rng.uniform(0.12, 0.75) + rng.normal(0, 0.04, 3), 0, 1)
    bars, offset = int(rng.integers(6, 40)), rng.uniform(0, 32, 3)
    count = round(_THINGS_PER_CLUTTER * max(clutter - 0.5, 0))
    things = _sample_things(rng, 1.06 * beyond_m, 0.97 * radius_m, count)
    return Backdrop(radius_m, colour, min(clutter, 1.5), bars, offset, things)


def _sample_things(
    rng: np.random.Generator, nearest_m: float, farthest_m: float, count: int
) -> Float32[np.ndarray, "n 16"]:
    """Stands, panels and crates about the room."""
    things = np.zeros((count, 16), np.float32)
    for thing in things:
        turn, reach = rng.uniform(-np.pi, np.pi), rng.uniform(nearest_m, farthest_m)
        kind = rng.choice(3, p=[0.4, 0.3, 0.3])
        half = [
            rng.uniform([0.012, 0.5, 0.012], [0.03, 1.2, 0.03]),  # a stand
            rng.uniform([0.15, 0.2, 0.01], [0.5, 0.6, 0.03]),  # a panel
            rng.uniform([0.08, 0.08, 0.08], [0.3, 0.3, 0.3]),  # a crate
        ][kind]
        thing[:3] = reach * np.sin(turn), rng.uniform(-0.9, 0.9), reach * np.cos(turn)
        thing[3:6] = half
        facing = turn + np.pi + rng.normal(0, 0.4)
        thing[6:9], thing[9:12] = (np.cos(facing), 0, -np.sin(facing)), (0, 1, 0)
        tone = rng.uniform(0.03, 0.9)
        lamp = kind == 1 and rng.random() < 0.5
        thing[12:15] = 1.0 if lamp else np.clip(tone + rng.normal(0, [0.12, 0.08, 0.12]), 0.02, 1)
        thing[15] = lamp
    return things


def render_backdrop(
    backdrop: Backdrop, cameras: Cameras, gain: Float[np.ndarray, "c 3"]
) -> Float32[np.ndarray, "c h w 3"]:
    """The empty room as the cameras see it (clean plates), sRGB."""
    encoded = (gain ** (1 / 2.4)).astype(np.float32)  # a gain on linear colour, in sRGB's power law
    shape = (len(cameras), cameras.height, cameras.width, 3)
    if backdrop.contrast == 0:
        plain = (backdrop.colour * encoded).astype(np.float32)
        return np.broadcast_to(plain[:, None, None].clip(0, 1), shape)
    small = cameras.resized(-(-cameras.width // _COARSE), -(-cameras.height // _COARSE))
    rays = np.linalg.inv(small.K.numpy() @ small.cam_from_world[:, :3, :3].numpy()).astype(np.float32)
    out = np.empty(shape, np.float32)
    room = np.empty((small.height, small.width, 3), np.float32)
    colour, offset = backdrop.colour.astype(np.float32), backdrop.offset.astype(np.float32)
    radius_m, contrast = np.float32(backdrop.radius_m), np.float32(backdrop.contrast)
    for view, centre in enumerate(cameras.centres.numpy().astype(np.float32)):
        paint_room(
            rays[view], centre, radius_m, contrast, backdrop.bars, colour, offset, backdrop.things, noise_volume(), room
        )
        cv2.GaussianBlur(room, (0, 0), max(_DEFOCUS * small.height, 1.0), dst=room)
        np.clip(cv2.resize(room, shape[2:0:-1], interpolation=cv2.INTER_LINEAR) * encoded[view], 0, 1, out=out[view])
    return out
