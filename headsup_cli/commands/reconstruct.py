"""`headsup reconstruct`: from a rig dump or a capture to a head."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from headsup_cli.commands.options import (
    DeviceOption,
    DistortionOption,
    FormatOption,
    OutputOption,
    QuietOption,
    SeedOption,
    SubjectsArgument,
    TemplateOption,
)
from headsup_cli.commands.values import parse_effort


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
        int | None, typer.Option("--views", min=1, help="Use so many views, spread around.", show_default=False)
    ] = None,
    frame: Annotated[
        str | None, typer.Option("--frame", help="Which moment of the subject; the most neutral.", show_default=False)
    ] = None,
    orbit: Annotated[bool, typer.Option("--orbit", help="Add orbit.mp4, a turn about the head.")] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="Weights; those that come with headsup.", show_default=False),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=64, help="Longer side of the working pictures, pixels.")] = 1000,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=1024, metavar="N", help="Processes that share the subjects.")
    ] = 1,
    format: FormatOption = None,
    distortion: DistortionOption = "apply",
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn captures of heads into 3D Gaussian heads.

    Each SUBJECT is a rig dump (prepared on the way) or a capture that 'headsup preprocess' made. Writes
    DIR/<subject>/ with gaussians.ply, head.json, head.safetensors and report.json.
    Heads that are there already and would be the same are left alone.

    Example:
        headsup reconstruct my_subject -o heads --orbit
        headsup reconstruct my_subject -o heads --refine 60
        headsup reconstruct subjects -o heads --workers 4
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import is_capture
    from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
    from headsup_cli.inference.reconstruct import ReconstructOptions
    from headsup_cli.inference.refine import RefineOptions
    from headsup_cli.jobs.reconstruction import ReconstructJob
    from headsup_cli.runtime.device import resolve_device

    sharpening = None if refine is None else RefineOptions(seconds=refine.seconds, steps=refine.steps)
    options = ReconstructOptions(frame=frame, views=views, refine=sharpening, seed=seed)
    read = partial(read_rig_dump, importer=format, distortion=distortion)
    job = ReconstructJob(output, options, size, orbit, checkpoint, str(resolve_device(device)), template, read)
    paths = expand_subjects(subjects, lambda folder: is_capture(folder) or is_rig_dump(folder))
    manifest = output / "manifest.jsonl"
    outcomes = run_subjects(paths, job, manifest=manifest, is_done=job.is_done, workers=workers)
    for outcome in outcomes:
        if outcome.status != "failed":
            print(job.folder(Path(outcome.subject)))
    check_outcomes(outcomes, manifest)
