"""Gaussians held as UV maps of attributes and bound, one a texel, to the surface of a template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.rotations import quat_from_matrix, quat_multiply
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels, texel_frames, texel_positions, texel_sizes

SPLAT_PER_TEXEL = 0.6  # standard deviation at log scale 0, in texels: neighbours meet at 0.7 of their peak
THICKNESS = 0.25  # standard deviation along the normal at log scale 0, relative to the tangential one


@dataclass(frozen=True)
class GaussianMaps:
    """UV maps of Gaussian attributes, relative to the surface they will be bound to.

    Relative attributes keep their meaning when the template is posed or the map is resampled.
    """

    offset: Float[Tensor, "r r 3"]  # metres from the texel's point, in its tangent frame (along u, along v, outward)
    log_scale: Float[Tensor, "r r 3"]  # natural log, relative to the texel's size on the template
    rotation: Float[Tensor, "r r 4"]  # wxyz quaternion relative to the tangent frame, need not be unit
    opacity_logit: Float[Tensor, "r r 1"]
    sh: Float[Tensor, "r r k 3"]  # coefficients in the head frame, degree 1 by default

    @property
    def resolution(self) -> int:
        """Texels along one side."""
        return self.offset.shape[0]

    def map(self, function: Callable[[Tensor], Tensor]) -> GaussianMaps:
        """The maps with `function` applied to each attribute tensor."""
        return GaussianMaps(*(function(getattr(self, field.name)) for field in fields(self)))

    def tensors(self) -> dict[str, Tensor]:
        """Attribute tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def resampled(self, anchors: TexelAnchors, resolution: int) -> GaussianMaps:
        """The maps at another resolution, interpolated bilinearly inside the islands only.

        Args:
            anchors: Those of the present resolution; texels outside their mask carry no meaning and no weight.
            resolution: Texels along one side of the result.
        """
        weight = anchors.mask.to(self.offset)[..., None]  # [r, r, 1]
        norm = _resize(weight, resolution)  # [q, q, 1]
        bare = template_maps(resolution, sh_degree=int(self.sh.shape[2] ** 0.5) - 1).tensors()

        def resized(name: str, attribute: Tensor) -> Tensor:
            mean = _resize(attribute.flatten(2) * weight, resolution) / norm.clamp_min(1e-4)
            fallback = bare[name].to(attribute).flatten(2)
            return torch.where(norm > 1e-4, mean, fallback).unflatten(2, attribute.shape[2:])

        return GaussianMaps(**{name: resized(name, attribute) for name, attribute in self.tensors().items()})


@dataclass(frozen=True)
class TexelAnchors:
    """Where the texels inside the islands lie on a (posed) template; one Gaussian each."""

    mask: Bool[Tensor, "r r"]
    index: Int[Tensor, " n"]  # of the n texels inside, into the flattened map
    positions: Float[Tensor, "n 3"]  # metres, head frame
    frames: Float[Tensor, "n 3 3"]  # columns: along u, along v, outward normal
    quats: Float[Tensor, "n 4"]  # the same rotations, wxyz
    sizes: Float[Tensor, "n 2"]  # metres spanned by one texel along u and v

    @property
    def resolution(self) -> int:
        """Texels along one side."""
        return self.mask.shape[0]

    def __len__(self) -> int:
        return self.index.shape[0]

    def to(self, device: torch.device | str) -> TexelAnchors:
        """The same anchors with their tensors on `device`."""
        return TexelAnchors(*(getattr(self, field.name).to(device) for field in fields(self)))

    def gather(self, attribute: Float[Tensor, "r r ..."]) -> Float[Tensor, "n ..."]:
        """The values of a map at the texels inside the islands."""
        return attribute.flatten(0, 1).index_select(0, self.index)

    def scatter(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "r r ..."]:
        """A map with `values` inside the islands and zero elsewhere."""
        full = values.new_zeros(self.resolution**2, *values.shape[1:]).index_copy(0, self.index, values)
        return full.unflatten(0, (self.resolution, self.resolution))


def texel_anchors(template: Template, resolution: int, vertices: Float[Tensor, "v 3"] | None = None) -> TexelAnchors:
    """Anchors of every texel on the template, neutral or with the given vertices.

    Args:
        template: The surface and its UV layout.
        resolution: Texels along one side.
        vertices: Posed vertices in the head frame, metres; the neutral ones by default.
    """
    texels = sample_texels(template, resolution)
    points = template.vertices if vertices is None else vertices.detach().cpu().numpy()
    mask = torch.from_numpy(texels.mask.copy())
    index = mask.flatten().nonzero()[:, 0]

    def inside(array: object) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32).flatten(0, 1)[index]

    frames = inside(texel_frames(template, texels, points))
    return TexelAnchors(
        mask=mask,
        index=index,
        positions=inside(texel_positions(texels, points)),
        frames=frames,
        quats=quat_from_matrix(frames),
        sizes=inside(texel_sizes(template, texels, points)),
    )


def bind(maps: GaussianMaps, anchors: TexelAnchors) -> Gaussians:
    """The Gaussians that the maps describe on a template in the pose of `anchors`.

    Args:
        maps: Attributes relative to the surface.
        anchors: Texels of the same resolution on the posed template.

    Returns:
        n Gaussians in the head frame, one for each texel inside the islands.
    """
    offset = anchors.gather(maps.offset)  # [n, 3]
    tangential = anchors.sizes * SPLAT_PER_TEXEL  # [n, 2]
    normal = tangential.prod(-1, keepdim=True).sqrt() * THICKNESS  # [n, 1]
    return Gaussians(
        means=anchors.positions + (anchors.frames @ offset[..., None])[..., 0],
        quats=quat_multiply(anchors.quats, anchors.gather(maps.rotation)),
        scales=torch.cat([tangential, normal], -1) * anchors.gather(maps.log_scale).exp(),
        opacities=torch.sigmoid(anchors.gather(maps.opacity_logit)[..., 0]),
        sh=anchors.gather(maps.sh),
    )


def template_maps(resolution: int, *, sh_degree: int = 1) -> GaussianMaps:
    """Maps of the bare template: grey, nearly opaque, exactly on the surface."""
    shape = (resolution, resolution)
    rotation = torch.zeros(*shape, 4)
    rotation[..., 0] = 1.0
    return GaussianMaps(
        offset=torch.zeros(*shape, 3),
        log_scale=torch.zeros(*shape, 3),
        rotation=rotation,
        opacity_logit=torch.full((*shape, 1), 3.0),
        sh=torch.zeros(*shape, (sh_degree + 1) ** 2, 3),
    )


def _resize(image: Float[Tensor, "r r c"], resolution: int) -> Float[Tensor, "q q c"]:
    """Bilinear resampling about texel centres; downsampling averages, so nothing aliases."""
    planes = image.permute(2, 0, 1)[None]  # [1, c, r, r]
    size = (resolution, resolution)
    if resolution < image.shape[0]:
        return torch.nn.functional.adaptive_avg_pool2d(planes, size)[0].permute(1, 2, 0)
    return torch.nn.functional.interpolate(planes, size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
