"""`headsup reconstruct`: from a rig dump or a capture to a head."""

from pathlib import Path
from typing import Annotated, Any

import typer

from headsup_cli.commands.options import (
    DeviceOption,
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
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn captures of heads into 3D Gaussian heads.

    Each SUBJECT is a rig dump (prepared on the way) or a capture that 'headsup preprocess' made. Writes
    DIR/<subject>/ with gaussians.ply, head.json, head.safetensors and report.json.

    Example:
        headsup reconstruct my_subject -o heads --orbit
        headsup reconstruct my_subject -o heads --refine 60
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import Capture, is_capture, read_capture
    from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
    from headsup_cli.inference.pictures import write_orbit
    from headsup_cli.inference.reconstruct import ReconstructOptions, write_reconstruction
    from headsup_cli.inference.reconstruct import reconstruct as reconstruct_capture
    from headsup_cli.inference.refine import RefineOptions
    from headsup_cli.model.checkpoint import load_checkpoint
    from headsup_cli.preprocessing.preprocess import PreprocessOptions, preprocess_rig
    from headsup_cli.runtime.atomic import atomic_directory
    from headsup_cli.runtime.device import resolve_device
    from headsup_cli.runtime.progress import StageTimes
    from headsup_cli.template.default import load_template

    place = resolve_device(device)
    paths = expand_subjects(subjects, lambda folder: is_capture(folder) or is_rig_dump(folder))
    surface = load_template(template)
    weights = load_checkpoint(checkpoint, surface, place)
    options = ReconstructOptions(
        frame=frame,
        views=views,
        refine=None if refine is None else RefineOptions(seconds=refine.seconds, steps=refine.steps),
        seed=seed,
    )

    def load(subject: Path, times: StageTimes) -> Capture:
        if is_capture(subject):
            return read_capture(subject)
        wanted = PreprocessOptions(size=size, frames="neutral" if frame is None else (frame,))
        return preprocess_rig(read_rig_dump(subject), wanted, surface, times=times)

    def work(subject: Path) -> None:
        times = StageTimes()
        capture = load(subject, times)
        result = reconstruct_capture(capture, weights, surface, options, device=place, times=times)
        folder = output / capture.subject
        with atomic_directory(folder) as unfinished:
            write_reconstruction(result, unfinished, surface)
            if orbit:
                write_orbit(result.gaussians.to(place), unfinished / "orbit.mp4", width=512, height=512)
        print(folder)

    manifest = output / "manifest.jsonl"
    check_outcomes(run_subjects(paths, work, manifest=manifest), manifest)
