"""`headsup train`: weights from captures or from people who do not exist."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from headsup_cli.commands.console import be_quiet
from headsup_cli.commands.options import DeviceOption, OutputOption, QuietOption, TemplateOption
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError

if TYPE_CHECKING:
    import torch

    from headsup_cli.model.latent_set import LatentSet
    from headsup_cli.training.config import Preset, ValidationConfig
    from headsup_cli.training.dataset import PictureSource, SubjectSource, TrainingExample, TrainingSubject
    from headsup_cli.training.loop import TrainingReport

PRESETS = Path(__file__).parents[1] / "configs"
_HELD_OUT_SEED = 900_000_000  # far from the seeds of people trained on
_VIEWS, _HELD_OUT_VIEWS = 12, 4
# Simulated for the stages that work on latents: people, expressions of each beside the neutral face, and the height of
# their pictures. A portrait takes a third of a second of a core: 11 minutes for the prior and for animation.
_LATENT_PEOPLE = {"prior": (1000, 1, 192), "animation": (340, 5, 256)}
_BUST_SHARE = 0.35  # of the people are cut off above the picture's rim, as scans are

AnyPreset = TypeVar("AnyPreset", bound=StrictModel)


@dataclass(frozen=True)
class SimulatedPeople:
    """Simulated subjects by number, for workers of a training run."""

    seed: int
    height_px: int  # of the pictures; they are three quarters as wide

    def __call__(self, index: int) -> "TrainingSubject":
        """Simulate subject `index`."""
        from headsup_cli.simulation.training_sample import training_sample
        from headsup_cli.training.dataset import subject_from_arrays

        width = 3 * self.height_px // 4
        sample = training_sample(self.seed + index, _VIEWS, width, self.height_px, bust_share=_BUST_SHARE)
        return subject_from_arrays(sample.images, sample.masks, sample.cameras, sample.vertices)

    def held_out(self, config: "ValidationConfig") -> "list[TrainingExample]":
        """People of other seeds, some cameras of each as targets."""
        import torch

        from headsup_cli.training.dataset import held_out_example

        order = torch.randperm(_VIEWS, generator=torch.Generator().manual_seed(0))  # rigs list neighbours together
        inputs = min(config.input_views, _VIEWS - _HELD_OUT_VIEWS)
        people = [SimulatedPeople(_HELD_OUT_SEED, self.height_px)(index) for index in range(config.people)]
        return [held_out_example(person[order], inputs=inputs, held_out=_HELD_OUT_VIEWS) for person in people]


@dataclass(frozen=True)
class TrainingData:
    """What a run is fed."""

    description: str  # of the size of things, for --dry-run
    name: str  # for the checkpoint
    source: "SubjectSource | PictureSource"
    held_out: "Callable[[], list[TrainingExample]]"


def train(
    output: OutputOption,
    captures: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CAPTURES]", help="Captures, or folders of them; simulated people by default.", show_default=False
        ),
    ] = None,
    stage: Annotated[
        Literal["head", "animation", "prior"],
        typer.Option("--stage", help="What to train; the second and third work on latents of the first."),
    ] = "head",
    config: Annotated[
        str | None,
        typer.Option("--config", "-c", metavar="PRESET|FILE", help="tiny, small, base, or a YAML file."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Overrides such as training.steps=2000.", show_default=False),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Make up people on the fly (without CAPTURES).")] = False,
    latents: Annotated[
        Path | None,
        typer.Option(
            "--latents",
            metavar="FILE",
            help="For --stage animation and prior; else made.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", metavar="FILE", help="Weights that made the latents; headsup's own.", show_default=False
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=1, metavar="S", help="Stop after this time and save.", show_default=False),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="FILE", help="Start from these weights.", show_default=False),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, metavar="N", help="Processes that load or simulate people.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what it would take, and leave.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write event files as well.")] = False,
    device: DeviceOption = "auto",
    template: TemplateOption = None,
    quiet: QuietOption = False,
) -> None:
    """Train a model on captures, or on simulated people; the same command again goes on where it stopped.

    Writes DIR/model.safetensors, the best so far, metrics, validation scores and sample pictures. Ctrl-C saves first.
    Several GPUs: torchrun --nproc-per-node 8 -m headsup_cli train ...

    Example:
        headsup train -c small -o runs/small
        headsup train captures -c small -o runs/ours --workers 8
        headsup train captures -c base -o runs/ours --dry-run
        headsup train --stage animation --latents latents.safetensors -o runs/animation
    """
    from headsup_cli.runtime.device import resolve_device
    from headsup_cli.training.processes import is_first_process, process_group

    if simulate and captures:
        raise InputError("--simulate", found="given beside CAPTURES", expected="one of them", remedy="leave one out")
    with process_group(resolve_device(device)) as own_device:
        if not is_first_process():
            be_quiet()
        job: Callable[..., "TrainingReport | None"]
        if stage == "head":
            job = partial(_train_head, captures or [], config or "small", template_folder=template, dry_run=dry_run)
            job = partial(job, workers=workers, init=init, tensorboard=tensorboard)
        else:
            people = _LATENT_PEOPLE[stage] if simulate else None
            made = partial(_latents, latents, captures or [], people, checkpoint, template, output)
            job = partial(_train_on_latents, stage, made, checkpoint, config or stage)
        report = job(settings or (), output, device=own_device, seconds=seconds or math.inf)
        if report is not None and is_first_process():
            loss = report.last.get("loss", math.nan)
            print(f"{output}: step {report.steps}, {report.seconds:.0f} s, {report.skipped} skipped, loss {loss:.4f}")


def _train_head(
    captures: list[Path],
    config: str,
    settings: "list[str] | tuple[()]",
    output: Path,
    *,
    template_folder: Path | None,
    dry_run: bool,
    device: "torch.device",
    **run: Any,
) -> "TrainingReport | None":
    from headsup_cli.runtime.provenance import record_provenance
    from headsup_cli.template.default import load_template
    from headsup_cli.training.config import Preset
    from headsup_cli.training.cost import estimate_costs
    from headsup_cli.training.trainer import train as run_training

    preset = _load_preset(config, Preset, settings)
    data = _captured(captures, preset, output) if captures else _simulated(preset)
    template = load_template(template_folder)
    if dry_run:
        print("\n".join([f"data: {data.description}", *estimate_costs(preset, template)]))
        return None
    return run_training(
        data.source,
        preset,
        template,
        output,
        device=device,
        provenance=record_provenance(seed=preset.training.seed).to_json() | {"preset": config, "data": data.name},
        held_out=data.held_out if preset.training.validation.every else None,
        **run,
    )


def _simulated(preset: "Preset") -> TrainingData:
    training = preset.training
    size_px = max(stage.config.image_size_px or preset.model.image_size_px for stage in training.plan())
    people = SimulatedPeople(1_000_000 * (training.seed + 1), size_px)
    examples = sum(stage.examples for stage in training.plan())
    return TrainingData(
        f"{examples:,} simulated people, {_VIEWS} views of {3 * size_px // 4} x {size_px} each; "
        f"{training.validation.people} more to validate on",
        "simulated",
        people,
        partial(people.held_out, training.validation),
    )


def _captured(paths: list[Path], preset: "Preset", output: Path) -> TrainingData:
    from headsup_cli.training.captures import CaptureSource, index_captures, split_people

    training, size_px = preset.training, preset.model.image_size_px
    captures = index_captures(paths, output / "index.json")
    seen, held_out = (
        CaptureSource(tuple(part), training.seed, training.validation.camera_share)
        for part in split_people(captures, training.validation)
    )
    frames = sum(len(capture.frames) for capture in captures)
    return TrainingData(
        f"{len(captures):,} captures with {frames:,} frames; {len(seen.captures):,} to train on, "
        f"{len(held_out.captures):,} to validate on",
        f"{len(captures)} captures",
        seen,
        partial(held_out.held_out, training.validation, size_px),
    )


def _train_on_latents(
    stage: Literal["animation", "prior"],
    latents: "Callable[[torch.device], LatentSet]",
    checkpoint: Path | None,
    config: str,
    settings: "list[str] | tuple[()]",
    output: Path,
    *,
    device: "torch.device",
    seconds: float,
) -> "TrainingReport":
    if stage == "animation":
        from headsup_cli.training.animation_stage import AnimationPreset, train_animation

        animation = _load_preset(config, AnimationPreset, settings)
        return train_animation(latents(device), animation, checkpoint, output, device=device, seconds=seconds)
    from headsup_cli.training.prior_stage import PriorPreset, train_prior

    prior = _load_preset(config, PriorPreset, settings)
    return train_prior(latents(device), prior, checkpoint, output, device=device, seconds=seconds)


def _latents(
    file: Path | None,
    captures: list[Path],
    simulated: tuple[int, int, int] | None,
    checkpoint: Path | None,
    template_folder: Path | None,
    output: Path,
    device: "torch.device",
) -> "LatentSet":
    """Read from a file, or encoded from captures or simulated people and kept beside the run."""
    from headsup_cli.batch.subjects import expand_subjects
    from headsup_cli.capture.capture import is_capture
    from headsup_cli.jobs.latents import make_latents, portraits_of_captures, portraits_of_simulated, varied_people
    from headsup_cli.template.default import load_template
    from headsup_cli.training.latents import load_latents, save_latents

    kept = output / "latents.safetensors"
    if file is not None or (kept.exists() and not captures):
        return load_latents(file or kept)
    if captures:
        portraits = portraits_of_captures(expand_subjects(captures, is_capture))
    elif simulated is not None:
        count, expressions, height_px = simulated
        portraits = portraits_of_simulated(varied_people(count), expressions=expressions, height_px=height_px)
    else:
        raise InputError(
            "--latents",
            found="missing",
            expected="a file of latents, or CAPTURES or --simulate to make one of",
            remedy="see docs/training.md",
        )
    template = load_template(template_folder)
    latents = make_latents(portraits, output / "latents", template, checkpoint=checkpoint, device=device)
    save_latents(kept, latents)
    return latents


def _load_preset(name: str, model: type[AnyPreset], settings: "list[str] | tuple[()]") -> AnyPreset:
    from headsup_cli.config_files.yaml_config import load_yaml_config

    path = PRESETS / f"{name}.yaml"
    return load_yaml_config(path if path.is_file() and Path(name).name == name else Path(name), model, settings)
