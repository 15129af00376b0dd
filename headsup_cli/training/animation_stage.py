"""Training of the expression transformer on pairs of latents, the model that encoded them frozen."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from headsup_cli import __version__
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.gaussians.uv_maps import GaussianMaps
from headsup_cli.model.checkpoint import latent_fingerprint, load_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT
from headsup_cli.model.expression import Expression, ExpressionConfig, ExpressionTransformer, save_expression
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.latent_set import LatentSet
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.default import load_template
from headsup_cli.training.config import Schedule
from headsup_cli.training.loop import Terms, TrainingReport, optimise

logger = logging.getLogger(__name__)

_RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)  # penalties tried for the average changes
_PLACES = {"eyes": ("eye",), "brows": ("brow",), "mouth": ("jaw", "mouth", "tongue"), "cheeks": ("cheek", "nose")}
_OFFSET_M, _COLOUR = 0.002, 0.03  # differences of decoded maps that weigh one each


class AnimationTraining(Schedule):
    """Schedule, data and losses."""

    pairs_per_step: PositiveInt = 8
    fainter_share: float = Field(0.3, ge=0, le=1)  # of pairs that are brought nearer to neutral, expression and all
    maps: NonNegativeFloat = 0.1  # weight of the decoded maps' error; 0 saves the decoding
    held_out_share: float = Field(0.05, ge=0, lt=1)  # of people
    validate_every: NonNegativeInt = 500  # steps; 0 is never


class AnimationPreset(StrictModel):
    """A file of `headsup_cli/configs`: the transformer and how it is trained."""

    network: ExpressionConfig = ExpressionConfig()
    training: AnimationTraining = AnimationTraining()


@dataclass(frozen=True)
class ExpressionPairs:
    """Two latents of each person: neutral, and in an expression."""

    neutral: Float[Tensor, "n z q q"]
    posed: Float[Tensor, "n z q q"]
    coefficients: Float[Tensor, "n 52"]

    def __len__(self) -> int:
        return len(self.coefficients)

    @staticmethod
    def of(latents: LatentSet) -> ExpressionPairs:
        """Every latent with an expression beside the (first) neutral one of the same person."""
        neutral_of: dict[int, int] = {}
        subjects, still = latents.subject.tolist(), latents.neutral.tolist()
        for index, subject in enumerate(subjects):
            if still[index]:
                neutral_of.setdefault(subject, index)
        posed = [index for index, subject in enumerate(subjects) if not still[index] and subject in neutral_of]
        neutral = [neutral_of[subjects[index]] for index in posed]
        return ExpressionPairs(latents.latents[neutral], latents.latents[posed], latents.coefficients[posed])

    def __getitem__(self, chosen: Int[Tensor, " m"]) -> ExpressionPairs:
        return ExpressionPairs(self.neutral[chosen], self.posed[chosen], self.coefficients[chosen])

    def to(self, device: torch.device | str) -> ExpressionPairs:
        """The same pairs with their tensors on `device`."""
        return ExpressionPairs(self.neutral.to(device), self.posed.to(device), self.coefficients.to(device))

    @property
    def trust(self) -> Float[Tensor, " n"]:
        """Weights, 1 on average: pairs that lie far apart differ in more than expression, hair that fell otherwise."""
        energy = (self.posed - self.neutral).square().flatten(1).sum(1)
        trust = 1 / (energy + energy.median())
        return trust / trust.mean()

    def by_place(self) -> dict[str, ExpressionPairs]:
        """Those whose expression, by the squares of its coefficients, is for the most part in one place of the face."""
        squares = self.coefficients.square()
        most = 0.5 * squares.sum(1)
        at = {place: [name.startswith(stems) for name in ARKIT_NAMES] for place, stems in _PLACES.items()}
        return {place: self[(squares[:, there].sum(1) > most).nonzero()[:, 0]] for place, there in at.items()}

    def fainter(self, share: Float[Tensor, " n"]) -> ExpressionPairs:
        """Expressions of a share of the strength, for which half the way in latent space is a good guess."""
        posed = self.neutral + share[:, None, None, None] * (self.posed - self.neutral)
        return ExpressionPairs(self.neutral, posed, share[:, None] * self.coefficients)


def train_animation(
    latents: LatentSet,
    config: AnimationPreset,
    checkpoint: Path | None,
    output: Path,
    *,
    device: torch.device,
    seconds: float = math.inf,
) -> TrainingReport:
    """Train F, with Zb ≈ F(Zn, b) and back, or go on with the run that `output` holds.

    Args:
        latents: Of people both neutral and in expressions; coefficients that are all zero say neutral.
        config: Network and schedule.
        checkpoint: Weights that encoded the latents; those that come with headsup by default.
        output: Folder of the run; `model.safetensors` there is what `headsup animate --expression` takes.
        device: Where to train.
        seconds: Stop after this time, finished or not.

    Returns:
        What was done.

    Raises:
        InputError: The latents are another model's, or nobody is there both neutral and in an expression.
    """
    training, held_out = (ExpressionPairs.of(part) for part in latents.divided(config.training.held_out_share))
    if not len(training):
        raise InputError(
            "latents",
            field="coefficients",
            found="nobody both neutral and in an expression",
            expected="two moments of a person at least",
            remedy="encode captures or simulated people with several expressions",
        )
    model = _encoder_of(latents, checkpoint, device)
    objective = _ExpressionObjective(training.to(device), held_out.to(device), config, model, latents)
    return optimise(objective, config.training, output, device=device, seconds=seconds)


def typical_changes(pairs: ExpressionPairs) -> Float[Tensor, "52 z q q"]:
    """What each coefficient does to a latent on average: ridge regression, the penalty chosen by leaving one out.

    Errors without a pair follow from those with it by its leverage (Allen's PRESS, Technometrics 1974).
    """
    root = pairs.trust.double().sqrt()[:, None]
    b, way = root * pairs.coefficients, root * (pairs.posed - pairs.neutral).flatten(1)
    gram = b.T @ b
    best, least = torch.zeros(b.shape[1], way.shape[1]).to(way), math.inf
    for ridge in _RIDGES:
        solver = torch.linalg.solve(gram + ridge * torch.eye(len(gram)).to(gram), b.T)  # [52, n]
        changes = solver @ way
        leverage = (b * solver.T).sum(1, keepdim=True)
        press = float(((way - b @ changes) / (1 - leverage)).square().sum())
        if press < least:
            best, least = changes, press
    return best.float().unflatten(1, pairs.posed.shape[1:])


def explained_share(network: nn.Module, pairs: ExpressionPairs) -> tuple[float, float]:
    """How much of the squared way between neutral and expression the network goes, there and back; 1 is all of it."""
    with torch.no_grad():
        way = _trusted_error(pairs.neutral, pairs.posed, pairs.trust)
        missed = _trusted_error(network(pairs.neutral, pairs.coefficients), pairs.posed, pairs.trust)
        back = network(pairs.posed, pairs.coefficients, "to neutral")
        missed_back = _trusted_error(back, pairs.neutral, pairs.trust)
    return 1 - float(missed / way), 1 - float(missed_back / way)


def _trusted_error(
    found: Float[Tensor, "n z q q"], wanted: Float[Tensor, "n z q q"], trust: Float[Tensor, " n"]
) -> Tensor:
    return ((found - wanted).square().mean((1, 2, 3)) * trust).mean()


class _ExpressionObjective:
    """Both directions at once, in latents and, for one pair of each step, in what they decode to."""

    columns = ("to_expression", "to_neutral", "maps")

    def __init__(
        self,
        pairs: ExpressionPairs,
        held_out: ExpressionPairs,
        config: AnimationPreset,
        model: HeadModel,
        latents: LatentSet,
    ) -> None:
        self.pairs, self.held_out, self.config, self.model = pairs, held_out, config.training, model
        self.people, self.model_hash = len(latents.person.unique()), latents.model_hash
        torch.manual_seed(config.training.seed)
        self.network = ExpressionTransformer(config.network, model.config.latent).to(pairs.coefficients.device)
        self.network.typical.copy_(typical_changes(pairs))
        self.trust = pairs.trust
        self.spread = _trusted_error(pairs.neutral, pairs.posed, self.trust)

    def loss(self, step: int) -> tuple[Tensor, Terms]:
        """See `loop.Objective`."""
        count = self.config.pairs_per_step
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + step)
        chosen = torch.randint(len(self.pairs), (count,), generator=generator)
        share = torch.rand(2, count, generator=generator)
        strength = torch.where(share[0] < self.config.fainter_share, share[1], 1.0).to(self.spread.device)
        chosen = chosen.to(self.spread.device)
        pairs, trust = self.pairs[chosen].fainter(strength), self.trust[chosen]
        posed = self.network(pairs.neutral, pairs.coefficients)
        neutral = self.network(pairs.posed, pairs.coefficients, "to neutral")
        terms = {
            "to_expression": _trusted_error(posed, pairs.posed, trust) / self.spread,
            "to_neutral": _trusted_error(neutral, pairs.neutral, trust) / self.spread,
            "maps": self._maps_error(posed[0], pairs.posed[0]) if self.config.maps else self.spread.new_zeros(()),
        }
        loss = terms["to_expression"] + terms["to_neutral"] + self.config.maps * terms["maps"]
        return loss, {name: float(term.detach()) for name, term in terms.items()}

    def after_step(self, step: int, averaged: nn.Module) -> None:
        """Say how well people are understood who are not trained on; see `loop.Watching`."""
        every = self.config.validate_every
        if every and step % every == 0 and len(self.held_out):
            there, back = explained_share(averaged, self.held_out)
            logger.info("step %d: explains %.0f %% of unseen expressions, %.0f %% back", step, 100 * there, 100 * back)

    def save(self, path: Path, averaged: nn.Module, step: int) -> None:
        """See `loop.Objective`."""
        provenance = {"program": f"headsup {__version__}", "seed": self.config.seed, "steps": step}
        provenance |= {"pairs": len(self.pairs), "people": self.people}
        if len(self.held_out):
            parts = {"all": self.held_out, **self.held_out.by_place()}
            shares = {place: explained_share(averaged, pairs) for place, pairs in parts.items() if len(pairs)}
            provenance["held_out_explained"] = {place: round(there, 3) for place, (there, _) in shares.items()}
            provenance["held_out_explained_back"] = {place: round(back, 3) for place, (_, back) in shares.items()}
            provenance["held_out_pairs"] = {place: len(parts[place]) for place in shares}
        network = ExpressionTransformer(self.network.config, self.network.latent)
        network.load_state_dict(averaged.state_dict())
        save_expression(path, Expression(network, self.model_hash, provenance))

    def _maps_error(self, latent: Float[Tensor, "z q q"], target: Float[Tensor, "z q q"]) -> Tensor:
        """Mean absolute difference of decoded offsets, colours and opacities, each in its own unit."""
        found = self.model.decode(latent)
        with torch.no_grad():
            wanted = self.model.decode(target)
        return sum(
            ((a - b).abs().mean() for a, b in zip(_shown(found), _shown(wanted), strict=True)), latent.new_zeros(())
        )


def _shown(maps: GaussianMaps) -> tuple[Tensor, Tensor, Tensor]:
    """What is seen of maps: place, colour, opacity, in units of differences that weigh the same."""
    return maps.offset / _OFFSET_M, SH_C0 * maps.sh[:, :, 0] / _COLOUR, torch.sigmoid(maps.opacity_logit)


def _encoder_of(latents: LatentSet, checkpoint: Path | None, device: torch.device) -> HeadModel:
    """The model that encoded the latents, frozen."""
    path = checkpoint or DEFAULT_CHECKPOINT
    found = latent_fingerprint(path)
    if found != latents.model_hash:
        raise InputError(
            path,
            found=f"other weights ({found[:12]}) than the latents' ({latents.model_hash[:12]})",
            expected="the weights that encoded the latents",
            remedy="name them with --checkpoint, or encode again",
        )
    return load_checkpoint(checkpoint, load_template(), device).model.requires_grad_(False)
