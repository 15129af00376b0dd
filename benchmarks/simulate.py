"""Time the simulator: `python benchmarks/simulate.py [--size 375x500] [--people 4] [--threads 1] [--processes 0]`.

Without `--processes`, stages run one after the other in this process on `--threads` threads; the table gives wall-clock
and CPU milliseconds per picture, the means over all people, and what they come to. With it, as many processes each make
people of their own in memory, as `headsup simulate --workers` does, and the pictures per second are those of all.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from headsup_cli.batch.workers import map_in_processes
from headsup_cli.media.images import to_8bit
from headsup_cli.media.opencv import cv2
from headsup_cli.runtime.memory import keep_freed_memory
from headsup_cli.simulation.drawing.lens_view import ideal_camera, through_lens
from headsup_cli.simulation.drawing.shading import before, render_mesh
from headsup_cli.simulation.rig.faults import PRESETS, recorded
from headsup_cli.simulation.rig.rig import RigPlan
from headsup_cli.simulation.subject import NEUTRAL, SimulationOptions, simulate_subject
from headsup_cli.simulation.truth import truth_maps

CAMERAS = 16


class Stopwatch:
    """Wall-clock and CPU seconds by stage."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the body takes to a stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.spent[name][0] += time.perf_counter() - wall
        self.spent[name][1] += time.process_time() - cpu


def photograph(options: SimulationOptions, truth: bool, seed: int) -> Stopwatch:
    """Make one person and take its pictures in memory."""
    watch = Stopwatch()
    with watch.stage("person and rig"):
        subject = simulate_subject(seed, options)
    with watch.stage("pose, hair, light"):
        posed = subject.posed(NEUTRAL)
    for name, camera in subject.cameras.items():
        ideal, faults = ideal_camera(camera), subject.faults[name]
        with watch.stage("lens"):
            mesh = through_lens(posed.mesh, camera)
        with watch.stage("render"):
            rgb, alpha = render_mesh(mesh, subject.person.paint, ideal, options.supersampling, faults.gain[None])
        with watch.stage("backdrop"):
            room = subject.room(name)
        with watch.stage("sensor"):
            picture = before(rgb[0], alpha[0], room)
            image = to_8bit(recorded(picture, faults, np.random.default_rng(seed)))
        with watch.stage("JPEG"):
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, round(options.faults.jpeg)])
        if truth:
            with watch.stage("truth"):
                truth_maps(mesh, ideal)
    return watch


def _photograph(options: SimulationOptions, truth: bool, seed: int) -> bool:
    keep_freed_memory()
    photograph(options, truth, seed)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="375x500")
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--preset", choices=PRESETS, default="clean")
    parser.add_argument("--truth", action="store_true")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    rig, faults = RigPlan(cameras=CAMERAS), PRESETS[arguments.preset]
    options = SimulationOptions(rig=rig, width=width, height=height, preset=arguments.preset, faults=faults)
    pictures, seeds = arguments.people * CAMERAS, range(1000, 1000 + arguments.people)
    photograph(options, arguments.truth, 0)  # compiles
    if arguments.processes:
        job, ready = partial(_photograph, options, arguments.truth), arguments.processes
        start, first = time.perf_counter(), 0.0
        for done, _ in enumerate(map_in_processes(job, [*range(ready), *seeds], ready)):
            first = time.perf_counter() if done == ready - 1 else first  # every process has loaded its kernels
        print(f"{pictures / (time.perf_counter() - first):.1f} pictures a second, {first - start:.0f} s to start")
        return
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for seed in seeds:
        for stage, (wall, cpu) in photograph(options, arguments.truth, seed).spent.items():
            total[stage][0] += wall * 1e3 / pictures
            total[stage][1] += cpu * 1e3 / pictures
    for stage, (wall, cpu) in total.items():
        print(f"{stage:20s} {wall:8.1f} ms {cpu:8.1f} ms of CPU")
    wall, cpu = (sum(column) for column in zip(*total.values(), strict=True))
    print(f"{'all':20s} {wall:8.1f} ms {cpu:8.1f} ms of CPU, {1e3 / wall:.1f} pictures a second")


if __name__ == "__main__":
    main()
