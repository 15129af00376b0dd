"""The main job on the sample subject, and what happens to subjects that are no good."""

import json
import shutil

import gsply
import numpy as np
import pytest
import torch

from headsup_cli.app import run
from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import read_gaussians, read_head
from headsup_cli.gaussians.ply import turn_over
from headsup_cli.gaussians.transform import transform_gaussians
from headsup_cli.media.images import read_image
from headsup_cli.media.video import read_video
from headsup_cli.rendering.render import render
from headsup_cli.template.default import load_template


@pytest.fixture(scope="session")
def sample(pytestconfig):
    return pytestconfig.rootpath / "sample_data" / "anna"


@pytest.fixture(scope="session")
def heads(sample, tmp_path_factory):
    """The sample subject, reconstructed once as README does, with a little refinement."""
    folder = tmp_path_factory.mktemp("heads")
    assert run(["reconstruct", str(sample), "-o", str(folder), "--orbit", "--refine", "60steps", "--quiet"]) == 0
    return folder


def test_it_leaves_a_head_a_report_and_a_video(heads):
    folder = heads / "anna"
    names = {path.name for path in folder.iterdir()}
    assert names == {"gaussians.ply", "head.json", "head.safetensors", "report.json", "orbit.mp4"}
    report = json.loads((folder / "report.json").read_text())
    quality = report["input_views_psnr_db"]
    assert quality["feed-forward"]["foreground"] > 25
    assert quality["refined"]["foreground"] > quality["feed-forward"]["foreground"] + 1
    assert report["refine"]["steps_done"] == 60
    assert report["refine"]["withheld_view"] is None  # sixteen are too few to spare one
    assert set(report["refine"]["colour_gains"]) == set(report["input_views_psnr_db"]["refined"]["per_view"])
    assert {"forward pass", "refine", "find head frame"} <= set(report["seconds"])
    assert json.loads((heads / "manifest.jsonl").read_text())["status"] == "done"


def test_finished_heads_are_told_without_loading_torch(heads, sample, run_python):
    arguments = ["reconstruct", str(sample), "-o", str(heads), "--orbit", "--refine", "60steps", "--quiet"]
    code = f"""
import sys
from headsup_cli.app import run
assert run({arguments!r}) == 0
print(sorted({{"torch", "numba", "scipy"}} & set(sys.modules)), file=sys.stderr)
"""
    written = (heads / "anna" / "head.json").stat().st_mtime_ns
    result = run_python(code)
    assert result.stdout == f"{heads / 'anna'}\n"
    assert result.stderr == "[]\n"
    assert (heads / "anna" / "head.json").stat().st_mtime_ns == written


def test_the_video_turns_about_an_upright_head_that_faces_the_camera_first(heads):
    frames = list(read_video(heads / "anna" / "orbit.mp4"))
    assert len(frames) == 120
    first, behind = frames[0].astype(float), frames[60].astype(float)
    lit = first.max(-1) > 30
    rows = np.flatnonzero(lit.any(1))
    widths = lit.sum(1)
    assert rows[0] > 20, "there is room above the head"
    assert widths[-40:].mean() > 1.5 * widths[rows[0] + 40 : rows[0] + 80].mean(), "shoulders are below the head"
    assert np.abs(first - behind).mean() > 3
    mirrored = np.abs(first - first[:, ::-1]).mean()
    assert mirrored < 0.6 * np.abs(frames[30].astype(float) - frames[30][:, ::-1]).mean(), "a face is symmetric"


def test_an_independent_reader_of_the_ply_renders_the_same_picture(heads):
    cameras = orbit(3, 200, 200)
    own = render(read_gaussians(heads / "anna", load_template()), cameras).rgb
    data = gsply.plyread(heads / "anna" / "gaussians.ply")
    theirs = Gaussians(
        means=torch.from_numpy(data.means),
        quats=torch.from_numpy(data.quats),
        scales=torch.from_numpy(data.scales).exp(),
        opacities=torch.from_numpy(data.opacities.reshape(-1)).sigmoid(),
        sh=torch.from_numpy(np.concatenate([data.sh0[:, None], data.shN.reshape(len(data.means), 3, 3)], 1)),
    )
    error = (render(transform_gaussians(theirs, turn_over()), cameras).rgb - own).abs().mean()
    assert error < 1e-3
    assert own.mean() > 0.02


def test_stills_for_the_rigs_cameras_match_its_pictures(heads, sample, program, tmp_path):
    code, out, _ = program("render", heads / "anna", "--cameras", sample / "calibration.json", "-o", tmp_path)
    assert code == 0
    assert "16 stills" in out
    calibration = json.loads((sample / "calibration.json").read_text())
    name = sorted(calibration["cameras"])[0]
    still = read_image(tmp_path / f"{name}.png").astype(float)
    photo_path = next((sample / "images").rglob(f"*neutral*/{name}.*"))
    photo = read_image(photo_path).astype(float)
    mask = read_image(next((sample / "masks").rglob(f"*neutral*/{name}.*")))[..., 0] > 127
    assert still.shape == photo.shape
    inside = np.abs(still - photo)[mask].mean()
    swapped = np.abs(still[:, ::-1] - photo)[mask].mean()
    assert inside < 25, "the head stands where the photograph has it"
    assert inside < 0.7 * swapped


