"""How fast heads are posed and filmed: 65,536 texels a head, one thread for posing, as many as torch takes for a clip.

python benchmarks/animation_speed.py              # by the clock
python benchmarks/animation_speed.py --clock cpu  # by processor time, which other programs disturb less
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from headsup_cli.animation.clips import clip
from headsup_cli.animation.curves import Curves
from headsup_cli.animation.geometric_rig import geometric_rig
from headsup_cli.animation.outputs import VideoOptions, write_animation_video
from headsup_cli.animation.rig import Pose, Rig
from headsup_cli.gaussians.head import Head
from headsup_cli.gaussians.uv_maps import template_maps
from headsup_cli.template.default import load_template

FPS, SECONDS = 30, 10


def cpu_s() -> float:
    """Of this process and of those that it waited for, as ffmpeg."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def timed(clock: Callable[[], float], work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


def report_posing(name: str, rig: Rig, poses: list[Pose], clock: Callable[[], float]) -> None:
    rig.pose(poses[0])  # compiles
    ms = np.median([1e3 * timed(clock, lambda pose=pose: rig.pose(pose)) for pose in poses])
    print(f"posing, {name}: {ms:.2f} ms, {1e3 / ms:.0f} a second")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    clock = time.perf_counter if parser.parse_args().clock == "wall" else cpu_s
    template = load_template()
    head = Head("template", template_maps(256), template.name, template.sha256, np.eye(4))
    rig = geometric_rig(head, template)
    print(f"{len(rig.neutral)} Gaussians")
    talk, motion = (clip(name).resampled(FPS) for name in ("talk", "range-of-motion"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    report_posing("talking", rig, [Pose(weights) for weights in talk.weights] * 4, clock)
    everything = Pose(np.full(52, 0.3, np.float32), head_rad=np.full(3, 0.1, np.float32))
    report_posing("all 52 and a turn of the head", rig, [everything] * 100, clock)
    torch.set_num_threads(threads)
    filmed = Curves(motion.times_s[: FPS * SECONDS], motion.weights[: FPS * SECONDS])
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "clip.mp4"
        took = timed(clock, lambda: write_animation_video(rig, filmed, path, VideoOptions(fps=FPS)))
    print(f"a clip of {SECONDS} s at 512x512 and {FPS} fps, {threads} threads: {took:.1f} s")


if __name__ == "__main__":
    main()
