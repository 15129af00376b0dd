"""Make docs/images/reconstruction.png: input views of the sample subject, the forward pass, and after refinement.

python benchmarks/readme_picture.py [SECONDS]     # of refinement, 60 by default
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.head import read_gaussians
from headsup_cli.media.images import read_image, write_image
from headsup_cli.media.opencv import cv2
from headsup_cli.rendering.sequences import render_frames
from headsup_cli.template.default import load_template

REPOSITORY = Path(__file__).resolve().parents[1]
SUBJECT = REPOSITORY / "sample_data" / "anna"
SHOWN = ("cam00", "cam02", "cam05", "cam07", "cam10", "cam15")
AZIMUTHS = (0, 4, 9, 15, 22, 32)  # of 36 around
WIDTH, HEIGHT = 210, 280


def head_row(*options: str) -> np.ndarray:
    """The subject reconstructed with these options, from six directions where no camera stood."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "headsup_cli", "reconstruct", str(SUBJECT), "-o", folder, *options]
        subprocess.run(command, check=True, cwd=REPOSITORY)
        gaussians = read_gaussians(Path(folder) / SUBJECT.name, load_template())
    cameras = orbit(36, 2 * WIDTH, 2 * HEIGHT, view_height_m=0.46)[list(AZIMUTHS)]
    frames = [
        cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in render_frames(gaussians, cameras)
    ]
    return np.hstack(frames)


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    photographs = [read_image(next((SUBJECT / "images").glob(f"*neutral/{name}.*"))) for name in SHOWN]
    shown = [cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for image in photographs]
    picture = np.vstack([np.hstack(shown), head_row(), head_row("--refine", seconds)])
    write_image(REPOSITORY / "docs" / "images" / "reconstruction.png", picture)


if __name__ == "__main__":
    main()
