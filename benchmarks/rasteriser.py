"""How long the rasteriser takes on a head of splats.

    python benchmarks/rasteriser.py [--json FILE] [--backend gsplat]

Each row is one view of a head-sized ellipsoid seen from 0.8 m, filling 85 % of the image's smaller side. Its splats are
like those of our own heads framed as tightly, seen from the front at 512x512 (medians, and the middle 80 %):

                         scan              scan, refined     sample data       ellipsoid, 16k    ellipsoid, 65k
    splats               16,376            65,502            16,376            16,384            65,536
    long half axis, px   2.9 (2.1 to 4.7)  1.5 (1.1 to 2.4)  3.0 (2.1 to 4.6)  3.2 (2.3 to 4.5)  1.6 (1.1 to 2.3)
    short half axis, px  1.4 (0.6 to 2.8)  0.7 (0.3 to 1.5)  1.5 (0.7 to 3.2)  1.6 (0.9 to 2.7)  0.8 (0.5 to 1.3)
    opacity              .88 (.73 to .93)  .90 (.76 to .94)  .97 (.54 to .99)  .90 (.72 to .97)  .90 (.71 to .97)
    tiles of a splat     4.0               2.3               4.1               4.1               2.3
    as good as hidden    23 %              30 %              15 %              11 %              16 %
    image covered        38 %              38 %              39 %              40 %              39 %

Half axes are standard deviations before `eps2d`; as good as hidden are splats with less than a hundredth of the mean
weight in the image. Times are of `render` (forward) and of `render` and a backward pass to every attribute of the
Gaussians; memory is the most that the process has held so far, torch and its libraries included. The first row is also
drawn by the tile loop in plain torch that the tests compare with. With `--backend gsplat`, both backends are measured.
"""

import argparse
import json
import math
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headsup_cli.runtime.threads import configure_threads

configure_threads()

import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "rendering"))

from reference import render_reference  # noqa: E402

from headsup_cli.cameras.camera import Cameras  # noqa: E402
from headsup_cli.gaussians.gaussians import Gaussians  # noqa: E402
from headsup_cli.rendering.render import RenderOutput, render, warm_up  # noqa: E402

ROWS = [(16_384, 256, 256), (65_536, 512, 512), (65_536, 750, 1000), (262_144, 750, 1000), (1_000_000, 1920, 1080)]
AXES_M = (0.08, 0.12, 0.10)
DISTANCE_M = 0.8


def head(n: int, size: float) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator), dim=-1)
    axes = torch.tensor(AXES_M)
    normal = torch.nn.functional.normalize(direction / axes, dim=-1)
    z = torch.tensor([0.0, 0.0, 1.0]).expand(n, 3)
    quats = torch.cat([1 + normal[:, 2:], torch.linalg.cross(z, normal)], -1)  # turns z to the normal
    spacing = math.sqrt(0.126 / n)  # by the ellipsoid's area, m^2
    scales = size * spacing * torch.exp(0.3 * torch.randn(n, 3, generator=generator)) * torch.tensor([1.0, 1.0, 0.3])
    opacities = torch.sigmoid(torch.randn(n, generator=generator) + 2.2)
    return Gaussians(direction * axes, quats, scales, opacities, 0.4 * torch.randn(n, 1, 3, generator=generator))


def front_view(width: int, height: int, views: int = 1) -> Cameras:
    """Views from in front, a tenth of a radian apart."""
    angle = 0.1 * torch.arange(views)
    pose = torch.eye(4).repeat(views, 1, 1)
    pose[:, 0, 0], pose[:, 0, 2] = angle.cos(), angle.sin()
    pose[:, 2, 0], pose[:, 2, 2] = -angle.sin(), angle.cos()
    pose[:, 2, 3] = DISTANCE_M
    focal_px = 0.85 * min(width, height) * DISTANCE_M / (2 * AXES_M[1])
    K = torch.tensor([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
    return Cameras(pose, K.repeat(views, 1, 1), width, height)


def times_ms(work: Callable[[], Any], repeats: int, device: torch.device) -> list[float]:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        found.append(1e3 * (time.perf_counter() - start))
    return found


def passes(
    function: Callable[..., RenderOutput], gaussians: Gaussians, cameras: Cameras
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Functions that draw, and that draw and find the gradients."""
    own = gaussians.map(lambda tensor: tensor.clone().requires_grad_())
    upstream = torch.randn(len(cameras), cameras.height, cameras.width, 3, device=own.means.device)

    @torch.no_grad()
    def forward() -> None:
        function(gaussians, cameras)

    def both() -> None:
        own.map(lambda tensor: setattr(tensor, "grad", None) or tensor)
        function(own, cameras).rgb.backward(upstream)

    return forward, both


def measure(options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    results = []
    for n, width, height in ROWS[: options.rows]:
        gaussians, cameras = head(n, options.size).to(device), front_view(width, height, options.views).to(device)
        row: dict[str, Any] = {"device": device.type, "gaussians": n, "width": width, "height": height}
        for name, work in zip(("forward", "both"), passes(render, gaussians, cameras), strict=True):
            times_ms(work, 3, device)
            found = times_ms(work, options.repeats, device)
            row[f"{name}_ms"], row[f"{name}_least_ms"] = statistics.median(found), min(found)
        row["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        results.append(row)
        print(
            f"{device.type:<6}  {n:>9,}  {f'{width}x{height}':>10}"
            f"  {row['forward_ms']:>9.2f} ({row['forward_least_ms']:.2f})"
            f"  {row['both_ms']:>9.2f} ({row['both_least_ms']:.2f})  {row['memory_mb']:>6}",
            flush=True,
        )
    return results


def measure_reference(size: float) -> float:
    n, width, height = ROWS[0]
    forward, _ = passes(lambda g, c: render_reference(g, c, tile=16), head(n, size), front_view(width, height))
    return min(times_ms(forward, 2, torch.device("cpu")))


def machine(with_gpu: bool) -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "processor": cpu,
        **({"gpu": torch.cuda.get_device_name()} if with_gpu else {}),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["cpu", "gsplat"], default="cpu")
    parser.add_argument("--repeats", type=int, default=21, metavar="N")
    parser.add_argument("--rows", type=int, default=4, metavar="N", help="how many rows, of 5")
    parser.add_argument("--size", type=float, default=0.6, metavar="X", help="splats' size by their distance, 0.6")
    parser.add_argument("--threads", type=int, metavar="N", help="default: what torch chooses")
    parser.add_argument("--views", type=int, default=1, metavar="N", help="views drawn in one call, 1")
    parser.add_argument("--skip-reference", action="store_true", help="do not time the tile loop in torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    devices = [torch.device("cpu"), *([torch.device("cuda")] if options.backend == "gsplat" else [])]
    if options.threads:
        torch.set_num_threads(options.threads)
    warm_up()
    report: dict[str, Any] = {
        "size": options.size,
        "views": options.views,
        "machine": machine(options.backend == "gsplat"),
    }
    report["rows"] = []
    print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    print("device  Gaussians       image  forward ms: median (least)  forward and backward ms  memory MB")
    for device in devices:
        report["rows"] += measure(options, device)
    if not options.skip_reference:
        report["torch_tile_loop_ms"] = measure_reference(options.size)
        report["times_faster"] = options.views * report["torch_tile_loop_ms"] / report["rows"][0]["forward_ms"]
        print(
            f"tile loop in torch, first row: {report['torch_tile_loop_ms']:.0f} ms, {report['times_faster']:.0f} times"
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
