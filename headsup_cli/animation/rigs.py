"""The kinds of rig, by name, and the weights that they need."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from headsup_cli.animation.geometric_rig import geometric_rig
from headsup_cli.animation.latent_rig import latent_rig
from headsup_cli.animation.registration import FaceMarks
from headsup_cli.animation.rig import Rig
from headsup_cli.errors import InputError
from headsup_cli.gaussians.head import Head
from headsup_cli.model.checkpoint import Checkpoint, latent_fingerprint, load_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT, expression_weights
from headsup_cli.model.expression import ExpressionTransformer, load_expression
from headsup_cli.template.template import Template

RigKind = Literal["geometric", "latent", "blend"]


def rigged(
    head: Head,
    template: Template,
    kind: RigKind,
    *,
    checkpoint: Path | None = None,
    expression: Path | None = None,
    marks: FaceMarks | None = None,
) -> Rig:
    """A head ready to be posed.

    Args:
        head: Any for the geometric rig; for the others one that `checkpoint` reconstructed.
        template: The one that it was made with.
        kind: By the template's blendshapes; by the latent; or moved by the former and painted by the latter.
        checkpoint: Weights that gave the head its latent; those that come with headsup by default.
        expression: Weights of the expression transformer; by default as `expression_weights` finds them.
        marks: Where the head's features are, see `geometric_rig`.

    Raises:
        InputError: The weights are not there or do not belong together, or the head is not theirs.
    """
    if kind == "geometric":
        return geometric_rig(head, template, marks)
    transformer, loaded = expression_transformer(checkpoint, expression), load_checkpoint(checkpoint, template)
    _check_made_by(head, loaded, (checkpoint or DEFAULT_CHECKPOINT).name)
    share = 1.0 if kind == "latent" else 0.0
    return latent_rig(head, template, loaded.model, transformer, marks=marks, moved_share=share)


def expression_transformer(checkpoint: Path | None, expression: Path | None = None) -> ExpressionTransformer:
    """F, of which is known that it moves the latents of these weights.

    Args:
        checkpoint: The weights; those that come with headsup by default.
        expression: Weights of F; by default as `expression_weights` finds them.

    Raises:
        InputError: There are none, or they are for other weights.
    """
    weights, path = checkpoint or DEFAULT_CHECKPOINT, expression or expression_weights(checkpoint)
    learned, found = load_expression(path), latent_fingerprint(weights)
    if learned.model_hash != found:
        raise InputError(
            path,
            field="model_hash",
            found=learned.model_hash[:12],
            expected=f"{found[:12]}, the fingerprint of {weights.name}",
            remedy="train it on latents of these weights with 'headsup train --stage animation', or go without it",
        )
    return learned.network


def _check_made_by(head: Head, loaded: Checkpoint, name: str) -> None:
    made_by = head.provenance.get("checkpoint")
    if made_by is not None and dict(made_by) != dict(loaded.provenance):
        raise InputError(
            f"head {head.subject}",
            field="latent",
            found="of other weights",
            expected=f"one of {name}",
            remedy="name its weights with --checkpoint, reconstruct it again, or take --rig geometric",
        )
