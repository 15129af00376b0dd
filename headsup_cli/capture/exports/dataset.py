"""One moment of a capture as a data set for trainers of static splats: pictures, masks and starting points."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from headsup_cli.capture.capture import Capture, CaptureCamera
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.runtime.atomic import atomic_write_bytes

_HEAD_BOX_M = ((-0.14, -0.20, -0.16), (0.14, 0.20, 0.16))  # around any head, in the head frame
_SEED_POINTS = 200_000
_MAX_POINTS = 20_000


@dataclass(frozen=True)
class DatasetView:
    """A camera with its picture's and mask's places in the data set."""

    name: str
    camera: CaptureCamera
    image: str  # relative to the data set
    mask: str | None


def write_pictures(capture: Capture, frame: str, folder: Path) -> list[DatasetView]:
    """Write `images/<camera>` and `masks/<camera>.png`, white being the subject; stored pictures are copied.

    White space in names becomes an underscore: COLMAP's own reader, and others after it, stop at it.
    """
    views: list[DatasetView] = []
    for camera, view in capture.frames[frame].views.items():
        name = "_".join(camera.split())
        while any(name == other.name for other in views):
            name += "_"
        image = f"images/{name}{view.image.suffix if isinstance(view.image, Path) else '.png'}"
        if isinstance(view.image, Path):
            atomic_write_bytes(folder / image, view.image.read_bytes())
        else:
            write_image(folder / image, view.image)
        coverage = view.load_mask()
        mask = None if coverage is None else f"masks/{name}.png"
        if coverage is not None and mask is not None:
            write_image(folder / mask, to_8bit(coverage))
        views.append(DatasetView(name, capture.cameras[camera], image, mask))
    return views


def starting_points(capture: Capture, frame: str) -> tuple[Float64[np.ndarray, "n 3"], UInt8[np.ndarray, "n 3"]]:
    """Points that lie in the subject's silhouette in every view that has them in the picture, and their mean colours.

    Structure from motion's points are what most trainers begin with, and there are none here.
    """
    generator = np.random.default_rng(0)
    points = generator.uniform(_HEAD_BOX_M[0], _HEAD_BOX_M[1], (_SEED_POINTS, 3))  # [n, 3]
    inside = np.ones(len(points), bool)
    colours, seen = np.zeros((len(points), 3)), np.zeros(len(points))
    for name, view in capture.frames[frame].views.items():
        at, visible = _pixels(capture.cameras[name], points)
        if (mask := view.load_mask()) is not None:
            inside[visible] &= mask[at[visible, 1], at[visible, 0]] > 0.5
        colours[visible] += view.load_image()[at[visible, 1], at[visible, 0]]
        seen[visible] += 1
    kept = np.flatnonzero(inside & (seen > 0))[:_MAX_POINTS]
    return points[kept], (colours[kept] / seen[kept, None]).round().astype(np.uint8)


def _pixels(camera: CaptureCamera, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of the pixel that each point falls on, and whether it falls on one."""
    in_camera = points @ camera.cam_from_head[:3, :3].T + camera.cam_from_head[:3, 3]
    ahead = in_camera[:, 2] > 1e-6
    on_image = in_camera @ camera.K.T
    at = np.zeros((len(points), 2), int)
    at[ahead] = np.floor(np.clip(on_image[ahead, :2] / on_image[ahead, 2:], -1, 1e6)).astype(int)
    visible = ahead & (at >= 0).all(1) & (at < (camera.width, camera.height)).all(1)
    return at, visible
