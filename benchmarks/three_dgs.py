"""Plain 3D Gaussian splatting on the same pictures: what refinement in UV space is compared with.

    python benchmarks/three_dgs.py                              # lps and ict_0, 60 s
    python benchmarks/three_dgs.py lps --effort 300 --ssim 0
    python benchmarks/refinement.py lps --effort 60             # the other side

From points on the visual hull, with the renderer, pictures, background and time of `headsup reconstruct --refine`.
Learning rates, loss and densification are those of gsplat 1.5's `simple_trainer.py default` and its `DefaultStrategy`
(cloning, splitting, pruning; random backgrounds as by its `--random_bkgd`), with two changes in favour of short runs:
its 30,000 steps are mapped onto the budget as its own `steps_scaler` does, but the density changes no oftener than
every view has been seen; and opacities are reset only with `--resets`, since a short run does not recover from it.
`--rates` multiplies the learning rates of all but the positions.
"""

import argparse
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from headsup_cli.runtime.threads import configure_threads

configure_threads()

import torch  # noqa: E402
from jaxtyping import Bool, Float  # noqa: E402
from refinement import CAPTURES, LONGER_SIDE_PX, Subject, load_subject, shown, told  # noqa: E402
from torch import Tensor  # noqa: E402

from headsup_cli.cameras.camera import Cameras  # noqa: E402
from headsup_cli.commands.values import Effort, parse_effort  # noqa: E402
from headsup_cli.gaussians.gaussians import Gaussians  # noqa: E402
from headsup_cli.gaussians.rotations import matrix_from_quat  # noqa: E402
from headsup_cli.gaussians.spherical_harmonics import SH_C0  # noqa: E402
from headsup_cli.metrics.image_quality import ssim  # noqa: E402
from headsup_cli.model.lookup import sample_views  # noqa: E402
from headsup_cli.model.views import Views  # noqa: E402
from headsup_cli.rendering.render import render, warm_up  # noqa: E402
from headsup_cli.runtime.memory import keep_freed_memory  # noqa: E402
from headsup_cli.template.default import load_template  # noqa: E402

RATES = {"scales": 5e-3, "quats": 1e-3, "opacities": 5e-2, "sh0": 2.5e-3, "shN": 2.5e-3 / 20}
MEANS_RATE, MEANS_FINAL = 1.6e-4, 0.01  # of the scene's scale; the last step's, relative to the first's
PRUNE_OPACITY, PRUNE_SCALE = 0.005, 0.1  # of the scene's scale
GROW_GRADIENT, GROW_SCALE = 2e-4, 0.01
FIRST, LAST, EVERY, RESET = 500 / 30_000, 15_000 / 30_000, 100 / 30_000, 3_000 / 30_000  # of the run
HULL_CENTRE, HULL_HALF_M, HULL_VOXELS = (0.0, -0.06, 0.0), 0.32, 160


def visual_hull(views: Views, points: int) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 3"]]:
    """Points on the hull's surface and their mean colours in the views that they face."""
    axis = (torch.arange(HULL_VOXELS) + 0.5) / HULL_VOXELS * 2 - 1
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1) * HULL_HALF_M + torch.tensor(HULL_CENTRE)
    covered, seen = torch.ones(grid.shape[:3], dtype=torch.bool), torch.zeros(grid.shape[:3])
    for view in range(len(views)):
        pixels, depth = views.cameras[view].project(grid.reshape(-1, 3))
        column, row = pixels[0].floor().long().unbind(-1)
        inside = (depth[0] > 0) & (column >= 0) & (column < views.cameras.width) & (row >= 0)
        inside &= row < views.cameras.height
        mask = views.mask[view, row.clamp(0, views.cameras.height - 1), column.clamp(0, views.cameras.width - 1), 0]
        covered &= (~inside | (mask > 0.5)).view_as(covered)
        seen += inside.view_as(seen)
    solid = (covered & (seen >= len(views) / 2)).float()
    padded = torch.nn.functional.pad(solid, (1,) * 6)
    slope = torch.stack(
        [
            padded[:-2, 1:-1, 1:-1] - padded[2:, 1:-1, 1:-1],
            padded[1:-1, :-2, 1:-1] - padded[1:-1, 2:, 1:-1],
            padded[1:-1, 1:-1, :-2] - padded[1:-1, 1:-1, 2:],
        ],
        -1,
    )
    surface = (solid > 0) & (slope.abs().sum(-1) > 0)
    chosen = torch.randperm(int(surface.sum()), generator=torch.Generator().manual_seed(0))[:points]
    found, normals = grid[surface][chosen], slope[surface][chosen]
    towards = torch.nn.functional.normalize(views.cameras.centres[:, None] - found, dim=-1)  # [v, n, 3]
    weight = (towards * torch.nn.functional.normalize(normals, dim=-1)).sum(-1, keepdim=True).clamp_min(0.01)
    colours = sample_views(views.rgb.permute(0, 3, 1, 2), views.cameras, found)  # [v, n, 3]
    return found, (weight * colours).sum(0) / weight.sum(0)


