import csv
import os
import subprocess
import sys

import pytest

from headsup_cli.model.checkpoint import load_checkpoint
from headsup_cli.template.default import load_template

SETTINGS = ("training.steps=3", "training.subjects_per_step=2", "training.validation.every=0")


def train(repository, captures, folder, *launcher):
    options = [option for setting in SETTINGS for option in ("--set", setting)]
    command = ["headsup_cli", "train", captures, "-c", "tiny", "-o", folder, "--workers", "0", *options]
    result = subprocess.run(
        [sys.executable, "-m", *launcher, *map(str, command)],
        capture_output=True, text=True, check=False, cwd=repository, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    with (folder / "metrics.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_the_same_global_batch(write_people, repository, tmp_path):
    captures = write_people(3)
    one = train(repository, captures, tmp_path / "one")
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    two = train(repository, captures, tmp_path / "two", *launcher)
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        assert all(abs(a[name] - b[name]) < 1e-5 * max(1, abs(a[name])) for name in a)
    a, b = (load_checkpoint(tmp_path / n / "model.safetensors", load_template()).model for n in ("one", "two"))
    for name, tensor in a.state_dict().items():
        assert (b.state_dict()[name] - tensor).abs().max() < 1e-5, name
