"""The check's answer as one self-contained HTML page: verdict, rig in 3D, table, and pictures with their residuals."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from headsup_cli.calibration.check import CameraReport, CheckResult
from headsup_cli.calibration.outline_suspects import FLOOR
from headsup_cli.calibration.outlines import OutlineRig
from headsup_cli.calibration.refinement import Refined
from headsup_cli.calibration.sanity import convergence
from headsup_cli.calibration.tracks import Tracks, reproject
from headsup_cli.capture.rig_dump import RigCamera, RigDump
from headsup_cli.media.opencv import cv2
from headsup_cli.media.pictures import read_picture
from headsup_cli.runtime.atomic import atomic_write_text

_PICTURES = 8  # cameras shown, worst first
_SIDE_PX = 640  # longer side of a picture on the page
_ARROWS = 160
_LINES = 7
_AGREES_PX = 3.0  # error of a point once wrong cameras are corrected
_CLOUD = 1500
_ARROW_PX = 26  # length on the page of a large residual
_LINE_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6")


def write_report(path: Path, dump: RigDump, result: CheckResult, refined: Refined | None) -> None:
    """Write the page.

    Args:
        path: Where to.
        dump: The pictures.
        result: Of the check.
        refined: The refined calibration, if one was made.
    """
    pictured = _pictured(dump, result)
    shown = [camera for camera in result.cameras if camera.id in pictured][:_PICTURES]
    body = [_head(dump, result, refined), _scene(result), _table(result)]
    body += [_camera_section(dump, result, camera) for camera in shown]
    page = _PAGE.replace("@TITLE@", escape(f"{dump.path.resolve().name}: calibration check"))
    atomic_write_text(path, page.replace("@BODY@", "\n".join(body)).replace("@SCENE@", _scene_data(result)))


def _head(dump: RigDump, result: CheckResult, refined: Refined | None) -> str:
    if result.failed:
        word, kind = (
            (f"{len(result.wrong)} of {len(result.cameras)} cameras wrong" if result.wrong else "Rig wrong"),
            "failed",
        )
    else:
        word, kind = "Calibration agrees with the pictures", "ok"
    facts = [
        ("cameras", str(len(result.cameras))),
        ("points", f"{result.tracks.count:,}"),
        ("median error", f"{result.median_px:.2f} px"),
        ("fails from", f"{result.limit_px:.2f} px"),
        ("read", result.reading.reading.name),
    ]
    if refined:
        facts.append(("refined", f"{refined.whole.before_px:.3f} to {refined.whole.after_px:.3f} px"))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    findings = "".join(f'<li class="{f.severity}">{escape(f.sentence)}</li>' for f in result.rig)
    return (
        f"<header><p class=path>{escape(str(dump.path))}</p><h1 class={kind}>{escape(word)}</h1>"
        f"<dl>{cells}</dl><ul class=findings>{findings}</ul></header>"
    )


def _table(result: CheckResult) -> str:
    names = ("camera", "status", "finding", "points", "error px", "left out px", "correction px", "allowed px")
    rows = "".join(
        f"<tr><td>{escape(c.id)}</td><td class={c.status}>{c.status}</td>"
        f"<td class=said>{escape('; '.join(c.sentences))}</td><td class=n>{c.observations}</td>"
        + "".join(f"<td class=n>{number}</td>" for number in _numbers(c))
        for c in result.cameras
    )
    return (
        f"<section><h2>Cameras, worst first</h2><div class=scroll><table><thead><tr>"
        f"{''.join(f'<th>{name}</th>' for name in names)}</tr></thead><tbody>{rows}</tbody></table></div>"
        "<p class=note><b>error</b>: median distance between where the camera saw points and where its calibration "
        "puts them, the points being those that all right cameras agree on. <b>left out</b>: the same against points "
        "triangulated without this camera. <b>correction</b>: how far its points would move in the picture if its pose "
        "were put right, in brackets if that would fit wrong matches. <b>allowed</b>: how far without its being wrong. "
        "Cameras with too few points are judged by the subject's outline, if at all.</p></section>"
    )


def _numbers(camera: CameraReport) -> list[str]:
    correction = _number(camera.moved_px)
    return [
        _number(camera.reprojection_px),
        _number(camera.leave_one_out_px),
        correction if camera.correction_stands else f"({correction})",
        _number(camera.allowed_px),
    ]


def _scene(result: CheckResult) -> str:
    given = " Red: cameras as calibrated; green: where the pictures put them." if result.wrong else ""
    return (
        "<section><h2>Rig</h2><canvas id=rig aria-label='The rig in 3D'></canvas>"
        f"<p class=note>Drag to turn, scroll to zoom.{given}</p></section>"
    )


def _scene_data(result: CheckResult) -> str:
    points = result.points[np.isfinite(result.points).all(1)]
    middle = np.median(points, axis=0) if len(points) else convergence(list(result.corrected.values()))
    reach = float(np.median([np.linalg.norm(c.centre - middle) for c in result.corrected.values()])) or 1.0
    points = points[np.linalg.norm(points - middle, axis=1) < 1.5 * reach]
    some = points[:: max(1, len(points) // _CLOUD)]
    wrong = set(result.wrong)
    up = _up(list(result.corrected.values()))
    cameras = []
    for name, camera in result.given.items():
        cameras.append(_frustum(camera, middle, reach, up, name, "wrong" if name in wrong else "ok"))
        if name in wrong:
            cameras.append(_frustum(result.corrected[name], middle, reach, up, "", "right"))
    cloud = np.round((some - middle) @ up.T / reach, 4).tolist()
    return json.dumps({"cameras": cameras, "points": cloud}).replace("</", "<\\/")


def _up(cameras: Sequence[RigCamera]) -> Float64[np.ndarray, "3 3"]:
    """Rows: x, y, z of the page's world, y being up as most pictures have it."""
    y = -np.mean([c.cam_from_rig[1, :3] for c in cameras], axis=0)
    y /= max(float(np.linalg.norm(y)), 1e-9)
    z = -cameras[0].cam_from_rig[2, :3]
    z = z - y * (y @ z)
    z /= max(float(np.linalg.norm(z)), 1e-9)
    return np.stack([np.cross(y, z), y, z])


