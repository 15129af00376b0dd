"""How often `calibrate-check` is right: false alarms on right rigs, and turned cameras caught and named.

    headsup simulate -n 50 -o dumps --preset studio --truth light
    python benchmarks/calibration.py dumps

Features are found once per dump; they hardly depend on the calibration. A case counts as caught if the turned camera
and no other is named; cameras that share too little with others to be checked are counted apart.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from headsup_cli.calibration.check import find_tracks, judge_tracks
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs.detection import is_rig_dump, read_rig_dump
from headsup_cli.media.opencv import cv2
from headsup_cli.preprocessing.masks import mask_from_plate

LEAST_DEG, MOST_DEG = 0.3, 2.0


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    alarms = caught = unchecked = total = 0
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and is_rig_dump(path)):
        dump = read_rig_dump(path)
        frame = next(iter(dump.frames.values()))
        tracks = find_tracks(dump, frame, list(dump.cameras.values()), mask_from_plate)
        right = judge_tracks(tracks, dump.cameras, source=path)
        name = str(rng.choice(list(frame.images)))
        degrees = rng.uniform(LEAST_DEG, MOST_DEG)
        wrong = dump.cameras | {name: turned(dump.cameras[name], degrees, rng.normal(size=3))}
        found = judge_tracks(tracks, wrong, source=path).wrong
        total, alarms, caught = total + 1, alarms + right.failed, caught + (found == [name])
        seen = next(camera for camera in right.cameras if camera.id == name)
        unchecked += seen.status == "unchecked"
        told = [*right.wrong, *(finding.sentence for finding in right.rig if finding.severity == "failed")]
        about = f"{name} ({seen.observations} points, {seen.status}) by {degrees:.2f} degrees"
        print(f"{path.name}: right {told or 'passes'}; {about}: {found}", flush=True)
    print(f"false alarms {alarms} of {total}, caught and named {caught} of {total}, {unchecked} of them unchecked")


def turned(camera: RigCamera, degrees: float, axis: np.ndarray) -> RigCamera:
    pose = camera.cam_from_rig.copy()
    pose[:3, :3] = cv2.Rodrigues(axis / np.linalg.norm(axis) * np.radians(degrees))[0] @ pose[:3, :3]
    pose[:3, 3] = -pose[:3, :3] @ camera.centre
    return replace(camera, cam_from_rig=pose)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
