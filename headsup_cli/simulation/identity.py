"""Who is simulated: a phenotype, local changes of shape, and smooth departures from what the template can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from headsup_cli.simulation.anatomy import Anatomy, smoothstep
from headsup_cli.simulation.noise import noise_at
from headsup_cli.template.anny_source import AnnySource

# Standard deviations of phenotypes; small for height, which makes MakeHuman's heads grow more than it does people's.
_BUILD_SPREAD = {"muscle": 0.2, "weight": 0.2, "height": 0.08, "proportions": 0.1}
# Standard deviation of local changes (of a full range of +-1) by the first word of their name; others are left alone.
_SPREAD = {
    "cheek": 0.25, "chin": 0.13, "ear": 0.35, "eyebrows": 0.30, "eye": 0.22, "forehead": 0.18, "head": 0.11,
    "mouth": 0.22, "neck": 0.25, "nose": 0.20, "torso": 0.15, "upperarm": 0.12, "measure": 0.15,
}  # fmt: skip
_ASYMMETRY = 0.08


@dataclass(frozen=True)
class Identity:
    """A person's shape in words and numbers."""

    gender: float  # 0 male, 1 female
    age: float  # 1/3 a child, 2/3 a young adult, 1 old
    ancestry: dict[str, float]  # shares that add up to 1
    phenotype: dict[str, float]  # all of anny's, the above among them
    local_changes: dict[str, float]


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw an identity: 15 in a hundred are children, 25 old."""
    age = float(rng.choice([rng.uniform(0.34, 0.5), rng.uniform(0.5, 0.8), rng.uniform(0.8, 1.0)], p=[0.15, 0.6, 0.25]))
    gender = float(np.clip(rng.choice([0.0, 1.0]) + rng.normal(0, 0.18), 0, 1))
    shares = rng.dirichlet([0.45, 0.45, 0.45])
    ancestry = dict(zip(("african", "asian", "caucasian"), shares.tolist(), strict=True))
    build = {name: float(np.clip(rng.normal(0.5, spread), 0.05, 0.95)) for name, spread in _BUILD_SPREAD.items()}
    phenotype = {"gender": gender, "age": age, **build, **ancestry}
    return Identity(
        gender, age, ancestry, phenotype, _sample_local_changes(rng, AnnySource.shared().local_change_names)
    )


def _sample_local_changes(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, float]:
    """The two sides of the face change together but for a little."""
    shared: dict[str, float] = {}
    changes = {}
    scale = rng.uniform(0.5, 1.3)
    for name in names:
        base = name[2:] if name[:2] in ("l-", "r-") else name
        spread = _SPREAD.get(base.split("-")[0], 0.0)
        if spread:
            common = shared.setdefault(base, float(rng.normal(0, spread * scale)))
            side = float(rng.normal(0, _ASYMMETRY)) if base != name else 0.0
            changes[name] = float(np.clip(common + side, -0.9, 0.9))
    return changes


def neutral_vertices(
    rng: np.random.Generator, identity: Identity, anatomy: Anatomy, departure: float
) -> Float32[np.ndarray, "v 3"]:
    """The identity's neutral face in the head frame, displaced from what anny can express.

    Args:
        rng: Source of the displacement.
        identity: Whose face.
        anatomy: Of the template.
        departure: Scale of the displacement; at 1 up to about 8 mm on the face, 15 mm on the scalp and the shoulders.
    """
    vertices = AnnySource.shared().vertices_for(identity.phenotype, identity.local_changes)
    at = anatomy.rest.copy()
    for eye in anatomy.eye_vertices:  # eyeballs move as a whole
        at[eye] = at[eye].mean(0)
    shift = np.zeros_like(vertices)
    for cell_m, amount_m in ((0.14, 0.0075), (0.06, 0.0028)):
        shift += amount_m * abs(rng.normal(0, 0.8)) * noise_at(at, cell_m, rng.uniform(0, 32, 3))[:, :3]
    scalp = smoothstep(100, 70, anatomy.scalp_polar_deg) * smoothstep(0.02, 0.06, anatomy.rest[:, 1])
    torso = smoothstep(-0.11, -0.2, anatomy.rest[:, 1])
    loose = 0.012 * abs(rng.normal(0, 0.7)) * scalp + 0.02 * abs(rng.normal(0, 0.7)) * torso
    shift += loose[:, None] * noise_at(at, 0.09, rng.uniform(0, 32, 3))[:, :3]
    stretch = 1 + departure * rng.normal(0, 0.02, 3)
    return ((vertices + departure * shift) * stretch).astype(np.float32)
