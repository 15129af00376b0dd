import pytest

from headsup_cli.app import run


@pytest.fixture
def program(capsys):
    """Run a command line in this process: `program("render", path)` gives exit code, stdout and stderr."""

    def call(*arguments):
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
