"""Make the subject in sample_data/: `python benchmarks/make_sample_data.py`."""

from dataclasses import replace
from pathlib import Path

from headsup_cli.runtime.atomic import atomic_directory
from headsup_cli.simulation.rig.faults import Faults
from headsup_cli.simulation.subject import NEUTRAL, SimulationOptions, simulate_subject, write_subject

SUBJECT = Path(__file__).parents[1] / "sample_data" / "anna"
SEED = 131
EXPRESSIONS: dict[str, dict[str, float]] = {
    NEUTRAL: {},
    "01_smile": {
        "mouthSmileLeft": 0.9,
        "mouthSmileRight": 0.8,
        "cheekSquintLeft": 0.5,
        "cheekSquintRight": 0.5,
        "jawOpen": 0.15,
        "eyeLookOutLeft": 0.2,
        "eyeLookInRight": 0.2,
    },
    "02_surprise": {
        "jawOpen": 0.6,
        "browInnerUp": 0.9,
        "browOuterUpLeft": 0.8,
        "browOuterUpRight": 0.8,
        "eyeWideLeft": 0.7,
        "eyeWideRight": 0.7,
    },
}


def main() -> None:
    options = SimulationOptions(
        width=375, height=500, expressions=len(EXPRESSIONS), supersampling=3, faults=Faults(jpeg=90.0), truth="light"
    )
    subject = replace(simulate_subject(SEED, options), expressions=EXPRESSIONS)
    with atomic_directory(SUBJECT) as unfinished:
        write_subject(subject, unfinished)


if __name__ == "__main__":
    main()
