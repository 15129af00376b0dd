"""A user's own MediaPipe face landmarker in place of our network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from headsup_cli.cameras.camera import Cameras
from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.preprocessing.landmarks.points import IBUG_COUNT, LEFT_IRIS, POINT_COUNT, RIGHT_IRIS
from headsup_cli.preprocessing.landmarks.triangulation import Sightings

_SIGMA_PX = 2.5  # of a crop of `MediaPipeDetector.crop_px`
_CONTOUR_SIGMA_PX = 12.0  # along the jaw, which slides with the view, and is nearer to the ears than ours
# iBUG's 68 points among MediaPipe's 478, and both irises' middles.
_MESH_POINTS = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,  # jaw
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,  # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,  # lips
)  # fmt: skip
_LEFT_IRIS_IN_MESH, _RIGHT_IRIS_IN_MESH = 473, 468
_MESH_COUNT = 478


class MediaPipeDetector:
    """Runs a `.task` file of MediaPipe's Face Landmarker; a `LandmarkDetector`."""

    crop_px = 256

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            InputError: It is not there, or MediaPipe refuses it.
            MissingDependencyError: mediapipe is not installed.
        """
        if not path.is_file():
            raise InputError(path, found="not there", expected="a MediaPipe .task file", remedy="correct the path")
        try:
            import mediapipe  # type: ignore[import-not-found]
            from mediapipe.tasks.python import BaseOptions, vision  # type: ignore[import-not-found]
        except ImportError as error:
            raise MissingDependencyError(
                f"{path}: a .task file needs mediapipe, which is not installed; `pip install mediapipe`, or leave "
                "--landmarks out to use headsup's own network."
            ) from error
        self._image, self._format = mediapipe.Image, mediapipe.ImageFormat.SRGB
        options = vision.FaceLandmarkerOptions(BaseOptions(model_asset_path=str(path)), num_faces=1)
        try:
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                path,
                found=f"refused by MediaPipe ({str(error).splitlines()[0]})",
                expected="a Face Landmarker .task file",
                remedy="download it again from MediaPipe's page",
            ) from error

    def __call__(self, crops: Float32[np.ndarray, "c s s 3"], cameras: Cameras) -> Sightings:
        """See `LandmarkDetector`; a view in which MediaPipe finds no face knows nothing."""
        positions = np.zeros((len(crops), POINT_COUNT, 2))
        sigma = np.full((len(crops), POINT_COUNT), np.inf)
        for index, pixels in enumerate(crops):
            picture = self._image(image_format=self._format, data=np.round(pixels * 255).astype(np.uint8))
            faces = self._landmarker.detect(picture).face_landmarks
            if faces and len(faces[0]) >= _MESH_COUNT:
                mesh = np.array([(point.x, point.y) for point in faces[0]]) * self.crop_px
                positions[index], sigma[index] = from_mesh(mesh)
        return Sightings(cameras, positions, sigma)


def from_mesh(mesh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions [k, 2] and standard deviations [k] of our points from MediaPipe's 478 [478, 2], all in pixels."""
    positions, sigma = np.zeros((POINT_COUNT, 2)), np.full(POINT_COUNT, np.inf)
    positions[:IBUG_COUNT], sigma[:IBUG_COUNT] = mesh[list(_MESH_POINTS)], _SIGMA_PX
    sigma[:17] = _CONTOUR_SIGMA_PX
    for ours, theirs in ((LEFT_IRIS, _LEFT_IRIS_IN_MESH), (RIGHT_IRIS, _RIGHT_IRIS_IN_MESH)):
        positions[ours], sigma[ours] = mesh[theirs], _SIGMA_PX
    return positions, sigma
