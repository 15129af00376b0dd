"""Check what the simulator says is true against the mesh: `python benchmarks/simulate_truth.py [--people 3]`.

Every check goes its own way from the mesh to the picture: OpenCV fills the outline and projects the landmarks, rays are
cast face by face. People have no hair on the scalp, since the mesh has none.
"""

import argparse
from collections import defaultdict
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.media.opencv import cv2
from headsup_cli.simulation.body.anatomy import LENS
from headsup_cli.simulation.drawing.lens_view import ideal_camera, through_lens
from headsup_cli.simulation.drawing.shading import LitMesh
from headsup_cli.simulation.rig.faults import PRESETS, Faults, Preset
from headsup_cli.simulation.rig.rig import RigPlan
from headsup_cli.simulation.subject import (
    NEUTRAL,
    PosedSubject,
    SimulatedSubject,
    SimulationOptions,
    simulate_subject,
)
from headsup_cli.simulation.truth import BACKGROUND, LABELS, seen_landmarks, truth_maps

RAYS = 60  # a view
MARKER_M = 0.003  # radius of the balls that stand for landmarks
STRANDS = [LABELS[name] for name in ("hair", "beard", "brow", "lash")]
LANDMARKS = 68


def without_hair(subject: SimulatedSubject) -> SimulatedSubject:
    """The subject without scalp hair and beard."""
    person = subject.person
    paint = person.paint._replace(beard_density=np.float32(0))
    return replace(subject, person=replace(person, hair=replace(person.hair, style="bald"), paint=paint))


def seen_by_opencv(camera: RigCamera, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
    """Pixels at which OpenCV's own lens model has points of the camera's world."""
    turn = cv2.Rodrigues(camera.cam_from_rig[:3, :3])[0]
    bend = np.array(camera.lens.coefficients or (0.0,) * 5)
    return cv2.projectPoints(points.astype(np.float64), turn, camera.cam_from_rig[:3, 3], camera.K, bend)[0][:, 0]


def silhouette(
    camera: RigCamera, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], scale: int = 8
) -> Float[np.ndarray, "h w"]:
    """Coverage of a mesh, drawn by OpenCV through the lens at several times the size."""
    pixels = seen_by_opencv(camera, vertices)
    canvas = np.zeros((camera.height * scale, camera.width * scale), np.uint8)
    for triangle in np.round((pixels * scale - 0.5) * 16).astype(np.int32)[faces]:
        cv2.fillConvexPoly(canvas, triangle, 255, shift=4)
    return cv2.resize(canvas, (camera.width, camera.height), interpolation=cv2.INTER_AREA) / 255


def met_by_ray(
    mesh: LitMesh, camera: RigCamera, pixel: tuple[float, float]
) -> tuple[float, Float[np.ndarray, "3"], int]:
    """Depth of the nearest face along a pixel's ray through the lens, its normal and its part (Möller, Trumbore)."""
    solid = mesh.faces[mesh.part != LENS]
    corners = mesh.columns[solid, :3].astype(np.float64) @ camera.cam_from_rig[:3, :3].T + camera.cam_from_rig[:3, 3]
    ray = np.append(camera.unproject(np.array([pixel]))[0], 1.0)
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(ray, ac)
    determinant = (ab * p).sum(1)
    with np.errstate(all="ignore"):
        u = -(a * p).sum(1) / determinant
        q = np.cross(-a, ab)
        v = (ray * q).sum(1) / determinant
        depth = (ac * q).sum(1) / determinant
    depth = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0), depth, np.inf)
    nearest = int(depth.argmin())
    normal = np.cross(ab, ac)[nearest]
    return float(depth[nearest]), normal / np.linalg.norm(normal), int(mesh.part[mesh.part != LENS][nearest])


def mask_overlap(subject: SimulatedSubject, posed: PosedSubject, name: str) -> float:
    """IoU of the mask and the projected mesh."""
    mask = subject.view(NEUTRAL, name, posed).mask / 255
    expected = silhouette(subject.cameras[name], posed.mesh.columns[:, :3], posed.mesh.faces)
    return float(np.minimum(mask, expected).sum() / np.maximum(mask, expected).sum())


def ray_errors(
    subject: SimulatedSubject, posed: PosedSubject, name: str, rng: np.random.Generator
) -> dict[str, list[float]]:
    """Errors of depth (millimetres), normals (degrees) and labels (1 a wrong one) at random pixels of the mesh."""
    truth, errors = subject.view(NEUTRAL, name, posed).truth, defaultdict(list)
    rows, columns = np.nonzero((truth.labels != BACKGROUND) & ~np.isin(truth.labels, STRANDS))
    for index in rng.choice(len(rows), RAYS, replace=False):
        row, column = rows[index], columns[index]
        depth, normal, part = met_by_ray(posed.mesh, subject.cameras[name], (column + 0.5, row + 0.5))
        errors["depth, mm"].append(1e3 * abs(depth - float(truth.depth[row, column])))
        angle = np.degrees(np.arccos(min(abs(float(normal @ truth.normals[row, column])), 1.0)))
        errors["normal, degrees"].append(float(angle))
        errors["label"].append(float(part != truth.labels[row, column]))
    return errors


