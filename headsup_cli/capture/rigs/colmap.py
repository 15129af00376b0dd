"""COLMAP's sparse models, text and binary (github.com/colmap/colmap, doc/format.rst and doc/cameras.rst)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headsup_cli.capture.lens import Lens, LensModel
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import (
    CalibratedCamera,
    checked_lens,
    checked_size,
    pinhole,
    rigid,
    rotation_from_quaternion,
)
from headsup_cli.capture.rigs.text_files import bad_field, no_calibration, read_bytes, read_text
from headsup_cli.capture.rigs.views import group_views, posed_pictures
from headsup_cli.capture.schemas import MAX_FRAMES
from headsup_cli.errors import InputError

TREE = """
sparse/0/cameras.bin, images.bin      or .txt; also in sparse/ or the folder itself
images/<name as in images.bin>        or images/<frame>/<name>, one calibration for several moments
masks/<name>                          optional, also <name>.png; white = subject
"""
_FOLDERS = ("sparse/0", "sparse", ".")
_MAX_IMAGES = MAX_FRAMES * 10


@dataclass(frozen=True)
class _Model:
    """A camera model: its number in binary files, its parameters in order, and the lens that they make."""

    number: int
    parameters: str
    lens: LensModel = "opencv"
    coefficients: str = ""  # names of parameters in the lens's order; 0 is zero


MODELS = {
    "SIMPLE_PINHOLE": _Model(0, "f cx cy"),
    "PINHOLE": _Model(1, "fx fy cx cy"),
    "SIMPLE_RADIAL": _Model(2, "f cx cy k", "opencv", "k 0 0 0"),
    "RADIAL": _Model(3, "f cx cy k1 k2", "opencv", "k1 k2 0 0"),
    "OPENCV": _Model(4, "fx fy cx cy k1 k2 p1 p2", "opencv", "k1 k2 p1 p2"),
    "OPENCV_FISHEYE": _Model(5, "fx fy cx cy k1 k2 k3 k4", "fisheye", "k1 k2 k3 k4"),
    "FULL_OPENCV": _Model(6, "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6", "opencv", "k1 k2 p1 p2 k3 k4 k5 k6"),
    "FOV": _Model(7, "fx fy cx cy omega", "fov", "omega"),
    "SIMPLE_RADIAL_FISHEYE": _Model(8, "f cx cy k", "fisheye", "k 0 0 0"),
    "RADIAL_FISHEYE": _Model(9, "f cx cy k1 k2", "fisheye", "k1 k2 0 0"),
    "THIN_PRISM_FISHEYE": _Model(
        10, "fx fy cx cy k1 k2 p1 p2 k3 k4 sx1 sy1", "thin_prism_fisheye", "k1 k2 p1 p2 k3 k4 sx1 sy1"
    ),
    "RAD_TAN_THIN_PRISM_FISHEYE": _Model(
        11,
        "fx fy cx cy k0 k1 k2 k3 k4 k5 p0 p1 s0 s1 s2 s3",
        "rad_tan_thin_prism_fisheye",
        "k0 k1 k2 k3 k4 k5 p0 p1 s0 s1 s2 s3",
    ),
    "SIMPLE_DIVISION": _Model(12, "f cx cy k", "division", "k"),
    "DIVISION": _Model(13, "fx fy cx cy k", "division", "k"),
    "SIMPLE_FISHEYE": _Model(14, "f cx cy", "fisheye", "0 0 0 0"),
    "FISHEYE": _Model(15, "fx fy cx cy", "fisheye", "0 0 0 0"),
    "EUCM": _Model(16, "fx fy cx cy alpha beta", "eucm", "alpha beta"),
}
_NAMES = {model.number: name for name, model in MODELS.items()}


@dataclass(frozen=True)
class Intrinsics:
    """What COLMAP calls a camera: several pictures may share it."""

    K: np.ndarray
    lens: Lens
    size: tuple[int, int]


@dataclass(frozen=True)
class _Image:
    name: str
    camera: int
    quaternion: tuple[float, ...]  # wxyz, camera from world
    translation: tuple[float, ...]


def recognises(folder: Path) -> bool:
    """Whether there is a sparse model."""
    return _model_folder(folder) is not None


def read_rig(folder: Path) -> RigDump:
    """Read a sparse model; its scale is arbitrary, whatever it may be guessed to be.

    Raises:
        InputError: The model is missing, damaged or of a camera that is not perspective, or pictures do not fit it.
    """
    model = _model_folder(folder)
    if model is None:
        raise no_calibration(folder / "sparse", "without cameras and images, .bin or .txt")
    cameras_file, images_file = _file(model, "cameras"), _file(model, "images")
    assert cameras_file is not None
    assert images_file is not None
    binary = cameras_file.suffix == ".bin"
    intrinsics = dict(_binary_cameras(cameras_file, folder) if binary else _text_cameras(cameras_file, folder))
    images = _binary_images(images_file, folder) if images_file.suffix == ".bin" else _text_images(images_file, folder)
    calibrated = {image.name: _calibrated(image, intrinsics, images_file) for image in images}
    pictures = folder / "images"
    rig = group_views(posed_pictures(folder, pictures if pictures.is_dir() else folder, calibrated))
    return assemble(folder, "colmap", Findings(rig.cameras, rig.images, rig.masks, scale="arbitrary"))


def _model_folder(folder: Path) -> Path | None:
    candidates = (folder / name for name in _FOLDERS)
    return next((path for path in candidates if _file(path, "cameras") and _file(path, "images")), None)


def _file(model: Path, name: str) -> Path | None:
    return next((path for suffix in (".bin", ".txt") if (path := model / f"{name}{suffix}").is_file()), None)


def _calibrated(image: _Image, intrinsics: dict[int, Intrinsics], source: Path) -> CalibratedCamera:
    if image.camera not in intrinsics:
        raise bad_field(source, f"camera of {image.name}", str(image.camera), "a camera of the model")
    found = intrinsics[image.camera]
    rotation = rotation_from_quaternion(source, image.name, np.array(image.quaternion))
    return CalibratedCamera(found.K, found.lens, rigid(source, image.name, rotation, image.translation), found.size)


def intrinsics_of(
    source: Path, number: int, name: str, size: tuple[float | int, float | int], parameters: tuple[float, ...]
) -> Intrinsics:
    """Intrinsics from a model's name and parameters in COLMAP's order.

    Raises:
        InputError: They make no camera.
    """
    model, camera = MODELS[name], str(number)
    named = dict(zip(model.parameters.split(), parameters, strict=True)) | {"0": 0.0}
    fx, fy = (named.get(key, named.get("f", 0.0)) for key in ("fx", "fy"))
    lens = Lens(model.lens, tuple(named[key] for key in model.coefficients.split()))
    return Intrinsics(
        pinhole(source, camera, fx, fy, named["cx"], named["cy"]),
        checked_lens(source, camera, lens),
        checked_size(source, camera, *size),
    )


def _known_model(source: Path, camera: object, name: str | None, found: str) -> str:
    if name in MODELS:
        return name
    raise bad_field(source, f"model of camera {camera}", found, f"one of {', '.join(MODELS)}")


def _text_cameras(path: Path, folder: Path) -> Iterator[tuple[int, Intrinsics]]:
    for line in _lines(path, folder):
        words = line.split()
        if not words:
            continue
        name = _known_model(path, words[0], words[1] if len(words) > 1 else "", (words[1:2] or ["missing"])[0][:40])
        count = len(MODELS[name].parameters.split())
        number, width, height, *parameters = _numbers([words[0], *words[2:]], 3 + count, path, f"camera {words[0]}")
        yield int(number), intrinsics_of(path, int(number), name, (width, height), tuple(parameters))


def _text_images(path: Path, folder: Path) -> Iterator[_Image]:
    """Every other line is of points, but the lines of points may be empty or, in what others write, absent."""
    points_are_due = False
    for line in _lines(path, folder):
        words = line.split(maxsplit=9)
        if points_are_due and not _is_image_line(words):
            points_are_due = False
            continue
        if not words:
            continue
        if len(words) < 10:
            raise bad_field(path, f"line '{line[:60]}'", f"{len(words)} words", "10, the last being a picture's name")
        values = _numbers(words[1:9], 8, path, f"image {words[9][:60]}")
        yield _Image(words[9].strip(), int(values[7]), tuple(values[:4]), tuple(values[4:7]))
        points_are_due = True


def _is_image_line(words: list[str]) -> bool:
    if len(words) < 10:
        return False
    try:
        float(words[9].split()[-1])
    except ValueError:
        return True
    return False


def _lines(path: Path, folder: Path) -> list[str]:
    return [line for line in read_text(path, folder).replace("\r", "").split("\n") if not line.startswith("#")]


def _numbers(words: list[str], count: int, source: Path, field: str) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count or not np.isfinite(values).all() or not np.abs(values).max() < 1e15:
        raise bad_field(source, field, repr(" ".join(words)[:60]), f"{count} finite numbers")
    return values


class _Bytes:
    """A binary file read from front to back."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._content, self._at = path, read_bytes(path, folder), 0

    def unpack(self, layout: str) -> tuple:
        try:
            values = struct.unpack_from("<" + layout, self._content, self._at)
        except struct.error as error:
            raise self.truncated() from error
        self._at += struct.calcsize("<" + layout)
        return values

    def text(self) -> str:
        end = self._content.find(b"\0", self._at)
        if end < 0:
            raise self.truncated()
        text = self._content[self._at : end].decode(errors="replace")
        self._at = end + 1
        return text

    def skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._content):
            raise self.truncated()

    def truncated(self) -> InputError:
        return no_calibration(self._path, "truncated")


def _binary_cameras(path: Path, folder: Path) -> Iterator[tuple[int, Intrinsics]]:
    file = _Bytes(path, folder)
    (count,) = file.unpack("Q")
    for _ in range(min(count, _MAX_IMAGES)):
        number, model, width, height = file.unpack("2i2Q")
        name = _known_model(path, number, _NAMES.get(model), f"number {model}")
        parameters = file.unpack(f"{len(MODELS[name].parameters.split())}d")
        yield number, intrinsics_of(path, number, name, (width, height), parameters)


def _binary_images(path: Path, folder: Path) -> Iterator[_Image]:
    file = _Bytes(path, folder)
    (count,) = file.unpack("Q")
    for _ in range(min(count, _MAX_IMAGES)):
        _, *pose, camera = file.unpack("i7di")
        name = file.text()
        (points,) = file.unpack("Q")
        file.skip(points * 24)
        yield _Image(name, camera, tuple(pose[:4]), tuple(pose[4:]))
