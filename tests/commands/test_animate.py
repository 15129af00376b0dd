import json
import shutil

import pytest

from headsup_cli.media.video import read_video

SHORT = ("--clip", "blink", "--fps", 4, "--size", "48x32", "--quiet")


def test_one_head_is_filmed_once(program, heads, tmp_path):
    call, film = ("animate", heads / "anna", "-o", tmp_path, *SHORT), tmp_path / "blink.mp4"
    assert program(*call)[:2] == (0, f"{film}\n")
    assert {frame.shape for frame in read_video(film)} == {(32, 48, 3)}
    made = film.stat().st_mtime_ns
    assert program(*call)[:2] == (0, f"{film}\n")
    assert film.stat().st_mtime_ns == made, "what is there is left alone"
    assert program(*call, "--gain", "eyeBlinkLeft=0.5")[0] == 0
    assert film.stat().st_mtime_ns != made, "unless it would be another"


def test_many_heads_have_folders_and_the_broken_one_stops_no_other(program, heads, tmp_path):
    mixed = shutil.copytree(heads, tmp_path / "heads")
    (mixed / "art").mkdir()
    (mixed / "art" / "head.json").write_text("{}")
    code, out, err = program("animate", mixed, "-o", tmp_path, "--to", "zip", *SHORT)
    assert code == 1
    assert "1 of 3 subjects failed (art)" in err
    assert out.splitlines() == [str(tmp_path / name / "blink.zip") for name in ("anna", "bert")]
    assert all((tmp_path / name / "blink.zip").is_file() for name in ("anna", "bert"))
    statuses = [json.loads(line)["status"] for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert statuses == ["done", "failed", "done"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--clip", "wink"), "'wink'"), (("--gain", "jawOpen"), "jawOpen"), (("--driver", "none.csv"), "none.csv")],
)
def test_bad_options_are_named_before_any_work(arguments, named, program, heads, tmp_path):
    code, out, err = program("animate", heads, "-o", tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert named in err
    assert not list(tmp_path.iterdir())
