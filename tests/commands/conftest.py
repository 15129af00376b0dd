import numpy as np
import pytest

from headsup_cli.app import run
from headsup_cli.gaussians.head import Head, write_head
from headsup_cli.gaussians.uv_maps import template_maps
from headsup_cli.template.default import load_template


@pytest.fixture
def program(capsys):
    """Run a command line in this process: `program("render", path)` gives exit code, stdout and stderr."""

    def call(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="package")
def heads(tmp_path_factory):
    """A folder with two heads, `anna` and `bert`."""
    folder, template = tmp_path_factory.mktemp("heads"), load_template()
    for name in ("anna", "bert"):
        (folder / name).mkdir()
        write_head(Head(name, template_maps(32), template.name, template.sha256, np.eye(4)), folder / name, template)
    return folder
