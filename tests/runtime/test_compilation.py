import pytest

MODULE = """
from pathlib import Path
from headsup_cli.runtime.compilation import KernelCompiler
compiler = KernelCompiler("the doubler", seconds=1, sources=[Path(__file__)])

@compiler.inline
def twice(x):
    return x + x

@compiler.kernel
def double(x):
    return twice(x)
"""


@pytest.mark.parametrize("writable", [True, False])
def test_kernels_are_kept_where_there_is_a_place_and_announced_once(run_python, tmp_path, writable):
    (tmp_path / "doubling.py").write_text(MODULE)
    code = (
        f"import logging, sys; sys.path.insert(0, {str(tmp_path)!r}); sys.dont_write_bytecode = True\n"
        "logging.basicConfig(level='INFO')\n"
        "from doubling import double\n"
        "print(double(21), double(2.5), sum(double.stats.cache_hits.values()))\n"
    )
    folder = tmp_path / "cache" if writable else tmp_path / "doubling.py" / "no folder"
    runs = [run_python(code, HEADSUP_CACHE_DIR=str(folder)) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["42", "5.0", "0"], ["42", "5.0", "2" if writable else "0"]]
    assert [run.stderr.count("compiling the doubler, once") for run in runs] == [1, 0 if writable else 1]


def test_a_changed_source_is_compiled_anew(run_python, tmp_path):
    answers = []
    for body in ("x + x", "x + x + x"):
        (tmp_path / "doubling.py").write_text(MODULE.replace("x + x", body))
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.dont_write_bytecode = True\n"
            "from doubling import double; print(double(7))"
        )
        answers.append(run_python(code, HEADSUP_CACHE_DIR=str(tmp_path / "cache")).stdout.strip())
    assert answers == ["14", "21"]
