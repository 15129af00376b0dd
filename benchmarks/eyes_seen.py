"""How many simulated people hide their eyes under their hair: `python benchmarks/eyes_seen.py [--people 120]`."""

import argparse

import numpy as np
import torch
from jaxtyping import Float
from simulate_pictures import turntable

from headsup_cli.simulation.drawing.lighting import sample_lamps
from headsup_cli.simulation.drawing.strands import SCALP, Strands, sample_footprint_m
from headsup_cli.simulation.person import lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.truth import LABELS, truth_maps

SIZE_PX = (300, 400)  # each eye has some hundred pixels


def without_scalp(strands: Strands) -> Strands:
    """The strands of beard, brows and lashes."""
    kept = strands.kind != SCALP
    return strands._replace(first=strands.first[kept].copy(), kind=strands.kind[kept].copy())


def hidden_shares(seed: int) -> tuple[str, Float[np.ndarray, "2"]]:
    """The person's hair style, and the shares of the eyeballs' pixels on either side that scalp hair hides in front."""
    person, front = sample_person(np.random.default_rng([seed, 0])), turntable((0.0,), *SIZE_PX)
    lamps = sample_lamps(np.random.default_rng([seed, 1]))
    mesh = lit_mesh(person, posed_vertices(person, {}), lamps, sample_footprint_m(front, 2))
    eyes = truth_maps(mesh._replace(strands=without_scalp(mesh.strands)), front).labels == LABELS["eye"]
    hidden = eyes & (truth_maps(mesh, front).labels == LABELS["hair"])
    middle = SIZE_PX[0] // 2
    sides = [(part[:, :middle].sum(), part[:, middle:].sum()) for part in (hidden, eyes)]
    return person.hair.style, np.divide(sides[0], np.maximum(sides[1], 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=120)
    people = parser.parse_args().people
    torch.set_num_threads(1)
    shares = {seed: hidden_shares(seed) for seed in range(people)}
    for share in (0.01, 0.1, 0.5):
        which = [f"{seed} ({style})" for seed, (style, hidden) in shares.items() if hidden.max() > share]
        print(f"more than {100 * share:.0f} % of an eye: {len(which)} of {people} people {', '.join(which)}".rstrip())
    print(f"at most {100 * max(hidden.max() for _, hidden in shares.values()):.0f} %")


if __name__ == "__main__":
    main()
