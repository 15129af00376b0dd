"""A simulated person on a simulated rig, and the dump that such a rig would have written, with the truth beside it."""

from __future__ import annotations

import json
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli import __version__
from headsup_cli.cameras.lens_view import LensView
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.capture.rigs.native import (
    ONLY_FRAME,
    write_backgrounds,
    write_calibration,
    write_expressions,
    write_rig_frame,
)
from headsup_cli.errors import InputError
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.runtime.atomic import atomic_directory
from headsup_cli.runtime.memory import keep_freed_memory
from headsup_cli.simulation.attributes import attributes
from headsup_cli.simulation.body.expressions import sample_expression
from headsup_cli.simulation.drawing.lens_view import ideal_camera, through_lens
from headsup_cli.simulation.drawing.lighting import Lamps, hardened, sample_lamps
from headsup_cli.simulation.drawing.shading import LitMesh, before, render_mesh
from headsup_cli.simulation.drawing.strands import sample_footprint_m
from headsup_cli.simulation.person import Person, lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig.backdrop import Backdrop, render_backdrop, sample_backdrop
from headsup_cli.simulation.rig.faults import CameraFaults, Faults, Preset, recorded, sample_camera_faults
from headsup_cli.simulation.rig.rig import RigPlan, as_rig_cameras, head_in, rotation, sample_cameras
from headsup_cli.simulation.truth import (
    LABELS,
    TruthMaps,
    landmark_points,
    landmark_record,
    seen_landmarks,
    truth_maps,
    write_truth_maps,
)

Truth = Literal["all", "light"]
NEUTRAL = "00_neutral"  # name of the first frame
TRUTH_SCHEMA = "headsup-simulation/2"
_WRITERS = 4  # threads that encode and write pictures while the next is rendered
_QUEUE = 8  # pictures that may wait for them


@dataclass(frozen=True)
class SimulationOptions:
    """What a simulated rig is like."""

    rig: RigPlan = field(default_factory=RigPlan)
    width: int = 750  # of the pictures, unless the rig is a given calibration
    height: int = 1000
    expressions: int = 1  # frames; the first is neutral
    preset: Preset = "clean"  # what `faults` started from, for the record
    faults: Faults = field(default_factory=Faults)
    truth: Truth = "all"  # `light` leaves out depth, normals and labels
    supersampling: int = 2

    def __post_init__(self) -> None:
        for name in ("width", "height", "expressions", "supersampling"):
            if getattr(self, name) < 1:
                raise InputError(
                    "simulation", field=name, found=str(getattr(self, name)), expected="at least 1", remedy="raise it"
                )

    @property
    def record(self) -> dict[str, Any]:
        """The options for JSON."""
        own = {name: getattr(self, name) for name in ("width", "height", "expressions", "preset", "truth")}
        return self.rig.record | own | {"supersampling": self.supersampling, "faults": asdict(self.faults)}


@dataclass(frozen=True)
class SimulatedView:
    """What one camera recorded, and what is true of it."""

    image: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]
    truth: TruthMaps


@dataclass(frozen=True)
class PosedSubject:
    """A simulated subject at one moment, in the head frame."""

    vertices: Float32[np.ndarray, "v 3"]  # template topology, posed and dressed
    mesh: LitMesh
    landmarks: dict[str, Float[np.ndarray, "3"]]  # iBUG's and the template's, by name


