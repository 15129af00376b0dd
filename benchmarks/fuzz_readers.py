"""Fuzz everything that reads strangers' files with atheris: no crash but our own errors.

pip install atheris, then: python benchmarks/fuzz_readers.py TARGET [-max_total_time=60] [-rss_limit_mb=4096]

TARGET is a dialect of rig dumps, a key of FILES in tests/capture/rigs/test_hostile.py such as "colmap binary", or
one of "pictures", "curves", "gaussians", "head", "capture", "template", "camera path" and "board". `all` names every
target, a line each, and fuzzes none.
"""

import importlib.util
import json
import logging
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import atheris
import numpy as np

_READERS = ("capture", "media", "animation", "gaussians", "config_files", "template", "inference.camera_paths")
_MODULES = [*(f"headsup_cli.{name}" for name in _READERS), "headsup_cli.calibration.board"]
with atheris.instrument_imports(include=_MODULES):
    from headsup_cli.animation.drivers.detection import read_curves
    from headsup_cli.calibration.board import board_tracks, parse_board
    from headsup_cli.capture.capture import read_capture, write_capture
    from headsup_cli.capture.rig_dump import RigFrame
    from headsup_cli.capture.rigs.detection import IMPORTERS
    from headsup_cli.errors import InputError
    from headsup_cli.gaussians.formats.compressed_ply import decode_compressed_ply, encode_compressed_ply
    from headsup_cli.gaussians.formats.glb import decode_glb, encode_glb
    from headsup_cli.gaussians.formats.splat import decode_splat, encode_splat
    from headsup_cli.gaussians.formats.spz import decode_spz, encode_spz
    from headsup_cli.gaussians.head import read_head
    from headsup_cli.gaussians.ply import read_ply, write_ply
    from headsup_cli.inference.camera_paths import read_camera_path
    from headsup_cli.media.opencv import cv2
    from headsup_cli.media.pictures import Picture, read_picture
    from headsup_cli.template.folder import read_template_folder

_TESTS = Path(__file__).parents[1] / "tests"


@dataclass(frozen=True)
class Target:
    """Something to fuzz: libFuzzer changes the content of one file at a time, then `read` is called with that file."""

    seeds: Sequence[tuple[Path, bytes]]  # files, and what may stand in them at first; one file may have several
    read: Callable[[Path], object]
    kept: dict[Path, bytes]  # what stands in them while another is changed


def main() -> None:
    """Mutate the target's files for as long as libFuzzer is told to."""
    name, arguments = sys.argv[1], sys.argv[2:]
    if name == "all":
        print("\n".join(TARGETS))
        return
    logging.disable()
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp()) / "d"
    folder.mkdir()
    target = TARGETS[name](folder)
    files = list(dict.fromkeys(path for path, _ in target.seeds))
    corpus = Path(tempfile.mkdtemp())
    for index, (path, content) in enumerate(target.seeds):
        (corpus / str(index)).write_bytes(bytes([files.index(path)]) + content)

    def one(data: bytes) -> None:
        path = files[data[0] % len(files)] if data else files[0]
        path.write_bytes(data[1:])
        with suppress(InputError):
            target.read(path)
        if path in target.kept:
            path.write_bytes(target.kept[path])

    atheris.Setup([sys.argv[0], *arguments, str(corpus)], one)
    atheris.Fuzz()


def _of_folder(files: Sequence[Path], read: Callable[[], object]) -> Target:
    """Files that only make sense together."""
    contents = {path: path.read_bytes() for path in files}
    return Target(list(contents.items()), lambda _: read(), contents)


def _dialect(name: str) -> Callable[[Path], Target]:
    def target(folder: Path) -> Target:
        importer, write = _module("capture/rigs/conftest").WRITERS[name]
        read = next(known.read for known in IMPORTERS if known.name == importer)
        write(folder)
        return _of_folder([folder / file for file in _hostile().FILES[name]], lambda: read(folder))

    return target


def _pictures(folder: Path) -> Target:
    seeds = []
    for suffix in (".png", ".jpg", ".tif", ".webp", ".avif"):
        encoded = cv2.imencode(suffix, np.arange(192, dtype=np.uint8).reshape(8, 8, 3))[1].tobytes()
        with zipfile.ZipFile(folder / "made.zip", "w") as archive:
            archive.writestr("a.png", encoded)
        seeds += [(folder / "a", encoded), (folder / "b", (folder / "made.zip").read_bytes())]
    return Target(seeds, lambda path: read_picture(Picture(path, member=None if path.name == "a" else "a.png")), {})


def _curves(folder: Path) -> Target:
    names = "browDownLeft,JawOpen,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,RightEyeYaw,RightEyePitch"
    rows = "".join(f"12:00:0{i}:0{i}.5,61,0.1,0.{i},1,2,3,4,5,6,7\n" for i in range(3))
    clips = _module("animation/drivers/test_drivers").JSON_CLIPS
    seeds = [
        (folder / "a.csv", f"Timecode,BlendShapeCount,{names}\n{rows}".encode()),
        (folder / "a.csv", b"time_ms;jawOpen;mood\n0;0.1;1\n50;0.2;1\n"),
        (folder / "a.csv", b"head_yaw_deg,head_pitch_deg,head_roll_deg,jawOpen_L\n1,2,3,0.1\n"),
        (folder / "a.txt", b"info,device\nbs,jawOpen,mouthSmile_L\nk,1000,0,0,0,1,2,3,1,2,3,4,0.5,0\n"),
        *((folder / "a.json", json.dumps(clip).encode()) for clip in clips.values()),
    ]
    return Target(seeds, read_curves, {})


