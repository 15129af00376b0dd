"""From a rig dump to a capture, in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from headsup_cli import __version__
from headsup_cli.capture.capture import Capture, CaptureCamera, CaptureFrame, CaptureView, OriginalCamera
from headsup_cli.capture.rig_dump import RigCamera, RigDump
from headsup_cli.capture.schemas import HeadFrameEntry, ProvenanceEntry
from headsup_cli.errors import InputError
from headsup_cli.media.images import to_8bit
from headsup_cli.media.pictures import read_mask_picture, read_picture
from headsup_cli.preprocessing.head_frame import HeadFrame, find_head_frame, head_frame_from_cameras
from headsup_cli.preprocessing.masks import mask_from_plate
from headsup_cli.preprocessing.silhouette_fit import HeadMesh, Silhouettes, head_mesh, silhouettes
from headsup_cli.preprocessing.undistort import Pinhole, resize, undistort, undistorted_view
from headsup_cli.runtime.hashing import sha256_of
from headsup_cli.runtime.progress import StageTimes, progress
from headsup_cli.template.template import Template

MIN_VIEWS = 1  # that a frame must keep once views that cannot be used are left out
_FIT_SIZE_PX = 300  # longer side of the masks that the head frame is found from
_CROP_MARGIN = 0.05  # around the subject, of the longer side of its box

_THREADS = 4  # pictures worked on at a time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreprocessOptions:
    """How captures are made."""

    size: int = 1000  # longer side of the working pictures, pixels; smaller originals keep their size
    crop: Literal["none", "subject"] = "none"
    frames: tuple[str, ...] | Literal["all", "neutral"] = "all"  # names, or every frame, or the most neutral one


@dataclass(frozen=True)
class _Undistorted:
    """A picture and mask at the camera's own resolution, without distortion."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"] | None


_Frame = dict[str, _Undistorted]


def preprocess_rig(
    dump: RigDump, options: PreprocessOptions, template: Template, *, times: StageTimes | None = None
) -> Capture:
    """Undistort, mask, find the head frame, crop and resize.

    The first frame of the result is the most neutral one, from which the head frame is found; the others follow in the
    dump's order. A view that cannot be read is left out with a warning while `MIN_VIEWS` others of its frame remain.

    Args:
        dump: What came off the rig.
        options: Working resolution, crop, frames.
        template: Its frame is the head frame.
        times: Where stages are timed.

    Raises:
        InputError: A frame is not there, or too few of its views can be used.
    """
    times = times or StageTimes()
    names = _ordered_frames(dump, options.frames)
    full_views = {name: undistorted_view(camera) for name, camera in dump.cameras.items()}
    left_out = dict(dump.left_out)
    with times.stage("read, mask and undistort"):
        frames = {name: _read_frame(dump, name, full_views, left_out) for name in progress(names, "frames")}
    with times.stage("find head frame"):
        head = _head_frame(dump.cameras, full_views, frames[names[0]], template)
    with times.stage("crop and resize"):
        boxes = {name: _box(name, full_views[name], frames.values(), options.crop) for name in dump.cameras}
        targets = {name: full_views[name].cropped(*box).resized_to(options.size) for name, box in boxes.items()}
        views = {name: _resized(frame, boxes, targets) for name, frame in frames.items()}
    used = {camera for frame in frames.values() for camera in frame}
    return Capture(
        subject=dump.path.resolve().name,
        cameras={name: _camera(dump.cameras[name], targets[name], head) for name in dump.cameras if name in used},
        frames={name: CaptureFrame(views[name], dump.expressions.get(name, {})) for name in names},
        rig_from_head=_in_rig_units(head, dump.metres_per_unit),
        head_frame=HeadFrameEntry(
            method=head.method,
            template_scale=head.template_scale.tolist(),
            residual_mm=None if head.residual_m is None else head.residual_m * 1000,
        ),
        provenance=_provenance(dump, options, names, left_out),
    )


def _ordered_frames(dump: RigDump, chosen: tuple[str, ...] | Literal["all", "neutral"]) -> list[str]:
    """Frames to take, the most neutral first."""
    named = chosen if isinstance(chosen, tuple) else tuple(dump.frames)
    for name in named:
        if name not in dump.frames:
            raise InputError(
                dump.path,
                field="frame",
                found=f"'{name}'",
                expected=f"one of {', '.join(dump.frames)}",
                remedy="name one of them",
            )
    names = [name for name in dump.frames if name in named]
    # A frame without an entry may show anything, so a stated neutral goes before it and a stated expression after.
    effort = {name: sum(dump.expressions[name].values()) if name in dump.expressions else 1e-6 for name in names}
    reference = min(names, key=effort.__getitem__)
    return [reference] if chosen == "neutral" else [reference, *(name for name in names if name != reference)]


