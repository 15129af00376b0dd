import json
from pathlib import Path

import pytest

from headsup_cli.batch.subjects import check_outcomes, expand_subjects, run_subjects
from headsup_cli.errors import CheckFailed, HeadsupError, InputError


def is_subject(path: Path) -> bool:
    return (path / "calibration.json").exists()


def make_subjects(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "calibration.json").touch()


def test_folders_of_subjects_are_opened_in_order(tmp_path):
    make_subjects(tmp_path / "all", "b", "a", ".tmp")
    make_subjects(tmp_path, "alone")
    (tmp_path / "all" / "notes").mkdir()
    expanded = expand_subjects([tmp_path / "alone", tmp_path / "all"], is_subject)
    assert [path.name for path in expanded] == ["alone", "a", "b"]


def test_what_is_no_subject_stays_for_its_reader_to_explain(tmp_path):
    (tmp_path / "empty").mkdir()
    paths = [tmp_path / "empty", tmp_path / "absent"]
    assert expand_subjects(paths, is_subject) == paths


def test_two_subjects_of_one_name_are_refused(tmp_path):
    make_subjects(tmp_path / "x", "a")
    make_subjects(tmp_path / "y", "a")
    with pytest.raises(InputError, match="2 subjects named 'a'"):
        expand_subjects([tmp_path / "x", tmp_path / "y"], is_subject)


def test_one_failure_stops_no_other(tmp_path):
    def work(subject):
        if subject.name == "bad":
            raise HeadsupError("bad: no camera.")
        if subject.name == "bug":
            raise ZeroDivisionError

    manifest = tmp_path / "out" / "manifest.jsonl"
    subjects = [Path(name) for name in ("bad", "bug", "good", "old")]
    outcomes = run_subjects(subjects, work, manifest=manifest, is_done=lambda subject: subject.name == "old")
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "done", "skipped"]
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["message"] for line in lines] == ["bad: no camera.", "bug: ZeroDivisionError()", "", ""]
    with pytest.raises(CheckFailed, match=r"2 of 4 subjects failed \(bad, bug\)"):
        check_outcomes(outcomes, manifest)
    check_outcomes(outcomes[2:], manifest)


def test_a_single_subject_fails_as_itself(tmp_path):
    def work(subject):
        raise InputError(subject, found="empty", expected="images", remedy="add some")

    with pytest.raises(InputError, match="expected images"):
        run_subjects([Path("a")], work, manifest=tmp_path / "manifest.jsonl")
