"""A simulated person on a simulated rig, and the dump that such a rig would have written, with the truth beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from headsup_cli import __version__
from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.lens import Lens
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
from headsup_cli.media.opencv import cv2
from headsup_cli.simulation.backdrop import Backdrop, render_backdrop, sample_backdrop
from headsup_cli.simulation.expressions import sample_expression
from headsup_cli.simulation.lighting import Lamps, sample_lamps
from headsup_cli.simulation.person import Person, lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig import CameraFaults, RigLayout, rotation, sample_cameras, sample_faults
from headsup_cli.simulation.shading import render_mesh
from headsup_cli.template.anny_source import AnnySource

Preset = Literal["clean", "studio"]
NEUTRAL = "00_neutral"  # name of the first frame
TRUTH_SCHEMA = "headsup-simulation/1"


@dataclass(frozen=True)
class SimulationOptions:
    """What a simulated rig is like."""

    cameras: int = 16
    width: int = 750
    height: int = 1000
    expressions: int = 1  # frames; the first is neutral
    preset: Preset = "clean"  # plain and ideal, or a studio's faults, backdrop and clean plates in place of masks
    layout: RigLayout = "dome"
    supersampling: int = 2
    suffix: str = ".jpg"
    jpeg_quality: int = 95

    def __post_init__(self) -> None:
        for name in ("cameras", "width", "height", "expressions", "supersampling"):
            if getattr(self, name) < 1:
                raise InputError(
                    "simulation", field=name, found=str(getattr(self, name)), expected="at least 1", remedy="raise it"
                )


@dataclass(frozen=True)
class SimulatedFrame:
    """One moment of a simulated subject as its cameras recorded it."""

    images: dict[str, UInt8[np.ndarray, "h w 3"]]
    masks: dict[str, UInt8[np.ndarray, "h w"]]
    vertices: Float32[np.ndarray, "v 3"]  # template topology, posed and dressed, head frame
    surface: Float32[np.ndarray, "n 3"]  # all that was rendered, hair included, head frame
    faces: Int[np.ndarray, "m 3"]  # of the surface


@dataclass(frozen=True)
class SimulatedSubject:
    """A person before a rig; `render_frame` and `render_plates` take the pictures."""

    seed: int
    options: SimulationOptions
    person: Person
    lamps: Lamps
    backdrop: Backdrop
    cameras: Cameras  # head frame, without distortion
    faults: CameraFaults
    rig_from_head: Float[np.ndarray, "4 4"]
    expressions: dict[str, dict[str, float]]  # ARKit coefficients by frame

    @property
    def camera_names(self) -> list[str]:
        """Names in the order of `cameras`."""
        return [f"cam{index:02d}" for index in range(len(self.cameras))]

    def rig_cameras(self) -> dict[str, RigCamera]:
        """The calibration, in the rig's world."""
        head_from_rig = np.linalg.inv(self.rig_from_head)
        poses, K = self.cameras.cam_from_world.numpy() @ head_from_rig, self.cameras.K.numpy()
        size = self.cameras.width, self.cameras.height
        return {
            name: RigCamera(name, K[index], Lens("opencv", tuple(self.faults.distortion[index])), poses[index], *size)
            for index, name in enumerate(self.camera_names)
        }

    def render_frame(self, frame: str) -> SimulatedFrame:
        """Take the pictures of one frame."""
        vertices = posed_vertices(self.person, self.expressions[frame])
        mesh = lit_mesh(self.person, vertices, self.lamps)
        lenses = _Lenses.of(self.cameras, self.faults)
        images, masks = {}, {}
        rng = np.random.default_rng([self.seed, 5, list(self.expressions).index(frame)])
        for index, name in enumerate(self.camera_names):
            one, gain = lenses.canvas[index], self.faults.gain[index : index + 1]
            rgb, alpha = render_mesh(mesh, self.person.paint, one, self.options.supersampling, gain)
            picture = rgb[0] + (1 - alpha[0, ..., None]) * render_backdrop(self.backdrop, one, gain)[0]
            noise = rng.standard_normal((self.cameras.height, self.cameras.width, 3), dtype=np.float32)
            images[name] = to_8bit(lenses.distorted(index, picture) + self.faults.noise[index] * noise)
            masks[name] = to_8bit(lenses.distorted(index, alpha[0]))
        return SimulatedFrame(images, masks, vertices, mesh.columns[:, :3], mesh.faces)

    def render_plates(self) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
        """Pictures of the room without the person."""
        lenses = _Lenses.of(self.cameras, self.faults)
        rng = np.random.default_rng([self.seed, 6])
        plates = {}
        for index, name in enumerate(self.camera_names):
            plate = render_backdrop(self.backdrop, lenses.canvas[index], self.faults.gain[index : index + 1])[0]
            noise = rng.standard_normal((self.cameras.height, self.cameras.width, 3), dtype=np.float32)
            plates[name] = to_8bit(lenses.distorted(index, plate) + self.faults.noise[index] * noise)
        return plates


