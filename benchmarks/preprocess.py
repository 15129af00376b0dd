"""Throughput of preprocessing against what OpenCV alone needs for the same pictures on the same cores.

    python benchmarks/preprocess.py                              # a simulated person: 8 cameras, 8 frames, JPEG, masks
    python benchmarks/preprocess.py ../shared/captures/ict_0     # a dump of your own
    python benchmarks/preprocess.py --codec jpg --masks plates

OpenCV's share is: read, decode, remap (cubic) by tables made once per camera, encode, write; pictures and masks, in as
many threads. Preprocessing is timed with and without what is done once per subject (head frame, colours, QA page).
CPU seconds are printed beside wall seconds, because other programs on the machine disturb only the latter.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from headsup_cli.runtime.threads import configure_threads

configure_threads()

import numpy as np  # noqa: E402

from headsup_cli.capture.capture import Encoding  # noqa: E402
from headsup_cli.capture.rig_dump import RigDump  # noqa: E402
from headsup_cli.capture.rigs.detection import read_rig_dump  # noqa: E402
from headsup_cli.media.opencv import cv2  # noqa: E402
from headsup_cli.preprocessing.capture_folder import PreprocessJob  # noqa: E402
from headsup_cli.preprocessing.options import PreprocessOptions  # noqa: E402
from headsup_cli.preprocessing.parallel import in_threads  # noqa: E402
from headsup_cli.preprocessing.preprocess import Preprocessing, usable_threads  # noqa: E402
from headsup_cli.preprocessing.undistort import undistorted_view  # noqa: E402
from headsup_cli.simulation.rig.faults import PRESETS  # noqa: E402
from headsup_cli.simulation.rig.rig import RigPlan  # noqa: E402
from headsup_cli.simulation.subject import SimulationOptions, simulate_subject, write_subject  # noqa: E402

SEED = 7


def made_up_dump(folder: Path, cameras: int, frames: int, width: int, height: int) -> Path:
    """A simulated person in several expressions in a studio, distorted cameras all around; with masks and plates."""
    faults = replace(PRESETS["studio"], masks=1.0)
    rig = RigPlan(cameras=cameras)
    options = SimulationOptions(rig, width, height, frames, "studio", faults, truth="light", supersampling=1)
    write_subject(simulate_subject(SEED, options), folder)
    return folder


def by_opencv_alone(dump: RigDump, target: Path, codec: str, threads: int) -> None:
    """Decode, remap, encode: the least that any program must do."""
    tables = {}
    for name, camera in dump.cameras.items():
        view = undistorted_view(camera)
        K = camera.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        straight = view.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        size = camera.width, camera.height
        dist = np.array(camera.lens.coefficients)
        tables[name] = cv2.initUndistortRectifyMap(K, dist, None, straight, size, cv2.CV_16SC2)

    def work(job: tuple[str, Path, Path, int]) -> None:
        camera, source, result, interpolation = job
        pixels = cv2.imdecode(np.frombuffer(source.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
        straight = cv2.remap(pixels, *tables[camera], interpolation)
        result.write_bytes(cv2.imencode(result.suffix, straight)[1].tobytes())

    jobs = []
    for frame, files in dump.frames.items():
        for kind, pictures, suffix, interpolation in (
            ("images", files.images, f".{codec}", cv2.INTER_CUBIC),
            ("masks", files.masks, ".png", cv2.INTER_LINEAR),
        ):
            (target / kind / frame).mkdir(parents=True)
            for camera, picture in pictures.items():
                jobs.append((camera, picture.path, target / kind / frame / f"{camera}{suffix}", interpolation))
    in_threads(work, jobs, threads)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", nargs="?", type=Path)
    parser.add_argument("--codec", choices=["png", "jpg"], default="png")
    parser.add_argument("--masks", choices=["auto", "plates"], default="auto")
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3, help="the least of so many is told")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        scratch, threads = Path(folder), usable_threads()
        rig = arguments.dump or made_up_dump(scratch / "person", arguments.cameras, arguments.frames, 1000, 1334)
        dump = read_rig_dump(rig)
        pictures = sum(len(frame.images) for frame in dump.frames.values())
        longest = max(max(camera.width, camera.height) for camera in dump.cameras.values())
        options = PreprocessOptions(size=longest, masks=arguments.masks)

        def run_all(target: Path) -> None:
            PreprocessJob(target, options, Encoding(f".{arguments.codec}"), None)(rig)

        once: list[tuple[float, float]] = []
        prepare = Preprocessing.__init__  # what is done once per subject, most of it the head frame

        def watched(self: Preprocessing, *given: object) -> None:
            once.append(timed(lambda: prepare(self, *given)))

        Preprocessing.__init__ = watched
        results: dict[str, tuple[float, float]] = {}
        for repeat in range(arguments.repeats):
            alone = timed(lambda r=repeat: by_opencv_alone(dump, scratch / f"alone{r}", arguments.codec, threads))
            whole = timed(lambda r=repeat: run_all(scratch / f"whole{r}"))
            frames = whole[0] - once[-1][0], whole[1] - once[-1][1]
            for name, seconds in (("OpenCV alone", alone), ("headsup, all", whole), ("headsup, frames", frames)):
                results[name] = tuple(map(min, results.get(name, seconds), seconds))  # type: ignore[assignment]
        print(f"{pictures} pictures, {longest} px, {len(dump.cameras)} cameras, {threads} threads, {arguments.codec}")
        for name, (wall, cpu) in results.items():
            share, rate, each = results["OpenCV alone"][1] / cpu, pictures / wall, 1e3 * cpu / pictures
            print(f"{name:16} {rate:7.1f} images/s {each:7.1f} CPU ms/image {share:6.2f} of OpenCV")


if __name__ == "__main__":
    main()
