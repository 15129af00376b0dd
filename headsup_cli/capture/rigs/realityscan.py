"""RealityScan's (RealityCapture's) camera table and XMP sidecars.

Sources: Epic's page "RealityCapture XMP camera math"; nerfstudio process_data/realitycapture_utils.py for the table.
"""

import csv
import io
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import CV_FROM_GL, CalibratedCamera, inverted, pinhole, rigid
from headsup_cli.capture.rigs.picture_layout import MASK_FOLDERS, pictures_below
from headsup_cli.capture.rigs.text_files import bad_field, head_of, heads, no_calibration, numbers, read_text, read_xml
from headsup_cli.capture.rigs.views import PosedPicture, find_mask, group_views
from headsup_cli.errors import InputError
from headsup_cli.media.pictures import Picture, picture_size

CSV_TREE = """
cameras.csv                           any name; #name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2
images/<name>                         or images/<frame>/<name>
masks/<name>                          optional
"""
XMP_TREE = """
images/<name>.jpg, images/<name>.xmp  each picture beside its sidecar; also in the folder itself or in images/<frame>/
masks/<name>.png                      optional
"""
_FILM_MM = 36.0  # what focal lengths are of, over the longer side of the picture
_NAMESPACE = "http://www.capturingreality.com/ns/xcr/1.1#"
_COLUMNS = ("x", "y", "alt", "heading", "pitch", "roll", "f")
_MODELS = ("perspective", "division", "brown3", "brown3t2", "brown4", "brown4t2")

logger = logging.getLogger(__name__)

_CameraOfSize = Callable[[tuple[int, int]], CalibratedCamera]  # what the files leave out is the pictures' size


def recognises_table(folder: Path) -> bool:
    """Whether there is a camera table."""
    return _table(folder) is not None


def recognises_sidecars(folder: Path) -> bool:
    """Whether there is a sidecar beside a picture."""
    return next(iter(_sidecars(folder)), None) is not None


def read_table_rig(folder: Path) -> RigDump:
    """Read "Internal/External camera parameters"; the unit is guessed.

    Raises:
        InputError: The table is damaged, or pictures do not fit it.
    """
    path = _table(folder)
    if path is None:
        raise no_calibration(folder / "cameras.csv", "missing")
    rows = csv.DictReader(io.StringIO(read_text(path, folder).lstrip("#")))
    try:
        cameras = {(row.get("name") or "").casefold(): _row_camera(row, path) for row in rows}
    except csv.Error as error:
        raise no_calibration(path, f"no table ({error})") from error
    root = folder / "images" if (folder / "images").is_dir() else folder
    views, used = [], set()
    for picture in _pictures(root, folder):
        name = next((n for n in (picture.name.casefold(), picture.stem.casefold()) if n in cameras), None)
        if name is None:
            logger.warning("%s: not in %s; ignored", picture, path.name)
            continue
        used.add(name)
        views += _views(picture, root, folder, cameras[name])
    if missing := sorted(cameras.keys() - used):
        logger.warning("%s: no pictures for %d rows: %s", path, len(missing), ", ".join(missing[:5]))
    return _assembled(folder, "realityscan-csv", views)


def read_sidecar_rig(folder: Path) -> RigDump:
    """Read the XMP files beside the pictures; the unit is guessed.

    Raises:
        InputError: A sidecar is damaged, or its picture cannot be read.
    """
    root = folder / "images" if (folder / "images").is_dir() else folder
    views = []
    for picture in _pictures(root, folder):
        path = picture.with_suffix(".xmp")
        if path.is_file() and _is_sidecar(path):
            views += _views(picture, root, folder, _sidecar_camera(path, folder))
    return _assembled(folder, "realityscan-xmp", views)


def _assembled(folder: Path, importer: str, views: list[PosedPicture]) -> RigDump:
    if not views:
        raise no_calibration(folder, "without a picture that the calibration names")
    rig = group_views(views)
    return assemble(folder, importer, Findings(rig.cameras, rig.images, rig.masks))


def _views(picture: Path, root: Path, folder: Path, of_size: _CameraOfSize) -> list[PosedPicture]:
    """The picture with its camera, or nothing where its size cannot be read."""
    try:
        size = picture_size(Picture(picture))
    except InputError as error:
        logger.warning("the view is left out: %s", error)
        return []
    name = picture.relative_to(root).as_posix()
    return [PosedPicture(name, Picture(picture), of_size(size), find_mask(folder, name))]


def _pictures(root: Path, folder: Path) -> Iterable[Path]:
    apart = {folder / name for name in MASK_FOLDERS}
    return (path for path in pictures_below(root, folder) if not apart.intersection(path.parents))


def _table(folder: Path) -> Path | None:
    return next(
        (path for path, head in heads(folder, ".csv") if head.lstrip(b"\xef\xbb\xbf").startswith(b"#name,x,y,alt")),
        None,
    )