def _frustum(
    camera: RigCamera, middle: np.ndarray, reach: float, up: np.ndarray, name: str, kind: str
) -> dict[str, object]:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [camera.width, camera.height]
    rays = np.pad((corners - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], ((0, 0), (0, 1)), constant_values=1.0)
    depth = 0.14 * reach / max(1.0, float(np.abs(rays[:, :2]).max()) * 2)
    world = np.concatenate([camera.centre[None], camera.centre + depth * rays @ camera.cam_from_rig[:3, :3]])
    return {"name": name, "kind": kind, "at": np.round((world - middle) @ up.T / reach, 4).tolist()}


def _camera_section(dump: RigDump, result: CheckResult, report: CameraReport) -> str:
    names = list(result.given)
    index = names.index(report.id)
    figures = [_residuals(dump, result, index)] if report.observations else []
    if index < len(result.outlines) and "outline" in " ".join(report.sentences):
        figures += list(_outline(dump, result, index))
    partner = _partner(dump, result, index)
    if partner is not None:
        figures += list(_epipolar(dump, result, index, partner))
    told = escape("; ".join(report.sentences) or "agrees with the others")
    return (
        f"<section><h2>{escape(report.id)} <span class={report.status}>{report.status}</span></h2>"
        f"<p>{told}</p><div class=figures>{''.join(figures)}</div></section>"
    )


