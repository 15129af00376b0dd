"""The frame around the commands: exit codes, streams, help, start-up."""

import json
import logging
import signal
import subprocess
import sys
import time
import warnings

import pytest

from headsup_cli import __version__, app
from headsup_cli.commands import console, doctor
from headsup_cli.errors import CheckFailed, HeadsupError, InputError

NAMES = [module.__name__.rpartition(".")[2] for module in app.COMMANDS]
HEAVY = ("torch", "numba", "cv2", "scipy", "gsplat", "anny", "imageio_ffmpeg")


@pytest.fixture
def ending(monkeypatch, capsys):
    """Let `doctor` end with an exception; return exit code, stdout and stderr."""

    def end(error, *arguments):
        def check():
            raise error

        monkeypatch.setattr(doctor, "_warm_up", check)
        code = app.run(["doctor", "--warm-up", *arguments])
        return code, *capsys.readouterr()

    return end


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (CheckFailed("2 of 3 subjects failed."), 1, "2 of 3 subjects failed."),
        (HeadsupError("no such\nthing"), 2, "no such thing"),
        (InputError("a.json", field="K", found="3", expected="a matrix", remedy="fix it"), 2,
         "a.json: K is 3, expected a matrix; fix it."),
        (MemoryError(), 2, "out of memory; use fewer views, a smaller size, or --device cpu if it was the GPU's."),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_foreseen_endings_are_one_line_and_a_code(ending, error, code, sentence):
    assert ending(error) == (code, "", f"headsup: error: {sentence}\n")


def test_a_bug_shows_its_traceback_and_how_to_report_it(ending):
    code, _, stderr = ending(ZeroDivisionError("divided"))
    assert code == 101
    assert "Traceback" in stderr
    assert "ZeroDivisionError: divided" in stderr
    assert stderr.splitlines()[-1].startswith("headsup: error: this is a bug in headsup; please report it")


def test_debug_variable_shows_every_traceback(ending, monkeypatch):
    monkeypatch.setenv("HEADSUP_DEBUG", "1")
    code, _, stderr = ending(HeadsupError("no"))
    assert code == 2
    assert "Traceback" in stderr
    assert stderr.endswith("headsup: error: no\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["doctor", "--nope"], "No such option: --nope. See 'headsup doctor --help'."),
        (["doctor", "--json=3"], "Option '--json' does not take a value. See 'headsup --help'."),
        (["doctro"], "No such command 'doctro'. Did you mean 'doctor'? See 'headsup --help'."),
    ],
)
def test_usage_errors_name_the_option_and_the_help(capsys, arguments, sentence):
    assert app.run(arguments) == 2
    assert capsys.readouterr() == ("", f"headsup: error: {sentence}\n")


