import base64
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.errors import HeadsupError, InputError, MissingDependencyError
from headsup_cli.gaussians.formats.compressed_ply import encode_compressed_ply
from headsup_cli.gaussians.formats.glb import decode_glb, encode_glb
from headsup_cli.gaussians.formats.splat import encode_splat
from headsup_cli.gaussians.formats.splat_transform import read_html, read_sog, write_html, write_sog
from headsup_cli.gaussians.formats.spz import encode_spz
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import read_ply, write_ply
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.rendering.render import render


def ball(count=600):
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    sh = torch.randn(count, 4, 3, generator=generator) * 0.1
    sh[:, 0] = direction * 1.2
    return Gaussians(
        means=direction * torch.tensor([0.08, 0.12, 0.1]),
        quats=torch.randn(count, 4, generator=generator),
        scales=torch.rand(count, 3, generator=generator) * 0.006 + 0.002,
        opacities=torch.rand(count, generator=generator) * 0.9 + 0.05,
        sh=sh,
    )


def likeness(again):
    kept = ball()
    kept = replace(kept, sh=kept.sh[:, : again.sh.shape[1]])
    one, other = (render(some, orbit(3, 96, 96)).rgb.clamp(0, 1) for some in (again, kept))
    return psnr(one, other).min()


def stand_in(folder, name, lines):
    """A program of this name that does what the shell lines say."""
    program = folder / name
    program.write_text("#!/bin/sh\n" + lines + "\n")
    program.chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder that is all there is of the PATH, but for the shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    monkeypatch.setattr(shutil, "which", lambda name: str(folder / name) if (folder / name).exists() else None)
    return folder


def test_without_node_or_with_an_old_one_one_sentence_says_what_to_install(programs, tmp_path):
    with pytest.raises(MissingDependencyError, match="npm install -g @playcanvas/splat-transform"):
        write_sog(tmp_path / "a.sog", ball(10))
    stand_in(programs, "splat-transform", "exit 0")
    stand_in(programs, "node", "echo v20.20.2")
    with pytest.raises(MissingDependencyError, match=r"found Node\.js v20\.20\.2"):
        write_sog(tmp_path / "a.sog", ball(10))


def test_its_failure_is_told_with_its_last_line(programs, tmp_path):
    stand_in(programs, "node", "echo v22.1.0")
    stand_in(programs, "splat-transform", "echo 'out of luck' >&2; exit 3")
    with pytest.raises(HeadsupError, match=r"splat-transform failed \(out of luck\)"):
        write_html(tmp_path / "a.html", ball(10))


def test_a_page_without_a_head_is_refused(tmp_path):
    (tmp_path / "a.html").write_bytes(b"<html>" + base64.b64encode(b"x" * 99))
    with pytest.raises(InputError, match="without a head"):
        read_html(tmp_path / "a.html")


needs_the_program = pytest.mark.skipif(shutil.which("splat-transform") is None, reason="splat-transform is not here")


@pytest.mark.slow
@needs_the_program
def test_sog_and_the_page_hold_the_head(tmp_path):
    write_sog(tmp_path / "a.sog", ball())
    assert likeness(read_sog(tmp_path / "a.sog")) > 38
    write_html(tmp_path / "a.html", ball())
    assert likeness(read_html(tmp_path / "a.html")) > 38
    assert b'"position":[0' in (tmp_path / "a.html").read_bytes()


@pytest.mark.slow
@needs_the_program
@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("a.spz", encode_spz),
        ("b.spz", lambda gaussians: encode_spz(gaussians, version=4)),
        ("a.compressed.ply", encode_compressed_ply),
        ("a.splat", encode_splat),
    ],
)
def test_it_reads_our_packed_formats(tmp_path, name, encode):
    (tmp_path / name).write_bytes(encode(ball()))
    subprocess.run(["splat-transform", "-w", "-q", tmp_path / name, tmp_path / "back.ply"], check=True)
    assert likeness(read_ply(tmp_path / "back.ply")) > 38


@pytest.mark.slow
@needs_the_program
def test_its_glb_and_ours_are_one(tmp_path):
    """It writes GLB but reads none; half a turn undoes that it takes a PLY's y for down."""
    write_ply(tmp_path / "a.ply", ball(), up="+y")
    subprocess.run(["splat-transform", "-w", "-q", tmp_path / "a.ply", "-r", "0,0,180", tmp_path / "a.glb"], check=True)
    theirs = (tmp_path / "a.glb").read_bytes()
    assert likeness(decode_glb(theirs, tmp_path / "a.glb")) > 50
    ours = encode_glb(ball())
    for name in (b"KHR_gaussian_splatting:SH_DEGREE_1_COEF_2", b'"kernel":"ellipse"', b'"srgb_rec709_display"'):
        assert name in theirs.replace(b" ", b"")
        assert name in ours.replace(b" ", b"")
