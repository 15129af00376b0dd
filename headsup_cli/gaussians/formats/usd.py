"""OpenUSD's `ParticleField3DGaussianSplat` (26.03 on), still or moving; its world is y-up, as the head frame.

Opacities are plain, scales linear, harmonics as in PLY: display-encoded colours.

Source: openusd.org, UsdVol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from headsup_cli import __version__
from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import MAX_GAUSSIANS

_PRIM = "/head"
_COLUMNS = ("positions", "orientations", "scales", "opacities", "radiance:sphericalHarmonicsCoefficients")


def write_usd(path: Path, gaussians: Gaussians, *, metres_per_unit: float = 1.0) -> None:
    """Write a still head; a name ending in .usda gives text, .usd and .usdc binary.

    Args:
        path: Where to; written in place, so callers give a temporary name.
        gaussians: In a y-up frame, in units of `metres_per_unit`.
        metres_per_unit: What the stage says of its unit.

    Raises:
        MissingDependencyError: usd-core is not installed, or too old.
    """
    _write(path, [gaussians], metres_per_unit, fps=None)


def write_usd_frames(path: Path, frames: Iterable[Gaussians], *, fps: float, metres_per_unit: float = 1.0) -> None:
    """Write a moving head: a time sample of every attribute for each frame, time codes counting frames from 0.

    Arrays that stay the same from frame to frame are stored once in binary files.

    Args:
        path: Where to; written in place, so callers give a temporary name.
        frames: In a y-up frame, in units of `metres_per_unit`, all with as many Gaussians.
        fps: Frames per second.
        metres_per_unit: What the stage says of its unit.

    Raises:
        MissingDependencyError: usd-core is not installed, or too old.
    """
    _write(path, frames, metres_per_unit, fps=fps)


def read_usd(path: Path, frame: float | None = None) -> Gaussians:
    """Read the first Gaussian field of a stage, in its own space and unit.

    Args:
        path: A .usd, .usda or .usdc.
        frame: Time code of a moving one; the default values or, where there are none, the first sample.

    Raises:
        InputError: No stage, or none with such a field.
        MissingDependencyError: usd-core is not installed, or too old.
    """
    pxr = _pxr()
    try:
        stage = pxr.Usd.Stage.Open(str(path))
    except pxr.Tf.ErrorException as error:
        raise _no_field(path, "unreadable") from error
    field = next((prim for prim in stage.Traverse() if prim.IsA(pxr.UsdVol.ParticleField3DGaussianSplat)), None)
    if field is None:
        raise _no_field(path, "without one")
    time = pxr.Usd.TimeCode.EarliestTime() if frame is None else pxr.Usd.TimeCode(frame)
    arrays = [np.array(field.GetAttribute(name).Get(time), np.float32) for name in _COLUMNS]
    means, quats, scales, opacities, sh = (torch.from_numpy(array) for array in arrays)
    count, degree = len(means), field.GetAttribute("radiance:sphericalHarmonicsDegree").Get()
    shapes = {len(quats), len(scales), len(opacities), len(sh) // max((degree + 1) ** 2, 1)}
    if shapes != {count} or not 0 < count <= MAX_GAUSSIANS or not 0 <= degree <= 3:
        raise _no_field(path, "one with attributes of different lengths")
    quats = quats[:, [3, 0, 1, 2]]  # numpy sees the imaginary part first
    return Gaussians(means, quats, scales, opacities, sh.reshape(count, (degree + 1) ** 2, 3))


def _write(path: Path, frames: Iterable[Gaussians], metres_per_unit: float, fps: float | None) -> None:
    pxr = _pxr()
    stage = pxr.Usd.Stage.CreateNew(str(path))
    pxr.UsdGeom.SetStageUpAxis(stage, pxr.UsdGeom.Tokens.y)
    pxr.UsdGeom.SetStageMetersPerUnit(stage, metres_per_unit)
    stage.SetMetadata("comment", f"headsup {__version__}")
    field = pxr.UsdVol.ParticleField3DGaussianSplat.Define(stage, _PRIM)
    stage.SetDefaultPrim(field.GetPrim())
    field.CreateProjectionModeHintAttr("perspective")
    field.CreateSortingModeHintAttr("zDepth")
    for index, gaussians in enumerate(frames):
        field.CreateRadianceSphericalHarmonicsDegreeAttr(gaussians.sh_degree)
        time = pxr.Usd.TimeCode.Default() if fps is None else pxr.Usd.TimeCode(index)
        _set(pxr, field, gaussians.detach().to("cpu"), time)
    if fps is not None:
        stage.SetTimeCodesPerSecond(fps)
        stage.SetFramesPerSecond(fps)
        stage.SetStartTimeCode(0)
        stage.SetEndTimeCode(index)
    stage.Save()


def _set(pxr: Any, field: Any, gaussians: Gaussians, time: Any) -> None:
    """Write the attributes of one time."""
    quats = torch.nn.functional.normalize(gaussians.quats)[:, [1, 2, 3, 0]]
    reach = 3 * gaussians.scales.amax(1, keepdim=True)
    extent = torch.stack([(gaussians.means - reach).amin(0), (gaussians.means + reach).amax(0)])
    columns = (gaussians.means, quats, gaussians.scales, gaussians.opacities, gaussians.sh.flatten(0, 1))
    kinds: Sequence[str] = ("Vec3f", "Quatf", "Vec3f", "Float", "Vec3f")
    makers = (
        field.CreatePositionsAttr,
        field.CreateOrientationsAttr,
        field.CreateScalesAttr,
        field.CreateOpacitiesAttr,
        field.CreateRadianceSphericalHarmonicsCoefficientsAttr,
    )
    for maker, kind, values in zip(makers, kinds, columns, strict=True):
        maker().Set(_array(pxr, kind, values), time)
    field.CreateExtentAttr().Set(_array(pxr, "Vec3f", extent), time)


def _array(pxr: Any, kind: str, values: torch.Tensor) -> Any:
    return getattr(pxr.Vt, f"{kind}Array").FromNumpy(np.ascontiguousarray(values.numpy(), np.float32))


def _pxr() -> ModuleType:
    try:
        import pxr
        from pxr import Tf, Usd, UsdGeom, UsdVol, Vt  # noqa: F401 - these become attributes of the package

        present = hasattr(UsdVol, "ParticleField3DGaussianSplat")
    except ImportError:
        present = False
    if not present:
        raise MissingDependencyError("USD needs usd-core 26.3 or newer; pip install 'headsup-cli[usd]'.")
    return pxr


def _no_field(path: Path, found: str) -> InputError:
    return InputError(path, found=found, expected="a USD stage with a Gaussian field", remedy="export it again")
