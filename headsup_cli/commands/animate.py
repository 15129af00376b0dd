"""`headsup animate`: a head driven by ARKit curves."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headsup_cli.commands.options import (
    BackgroundOption,
    CheckpointOption,
    DeviceOption,
    FpsOption,
    OutputOption,
    QuietOption,
    TemplateOption,
    WorkersOption,
)
from headsup_cli.commands.values import parse_gain, parse_size

DriverOption = Annotated[
    Path | None,
    typer.Option(
        "--driver",
        metavar="FILE",
        help="Curves: Live Link Face CSV, Face Cap, Audio2Face or MediaPipe JSON, or CSV by header.",
        show_default=False,
    ),
]
ClipOption = Annotated[
    str, typer.Option("--clip", metavar="NAME", help="Without --driver: blink, smile, talk, visemes, range-of-motion.")
]
RigOption = Annotated[
    Literal["geometric", "latent", "blend"],
    typer.Option(
        "--rig", help="What moves the head: the template's blendshapes, the latent's, or those painted by these."
    ),
]
ToOption = Annotated[
    Literal["video", "ply", "zip", "usd", "blendshapes"],
    typer.Option(
        "--to", help="A video; PLYs in a folder or a zip, one a frame; a USD stage; neutral head and 52 differences."
    ),
]
GainOption = Annotated[
    list[Any] | None,
    typer.Option(
        "--gain",
        metavar="NAME=X",
        parser=parse_gain,
        help="Multiply a coefficient; may be repeated.",
        show_default=False,
    ),
]
SmoothOption = Annotated[
    float, typer.Option("--smooth", min=0, max=5, metavar="SECONDS", help="Blur the curves over time.")
]
CameraOption = Annotated[
    Literal["front", "orbit"], typer.Option("--camera", help="Film from in front, or once around.")
]
SizeOption = Annotated[Any, typer.Option("--size", metavar="WxH", parser=parse_size, help="Picture size.")]
ExpressionOption = Annotated[
    Path | None,
    typer.Option(
        "--expression",
        metavar="FILE",
        help="Weights of the latent rig; those beside the checkpoint, else headsup's own.",
        show_default=False,
    ),
]


def animate(
    heads: Annotated[
        list[Path], typer.Argument(metavar="HEAD", help="Head folders, or folders of them.", show_default=False)
    ],
    output: OutputOption,
    driver: DriverOption = None,
    clip: ClipOption = "talk",
    rig: RigOption = "geometric",
    to: ToOption = "video",
    fps: FpsOption = 30.0,
    mirror: Annotated[bool, typer.Option("--mirror", help="Exchange left and right.")] = False,
    gain: GainOption = None,
    smooth: SmoothOption = 0.0,
    camera: CameraOption = "front",
    plot: Annotated[bool, typer.Option("--plot", help="Draw the curves under the picture.")] = False,
    size: SizeOption = "512x512",
    background: BackgroundOption = "black",
    checkpoint: CheckpointOption = None,
    expression: ExpressionOption = None,
    workers: WorkersOption = 1,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Animate heads by ARKit's 52 coefficients: from a recording, or from a clip that comes with headsup.

    Of one HEAD, writes DIR/<clip>.mp4, the folder DIR/<clip>/ or DIR/<clip>.zip with a PLY for every frame,
    DIR/<clip>.usd, or DIR/blendshapes.safetensors; of several, into DIR/<head>/. What is there already and would
    be the same is left alone.

    Example:
        headsup animate heads/anna -o videos
        headsup animate heads/anna --driver take_1.csv --plot -o videos
        headsup animate heads --clip range-of-motion -o videos --workers 4
        headsup animate heads/anna --to blendshapes -o engine
    """
    from headsup_cli.animation.clips import clip as built_in
    from headsup_cli.animation.drivers.detection import read_curves
    from headsup_cli.animation.outputs import VideoOptions
    from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
    from headsup_cli.gaussians.head_folder import is_head
    from headsup_cli.jobs.animation import AnimateJob
    from headsup_cli.runtime.device import resolve_device

    curves = built_in(clip) if driver is None else read_curves(driver)
    curves = (curves.mirrored() if mirror else curves).with_gains(dict(gain or [])).resampled(fps).smoothed(smooth)
    width, height = size
    paths = expand_subjects(heads, is_head)
    job = AnimateJob(
        output,
        curves,
        clip if driver is None else driver.stem,
        rig,
        to,
        VideoOptions(width, height, fps, camera, plot, background),
        checkpoint,
        expression,
        str(resolve_device(device)),
        template,
        folder_each=paths != heads[:1],
    )
    outcomes = run_subjects(paths, job, manifest=output / "manifest.jsonl", is_done=job.is_done, workers=workers)
    for outcome in outcomes:
        if outcome.status != "failed":
            print(job.result(Path(outcome.subject)))
    check_outcomes(outcomes, output / "manifest.jsonl")