@dataclass(frozen=True)
class SimulatedSubject:
    """A person before a rig; `view` and `plate` take the pictures."""

    seed: int
    options: SimulationOptions
    person: Person
    lamps: Lamps
    backdrop: Backdrop
    cameras: dict[str, RigCamera]  # their world being the head frame
    faults: dict[str, CameraFaults]
    rig_from_head: Float[np.ndarray, "4 4"]
    expressions: dict[str, dict[str, float]]  # ARKit coefficients by frame

    @cached_property
    def _last_room(self) -> dict[str, Float32[np.ndarray, "h w 3"]]:
        return {}

    def true_calibration(self) -> dict[str, RigCamera]:
        """The cameras in the rig's world."""
        head_from_rig = np.linalg.inv(self.rig_from_head)
        return {
            name: replace(camera, cam_from_rig=camera.cam_from_rig @ head_from_rig)
            for name, camera in self.cameras.items()
        }

    def stated_calibration(self) -> dict[str, RigCamera]:
        """The cameras in the rig's world as the dump's calibration has them, off the truth by its error."""
        return {
            name: replace(camera, cam_from_rig=_turned(self.faults[name].stray) @ camera.cam_from_rig)
            for name, camera in self.true_calibration().items()
        }

    def posed(self, frame: str) -> PosedSubject:
        """The person at the moment of a frame."""
        vertices = posed_vertices(self.person, self.expressions[frame])
        views = map(ideal_camera, self.cameras.values())
        samples = [sample_footprint_m(view, self.options.supersampling) for view in views]
        mesh = lit_mesh(self.person, vertices, self.lamps, float(np.median(samples)))
        return PosedSubject(vertices, mesh, landmark_points(vertices, self.person.paint.brow_lift))

    def view(self, frame: str, camera: str, posed: PosedSubject) -> SimulatedView:
        """Take one picture of `posed(frame)`."""
        faults, ideal = self.faults[camera], ideal_camera(self.cameras[camera])
        mesh = through_lens(posed.mesh, self.cameras[camera])
        rgb, alpha = render_mesh(mesh, self.person.paint, ideal, self.options.supersampling, faults.gain[None])
        picture = before(rgb[0], alpha[0], self.room(camera))
        frame_index, camera_index = list(self.expressions).index(frame), list(self.cameras).index(camera)
        noise = np.random.default_rng([self.seed, 5, frame_index, camera_index])
        return SimulatedView(
            image=to_8bit(recorded(picture, faults, noise)), mask=to_8bit(alpha[0]), truth=truth_maps(mesh, ideal)
        )

    def plate(self, camera: str) -> UInt8[np.ndarray, "h w 3"]:
        """Take a picture of the room without the person."""
        noise = np.random.default_rng([self.seed, 6, list(self.cameras).index(camera)])
        return to_8bit(recorded(self.room(camera), self.faults[camera], noise))

    def room(self, camera: str) -> Float32[np.ndarray, "h w 3"]:
        """The backdrop behind one camera, kept until another's is asked for."""
        if camera not in self._last_room:
            lens = LensView.of(self.cameras[camera])
            room = lens.bent(render_backdrop(self.backdrop, lens.canvas, self.faults[camera].gain[None])[0])
            self._last_room.clear()
            self._last_room[camera] = room
        return self._last_room[camera]