def _residuals(dump: RigDump, result: CheckResult, index: int) -> str:
    """The picture with an arrow from where each point should be to where it is."""
    name = list(result.given)[index]
    seen = np.flatnonzero(result.tracks.camera == index)
    seen = seen[:: max(1, len(seen) // _ARROWS)]
    own = Tracks(np.zeros(len(seen), int), result.tracks.point[seen], result.tracks.pixel[seen])
    predicted = reproject(own, result.points, [result.given[name]])
    error = own.pixel - predicted
    length = np.linalg.norm(error, axis=1)
    sound = np.isfinite(length)
    camera = result.given[name]
    scale = _page_scale(camera)
    large = float(np.percentile(length[sound], 90)) if sound.any() else 1.0
    magnified = float(np.clip(_ARROW_PX / max(large * scale, 1e-6), 1, 100))
    magnified = float(f"{magnified:.1g}")
    colour = "#ff4d4d" if name in result.wrong else "#39d98a"
    marks = []
    for start, move, size in zip(predicted[sound], error[sound], length[sound], strict=True):
        if size > 3 * large + 1e-6:
            continue
        (x, y), (u, v) = start * scale, (start + magnified * move) * scale
        marks.append(_arrow(x, y, u, v))
    overlay = f'<g stroke="{colour}" fill="{colour}" stroke-width="1.3">{"".join(marks)}</g>'
    caption = f"from where points should be to where they are, lengths times {magnified:g}"
    return _figure(dump, result, name, overlay, caption)


def _outline(dump: RigDump, result: CheckResult, index: int) -> Iterator[str]:
    """The subject's outline: of a wrong camera with where it should be, else with where the others contradict it."""
    name, outline = list(result.given)[index], result.outlines[index]
    if outline is None:
        return
    given, right = result.given[name], result.corrected[name]
    scale = _page_scale(given)
    seen = given.project(outline.rays(given.K)[:, :2]) * scale
    if name in result.wrong:
        depth = float(np.linalg.norm(right.centre - convergence(list(result.corrected.values()))))
        world = (depth * outline.rays(right.K) - right.cam_from_rig[:3, 3]) @ right.cam_from_rig[:3, :3]
        local = world @ given.cam_from_rig[:3, :3].T + given.cam_from_rig[:3, 3]
        expected = given.project(local[:, :2] / local[:, 2:]) * scale
        colours = ["#ff4d4d"] * len(seen)
        marks = [_arrow(*start, *end) for start, end in zip(expected, seen, strict=True)]
        caption = "from where the others put its outline to where it is"
    else:
        rig = OutlineRig(result.outlines)
        misses = rig.misses(list(result.corrected.values()))[rig.own == index]
        colours = ["#ff4d4d" if miss > FLOOR else "#39d98a" for miss in misses]
        marks = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in seen]
        caption = "its outline: red where it shows the subject and the others do not"
    overlay = "".join(
        f'<g stroke="{c}" fill="{c}" stroke-width="1.3">{m}</g>' for c, m in zip(colours, marks, strict=True)
    )
    yield _figure(dump, result, name, overlay, caption)


def _arrow(x: float, y: float, u: float, v: float) -> str:
    """From (x, y) to (u, v), pixels of the page."""
    return f'<path d="M{x:.1f} {y:.1f}L{u:.1f} {v:.1f}"/><circle cx="{u:.1f}" cy="{v:.1f}" r="1.8"/>'


def _epipolar(dump: RigDump, result: CheckResult, index: int, partner: int) -> Iterator[str]:
    """Points in the partner's picture, and the lines that they must lie on in this camera's."""
    names = list(result.given)
    own, other = result.given[names[index]], result.corrected[names[partner]]
    mine, theirs = _common(_agreeing(result), index, partner)
    if not len(mine):
        return
    chosen = _spread(mine)
    dots, lines = [], []
    for k, row in enumerate(chosen):
        colour = _LINE_COLOURS[k % len(_LINE_COLOURS)]
        x, y = theirs[row] * _page_scale(other)
        dots.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="#fff"/>')
        path = " ".join(f"{u:.1f},{v:.1f}" for u, v in _line(own, other, theirs[row]) * _page_scale(own))
        x, y = mine[row] * _page_scale(own)
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}" stroke="#fff"/>'
        )
    yield _figure(
        dump, result, names[index], "".join(lines), f"each point must lie on its line (from {names[partner]})"
    )
    yield _figure(dump, result, names[partner], "".join(dots), "the same points")


