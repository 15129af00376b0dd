"""From a capture to a head folder: the forward pass, refinement, figures and files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from headsup_cli import __version__
from headsup_cli.capture.capture import Capture
from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.gaussians.head import Head, write_head
from headsup_cli.gaussians.uv_maps import GaussianMaps, bind, texel_anchors
from headsup_cli.inference.capture_views import capture_views
from headsup_cli.inference.options import ReconstructOptions, RefineOptions
from headsup_cli.inference.refine import RefineResult, refine
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.model.checkpoint import Checkpoint
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render
from headsup_cli.runtime.memory import keep_freed_memory
from headsup_cli.runtime.progress import StageTimes
from headsup_cli.template.template import Template

REPORT_FILE = "report.json"
REPORT_SIZE_PX = 500  # longer side of the pictures that the report's figures are taken on


@dataclass(frozen=True)
class Reconstruction:
    """A head, the Gaussians that it binds to, and what is told about it."""

    head: Head
    gaussians: Gaussians
    report: dict[str, Any]


def reconstruct(
    capture: Capture,
    checkpoint: Checkpoint,
    template: Template,
    options: ReconstructOptions,
    *,
    device: torch.device | str = "cpu",
    times: StageTimes | None = None,
    made_from: str | None = None,
) -> Reconstruction:
    """Turn one moment of a capture into a head.

    Args:
        capture: The subject.
        checkpoint: The model.
        template: The one that the model was trained on.
        options: Frame, number of views, density, refinement.
        device: Where to work; the result is on the CPU.
        times: Where stages are timed; stages before this call may be in it already.
        made_from: Hash of all that goes into the head, kept in its provenance so that a finished one is known.

    Raises:
        InputError: The frame does not exist, or its pictures cannot be used.
    """
    times = times or StageTimes()
    torch.manual_seed(options.seed)
    frame = capture.frame_named(options.frame)
    with times.stage("load images"):
        names, views = capture_views(capture, frame, limit=options.views)
    with times.stage("forward pass"):
        prediction = _predicted(checkpoint, views, device)
    made = _made(prediction, names, views, template, options, device=device, times=times)
    provenance = {
        "program": f"headsup {__version__}",
        "capture": capture.provenance.model_dump(),
        "checkpoint": dict(checkpoint.provenance),
        "frame": frame,
        "views": names,
        "seed": options.seed,
        "refine": made.refinement,
        "made_from": made_from,
    }
    head = Head(
        subject=capture.subject,
        maps=made.maps,
        template=template.name,
        template_sha256=template.sha256,
        rig_from_head=np.asarray(capture.rig_from_head, np.float64),
        latent=prediction.latent,
        provenance=provenance,
    )
    gaussians = head.gaussians(template)
    report = _report(capture, frame, views, gaussians, device=str(device))
    report |= {"input_views_psnr_db": made.quality, "refine": made.refinement}
    report["seconds"] = {name: round(value, 2) for name, value in times.seconds.items()}
    return Reconstruction(head, gaussians, report)


def write_reconstruction(reconstruction: Reconstruction, folder: Path, template: Template) -> None:
    """Write head and report into an existing folder."""
    write_head(reconstruction.head, folder, template)
    (folder / REPORT_FILE).write_text(json.dumps(reconstruction.report, indent=1) + "\n", "utf-8")


@dataclass(frozen=True)
class _Prediction:
    """Of the forward pass, on the CPU and free of autograd."""

    maps: GaussianMaps
    latent: Float[Tensor, "z q q"]
    room: Gaussians | None  # only for views without masks


@dataclass(frozen=True)
class _Made:
    """The maps of the head, and what the report says of them."""

    maps: GaussianMaps
    quality: dict[str, Any]
    refinement: dict[str, Any] | None


def _predicted(checkpoint: Checkpoint, views: Views, device: torch.device | str) -> _Prediction:
    keep_freed_memory()
    with torch.no_grad():  # and not in inference mode: feedback asks for slopes on the way
        prediction = checkpoint.model(views.at_least(checkpoint.model.config.encoder.image_size_px).to(device))

    def kept(tensor: Tensor) -> Tensor:
        return tensor.cpu()

    room = None if prediction.background is None else prediction.background.map(kept)
    return _Prediction(prediction.maps.map(kept), kept(prediction.latent), room)


def _made(
    prediction: _Prediction,
    names: list[str],
    views: Views,
    template: Template,
    options: ReconstructOptions,
    *,
    device: torch.device | str,
    times: StageTimes,
) -> _Made:
    """The predicted maps at the wanted density, or refined."""
    maps, compared = prediction.maps, views.resized(REPORT_SIZE_PX)

    def figures(maps: GaussianMaps, views: Views) -> dict[str, Any]:
        return _figures(maps, template, prediction.room, views, names)

    quality = {"feed-forward": figures(maps, compared)}
    if options.refine is None:
        if options.resolution is not None:
            maps = maps.resampled(texel_anchors(template, maps.resolution), options.resolution)
        return _Made(maps, quality, None)
    wanted = replace(options.refine, seed=options.seed)
    with times.stage("refine"):
        result = refine(maps, views, template, wanted, background=prediction.room, device=device)
    corrected = replace(compared, cameras=result.corrections.applied(compared.cameras))
    quality["refined"] = figures(result.maps, corrected)
    return _Made(result.maps, quality, _told(wanted, result, names))


def _told(options: RefineOptions, result: RefineResult, names: list[str]) -> dict[str, Any]:
    """What is written down about a refinement."""
    corrections = result.corrections
    told = {
        **asdict(options),
        "steps_done": result.steps,
        "final_loss": result.final_loss,
        "withheld_view": None if result.withheld is None else names[result.withheld],
        "withheld_psnr_db": result.withheld_psnr_db,
        "colour_gains": _by_name(names, corrections.gains),
    }
    if options.cameras:
        told["camera_corrections"] = _by_name(names, corrections.head_from_head)
    return told


def _by_name(names: list[str], values: Tensor) -> dict[str, Any]:
    return dict(zip(names, values.double().numpy().round(6).tolist(), strict=True))


def _report(capture: Capture, frame: str, views: Views, gaussians: Gaussians, *, device: str) -> dict[str, Any]:
    return {
        "subject": capture.subject,
        "frame": frame,
        "views": len(views),
        "masked": views.masked,
        "gaussians": len(gaussians),
        "device": device,
        "head_frame": capture.head_frame.model_dump(),
        "image_size_px": REPORT_SIZE_PX,
    }


@torch.inference_mode()
def _figures(
    maps: GaussianMaps, template: Template, room: Gaussians | None, views: Views, names: list[str]
) -> dict[str, Any]:
    """PSNR on the input views, of the subject (mask > 0.5) and of the whole picture on black."""
    gaussians = bind(maps, texel_anchors(template, maps.resolution))
    scene = gaussians if room is None else concatenate([gaussians, room])
    rgb = render(scene, views.cameras).rgb.clamp(0, 1)  # [v, h, w, 3]
    foreground = psnr(rgb, views.rgb, (views.mask[..., 0] > 0.5).float())

    def mean(values: Tensor) -> float:
        return round(float(values.mean()), 2)

    return {
        "foreground": mean(foreground),
        "full": mean(psnr(rgb, views.rgb)),
        "per_view": {name: round(float(value), 2) for name, value in zip(names, foreground, strict=True)},
    }
