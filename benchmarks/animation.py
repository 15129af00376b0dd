"""How far animating a head brings it towards the real expression, in the face region, over leaving it neutral.

    python benchmarks/animation.py                     # ../shared/captures/ict_0, on its 16 cameras
    python benchmarks/animation.py --refine 60         # its neutral frame refined for a minute first
    python benchmarks/animation.py --head heads/ict_0  # a head that is there
    python benchmarks/animation.py --people 32 --work DIR  # simulated people whom no training saw, 8 expressions each
    python benchmarks/animation.py --rig geometric --rig latent --rig blend
    python benchmarks/animation.py --pictures DIR      # left as is, animated, real: side by side
    python benchmarks/animation.py --neutralise --people 16 --work DIR  # heads in expressions, made neutral

PSNR where the template's face, eyes and mouth show in the real picture's pose, which is the first rig's for all of
them. For the latent rig also how much of the way from the neutral latent to the one that the encoder makes of the real
expression F goes (Z consistency).

Simulated people stand before eight cameras, their head frame is the true one, and their neutral heads are refined in
`--steps` steps and kept in DIR, so that the figures do not depend on the machine's speed. What a head lacks of the
neutral face, of strands of beard and fringe above all, it lacks of the others as well, and gains seem the smaller.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from headsup_cli.animation.rig import Pose
from headsup_cli.animation.rigs import rigged
from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.capture import Capture
from headsup_cli.capture.rigs.detection import read_rig_dump
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import Head, read_head, write_head
from headsup_cli.gaussians.head_folder import is_head
from headsup_cli.gaussians.spherical_harmonics import SH_C0
from headsup_cli.inference.capture_views import capture_views
from headsup_cli.inference.options import RefineOptions
from headsup_cli.inference.refine import refine
from headsup_cli.jobs.rigging import face_marks, made_neutral
from headsup_cli.media.images import to_8bit, write_image
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.model.checkpoint import Checkpoint, load_checkpoint
from headsup_cli.model.config import expression_weights
from headsup_cli.model.expression import load_expression
from headsup_cli.model.views import Views
from headsup_cli.preprocessing.options import PreprocessOptions
from headsup_cli.preprocessing.preprocess import preprocess_rig
from headsup_cli.rendering.render import render
from headsup_cli.runtime.atomic import atomic_directory
from headsup_cli.simulation.drawing.lens_view import ideal_camera
from headsup_cli.simulation.drawing.shading import render_mesh
from headsup_cli.simulation.rig.rig import RigPlan
from headsup_cli.simulation.subject import SimulatedSubject, SimulationOptions, simulate_subject
from headsup_cli.template.default import load_template
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels

REPOSITORY = Path(__file__).resolve().parents[1]
SUBJECT = REPOSITORY.parent / "shared" / "captures" / "ict_0"
FIRST_UNSEEN = 700_000_000  # seed of the first simulated person
SIZE_PX = 500
SIMULATED = SimulationOptions(RigPlan("front", 8), width=240, height=320, expressions=1 + 8)
REGIONS = ("face", "eyes", "mouth")
GAZE = ("eyeLook", "eyeBlink")


@dataclass(frozen=True)
class Moment:
    """A head, and real pictures of another expression of the same person in the head's own frame."""

    name: str
    head: Head
    coefficients: dict[str, float]
    views: Views


def rig_dump_moments(folder: Path, given: Path | None, refine: str, template: Template) -> Iterator[Moment]:
    """All expressions of a rig dump, beside a head of its neutral frame."""
    dump = read_rig_dump(folder)
    neutral = next(name for name, weights in dump.expressions.items() if not any(weights.values()))
    with tempfile.TemporaryDirectory() as place:
        head = read_head(given or reconstruct(folder, neutral, Path(place), refine))
    for frame, coefficients in dump.expressions.items():
        if frame != neutral:
            capture = preprocess_rig(dump, PreprocessOptions(size=SIZE_PX, frames=(frame,)), template)
            views = aligned(capture, head.rig_from_head, capture_views(capture, frame)[1])
            yield Moment(f"{folder.name}/{frame}", head, coefficients, views)


def simulated_moments(people: int, work: Path, steps: int, template: Template) -> Iterator[Moment]:
    """Expressions of simulated people, beside heads of their neutral faces."""
    checkpoint = load_checkpoint(None, template)
    for seed in range(FIRST_UNSEEN, FIRST_UNSEEN + people):
        subject = simulate_subject(seed, SIMULATED)
        neutral, *others = subject.expressions
        folder = work / "heads" / str(seed)
        if not is_head(folder):
            with torch.enable_grad(), atomic_directory(folder) as unfinished:
                head = refined(str(seed), pictures(subject, neutral, work), checkpoint, steps, template)
                write_head(head, unfinished, template)
        head = read_head(folder)
        for frame in others:
            yield Moment(f"{seed}/{frame}", head, subject.expressions[frame], pictures(subject, frame, work))


