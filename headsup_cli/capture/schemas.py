"""The JSON files of rig dumps and captures as pydantic models; `docs/schemas/` is generated from them."""

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from headsup_cli.capture.lens import MAX_COEFFICIENTS, Lens, LensModel
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.runtime.atomic import atomic_write_text

MAX_CAMERAS = 1000
MAX_FRAMES = 100_000
MAX_IMAGE_SIDE_PX = 32_768
RIGID_TOLERANCE = 1e-3  # of R Rᵀ - 1, so that calibrations printed with four decimals pass
_MAX_NAME_LENGTH = 128


def _is_file_name(name: str) -> str:
    if (
        len(name) > _MAX_NAME_LENGTH
        or name.startswith(".")
        or any(c in "/\\:" or ord(c) < 32 for c in name)
        or not name
    ):
        raise ValueError("a name that can be a file's (no slash, colon or leading dot)")
    return name


def _is_intrinsic(K: list[list[float]]) -> list[list[float]]:
    if K[0][0] <= 0 or K[1][1] <= 0:
        raise ValueError("positive focal lengths K[0][0] and K[1][1], in pixels")
    if K[1][0] or K[2] != [0, 0, 1] or abs(K[0][1]) > K[0][0]:
        raise ValueError("[[fx, skew, cx], [0, fy, cy], [0, 0, 1]]")
    return K


def _is_straight(K: list[list[float]]) -> list[list[float]]:
    if abs(K[0][1]) > 1e-3:
        raise ValueError("[[fx, 0, cx], [0, fy, cy], [0, 0, 1]], without skew")
    return K


def _is_rotation(R: list[list[float]]) -> list[list[float]]:
    matrix = np.array(R)
    huge = np.abs(matrix).max() > 1 + RIGID_TOLERANCE  # whose squares may overflow
    if huge or np.abs(matrix @ matrix.T - np.eye(3)).max() > RIGID_TOLERANCE or np.linalg.det(matrix) < 0:
        raise ValueError("a rotation: orthonormal rows and determinant +1")
    return R


def _is_similarity(transform: list[list[float]]) -> list[list[float]]:
    linear = np.array(transform)[:3, :3]
    determinant = np.linalg.det(linear)
    if transform[3] != [0, 0, 0, 1] or determinant <= 0:
        raise ValueError("a 4x4 transform with last row 0 0 0 1 that does not mirror")
    _is_rotation((linear / np.cbrt(determinant)).tolist())
    return transform


def _is_rigid(transform: list[list[float]]) -> list[list[float]]:
    _is_rotation([row[:3] for row in _is_similarity(transform)[:3]])
    return transform


FileName = Annotated[str, AfterValidator(_is_file_name)]
Vector3 = Annotated[list[float], Len(3, 3)]
Matrix3 = Annotated[list[Vector3], Len(3, 3)]
Matrix4 = Annotated[list[Annotated[list[float], Len(4, 4)]], Len(4, 4)]
Intrinsics = Annotated[Matrix3, AfterValidator(_is_intrinsic)]
StraightIntrinsics = Annotated[Intrinsics, AfterValidator(_is_straight)]
Rotation = Annotated[Matrix3, AfterValidator(_is_rotation)]
Rigid = Annotated[Matrix4, AfterValidator(_is_rigid)]
Similarity = Annotated[Matrix4, AfterValidator(_is_similarity)]
Distortion = Annotated[list[float], Len(1, 12)]
Side = Annotated[int, Gt(0), Le(MAX_IMAGE_SIDE_PX)]
Expression = dict[str, Annotated[float, Ge(0.0), Le(1.0)]]


class _FileModel(StrictModel):
    model_config = ConfigDict(strict=True)


class _LensFields(_FileModel):
    lens: LensModel = Field(default="opencv", description="The lens model that `dist` holds the coefficients of.")
    dist: Distortion = Field(
        description="opencv: k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, of which the last may be left out; "
        "fisheye: k1, k2, k3, k4; docs/rig-format.md has the others."
    )

    @model_validator(mode="after")
    def _has_as_many_coefficients_as_the_model(self) -> "_LensFields":
        most = MAX_COEFFICIENTS[self.lens]
        fewest = 4 if self.lens == "opencv" else most
        if not fewest <= len(self.dist) <= most:
            wanted = f"{fewest} to {most}" if fewest < most else most
            raise ValueError(f"{wanted} coefficients in dist for the lens '{self.lens}'")
        return self

    def as_lens(self) -> Lens:
        """The lens that the two fields describe."""
        return Lens(self.lens, tuple(self.dist))


