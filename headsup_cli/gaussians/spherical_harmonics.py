"""Real spherical harmonics with the basis and signs of INRIA's 3DGS, degrees 0 to 3."""

import torch
from jaxtyping import Float
from torch import Tensor

SH_C0 = 0.28209479177387814
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
_C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)


def sh_basis(directions: Float[Tensor, "*batch 3"], degree: int) -> Float[Tensor, "*batch k"]:
    """The basis functions at unit directions, k = (degree + 1)^2.

    Signs as in Kerbl et al., "3D Gaussian Splatting" (2023), reference code: Y1 is (-C1 y, C1 z, -C1 x).
    """
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, SH_C0)]
    if degree >= 1:
        basis += [-_C1 * y, _C1 * z, -_C1 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        basis += [
            _C2[0] * x * y,
            _C2[1] * y * z,
            _C2[2] * (2 * zz - xx - yy),
            _C2[3] * x * z,
            _C2[4] * (xx - yy),
        ]
    if degree >= 3:
        basis += [
            _C3[0] * y * (3 * xx - yy),
            _C3[1] * x * y * z,
            _C3[2] * y * (4 * zz - xx - yy),
            _C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            _C3[4] * x * (4 * zz - xx - yy),
            _C3[5] * z * (xx - yy),
            _C3[6] * x * (xx - 3 * yy),
        ]
    return torch.stack(basis, -1)


def sh_rotation(rotation: Float[Tensor, "3 3"], degree: int) -> Float[Tensor, "k k"]:
    """The matrix that rotates coefficients: `sh_basis(R d) @ (M c) == sh_basis(d) @ c` for every direction d.

    Found as the exact solution over fixed directions: the bands are invariant, so a least-squares fit has no residual.
    """
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(samples, dim=-1)
    rotated = directions @ rotation.double().cpu().T
    solution = torch.linalg.lstsq(sh_basis(rotated, degree), sh_basis(directions, degree)).solution  # [k, k]
    return solution.to(rotation)