def _turned(turn: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4 4"]:
    transform = np.eye(4)
    transform[:3, :3] = turn
    return transform


def simulate_subject(seed: int, options: SimulationOptions) -> SimulatedSubject:
    """Draw a person and a rig; one seed gives the same person, cameras and expressions whatever the faults.

    Args:
        seed: Chooses everything that the options do not say.
        options: What the rig is like.

    Raises:
        InputError: The cameras of a given calibration see no head.
    """
    streams = [np.random.default_rng([seed, stream]) for stream in range(8)]
    person, faults, plan = sample_person(streams[0]), options.faults, options.rig
    turn = _turned(rotation(np.radians(streams[7].normal(0, [4.0, 8.0, 3.0]))))
    world = _turned(rotation(np.radians(faults.tilt) * streams[7].uniform(-1, 1, 3)))
    place = streams[7].normal([0, 1.35, 0], [0.05, 0.15, 0.05])
    shares = sample_camera_faults(streams[4], len(plan.calibration) or plan.cameras, faults)
    if plan.calibration:
        rig_from_head = head_in(plan.calibration) @ turn
        cameras = {
            name: replace(camera, cam_from_rig=camera.cam_from_rig @ rig_from_head)
            for name, camera in plan.calibration.items()
        }
    else:
        rig_from_head = world @ turn
        rig_from_head[:3, 3] = place
        drawn = sample_cameras(
            streams[1], plan.cameras, options.width, options.height, plan.layout, spread=faults.spread
        )
        cameras = as_rig_cameras(drawn, [share.lens for share in shares])
    farthest = max(float(np.linalg.norm(camera.centre)) for camera in cameras.values())
    lamps = sample_lamps(np.random.default_rng([seed, 8]))
    names = [NEUTRAL, *(f"{index:02d}_expression" for index in range(1, options.expressions))]
    return SimulatedSubject(
        seed=seed,
        options=options,
        person=person,
        lamps=hardened(lamps, faults.light),
        backdrop=sample_backdrop(streams[3], faults.room, beyond_m=farthest),
        cameras=cameras,
        faults=dict(zip(cameras, shares, strict=True)),
        rig_from_head=rig_from_head,
        expressions={name: {} if name == NEUTRAL else sample_expression(streams[2]) for name in names},
    )


def write_subject(subject: SimulatedSubject, folder: Path) -> None:
    """Write the rig dump (`headsup-rig/1`) of a subject into `folder`, with `truth/` (docs/simulate.md).

    The calibration is written last, so a folder without one is unfinished.
    """
    truth = folder / "truth"
    with ThreadPoolExecutor(_WRITERS) as pool:
        for frame in subject.expressions:
            _write_frame(subject, frame, folder, pool)
    stated = {_folder_of(subject, frame) or ONLY_FRAME: values for frame, values in subject.expressions.items()}
    write_expressions(folder, stated)
    (truth / "truth.json").write_text(json.dumps(_truth(subject), indent=1) + "\n")
    write_calibration(truth / "calibration.json", subject.true_calibration())
    write_calibration(folder / "calibration.json", subject.stated_calibration())


def _folder_of(subject: SimulatedSubject, frame: str) -> str | None:
    """Where pictures of a frame lie within `images/` and the like; those of a single one have no folder."""
    return frame if len(subject.expressions) > 1 else None


def _write_frame(subject: SimulatedSubject, frame: str, folder: Path, pool: ThreadPoolExecutor) -> None:
    """Write the pictures of one frame on the pool's threads while the next are rendered, and what is true of it."""
    posed, truth = subject.posed(frame), folder / "truth"
    points = np.stack(list(posed.landmarks.values()))
    first = frame == next(iter(subject.expressions))
    seen, pending = {}, deque[Future[None]]()
    for camera in subject.cameras:
        view = subject.view(frame, camera, posed)
        seen[camera] = seen_landmarks(subject.cameras[camera], points, view.truth.depth)
        pending.append(pool.submit(_write_view, subject, frame, camera, view, folder))
        if first and subject.faults[camera].has_plate:
            pending.append(pool.submit(write_backgrounds, folder, {camera: subject.plate(camera)}))
        if len(pending) > _QUEUE:
            pending.popleft().result()
    for written in pending:
        written.result()
    record = landmark_record(posed.landmarks, subject.rig_from_head, seen)
    (truth / f"landmarks_{frame}.json").write_text(json.dumps(record) + "\n")
    surface = _moved(subject.rig_from_head, posed.mesh.columns[:, :3])
    _write_ply(truth / f"surface_{frame}.ply", surface, posed.mesh.faces)
    np.save(truth / f"vertices_{frame}.npy", posed.vertices)


def _write_view(subject: SimulatedSubject, frame: str, camera: str, view: SimulatedView, folder: Path) -> None:
    within, quality = _folder_of(subject, frame), round(subject.options.faults.jpeg)
    write_rig_frame(
        folder,
        {camera: view.image},
        {camera: view.mask} if subject.faults[camera].has_mask else None,
        frame=within,
        suffix=".jpg" if quality else ".png",
        jpeg_quality=quality,
    )
    truth = folder / "truth"
    write_image(truth / "masks" / (within or "") / f"{camera}.png", view.mask)
    if subject.options.truth == "all":
        write_truth_maps(truth, within or "", camera, view.truth)


def is_written(folder: Path, seed: int, options: SimulationOptions) -> bool:
    """Whether `folder` holds the finished dump of just this seed with these options, by this version."""
    try:
        record = json.loads((folder / "truth" / "truth.json").read_text())
    except (OSError, ValueError):
        return False
    if not isinstance(record, dict) or not (folder / "calibration.json").exists():
        return False
    return {key: record.get(key) for key in ("program", "seed", "options")} == _made_by(seed, options)


def _made_by(seed: int, options: SimulationOptions) -> dict[str, Any]:
    return {"program": f"headsup {__version__}", "seed": seed, "options": options.record}


def _truth(subject: SimulatedSubject) -> dict[str, Any]:
    person, identity = subject.person, subject.person.identity
    return {
        "schema": TRUTH_SCHEMA,
        **_made_by(subject.seed, subject.options),
        "rig_from_head": subject.rig_from_head.tolist(),
        "attributes": attributes(person) | {"light": subject.lamps.setup},
        "phenotype": identity.phenotype,
        "local_changes": identity.local_changes,
        "expressions": subject.expressions,
        "labels": LABELS,
        "cameras": {
            name: {
                "gain": faults.gain.tolist(),
                "noise": faults.noise,
                "blur_px": faults.blur_px,
                "calibration_error": faults.stray.tolist(),
            }
            for name, faults in subject.faults.items()
        },
    }


def _moved(transform: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return points @ transform[:3, :3].T + transform[:3, 3]


def _write_ply(path: Path, vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "m 3"]) -> None:
    """Write a mesh as binary PLY."""
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    rows["count"], rows["corners"] = 3, faces
    path.write_bytes(header.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())


@dataclass(frozen=True)
class SubjectJob:
    """Makes people's dumps by folder, in any process."""

    seeds: dict[Path, int]
    options: SimulationOptions

    def __call__(self, folder: Path) -> None:
        """Simulate the folder's person; the folder appears complete or not at all."""
        keep_freed_memory()
        with atomic_directory(folder) as unfinished:
            write_subject(simulate_subject(self.seeds[folder], self.options), unfinished)

    def is_done(self, folder: Path) -> bool:
        """Whether that has been done."""
        return is_written(folder, self.seeds[folder], self.options)
