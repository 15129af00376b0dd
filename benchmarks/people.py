"""Quality of a forward pass on simulated people never trained on, by the number of views and by group.

    python benchmarks/people.py [--people 64] [--checkpoint FILE]

Every person is new (seeds far from those of training), half of them with an expression, in drawn light, before 24
drawn cameras around the head, 375x500: eight are withheld, the others are given, or 8, 4 and 2 of them. Prints tables
in Markdown: foreground PSNR (mask > 0.5, on black, mean over pictures and then people) with what the latent alone
gives, what the average head gives (the decoder on the mean latent) and how much of the foreground is left uncovered
(alpha below 0.5); then the same for thirds by skin tone (melanin) and by age, and for people with and without hair.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.uv_maps import GaussianMaps, TexelAnchors, bind, texel_anchors
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.model.checkpoint import load_checkpoint
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import render
from headsup_cli.simulation.attributes import attributes
from headsup_cli.simulation.body.expressions import sample_expression
from headsup_cli.simulation.drawing.lighting import sample_lamps
from headsup_cli.simulation.drawing.shading import render_mesh
from headsup_cli.simulation.drawing.strands import sample_footprint_m
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig.rig import sample_cameras
from headsup_cli.template.default import load_template

VIEWS, WITHHELD, WIDTH_PX, HEIGHT_PX, SUPERSAMPLING = 24, 8, 375, 500, 2
GIVEN = (2, 4, 8, 16)
SEED = 0x9E091E
HAIRLESS = ("bald", "shaved")


@dataclass(frozen=True)
class Scores:
    """Of one person: decibels, and the share of the foreground left uncovered."""

    words: dict[str, str | float | bool]
    by_views: dict[int, float]
    latent: float
    uncovered: float
    code: Tensor  # the latent
    withheld: Views


def simulated(number: int) -> tuple[Views, dict[str, str | float | bool]]:
    """A person before all cameras, which come in random order."""
    rng = np.random.default_rng([SEED, number])
    person = sample_person(rng, departure=1.0)
    expression = sample_expression(rng) if number % 2 else {}
    lamps, cameras = sample_lamps(rng), sample_cameras(rng, VIEWS, WIDTH_PX, HEIGHT_PX)
    mesh = lit_mesh(person, posed_vertices(person, expression), lamps, sample_footprint_m(cameras, SUPERSAMPLING))
    rgb, alpha = render_mesh(mesh, person.paint, cameras, SUPERSAMPLING, np.ones((VIEWS, 3)))
    single = Cameras(cameras.cam_from_world.float(), cameras.K.float(), WIDTH_PX, HEIGHT_PX)
    views = Views(torch.from_numpy(rgb), torch.from_numpy(alpha)[..., None], single, masked=True)
    return views[torch.from_numpy(rng.permutation(VIEWS))], attributes(person)


@torch.no_grad()
def quality(maps: GaussianMaps, anchors: TexelAnchors, views: Views) -> tuple[float, float]:
    """Mean foreground PSNR, and the share of the foreground that is left uncovered."""
    drawn = render(bind(maps, anchors), views.cameras)
    inside = views.mask[..., 0] > 0.5
    uncovered = ((drawn.alpha[..., 0] < 0.5) & inside).sum() / inside.sum()
    return float(psnr(drawn.rgb.clamp(0, 1), views.rgb, inside.float()).mean()), float(uncovered)


@torch.no_grad()
def scored(number: int, model: HeadModel, anchors: TexelAnchors) -> Scores:
    """Simulate a person, reconstruct it from 2 to 16 views, compare with those withheld."""
    views, words = simulated(number)
    withheld, given = views[:WITHHELD], views[WITHHELD:]
    predictions = {count: model(given[:count]) for count in GIVEN}
    most = predictions[GIVEN[-1]]
    return Scores(
        words=words,
        by_views={count: quality(found.maps, anchors, withheld)[0] for count, found in predictions.items()},
        latent=quality(most.latent_maps, anchors, withheld)[0],
        uncovered=quality(most.maps, anchors, withheld)[1],
        code=most.latent,
        withheld=withheld,
    )


def thirds(people: Sequence[Scores], name: str, labels: tuple[str, str, str]) -> dict[str, list[Scores]]:
    """People divided by a number into three groups of one size."""
    ordered = sorted(people, key=lambda person: float(person.words[name]))
    cuts = [round(len(people) * share / 3) for share in range(4)]
    return {label: ordered[low:high] for label, (low, high) in zip(labels, pairwise(cuts), strict=True)}


def mean(people: Sequence[Scores], value: Callable[[Scores], float]) -> float:
    return float(np.mean([value(person) for person in people])) if people else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=64)
    parser.add_argument("--checkpoint", type=Path, help="the weights that ship, by default")
    arguments = parser.parse_args()
    template = load_template()
    model = load_checkpoint(arguments.checkpoint, template).model
    anchors = texel_anchors(template, model.config.resolution)
    people = [scored(number, model, anchors) for number in range(arguments.people)]
    average = model.decode(torch.stack([person.code for person in people]).mean(0))
    floor = float(np.mean([quality(average, anchors, person.withheld)[0] for person in people]))
    print("| | people | " + " | ".join(f"{count} views" for count in GIVEN) + " | latent alone | uncovered |")
    print("|---|---|" + "---|" * (len(GIVEN) + 2))
    has_hair = [person.words["hair"] not in HAIRLESS for person in people]
    groups = {
        "all": people,
        **thirds(people, "melanin", ("lightest third", "middle third", "darkest third")),
        **thirds(people, "age_years", ("youngest third", "middle third by age", "oldest third")),
        "with hair": [person for person, hair in zip(people, has_hair, strict=True) if hair],
        "bald or shaved": [person for person, hair in zip(people, has_hair, strict=True) if not hair],
    }
    for name, group in groups.items():
        cells = [f"{mean(group, lambda person, count=count: person.by_views[count]):.2f}" for count in GIVEN]
        cells += [f"{mean(group, lambda p: p.latent):.2f}", f"{100 * mean(group, lambda p: p.uncovered):.1f} %"]
        print(f"| {name} | {len(group)} | " + " | ".join(cells) + " |")
    print(
        f"\naverage head: {floor:.2f} dB; worst person: {min(person.by_views[GIVEN[-1]] for person in people):.2f} dB"
    )


if __name__ == "__main__":
    main()