def _read_frame(dump: RigDump, frame: str, views: Mapping[str, Pinhole], left_out: dict[str, str]) -> _Frame:
    def read(camera: str) -> _Undistorted | InputError:
        try:
            return _read_view(dump, frame, camera, views[camera])
        except InputError as error:
            return error

    cameras = list(dump.frames[frame].images)
    with ThreadPoolExecutor(_THREADS) as pool:
        results = dict(zip(cameras, pool.map(read, cameras), strict=True))
    failures = {camera: str(result) for camera, result in results.items() if isinstance(result, InputError)}
    usable = {camera: result for camera, result in results.items() if isinstance(result, _Undistorted)}
    if any(view.mask is not None for view in usable.values()):  # a subject is masked in every view or in none
        failures |= {camera: "no mask, while others have one" for camera, view in usable.items() if view.mask is None}
        usable = {camera: view for camera, view in usable.items() if view.mask is not None}
    for camera, reason in failures.items():
        left_out[f"{frame}/{camera}"] = reason
        logger.warning("frame %s: the view of camera %s is left out: %s", frame, camera, reason)
    if len(usable) < MIN_VIEWS:
        raise InputError(
            dump.path,
            field=f"frame {frame}",
            found=f"without usable picture ({next(iter(failures.values()))})",
            expected=f"at least {MIN_VIEWS}",
            remedy="restore the pictures",
        )
    return usable


def _read_view(dump: RigDump, frame: str, camera: str, view: Pinhole) -> _Undistorted:
    files, rig_camera = dump.frames[frame], dump.cameras[camera]
    image = read_picture(files.images[camera])
    mask = None
    if camera in files.masks:
        mask = to_8bit(read_mask_picture(files.masks[camera]))
    elif camera in dump.backgrounds:
        mask = mask_from_plate(image, read_picture(dump.backgrounds[camera]))
    return _Undistorted(undistort(image, rig_camera, view), None if mask is None else undistort(mask, rig_camera, view))


def _head_frame(
    cameras: Mapping[str, RigCamera], views: Mapping[str, Pinhole], frame: _Frame, template: Template
) -> HeadFrame:
    seen = _silhouettes(cameras, views, frame)
    if seen is not None:
        return find_head_frame(seen, _fit_mesh(template))
    logger.warning("no masks and no clean plates: the head frame is taken from the cameras alone and is rough")
    return head_frame_from_cameras(np.stack([cameras[name].cam_from_rig for name in frame]))


def _silhouettes(cameras: Mapping[str, RigCamera], views: Mapping[str, Pinhole], frame: _Frame) -> Silhouettes | None:
    small = {name: views[name].resized_to(_FIT_SIZE_PX) for name in frame}
    masks = {name: resize(view.mask, small[name]) for name, view in frame.items() if view.mask is not None}
    if not masks:
        return None
    return silhouettes(
        [cameras[name].cam_from_rig for name in masks],
        [small[name].K for name in masks],
        [mask.astype(np.float32) / 255 for mask in masks.values()],
    )


def _fit_mesh(template: Template) -> HeadMesh:
    heights = template.vertices[:, 1]
    chin = template.landmarks.get("chin")  # a template that names none is all head
    return head_mesh(template.vertices, template.faces, float(heights.min() if chin is None else heights[chin]))


def _box(
    camera: str, view: Pinhole, frames: Iterable[_Frame], crop: Literal["none", "subject"]
) -> tuple[int, int, int, int]:
    """x, y, width and height of the part of a camera's picture to keep, the same in all frames."""
    masks = [frame[camera].mask for frame in frames if camera in frame]
    covered = [mask > 127 for mask in masks if mask is not None]
    if crop == "none" or not any(mask.any() for mask in covered):
        return 0, 0, view.width, view.height
    rows, columns = np.nonzero(np.any(covered, axis=0))
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    margin = round(_CROP_MARGIN * float((high - low).max()))
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, (view.width, view.height))
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _resized(
    frame: _Frame, boxes: Mapping[str, tuple[int, int, int, int]], targets: Mapping[str, Pinhole]
) -> dict[str, CaptureView]:
    def part(camera: str, picture: np.ndarray) -> np.ndarray:
        x, y, width, height = boxes[camera]
        return resize(np.ascontiguousarray(picture[y : y + height, x : x + width]), targets[camera])

    return {
        name: CaptureView(part(name, view.image), None if view.mask is None else part(name, view.mask))
        for name, view in frame.items()
    }


def _camera(camera: RigCamera, view: Pinhole, head: HeadFrame) -> CaptureCamera:
    return CaptureCamera(
        K=view.K,
        cam_from_head=camera.cam_from_rig @ head.rig_from_head,
        width=view.width,
        height=view.height,
        original=OriginalCamera(camera.K, camera.lens, camera.width, camera.height),
    )


def _in_rig_units(head: HeadFrame, metres_per_unit: float) -> np.ndarray:
    similarity = head.rig_from_head.copy()
    similarity[:3] /= metres_per_unit
    return similarity


def _provenance(
    dump: RigDump, options: PreprocessOptions, frames: list[str], left_out: dict[str, str]
) -> ProvenanceEntry:
    pictures = [*dump.backgrounds.values()]
    for name in frames:
        pictures += [*dump.frames[name].images.values(), *dump.frames[name].masks.values()]
    files = {picture.path for picture in pictures} | {path for path in dump.path.glob("*.json") if path.is_file()}
    chosen = options.frames if isinstance(options.frames, str) else ",".join(options.frames)
    recorded = asdict(options) | {"frames": chosen}
    return ProvenanceEntry(
        program=f"headsup {__version__}",
        source=dump.path.resolve().name,
        importer=dump.importer,
        inputs_sha256={path.relative_to(dump.path).as_posix(): sha256_of(path) for path in sorted(files)},
        options=recorded,
        left_out=left_out,
    )
