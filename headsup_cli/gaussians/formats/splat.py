"""`.splat` of antimatter15: 32 bytes a Gaussian, no header, no directional colour. The world is y-down, as PLY's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from headsup_cli.errors import InputError
from headsup_cli.gaussians.formats.quantisation import to_bytes
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import turn_over
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.gaussians.transform import transform_gaussians

_RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def encode_splat(gaussians: Gaussians) -> bytes:
    """The file's content for Gaussians in the head frame; the weightiest come first, for loading in part."""
    turned = transform_gaussians(gaussians, turn_over())
    records = np.empty(len(turned), _RECORD)
    records["mean"], records["scale"] = turned.means.numpy(), turned.scales.numpy()
    colour = 0.5 + SH_C0 * turned.sh[:, 0]
    records["rgba"] = to_bytes(torch.cat([colour, turned.opacities[:, None]], 1).double().numpy() * 255)
    records["quat"] = to_bytes(torch.nn.functional.normalize(turned.quats).double().numpy() * 128 + 128)
    weight = turned.scales.prod(1) * turned.opacities
    return records[torch.argsort(weight, descending=True, stable=True).numpy()].tobytes()


def decode_splat(content: bytes, source: Path) -> Gaussians:
    """Gaussians in the head frame.

    Raises:
        InputError: The content is no whole number of records.
    """
    if not content or len(content) % _RECORD.itemsize:
        raise InputError(
            source, found=f"{len(content)} bytes", expected="a multiple of 32", remedy="copy the file again"
        )
    records = np.frombuffer(content, _RECORD)
    rgba = torch.from_numpy(records["rgba"] / np.float32(255)).float()
    turned = Gaussians(
        means=torch.from_numpy(records["mean"].astype(np.float32)),
        quats=torch.from_numpy((records["quat"].astype(np.float32) - 128) / 128),
        scales=torch.from_numpy(records["scale"].astype(np.float32)),
        opacities=rgba[:, 3],
        sh=((rgba[:, :3] - 0.5) / SH_C0)[:, None],
    )
    return transform_gaussians(turned, turn_over())