def _row_camera(row: dict[str, str], path: Path) -> _CameraOfSize:
    name = (row.get("name") or "")[:80]

    def value(key: str, default: str | None = None) -> float:
        return numbers(row.get(key) or default or "", 1, path, f"{key} of {name}")[0]

    x, y, altitude, heading, pitch, roll, focal = (value(key) for key in _COLUMNS)
    rotation = _about_z(-heading) @ _about_x(pitch) @ _about_y(roll)
    world_from_gl = rigid(path, name, rotation, [x, y, altitude])
    lens = _brown(*(value(key, "0") for key in ("k1", "k2", "k3", "k4", "t1", "t2")))
    offsets = value("px", "0"), value("py", "0")
    return lambda size: _camera(path, name, size, focal, offsets, lens, inverted(world_from_gl @ CV_FROM_GL))


def _about_x(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _about_y(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _about_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _camera(
    path: Path,
    name: str,
    size: tuple[int, int],
    focal_35mm: float,
    offsets: tuple[float, float],
    lens: Lens,
    cam_from_world: np.ndarray,
    *,
    aspect: float = 1.0,
) -> CalibratedCamera:
    """All lengths on the film are over the longer side of the picture."""
    longer = max(size)
    focal = focal_35mm * longer / _FILM_MM
    cx, cy = size[0] / 2 + offsets[0] * longer, size[1] / 2 + offsets[1] * longer
    K = pinhole(path, name, focal, focal * aspect, cx, cy)
    return CalibratedCamera(K, lens, cam_from_world, size)


def _brown(k1: float, k2: float, k3: float, k4: float, t1: float, t2: float) -> Lens:
    """t1 goes with r^2 + 2 x^2 in x, so it is OpenCV's p2, and t2 its p1."""
    if k4:
        return Lens("brown", (k1, k2, t2, t1, k3, k4))
    return Lens("opencv", (k1, k2, t2, t1, k3))


def _sidecars(folder: Path) -> Iterable[Path]:
    roots = (folder / "images", folder)
    for root in roots:
        inside = sorted(root.iterdir()) if root.is_dir() else []
        for place in (root, *(entry for entry in inside[:100] if entry.is_dir() and not entry.name.startswith("."))):
            yield from (path for path, head in heads(place, ".xmp") if _NAMESPACE.encode() in head)


def _is_sidecar(path: Path) -> bool:
    return _NAMESPACE.encode() in head_of(path)


def _sidecar_camera(path: Path, folder: Path) -> _CameraOfSize:
    values = _values(read_xml(path, folder))

    def several(key: str, count: int, default: str | None = None) -> list[float]:
        if key not in values and default is None:
            raise bad_field(path, f"xcr:{key}", "missing", "a value")
        return numbers(values.get(key, default or ""), count, path, f"xcr:{key}")

    rotation = np.array(several("Rotation", 9)).reshape(3, 3)
    centre = np.array(several("Position", 3))
    pose = rigid(path, path.stem, rotation, -rotation @ centre)
    lens = _sidecar_lens(
        values.get("DistortionModel", "brown3"), several("DistortionCoeficients", 6, "0 0 0 0 0 0"), path
    )
    (focal,), (aspect,), (skew,) = (
        several("FocalLength35mm", 1),
        several("AspectRatio", 1, "1"),
        several("Skew", 1, "0"),
    )
    if abs(skew) > 1e-9:
        raise bad_field(path, "xcr:Skew", f"{skew:g}", "0")
    offsets = several("PrincipalPointU", 1, "0")[0], several("PrincipalPointV", 1, "0")[0]
    return lambda size: _camera(path, path.stem, size, focal, offsets, lens, pose, aspect=aspect)


def _values(root: ElementTree.Element) -> dict[str, str]:
    """What is in RealityScan's namespace, whether attributes or elements."""
    prefix = f"{{{_NAMESPACE}}}"
    values: dict[str, str] = {}
    for element in root.iter():
        values |= {key.removeprefix(prefix): text for key, text in element.items() if key.startswith(prefix)}
        if element.tag.startswith(prefix):
            values[element.tag.removeprefix(prefix)] = element.text or ""
    return values


def _sidecar_lens(model: str, coefficients: list[float], path: Path) -> Lens:
    k1, k2, k3, k4, t1, t2 = coefficients
    if model not in _MODELS:
        raise bad_field(path, "xcr:DistortionModel", repr(model[:40]), f"one of {', '.join(_MODELS)}")
    if model == "perspective" or not any(coefficients):
        return Lens()
    if model == "division":  # its coefficient's unit is not documented, and a wrong guess would pass unnoticed
        raise InputError(
            path,
            field="xcr:DistortionModel",
            found="division",
            expected="perspective, brown3, brown3t2, brown4 or brown4t2",
            remedy="export with a Brown model, or undistorted pictures",
        )
    tangential = model.endswith("t2")
    return _brown(k1, k2, k3, k4 if "4" in model else 0.0, t1 if tangential else 0.0, t2 if tangential else 0.0)