def test_fewer_views_and_the_head_keeps_its_place_in_the_rig(heads, sample, program, tmp_path):
    code, _, err = program("reconstruct", sample, "-o", tmp_path, "--views", "4", "--quiet")
    assert code == 0, err
    report = json.loads((tmp_path / "anna" / "report.json").read_text())
    assert report["views"] == 4
    full, few = read_head(heads / "anna"), read_head(tmp_path / "anna")
    np.testing.assert_allclose(few.rig_from_head, full.rig_from_head)
    assert few.maps.resolution == 128


def test_a_smiling_frame_is_made_neutral(sample, program, tmp_path):
    call = ("reconstruct", sample, "-o", tmp_path, "--frame", "01_smile", "--quiet")
    assert program(*call)[0] == 0
    smiling = read_head(tmp_path / "anna")
    code, _, err = program(*call, "--neutralise")
    assert code == 0, err
    neutral = read_head(tmp_path / "anna")
    shown = json.loads((sample / "expressions.json").read_text())["01_smile"]
    assert neutral.provenance["neutralised"] == shown
    assert json.loads((tmp_path / "anna" / "report.json").read_text())["neutralised"] == shown
    assert not torch.equal(neutral.latent, smiling.latent)
    moved = (neutral.gaussians(load_template()).means - smiling.gaussians(load_template()).means).norm(dim=1)
    assert moved.max() > 1e-3
    written = (tmp_path / "anna" / "head.json").stat().st_mtime_ns
    assert program(*call, "--neutralise")[0] == 0
    assert (tmp_path / "anna" / "head.json").stat().st_mtime_ns == written, "finished"


def test_what_expression_it_was_must_be_known(sample, program, tmp_path):
    rig = shutil.copytree(sample, tmp_path / "anna")
    (rig / "expressions.json").unlink()
    code, _, err = program("reconstruct", rig, "-o", tmp_path / "heads", "--frame", "01_smile", "--neutralise", "-q")
    assert code == 2
    assert "frames.01_smile.expression is not told" in err
    assert "expressions.json" in err


def test_any_3dgs_ply_is_rendered(heads, program, tmp_path):
    ply = shutil.copy(heads / "anna" / "gaussians.ply", tmp_path / "other.ply")
    code, out, _ = program("render", ply, "-o", tmp_path, "--frames", "3", "--size", "64x48", "--background", "#ff0000")
    assert code == 0
    assert out.strip().endswith("orbit.mp4")
    frames = list(read_video(tmp_path / "orbit.mp4"))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    corner = frames[0][2, 2].astype(int)
    assert corner[0] > 200
    assert corner[1:].max() < 60


def _break_calibration(folder, change):
    path = folder / "calibration.json"
    calibration = json.loads(path.read_text())
    change(calibration["cameras"], sorted(calibration["cameras"])[0])
    path.write_text(json.dumps(calibration))


def _not_rigid(cameras, name):
    cameras[name]["R"][0][0] += 0.5


def _not_finite(cameras, name):
    cameras[name]["K"][0][0] = float("nan")


def _other_size(cameras, name):
    cameras[name]["width"] += 7


BROKEN = {
    "no dump": (lambda folder: shutil.rmtree(folder / "images") or (folder / "calibration.json").unlink(), "anna"),
    "no calibration": (lambda folder: (folder / "calibration.json").unlink(), "calibration"),
    "not rigid": (lambda folder: _break_calibration(folder, _not_rigid), r"R"),
    "not finite": (lambda folder: _break_calibration(folder, _not_finite), r"K"),
    "other size": (lambda folder: _break_calibration(folder, _other_size), r"375"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_bad_subject_is_refused_in_one_sentence(what, sample, program, tmp_path):
    damage, named = BROKEN[what]
    folder = tmp_path / "anna"
    shutil.copytree(sample, folder)
    damage(folder)
    code, out, err = program("reconstruct", folder, "-o", tmp_path / "out")
    errors = [line for line in err.splitlines() if line.startswith("headsup: error:")]
    assert code == 2, err
    assert len(errors) == 1
    assert named in errors[0]
    assert "expected" in errors[0]
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "out" / "anna").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--refine", "soon"),
        ("--refine", "0"),
        ("--refine-cameras",),
        ("--device", "cuda:99"),
        ("--views", "0"),
        ("--frame", "nope"),
        ("--neutral", "--frame", "00_neutral"),
        ("--uv", "300"),
    ],
    ids=" ".join,
)
def test_bad_options_are_named(arguments, sample, program, tmp_path):
    code, _, err = program("reconstruct", sample, "-o", tmp_path, *arguments)
    assert code == 2
    assert arguments[0] in err or f"'{arguments[1]}'" in err
    assert "Traceback" not in err
