"""Sets of latents and the file they are kept in (docs/sample.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError
from headsup_cli.runtime.atomic import atomic_write_bytes
from headsup_cli.template.arkit import ARKIT_NAMES

Attributes = Mapping[str, str | float | bool]  # simulation/attributes.py; empty for captures

HELD_OUT_SHARE = 0.2  # of the people: the prior is not trained on them, evaluation compares with them
_NEUTRAL = 0.05  # most that the coefficients of a neutral face add up to
_NAMES = ("latents", "subject", "coefficients")


@dataclass(frozen=True)
class LatentSet:
    """Latents of moments of people, and what is known about them."""

    latents: Float[Tensor, "n z q q"]
    subject: Int[Tensor, " n"]  # the same number is the same person; -1 - s is the mirror image of person s
    coefficients: Float[Tensor, "n 52"]  # ARKit's order (template/arkit.py)
    attributes: tuple[Attributes, ...]
    model_hash: str  # `checkpoint.latent_fingerprint` of the weights that encoded them

    def __len__(self) -> int:
        return len(self.subject)

    def __getitem__(self, chosen: Int[Tensor, " m"] | Bool[Tensor, " n"]) -> LatentSet:
        index = chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen
        return replace(
            self,
            latents=self.latents[index],
            subject=self.subject[index],
            coefficients=self.coefficients[index],
            attributes=tuple(self.attributes[i] for i in index.tolist()),
        )

    @property
    def person(self) -> Int[Tensor, " n"]:
        """Whom the latent shows, in the flesh or in the mirror."""
        return torch.where(self.subject < 0, -1 - self.subject, self.subject)

    @property
    def neutral(self) -> Bool[Tensor, " n"]:
        """Which faces are without expression."""
        return self.coefficients.abs().sum(1) < _NEUTRAL

    def divided(self, share: float = HELD_OUT_SHARE) -> tuple[LatentSet, LatentSet]:
        """All but a share of the people, and that share; nobody, and nobody's mirror image, is in both.

        The division depends on who is there alone, so training and evaluation agree on it.
        """
        people = self.person.unique()
        order = torch.randperm(len(people), generator=torch.Generator().manual_seed(0))
        chosen = torch.isin(self.person, people[order[: round(share * len(people))]])
        return self[~chosen], self[chosen]


def joined(parts: Sequence[LatentSet]) -> LatentSet:
    """Several sets of one model as one."""
    return LatentSet(
        latents=torch.cat([part.latents for part in parts]),
        subject=torch.cat([part.subject for part in parts]),
        coefficients=torch.cat([part.coefficients for part in parts]),
        attributes=tuple(words for part in parts for words in part.attributes),
        model_hash=parts[0].model_hash,
    )


class _Metadata(StrictModel):
    """What the file says beside its tensors."""

    model_hash: str
    attributes: tuple[dict[str, str | float | bool], ...]


def save_latents(path: Path, latents: LatentSet) -> None:
    """Write one safetensors file, atomically: `latents` in half precision, `subject`, `coefficients`, and JSON."""
    tensors = {
        "latents": latents.latents.detach().cpu().half().contiguous(),
        "subject": latents.subject.cpu().contiguous(),
        "coefficients": latents.coefficients.detach().float().cpu().contiguous(),
    }
    metadata = {
        "schema": "headsup-latents/1",
        "content": json.dumps({"model_hash": latents.model_hash, "attributes": [dict(a) for a in latents.attributes]}),
    }
    atomic_write_bytes(path, save(tensors, metadata))


def load_latents(path: Path) -> LatentSet:
    """Read what `save_latents` wrote, in single precision.

    Raises:
        InputError: The file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise _unusable(path, "not there")
    try:
        with safe_open(path, "pt") as file:
            content = _Metadata.model_validate_json((file.metadata() or {}).get("content", ""))
            tensors = {name: file.get_tensor(name) for name in _NAMES}
    except (OSError, SafetensorError, ValidationError) as error:
        raise _unusable(path, f"unusable ({str(error).splitlines()[0]})") from error
    latents, subject, coefficients = (tensors[name] for name in _NAMES)
    count = len(content.attributes)
    shapes = [tuple(tensors[name].shape) for name in _NAMES]
    square = latents.ndim == 4 and latents.shape[2] == latents.shape[3]
    if not square or len(latents) != count or shapes[1:] != [(count,), (count, len(ARKIT_NAMES))]:
        raise _unusable(path, f"with tensors of shapes {shapes} for {count} portraits")
    if not (torch.isfinite(latents).all() and torch.isfinite(coefficients).all()):
        raise _unusable(path, "with values that are not finite")
    return LatentSet(latents.float(), subject.long(), coefficients.float(), content.attributes, content.model_hash)


def _unusable(path: Path, found: str) -> InputError:
    return InputError(path, found=found, expected="a file of latents", remedy="make one with 'headsup train'")
