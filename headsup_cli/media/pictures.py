"""Pictures wherever a rig stored them, read by one name."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from headsup_cli.media.images import read_image, read_image_size, read_mask


@dataclass(frozen=True)
class Picture:
    """Where a picture is stored."""

    path: Path


def read_picture(picture: Picture) -> UInt8[np.ndarray, "h w 3"]:
    """Read as 8-bit sRGB.

    Raises:
        InputError: It is missing, damaged, of an unknown format or too large.
    """
    return read_image(picture.path)


def read_mask_picture(picture: Picture) -> Float32[np.ndarray, "h w"]:
    """Read as coverage in [0, 1], white being the subject.

    Raises:
        InputError: As for `read_picture`.
    """
    return read_mask(picture.path)


def picture_size(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels, without decoding.

    Raises:
        InputError: As for `read_picture`.
    """
    return read_image_size(picture.path)
