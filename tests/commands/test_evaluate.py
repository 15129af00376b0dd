"""Evaluation on the sample subject, small."""

import csv
import html
import json
import pickle
import shutil

import numpy as np
import pytest
from pydantic import Field

from headsup_cli.app import run
from headsup_cli.capture.capture import read_capture
from headsup_cli.capture.rigs.native import read_rig, write_calibration, write_rig_frame
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.evaluation import sample_report
from headsup_cli.inference.options import ReconstructOptions
from headsup_cli.jobs.evaluation import EvaluateJob, EvaluateOptions
from headsup_cli.media.images import read_image

SMALL = ("--size", "94x125", "--quiet")


class FewFigures(StrictModel, populate_by_name=True):
    """Stands for the report on samples."""

    schema_: str = Field(alias="schema")
    coverage: float

    def lines(self):
        return [f"coverage {self.coverage}"]


@pytest.fixture(scope="module")
def capture(pytestconfig):
    return pytestconfig.rootpath / "sample_data" / "anna_capture"


@pytest.fixture(scope="module")
def result(capture, tmp_path_factory):
    """An evaluation with four input views and three held-out ones."""
    folder = tmp_path_factory.mktemp("results") / "four"
    arguments = ["evaluate", capture, "-o", folder, "--heldout", "3", "--views", "4", "--pictures", *SMALL]
    assert run([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture(scope="module")
def heads(capture, tmp_path_factory):
    """A head of four of the sixteen views."""
    folder = tmp_path_factory.mktemp("heads")
    assert run(["reconstruct", str(capture), "-o", str(folder), "--views", "4", "--quiet"]) == 0
    return folder


def seen_by(heads):
    return json.loads((heads / "anna" / "head.json").read_text())["provenance"]["views"]


def test_it_leaves_figures_a_table_and_a_page(result):
    metrics = json.loads((result / "metrics.json").read_text())
    views = metrics["views"]["anna"]
    assert len(views) == 3
    assert metrics["protocol"]["input_views"] == [4, 4]
    assert metrics["protocol"]["sizes"] == ["94x125"]
    assert 17 < metrics["summary"]["psnr_foreground"]["mean"] < 60
    assert metrics["summary"]["psnr_affine_foreground"]["mean"] > metrics["summary"]["psnr_foreground"]["mean"]
    assert metrics["summary"]["uncovered"]["mean"] < 0.3
    assert metrics["summary"]["psnr_eyes"]["views"] >= 1
    rows = list(csv.DictReader((result / "metrics.csv").open()))
    assert {row["camera"] for row in rows} == set(views)
    page = (result / "report.html").read_text()
    assert html.escape(metrics["protocol_line"]) in page
    assert page.count("data:image/jpeg") == 3


def test_the_figures_are_those_of_the_pictures_it_keeps(result):
    views = json.loads((result / "metrics.json").read_text())["views"]["anna"]
    for camera, scores in views.items():
        prediction, reference = (
            read_image(result / "anna" / folder / f"{camera}.png") / 255.0 for folder in ("predictions", "references")
        )
        assert prediction.shape == (125, 94, 3)
        psnr = -10 * np.log10(((prediction - reference) ** 2).mean())
        assert scores["psnr_full"] == pytest.approx(psnr, abs=0.05), "references are rounded in the file alone"


def test_a_second_run_does_nothing_and_two_results_are_compared(result, capture, program):
    before = (result / "anna" / "scores.json").stat().st_mtime_ns
    other = result.parent / "eight"
    arguments = ["evaluate", capture, "--heldout", "3", *SMALL]
    code, out, err = program(*arguments, "-o", other, "--views", "8", "--against", result, "--json")
    assert code == 0, err
    told = json.loads(out)
    difference = told["comparison"]["differences"]["psnr_foreground"]
    ours, theirs = (
        json.loads((folder / "metrics.json").read_text())["summary"]["psnr_foreground"]["mean"]
        for folder in (other, result)
    )
    assert difference["mean"] == pytest.approx(ours - theirs)
    assert difference["wins"] + difference["losses"] == difference["subjects"] == 1
    code, out, err = program(*arguments, "-o", result, "--views", "4", "--pictures")
    assert code == 0, err
    assert (result / "anna" / "scores.json").stat().st_mtime_ns == before
    assert "protocol: 4 input views; 3 held-out cameras" in out
    assert "LPIPS not computed, no weights" in out
    shown = program("evaluate", "-o", result, "--quiet")
    assert shown[0] == 0
    assert shown[1] == out, "without subjects it shows what is there"


def test_heads_are_not_judged_by_what_they_were_made_from(heads, capture, program, tmp_path):
    seen = seen_by(heads)
    unseen = [name for name in read_capture(capture).cameras if name not in seen][:2]
    arguments = ["evaluate", capture, "-o", tmp_path, "--heads", heads, *SMALL]
    code, _, err = program(*arguments, "--heldout", f"{unseen[0]},{seen[0]}")
    assert code == 2
    assert f"{seen[0]}, an input view" in err
    code, out, err = program(*arguments, "--heldout", ",".join(unseen), "--json")
    assert code == 0, err
    told = json.loads(out)
    assert list(told["views"]["anna"]) == unseen
    assert told["protocol"]["input_views"] == [4, 4]
    code, _, err = program(*arguments, "--heldout", "13")
    assert code == 2
    assert "--heldout is 13 cameras, expected 1 to 12" in err


def test_a_folder_of_held_out_pictures_in_the_rigs_world_gives_the_same(heads, capture, program, repository, tmp_path):
    dump = read_rig(repository / "sample_data" / "anna")
    frame = next(name for name in dump.frames if "neutral" in name)
    unseen = [name for name in dump.cameras if name not in seen_by(heads)][:2]
    folder = tmp_path / "heldout"
    write_rig_frame(
        folder,
        {name: read_image(dump.frames[frame].images[name].path) for name in unseen},
        {name: read_image(dump.frames[frame].masks[name].path)[..., 0] for name in unseen},
    )
    write_calibration(folder / "calibration.json", {name: dump.cameras[name] for name in unseen})
    results = []
    for heldout in (folder, ",".join(unseen)):
        out = tmp_path / f"out{len(results)}"
        code, text, err = program(
            "evaluate", capture, "-o", out, "--heads", heads, "--heldout", heldout, "--json", *SMALL
        )
        assert code == 0, err
        results.append(json.loads(text)["views"]["anna"])
    for name in unseen:  # the capture's colours are matched, the rig's are not
        one, other = (result[name] for result in results)
        assert one["psnr_affine_foreground"] == pytest.approx(other["psnr_affine_foreground"], abs=0.3)
        assert one["uncovered"] == pytest.approx(other["uncovered"], abs=0.01)


def test_one_bad_subject_stops_no_other(capture, program, tmp_path):
    subjects = tmp_path / "subjects"
    for name in ("anna", "bad"):
        shutil.copytree(capture, subjects / name)
    text = (subjects / "bad" / "capture.json").read_text()
    (subjects / "bad" / "capture.json").write_text(text.replace('"subject": "anna"', '"subject": "bad"'))
    for image in (subjects / "bad" / "images").rglob("*.*"):
        image.write_bytes(b"no picture")
    out = tmp_path / "out"
    code, text, err = program("evaluate", subjects, "-o", out, "--heldout", "2", "--views", "2", *SMALL)
    assert code == 1, err
    assert "1 of 2 subjects failed (bad)" in err
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics["views"]) == ["anna"]
    assert list(metrics["failed"]) == ["bad"]
    assert "bad" in (out / "report.html").read_text()


def test_worker_processes_get_the_job(capture, tmp_path):
    options = EvaluateOptions("3", ReconstructOptions(views=4), (94, 125))
    job = EvaluateJob(tmp_path, options, None, None, None, "cpu", None)
    again = pickle.loads(pickle.dumps(job))
    assert again == job
    assert again.folder(capture) == tmp_path / "anna"
    assert not again.is_done(capture)


def test_generated_heads_are_judged_by_their_own_report(program, monkeypatch, tmp_path):
    given = {}

    def judge(samples, train, **others):
        given.update(samples=samples, train=train, **others)
        return FewFigures(schema_="headsup-sample-report/1", coverage=0.5)

    monkeypatch.setattr(sample_report, "evaluate_samples", judge)
    arguments = ["evaluate", "--samples", "heads", "--train", "latents", "--checkpoint", "w.safetensors"]
    code, out, err = program(*arguments, "-o", tmp_path, "--json")
    assert code == 0, err
    assert json.loads(out) == {"schema": "headsup-sample-report/1", "coverage": 0.5}
    assert json.loads((tmp_path / "samples.json").read_text()) == json.loads(out)
    assert [str(given[name]) for name in ("samples", "train", "checkpoint")] == ["heads", "latents", "w.safetensors"]
    assert program(*arguments, "-o", tmp_path)[1] == "coverage 0.5\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--heldout", "16"), "--heldout is 16 cameras, expected 1 to 15"),
        (("--heldout", "nowhere"), "nowhere, neither a camera of the subject nor a folder"),
        (("--lpips", "none.pth"), "none.pth"),
        (("--heads", "no_heads"), "no_heads"),
        (("--heads", "no_heads", "--refine", "9"), "leave out --checkpoint, --views and --refine"),
        (("--frame", "nope"), "'nope'"),
        (("--against", "nothing"), "nothing: without metrics.json"),
        (("--samples", "x"), "--train"),
        (("--samples", "x", "--train", "y"), "leave out SUBJECT"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_options_are_named(arguments, named, capture, program, tmp_path):
    code, out, err = program("evaluate", capture, "-o", tmp_path, *arguments, *SMALL)
    assert code == 2, err
    assert named in err
    assert "Traceback" not in err
    assert out == ""
