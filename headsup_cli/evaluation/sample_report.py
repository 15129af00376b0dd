"""Whether generated heads are as people are, all kinds of them, and nobody in particular (docs/sample.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError
from headsup_cli.evaluation.latent_distribution import density_and_coverage, frechet_distance, nearest_distances
from headsup_cli.gaussians.head import Head, read_head
from headsup_cli.gaussians.head_folder import is_head
from headsup_cli.gaussians.uv_maps import GaussianMaps, TexelAnchors, bind, texel_anchors
from headsup_cli.model.checkpoint import latent_fingerprint, load_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT, LatentConfig
from headsup_cli.model.latent_set import LatentSet, load_latents
from headsup_cli.model.latent_space import Likeness, principal_directions
from headsup_cli.rendering.render import render
from headsup_cli.runtime.progress import progress
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template

_PICTURE_PX, _CELLS = 64, 8
_PICTURE_FEATURES = 32
_LEAST = 10  # heads and held-out people for figures that mean anything


class FrechetComparison(StrictModel):
    """Distance of samples to held-out people, and what it means."""

    samples_to_people: float
    people_to_people: float  # between two halves of the held-out people, of as many portraits
    ratio: float  # 1: as near as people are


class SampleReport(StrictModel, populate_by_name=True):
    """What `headsup evaluate --samples` finds; distances are in the latents' own unit."""

    schema_: Literal["headsup-sample-report/1"] = Field(default="headsup-sample-report/1", alias="schema")
    samples: int
    training_people: int
    held_out_people: int
    compared: int  # portraits in each crowd of the Fréchet distances
    latents: FrechetComparison
    pictures: FrechetComparison | None  # None where the weights that made the latents are not at hand
    density: float
    coverage: float
    nearest_sample: float  # least distance of a sample to a training person
    nearest_held_out: float  # least distance of a held-out person to a training person
    nearest_sample_median: float
    nearest_held_out_median: float
    memorised: tuple[str, ...]  # heads nearer to a training person than 99 % of held-out people are
    nearest_person: dict[str, int]  # for each head, who that is: a number of the latents' `subject`

    def lines(self) -> list[str]:
        """The report for people."""
        figures = [
            f"{self.samples} samples against {self.held_out_people} held-out people",
            _fraction("Fréchet distance of latents", self.latents),
            f"coverage {self.coverage:.2f}, density {self.density:.2f}",
            f"nearest training person: samples {self.nearest_sample:.3g} (median {self.nearest_sample_median:.3g}),"
            f" held-out people {self.nearest_held_out:.3g} (median {self.nearest_held_out_median:.3g})",
        ]
        if self.pictures is not None:
            figures.insert(2, _fraction("Fréchet distance of pictures", self.pictures))
        if self.memorised:
            figures.append(f"like a training person: {', '.join(self.memorised)}")
        return figures


def evaluate_samples(
    samples: Path, train: Path, *, checkpoint: Path | None = None, template: Template | None = None
) -> SampleReport:
    """Compare generated heads with the people that their prior was trained on, and with those held out.

    Args:
        samples: A folder that `headsup sample` wrote.
        train: The latents that the prior was trained with; the held-out people are among them (`LatentSet.divided`).
        checkpoint: The weights that decode them; those that ship with headsup by default.
        template: What they lie on; the default one by default.

    Raises:
        InputError: There are too few heads or people, or heads without latents.
    """
    names, heads = _read_heads(samples)
    everybody = load_latents(train)
    _check(samples, heads, everybody)
    made = torch.stack([head.latent for head in heads if head.latent is not None])
    report = latent_report(names, made, everybody, source=train)
    pictures = _picture_comparison(heads, _strangers(everybody), report.compared, checkpoint, template)
    return report.model_copy(update={"pictures": pictures})


def latent_report(
    names: Sequence[str], made: Float[Tensor, "n z q q"], everybody: LatentSet, *, source: object = "latents"
) -> SampleReport:
    """As `evaluate_samples`, of latents without heads.

    Raises:
        InputError: There are too few held-out people; names `source`.
    """
    people, strangers = everybody.divided()[0], _strangers(everybody)
    if len(strangers.person.unique()) < _LEAST:
        raise InputError(
            source,
            found=f"with {len(strangers.person.unique())} held-out people",
            expected=f"at least {_LEAST}, a fifth of all",
            remedy="encode more people",
        )
    channels, resolution = made.shape[1:3]
    likeness = Likeness(LatentConfig(channels=channels, resolution=resolution))
    likeness.fit(people.latents, strangers.latents)
    fakes, real, known = (likeness.features(x) for x in (made, strangers.latents, people.latents))
    density, coverage = density_and_coverage(real, fakes)
    near, who = nearest_distances(fakes, known)
    near_held_out, _ = nearest_distances(real, known)
    least, hundredth = likeness.nearest_stranger.tolist()
    halves = _halves(strangers)
    count = min(len(fakes), *(int(half.sum()) for half in halves))
    return SampleReport(
        samples=len(made),
        training_people=len(people.person.unique()),
        held_out_people=len(strangers.person.unique()),
        compared=count,
        latents=_frechet(fakes, real, halves, count),
        pictures=None,
        density=density,
        coverage=coverage,
        nearest_sample=float(near.min()),
        nearest_held_out=least,
        nearest_sample_median=float(near.median()),
        nearest_held_out_median=float(near_held_out.median()),
        memorised=tuple(name for name, apart in zip(names, near.tolist(), strict=True) if apart < hundredth),
        nearest_person={name: int(people.subject[i]) for name, i in zip(names, who.tolist(), strict=True)},
    )


