"""Held-out quality against time of refinement, from the prediction and from the bare template.

    python benchmarks/refinement.py                                     # lps and ict_0, 10 to 300 s, both starts
    python benchmarks/refinement.py lps --effort 60 --start prediction
    python benchmarks/refinement.py people/person_000900 --heldout 8 --effort 500steps

A subject is a dump in ../shared/captures or a path; where it has no folder `heldout/`, every so many-th camera is
held out, such that `--heldout` of them are. Prints a line per run: PSNR over the mask on held-out and on input views at
half size (as ../shared/score.py has it), mean and worst. The learning rate follows the budget, so every point of the
curve is a run of its own: the default takes half an hour on a quiet machine. On a busy one, `--clock cpu` makes seconds
those of all threads' CPU time over their number, what an idle machine would need if no thread ever waited for another;
a short run finds how many steps that is. Or give steps.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from headsup_cli.runtime.threads import configure_threads

configure_threads()

import torch  # noqa: E402
from jaxtyping import Float  # noqa: E402
from torch import Tensor  # noqa: E402

from headsup_cli.capture.capture import Capture, CaptureView  # noqa: E402
from headsup_cli.capture.rigs.detection import read_rig_dump  # noqa: E402
from headsup_cli.commands.values import Effort, parse_effort  # noqa: E402
from headsup_cli.evaluation.heldout import Reference, heldout_view, load_reference  # noqa: E402
from headsup_cli.gaussians.gaussians import Gaussians  # noqa: E402
from headsup_cli.gaussians.uv_maps import GaussianMaps, bind, template_maps, texel_anchors  # noqa: E402
from headsup_cli.inference.capture_views import capture_views  # noqa: E402
from headsup_cli.inference.options import RefineOptions  # noqa: E402
from headsup_cli.inference.refine import refine  # noqa: E402
from headsup_cli.metrics.image_quality import psnr  # noqa: E402
from headsup_cli.model.checkpoint import load_checkpoint  # noqa: E402
from headsup_cli.model.views import Views  # noqa: E402
from headsup_cli.preprocessing.options import PreprocessOptions  # noqa: E402
from headsup_cli.preprocessing.preprocess import preprocess_rig  # noqa: E402
from headsup_cli.rendering.render import render, warm_up  # noqa: E402
from headsup_cli.template.default import load_template  # noqa: E402
from headsup_cli.template.template import Template  # noqa: E402

CAPTURES = Path(__file__).resolve().parents[2] / "shared" / "captures"
LONGER_SIDE_PX = 500
TRIAL_STEPS = (8, 40)
DEFAULT_EFFORTS = [Effort(seconds=seconds) for seconds in (10.0, 30.0, 60.0, 300.0)]


@dataclass(frozen=True)
class Subject:
    """What a head is made from, and what it is judged by."""

    name: str
    views: Views
    references: list[Reference]


def load_subject(path: Path, template: Template, heldout: int) -> Subject:
    """Prepare the most neutral frame of a dump and its held-out views."""
    dump = read_rig_dump(path)
    capture = preprocess_rig(dump, PreprocessOptions(frames="neutral"), template)
    names, views = capture_views(capture, next(iter(capture.frames)))
    if not (path / "heldout").is_dir():
        aside = [names.index(name) for name in names[1 :: max(1, len(names) // heldout)]][:heldout]
        inputs = [view for view in range(len(names)) if view not in aside]
        small = views[aside].resized(LONGER_SIDE_PX)
        references = [Reference(small.rgb[i], small.mask[i, ..., 0], small.cameras[i]) for i in range(len(small))]
        return Subject(path.name, views[inputs], references)
    return Subject(path.name, views, heldout_references(path / "heldout", capture))


def heldout_references(folder: Path, capture: Capture) -> list[Reference]:
    """The pictures of a dump beside the subject's, in its head frame."""
    dump = read_rig_dump(folder)
    frame = next(iter(dump.frames.values()))
    metric = capture.rig_from_head.copy()
    metric[:3] *= dump.metres_per_unit  # cameras are in metres
    references = []
    for name, camera in sorted(dump.cameras.items()):
        picture = CaptureView(frame.images[name].path, frame.masks[name].path)
        view = heldout_view(name, picture, camera.cam_from_rig, camera.K, (camera.width, camera.height), metric)
        scale = LONGER_SIDE_PX / max(camera.width, camera.height)
        size = round(camera.width * scale), round(camera.height * scale)
        references.append(load_reference(view, size, (0.0, 0.0, 0.0)))
    return references


