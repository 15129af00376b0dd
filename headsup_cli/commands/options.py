"""Options that several commands share, each with one name, one meaning and one help text."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headsup_cli.commands.console import be_quiet
from headsup_cli.commands.values import parse_colour


def _quiet(wanted: bool) -> bool:
    if wanted:
        be_quiet()
    return wanted


SubjectsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="SUBJECT", help="Rig dumps, captures, or folders of them.", show_default=False),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="Format of the rig dumps, see 'headsup preprocess --list-formats'; found by looking.",
        show_default=False,
    ),
]
DistortionOption = Annotated[
    Literal["apply", "ignore"],
    typer.Option("--distortion", help="Of the calibration; ignore it where the pictures are free of it already."),
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.", show_default=False)
]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N; auto prefers the GPU.")
]
TemplateOption = Annotated[
    Path | None,
    typer.Option(
        "--template",
        metavar="DIR",
        help="Folder of a head template of your own.",
        envvar="HEADSUP_TEMPLATE",
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option("--checkpoint", metavar="FILE", help="Weights; those that come with headsup.", show_default=False),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, max=1024, metavar="N", help="Processes that share the subjects.")
]
BackgroundOption = Annotated[
    Any, typer.Option("--background", metavar="COLOR", parser=parse_colour, help="black, white, grey or #rrggbb.")
]
FpsOption = Annotated[float, typer.Option("--fps", min=1, max=240, metavar="N", help="Pictures a second.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Seed of all random numbers.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress on stderr, only warnings and errors.", callback=_quiet)
]
