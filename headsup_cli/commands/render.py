"""`headsup render`: pictures and videos of heads."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headsup_cli.commands.options import (
    DeviceOption,
    FpsOption,
    OutputOption,
    QuietOption,
    TemplateOption,
    WorkersOption,
)
from headsup_cli.commands.values import parse_colour, parse_size


def _parse_background(text: str) -> tuple[float, float, float] | str:
    return text if text == "transparent" else parse_colour(text)


def render(
    heads: Annotated[
        list[Path],
        typer.Argument(metavar="HEAD", help="Head folders, folders of them, or any 3DGS PLY.", show_default=False),
    ],
    output: OutputOption,
    path: Annotated[
        str,
        typer.Option("--path", metavar="NAME|FILE", help="orbit, figure-eight, dolly, or a JSON file of key frames."),
    ] = "orbit",
    cameras: Annotated[
        Path | None,
        typer.Option(
            "--cameras",
            metavar="FILE",
            help="Instead of a path: stills for the cameras of this calibration.json, in the rig's world, through "
            "their lenses.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        Literal["mp4", "webm", "gif", "png", "sheet"],
        typer.Option("--as", help="A video; a folder of PNGs; one sheet with all pictures."),
    ] = "mp4",
    show: Annotated[
        Literal["rgb", "depth", "normals", "alpha"], typer.Option("--show", help="What the pictures show.")
    ] = "rgb",
    size: Annotated[
        Any,
        typer.Option(
            "--size",
            metavar="WxH",
            parser=parse_size,
            help="Picture size in pixels; 512x512 for a path, the calibration's for stills.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            "--frames",
            min=1,
            metavar="N",
            max=100_000,
            help="Pictures along the path; 120, on a sheet 12, with key frames as their times have it.",
            show_default=False,
        ),
    ] = None,
    fps: FpsOption = 30.0,
    supersampling: Annotated[
        int, typer.Option("--supersampling", min=1, max=8, metavar="N", help="Average NxN samples per pixel.")
    ] = 1,
    background: Annotated[
        Any,
        typer.Option(
            "--background",
            metavar="COLOR",
            parser=_parse_background,
            help="black, white, grey, #rrggbb, or transparent (not in mp4).",
        ),
    ] = "black",
    workers: WorkersOption = 1,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Render heads: along a path, or stills for given cameras.

    Of one HEAD, writes DIR/<path>.<suffix>, DIR/<path>/00000.png and so on, DIR/<path>_sheet.png or
    DIR/<camera>.png; of several, into DIR/<head>/. Pictures that are there already and would be the same are
    left alone. docs/rendering.md has the file of key frames and what the pictures show.

    Example:
        headsup render heads/anna -o videos
        headsup render heads -o sheets --as sheet --show normals --workers 4
        headsup render heads/anna -o web --path dolly --as webm --background transparent --supersampling 2
        headsup render heads/anna --cameras heldout/calibration.json -o stills
    """
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.gaussians.head_folder import is_head
    from headsup_cli.inference.pictures import Look
    from headsup_cli.jobs.rendering import RenderJob, Shot
    from headsup_cli.runtime.device import resolve_device

    shot = Shot(path, cameras, form, size, frames, fps)
    look = Look(show, None if background == "transparent" else background, supersampling)
    paths = expand_subjects(heads, is_head)
    job = RenderJob(output, shot, look, str(resolve_device(device)), template, folder_each=paths != heads[:1])
    outcomes = run_subjects(paths, job, manifest=output / "manifest.jsonl", is_done=job.is_done, workers=workers)
    for outcome in outcomes:
        if outcome.status != "failed":
            print(job.told(Path(outcome.subject)))
    check_outcomes(outcomes, output / "manifest.jsonl")