def _line(camera: RigCamera, other: RigCamera, pixel: Float64[np.ndarray, "2"]) -> Float64[np.ndarray, "m 2"]:
    """Where the points of the other camera's ray appear, as far as they are near the picture."""
    ideal = other.unproject(pixel[None])[0]
    ray = np.append(ideal, 1.0) @ other.cam_from_rig[:3, :3]
    reach = float(np.linalg.norm(camera.centre - other.centre)) + float(np.linalg.norm(other.centre))
    steps = other.centre + np.geomspace(0.02, 20, 400)[:, None] * reach * ray
    local = steps @ camera.cam_from_rig[:3, :3].T + camera.cam_from_rig[:3, 3]
    local = local[local[:, 2] > 1e-6]
    ideal = local[:, :2] / local[:, 2:]
    corner = np.hypot(camera.width / camera.K[0, 0], camera.height / camera.K[1, 1])
    pixels = camera.project(ideal[np.linalg.norm(ideal, axis=1) < corner])
    inside = (pixels > -20).all(1) & (pixels < [camera.width + 20, camera.height + 20]).all(1)
    return pixels[inside]


def _partner(dump: RigDump, result: CheckResult, index: int) -> int | None:
    """The camera with most points in common, rather one that is right."""
    tracks, names = result.tracks, list(result.given)
    mine = np.zeros(tracks.count, bool)
    mine[tracks.point[tracks.camera == index]] = True
    shared = np.bincount(tracks.camera[mine[tracks.point]], minlength=len(names)).astype(float)
    shared[index] = 0
    for other, name in enumerate(names):
        if name in result.wrong or name not in _pictured(dump, result):
            shared[other] *= 0.01
    return int(shared.argmax()) if shared.max() >= 3 else None


def _pictured(dump: RigDump, result: CheckResult) -> set[str]:
    """Cameras with a picture that can be shown."""
    return set(dump.frames[result.frame].images) - result.unreadable


def _agreeing(result: CheckResult) -> Tracks:
    """What was seen, less wrong matches."""
    errors = result.tracks.pixel - reproject(result.tracks, result.points, list(result.corrected.values()))
    return result.tracks.where(np.linalg.norm(errors, axis=1) < _AGREES_PX)


