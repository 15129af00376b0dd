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
Gaussians. The first row is also drawn by the tile loop in plain torch that the tests compare with.
"""

import argparse
import json
import math
import platform
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


def front_view(width: int, height: int) -> Cameras:
    pose = torch.eye(4)[None].clone()
    pose[0, 2, 3] = DISTANCE_M
    focal_px = 0.85 * min(width, height) * DISTANCE_M / (2 * AXES_M[1])
    K = torch.tensor([[[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]]])
    return Cameras(pose, K, width, height)


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
    upstream = torch.randn(1, cameras.height, cameras.width, 3, device=own.means.device)

    @torch.no_grad()
    def forward() -> None:
        function(gaussians, cameras)

    def both() -> None:
        own.map(lambda tensor: setattr(tensor, "grad", None) or tensor)
        function(own, cameras).rgb.backward(upstream)

    return forward, both


def measure(rows: list[tuple[int, int, int]], size: float, repeats: int, device: torch.device) -> list[dict[str, Any]]:
    results = []
    for n, width, height in rows:
        gaussians, cameras = head(n, size).to(device), front_view(width, height).to(device)
        row: dict[str, Any] = {"gaussians": n, "width": width, "height": height}
        for name, work in zip(("forward", "both"), passes(render, gaussians, cameras), strict=True):
            times_ms(work, 3, device)
            found = times_ms(work, repeats, device)
            row[f"{name}_ms"], row[f"{name}_least_ms"] = statistics.median(found), min(found)
        results.append(row)
        print(
            f"{n:>9,}  {f'{width}x{height}':>10}  {row['forward_ms']:>9.2f} ({row['forward_least_ms']:.2f})"
            f"  {row['both_ms']:>9.2f} ({row['both_least_ms']:.2f})",
            flush=True,
        )
    return results


def measure_reference(size: float, device: torch.device) -> float:
    n, width, height = ROWS[0]
    forward, _ = passes(
        lambda g, c: render_reference(g, c, tile=16), head(n, size).to(device), front_view(width, height)
    )
    return min(times_ms(forward, 2, device))


def machine(device: torch.device) -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
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
    parser.add_argument("--skip-reference", action="store_true", help="do not time the tile loop in torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    device = torch.device("cuda" if options.backend == "gsplat" else "cpu")
    if options.threads:
        torch.set_num_threads(options.threads)
    if device.type == "cpu":
        warm_up()
    report: dict[str, Any] = {"backend": options.backend, "size": options.size, "machine": machine(device)}
    print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    print(f"{'Gaussians':>9}  {'image':>10}  {'forward ms: median (least)':>17}  forward and backward ms")
    report["rows"] = measure(ROWS[: options.rows], options.size, options.repeats, device)
    if not options.skip_reference and device.type == "cpu":
        report["torch_tile_loop_ms"] = measure_reference(options.size, device)
        report["times_faster"] = report["torch_tile_loop_ms"] / report["rows"][0]["forward_ms"]
        print(
            f"tile loop in torch, first row: {report['torch_tile_loop_ms']:.0f} ms, {report['times_faster']:.0f} times"
        )
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
