"""`headsup train`: weights from captures or from people who do not exist."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headsup_cli.commands.options import DeviceOption, OutputOption, QuietOption, TemplateOption

if TYPE_CHECKING:
    from headsup_cli.training.dataset import TrainingSubject

PRESETS = Path(__file__).parents[1] / "configs"


@dataclass(frozen=True)
class SimulatedPeople:
    """Simulated subjects by number, for workers of a training run."""

    seed: int
    height_px: int  # of the pictures; they are three quarters as wide

    def __call__(self, index: int) -> "TrainingSubject":
        """Simulate subject `index`."""
        from headsup_cli.simulation.training_sample import training_sample
        from headsup_cli.training.dataset import subject_from_arrays

        sample = training_sample(self.seed + index, views=12, width=3 * self.height_px // 4, height=self.height_px)
        return subject_from_arrays(sample.images, sample.masks, sample.cameras, sample.vertices)


def train(
    output: OutputOption,
    config: Annotated[
        str, typer.Option("--config", "-c", metavar="PRESET|FILE", help="tiny, small, base, or a YAML file.")
    ] = "small",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Overrides such as training.steps=2000.", show_default=False),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1, help="Stop after this time and save.", show_default=False)
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="FILE", help="Start from these weights.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that simulate people.")] = 1,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train a model on simulated people; the same command again goes on where it stopped.

    Example:
        headsup train -c small -o runs/small
    """
    import math

    from headsup_cli.config_files.yaml_config import load_yaml_config
    from headsup_cli.runtime.device import resolve_device
    from headsup_cli.runtime.provenance import record_provenance
    from headsup_cli.template.default import load_template
    from headsup_cli.training.config import Preset
    from headsup_cli.training.trainer import train as run_training

    path = PRESETS / f"{config}.yaml" if config in {preset.stem for preset in PRESETS.glob("*.yaml")} else Path(config)
    preset = load_yaml_config(path, Preset, settings or ())
    seed = preset.training.seed
    report = run_training(
        SimulatedPeople(1_000_000 * (seed + 1), preset.model.encoder.image_size_px),
        preset,
        load_template(template),
        output,
        device=resolve_device(device),
        workers=workers,
        provenance=record_provenance(seed=seed).to_json() | {"preset": config, "data": "simulated"},
        seconds=seconds or math.inf,
        init=init,
    )
    loss = report.last.get("loss", math.nan)
    print(f"{output}: step {report.steps}, {report.seconds:.0f} s, {report.skipped} skipped, loss {loss:.4f}")
