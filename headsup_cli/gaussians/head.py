"""A head on disk: a folder with the native head file and a PLY (docs/head-format.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from headsup_cli.errors import InputError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head_folder import (
    HEAD_FILE,
    MAPS_FILE,
    PLY_FILE,
    HeadFile,
    is_head,
    read_head_file,
)
from headsup_cli.gaussians.ply import read_ply, write_ply
from headsup_cli.gaussians.uv_maps import GaussianMaps, bind, texel_anchors
from headsup_cli.runtime.atomic import atomic_write_bytes, atomic_write_text
from headsup_cli.template.template import Template


@dataclass(frozen=True)
class Head:
    """One reconstructed, generated or animated head."""

    subject: str
    maps: GaussianMaps
    template: str  # name of the template that the maps lie on
    template_sha256: str
    rig_from_head: Float64[np.ndarray, "4 4"]  # similarity: head frame in metres -> rig's world in the rig's units
    latent: Float[Tensor, "z q q"] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def gaussians(self, template: Template) -> Gaussians:
        """The head's Gaussians in the head frame, on the neutral template.

        Raises:
            InputError: `template` is not the one that the maps were made for.
        """
        if template.sha256 != self.template_sha256:
            raise InputError(
                f"head {self.subject}",
                field="template",
                found=f"{self.template} ({self.template_sha256[:12]})",
                expected=f"{template.name} ({template.sha256[:12]})",
                remedy="name the template that it was made with by HEADSUP_TEMPLATE",
            )
        return bind(self.maps, texel_anchors(template, self.maps.resolution))


def write_head(head: Head, folder: Path, template: Template) -> None:
    """Write a head into an existing folder; `head.json` comes last, so its presence says that the rest is there.

    Callers that may replace another head build the folder with `runtime.atomic.atomic_directory`.
    """
    gaussians = head.gaussians(template)
    write_ply(folder / PLY_FILE, gaussians, comments=(f"headsup head {head.subject}",))
    tensors = head.maps.tensors() | ({} if head.latent is None else {"latent": head.latent})
    stored = {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
    atomic_write_bytes(folder / MAPS_FILE, save(stored))  # safetensors' own writer makes files that others cannot read
    file = HeadFile(
        schema_="headsup-head/1",
        subject=head.subject,
        template=head.template,
        template_sha256=head.template_sha256,
        resolution=head.maps.resolution,
        rig_from_head=head.rig_from_head.tolist(),
        provenance=dict(head.provenance),
    )
    atomic_write_text(folder / HEAD_FILE, file.model_dump_json(by_alias=True, indent=1) + "\n")


def read_head(folder: Path) -> Head:
    """Read a head.

    Raises:
        InputError: The folder holds no head, or one whose files are damaged or do not fit each other.
    """
    file = read_head_file(folder)
    path = folder / MAPS_FILE
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            path, found=f"unreadable ({error})", expected="the head's UV maps", remedy="reconstruct it again"
        ) from error
    _check_maps(path, tensors, file.resolution)
    latent = tensors.pop("latent", None)
    return Head(
        subject=file.subject,
        maps=GaussianMaps(**tensors),
        template=file.template,
        template_sha256=file.template_sha256,
        rig_from_head=_similarity(folder / HEAD_FILE, file.rig_from_head),
        latent=latent,
        provenance=file.provenance,
    )


def read_gaussians(source: Path, template: Template) -> Gaussians:
    """The Gaussians of a head folder or of any 3DGS PLY, y up."""
    return read_head(source).gaussians(template) if is_head(source) else read_ply(source)


def _check_maps(path: Path, tensors: dict[str, Tensor], resolution: int) -> None:
    """Every map is there, finite and of the stated resolution."""
    channels = {"offset": (3,), "log_scale": (3,), "rotation": (4,), "opacity_logit": (1,), "sh": (None, 3)}
    unknown = set(tensors) - set(channels) - {"latent"}
    for name, rest in channels.items():
        shape = tuple(tensors[name].shape) if name in tensors else ()
        fits = shape[:2] == (resolution, resolution) and len(shape) == 2 + len(rest)
        fits = fits and all(want in (None, got) for want, got in zip(rest, shape[2:], strict=True))
        if unknown or not fits or not torch.isfinite(tensors[name]).all():
            raise InputError(
                path,
                field=name,
                found=f"of shape {shape}, or not finite, or beside unknown maps {sorted(unknown)}",
                expected=f"finite and {resolution} x {resolution}",
                remedy="reconstruct the head again",
            )


def _similarity(path: Path, rows: list[list[float]]) -> Float64[np.ndarray, "4 4"]:
    """The matrix, checked to be a similarity without reflection."""
    matrix = np.array(rows, dtype=object)
    if matrix.shape == (4, 4):
        matrix = matrix.astype(np.float64)
        scale = np.cbrt(np.linalg.det(matrix[:3, :3])) if np.isfinite(matrix).all() else 0.0
        if scale > 0 and np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, scale**2 * np.eye(3), atol=1e-4 * scale**2):
            return matrix
    raise InputError(
        path, field="rig_from_head", found="no similarity", expected="a 4x4 rotation, scale and translation",
        remedy="reconstruct the head again",
    )  # fmt: skip