def neutralised_moments(people: int, work: Path, template: Template) -> Iterator[tuple[Moment, Head]]:
    """Heads in expressions of simulated people beside their neutral pictures, and the same made neutral."""
    checkpoint = load_checkpoint(None, template)
    for seed in range(FIRST_UNSEEN, FIRST_UNSEEN + people):
        subject = simulate_subject(seed, SIMULATED)
        neutral, *others = subject.expressions
        wanted = pictures(subject, neutral, work)
        for frame in others:
            head = refined(str(seed), pictures(subject, frame, work), checkpoint, 0, template)
            still = made_neutral(head, subject.expressions[frame], template, checkpoint, checkpoint=None)
            yield Moment(f"{seed}/{frame}", head, subject.expressions[frame], wanted), still


def pictures(subject: SimulatedSubject, frame: str, work: Path) -> Views:
    """What the cameras see of a moment, without background; drawn once."""
    cameras = [ideal_camera(camera) for camera in subject.cameras.values()]
    poses, K = (torch.cat([getattr(camera, name) for camera in cameras]) for name in ("cam_from_world", "K"))
    path = work / "pictures" / f"{subject.seed}_{frame}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        exact, gains = Cameras(poses, K, SIMULATED.width, SIMULATED.height), np.ones((len(cameras), 3))
        rgb, alpha = render_mesh(subject.posed(frame).mesh, subject.person.paint, exact, 2, gains)
        np.save(path, to_8bit(np.concatenate([rgb, alpha[..., None]], -1)))
    rgb, alpha = (torch.from_numpy(np.load(path)).float() / 255).split([3, 1], -1)
    return Views(rgb, alpha, Cameras(poses.float(), K.float(), SIMULATED.width, SIMULATED.height), masked=True)


def refined(subject: str, views: Views, checkpoint: Checkpoint, steps: int, template: Template) -> Head:
    """A head as `headsup reconstruct --refine` makes it, in the frame of the cameras."""
    with torch.no_grad():
        prediction = checkpoint.model(views.resized(checkpoint.model.config.encoder.image_size_px))
    maps, latent = prediction.maps.map(torch.Tensor.clone), prediction.latent.clone()
    if steps:
        options = RefineOptions(steps=steps, image_size_px=SIMULATED.height)
        maps = refine(maps, views, template, options).maps
    provenance = {"checkpoint": dict(checkpoint.provenance)}
    return Head(subject, maps, template.name, template.sha256, np.eye(4), latent, provenance)


def reconstruct(subject: Path, frame: str, folder: Path, refine: str) -> Path:
    """A head of one frame."""
    run("reconstruct", str(subject), "--frame", frame, "-o", str(folder), *(["--refine", refine] * (refine != "0")))
    return folder / subject.name


def run(*arguments: str) -> None:
    command = [sys.executable, "-m", "headsup_cli", *arguments, "-q"]
    subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)


def aligned(capture: Capture, rig_from_head: np.ndarray, views: Views) -> Views:
    """The views with their cameras in the head's own frame, which another frame's capture need not share exactly."""
    capture_from_head = torch.from_numpy(np.linalg.inv(capture.rig_from_head) @ rig_from_head).float()
    return replace(views, cameras=views.cameras.in_frame(capture_from_head))


def face_mask(gaussians: Gaussians, views: Views, template: Template, resolution: int) -> torch.Tensor:
    """Where the face shows in each view: Gaussians painted with their texel's share in the regions."""
    texels = sample_texels(template, resolution)
    share = sum(template.regions[name] for name in REGIONS)
    painted = (share[texels.vertex_indices[texels.mask]] * texels.barycentric[texels.mask]).sum(1)
    sh = torch.zeros_like(gaussians.sh)
    sh[:, 0] = (torch.from_numpy(painted)[:, None] - 0.5) / SH_C0
    return (render(replace(gaussians, sh=sh), views.cameras).rgb[..., 0] > 0.5).float() * (views.mask[..., 0] > 0.5)


