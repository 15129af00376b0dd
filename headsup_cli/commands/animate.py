"""`headsup animate`: a head driven by ARKit curves."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from headsup_cli.commands.options import DeviceOption, OutputOption, QuietOption, TemplateOption
from headsup_cli.commands.values import parse_colour, parse_gain, parse_size


class _Format(str, Enum):  # noqa: UP042 - typer shows the values of such an enum as choices
    video = "video"
    ply = "ply"
    zip = "zip"
    blendshapes = "blendshapes"


class _Camera(str, Enum):  # noqa: UP042
    front = "front"
    orbit = "orbit"


def animate(
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="Head folder.", show_default=False)],
    output: OutputOption,
    driver: Annotated[
        Path | None,
        typer.Option(
            "--driver",
            metavar="FILE",
            help="Curves: Live Link Face CSV, Face Cap, Audio2Face or MediaPipe JSON, or CSV by header.",
            show_default=False,
        ),
    ] = None,
    clip: Annotated[
        str,
        typer.Option("--clip", metavar="NAME", help="Without --driver: blink, smile, talk, visemes, range-of-motion."),
    ] = "talk",
    to: Annotated[
        _Format,
        typer.Option(
            "--to", help="A video; PLYs in a folder or a zip, one a frame; neutral head and 52 differences for engines."
        ),
    ] = _Format.video,
    fps: Annotated[float, typer.Option("--fps", min=1, max=240, help="Frames a second; curves are resampled.")] = 30.0,
    mirror: Annotated[bool, typer.Option("--mirror", help="Exchange left and right.")] = False,
    gain: Annotated[
        list[Any] | None,
        typer.Option(
            "--gain",
            metavar="NAME=X",
            parser=parse_gain,
            help="Multiply a coefficient; may be repeated.",
            show_default=False,
        ),
    ] = None,
    smooth: Annotated[
        float, typer.Option("--smooth", min=0, max=5, metavar="SECONDS", help="Blur the curves over time.")
    ] = 0.0,
    camera: Annotated[_Camera, typer.Option("--camera", help="Film from in front, or once around.")] = _Camera.front,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the curves under the picture.")] = False,
    size: Annotated[Any, typer.Option("--size", metavar="WxH", parser=parse_size, help="Picture size.")] = "512x512",
    background: Annotated[
        Any, typer.Option("--background", metavar="COLOR", parser=parse_colour, help="black, white, grey or #rrggbb.")
    ] = "black",
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Animate a head by ARKit's 52 coefficients: from a recording, or from a clip that comes with headsup.

    Writes DIR/<clip>.mp4, the folder DIR/<clip>/ or DIR/<clip>.zip with a PLY for every frame, or
    DIR/blendshapes.safetensors.

    Example:
        headsup animate heads/anna -o videos
        headsup animate heads/anna --driver take_1.csv --plot -o videos
        headsup animate heads/anna --to blendshapes -o engine
    """
    from headsup_cli.animation.blendshape_file import write_blendshapes
    from headsup_cli.animation.clips import clip as built_in
    from headsup_cli.animation.drivers.detection import read_curves
    from headsup_cli.animation.geometric_rig import GeometricRig
    from headsup_cli.animation.outputs import VideoOptions, write_animation_video, write_plys
    from headsup_cli.gaussians.head import read_head
    from headsup_cli.runtime.device import resolve_device
    from headsup_cli.template.default import load_template

    curves = built_in(clip) if driver is None else read_curves(driver)
    curves = (curves.mirrored() if mirror else curves).with_gains(dict(gain or [])).resampled(fps).smoothed(smooth)
    place, rig = resolve_device(device), GeometricRig.of(read_head(head), load_template(template))
    name = clip if driver is None else driver.stem
    if to is _Format.blendshapes:
        path = output / "blendshapes.safetensors"
        write_blendshapes(rig, path)
    elif to is _Format.video:
        path, (width, height) = output / f"{name}.mp4", size
        options = VideoOptions(width, height, fps, camera.value, plot, background)
        write_animation_video(rig, curves, path, options, device=place)
    else:
        path = output / (name if to is _Format.ply else f"{name}.zip")
        write_plys(rig, curves, path)
    print(path)