def in_steps(effort: Effort, maps: GaussianMaps, subject: Subject, template: Template, uv: int) -> Effort:
    """As many steps as take so many seconds of CPU time on each thread, the preparations included."""
    if effort.seconds is None:
        return effort
    spent = []
    for steps in (1, *TRIAL_STEPS):  # the first one warms up
        start = time.process_time()
        refine(maps, subject.views, template, RefineOptions(steps=steps, resolution=uv))
        spent.append(time.process_time() - start)
    each = (spent[2] - spent[1]) / (TRIAL_STEPS[1] - TRIAL_STEPS[0])
    before = spent[1] - TRIAL_STEPS[0] * each
    return Effort(steps=max(1, round((effort.seconds * torch.get_num_threads() - before) / each)))


@torch.no_grad()
def heldout_psnr(gaussians: Gaussians, references: list[Reference]) -> Float[Tensor, " v"]:
    """Foreground PSNR of every reference, dB."""
    scores = []
    for reference in references:
        rgb = render(gaussians, reference.camera).rgb[0].clamp(0, 1)
        scores.append(psnr(rgb, reference.rgb, (reference.mask > 0.5).float()))
    return torch.stack(scores)


def input_references(views: Views) -> list[Reference]:
    """The input views, to be scored as the held-out ones are."""
    small = views.resized(LONGER_SIDE_PX)
    return [Reference(small.rgb[i], small.mask[i, ..., 0], small.cameras[i]) for i in range(len(small))]


def shown(label: str, gaussians: Gaussians, subject: Subject, rest: str) -> str:
    """One line of figures."""
    heldout, inputs = (
        heldout_psnr(gaussians, references) for references in (subject.references, input_references(subject.views))
    )
    return (
        f"{subject.name:14} {label:24} held out {heldout.mean():.2f} dB (worst {heldout.min():.2f})"
        f"  input {inputs.mean():.2f} dB  {len(gaussians):,} Gaussians  {rest}"
    )


def told(effort: Effort) -> str:
    """A budget in words."""
    return f"{effort.seconds:g} s" if effort.seconds else f"{effort.steps} steps"


def start_maps(name: str, subject: Subject, weights: Path | None, template: Template) -> GaussianMaps:
    """The maps that refinement starts from."""
    if name == "template":
        return template_maps(256)
    model = load_checkpoint(weights, template).model
    with torch.no_grad():
        return model(subject.views.at_least(model.config.encoder.image_size_px)).maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", default=["lps", "ict_0"])
    parser.add_argument("--effort", nargs="*", type=parse_effort, default=DEFAULT_EFFORTS, metavar="N[steps]")
    parser.add_argument("--start", nargs="*", choices=["prediction", "template"], default=["prediction", "template"])
    parser.add_argument("--uv", type=int, default=256, help="texels a side")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="what seconds are counted in")
    parser.add_argument("--heldout", type=int, default=8, metavar="N")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE")
    options = parser.parse_args()
    template = load_template()
    warm_up()
    for name in options.subjects:
        path = CAPTURES / name if (CAPTURES / name).is_dir() else Path(name)
        if not path.is_dir():
            sys.exit(f"{path} is not there")
        subject = load_subject(path, template, options.heldout)
        for start in options.start:
            maps = start_maps(start, subject, options.checkpoint, template)
            head = bind(maps, texel_anchors(template, maps.resolution))
            print(shown(f"{start}, not refined", head, subject, ""), flush=True)
            for effort in options.effort:
                given = in_steps(effort, maps, subject, template, options.uv) if options.clock == "cpu" else effort
                wanted = RefineOptions(seconds=given.seconds, steps=given.steps, resolution=options.uv)
                cpu = time.process_time()
                result = refine(maps, subject.views, template, wanted)
                cpu = time.process_time() - cpu
                head = bind(result.maps, texel_anchors(template, options.uv))
                rest = f"{result.steps} steps, {result.seconds:.0f} s, {cpu:.0f} s of CPU"
                print(shown(f"{start}, {told(effort)}", head, subject, rest), flush=True)


if __name__ == "__main__":
    main()
