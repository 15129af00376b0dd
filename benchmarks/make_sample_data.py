"""Make what is in sample_data/: `python benchmarks/make_sample_data.py`."""

from dataclasses import replace
from pathlib import Path

from headsup_cli.animation.clips import clip
from headsup_cli.capture.capture import Encoding, write_capture
from headsup_cli.capture.rigs.native import read_rig
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.preprocess import preprocess_rig
from headsup_cli.runtime.atomic import atomic_directory, atomic_write_text
from headsup_cli.simulation.rig.faults import Faults
from headsup_cli.simulation.subject import NEUTRAL, SimulationOptions, simulate_subject, write_subject
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.default import load_template

FOLDER = Path(__file__).parents[1] / "sample_data"
SUBJECT, CAPTURE, CLIP = FOLDER / "anna", FOLDER / "anna_capture", FOLDER / "talk.csv"
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
    capture = preprocess_rig(read_rig(SUBJECT), PreprocessOptions(frames="neutral"), load_template())
    write_capture(capture, CAPTURE, Encoding(".jpg", 90))
    atomic_write_text(CLIP, live_link_face_csv())


def live_link_face_csv(fps: float = 60.0) -> str:
    """The clip `talk` as Epic's Live Link Face would have recorded it, without head rotation."""
    curves = clip("talk").resampled(fps)
    rows = [",".join(["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ARKIT_NAMES)])]
    for index, weights in enumerate(curves.weights):
        seconds, frame = divmod(index, round(fps))
        rows.append(f"10:00:{seconds:02d}:{frame:02d}.000,52," + ",".join(f"{weight:.4g}" for weight in weights))
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
