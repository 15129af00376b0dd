"""Quality on held-out views of the captures in ../shared: feed-forward and refined.

    python benchmarks/quality.py                  # feed-forward and 60 s of refinement on lps and ict_0
    python benchmarks/quality.py --refine 30 lps

Prints a line per subject and setting, the figures being those of ../shared/score.py, with the wall time of the whole
`headsup reconstruct` command and its peak memory. Needs a quiet machine: refinement is given time, not steps.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"


def headsup(*arguments: str) -> float:
    """Run the program and return its wall time in seconds."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "headsup_cli", *arguments], check=True, cwd=REPOSITORY)
    return time.monotonic() - start


def measure(subject: str, refine: str, size: str, folder: Path) -> str:
    """Reconstruct, render the held-out views, score."""
    heldout = SHARED / "captures" / subject / "heldout"
    options = ["--refine", refine] if refine != "0" else []
    seconds = headsup("reconstruct", str(SHARED / "captures" / subject), "-o", str(folder), "--quiet", *options)
    head, stills = folder / subject, folder / f"{subject}-stills"
    headsup("render", str(head), "--cameras", str(heldout / "calibration.json"), "-o", str(stills), "--size", size)
    score = [sys.executable, str(SHARED / "score.py"), str(stills), str(heldout)]
    scored = subprocess.run(score, check=True, capture_output=True, text=True).stdout.strip()
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return f"{subject:8} refine {refine:>4} s  {scored}  wall {seconds:.0f} s  peak so far {peak_gb:.1f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", default=["lps", "ict_0"])
    parser.add_argument("--refine", nargs="*", default=["0", "60"], metavar="SECONDS")
    parser.add_argument("--size", default="375x500", help="of the scored pictures")
    arguments = parser.parse_args()
    if not (SHARED / "captures").is_dir():
        sys.exit(f"{SHARED / 'captures'} is not there; these captures do not come with the repository")
    with tempfile.TemporaryDirectory() as folder:
        for subject in arguments.subjects:
            for refine in arguments.refine:
                print(measure(subject, refine, arguments.size, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