@dataclass
class Splats:
    """Free Gaussians, the optimisers' state included, whose number changes."""

    values: dict[str, Tensor]
    optimizer: torch.optim.Adam
    gradient: Tensor = field(default_factory=lambda: torch.zeros(0))  # summed screen-space gradients
    count: Tensor = field(default_factory=lambda: torch.zeros(0))

    def gaussians(self) -> Gaussians:
        """The Gaussians as they stand."""
        now = self.values
        sh = torch.cat([now["sh0"], now["shN"]], 1)
        return Gaussians(now["means"], now["quats"], now["scales"].exp(), torch.sigmoid(now["opacities"]), sh)

    def note_gradient(self, camera: Cameras) -> None:
        """Add the last backward pass to the statistics: gsplat's gradient towards the projected mean.

        It is that of the mean, divided by what a metre across the view is in half picture widths or heights.
        """
        gradient = self.values["means"].grad
        if gradient is None:
            raise ValueError("no backward pass yet")
        _, depth = camera.project(self.values["means"].detach())
        across = (gradient @ camera.cam_from_world[0, :3, :3].T)[:, :2] * depth[0, :, None]
        half_size = torch.tensor([camera.width / 2, camera.height / 2])
        norm = (across / torch.stack([camera.K[0, 0, 0], camera.K[0, 1, 1]]) * half_size).norm(dim=-1)
        self.gradient += norm
        self.count += norm > 0

    def change_density(self, scene_scale: float, generator: torch.Generator, *, prune_large: bool) -> None:
        """Clone small Gaussians and split large ones where the picture pulls at them; drop faint and huge ones."""
        largest = self.values["scales"].exp().max(-1).values
        grows = self.gradient / self.count.clamp_min(1) > GROW_GRADIENT
        small = largest <= GROW_SCALE * scene_scale
        self._replace(grows & small, grows & ~small, generator)
        kept = torch.sigmoid(self.values["opacities"]) >= PRUNE_OPACITY
        if prune_large:
            kept &= self.values["scales"].exp().max(-1).values <= PRUNE_SCALE * scene_scale
        self._each(lambda _, tensor: tensor[kept], lambda moment: moment[kept])

    def reset_opacities(self) -> None:
        """Make all Gaussians nearly transparent."""
        highest = math.log(2 * PRUNE_OPACITY / (1 - 2 * PRUNE_OPACITY))
        self.values["opacities"].data.clamp_(max=highest)
        for moment in ("exp_avg", "exp_avg_sq"):
            self.optimizer.state[self.values["opacities"]][moment].zero_()

    def _replace(self, cloned: Bool[Tensor, " n"], split: Bool[Tensor, " n"], generator: torch.Generator) -> None:
        chosen = self.gaussians().detach()[split]
        noise = torch.randn(2, len(chosen), 3, generator=generator) * chosen.scales
        twice = (matrix_from_quat(chosen.quats) @ noise[..., None])[..., 0].flatten(0, 1)

        def halves(name: str, tensor: Tensor) -> Tensor:
            both = torch.cat([tensor[split], tensor[split]])
            return both + twice if name == "means" else both - math.log(1.6) if name == "scales" else both

        added = int(cloned.sum()) + 2 * int(split.sum())
        self._each(
            lambda name, tensor: torch.cat([tensor[~split], tensor[cloned], halves(name, tensor)]),
            lambda moment: torch.cat([moment[~split], moment.new_zeros(added, *moment.shape[1:])]),
        )

    def _each(self, of_values, of_moments) -> None:  # noqa: ANN001
        for group in self.optimizer.param_groups:
            old = self.values[group["name"]]
            new = of_values(group["name"], old.detach()).contiguous().requires_grad_()
            state = self.optimizer.state.pop(old)
            state |= {moment: of_moments(state[moment]) for moment in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[new] = state
            group["params"], self.values[group["name"]] = [new], new
        self.gradient = torch.zeros(len(self.values["means"]))
        self.count = torch.zeros_like(self.gradient)


def first_splats(views: Views, points: int, scene_scale: float, rates: float) -> Splats:
    """Spheres as large as their neighbours are far, a tenth opaque, as `simple_trainer.py` starts."""
    means, colours = visual_hull(views, points)
    spacing = torch.cat([torch.cdist(part, means).topk(4, largest=False).values[:, 1:] for part in means.split(2048)])
    values = {
        "means": means,
        "scales": spacing.square().mean(-1).sqrt().log()[:, None].repeat(1, 3),
        "quats": torch.rand(len(means), 4, generator=torch.Generator().manual_seed(0)),
        "opacities": torch.full((len(means),), math.log(0.1 / 0.9)),
        "sh0": ((colours - 0.5) / SH_C0)[:, None],
        "shN": torch.zeros(len(means), 3, 3),
    }
    values = {name: tensor.contiguous().requires_grad_() for name, tensor in values.items()}
    rate = {"means": MEANS_RATE * scene_scale} | {name: value * rates for name, value in RATES.items()}
    groups = [{"params": [tensor], "lr": rate[name], "name": name} for name, tensor in values.items()]
    splats = Splats(values, torch.optim.Adam(groups, eps=1e-15, fused=True))
    splats.gradient, splats.count = torch.zeros(len(means)), torch.zeros(len(means))
    return splats


def optimise(subject: Subject, effort: Effort, options: argparse.Namespace) -> tuple[Gaussians, int]:
    """Plain 3DGS for a time or a number of steps."""
    views = subject.views.resized(LONGER_SIDE_PX)
    centres = views.cameras.centres
    scene_scale = 1.1 * float((centres - centres.mean(0)).norm(dim=-1).max())
    step, last_change, last_reset = 0, 0, 0.0

    def clock() -> float:
        return time.monotonic() if options.clock == "wall" else time.process_time() / torch.get_num_threads()

    began = clock()
    splats = first_splats(views, options.points, scene_scale, options.rates)
    generator = torch.Generator().manual_seed(0)
    order: list[int] = []

    def done() -> float:
        return step / effort.steps if effort.steps else (clock() - began) / (effort.seconds or 1)

    while (fraction := done()) < 1:
        splats.optimizer.param_groups[0]["lr"] = MEANS_RATE * scene_scale * MEANS_FINAL**fraction
        order = order or torch.randperm(len(views), generator=generator).tolist()
        view = views[[order.pop()]]
        behind = torch.rand(3, generator=generator)
        rgb = render(splats.gaussians(), view.cameras, background=behind).rgb
        wanted = view.rgb + (1 - view.mask) * behind
        loss = (1 - options.ssim) * (rgb - wanted).abs().mean()
        if options.ssim:
            loss = loss + options.ssim * (1 - ssim(rgb, wanted).mean())
        splats.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        splats.note_gradient(view.cameras)
        splats.optimizer.step()
        step += 1
        pace = max(len(views), EVERY / max(fraction, 1e-6) * step)  # steps between changes of density
        if FIRST < fraction < LAST and step - last_change >= pace:
            splats.change_density(scene_scale, generator, prune_large=last_reset > 0)
            last_change = step
        if options.resets and fraction < LAST and fraction - last_reset >= RESET:
            splats.reset_opacities()
            last_reset = fraction
    return splats.gaussians().detach(), step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", default=["lps", "ict_0"])
    parser.add_argument("--effort", nargs="*", type=parse_effort, default=[Effort(seconds=60)], metavar="N[steps]")
    parser.add_argument("--points", type=int, default=20_000, metavar="N", help="to start from")
    parser.add_argument("--ssim", type=float, default=0.2, metavar="WEIGHT")
    parser.add_argument("--rates", type=float, default=1.0, metavar="FACTOR")
    parser.add_argument("--resets", action="store_true", help="of opacities, as in long runs")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="as in refinement.py")
    parser.add_argument("--heldout", type=int, default=8, metavar="N")
    options = parser.parse_args()
    template = load_template()
    keep_freed_memory()
    warm_up()
    for name in options.subjects:
        path = CAPTURES / name if (CAPTURES / name).is_dir() else Path(name)
        if not path.is_dir():
            sys.exit(f"{path} is not there")
        subject = load_subject(path, template, options.heldout)
        for effort in options.effort:
            cpu = time.process_time()
            gaussians, steps = optimise(subject, effort, options)
            rest = f"{steps} steps, {time.process_time() - cpu:.0f} s of CPU"
            print(shown(f"3DGS, {told(effort)}", gaussians, subject, rest), flush=True)


if __name__ == "__main__":
    main()
