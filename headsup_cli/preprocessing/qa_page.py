"""One page per capture to look at: masks, colours, the template and the landmarks on every view, what was left out."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.capture import Capture, CaptureCamera, CaptureView
from headsup_cli.media.opencv import cv2
from headsup_cli.preprocessing.colour_match import apply_gain
from headsup_cli.preprocessing.parallel import in_threads
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh

if TYPE_CHECKING:
    from headsup_cli.preprocessing.preprocess import Preprocessing

QA_FILE = "qa.html"
_SIDE_PX = 340  # longer side of the pictures shown
_JPEG_QUALITY = 80
_MASK_COLOUR, _MESH_COLOUR, _LANDMARK_COLOUR = (40, 255, 60), (0, 190, 255), (255, 230, 0)
_HIDDEN_M = 0.015  # by which a landmark may lie behind the template's surface and still be seen
_BEND_LEVELS = (60, 120)  # thresholds of Canny's edges on the normals, 100 levels to a unit
_HIDDEN_DIM = 0.35  # brightness of what is not subject
_MAX_FRAME_ROWS = 60  # of frames besides the first, shown by one view each

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5em; background: #16181c; color: #e4e6ea }
h1 { font-size: 1.3em } h2 { font-size: 1.05em; margin-top: 1.6em }
td, th { padding: .1em .9em .1em 0; text-align: left }
.views, .frames { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 600px), 1fr)) }
.frames { grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)) }
figure { margin: 0; background: #202329; padding: 8px; max-width: 1020px } .row { display: flex; align-items: start }
figcaption { font-size: 12px; max-width: 100%; color: #b9bec7 } figcaption b { color: #fff }
.warn { color: #ffb454 } img { display: block; flex: 1 1 0; min-width: 0; max-width: 100%; height: auto }
"""