def _read_heads(folder: Path) -> tuple[list[str], list[Head]]:
    found = sorted(path for path in folder.iterdir() if is_head(path)) if folder.is_dir() else []
    heads = [read_head(path) for path in progress(found, "reading heads")]
    return [path.name for path in found], heads


def _check(samples: Path, heads: Sequence[Head], everybody: LatentSet) -> None:
    shapes = {None if head.latent is None else head.latent.shape for head in heads}
    if len(heads) < _LEAST or shapes != {everybody.latents.shape[1:]}:
        raise InputError(
            samples,
            found=f"with {len(heads)} heads of latents {sorted(map(str, shapes))}",
            expected=f"at least {_LEAST} heads with latents of shape {tuple(everybody.latents.shape[1:])}",
            remedy="give a folder that headsup sample wrote with the weights that made these latents",
        )


def _strangers(everybody: LatentSet) -> LatentSet:
    """Neutral faces of the people whom the prior was not trained on."""
    held_out = everybody.divided()[1]
    return held_out[held_out.neutral]


def _halves(strangers: LatentSet) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of held-out people."""
    people = strangers.person.unique()
    first = torch.isin(strangers.person, people[::2])
    return first, ~first


def _frechet(
    fakes: Float[Tensor, "n d"], real: Float[Tensor, "m d"], halves: tuple[Tensor, Tensor], count: int
) -> FrechetComparison:
    """Mean over both halves, all crowds of the same size."""
    one, other = (real[half][:count] for half in halves)
    samples = (frechet_distance(fakes[:count], one) + frechet_distance(fakes[:count], other)) / 2
    people = frechet_distance(one, other)
    return FrechetComparison(samples_to_people=samples, people_to_people=people, ratio=samples / max(people, 1e-12))


def _picture_comparison(
    heads: Sequence[Head], strangers: LatentSet, count: int, checkpoint: Path | None, template: Template | None
) -> FrechetComparison | None:
    """The same on colours of small pictures, where the latents can be decoded here."""
    weights = checkpoint or DEFAULT_CHECKPOINT
    if not weights.is_file() or latent_fingerprint(weights) != strangers.model_hash:
        return None
    template = template or load_template()
    model = load_checkpoint(weights, template).model
    anchors = texel_anchors(template, model.config.resolution)
    shown = torch.cat([half.nonzero()[:count, 0] for half in _halves(strangers)])
    fakes = _looks([head.maps for head in heads[:count]], anchors)
    with torch.inference_mode():
        real = _looks([model.decode(latent) for latent in strangers.latents[shown]], anchors)
    basis = principal_directions(real - real.mean(0), min(_PICTURE_FEATURES, real.shape[1]))
    first = torch.arange(len(shown)) < len(shown) // 2
    return _frechet(fakes @ basis.T, real @ basis.T, (first, ~first), count)


@torch.no_grad()
def _looks(heads: Sequence[GaussianMaps], anchors: TexelAnchors) -> Float[Tensor, "n d"]:
    """Colours of heads on grey from in front and from the side, averaged over 8 x 8 cells."""
    cameras = orbit(8, _PICTURE_PX, _PICTURE_PX, view_height_m=0.4)[[0, 1]]
    grey = torch.full((3,), 0.5)
    pictures = [render(bind(maps, anchors), cameras, background=grey).rgb for maps in progress(heads, "drawing")]
    cells = torch.stack(pictures).flatten(0, 1).permute(0, 3, 1, 2)  # [n 2, 3, h, w]
    return torch.nn.functional.adaptive_avg_pool2d(cells, _CELLS).flatten(1).unflatten(0, (-1, 2)).flatten(1)


def _fraction(what: str, comparison: FrechetComparison) -> str:
    return (
        f"{what}: samples to people {comparison.samples_to_people:.3g}, "
        f"people to people {comparison.people_to_people:.3g}, ratio {comparison.ratio:.2f}"
    )
