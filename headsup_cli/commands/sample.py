"""`headsup sample`: heads of people who do not exist."""

from pathlib import Path
from typing import Annotated

import typer

from headsup_cli.commands.options import (
    DeviceOption,
    JsonOption,
    OutputOption,
    QuietOption,
    SeedOption,
    TemplateOption,
)


def sample(
    output: OutputOption,
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=100_000, metavar="N", help="How many heads.")] = 8,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="What they look like.", show_default=False)
    ] = None,
    negative: Annotated[
        str, typer.Option("--negative", metavar="TEXT", help="What they do not look like.", show_default=False)
    ] = "",
    guidance: Annotated[
        float, typer.Option("--guidance", min=0, max=20, help="How strictly the prompt is taken; 1 is by its letter.")
    ] = 3.0,
    steps: Annotated[int, typer.Option("--steps", min=1, max=1000, help="From noise to a head.")] = 32,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="HEAD", help="Vary this head.", show_default=False)
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            min=0,
            max=1,
            help="How far --like may go: 0 nowhere, 1 anywhere; 0.4 by default.",
            show_default=False,
        ),
    ] = None,
    between: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--between", metavar="HEAD HEAD", help="N heads from one to another.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="Weights; those that come with headsup.", show_default=False),
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option("--prior", metavar="FILE", help="prior.safetensors beside the weights.", show_default=False),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make heads of people who do not exist.

    Writes DIR/sample_0000/ and so on, heads like any other, with contact_sheet.png and report.json, which says how near
    each is to the people that the prior was trained on.

    Example:
        headsup sample -n 8 -o crowd
        headsup sample -n 4 --prompt "an old man with a white beard and round glasses" --seed 1 -o old_men
        headsup sample --like heads/anna --strength 0.3 -o sisters
        headsup sample --between heads/anna heads/ben -n 12 -o path
    """
    from headsup_cli.commands.console import print_json
    from headsup_cli.inference.sampling import SampleOptions
    from headsup_cli.jobs.sampling import SampleJob

    options = SampleOptions(prompt=prompt, negative=negative, guidance=guidance, steps=steps, seed=seed)
    job = SampleJob(number, options, like=like, strength=strength, between=between)
    report = job.run(output, checkpoint=checkpoint, prior=prior, device=device, template_folder=template)
    if json:
        print_json(report)
    else:
        print(output)
