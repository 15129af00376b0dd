"""The house rules that a program can check."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from headsup_cli import app

TOP_LEVEL = {
    *("pyproject.toml", "README.md", "headsup_cli", "tests", "sample_data", "completions"),
    *("docs", "benchmarks", "constraints.txt", "LICENSE", "CHANGELOG.md"),
}


def tracked_files(repository):
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [Path(line) for line in listing.stdout.splitlines() if (repository / line).exists()]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["mypy"],
    ],
    ids=" ".join,
)
def test_checker_is_content(repository, command):
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=repository, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_imports_go_downwards(repository):
    program = Path(sys.executable).parent / "lint-imports"
    result = subprocess.run([program, "--no-cache"], cwd=repository, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_top_level_is_the_design(repository):
    entries = {path.parts[0] for path in tracked_files(repository)}
    assert {entry for entry in entries if not entry.startswith(".")} <= TOP_LEVEL


def test_no_room_for_odds_and_ends(repository):
    odds = re.compile(r"^_?(utils?|helpers?|misc|common)(\.py)?$")
    assert [path for path in tracked_files(repository) if any(odds.match(part) for part in path.parts)] == []


def test_packages_speak_through_their_modules(repository):
    inits = [path for path in (repository / "headsup_cli").rglob("__init__.py") if path.parent.name != "headsup_cli"]
    assert inits
    assert [path for path in inits if path.read_text()] == []


def test_every_command_file_is_registered(repository):
    files = {path.stem for path in (repository / "headsup_cli" / "commands").glob("*.py")}
    registered = {module.__name__.rpartition(".")[2] for module in app.COMMANDS}
    assert files - {"__init__", "console", "options", "values"} == registered


def test_only_one_module_imports_opencv(repository):
    importing = re.compile(r"^\s*(import cv2|from cv2)", re.MULTILINE)
    files = (repository / "headsup_cli").rglob("*.py")
    assert [path.name for path in files if importing.search(path.read_text())] == ["opencv.py"]


def test_everything_installed_is_pinned(repository):
    import tomllib

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    pinned = (repository / "constraints.txt").read_text().lower().replace("_", "-")
    names = [re.match(r"[A-Za-z0-9_-]+", requirement)[0].lower().replace("_", "-") for requirement in wanted]
    assert [name for name in names if not re.search(rf"^{name}==", pinned, re.MULTILINE)] == []


def test_ci_runs_the_second_of_the_two_set_up_commands(repository):
    set_up = re.findall(r"^python3 -m venv .*$", (repository / "README.md").read_text(), re.MULTILINE)
    assert len(set_up) == 2
    assert set_up[1] in (repository / ".ci" / "run").read_text().splitlines()


def test_links_in_the_docs_lead_somewhere(repository):
    pages = [repository / "README.md", *(repository / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^):#]+)\)", page.read_text())]
    assert links
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