def test_version_and_module_entry(headsup):
    result = headsup("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"headsup {__version__}\n", "")


def test_no_arguments_show_the_help(headsup):
    assert headsup().stdout == headsup("--help").stdout != ""


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_an_example(headsup, name):
    result = headsup(name.replace("_", "-"), "--help")
    assert result.returncode == 0
    assert f"Example:\n      headsup {name.replace('_', '-')}" in result.stdout


def test_help_loads_nothing_heavy(run_python):
    code = f"""
import sys
from headsup_cli.app import run
for command in {NAMES!r}:
    assert run([command.replace("_", "-"), "--help"]) == 0
print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    assert run_python(code).stderr == "[]\n"


def test_a_reader_that_leaves_early_causes_no_noise():
    command = f"{sys.executable} -m headsup_cli doctor --help | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
def test_ctrl_c_while_working(tmp_path):
    started = tmp_path / "started"
    code = f"""
import pathlib, signal, time, sys
from headsup_cli import app
from headsup_cli.commands import doctor
def work():
    pathlib.Path({str(started)!r}).touch()
    time.sleep(60)
doctor._warm_up = work
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests themselves run in the background
sys.exit(app.run(["doctor", "--warm-up"]))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == "headsup: error: interrupted\n"
    assert process.returncode == 130


def test_log_records_have_one_form_and_quiet_keeps_the_warnings(run_python):
    code = """
import logging, sys, warnings
from headsup_cli.commands.console import be_quiet, messages_on_stderr
with messages_on_stderr():
    logging.getLogger("headsup_cli.inference").info("loaded")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("odd")
    warnings.warn("for developers")
    be_quiet()
    logging.getLogger("headsup_cli.inference").info("loaded")
    logging.getLogger("headsup_cli.inference").warning("left out")
"""
    assert run_python(code).stderr.splitlines() == [
        "headsup: loaded",
        "headsup: warning: odd",
        "headsup: warning: left out",
    ]


def test_a_command_line_leaves_the_callers_logging_as_it_was(caplog, capsys):
    before = list(warnings.filters)
    with caplog.at_level(logging.INFO):
        assert app.run(["render", "/nowhere", "--quiet", "-o", "out"]) == 2
        assert "/nowhere" in capsys.readouterr().err
        logging.getLogger("headsup_cli.inference").info("heard again")
    assert caplog.messages == ["heard again"]
    assert warnings.filters == before


def test_tables_are_aligned(capsys):
    console.print_table(("camera", "dB"), [("left", "31.2"), ("r", "9")])
    assert capsys.readouterr().out == "camera  dB\nleft    31.2\nr       9\n"


def checks(**findings):
    return {name: lambda finding=finding: finding for name, finding in findings.items()}


def test_doctor_fails_only_for_what_is_essential(monkeypatch, capsys):
    slow = doctor.Finding("note", "not built yet", "wait")
    monkeypatch.setattr(doctor, "_CHECKS", checks(template=slow))
    assert app.run(["doctor"]) == 0
    assert "template  note    not built yet; wait" in capsys.readouterr().out
    monkeypatch.setattr(
        doctor, "_CHECKS", checks(template=slow, weights=doctor.Finding("failed", "missing", "reinstall"))
    )
    assert app.run(["doctor", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["checks"]["weights"] == {"status": "failed", "found": "missing", "remedy": "reinstall"}
    assert err == "headsup: error: headsup cannot do its main job here: see weights.\n"


def test_doctor_survives_whatever_a_broken_installation_throws(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_CHECKS", {"PyTorch": lambda: 1 / 0})
    assert app.run(["doctor"]) == 1
    assert "failed  ZeroDivisionError: division by zero; reinstall headsup" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Python", "PyTorch", "GPU", "gsplat", "CPU renderer", "OpenCV", "ffmpeg", "cache"])
def test_doctor_finds_this_machine_fit(name):
    assert doctor._CHECKS[name]().status == "ok"


def test_doctor_names_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEADSUP_CACHE_DIR", str(tmp_path / "file" / "cache"))
    finding = doctor._cache()
    assert finding.status == "failed"
    assert "HEADSUP_CACHE_DIR" in finding.remedy


def test_doctor_tells_a_gpu_without_kernels_from_one_that_will_build_them(monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor._gsplat().status == "failed"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert doctor._gsplat().status == "note"
    (tmp_path / "gsplat_cuda").mkdir()
    (tmp_path / "gsplat_cuda" / "gsplat_cuda.so").touch()
    assert doctor._gsplat().status == "ok"


def test_doctor_tells_a_template_still_to_be_built_and_missing_weights(monkeypatch, tmp_path):
    from headsup_cli.model import config

    monkeypatch.delenv("HEADSUP_TEMPLATE", raising=False)
    monkeypatch.setenv("HEADSUP_CACHE_DIR", str(tmp_path))
    assert doctor._template().status == "note"
    monkeypatch.setattr(config, "DEFAULT_CHECKPOINT", tmp_path / "small.safetensors")
    assert doctor._weights().status == "failed"
