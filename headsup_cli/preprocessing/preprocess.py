"""From a rig dump to a capture: what holds for the whole subject is found first, then frames follow one by one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float64

from headsup_cli.capture.capture import Capture, CaptureCamera, CaptureFrame, CaptureView, OriginalCamera
from headsup_cli.capture.rig_dump import RigCamera, RigDump
from headsup_cli.capture.schemas import HeadFrameEntry, ProvenanceEntry
from headsup_cli.errors import InputError
from headsup_cli.preprocessing.colour_match import ColourView, apply_gain, match_colours
from headsup_cli.preprocessing.crop import Box, around, extent
from headsup_cli.preprocessing.frames import MIN_VIEWS, FrameReader, StraightView
from headsup_cli.preprocessing.head_frame import (
    HeadFrame,
    find_head_frame,
    find_head_frame_by_landmarks,
    glimpse_head_frame,
    head_frame_from_cameras,
    rough_fits,
)
from headsup_cli.preprocessing.inventory import take_inventory, with_left_out
from headsup_cli.preprocessing.landmarks.detection import LandmarkDetector, NetworkDetector, RigView
from headsup_cli.preprocessing.landmarks.task_file import MediaPipeDetector
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.parallel import in_threads
from headsup_cli.preprocessing.silhouette_fit import HeadMesh, Silhouettes, head_mesh, silhouettes
from headsup_cli.preprocessing.undistort import Pinhole, resize
from headsup_cli.runtime.progress import StageTimes, progress
from headsup_cli.template.template import Template

__all__ = ["MIN_VIEWS", "Preprocessing", "preprocess_rig"]

_FIT_SIZE_PX = 300  # longer side of the masks that the head frame is found from
_MAX_THREADS = 16  # pictures worked on at a time, each of which takes memory

logger = logging.getLogger(__name__)


def preprocess_rig(
    dump: RigDump, options: PreprocessOptions, template: Template, *, times: StageTimes | None = None
) -> Capture:
    """Make a capture in memory.

    The first frame of the result is the most neutral one, from which the head frame is found; the others follow in the
    dump's order. A view that cannot be read is left out with a warning while `MIN_VIEWS` others of its frame remain.

    Args:
        dump: What came off the rig.
        options: Working resolution, crop, frames, sources of masks and colours.
        template: Its frame is the head frame.
        times: Where stages are timed.

    Raises:
        InputError: A frame is not there, or too few of its views can be used.
    """
    times = times or StageTimes()
    work = Preprocessing(dump, options, template, times)
    frames, left_out = {}, dict(dump.left_out)
    with times.stage("crop and resize"):
        for name in progress(work.frame_names, "frames"):
            frames[name], failures = work.frame(name)
            left_out |= failures
    return work.capture(frames, with_left_out(take_inventory(dump, options, template), left_out))


class Preprocessing:
    """The work on one subject: head frame, colours and crops, found on construction, and frames when asked for.

    One frame is held in memory at a time, besides the most neutral one, which is read first and needed once more.

    Args:
        dump: What came off the rig.
        options: Working resolution, crop, frames, sources of masks and colours.
        template: Its frame is the head frame.
        times: Where stages are timed.

    Raises:
        InputError: As for `preprocess_rig`.
    """

    def __init__(self, dump: RigDump, options: PreprocessOptions, template: Template, times: StageTimes) -> None:
        self.dump, self.options, self.template = dump, options, template
        self.threads = min(_MAX_THREADS, usable_threads())
        self.frame_names = _ordered_frames(dump, options.frames)
        detector = NetworkDetector() if options.landmarks is None else MediaPipeDetector(options.landmarks)
        self._reader = FrameReader(dump, options.masks, self.threads)
        with times.stage("read, mask and undistort"):
            self.reference = self._reader.read(self.frame_names[0])
        self.pinholes = self._reader.pinholes
        with times.stage("find head frame"):
            self.head = _head_frame(dump, self.pinholes, self.reference.views, template, detector)
        self.gains = {name: np.ones(3) for name in dump.cameras}
        if options.colour == "match":
            with times.stage("match colours"):
                self.gains |= self._matched()
        self._boxes = self._found_boxes()
        self.targets = {
            name: self.pinholes[name].cropped(*box).resized_to(options.size) for name, box in self._boxes.items()
        }

    def frame(self, name: str) -> tuple[CaptureFrame, dict[str, str]]:
        """A frame's pictures as they are stored, and the views left out ("frame/camera") with the reasons."""
        straight = self.reference if name == self.frame_names[0] else self._reader.read(name)
        cameras = list(straight.views)
        views = in_threads(lambda camera: self._finished(camera, straight.views[camera]), cameras, self.threads)
        expression = self.dump.expressions.get(name, {})
        return CaptureFrame(dict(zip(cameras, views, strict=True)), expression), straight.left_out

    def capture(self, frames: Mapping[str, CaptureFrame], made_from: ProvenanceEntry) -> Capture:
        """The capture that holds `frames`."""
        used = {camera for frame in frames.values() for camera in frame.views}
        head = self.head
        return Capture(
            subject=self.dump.path.resolve().name,
            cameras={name: self._camera(camera) for name, camera in self.dump.cameras.items() if name in used},
            frames=dict(frames),
            rig_from_head=_in_rig_units(head, self.dump.metres_per_unit),
            head_frame=HeadFrameEntry(
                method=head.method,
                template_scale=head.template_scale.tolist(),
                residual_mm=None if head.residual_m is None else head.residual_m * 1000,
                scale_sigma=head.scale_sigma,
            ),
            provenance=made_from,
        )

    def cam_from_head(self, camera: str) -> Float64[np.ndarray, "4 4"]:
        """Pose of a camera in the head frame: rigid, metres, whatever the rig's unit turned out to be."""
        pose = self.dump.cameras[camera].cam_from_rig @ self.head.rig_from_head
        pose[:3] /= np.cbrt(np.linalg.det(self.head.rig_from_head[:3, :3]))
        return pose

    def surface(self) -> Float64[np.ndarray, "v 3"]:
        """The template's vertices fitted to the subject, or where that is not known brought to its size; head frame."""
        return self.head.surface if self.head.surface is not None else self.template.vertices * self.head.template_scale

    def _matched(self) -> dict[str, Float64[np.ndarray, " 3"]]:
        straight = self.reference.views
        if self.head.method == "cameras" or len(straight) < 2:
            if len(straight) > 1:
                logger.warning("the cameras' colours are left as they are: where the head is, is known too roughly")
            return {}
        hues = dict(zip(straight, in_threads(self._reader.room_hue, list(straight), self.threads), strict=True))
        views = {
            name: ColourView(view.image, view.mask, self.pinholes[name].K, self.cam_from_head(name), hues[name])
            for name, view in straight.items()
        }
        return match_colours(views, self.surface(), self.template.faces)

    def _found_boxes(self) -> dict[str, Box]:
        """The part of each camera's picture that is kept, the same in all frames."""
        whole = {name: (0, 0, view.width, view.height) for name, view in self.pinholes.items()}
        if self.options.crop == "none":
            return whole
        extents: dict[str, list[Box]] = {name: [] for name in whole}
        for name in progress(self.frame_names, "looking for the subject"):
            views = self.reference.views if name == self.frame_names[0] else self._reader.read(name).views
            for camera, view in views.items():
                if view.mask is not None and (view.mask > 127).any():
                    extents[camera].append(extent(view.mask))
        return {name: around(extents[name], self.pinholes[name]) if extents[name] else whole[name] for name in whole}

    def _finished(self, camera: str, view: StraightView) -> CaptureView:
        x, y, width, height = self._boxes[camera]

        def part(picture: np.ndarray) -> np.ndarray:
            return resize(np.ascontiguousarray(picture[y : y + height, x : x + width]), self.targets[camera])

        image = apply_gain(part(view.image), self.gains[camera])
        return CaptureView(image, None if view.mask is None else part(view.mask))

    def _camera(self, camera: RigCamera) -> CaptureCamera:
        target = self.targets[camera.id]
        return CaptureCamera(
            K=target.K,
            cam_from_head=self.cam_from_head(camera.id),
            width=target.width,
            height=target.height,
            original=OriginalCamera(camera.K, camera.lens, camera.width, camera.height),
            colour_gain=self.gains[camera.id],
        )