def compare(
    moment: Moment, as_is: Gaussians, posed: list[Gaussians], template: Template, given: argparse.Namespace
) -> tuple[float, list[float]]:
    """PSNR of the head as it is and of posed ones, in the face region of the first of these."""
    views = moment.views
    mask = face_mask(posed[0], views, template, moment.head.maps.resolution)
    seen = (mask.sum((1, 2)) > 0.01 * mask[0].numel()).nonzero()[:, 0]  # from behind there is no face
    drawn = [render(gaussians, views.cameras).rgb.clamp(0, 1) for gaussians in (as_is, *posed)]
    before, *after = (psnr(rgb[seen], views.rgb[seen], mask[seen]).mean().item() for rgb in drawn)
    if given.pictures is not None:
        for index in seen:
            pictures = [rgb[index] for rgb in (*drawn, views.rgb)] + [drawn[1][index] * mask[index, ..., None]]
            name = f"{moment.name.replace('/', '_')}_{int(index):02d}.png"
            write_image(given.pictures / name, to_8bit(torch.cat(pictures, 1).numpy()))
    return before, after


def consistency(moment: Moment, given: argparse.Namespace, template: Template) -> float:
    """Share of the squared way from the head's latent to that of the pictures that F goes."""
    model = load_checkpoint(given.checkpoint, template).model
    wanted = model.encode(moment.views.resized(model.config.encoder.image_size_px))
    start, b = moment.head.latent, torch.from_numpy(Pose.of(moment.coefficients).weights)
    network = load_expression(given.expression or expression_weights(given.checkpoint)).network
    found = network(start[None], b[None], "to neutral" if given.neutralise else "to expression")[0]
    return 1 - float((found - wanted).square().sum() / (start - wanted).square().sum())


def neutralised_gains(given: argparse.Namespace, template: Template) -> Iterator[tuple[Moment, float, list[float]]]:
    """What making heads neutral brings them towards the neutral pictures, moment by moment, and PSNR before."""
    for moment, still in neutralised_moments(given.people, given.work, template):
        before, after = compare(moment, moment.head.gaussians(template), [still.gaussians(template)], template, given)
        yield moment, before, [after[0] - before]


def animated_gains(
    moments: Iterator[Moment], kinds: list[str], given: argparse.Namespace, template: Template
) -> Iterator[tuple[Moment, float, list[float]]]:
    """What animating brings each rig, moment by moment, and PSNR before."""
    head, rigs = None, []
    for moment in moments:
        if moment.head is not head:
            head = moment.head
            weights = {"checkpoint": given.checkpoint, "expression": given.expression}
            marks = face_marks(head.gaussians(template), template)
            rigs = [rigged(head, template, kind, **weights, marks=marks) for kind in kinds]
        posed = [rig.pose(Pose.of(moment.coefficients)) for rig in rigs]
        before, after = compare(moment, rigs[0].neutral, posed, template, given)
        yield moment, before, [one - before for one in after]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", type=Path, default=SUBJECT)
    parser.add_argument("--people", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("animation_people"), metavar="DIR")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--refine", default="0", metavar="SECONDS")
    parser.add_argument("--head", type=Path)
    parser.add_argument("--rig", action="append", choices=["geometric", "latent", "blend"])
    parser.add_argument("--neutralise", action="store_true")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--expression", type=Path)
    parser.add_argument("--pictures", type=Path)
    return parser.parse_args()


@torch.no_grad()
def main() -> None:
    given, template = parsed(), load_template()
    kinds = given.rig or ["geometric"]
    if given.neutralise:
        kinds, measured = ["made neutral"], neutralised_gains(given, template)
    else:
        if given.people:
            moments = simulated_moments(given.people, given.work, given.steps, template)
        else:
            moments = rig_dump_moments(given.subject, given.head, given.refine, template)
        measured = animated_gains(moments, kinds, given, template)
    print(f"{'':28}   as is  " + "  ".join(f"{kind:>9}" for kind in kinds) + "   Z")
    gains, beyond_gaze = [], []
    for moment, before, gain in measured:
        gains.append(gain)
        beyond_gaze.append(any(not name.startswith(GAZE) for name in moment.coefficients))
        way = consistency(moment, given, template) if kinds != ["geometric"] else np.nan
        shown = "  ".join(f"{one:+9.2f}" for one in gain)
        print(f"{moment.name:28} {before:7.2f}  {shown}  {way:+.2f}", flush=True)
    several = np.array(gains)
    rows = {
        "mean": several.mean(0),
        "mean of what is more than gaze": several[beyond_gaze].mean(0),
        "median": np.median(several, 0),
        "least": several.min(0),
    }
    for name, row in rows.items():
        print(f"{name:37} " + "  ".join(f"{gain:+9.2f}" for gain in row))


if __name__ == "__main__":
    main()
