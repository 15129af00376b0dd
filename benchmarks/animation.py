"""How far animating a head brings it towards the real expression, on the 16 cameras of ../shared/captures/ict_0.

    python benchmarks/animation.py                    # reconstructs the neutral frame feed-forward
    python benchmarks/animation.py --refine 60        # and refines it
    python benchmarks/animation.py --head heads/ict_0 # takes a head that is there
    python benchmarks/animation.py --pictures DIR     # left as is, animated, real: side by side

PSNR in the face region: where the template's face, eyes and mouth show in the real frame's pose.
"""

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from headsup_cli.animation.geometric_rig import GeometricRig, Pose
from headsup_cli.capture.capture import Capture
from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import read_head
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.inference.capture_views import capture_views
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.model.views import Views
from headsup_cli.preprocessing.preprocess import PreprocessOptions, preprocess_rig
from headsup_cli.rendering.render import render
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels

REPOSITORY = Path(__file__).resolve().parents[1]
SUBJECT = REPOSITORY.parent / "shared" / "captures" / "ict_0"
SIZE_PX = 500
REGIONS = ("face", "eyes", "mouth")


def reconstruct(folder: Path, refine: str) -> Path:
    """A head of the neutral frame."""
    options = ["--refine", refine] if refine != "0" else []
    command = [sys.executable, "-m", "headsup_cli", "reconstruct", str(SUBJECT), "--frame", "neutral", "-q"]
    subprocess.run([*command, "-o", str(folder), *options], check=True, cwd=REPOSITORY)
    return folder / SUBJECT.name


def face_mask(gaussians: Gaussians, views: Views, template: Template, resolution: int) -> torch.Tensor:
    """Where the face shows in each view: Gaussians painted with their texel's share in the regions."""
    texels = sample_texels(template, resolution)
    share = sum(template.regions[name] for name in REGIONS)
    painted = (share[texels.vertex_indices[texels.mask]] * texels.barycentric[texels.mask]).sum(1)
    sh = torch.zeros_like(gaussians.sh)
    sh[:, 0] = (torch.from_numpy(painted)[:, None] - 0.5) / SH_C0
    shown = Gaussians(gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, sh)
    return (render(shown, views.cameras).rgb[..., 0] > 0.5).float() * (views.mask[..., 0] > 0.5)


def aligned(capture: Capture, rig_from_head: np.ndarray, views: Views) -> Views:
    """The views with their cameras in the head's own frame, which another frame's capture need not share exactly."""
    capture_from_head = torch.from_numpy(np.linalg.inv(capture.rig_from_head) @ rig_from_head).float()
    return replace(views, cameras=views.cameras.in_frame(capture_from_head))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--refine", default="0", metavar="SECONDS")
    parser.add_argument("--head", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    template = load_template()
    with tempfile.TemporaryDirectory() as folder:
        head = read_head(arguments.head or reconstruct(Path(folder), arguments.refine))
    rig = GeometricRig.of(head, template)
    dump = read_rig_dump(SUBJECT)
    for frame, coefficients in dump.expressions.items():
        capture = preprocess_rig(dump, PreprocessOptions(size=SIZE_PX, frames=(frame,)), template)
        names, views = capture_views(capture, frame)
        views = aligned(capture, head.rig_from_head, views)
        posed = rig.pose(Pose.of(coefficients))
        mask = face_mask(posed, views, template, head.maps.resolution)
        still, moved = (render(gaussians, views.cameras).rgb.clamp(0, 1) for gaussians in (rig.neutral, posed))
        seen = mask.sum((1, 2)) > 0.01 * mask[0].numel()  # from behind there is no face
        before, after = (psnr(rgb[seen], views.rgb[seen], mask[seen]).mean() for rgb in (still, moved))
        print(
            f"{frame:10} {coefficients}\n  neutral {before:.2f} dB, animated {after:.2f} dB, gain {after - before:+.2f}"
        )
        if arguments.pictures:
            for index in np.flatnonzero(seen.numpy()):
                row = torch.cat(
                    [still[index], moved[index], views.rgb[index], moved[index] * mask[index, ..., None]], 1
                )
                write_image(arguments.pictures / f"{frame}_{names[index]}.png", to_8bit(row.numpy()))


if __name__ == "__main__":
    main()
