"""`headsup simulate`: rig dumps of people who do not exist."""

from typing import Annotated, Any, Literal

import typer

from headsup_cli.commands.options import OutputOption, QuietOption, SeedOption, WorkersOption
from headsup_cli.commands.values import parse_size


def simulate(
    output: OutputOption,
    number: Annotated[int, typer.Option("-n", "--number", min=1, metavar="N", help="How many people.")] = 1,
    cameras: Annotated[
        str,
        typer.Option(
            "--cameras",
            metavar="N|LAYOUT|FILE",
            help="16 or dome16: a dome of 16 cameras; front8, ring12, scattered20; or the calibration.json of a rig.",
        ),
    ] = "16",
    size: Annotated[
        Any,
        typer.Option(
            "--size",
            metavar="WxH",
            parser=parse_size,
            help="Picture size in pixels.  [default: 750x1000, or the calibration's]",
            show_default=False,
        ),
    ] = None,
    expressions: Annotated[
        int,
        typer.Option("--expressions", min=1, max=1000, metavar="N", help="Frames per person; the first is neutral."),
    ] = 1,
    preset: Annotated[
        Literal["clean", "studio", "harsh"],
        typer.Option(
            "--preset",
            help="clean: ideal cameras, masks; studio: a rig's faults, clean plates, no masks; harsh: a bad day there.",
        ),
    ] = "clean",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="NAME=NUMBER",
            help="Set one fault by hand, 0 to be rid of it: focal, principal, irregularity, distortion, gain, noise, "
            "blur, jpeg, light, room, tilt, calibration, plates, masks.",
            show_default=False,
        ),
    ] = None,
    truth: Annotated[
        Literal["all", "light"], typer.Option("--truth", help="light leaves out the maps of depth, normals and parts.")
    ] = "all",
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    quiet: QuietOption = False,
) -> None:
    """Make rig dumps of people who do not exist, with the truth beside them.

    Writes DIR/person_<seed>/ for as many seeds as asked, from --seed on. The same command again makes what is missing.

    Example:
        headsup simulate -n 10 -o people
        headsup simulate -n 1 -o people --seed 7 --preset studio --expressions 3 --size 375x500
        headsup simulate -n 100 -o people --cameras my_rig/calibration.json --preset harsh --fault blur=0 --workers 8
    """
    from headsup_cli.batch.subjects import check_outcomes, run_subjects
    from headsup_cli.simulation.rig.faults import parse_faults
    from headsup_cli.simulation.rig.rig import parse_rig
    from headsup_cli.simulation.subject import SimulationOptions, SubjectJob

    rig = parse_rig(cameras)
    faults = parse_faults(preset, fault or [], drawn_rig=not rig.calibration)
    width, height = size or (750, 1000)
    options = SimulationOptions(
        rig=rig.resized(width, height) if size else rig,
        width=width,
        height=height,
        expressions=expressions,
        preset=preset,
        faults=faults,
        truth=truth,
    )
    seeds = {output / f"person_{one:06d}": one for one in range(seed, seed + number)}
    job, manifest = SubjectJob(seeds, options), output / "manifest.jsonl"
    outcomes = run_subjects(list(seeds), job, manifest=manifest, is_done=job.is_done, workers=workers)
    for outcome in outcomes:
        if outcome.status == "done":
            print(outcome.subject)
    check_outcomes(outcomes, manifest)