@dataclass(frozen=True)
class _Lenses:
    """Ideal views large enough to be bent into what distorting lenses record."""

    canvas: Cameras
    maps: list[Float32[np.ndarray, "h w 2"] | None]  # where on the canvas each pixel looks, pixel centres at integers

    @staticmethod
    def of(cameras: Cameras, faults: CameraFaults) -> _Lenses:
        if not faults.distortion.any():
            return _Lenses(cameras, [None] * len(cameras))
        columns, rows = np.meshgrid(np.arange(cameras.width) + 0.5, np.arange(cameras.height) + 0.5)
        pixels = np.stack([columns, rows], -1).reshape(-1, 1, 2)
        size = np.array([cameras.width, cameras.height])
        looks = [
            cv2.undistortPoints(pixels, K, dist, P=K).reshape(cameras.height, cameras.width, 2)
            for K, dist in zip(cameras.K.numpy(), faults.distortion, strict=True)
        ]
        beyond = max(max(float(-look.min()), float((look - size).max())) for look in looks)
        margin = int(np.clip(np.ceil(beyond) + 2, 2, max(size)))
        K = cameras.K.clone()
        K[:, :2, 2] += margin
        canvas = replace(cameras, K=K, width=cameras.width + 2 * margin, height=cameras.height + 2 * margin)
        return _Lenses(canvas, [(look + margin - 0.5).astype(np.float32) for look in looks])

    def distorted(self, index: int, picture: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        where = self.maps[index]
        return picture if where is None else cv2.remap(picture, where[..., 0], where[..., 1], cv2.INTER_CUBIC)


def simulate_subject(seed: int, options: SimulationOptions) -> SimulatedSubject:
    """Draw a person and a rig; presets of one seed share person, light, cameras and expressions.

    Args:
        seed: Chooses everything that the options do not say.
        options: What the rig is like.
    """
    studio = options.preset == "studio"
    person = sample_person(np.random.default_rng([seed, 0]))
    rig = np.random.default_rng([seed, 1])
    cameras = sample_cameras(rig, options.cameras, options.width, options.height, options.layout)
    lamps = sample_lamps(rig)
    faces = np.random.default_rng([seed, 2])
    names = [NEUTRAL, *(f"{index:02d}_expression" for index in range(1, options.expressions))]
    return SimulatedSubject(
        seed=seed,
        options=options,
        person=person,
        lamps=lamps,
        backdrop=sample_backdrop(np.random.default_rng([seed, 3]), contrast=1.0 if studio else 0.0),
        cameras=cameras,
        faults=sample_faults(
            np.random.default_rng([seed, 4]), options.cameras, *((1.0, 1.0) if studio else (0.0, 0.0))
        ),
        rig_from_head=_sample_rig_from_head(np.random.default_rng([seed, 7]), tilted=studio),
        expressions={name: {} if name == NEUTRAL else sample_expression(faces) for name in names},
    )


def _sample_rig_from_head(rng: np.random.Generator, *, tilted: bool) -> Float[np.ndarray, "4 4"]:
    """Heads are held a little askew and stand somewhere over the floor; a studio's world may lie any way round."""
    turn = rotation(np.radians(rng.normal(0, [4.0, 8.0, 3.0])))
    world = rotation(rng.uniform(-np.pi, np.pi, 3))
    rig_from_head = np.eye(4)
    rig_from_head[:3, :3] = world @ turn if tilted else turn
    rig_from_head[:3, 3] = [*rng.normal(0, 0.05, 1), rng.uniform(1.0, 1.7), *rng.normal(0, 0.05, 1)]
    return rig_from_head


def write_subject(subject: SimulatedSubject, folder: Path) -> None:
    """Write the rig dump (`headsup-rig/1`) of a subject into `folder`, with `truth/` (docs/simulate.md).

    The calibration is written last, so a folder without one is unfinished.
    """
    options, one_frame = subject.options, len(subject.expressions) == 1
    truth = folder / "truth"
    frames: dict[str, Any] = {}
    for name in subject.expressions:
        shot = subject.render_frame(name)
        frame = None if one_frame else name
        own_masks = shot.masks if options.preset == "clean" else None
        write_rig_frame(
            folder, shot.images, own_masks, frame=frame, suffix=options.suffix, jpeg_quality=options.jpeg_quality
        )
        for camera, mask in shot.masks.items() if own_masks is None else ():
            write_image(truth / "masks" / (frame or "") / f"{camera}.png", mask)
        _write_ply(truth / f"surface_{name}.ply", _moved(subject.rig_from_head, shot.surface), shot.faces)
        np.save(truth / f"vertices_{name}.npy", shot.vertices)
        frames[name] = {"landmarks": _landmarks(_moved(subject.rig_from_head, shot.vertices))}
    if options.preset == "studio":
        write_backgrounds(folder, subject.render_plates())
    write_expressions(folder, subject.expressions if not one_frame else {ONLY_FRAME: subject.expressions[NEUTRAL]})
    (truth / "truth.json").write_text(json.dumps(_truth(subject) | {"frames": frames}, indent=1) + "\n")
    write_calibration(folder / "calibration.json", subject.rig_cameras())


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
    return {"program": f"headsup {__version__}", "seed": seed, "options": asdict(options)}


def _truth(subject: SimulatedSubject) -> dict[str, Any]:
    person, identity = subject.person, subject.person.identity
    return {
        "schema": TRUTH_SCHEMA,
        **_made_by(subject.seed, subject.options),
        "rig_from_head": subject.rig_from_head.tolist(),
        "attributes": {
            "gender": identity.gender,
            "age": identity.age,
            "ancestry": identity.ancestry,
            "melanin": person.paint.melanin,
            "hair": person.hair.style,
            "hair_thickness_m": person.hair.thickness_m,
            "beard": float(person.paint.beard_density),
            "clothed": bool(person.paint.collar_y > -0.5),
        },
        "phenotype": identity.phenotype,
        "local_changes": identity.local_changes,
        "cameras": {
            name: {"gain": subject.faults.gain[index].tolist(), "noise": float(subject.faults.noise[index])}
            for index, name in enumerate(subject.camera_names)
        },
    }


def _landmarks(vertices: Float[np.ndarray, "v 3"]) -> dict[str, list[float]]:
    return {name: vertices[index].tolist() for name, index in AnnySource.shared().mesh.landmarks.items()}


def _moved(transform: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return points @ transform[:3, :3].T + transform[:3, 3]


def _write_ply(path: Path, vertices: Float[np.ndarray, "n 3"], faces: Int[np.ndarray, "m 3"]) -> None:
    """Write a mesh as binary PLY."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), np.dtype([("count", "u1"), ("corners", "<i4", 3)]))
    rows["count"], rows["corners"] = 3, faces
    path.write_bytes(header.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())
