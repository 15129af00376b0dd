"""Put a shape model of simulated people's heads into the package.

python benchmarks/ship_head_shape.py
"""

from __future__ import annotations

import numpy as np

from headsup_cli.preprocessing.head_shape import SHAPE_FILE, HeadShape, save_head_shape
from headsup_cli.preprocessing.landmarks.points import TEMPLATE_POINTS
from headsup_cli.simulation.body.anatomy import default_anatomy
from headsup_cli.simulation.body.identity import neutral_vertices, sample_identity
from headsup_cli.simulation.body.landmarks import landmarks_68, named_landmarks
from headsup_cli.template.default import load_template

PEOPLE, MODES = 1500, 40
DEPARTURE = 0.6  # from what the template's shape space can tell, as simulated rigs have it
BROW_LIFT_M = 0.0015  # mean of what is painted


def main() -> None:
    template, anatomy = load_template(), default_anatomy()
    rng = np.random.default_rng(68)
    heads = np.stack(
        [neutral_vertices(rng, sample_identity(rng), anatomy, DEPARTURE).astype(np.float64) for _ in range(PEOPLE)]
    )
    mean = heads.mean(0)
    above_shoulders = (template.vertices[:, 1] > -0.16).astype(float)[:, None]
    weighted = ((heads - mean) * (0.05 + 0.95 * above_shoulders)).reshape(PEOPLE, -1)
    # Modes are eigenvectors over people, so that what is below the neck follows the head instead of leading it.
    values, people = np.linalg.eigh(weighted @ weighted.T)
    chosen = people[:, ::-1][:, :MODES]  # [people, modes], orthonormal
    modes = np.tensordot(chosen.T, heads - mean, 1) / np.sqrt(PEOPLE)
    share = values[::-1][:MODES].sum() / values.sum()
    shape = HeadShape(
        mean=mean,
        modes=modes,
        faces=template.faces.astype(np.int64),
        landmark_mean=_landmarks(mean),
        landmark_modes=np.stack([_landmarks(mean + mode) - _landmarks(mean) for mode in modes]),
        landmark_expressions=np.stack(
            [_landmarks(mean + offset) - _landmarks(mean) for offset in template.blendshapes.astype(np.float64)]
        ),
    )
    save_head_shape(SHAPE_FILE, shape)
    size_mb = SHAPE_FILE.stat().st_size / 1e6
    print(f"{SHAPE_FILE}: {MODES} modes of {PEOPLE} people hold {share:.1%} of the variance, {size_mb:.2f} MB")


def _landmarks(vertices: np.ndarray) -> np.ndarray:
    named = named_landmarks(vertices)
    return np.concatenate([landmarks_68(vertices, BROW_LIFT_M), np.stack([named[name] for name in TEMPLATE_POINTS])])


if __name__ == "__main__":
    main()
