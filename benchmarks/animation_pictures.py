"""Ten expressions on heads, as a sheet for docs/animation.md: one row a head, its face cropped from a frontal picture.

python benchmarks/animation.py --people 32 --work people  # its heads of simulated people, or any others
cd people/heads && python .../animation_pictures.py 700000002 700000006 700000009 700000012 -o docs/images/animation.jpg
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from headsup_cli.animation.rig import Pose
from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.head import read_head
from headsup_cli.jobs.rigging import ready_to_animate
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.rendering.render import render
from headsup_cli.template.default import load_template

WIDTH_PX, HEIGHT_PX = 180, 230


def both(name: str, weight: float = 1.0) -> dict[str, float]:
    return {f"{name}Left": weight, f"{name}Right": weight}


EXPRESSIONS: tuple[dict[str, float], ...] = (
    {},
    both("eyeBlink"),
    {"eyeBlinkLeft": 1.0},
    both("mouthSmile", 0.9) | both("cheekSquint", 0.5),
    {"jawOpen": 0.8},
    {"jawOpen": 0.25} | both("mouthSmile", 0.7) | both("mouthUpperUp", 0.5) | both("mouthLowerDown", 0.4),
    {"browInnerUp": 1.0} | both("browOuterUp") | both("eyeWide", 0.8),
    both("browDown") | both("noseSneer", 0.6) | both("mouthPress", 0.5),
    {"mouthPucker": 0.9},
    both("mouthFrown", 0.9) | {"browInnerUp": 0.7, "mouthShrugLower": 0.4},
    {"eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8, "jawLeft": 0.6},
)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rig", default="geometric", choices=["geometric", "latent", "blend"])
    given = parser.parse_args()
    camera = orbit(1, WIDTH_PX, HEIGHT_PX, centre=(0.0, 0.01, 0.0), view_height_m=0.27)
    rows = []
    for folder in given.heads:
        rig = ready_to_animate(read_head(folder), load_template(), given.rig)
        poses = (rig.pose(Pose.of(expression)) for expression in EXPRESSIONS)
        rows.append(np.concatenate([render(pose, camera).rgb[0].clamp(0, 1).numpy() for pose in poses], 1))
    write_image(given.output, to_8bit(np.concatenate(rows)))


if __name__ == "__main__":
    main()