def _common(tracks: Tracks, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    rows = [np.flatnonzero(tracks.camera == index) for index in (first, second)]
    _, a, b = np.intersect1d(tracks.point[rows[0]], tracks.point[rows[1]], return_indices=True)
    return tracks.pixel[rows[0][a]], tracks.pixel[rows[1][b]]


def _spread(pixels: Float64[np.ndarray, "n 2"]) -> list[int]:
    """Points far from each other, greedily."""
    chosen = [0]
    distance = np.linalg.norm(pixels - pixels[0], axis=1)
    while len(chosen) < min(_LINES, len(pixels)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(pixels - pixels[chosen[-1]], axis=1))
    return chosen


def _page_scale(camera: RigCamera) -> float:
    return min(1.0, _SIDE_PX / max(camera.width, camera.height))


def _figure(dump: RigDump, result: CheckResult, name: str, overlay: str, caption: str) -> str:
    picture = read_picture(dump.frames[result.frame].images[name])
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE_PX / max(width, height))
    small = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    data = base64.b64encode(encoded.tobytes()).decode()
    w, h = small.shape[1::-1]
    return (
        f'<figure><svg viewBox="0 0 {w} {h}" role="img"><image href="data:image/jpeg;base64,{data}" width="{w}" '
        f'height="{h}"/>{overlay}</svg><figcaption><b>{escape(name)}</b> {escape(caption)}</figcaption></figure>'
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>@TITLE@</title><style>
:root{--ink:#1b1f24;--dim:#667;--page:#f6f7f9;--card:#fff;--line:#e3e6ea;--failed:#c92a2a;--ok:#1c8a4c;--warning:#a86b00}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--dim:#9aa4b1;--page:#14171b;--card:#1d2127;--line:#30363e;
--failed:#ff6b6b;--ok:#45d18a;--warning:#f0b541}}
body{margin:0 auto;max-width:1180px;padding:28px 20px 60px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
section,header{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px 24px;margin:0 0 18px}
h1{margin:2px 0 14px;font-size:28px;line-height:1.2}h2{margin:0 0 10px;font-size:18px}
h2 span{font-size:13px;font-weight:600;margin-left:6px}
.path,.note,figcaption{color:var(--dim);font-size:13px;margin:0}.note{margin-top:10px}
.failed{color:var(--failed)}.ok{color:var(--ok)}.warning,.unchecked{color:var(--warning)}.note{color:var(--dim)}
dl{display:flex;flex-wrap:wrap;gap:10px 34px;margin:0}dt{color:var(--dim);font-size:12px}dd{margin:0;font-size:18px}
.findings{padding-left:18px;margin:14px 0 0}.findings:empty{display:none}
canvas{width:100%;height:440px;display:block;cursor:grab;touch-action:none}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--dim);font-weight:500;font-size:12px}
td,th{padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{white-space:nowrap}.said{min-width:150px}
.n{font-variant-numeric:tabular-nums}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:14px}
figure{margin:0}svg{width:100%;height:auto;border-radius:8px;display:block}
</style></head><body>
@BODY@
<script>
const scene=@SCENE@,canvas=document.getElementById("rig"),g=canvas.getContext("2d");
let yaw=.5,pitch=.35,zoom=.34,held=null;
const style=n=>getComputedStyle(document.documentElement).getPropertyValue(n);
function place([x,y,z]){const a=Math.cos(yaw),b=Math.sin(yaw),c=Math.cos(pitch),d=Math.sin(pitch);
const u=a*x+b*z,w=a*z-b*x,s=zoom*Math.min(canvas.width,canvas.height)*4/(4-(c*w+d*y));
return[canvas.width/2+s*u,canvas.height/2-s*(c*y-d*w),c*w+d*y]}
function ink(c){g.strokeStyle=g.fillStyle=style({wrong:"--failed",right:"--ok",ok:"--ink"}[c.kind]);
g.globalAlpha=c.kind=="ok"?.75:1}
function draw(){const r=devicePixelRatio||1;canvas.width=canvas.clientWidth*r;canvas.height=canvas.clientHeight*r;
g.fillStyle=style("--dim");for(const p of scene.points){const[x,y]=place(p);g.globalAlpha=.55;
g.fillRect(x,y,1.6*r,1.6*r)}
g.globalAlpha=1;g.font=11*r+"px system-ui";g.lineWidth=1.3*r;
for(const c of scene.cameras){const p=c.at.map(place);
ink(c);
g.beginPath();for(let k=1;k<5;k++){g.moveTo(p[0][0],p[0][1]);g.lineTo(p[k][0],p[k][1]);
g.lineTo(p[k%4+1][0],p[k%4+1][1])}g.stroke()}name(r);g.globalAlpha=1}
function name(r){// Wrong cameras first, then nearer ones; a name that would cover another waits for the rig to turn.
const taken=[],rank=c=>(c.kind=="wrong"?9:0)+place(c.at[0])[2];
for(const c of [...scene.cameras].sort((a,b)=>rank(b)-rank(a))){const[x,y]=place(c.at[0]),left=x+6*r,low=y-6*r;
const right=left+g.measureText(c.name).width,high=low-11*r;
if(taken.some(t=>left<t[1]&&t[0]<right&&high<t[3]&&t[2]<low))continue;taken.push([left,right,high,low]);
ink(c);
g.fillText(c.name,left,low)}}
canvas.onpointerdown=e=>{held=[e.clientX,e.clientY];canvas.setPointerCapture(e.pointerId)};
canvas.onpointerup=()=>held=null;
canvas.onpointermove=e=>{if(!held)return;yaw-=(e.clientX-held[0])*.008;
pitch=Math.max(-1.5,Math.min(1.5,pitch+(e.clientY-held[1])*.008));held=[e.clientX,e.clientY];draw()};
canvas.addEventListener("wheel",e=>{e.preventDefault();zoom*=Math.exp(-e.deltaY*.001);draw()},{passive:false});
addEventListener("resize",draw);draw();
</script></body></html>
"""