class RigCameraEntry(_LensFields):
    """One camera of a rig: `x_cam = R x_world + t`, OpenCV axes, one of OpenCV's lens models."""

    K: Intrinsics = Field(description="[[fx, skew, cx], [0, fy, cy], [0, 0, 1]], pixels, of the distorted image.")
    R: Rotation = Field(description="Rotation from the rig's world to the camera.")
    t: Vector3 = Field(description="Translation from the rig's world to the camera, in `units`.")
    width: Side = Field(description="Image width, pixels.")
    height: Side = Field(description="Image height, pixels.")


class RigCalibrationFile(_FileModel):
    """`calibration.json` of a native rig dump, and the argument of `headsup render --cameras`."""

    schema_: Literal["headsup-rig/1"] = Field(alias="schema")
    units: Literal["m", "cm", "mm"] = Field(description="Unit of every length in this file.")
    pixel_origin: Literal["center", "corner"] = Field(
        description="Where pixel coordinate (0, 0) lies in the top-left pixel: at its centre (OpenCV) or outer corner."
    )
    cameras: Annotated[dict[FileName, RigCameraEntry], Len(1, MAX_CAMERAS)]


class ExpressionsFile(_FileModel):
    """`expressions.json` once wrapped as {"frames": ...}: ARKit blendshape weights by frame."""

    frames: dict[FileName, Expression]


class RigCameraRecord(_LensFields):
    """The camera as the rig had it, kept so that a capture can be traced back to the original pixels."""

    K: Intrinsics = Field(description="Of the distorted original, pixel centres at half-integers.")
    width: Side
    height: Side


class CaptureCameraEntry(_FileModel):
    """One camera of a capture: a pinhole without distortion."""

    K: StraightIntrinsics = Field(description="Pixels of the stored images, pixel centres at half-integers.")
    cam_from_head: Rigid = Field(description="Points of the head frame (metres) to camera coordinates, OpenCV axes.")
    width: Side
    height: Side
    colour_gain: Vector3 = Field(description="Linear-light RGB factors already applied to the stored images.")
    rig: RigCameraRecord


class CaptureViewEntry(_FileModel):
    """One picture of a frame."""

    image: str = Field(description="Path relative to the capture.")
    mask: str | None = Field(description="Path relative to the capture; null where the subject is not masked.")


class CaptureFrameEntry(_FileModel):
    """One moment: pictures by camera, and what the face does, where known."""

    expression: Expression = Field(description="ARKit blendshape weights.")
    views: Annotated[dict[FileName, CaptureViewEntry], Len(1, MAX_CAMERAS)]


class HeadFrameEntry(_FileModel):
    """How the head frame was found, and how well."""

    method: Literal["landmarks", "silhouettes", "cameras"]
    template_scale: Vector3 = Field(
        description="Size of the subject over the template's along x, y, z; the data is not scaled."
    )
    residual_mm: Annotated[float, Ge(0.0)] | None = Field(
        description="Median distance of the landmarks from the fitted head's, or between the template's outline and "
        "the masks'; null where neither was to be had."
    )
    scale_sigma: Annotated[float, Ge(0.0)] = Field(
        default=0.0,
        description="Relative standard deviation of the size; 0 where the rig is metric, else people's own.",
    )


class ProvenanceEntry(_FileModel):
    """What the capture was made by and from."""

    program: str
    source: str = Field(description="Folder name of the rig dump.")
    importer: str
    inputs_sha256: dict[str, str] = Field(
        description="Hash of each file read, by path relative to the dump; of archives and videos size and time."
    )
    options: dict[str, str | int | float | bool | None]
    left_out: dict[str, str] = Field(description="Views that could not be used (frame/camera), and why.")


class CaptureFile(_FileModel):
    """`capture.json`."""

    schema_: Literal["headsup-capture/1"] = Field(alias="schema")
    subject: FileName
    cameras: Annotated[dict[FileName, CaptureCameraEntry], Len(1, MAX_CAMERAS)]
    frames: Annotated[dict[FileName, CaptureFrameEntry], Len(1, MAX_FRAMES)]
    rig_from_head: Similarity = Field(description="Head frame (metres) to the rig's world, in the rig's units.")
    head_frame: HeadFrameEntry
    provenance: ProvenanceEntry


SCHEMAS: dict[str, type[StrictModel]] = {"headsup-rig-1": RigCalibrationFile, "headsup-capture-1": CaptureFile}


def write_json_schemas(folder: Path) -> None:
    """Write the JSON Schema of every public file to `folder`/<schema>.schema.json."""
    for name, model in SCHEMAS.items():
        atomic_write_text(folder / f"{name}.schema.json", json_schema_text(model))


def json_schema_text(model: type[StrictModel]) -> str:
    """The model's JSON Schema as it is stored in `docs/schemas/`."""
    return json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