def landmark_errors(camera: RigCamera, points: Float[np.ndarray, "n 3"]) -> list[float]:
    """Pixels from each landmark as stated to the middle of a ball around it as found in a label picture."""
    stated = seen_landmarks(camera, points, np.zeros((camera.height, camera.width), np.float32))[0]
    # The corners of an octahedron.
    around = MARKER_M * np.concatenate([np.eye(3), -np.eye(3)])
    faces = np.array([[x, y, z] for x in (0, 3) for y in (1, 4) for z in (2, 5)])
    columns = np.zeros((6 * len(points), 16), np.float32)
    columns[:, :3] = (points[:, None] + around).reshape(-1, 3)
    empty = LitMesh(columns, np.zeros((0, 3), np.int64), np.zeros(0, np.uint8), *np.zeros((2, 2, 3), np.float32))
    errors = []
    for index in range(len(points)):  # one by one: none hides another
        marked = empty._replace(faces=faces + 6 * index, part=np.full(8, LABELS["skin"], np.uint8))
        labels = truth_maps(through_lens(marked, camera), ideal_camera(camera)).labels
        found = np.argwhere(labels == LABELS["skin"])[:, ::-1]  # column, row
        if len(found) and found.min() > 0 and (found.max(0) < [camera.width - 1, camera.height - 1]).all():
            errors.append(float(np.linalg.norm(found.mean(0) + 0.5 - stated[index])))
    return errors


def print_truth(preset: Preset, people: int, width: int) -> None:
    """Worst and typical errors over all people and cameras of a preset."""
    options = SimulationOptions(width=width, height=width * 4 // 3, preset=preset, faults=PRESETS[preset])
    overlaps, landmarks, errors = [], [], defaultdict(list)
    rng = np.random.default_rng(0)
    for seed in range(people):
        subject = without_hair(simulate_subject(seed, options))
        posed = subject.posed(NEUTRAL)
        points = np.stack(list(posed.landmarks.values()))[:LANDMARKS]
        for name, camera in subject.cameras.items():
            overlaps.append(mask_overlap(subject, posed, name))
            landmarks += landmark_errors(camera, points)
            for kind, values in ray_errors(subject, posed, name, rng).items():
                errors[kind] += values
    print(f"{preset}: mask IoU at least {min(overlaps):.4f}, mean {np.mean(overlaps):.4f}, over {len(overlaps)} views")
    print(f"  {len(landmarks)} landmarks: {np.mean(landmarks):.2f} px off in the mean, at most {max(landmarks):.2f}")
    for kind in ("depth, mm", "normal, degrees"):
        middle, most = np.percentile(errors[kind], [50, 95])
        print(f"  {kind}: median {middle:.2g}, 95 % below {most:.2g}, of {len(errors[kind])} rays")
    print(f"  labels: {100 * np.mean(errors['label']):.1f} % differ from what the ray meets")


def print_differences(preset: Preset, seed: int, width: int) -> None:
    """How many pixels of a preset's pictures differ from clean ones while its faults are switched off one by one."""
    lossless = replace(PRESETS[preset], jpeg=0.0)
    size = {"rig": RigPlan(cameras=4), "width": width, "height": width * 4 // 3}

    def taken(faults: Faults) -> Float[np.ndarray, "c h w 3"]:
        subject = simulate_subject(seed, SimulationOptions(**size, faults=faults))
        posed = subject.posed(NEUTRAL)
        return np.stack([subject.view(NEUTRAL, name, posed).image for name in subject.cameras])

    clean, shares = taken(Faults(jpeg=0.0)), []
    for fault in ("", "noise", "blur", "room", "gain", "light", "distortion"):
        lossless = replace(lossless, **{fault: 0.0}) if fault else lossless
        differ = (taken(lossless) != clean).any(-1).mean()
        shares.append(f"{f'without {fault}' if fault else 'with all'} {100 * differ:.1f} %")
    print(f"{preset} beside clean, pixels that differ: " + ", ".join(shares))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--width", type=int, default=375)
    arguments = parser.parse_args()
    for preset in PRESETS:
        print_truth(preset, arguments.people, arguments.width)
    for preset in ("studio", "harsh"):
        print_differences(preset, 0, arguments.width // 2)


if __name__ == "__main__":
    main()