class _Overlay(NamedTuple):
    """What is drawn on the pictures; all in the head frame, metres."""

    surface: Float64[np.ndarray, "v 3"]  # the template
    faces: Int[np.ndarray, "f 3"]
    landmarks: Float64[np.ndarray, "k 3"]

    def on(self, image: UInt8[np.ndarray, "h w 3"], camera: CaptureCamera) -> UInt8[np.ndarray, "h w 3"]:
        """The picture with the template's outline and bends and the landmarks that it does not hide."""
        height, width = image.shape[:2]
        K = np.diag([width / camera.width, height / camera.height, 1.0]) @ camera.K
        view = Cameras(torch.from_numpy(camera.cam_from_head[None]), torch.from_numpy(K[None]), width, height)
        drawn = rasterise_mesh(self.surface, self.faces, view)
        lines, inside = self._lines(drawn.face[0], camera), drawn.face[0] >= 0
        shown = np.where(inside[..., None], 0.85 * image + 0.15 * np.array(_MESH_COLOUR), image)
        picture = np.where(lines[..., None], _MESH_COLOUR, shown).astype(np.uint8)
        pixels, depth = (part[0].numpy() for part in view.project(torch.from_numpy(self.landmarks)))
        columns, rows = np.floor(pixels).astype(int).T
        in_picture = (depth > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        for column, row, distance in zip(columns[in_picture], rows[in_picture], depth[in_picture], strict=True):
            if not inside[row, column] or distance < drawn.depth[0, row, column] + _HIDDEN_M:
                cv2.circle(picture, (int(column), int(row)), 1, _LANDMARK_COLOUR, -1)
        return picture

    def _lines(self, face: Int[np.ndarray, "h w"], camera: CaptureCamera) -> Bool[np.ndarray, "h w"]:
        corners = self.surface[self.faces] @ camera.cam_from_head[:3, :3].T
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        levels = np.where((face >= 0)[..., None], 100 + 99 * normals[face], 0).astype(np.uint8)
        return cv2.Canny(cv2.GaussianBlur(levels, (0, 0), 1.0), *_BEND_LEVELS) > 0


def qa_page(work: Preprocessing, capture: Capture) -> str:
    """A self-contained page about a capture.

    Args:
        work: What the capture was made by, for the most neutral frame's pictures before colours were matched.
        capture: As it is stored, pictures being paths.
    """
    first, *others = capture.frames
    cameras = sorted(capture.frames[first].views, key=lambda name: _azimuth(capture.cameras[name]))
    landmarks = np.zeros((0, 3)) if work.head.landmarks is None else work.head.landmarks
    overlay = _Overlay(work.surface(), work.template.faces, landmarks)

    def figure(name: str) -> str:
        return _figure(name, capture, capture.frames[first].views[name], overlay)

    of_frame = f"Frame {html.escape(first)}: " if others else "Each camera: "
    parts = [
        f"<h1>{html.escape(capture.subject)}</h1>",
        _summary(capture),
        f"<h2>{of_frame}before, after with the mask's outline, template and landmarks on it</h2>",
        _group("views", in_threads(figure, cameras, work.threads)),
    ]
    if others:
        parts += [
            f"<h2>Other frames ({len(others)}), by the view most in front</h2>",
            _group("frames", (_frame_figure(name, capture) for name in others[:_MAX_FRAME_ROWS])),
        ]
    parts.append(_left_out(capture))
    title = html.escape(f"{capture.subject}: what headsup preprocess made")
    body = "\n".join(parts)
    head = '<meta charset=utf-8><meta name=viewport content="width=device-width">'
    return f"<!doctype html>{head}<title>{title}</title><style>{_STYLE}</style>\n{body}\n"


def _summary(capture: Capture) -> str:
    head = capture.head_frame
    gains = np.stack([camera.colour_gain for camera in capture.cameras.values()])
    spread = 100 * (gains.max(0) / gains.min(0) - 1)
    method = {
        "landmarks": "landmarks of the face",
        "silhouettes": "the template fitted to the masks",
        "cameras": "the cameras alone: rough",
    }[head.method]
    rows = [
        ("head frame from", method),
        ("size over the template's (x, y, z)", ", ".join(f"{scale:.3f}" for scale in head.template_scale)),
        ("residual", "not known" if head.residual_mm is None else f"{head.residual_mm:.1f} mm"),
        ("cameras, frames", f"{len(capture.cameras)}, {len(capture.frames)}"),
        ("largest colour gain over smallest (R, G, B)", ", ".join(f"+{percent:.1f} %" for percent in spread)),
        ("made by", capture.provenance.program),
    ]
    return "<table>" + "".join(f"<tr><th>{name}<td>{html.escape(value)}" for name, value in rows) + "</table>"


def _figure(name: str, capture: Capture, view: CaptureView, overlay: _Overlay) -> str:
    camera = capture.cameras[name]
    image, coverage = view.load_image(), view.load_mask()
    small = _small(image)
    mask = None if coverage is None else _small((coverage * 255).astype(np.uint8))
    before = apply_gain(small, 1 / camera.colour_gain)
    overlaid = overlay.on(small, camera)
    pictures = [before, small if mask is None else _with_outline(small, mask), overlaid]
    notes = [f"gain {', '.join(f'{gain:.3f}' for gain in camera.colour_gain)}"]
    notes.append("no mask" if coverage is None else f"mask {100 * float((coverage > 0.5).mean()):.0f} % of the picture")
    caption = f"<b>{html.escape(name)}</b> {'; '.join(notes)}"
    return f"<figure><div class=row>{''.join(map(_img, pictures))}</div><figcaption>{caption}</figcaption></figure>"


def _frame_figure(name: str, capture: Capture) -> str:
    views = capture.frames[name].views
    front = min(views, key=lambda camera: abs(_azimuth(capture.cameras[camera])))
    image, coverage = _small(views[front].load_image()), views[front].load_mask()
    shown = image if coverage is None else _with_outline(image, _small((coverage * 255).astype(np.uint8)))
    return f"<figure>{_img(shown)}<figcaption><b>{html.escape(name)}</b> {html.escape(front)}</figcaption></figure>"


def _left_out(capture: Capture) -> str:
    if not capture.provenance.left_out:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(view)}<td class=warn>{html.escape(reason)}"
        for view, reason in capture.provenance.left_out.items()
    )
    return f"<h2>Views left out</h2><table>{rows}</table>"


def _with_outline(image: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    coverage = mask[..., None] / 255.0
    shown = (image * (_HIDDEN_DIM + (1 - _HIDDEN_DIM) * coverage)).astype(np.uint8)
    outlines, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(shown, outlines, -1, _MASK_COLOUR, 1)
    return shown


def _small(picture: np.ndarray) -> np.ndarray:
    factor = min(1.0, _SIDE_PX / max(picture.shape[:2]))
    size = max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _img(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    text = base64.b64encode(encoded.tobytes()).decode()
    height, width = picture.shape[:2]
    return f'<img width={width} height={height} src="data:image/jpeg;base64,{text}">'


def _group(kind: str, figures: Iterable[str]) -> str:
    return f"<div class={kind}>" + "\n".join(figures) + "</div>"


def _azimuth(camera: CaptureCamera) -> float:
    """Degrees around the head, 0 in front, positive to its left."""
    centre = -camera.cam_from_head[:3, :3].T @ camera.cam_from_head[:3, 3]
    return float(np.degrees(np.arctan2(centre[0], centre[2])))
