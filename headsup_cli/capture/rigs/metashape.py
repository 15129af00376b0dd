"""Agisoft Metashape's cameras XML (File > Export > Export Cameras; Metashape's manual, appendix on camera models)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigDump
from headsup_cli.capture.rigs.assembly import Findings, assemble
from headsup_cli.capture.rigs.calibrated_camera import (
    CalibratedCamera,
    checked_lens,
    checked_size,
    inverted,
    pinhole,
    rigid,
    rigid_from_matrix,
)
from headsup_cli.capture.rigs.scale import Scale
from headsup_cli.capture.rigs.text_files import bad_field, heads, no_calibration, numbers, read_xml
from headsup_cli.capture.rigs.views import group_views, posed_by_label
from headsup_cli.errors import InputError

TREE = """
cameras.xml                           any name
images/<label>.jpg                    or images/<frame>/<label>.jpg; suffixes of labels do not matter
masks/<label>.png                     optional
"""
_PARAMETERS = ("f", "cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4", "b1", "b2")


@dataclass(frozen=True)
class _Sensor:
    K: np.ndarray
    lens: Lens
    size: tuple[int, int]


@dataclass(frozen=True)
class _Similarity:
    scale: float
    pose: np.ndarray  # rigid
    is_scaled: bool  # by markers or known cameras, rather than 1 for want of any


def recognises(folder: Path) -> bool:
    """Whether there is an XML file of Metashape's."""
    return _file(folder) is not None


def read_rig(folder: Path) -> RigDump:
    """Read the aligned cameras; the unit is guessed where the chunk has a scale, and arbitrary where it has none.

    Raises:
        InputError: The file is damaged, no camera is aligned, or pictures do not fit it.
    """
    path = _file(folder)
    if path is None:
        raise no_calibration(folder / "cameras.xml", "missing")
    root = read_xml(path, folder)
    chunk = root if root.tag == "chunk" else root.find("chunk")
    if chunk is None:
        raise no_calibration(path, "without chunk")
    sensors = {
        sensor.get("id", ""): sensor for sensor in chunk.iterfind("sensors/sensor") if sensor.get("type") != "unknown"
    }
    chunk_transform = _similarity(chunk.find("transform"), path)
    components = {
        component.get("id", ""): _similarity(component.find("transform"), path)
        for component in chunk.iterfind("components/component")
    }
    calibrated, is_scaled = {}, False
    for camera in chunk.iter("camera"):
        transform = camera.findtext("transform")
        if transform is None:
            continue  # not aligned
        label = camera.get("label", "")
        similarity = components.get(camera.get("component_id", "")) or chunk_transform
        is_scaled |= similarity is not None and similarity.is_scaled
        sensor = _sensor(sensors, camera.get("sensor_id", ""), path, label)
        pose = _pose(numbers(transform, 16, path, f"transform of camera {label}"), similarity, path, label)
        calibrated[label] = CalibratedCamera(sensor.K, sensor.lens, pose, sensor.size)
    if not calibrated:
        raise no_calibration(path, "without an aligned camera")
    rig = group_views(posed_by_label(folder, calibrated))
    scale: Scale | None = None if is_scaled else "arbitrary"
    return assemble(folder, "metashape", Findings(rig.cameras, rig.images, rig.masks, scale=scale))


def _file(folder: Path) -> Path | None:
    files: Iterable[tuple[Path, bytes]] = heads(folder, ".xml")
    return next((path for path, head in files if b"<chunk" in head and b"<sensor" in head), None)


def _pose(matrix: list[float], similarity: _Similarity | None, path: Path, label: str) -> np.ndarray:
    """Camera from world, where the file has chunk from camera and world = scale R X + t."""
    chunk_from_camera = rigid_from_matrix(path, label, np.array(matrix).reshape(4, 4))
    if similarity is None:
        return inverted(chunk_from_camera)
    world_from_camera = chunk_from_camera.copy()
    world_from_camera[:3, 3] *= similarity.scale
    return inverted(similarity.pose @ world_from_camera)


def _similarity(element: ElementTree.Element | None, path: Path) -> _Similarity | None:
    if element is None:
        return None
    rotation, translation, scale = (element.findtext(key) for key in ("rotation", "translation", "scale"))
    if scale is None and rotation is None and translation is None:
        return None
    R = np.array(numbers(rotation, 9, path, "transform.rotation")).reshape(3, 3) if rotation else np.eye(3)
    t = numbers(translation, 3, path, "transform.translation") if translation else [0.0, 0.0, 0.0]
    (factor,) = numbers(scale, 1, path, "transform.scale") if scale else [1.0]
    if not 1e-9 < factor < 1e9:
        raise bad_field(path, "transform.scale", f"{factor:g}", "a positive number")
    return _Similarity(factor, rigid(path, "the chunk", R, t), is_scaled=scale is not None)


def _sensor(sensors: dict[str, ElementTree.Element], number: str, path: Path, label: str) -> _Sensor:
    element = sensors.get(number)
    if element is None:
        raise bad_field(path, f"sensor of camera {label}", repr(number[:20]), "one of the file's sensors")
    name = f"{label} (sensor {number})"
    kind = element.get("type", "frame")
    if kind not in ("frame", "fisheye"):
        raise InputError(
            path,
            field=f"sensor {number}",
            found=f"of type {kind}",
            expected="frame or fisheye",
            remedy="convert its pictures to a perspective camera's",
        )
    calibration = _adjusted(element)
    resolution = (
        element.find("resolution") if element.find("resolution") is not None else calibration.find("resolution")
    )
    if resolution is None:
        raise bad_field(path, f"resolution of sensor {number}", "missing", "width and height")
    (width,), (height,) = (
        numbers(resolution.get(k, ""), 1, path, f"{k} of sensor {number}") for k in ("width", "height")
    )
    v = {
        key: numbers(text, 1, path, f"{key} of sensor {number}")[0] if (text := calibration.findtext(key)) else 0.0
        for key in _PARAMETERS
    }
    if v["p3"] or v["p4"]:
        raise bad_field(path, f"p3 and p4 of sensor {number}", "not zero", "zeros; they have no counterpart here")
    size = checked_size(path, name, width, height)
    fx, fy = v["f"] + v["b1"], v["f"]
    K = pinhole(path, name, fx, fy, width / 2 + v["cx"], height / 2 + v["cy"], skew=v["b2"])
    return _Sensor(K, checked_lens(path, name, _lens(v, fisheye=kind == "fisheye")), size)


def _adjusted(sensor: ElementTree.Element) -> ElementTree.Element:
    """The calibration that alignment has found rather than the one that it began with."""
    found = sensor.findall("calibration")
    best = next((c for c in found if c.get("class") == "adjusted"), None)
    if best is None:
        best = found[0] if found else ElementTree.Element("calibration")
    return best


def _lens(v: dict[str, float], *, fisheye: bool) -> Lens:
    """Metashape's P1 goes with r^2 + 2 x^2 and P2 with 2 x y in x, so they are OpenCV's p2 and p1."""
    if fisheye:
        return Lens("thin_prism_fisheye", (v["k1"], v["k2"], v["p2"], v["p1"], v["k3"], v["k4"], 0.0, 0.0))
    if v["k4"]:
        return Lens("brown", (v["k1"], v["k2"], v["p2"], v["p1"], v["k3"], v["k4"]))
    return Lens("opencv", (v["k1"], v["k2"], v["p2"], v["p1"], v["k3"]))
