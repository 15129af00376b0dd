"""`headsup reconstruct`: from a rig dump or a capture to a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headsup_cli.commands.console import print_table
from headsup_cli.commands.options import (
    CheckpointOption,
    DeviceOption,
    DistortionOption,
    FormatOption,
    OutputOption,
    QuietOption,
    SeedOption,
    SubjectsArgument,
    TemplateOption,
    WorkersOption,
)
from headsup_cli.commands.values import parse_effort

if TYPE_CHECKING:
    from headsup_cli.batch.subjects import SubjectOutcome
    from headsup_cli.inference.options import RefineOptions


def reconstruct(
    subjects: SubjectsArgument,
    output: OutputOption,
    refine: Annotated[
        Any,
        typer.Option(
            "--refine",
            metavar="SECONDS|STEPS",
            parser=parse_effort,
            help="Sharpen on the subject's own pictures: 60 or 60s for a minute, 1000steps for steps.",
            show_default=False,
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option("--views", min=1, metavar="K", help="Use so many views, spread around.", show_default=False),
    ] = None,
    uv: Annotated[
        Literal["128", "256", "512"] | None,
        typer.Option(
            "--uv",
            help="Texels a side, one Gaussian each: 128 as the model gives them, 256 refined.",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option("--frame", metavar="NAME|all", help="A moment of the subject, or every one.", show_default=False),
    ] = None,
    neutral: Annotated[
        bool, typer.Option("--neutral", help="The most neutral moment; so it is without --frame.")
    ] = False,
    neutralise: Annotated[
        bool,
        typer.Option("--neutralise", help="Make the head neutral, by the weights of the frame's expression."),
    ] = False,
    refine_cameras: Annotated[
        bool, typer.Option("--refine-cameras", help="With --refine: correct the cameras' poses too.")
    ] = False,
    orbit: Annotated[bool, typer.Option("--orbit", help="Add orbit.mp4, a turn about the head.")] = False,
    checkpoint: CheckpointOption = None,
    size: Annotated[
        int, typer.Option("--size", min=64, metavar="PX", help="Longer side of the working pictures, pixels.")
    ] = 1000,
    workers: WorkersOption = 1,
    format: FormatOption = None,
    distortion: DistortionOption = "apply",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn captures of heads into 3D Gaussian heads.

    Each SUBJECT is a rig dump (prepared on the way) or a capture that 'headsup preprocess' made. Writes
    DIR/<subject>/ with gaussians.ply, head.json, head.safetensors and report.json; with
    --frame all, DIR/<subject>/<frame>/.
    Heads that are there already and would be the same are left alone.

    Example:
        headsup reconstruct my_subject -o heads --orbit
        headsup reconstruct my_subject -o heads --refine 60
        headsup reconstruct subjects -o heads --workers 4
        headsup reconstruct my_subject -o heads --frame all --refine 30 --uv 512
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import is_capture
    from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
    from headsup_cli.inference.options import ReconstructOptions
    from headsup_cli.jobs.reconstruction import ReconstructJob
    from headsup_cli.runtime.device import resolve_device

    if neutral and frame is not None:
        raise typer.BadParameter("--neutral and --frame exclude each other: leave one of them out.")
    every, resolution = frame == "all", None if uv is None else int(uv)
    options = ReconstructOptions(
        frame=None if every else frame,
        views=views,
        resolution=resolution,
        refine=_refine_options(refine, refine_cameras, resolution),
        seed=seed,
    )
    if device not in ("auto", "cpu"):
        resolve_device(device)  # told before the work if there is none; importing torch for it takes seconds
    paths = expand_subjects(subjects, lambda folder: is_capture(folder) or is_rig_dump(folder))
    job = ReconstructJob(
        output,
        options,
        size,
        orbit,
        checkpoint,
        device,
        template,
        read=partial(read_rig_dump, importer=format, distortion=distortion),
        frames="every" if every else "one",
        neutralise=neutralise,
        queue=tuple(paths) if workers == 1 else (),
    )
    manifest = output / "manifest.jsonl"
    outcomes = run_subjects(paths, job, manifest=manifest, is_done=job.is_done, workers=workers)
    if len(outcomes) == 1:
        print(job.folder(paths[0]))
    else:
        rows = [_row(outcome, job.folder) for outcome in outcomes]
        print_table(("subject", "outcome", "seconds", "head"), rows)
    check_outcomes(outcomes, manifest)


def _row(outcome: SubjectOutcome, place: Callable[[Path], Path]) -> tuple[str, str, str, str]:
    """A line of the table: where the head is, or why there is none."""
    subject = Path(outcome.subject)
    result = outcome.message if outcome.status == "failed" else str(place(subject))
    return subject.name, outcome.status, f"{outcome.seconds:.1f}", result


def _refine_options(effort: Any, cameras: bool, resolution: int | None) -> RefineOptions | None:
    """What --refine, --refine-cameras and --uv say together."""
    from headsup_cli.inference.options import RefineOptions

    if effort is not None:
        wanted = RefineOptions(seconds=effort.seconds, steps=effort.steps, cameras=cameras)
        return wanted if resolution is None else replace(wanted, resolution=resolution)
    if cameras:
        raise typer.BadParameter("--refine-cameras needs --refine: say how long.")
    return None
