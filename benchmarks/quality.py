"""Quality on held-out views of the captures in ../shared: feed-forward and refined, with many and with few views.

    python benchmarks/quality.py                        # feed-forward and 60 s of refinement on lps and ict_0
    python benchmarks/quality.py --refine 10 30 60 300 lps
    python benchmarks/quality.py --refine 0 --views 2 4 8 16

Prints a line per subject and setting: the figures of `headsup evaluate`, checked against ../shared/score.py, which
scores the same pictures on its own and adds the head alone; the wall time of `headsup reconstruct` and the peak memory
so far. Needs a quiet machine: refinement is given time, not steps.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
AGREEMENT_DB = 0.0101  # score.py prints two digits
COLUMNS = {
    "psnr_foreground": "foreground {:.2f} dB",
    "psnr_affine_foreground": "colours fitted {:.2f} dB",
    "psnr_full": "full {:.2f} dB",
    "ssim_foreground": "SSIM {:.4f}",
    "flip_foreground": "FLIP {:.4f}",
    "psnr_eyes": "eyes {:.2f} dB",
    "psnr_mouth": "mouth {:.2f} dB",
}


def headsup(*arguments: str | Path) -> float:
    """Run the program and return its wall time in seconds."""
    start = time.monotonic()
    command = [sys.executable, "-m", "headsup_cli", *map(str, arguments), "--quiet"]
    subprocess.run(command, check=True, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def measure(subject: str, refine: str, views: str, size: str, folder: Path) -> str:
    """Reconstruct and evaluate."""
    capture, heads, scores = SHARED / "captures" / subject, folder / "heads", folder / "scores"
    options = ["--refine", refine] * (refine != "0") + ["--views", views] * (views != "all")
    seconds = headsup("reconstruct", capture, "-o", heads, *options)
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    judged = ("--heads", heads, "--heldout", "heldout", "--size", size, "--pictures")
    headsup("evaluate", capture, "-o", scores, *judged)
    summary = {name: found["mean"] for name, found in read_json(scores / "metrics.json")["summary"].items()}
    head_db = agreed(summary, scores / subject / "predictions", capture / "heldout")
    told = "  ".join(text.format(summary[name]) for name, text in COLUMNS.items() if name in summary)
    setting = f"{subject:8} views {views:>3}  refine {refine:>4} s"
    return f"{setting}  {told}  head {head_db:.2f} dB  wall {seconds:.0f} s  peak so far {peak_gb:.1f} GB"


def agreed(summary: dict[str, float], predictions: Path, heldout: Path) -> float:
    """PSNR of the head alone, once score.py has found the same as `evaluate` on the foreground and the full picture."""
    command = [sys.executable, str(SHARED / "score.py"), str(predictions), str(heldout)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    theirs = {area: float(value) for area, value in re.findall(r"(foreground|head|full) (nan|[\d.]+) dB", told)}
    for area in ("foreground", "full"):
        if abs(theirs[area] - summary[f"psnr_{area}"]) > AGREEMENT_DB:
            sys.exit(f"{area}: evaluate finds {summary[f'psnr_{area}']:.3f} dB, score.py {theirs[area]:.2f} dB")
    return theirs["head"]


def read_json(path: Path) -> dict:
    return json.loads(path.read_text("utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", default=["lps", "ict_0"])
    parser.add_argument("--refine", nargs="+", default=["0", "60"], metavar="SECONDS")
    parser.add_argument("--views", nargs="+", default=["all"], metavar="K", help="input views, spread around")
    parser.add_argument("--size", default="375x500", help="of the scored pictures")
    arguments = parser.parse_args()
    if not (SHARED / "captures").is_dir():
        sys.exit(f"{SHARED / 'captures'} is not there; these captures do not come with the repository")
    for subject in arguments.subjects:
        for views in arguments.views:
            for refine in arguments.refine:
                with tempfile.TemporaryDirectory() as folder:
                    print(measure(subject, refine, views, arguments.size, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
