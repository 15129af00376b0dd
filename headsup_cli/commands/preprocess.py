"""`headsup preprocess`: from rig dumps to captures."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from headsup_cli.commands.options import (
    DistortionOption,
    FormatOption,
    OutputOption,
    QuietOption,
    TemplateOption,
    WorkersOption,
)


def _list_formats(wanted: bool) -> bool:
    if wanted:
        from headsup_cli.capture.rigs.detection import list_importers

        print(list_importers())
        raise typer.Exit
    return wanted


def preprocess(
    rigs: Annotated[
        list[Path], typer.Argument(metavar="RIG", help="Rig dumps, or folders of them.", show_default=False)
    ],
    output: OutputOption,
    size: Annotated[
        int, typer.Option("--size", min=64, metavar="PX", help="Longer side of the pictures, pixels.")
    ] = 1000,
    crop: Annotated[
        Literal["none", "subject"], typer.Option("--crop", help="Keep whole pictures, or the subject's surroundings.")
    ] = "none",
    masks: Annotated[
        Literal["auto", "given", "plates", "rembg", "none"],
        typer.Option(
            "--masks",
            help="Where masks come from. auto: given ones, else clean plates, else found in the pictures; "
            "rembg: a network, if installed.",
        ),
    ] = "auto",
    colour: Annotated[
        Literal["match", "none"], typer.Option("--colour", help="Make the cameras' colours agree, or leave them.")
    ] = "match",
    landmarks: Annotated[
        Path | None,
        typer.Option(
            "--landmarks",
            metavar="FILE.task",
            help="MediaPipe's Face Landmarker instead of our network.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        list[str] | None,
        typer.Option("--frame", metavar="NAME", help="A frame to take, repeatable; all.", show_default=False),
    ] = None,
    codec: Annotated[Literal["png", "jpg", "webp"], typer.Option("--codec", help="Format of the pictures.")] = "png",
    quality: Annotated[int, typer.Option("--quality", min=1, max=100, metavar="N", help="Of jpg and webp.")] = 95,
    workers: WorkersOption = 1,
    format: FormatOption = None,
    distortion: DistortionOption = "apply",
    every: Annotated[int, typer.Option("--every", min=1, metavar="N", help="Take every Nth frame.")] = 1,
    list_formats: Annotated[
        bool,
        typer.Option("--list-formats", callback=_list_formats, is_eager=True, help="Explain each format and leave."),
    ] = False,
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Turn rig dumps into captures: undistorted, masked, colour-matched, in metres, in the head frame.

    Writes DIR/<subject>/ with capture.json, images and masks (docs/capture-format.md), and qa.html to look at. The
    rig dumps are not touched. The same command again makes what is missing or has changed.

    Example:
        headsup preprocess my_rig/anna -o captures
        headsup preprocess my_rig -o captures --size 1500 --crop subject --codec jpg --workers 8
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.capture.capture import Encoding
    from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
    from headsup_cli.preprocessing.capture_folder import PreprocessJob
    from headsup_cli.preprocessing.options import PreprocessOptions

    paths = expand_subjects(rigs, is_rig_dump)
    options = PreprocessOptions(
        size, crop, tuple(frames) if frames else "all", masks=masks, colour=colour, landmarks=landmarks
    )
    read = partial(read_rig_dump, importer=format, distortion=distortion, every=every)
    suffixes: dict[str, Literal[".png", ".jpg", ".webp"]] = {"png": ".png", "jpg": ".jpg", "webp": ".webp"}
    job = PreprocessJob(output, options, Encoding(suffixes[codec], quality), template, read)
    manifest = output / "manifest.jsonl"
    outcomes = run_subjects(paths, job, manifest=manifest, is_done=job.is_done, workers=workers)
    for outcome in outcomes:
        if outcome.status != "failed":
            print(job.folder(Path(outcome.subject)))
    check_outcomes(outcomes, manifest)
