"""How well landmarks and the head frame are found: on people it has not seen, and on rig dumps with known truth.

python benchmarks/landmarks.py --people 20
python benchmarks/landmarks.py ../shared/captures/lps ../shared/captures/ict_0
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.preprocessing.landmarks.detection import NetworkDetector, RigView
from headsup_cli.preprocessing.landmarks.head_pose import LandmarkPose, pose_from_landmarks
from headsup_cli.preprocessing.landmarks.points import IBUG_COUNT, OUTER_EYE_CORNERS
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.preprocess import preprocess_rig
from headsup_cli.simulation.training_sample import training_sample
from headsup_cli.template.default import load_template

FIRST_UNSEEN = 1_000_000


def on_people(count: int) -> None:
    """Landmark and pose errors on simulated people, from starts that are off as silhouettes are."""
    detector, errors, poses = NetworkDetector(), [], []
    for seed in range(FIRST_UNSEEN, FIRST_UNSEEN + count):
        sample = training_sample(seed, views=16, width=384, height=512, layout="dome", pattern_share=0.0)
        images = np.round((sample.images + 0.35 * (1 - sample.masks[..., None])).clip(0, 1) * 255).astype(np.uint8)
        cameras = sample.cameras
        views = [RigView(*v) for v in zip(images, cameras.K.numpy(), cameras.cam_from_world.numpy(), strict=True)]
        found = pose_from_landmarks(detector, views, _rough(np.random.default_rng(seed)), "metric")
        if found is None or not found.credible:
            print(f"{seed}: not found")
            continue
        errors.append(_error(found, sample.landmarks))
        turn = Rotation.from_matrix(found.rig_from_head[:3, :3]).as_rotvec(degrees=True)
        poses.append([np.linalg.norm(turn), 1000 * np.linalg.norm(found.rig_from_head[:3, 3])])
    turn_deg, origin_mm = np.median(poses, 0)
    print(f"{len(errors)} of {count} people: error {_told(np.mean(errors, 0))}")
    print(f"head frame: median turn {turn_deg:.2f} degrees, origin {origin_mm:.1f} mm")


def on_dump(path: Path) -> None:
    """The head frame that preprocess finds in a dump, against `truth/meta.json`."""
    truth = json.loads((path / "truth" / "meta.json").read_text())
    dump = read_rig_dump(path)
    started = time.process_time()
    capture = preprocess_rig(dump, PreprocessOptions(frames="neutral"), load_template())
    rotation = capture.rig_from_head[:3, :3] / np.cbrt(np.linalg.det(capture.rig_from_head[:3, :3]))
    up, forward = (_angle_deg(rotation[:, axis], truth[name]) for axis, name in ((1, "up"), (2, "forward")))
    axes = np.stack([np.cross(truth["up"], truth["forward"]), truth["up"], truth["forward"]])
    offset_mm = 1000 * dump.metres_per_unit * axes @ (capture.rig_from_head[:3, 3] - truth["head_centre"])
    print(
        f"{path.name}: up {up:.2f}, forward {forward:.2f} degrees off; origin from the head's centre "
        f"{np.round(offset_mm, 1)} mm; {time.process_time() - started:.1f} s of CPU"
    )


def _rough(rng: np.random.Generator) -> np.ndarray:
    rough = np.eye(4)
    rough[:3, :3] = Rotation.from_rotvec(np.radians(rng.normal(0, 3, 3))).as_matrix()
    rough[:3, 3] = rng.normal(0, 0.005, 3)
    return rough


def _error(found: LandmarkPose, truth: np.ndarray) -> list[float]:
    """Mean distance in metres, over that of the outer corners of the eyes, over that of the pupils."""
    placed = found.points.positions[:IBUG_COUNT] @ found.rig_from_points[:3, :3].T + found.rig_from_points[:3, 3]
    error = float(np.linalg.norm(placed - truth, axis=1).mean())
    corners = np.linalg.norm(np.subtract(*truth[list(OUTER_EYE_CORNERS)]))
    pupils = np.linalg.norm(truth[36:42].mean(0) - truth[42:48].mean(0))
    return [error, error / corners, error / pupils]


def _told(error: Sequence[float]) -> str:
    return f"{1000 * error[0]:.2f} mm = {error[1]:.2%} of the outer corners' distance = {error[2]:.2%} of the pupils'"


def _angle_deg(first: np.ndarray, second: Sequence[float]) -> float:
    return float(np.degrees(np.arccos(np.clip(first @ np.asarray(second), -1, 1))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", type=Path, nargs="*")
    parser.add_argument("--people", type=int, default=0)
    arguments = parser.parse_args()
    for dump_path in arguments.dumps:
        on_dump(dump_path)
    if arguments.people:
        on_people(arguments.people)
