"""How well the cameras' colours are matched, on rig dumps that know their cameras' gains.

    headsup simulate -n 25 -o dumps --preset studio --truth light
    python benchmarks/colours.py dumps/person_* ../shared/captures/lps_hard

A line per dump: the error of the gains over cameras and channels (rms), and that of the worst pair: by how much the
ratio of two cameras' gains in one channel is off at most. A common factor of all cameras is no error.
"""

import json
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.preprocess import Preprocessing
from headsup_cli.runtime.progress import StageTimes
from headsup_cli.template.default import load_template


def main(paths: list[Path]) -> None:
    scores = []
    for path in paths:
        found = Preprocessing(read_rig_dump(path), PreprocessOptions(frames="neutral"), load_template(), StageTimes())
        true = true_gains(path / "truth")
        left = np.log([found.gains[name] * true[name] for name in found.reference.views])
        rms, worst = errors(left)
        scores.append((rms, worst))
        kept = sum(bool((found.gains[name] == 1).all()) for name in found.reference.views)
        told = "left as they are" if kept == len(left) else f"{kept} cameras left as they are" if kept else ""
        print(f"{path.name}: rms {rms:.2%}, worst pair {worst:.2%} {told}", flush=True)
    rms, worst = np.median(scores, 0)
    print(f"median of {len(scores)}: rms {rms:.2%}, worst pair {worst:.2%}")


def true_gains(truth: Path) -> dict[str, list[float]]:
    """Factors on linear RGB by camera, as the simulator or the captures to measure with state them."""
    if (truth / "truth.json").exists():
        cameras = json.loads((truth / "truth.json").read_text())["cameras"]
        return {name: camera["gain"] for name, camera in cameras.items()}
    return json.loads((truth / "meta.json").read_text())["colour_gain_linear_rgb"]


def errors(left: Float64[np.ndarray, "c 3"]) -> tuple[float, float]:
    """Rms and worst pair's error of what is left of the logarithms of the gains."""
    left = left - left.mean(0)
    return float(np.sqrt(np.mean(left**2))), float(np.exp(np.ptp(left, axis=0).max()) - 1)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
