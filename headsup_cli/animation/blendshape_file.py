"""A head as a neutral state and 52 sparse differences, for engines (docs/animation.md gives a reader)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from scipy.spatial.transform import Rotation

from headsup_cli.animation.rig import Pose, Rig, Unseen
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.runtime.atomic import atomic_write_bytes
from headsup_cli.template.arkit import ARKIT_NAMES

SCHEMA = "headsup-blendshapes/1"
_STILL_M, _STILL_RAD, _STILL_LOG = 1e-5, 1e-3, 1e-3  # differences below are left out


@dataclass(frozen=True)
class _Difference:
    """What one blendshape at weight 1 does to the Gaussians that it moves."""

    index: torch.Tensor  # [m] int32
    means: torch.Tensor  # [m, 3] metres
    rotation: torch.Tensor  # [m, 3] rotation vector, radians, applied after the neutral rotation
    log_scale: torch.Tensor  # [m, 3]


def write_blendshapes(rig: Rig, path: Path) -> None:
    """Write the neutral Gaussians and, for each of ARKit's 52 shapes, the difference at weight 1, as safetensors.

    Differences are added up by whoever reads them, so what several shapes bring to light together is left out.
    """
    rest, rig = rig.neutral, replace(rig, unseen=Unseen.joined([], rig.neutral.sh))
    differences = [_difference(rest, rig.pose(Pose.of({name: 1.0}))) for name in ARKIT_NAMES]
    counts = torch.tensor([0, *(len(difference.index) for difference in differences)])
    tensors = {
        "means": rest.means,
        "quats": torch.nn.functional.normalize(rest.quats),
        "scales": rest.scales,
        "opacities": rest.opacities,
        "sh": rest.sh,
        "delta_first": counts.cumsum(0),
        "delta_index": torch.cat([difference.index for difference in differences]),
        "delta_means": torch.cat([difference.means for difference in differences]),
        "delta_rotation": torch.cat([difference.rotation for difference in differences]),
        "delta_log_scale": torch.cat([difference.log_scale for difference in differences]),
    }
    metadata = {"schema": SCHEMA, "shapes": ",".join(ARKIT_NAMES), "units": "m", "axes": "+y up, +z ahead"}
    atomic_write_bytes(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))


def _difference(rest: Gaussians, moved: Gaussians) -> _Difference:
    means = moved.means - rest.means
    rotation = _rotations(moved.quats) * _rotations(rest.quats).inv()
    turned = torch.from_numpy(rotation.as_rotvec().astype(np.float32))
    log_scale = (moved.scales / rest.scales).log()
    kept = (
        (means.norm(dim=1) > _STILL_M) | (turned.norm(dim=1) > _STILL_RAD) | (log_scale.abs().amax(1) > _STILL_LOG)
    ).nonzero()[:, 0]
    return _Difference(kept.int(), means[kept], turned[kept], log_scale[kept])


def _rotations(quats: torch.Tensor) -> Rotation:
    return Rotation.from_quat(quats.double().numpy(), scalar_first=True)
