"""Compare simulated adults with published anthropometry: `python benchmarks/face_measurements.py`.

Prints the table of docs/simulate.md.
"""

import numpy as np

from headsup_cli.simulation.body.anatomy import default_anatomy
from headsup_cli.simulation.body.identity import age_years, neutral_vertices, sample_identity
from headsup_cli.simulation.body.measurements import face_measurements

PEOPLE = 260  # of whom some 200 are adults
DEPARTURE = 0.4  # as in `simulate_subject`

# Mean and standard deviation in millimetres of men and of women. NIOSH: Zhuang and Bradtmiller, "Head-and-face
# anthropometric survey of U.S. respirator users", J. Occup. Environ. Hyg. 2(11), 2005, 3997 people, weighted to the
# population. ANSUR II: Gordon et al., "2012 anthropometric survey of U.S. Army personnel", Natick TR-15/007, 2014, 6068
# people. docs/simulate.md says how these figures were checked.
PUBLISHED: dict[str, tuple[tuple[float, float], tuple[float, float], str]] = {
    "interpupillary_breadth": ((64.5, 3.6), (61.9, 3.5), "NIOSH"),
    "menton_sellion_length": ((122.7, 7.0), (113.4, 6.1), "NIOSH"),
    "bizygomatic_breadth": ((143.5, 6.9), (135.1, 6.5), "NIOSH"),
    "subnasale_sellion_length": ((52.0, 4.1), (48.2, 3.8), "NIOSH"),
    "nose_breadth": ((36.6, 4.1), (33.2, 3.9), "NIOSH"),
    "lip_length": ((51.1, 4.2), (48.0, 4.0), "NIOSH"),
    "bigonial_breadth": ((120.4, 10.4), (110.1, 8.9), "NIOSH"),
    "head_length": ((199.5, 7.0), (189.8, 7.4), "ANSUR II"),
    "head_breadth": ((154.3, 5.5), (147.8, 5.2), "ANSUR II"),
    "tragion_to_top_of_head": ((131.1, 6.2), (126.5, 6.5), "ANSUR II"),
}


def measured_adults(people: int = PEOPLE) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Measurements of the men and of the women among the people of the first seeds."""
    adults: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for seed in range(people):
        rng = np.random.default_rng([seed, 0])
        identity = sample_identity(rng)
        if age_years(identity.age) >= 18:
            vertices = neutral_vertices(rng, identity, default_anatomy(), DEPARTURE)
            adults[int(identity.gender > 0.5)].append(face_measurements(vertices))
    return adults


def main() -> None:
    adults = measured_adults()
    print(f"{len(adults[0])} men and {len(adults[1])} women\n")
    print("| millimetres | men | published | women | published | source |")
    print("|---|---|---|---|---|---|")
    for name, (*published, source) in PUBLISHED.items():
        cells = []
        for people, (mean, deviation) in zip(adults, published, strict=True):
            values = [person[name] for person in people]
            cells += [f"{np.mean(values):.1f} ± {np.std(values):.1f}", f"{mean} ± {deviation}"]
        print("| " + " | ".join([name.replace("_", " "), *cells, source]) + " |")


if __name__ == "__main__":
    main()