def _gaussians(folder: Path) -> Target:
    decoders = {
        ".compressed": decode_compressed_ply, ".spz": decode_spz, ".splat": decode_splat, ".glb": decode_glb,
    }  # fmt: skip
    scene = _module("gaussians/test_ply").scene(5)
    write_ply(folder / "a.ply", scene)
    seeds = [
        (folder / "a.ply", (folder / "a.ply").read_bytes()),
        (folder / "a.compressed", encode_compressed_ply(scene)),
        (folder / "a.spz", encode_spz(scene)),
        (folder / "a.splat", encode_splat(scene)),
        (folder / "a.glb", encode_glb(scene)),
    ]

    def read(path: Path) -> object:
        decode = decoders.get(path.suffix)
        return read_ply(path) if decode is None else decode(path.read_bytes(), path)

    return Target(seeds, read, {})


def _head(folder: Path) -> Target:
    head = {
        "schema": "headsup-head/1", "subject": "egg", "template": "toy", "template_sha256": "0" * 64, "resolution": 2,
        "rig_from_head": np.eye(4).tolist(), "provenance": {"seed": 1},
    }  # fmt: skip
    (folder / "head.json").write_text(json.dumps(head))
    (folder / "head.safetensors").write_bytes(_maps())
    return _of_folder([folder / "head.json", folder / "head.safetensors"], lambda: read_head(folder))


def _maps() -> bytes:
    from safetensors.numpy import save

    shapes = {"offset": (3,), "log_scale": (3,), "rotation": (4,), "opacity_logit": (1,), "sh": (4, 3)}
    return save({name: np.zeros((2, 2, *rest), np.float32) for name, rest in shapes.items()})


def _capture(folder: Path) -> Target:
    made = _module("capture/test_capture").made_up_capture()
    write_capture(made, folder / "capture")
    return _of_folder([folder / "capture" / "capture.json"], lambda: read_capture(folder / "capture"))


def _template(folder: Path) -> Target:
    corners = [(0, 0, 0), (0.15, 0, 0), (0.02, 0.03, 0.09), (0.13, 0.03, 0.09)]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"vt {u} {v}" for u, v in ((0, 0), (1, 0), (0, 1), (1, 1))]
    mesh = "\n".join([*lines, "g skin", "f 1/1 2/2 3/3", "f 2/2 4/4 3/3"]) + "\n"
    (folder / "neutral.obj").write_text(mesh)
    (folder / "blendshapes").mkdir()
    (folder / "blendshapes" / "jawOpen.obj").write_text(mesh)
    (folder / "template.yaml").write_text(
        "name: toy\nunits: m\nblendshapes: blendshapes\nregions: {face: [0, 1]}\n"
        "landmarks: {ear_canal_left: 1, ear_canal_right: 0, orbitale_left: 3, orbitale_right: 2}\n"
    )
    files = [folder / "template.yaml", folder / "neutral.obj", folder / "blendshapes" / "jawOpen.obj"]
    return _of_folder(files, lambda: read_template_folder(folder))


def _camera_path(folder: Path) -> Target:
    keys = [{"time_s": t, "position": [t, 0.1, 1], "target": [0, 0, 0], "fov_deg": 30} for t in range(3)]
    file = folder / "path.json"
    file.write_text(json.dumps({"schema": "headsup-path/1", "keyframes": keys}))
    return _of_folder([file], lambda: read_camera_path(file).cameras(4, 32, 32, file))


def _board(folder: Path) -> Target:
    grey = np.full((64, 64), 128, np.uint8)
    cv2.imwrite(str(folder / "a.png"), grey)
    frame = RigFrame({"a": Picture(folder / "a.png")})
    seeds = [b"chessboard:9x6:25mm", b"charuco:7x5:40mm:30mm:DICT_5X5_100", b"charuco:5x4:4cm:0.03m:DICT_4X4_50"]

    def read(path: Path) -> object:
        return board_tracks(parse_board(path.read_bytes().decode(errors="replace")), [frame], {"a": None})

    return Target([(folder / "spec", seed) for seed in seeds], read, {})


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).name, _TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[Path(name).name] = module
    spec.loader.exec_module(module)
    return module


def _hostile() -> ModuleType:
    return _module("capture/rigs/test_hostile")


TARGETS: dict[str, Callable[[Path], Target]] = {
    **{name: _dialect(name) for name in _hostile().FILES},
    "pictures": _pictures, "curves": _curves, "gaussians": _gaussians, "head": _head, "capture": _capture,
    "template": _template, "camera path": _camera_path, "board": _board,
}  # fmt: skip


if __name__ == "__main__":
    main()
