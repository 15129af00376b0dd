"""How a latent becomes tokens of zero mean and unit spread, and back."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from headsup_cli.model.config import LatentConfig
from headsup_cli.model.latent_set import LatentSet

TokenKind = Literal["components", "patches"]
FEATURES = 32  # principal components in which nearness of people is measured
_OVERSAMPLING = 16


class ComponentSpace(nn.Module):
    """Tokens are groups of whitened principal components: for few people, whose latents fill few dimensions.

    What the components leave over is lost in `tokens`; callers who vary a given latent add it again.
    """

    def __init__(self, latent: LatentConfig, components: int, token_size: int) -> None:
        super().__init__()
        self.grid = (latent.channels, latent.resolution, latent.resolution)
        self.token_size, self.count = token_size, components // token_size
        self.mean: Tensor
        self.basis: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(self.grid))
        self.register_buffer("basis", torch.zeros(components, self.mean.numel()))  # orthonormal rows
        self.register_buffer("spread", torch.ones(components))  # standard deviations, descending

    def fit(self, people: LatentSet, within: int) -> None:
        """Choose components so that expressions, which differ far less than people, have their share.

        Args:
            people: What to describe.
            within: So many components of the differences within persons; the others are of the persons' means.
        """
        flat = people.latents.flatten(1)
        mean = flat.mean(0)
        averages, which = person_means(flat, people.subject)
        between = principal_directions(averages - mean, len(self.basis) - within)
        rest = flat - averages[which]
        rest = rest - (rest @ between.T) @ between
        basis = torch.linalg.qr(torch.cat([between, principal_directions(rest, within)]).T).Q.T  # [k, d]
        inside = (flat - mean) @ basis.T
        variance, rotation = torch.linalg.eigh(inside.T @ inside / len(inside))
        self.mean.copy_(mean.unflatten(0, self.grid))
        self.basis.copy_(rotation.flip(1).T @ basis)
        self.spread.copy_(variance.flip(0).clamp_min(1e-8).sqrt())

    @property
    def weights(self) -> Float[Tensor, "n d"]:
        """What the components count in the loss: as the square root of their spread, 1 on average."""
        weights = self.spread.sqrt()
        return (weights / weights.mean()).unflatten(0, (self.count, self.token_size))

    def tokens(self, latents: Float[Tensor, "b z q q"]) -> Float[Tensor, "b n d"]:
        """Whitened components."""
        flat = (latents - self.mean).flatten(1)
        return (flat @ self.basis.T / self.spread).unflatten(1, (self.count, self.token_size))

    def latents(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b z q q"]:
        """The latents that have these components and nothing else."""
        return self.mean + ((tokens.flatten(1) * self.spread) @ self.basis).unflatten(1, self.grid)


class PatchSpace(nn.Module):
    """Tokens are patches of the grid, as in Peebles and Xie's DiT (ICCV 2023): for latents by the ten thousand."""

    def __init__(self, latent: LatentConfig, token_size: int) -> None:
        super().__init__()
        self.grid = (latent.channels, latent.resolution, latent.resolution)
        self.side = latent.resolution // token_size  # tokens along one side
        self.patch, self.count, self.token_size = token_size, self.side**2, latent.channels * token_size**2
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(self.grid))
        self.register_buffer("spread", torch.ones(latent.channels, 1, 1))

    def fit(self, people: LatentSet, within: int) -> None:
        """Take the mean latent and each channel's spread about it; `within` has no meaning here."""
        self.mean.copy_(people.latents.mean(0))
        self.spread.copy_((people.latents - self.mean).square().mean((0, 2, 3))[:, None, None].sqrt().clamp_min(1e-4))

    @property
    def weights(self) -> Float[Tensor, "n d"]:
        """All patches count the same."""
        return self.spread.new_ones(self.count, self.token_size)

    def tokens(self, latents: Float[Tensor, "b z q q"]) -> Float[Tensor, "b n d"]:
        """Normalised patches, row by row."""
        return F.pixel_unshuffle((latents - self.mean) / self.spread, self.patch).flatten(2).mT

    def latents(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b z q q"]:
        """The grid of these patches."""
        cells = tokens.mT.unflatten(2, (self.side, self.side))
        return self.mean + self.spread * F.pixel_shuffle(cells, self.patch)


class Likeness(nn.Module):
    """Who is like whom: distances between latents in the leading principal components of a crowd.

    Holds the crowd too, so that whoever has the weights can tell whether a sample is one of them.
    """

    def __init__(self, latent: LatentConfig, known: int = 0) -> None:
        super().__init__()
        self.mean: Tensor
        self.basis: Tensor
        self.known: Tensor
        self.nearest_stranger: Tensor
        size = latent.channels * latent.resolution**2
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(FEATURES, size))
        self.register_buffer("known", torch.zeros(known, FEATURES))
        # Distances of people who are not in the crowd to their nearest in it: the least, and the lowest hundredth.
        self.register_buffer("nearest_stranger", torch.zeros(2))

    def fit(self, crowd: Float[Tensor, "n z q q"], strangers: Float[Tensor, "m z q q"]) -> None:
        """Remember a crowd, and how near to it other people come."""
        flat = crowd.flatten(1)
        self.mean.copy_(flat.mean(0))
        self.basis.copy_(principal_directions(flat - self.mean, FEATURES))
        self.known = self.features(crowd)
        if len(strangers):
            apart = self.to_known(strangers)
            self.nearest_stranger.copy_(torch.stack([apart.min(), apart.quantile(0.01)]))

    def features(self, latents: Float[Tensor, "b z q q"]) -> Float[Tensor, "b 32"]:
        """Where latents lie among the crowd's leading components, in the latents' own unit."""
        return (latents.flatten(1) - self.mean) @ self.basis.T

    def to_known(self, latents: Float[Tensor, "b z q q"]) -> Float[Tensor, " b"]:
        """Distance of each to the nearest of the crowd."""
        return torch.cdist(self.features(latents), self.known).min(1).values


def person_means(
    flat: Float[Tensor, "n d"], subject: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "p d"], Int[Tensor, " n"]]:
    """Mean over the rows of each subject, and which mean a row belongs to."""
    _, which, count = subject.unique(return_inverse=True, return_counts=True)
    sums = flat.new_zeros(len(count), flat.shape[1]).index_add(0, which, flat)
    return sums / count[:, None], which


def principal_directions(centred: Float[Tensor, "n d"], count: int) -> Float[Tensor, "k d"]:
    """Orthonormal directions of greatest variance, greatest first (randomised; the same every time).

    Where there are fewer samples than directions, the rest is arbitrary.
    """
    size = min(count + _OVERSAMPLING, *centred.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, _, right = torch.svd_lowrank(centred, q=size, niter=3)
        if size < count:
            filler = torch.randn(centred.shape[1], count - size, device=centred.device)
            right = torch.linalg.qr(torch.cat([right, filler], 1)).Q
    return right[:, :count].T
