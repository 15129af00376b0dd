"""`headsup doctor`: what works on this machine, and what to do about what does not."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Annotated, Literal

import typer

from headsup_cli import __version__
from headsup_cli.commands.console import print_json, print_table
from headsup_cli.commands.options import JsonOption, QuietOption
from headsup_cli.errors import CheckFailed, HeadsupError

_LEAST_MEMORY_GB = 8
_LEAST_DISK_GB = 2


@dataclass(frozen=True)
class Finding:
    """What one check found; `remedy` says what to do unless all is well."""

    status: Literal["ok", "note", "failed"]  # a note costs speed or waits for first use; a failure stops the main job
    found: str
    remedy: str = ""


def doctor(
    warm_up: Annotated[
        bool,
        typer.Option(
            "--warm-up", help="First build the head template and compile the CPU renderer, which takes minutes."
        ),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what works on this machine, and what to do about what does not.

    Leaves with 1 if something is missing that 'headsup reconstruct' cannot do without.

    Example:
        headsup doctor
        headsup doctor --warm-up
    """
    if warm_up:
        _warm_up()
    findings = {name: _examine(check) for name, check in _CHECKS.items()}
    if as_json:
        checks = {name: asdict(finding) for name, finding in findings.items()}
        print_json({"headsup": __version__, "platform": platform.platform(), "checks": checks})
    else:
        rows = [(name, f.status, f.found + (f"; {f.remedy}" if f.remedy else "")) for name, f in findings.items()]
        print_table(("check", "status", "finding"), rows)
    failed = [name for name, finding in findings.items() if finding.status == "failed"]
    if failed:
        raise CheckFailed(f"headsup cannot do its main job here: see {', '.join(failed)}.")


def _warm_up() -> None:
    from headsup_cli.rendering.render import warm_up
    from headsup_cli.runtime.progress import StageTimes
    from headsup_cli.template.default import load_template

    times = StageTimes()
    with times.stage("head template"):
        load_template()
    with times.stage("CPU renderer"):
        warm_up()


def _examine(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except HeadsupError as error:
        return Finding("failed", str(error))
    except Exception as error:  # whatever a broken installation throws is the finding
        return Finding("failed", " ".join(f"{type(error).__name__}: {error}".split()), "reinstall headsup")


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info < (3, 14):
        return Finding("ok", found)
    return Finding("failed", found, "use Python 3.11, 3.12 or 3.13")


def _torch() -> Finding:
    import torch

    return Finding("ok", str(torch.__version__))


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        memory_gb = torch.cuda.get_device_properties(0).total_memory / 1e9
        return Finding("ok", f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, {memory_gb:.0f} GB")
    if shutil.which("nvidia-smi"):
        return Finding(
            "note",
            "nvidia-smi is there, but PyTorch sees no GPU",
            "install a PyTorch built for its driver (pytorch.org)",
        )
    return Finding("ok", "none, the CPU is used")


def _gsplat() -> Finding:
    import torch

    version = metadata.version("gsplat")
    if not torch.cuda.is_available():
        return Finding("ok", f"{version}, not needed without a GPU")
    spec = util.find_spec("gsplat")  # finds without importing: an import may start a build
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    extensions = Path(os.environ.get("TORCH_EXTENSIONS_DIR", "~/.cache/torch_extensions")).expanduser()
    if [*package.glob("csrc*.so"), *package.glob("csrc*.pyd"), *extensions.rglob("gsplat_cuda*.so")]:
        return Finding("ok", f"{version}, CUDA kernels built")
    if shutil.which("nvcc") or os.environ.get("CUDA_HOME"):
        return Finding(
            "note", f"{version}, CUDA kernels not built yet", "the first use builds them, which takes minutes"
        )
    return Finding(
        "failed",
        f"{version}, without CUDA kernels and without nvcc to build them",
        "install gsplat's wheel for your PyTorch (docs.gsplat.studio/whl) or the CUDA toolkit, or use --device cpu",
    )


def _cpu_renderer() -> Finding:
    import numba
    import torch

    return Finding("ok", f"numba {numba.__version__}, {torch.get_num_threads()} threads")


def _opencv() -> Finding:
    from headsup_cli.media.opencv import cv2

    return Finding("ok", cv2.__version__)


def _ffmpeg() -> Finding:
    import numpy as np

    from headsup_cli.media.video import ffmpeg_executable, open_video_writer, read_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.mp4"
        with open_video_writer(path, width=64, height=64) as append:
            append(np.full((64, 64, 3), 128, np.uint8))
        frames = list(read_video(path))
    if len(frames) != 1:
        return Finding("failed", f"{ffmpeg_executable()} lost a frame", "pip install --force-reinstall imageio-ffmpeg")
    return Finding("ok", f"writes H.264, {ffmpeg_executable()}")


def _weights() -> Finding:
    from safetensors import safe_open

    from headsup_cli.model.config import DEFAULT_CHECKPOINT

    if not DEFAULT_CHECKPOINT.is_file():
        return Finding("failed", f"{DEFAULT_CHECKPOINT} is missing", "reinstall headsup")
    with safe_open(DEFAULT_CHECKPOINT, "numpy") as file:
        tensors = len(file.keys())
    return Finding("ok", f"{DEFAULT_CHECKPOINT.name}, {tensors} tensors, {_megabytes(DEFAULT_CHECKPOINT)}")


def _template() -> Finding:
    from headsup_cli.runtime.cache_directory import cache_directory
    from headsup_cli.template.default import DEFAULT_NAME, load_template

    own = os.environ.get("HEADSUP_TEMPLATE")
    if not own and not any(cache_directory().glob(f"template-{DEFAULT_NAME}-*.npz")):
        return Finding("note", "not built yet", "the first use builds it, or 'headsup doctor --warm-up' now")
    template = load_template()
    return Finding("ok", f"{template.name}, {len(template.vertices)} vertices" + (f", {own}" if own else ""))


def _cache() -> Finding:
    from headsup_cli.runtime.cache_directory import cache_directory

    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Finding("ok", str(folder))
    except OSError as error:
        return Finding("failed", f"{folder} ({error.strerror})", "set HEADSUP_CACHE_DIR to a folder you can write to")


def _disk() -> Finding:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    found = f"{free_gb:.0f} GB free here"
    return Finding("ok", found) if free_gb >= _LEAST_DISK_GB else Finding("note", found, "make room for results")


def _memory() -> Finding:
    total_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    found = f"{total_gb:.0f} GB, {os.cpu_count()} CPU cores"
    if total_gb >= _LEAST_MEMORY_GB:
        return Finding("ok", found)
    return Finding("note", found, f"large captures want {_LEAST_MEMORY_GB} GB; lower --views if it runs out")


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


_CHECKS: dict[str, Callable[[], Finding]] = {
    "Python": _python,
    "PyTorch": _torch,
    "GPU": _gpu,
    "gsplat": _gsplat,
    "CPU renderer": _cpu_renderer,
    "OpenCV": _opencv,
    "ffmpeg": _ffmpeg,
    "weights": _weights,
    "template": _template,
    "cache": _cache,
    "disk": _disk,
    "memory": _memory,
}
