"""`headsup simulate`: rig dumps of people who do not exist."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from headsup_cli.commands.options import OutputOption, QuietOption, SeedOption
from headsup_cli.commands.values import parse_size


class _Preset(str, Enum):  # noqa: UP042 - typer shows the values of such an enum as choices
    clean = "clean"
    studio = "studio"


class _Layout(str, Enum):  # noqa: UP042
    dome = "dome"
    front = "front"
    ring = "ring"
    scattered = "scattered"


def simulate(
    output: OutputOption,
    number: Annotated[int, typer.Option("-n", "--number", min=1, metavar="N", help="How many people.")] = 1,
    cameras: Annotated[int, typer.Option("--cameras", min=1, max=512, metavar="N", help="Cameras on the rig.")] = 16,
    layout: Annotated[_Layout, typer.Option("--layout", help="How the cameras stand around the head.")] = _Layout.dome,
    size: Annotated[
        Any, typer.Option("--size", metavar="WxH", parser=parse_size, help="Picture size in pixels.")
    ] = "750x1000",
    expressions: Annotated[
        int,
        typer.Option("--expressions", min=1, max=1000, metavar="N", help="Frames per person; the first is neutral."),
    ] = 1,
    preset: Annotated[
        _Preset,
        typer.Option("--preset", help="clean: ideal cameras, masks; studio: a rig's faults, clean plates, no masks."),
    ] = _Preset.clean,
    seed: SeedOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Make rig dumps of people who do not exist, with the truth beside them.

    Writes DIR/person_<seed>/ for as many seeds as asked, from --seed on. The same command again makes what is missing.

    Example:
        headsup simulate -n 10 -o people
        headsup simulate -n 1 -o people --seed 7 --preset studio --expressions 3 --size 375x500
    """
    from headsup_cli.batch.subjects import check_outcomes, run_subjects
    from headsup_cli.runtime.atomic import atomic_directory
    from headsup_cli.simulation.subject import SimulationOptions, is_written, simulate_subject, write_subject

    width, height = size
    options = SimulationOptions(
        cameras=cameras, width=width, height=height, expressions=expressions, preset=preset.value, layout=layout.value
    )
    seeds = {output / f"person_{number_:06d}": number_ for number_ in range(seed, seed + number)}

    def work(folder: Path) -> None:
        with atomic_directory(folder) as unfinished:
            write_subject(simulate_subject(seeds[folder], options), unfinished)
        print(folder)

    manifest = output / "manifest.jsonl"
    outcomes = run_subjects(
        list(seeds), work, manifest=manifest, is_done=lambda folder: is_written(folder, seeds[folder], options)
    )
    check_outcomes(outcomes, manifest)