def usable_threads() -> int:
    """Threads that this process may keep busy: its share of the cores where processes share them."""
    import torch

    return max(1, torch.get_num_threads())


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


def _head_frame(
    dump: RigDump,
    pinholes: Mapping[str, Pinhole],
    views: Mapping[str, StraightView],
    template: Template,
    detector: LandmarkDetector,
) -> HeadFrame:
    seen, mesh = _silhouettes(dump.cameras, pinholes, views), _fit_mesh(template)
    pictures = [RigView(view.image, pinholes[name].K, dump.cameras[name].cam_from_rig) for name, view in views.items()]
    if seen is None:
        start = head_frame_from_cameras(np.stack([dump.cameras[name].cam_from_rig for name in views]))
    else:
        rough = rough_fits(seen, mesh)
        glimpsed = None if rough is None else glimpse_head_frame(rough, pictures, mesh, dump.scale, detector)
        if glimpsed is not None:
            return glimpsed
        start = find_head_frame(seen, mesh, rough)
    return find_head_frame_by_landmarks(start, pictures, mesh, dump.scale, seen, detector)


def _silhouettes(
    cameras: Mapping[str, RigCamera], views: Mapping[str, Pinhole], frame: Mapping[str, StraightView]
) -> Silhouettes | None:
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


def _in_rig_units(head: HeadFrame, metres_per_unit: float) -> np.ndarray:
    similarity = head.rig_from_head.copy()
    similarity[:3] /= metres_per_unit
    return similarity
