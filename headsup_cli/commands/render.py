"""`headsup render`: pictures and videos of a head."""

from pathlib import Path
from typing import Annotated, Any

import typer

from headsup_cli.commands.options import DeviceOption, OutputOption, QuietOption, TemplateOption
from headsup_cli.commands.values import parse_colour, parse_size


def render(
    head: Annotated[Path, typer.Argument(metavar="HEAD", help="Head folder, or any 3DGS PLY.", show_default=False)],
    output: OutputOption,
    cameras: Annotated[
        Path | None,
        typer.Option(
            "--cameras",
            metavar="FILE",
            help="Stills for the cameras of this calibration.json, in the rig's world.",
            show_default=False,
        ),
    ] = None,
    orbit: Annotated[
        bool, typer.Option("--orbit", help="A turn about the head, orbit.mp4 (what is done without --cameras).")
    ] = False,
    size: Annotated[
        Any,
        typer.Option(
            "--size",
            metavar="WxH",
            parser=parse_size,
            help="Picture size in pixels; 512x512 for a turn, the calibration's for stills.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, max=100_000, help="Pictures in a turn.")] = 120,
    fps: Annotated[float, typer.Option("--fps", min=1, max=240, help="Pictures a second.")] = 30.0,
    background: Annotated[
        Any, typer.Option("--background", metavar="COLOR", parser=parse_colour, help="black, white, grey or #rrggbb.")
    ] = "black",
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Render a head: a turn about it, or stills for given cameras.

    Example:
        headsup render out/anna --orbit -o videos
        headsup render out/anna --cameras heldout/calibration.json -o stills
    """
    import numpy as np
    import torch

    from headsup_cli.capture.rigs.native import read_calibration
    from headsup_cli.gaussians.head import is_head, read_head
    from headsup_cli.gaussians.ply import read_ply, turn_over
    from headsup_cli.inference.pictures import write_orbit, write_stills
    from headsup_cli.runtime.device import resolve_device
    from headsup_cli.template.default import load_template

    place = resolve_device(device)
    rig_cameras = None if cameras is None else read_calibration(cameras)
    if head.is_dir() or is_head(head):
        native = read_head(head)
        gaussians, rig_from_head = native.gaussians(load_template(template)), native.rig_from_head
    else:
        gaussians, rig_from_head = read_ply(head), turn_over().numpy().astype(np.float64)
    gaussians, colour = gaussians.to(place), torch.tensor(background, device=place)
    if rig_cameras is not None:
        write_stills(gaussians, rig_from_head, rig_cameras, output, size=size, background=colour)
        print(f"{output}: {len(rig_cameras)} stills")
    if orbit or rig_cameras is None:
        width, height = size or (512, 512)
        path = output / "orbit.mp4"
        write_orbit(gaussians, path, width=width, height=height, frames=frames, fps=fps, background=colour)
        print(path)
