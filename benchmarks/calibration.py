"""How often `calibrate-check` is right: false alarms on right rigs, and turned cameras caught and named.

    headsup simulate -n 50 -o dumps --preset studio --truth light
    python benchmarks/calibration.py dumps [CASES]

Pictures are searched once per dump; what is found hardly depends on the calibration. Each dump is judged as it is and
in CASES cases (1) with one random camera turned by 0.3 to 2 degrees about a random axis. A case counts as caught if
that camera and no other is named. A line per dump says how many cameras were judged by their outline.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from headsup_cli.calibration.check import CheckResult, judge, look
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
from headsup_cli.media.opencv import cv2
from headsup_cli.preprocessing.masks import mask_from_plate

LEAST_DEG, MOST_DEG = 0.3, 2.0


def main(folder: Path, cases: int) -> None:
    alarms = dumps = caught = total = 0
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and is_rig_dump(path)):
        dump = read_rig_dump(path)
        frame = next(iter(dump.frames.values()))
        start = time.process_time()
        seen = look(dump, frame, list(dump.cameras.values()), mask_from_plate)
        searched = time.process_time()
        right = judge(seen.tracks, dump.cameras, outlines=seen.outlines, source=path)
        seconds = f"CPU {searched - start:.1f} + {time.process_time() - searched:.1f} s"
        dumps, alarms = dumps + 1, alarms + right.failed
        print(f"{path.name}: {'FALSE ALARM' if right.failed else 'passes'}, {_about(right)}, {seconds}", flush=True)
        rng = np.random.default_rng(list(path.name.encode()))
        for _ in range(cases):
            name, degrees = str(rng.choice(list(frame.images))), rng.uniform(LEAST_DEG, MOST_DEG)
            wrong = dump.cameras | {name: turned(dump.cameras[name], degrees, rng.normal(size=3))}
            result = judge(seen.tracks, wrong, outlines=seen.outlines, source=path)
            total, caught = total + 1, caught + (result.wrong == [name])
            named = [f"{c.id} {c.sentences[0]}" for c in result.cameras if c.status == "failed"]
            print(f"  {name} by {degrees:.2f} degrees: {'; '.join(named) or 'MISSED'}", flush=True)
    print(f"false alarms {alarms} of {dumps}, caught and named {caught} of {total}")


def _about(result: CheckResult) -> str:
    by_outline = sum("by its outline" in " ".join(camera.sentences) for camera in result.cameras)
    unchecked = sum(camera.status == "unchecked" for camera in result.cameras)
    odd = [f"{c.id} {c.sentences}" for c in result.cameras if c.status in ("failed", "warning")]
    return f"{by_outline} cameras by outline, {unchecked} unchecked" + (f", {odd}" if odd else "")


def turned(camera: RigCamera, degrees: float, axis: np.ndarray) -> RigCamera:
    pose = camera.cam_from_rig.copy()
    pose[:3, :3] = cv2.Rodrigues(axis / np.linalg.norm(axis) * np.radians(degrees))[0] @ pose[:3, :3]
    pose[:3, 3] = -pose[:3, :3] @ camera.centre
    return replace(camera, cam_from_rig=pose)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
