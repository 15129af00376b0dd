"""A camera as a calibration file has it, checked, before pictures and units are known."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.schemas import MAX_IMAGE_SIDE_PX, RIGID_TOLERANCE
from headsup_cli.errors import InputError

CV_FROM_GL = np.diag([1.0, -1.0, -1.0, 1.0])  # camera axes: y up and z backward to y down and z ahead
TO_HALF_INTEGERS_PX = 0.5  # added to principal points counted from the first pixel's centre, as OpenCV's are


@dataclass(frozen=True)
class CalibratedCamera:
    """A camera in a calibration's own world and units; pixel centres at half-integers."""

    K: Float64[np.ndarray, "3 3"]  # pixels
    lens: Lens
    cam_from_world: Float64[np.ndarray, "4 4"]  # rigid
    size: tuple[int, int] | None  # width and height that K is for; None: those of its pictures

    def scaled_to(self, size: tuple[int, int]) -> "CalibratedCamera":
        """The camera for pictures that were resized."""
        if self.size is None:
            return replace(self, size=size)
        factors = np.array([[size[0] / self.size[0]], [size[1] / self.size[1]], [1.0]])
        return replace(self, K=self.K * factors, size=size)


def pinhole(source: object, name: str, fx: float, fy: float, cx: float, cy: float, skew: float = 0.0) -> np.ndarray:
    """K, checked; `name` is the camera's.

    Raises:
        InputError: A focal length is not positive or a number not finite.
    """
    return intrinsics(source, name, [[fx, skew, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def intrinsics(source: object, name: str, K: object, *, pixel_shift: float = 0.0) -> Float64[np.ndarray, "3 3"]:
    """K, checked, with its principal point moved by `pixel_shift`.

    Raises:
        InputError: It is no matrix of intrinsics.
    """
    matrix = _finite(source, name, "intrinsics", K, (3, 3))
    if matrix[0, 0] <= 0 or matrix[1, 1] <= 0 or matrix[1, 0] or list(matrix[2]) != [0, 0, 1]:
        found = " ".join(f"{value:g}" for value in matrix.ravel())
        raise _bad(
            source, f"intrinsics of camera {name}", found, "fx skew cx 0 fy cy 0 0 1 with positive focal lengths"
        )
    matrix[:2, 2] += pixel_shift
    return matrix


def rigid(source: object, name: str, R: object, t: object) -> Float64[np.ndarray, "4 4"]:
    """The rigid transform of a rotation matrix, made exactly one, and a translation.

    Raises:
        InputError: R is no rotation, or a number is not finite.
    """
    rotation, translation = _finite(source, name, "rotation", R, (3, 3)), _finite(source, name, "position", t, (3,))
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > RIGID_TOLERANCE or np.linalg.det(rotation) < 0:
        kind = "a reflection" if np.linalg.det(rotation) < 0 else "not orthonormal"
        raise _bad(source, f"rotation of camera {name}", kind, "orthonormal rows and determinant +1")
    left, _, right = np.linalg.svd(rotation)
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = left @ right, translation
    return transform


def rigid_from_matrix(source: object, name: str, matrix: object) -> Float64[np.ndarray, "4 4"]:
    """`rigid` of a 3x4 or 4x4 matrix."""
    rows = np.asarray(matrix, np.float64)
    if rows.shape not in ((3, 4), (4, 4)) or (len(rows) == 4 and np.abs(rows[3] - [0, 0, 0, 1]).max() > 1e-9):
        raise _bad(source, f"pose of camera {name}", f"a matrix of shape {rows.shape}", "3x4, or 4x4 ending in 0 0 0 1")
    return rigid(source, name, rows[:3, :3], rows[:3, 3])


def inverted(transform: Float[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """The inverse of a rigid transform."""
    inverse = np.eye(4)
    inverse[:3, :3] = transform[:3, :3].T
    inverse[:3, 3] = -transform[:3, :3].T @ transform[:3, 3]
    return inverse


def rotation_from_quaternion(source: object, name: str, wxyz: Float[np.ndarray, " 4"]) -> Float64[np.ndarray, "3 3"]:
    """Hamilton's convention, normalised here.

    Raises:
        InputError: It is zero or not finite.
    """
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(wxyz))
    if not 1e-6 < norm < 1e6:
        raise _bad(source, f"rotation of camera {name}", f"a quaternion of norm {norm:g}", "a unit quaternion")
    w, x, y, z = wxyz / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def checked_size(source: object, name: str, width: float | int, height: float | int) -> tuple[int, int]:
    """A picture's size.

    Raises:
        InputError: It is no size that a picture can have.
    """
    if not all(1 <= side <= MAX_IMAGE_SIDE_PX and side == int(side) for side in (width, height)):
        raise _bad(
            source, f"size of camera {name}", f"{width:g} x {height:g}", f"1 to {MAX_IMAGE_SIDE_PX} pixels a side"
        )
    return int(width), int(height)


def checked_lens(source: object, name: str, lens: Lens) -> Lens:
    """A lens whose coefficients are finite.

    Raises:
        InputError: They are not.
    """
    _finite(source, name, "distortion", lens.coefficients, (len(lens.coefficients),))
    return lens


def _finite(source: object, name: str, what: str, values: object, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.full(shape, np.nan)
    if array.shape != shape or not np.isfinite(array).all() or np.abs(array).max(initial=0.0) > 1e15:
        found = f"of shape {array.shape}" if array.shape != shape else "not finite"
        raise _bad(source, f"{what} of camera {name}", found, "x".join(map(str, shape)) + " finite numbers")
    return array


def _bad(source: object, field: str, found: str, expected: str) -> InputError:
    return InputError(source, field=field, found=found, expected=expected, remedy="export the calibration again")
