"""What each part of the model is worth: variants of the preset `tiny`, each trained equally long on the same people.

    python benchmarks/ablation.py --seconds 600 -o runs/ablation

Prints a table of foreground PSNR (and of what the latent alone gives) on people never trained on and cameras that the
model is not given, for 2, 4 and 8 input views, and above what an average head gives (the decoder on the mean latent).
People are simulated first and kept in memory. All variants train at once, each in a process of its own with one thread:
what else the machine does then slows all of them alike, and equal time is equal work.
"""

import argparse
import time
from pathlib import Path

import numba
import torch
from torch import multiprocessing

from headsup_cli.commands.train import PRESETS, SimulatedPeople
from headsup_cli.config_files.yaml_config import load_yaml_config
from headsup_cli.gaussians.uv_maps import bind, texel_anchors
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.model.head_model import HeadModel
from headsup_cli.rendering.render import render
from headsup_cli.template.default import load_template
from headsup_cli.training.config import Preset
from headsup_cli.training.dataset import TrainingExample, TrainingSubject, held_out_example
from headsup_cli.training.head_objective import HeadObjective
from headsup_cli.training.loop import optimise

VARIANTS: dict[str, dict[str, object]] = {
    "projected": {},
    "projected, no feedback": {"feedback": None},
    "projected, no feedback, no detail map": {"feedback": None, "detail": None},
    "projected, no position prior": {"prior": False},
    "global": {"attention": "global"},
    "global, no feedback": {"attention": "global", "feedback": None},
    "global, no feedback, no detail map": {"attention": "global", "feedback": None, "detail": None},
}
INPUT_VIEWS = (2, 4, 8)
HELD_OUT_VIEWS = 4
BATCH = 4


class CachedPeople:
    """So many simulated people again and again."""

    def __init__(self, count: int, seed: int, height_px: int) -> None:
        people = SimulatedPeople(seed, height_px)
        self.people = [people(index) for index in range(count)]

    def __call__(self, index: int) -> TrainingSubject:
        """See `dataset.SubjectSource`."""
        return self.people[index % len(self.people)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="of training for each variant")
    parser.add_argument("--people", type=int, default=200, help="to train on")
    parser.add_argument("--held-out", type=int, default=16, help="people to measure on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs")
    arguments = parser.parse_args()
    preset = load_yaml_config(PRESETS / "tiny.yaml", Preset)
    height_px = preset.model.encoder.image_size_px
    people = CachedPeople(arguments.people, 1_000_000, height_px)
    held_out = CachedPeople(arguments.held_out, 900_000_000, height_px).people
    header = " | ".join(f"{count} views" for count in INPUT_VIEWS)
    print(f"| variant | steps | {header} | latent alone | average head |\n|---|---|{'---|' * (len(INPUT_VIEWS) + 2)}")
    jobs = [(name, preset, people, held_out, arguments.output, arguments.seconds) for name in VARIANTS]
    with multiprocessing.get_context("spawn").Pool(len(jobs)) as pool:
        for row in pool.imap(row_of, jobs):
            print(row, flush=True)


def row_of(job: tuple[str, Preset, CachedPeople, list[TrainingSubject], Path, float]) -> str:
    """Train a variant and measure it: a line of the table."""
    name, preset, people, held_out, output, seconds = job
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    folder = output / name.replace(", ", "-").replace(" ", "-")
    model, steps = trained(preset, VARIANTS[name], people, folder, seconds)
    scores = [measured(model, examples(held_out, count)) for count in INPUT_VIEWS]
    cells = " | ".join(f"{score['full']:.2f}" for score in scores)
    return f"| {name} | {steps} | {cells} | {scores[-1]['latent']:.2f} | {scores[-1]['average']:.2f} |"


def trained(
    preset: Preset, changes: dict[str, object], people: CachedPeople, folder: Path, seconds: float
) -> tuple[HeadModel, int]:
    """A variant after so many seconds, and how many steps that were."""
    model_config = preset.model.model_copy(update={k: v for k, v in changes.items() if k != "prior"})
    training = preset.training.model_copy(
        update={
            "steps": 100_000,  # never reached: a constant rate after the warm-up, the same for all
            "subjects_per_step": BATCH,
            "learning_rate": 1e-3,
            "input_views": (2, 8),
            "ema_decay": 0.99,
            "checkpoint_every": 100_000,
        }
    )
    template = load_template()
    torch.manual_seed(0)
    model = HeadModel(model_config, template)
    if not changes.get("prior", True):
        without_prior(model)
    variant = Preset(model=model_config, training=training)
    objective = HeadObjective(model, variant, template, people, workers=0, provenance={})
    report = optimise(objective, training, folder, device=torch.device("cpu"), seconds=seconds)
    return model.eval(), report.steps


def without_prior(model: HeadModel) -> None:
    """Leave the tokens to learn where they are."""
    for layer in (*(stage.position for stage in model.fusion.stages), model.decoder.position):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        layer.requires_grad_(False)


def examples(people: list[TrainingSubject], inputs: int) -> list[TrainingExample]:
    """The same held-out cameras whatever the number of inputs."""
    order = torch.randperm(len(people[0].cameras), generator=torch.Generator().manual_seed(0))
    return [held_out_example(person[order], inputs=inputs, held_out=HELD_OUT_VIEWS) for person in people]


@torch.no_grad()
def measured(model: HeadModel, examples: list[TrainingExample]) -> dict[str, float]:
    """Foreground PSNR of the whole model, of the latent alone, and of the mean latent."""
    anchors = texel_anchors(load_template(), model.config.resolution)
    predictions = [model(example.inputs) for example in examples]
    average = model.decode(torch.stack([prediction.latent for prediction in predictions]).mean(0))
    found: dict[str, list[float]] = {"full": [], "latent": [], "average": []}
    for prediction, example in zip(predictions, examples, strict=True):
        targets = example.targets
        for name, maps in (("full", prediction.maps), ("latent", prediction.latent_maps), ("average", average)):
            picture = render(bind(maps, anchors), targets.cameras).rgb
            found[name] += psnr(picture, targets.rgb, (targets.mask[..., 0] > 0.5).float()).tolist()
    return {name: sum(values) / len(values) for name, values in found.items()}


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"\n{(time.monotonic() - started) / 60:.0f} minutes")
