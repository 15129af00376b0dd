"""A head's own blendshapes, as the expression transformer imagines them in latent space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.spatial import cKDTree
from torch import Tensor

from headsup_cli.animation.geometric_rig import geometric_rig
from headsup_cli.animation.registration import FaceMarks, MouthMarks
from headsup_cli.animation.rig import RIGID_PARTS, Movement, Paint, Rig
from headsup_cli.animation.sparse_rows import sparse_rows
from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import Head
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.gaussians.uv_maps import GaussianMaps, bind, texel_anchors
from headsup_cli.model.expression import SHAPES, ExpressionTransformer
from headsup_cli.model.head_model import HeadModel
from headsup_cli.template.brow_lift import lifted_blendshapes
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels, texel_positions

_STILL_M = 1e-4  # texels that the latent moves by less do not follow it
_PLAIN = 0.012  # changes of colour and of opacity's logit below this are not seen
_NEIGHBOURS, _ALIKE_M = 8, 0.001  # points that move a Gaussian back; those nearer than this do alike
_OFF_M = 0.015  # from the surface: what lies farther off follows it less, and at twice the distance not at all
_EYES = [index for index, part in enumerate(RIGID_PARTS) if part.startswith("eye")]


def latent_rig(
    head: Head,
    template: Template,
    model: HeadModel,
    transformer: ExpressionTransformer,
    *,
    marks: FaceMarks | None = None,
    moved_share: float = 1.0,
    painted_share: float = 1.0,
) -> Rig:
    """Rig a head by what F makes of its latent for each coefficient alone, decoded once and summed when posing.

    The surface is the decoder's: it moves, and is painted, by the difference between decode(F(Zn, b)) and decode(Zn).
    The detail that the head has beyond its latent rides along: what stands off the decoded surface turns and stretches
    with the template's tangent frames, as in the geometric rig. Eyes and lower teeth are carried rigidly there too.

    Args:
        head: With the latent that `model` gave it.
        template: The one that the head was made with.
        model: Decodes the latent.
        transformer: F.
        marks: Where the head's features are, see `geometric_rig`.
        moved_share: How far the skin follows the latent, the rest of the way the template's blendshapes.
        painted_share: How far the latent's change of colour and opacity is taken over.

    Raises:
        InputError: The head has no latent, or not one of this model, or another template.
    """
    rig = geometric_rig(head, template, marks)
    latent = _latent_of(head, model)
    anchors, decoded = texel_anchors(template, head.maps.resolution), _decoder(model, template, head.maps.resolution)
    surface = bind(decoded(latent), anchors)
    shapes = [bind(decoded(z), anchors) for z in _single_shapes(transformer, latent)]
    return replace(
        rig,
        movement=_movement(rig.movement, surface, shapes, moved_share),
        paint=_paint(rig, surface, shapes, painted_share) if painted_share else rig.paint,
    )


@torch.inference_mode()
def neutralised(
    head: Head,
    coefficients: Float[Tensor, " 52"],
    template: Template,
    model: HeadModel,
    transformer: ExpressionTransformer,
    marks: MouthMarks | None = None,
) -> Head:
    """A head captured in an expression, made neutral: moved by the template's blendshapes, painted by its latent.

    Args:
        head: In the expression, with the latent that `model` gave it.
        coefficients: ARKit's, of that expression.
        template: The one that the head was made with.
        model: Decodes the latent.
        transformer: F, which goes back from (Zb, b) to Zn as well.
        marks: Where the head's mouth is, and the template's in that expression.

    Raises:
        InputError: The head has no latent, or not one of this model.
    """
    latent = _latent_of(head, model)
    still = transformer(latent[None], coefficients[None], "to neutral")[0].clone()
    decoded = _decoder(model, template, head.maps.resolution)
    before, after = decoded(latent), decoded(still)
    painted = replace(
        head.maps,
        offset=_moved_back(head, coefficients, template, marks),
        sh=head.maps.sh + (after.sh - before.sh),
        opacity_logit=head.maps.opacity_logit + (after.opacity_logit - before.opacity_logit),
    )
    return replace(head, maps=painted, latent=still)


def _moved_back(
    head: Head, coefficients: Float[Tensor, " 52"], template: Template, marks: MouthMarks | None
) -> Float[Tensor, "r r 3"]:
    """Offsets of the maps with every Gaussian moved back as the points of the posed template that it lies on.

    Not as its own texel's point: reconstruction puts lips some millimetres beside their texels, see
    `registration.registered`, and teeth that show anywhere. Eyes are sure, and follow their texels.
    """
    anchors, texels = texel_anchors(template, head.maps.resolution), sample_texels(template, head.maps.resolution)
    way = np.tensordot(coefficients.numpy(), lifted_blendshapes(template), 1)
    points, ways = (texel_positions(texels, part)[texels.mask] for part in (template.vertices + way, way))
    part = np.array(template.part_names)[template.face_parts[texels.face[texels.mask]]]
    eyes = np.isin(part, [RIGID_PARTS[index] for index in _EYES])
    seen = points if marks is None else marks.moved(points)
    means = bind(head.maps, anchors).means.numpy()
    apart_m, nearest = cKDTree(seen[~eyes]).query(means, k=_NEIGHBOURS)
    weight = 1 / (apart_m**2 + _ALIKE_M**2)
    moved = (weight[..., None] * ways[~eyes][nearest]).sum(1) / weight.sum(1, keepdims=True)
    moved *= np.clip(2 - apart_m[:, :1] / _OFF_M, 0, 1)
    moved[eyes] = ways[eyes]
    back = anchors.frames.mT @ torch.from_numpy(moved).float()[..., None]
    return head.maps.offset - anchors.scatter(back[..., 0])


def _latent_of(head: Head, model: HeadModel) -> Float[Tensor, "z q q"]:
    wanted = (model.config.latent.channels, *[model.config.latent.resolution] * 2)
    if head.latent is None or tuple(head.latent.shape) != wanted:
        raise InputError(
            f"head {head.subject}",
            field="latent",
            found="missing" if head.latent is None else f"of shape {tuple(head.latent.shape)}",
            expected=f"the latent {wanted} of the weights at hand",
            remedy="reconstruct the head again, or take --rig geometric",
        )
    return head.latent.float()


@torch.inference_mode()
def _single_shapes(
    transformer: ExpressionTransformer, latent: Float[Tensor, "z q q"]
) -> Iterator[Float[Tensor, "z q q"]]:
    """The latent with each coefficient at 1 and the others at 0."""
    for coefficients in torch.eye(SHAPES)[:, None]:
        yield transformer(latent[None], coefficients)[0]


def _decoder(model: HeadModel, template: Template, resolution: int) -> Callable[[Float[Tensor, "z q q"]], GaussianMaps]:
    """What a latent alone describes, at the resolution of a head that may have been refined."""
    anchors = texel_anchors(template, model.config.resolution)

    @torch.inference_mode()
    def decoded(latent: Float[Tensor, "z q q"]) -> GaussianMaps:
        maps = model.decode(latent)
        return maps if maps.resolution == resolution else maps.resampled(anchors, resolution)

    return decoded


def _movement(at: Movement, surface: Gaussians, shapes: list[Gaussians], share: float) -> Movement:
    """The geometric rig's movement with its points drawn to the decoded surface's, a share of the way."""
    count = len(at.anchors)
    texel = np.repeat(np.arange(count), np.diff(at.first))

    def blended() -> Iterator[Float32[np.ndarray, "n 9"]]:
        for index, shape in enumerate(shapes):
            rows = at.shapes == index
            dense = np.zeros((count, 9), np.float32)
            dense[texel[rows]] = at.deltas[rows]
            imagined = (shape.means - surface.means).numpy()
            dense[:, :3] += share * (imagined - dense[:, :3])
            yield dense

    def follows(dense: Float32[np.ndarray, "n 9"]) -> np.ndarray:
        return (np.linalg.norm(dense[:, :3], axis=1) > _STILL_M) | dense[:, 3:].any(1)

    first, names, deltas = sparse_rows(blended(), follows)
    anchors = at.anchors + np.float32(share) * (surface.means.numpy() - at.anchors)
    return replace(at, first=first, shapes=names, deltas=deltas, anchors=anchors)


def _paint(rig: Rig, surface: Gaussians, shapes: list[Gaussians], share: float) -> Paint:
    """What the latent paints, eyes left out: their irises turn with them."""
    skin = ~np.isin(rig.movement.rigid, _EYES)[:, None]

    def changes() -> Iterator[Float32[np.ndarray, "n d"]]:
        for shape in shapes:
            sh = (shape.sh - surface.sh).flatten(1)
            logit = torch.logit(shape.opacities, 1e-4) - torch.logit(surface.opacities, 1e-4)
            yield share * torch.cat([sh, logit[:, None]], 1).numpy() * skin

    def seen(change: Float32[np.ndarray, "n d"]) -> np.ndarray:
        return (np.abs(change[:, :3]).max(1) * SH_C0 > _PLAIN) | (np.abs(change[:, -1]) > 20 * _PLAIN)

    first, names, deltas = sparse_rows(changes(), seen)
    painted = np.flatnonzero(np.diff(first))
    return Paint(painted, np.append(first[painted], first[-1]), names, deltas)
