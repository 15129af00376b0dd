import gzip
import sys
from pathlib import Path

import gsply
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.gaussians.formats.compressed_ply import decode_compressed_ply, encode_compressed_ply
from headsup_cli.gaussians.formats.glb import decode_glb, encode_glb
from headsup_cli.gaussians.formats.splat import decode_splat, encode_splat
from headsup_cli.gaussians.formats.spz import decode_spz, encode_spz
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import read_ply, turn_over, write_ply
from headsup_cli.gaussians.transform import transform_gaussians
from headsup_cli.metrics.image_quality import psnr
from headsup_cli.rendering.render import render

FORMATS = {
    "glb": (encode_glb, decode_glb, 50.0),
    "spz": (encode_spz, decode_spz, 38.0),
    "compressed.ply": (encode_compressed_ply, decode_compressed_ply, 38.0),
    "splat": (encode_splat, decode_splat, 35.0),
}
HERE = Path("file")


def ball(count=3000, degree=1, directional=0.1):
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    sh = torch.randn(count, (degree + 1) ** 2, 3, generator=generator) * directional
    sh[:, 0] = direction * 1.2
    return Gaussians(
        means=direction * torch.tensor([0.08, 0.12, 0.1]),
        quats=torch.randn(count, 4, generator=generator),
        scales=torch.rand(count, 3, generator=generator) * 0.004 + 0.001,
        opacities=torch.rand(count, generator=generator) * 0.9 + 0.05,
        sh=sh,
    )


def pictures(gaussians):
    return render(gaussians, orbit(3, 96, 96)).rgb.clamp(0, 1)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_renders_as_before(name):
    encode, decode, least_db = FORMATS[name]
    gaussians = ball()
    if name == "splat":
        gaussians = Gaussians(**{**vars(gaussians), "sh": gaussians.sh[:, :1]})  # it has no directional colour
    again = decode(encode(gaussians), HERE)
    assert len(again) == len(gaussians)
    assert psnr(pictures(again), pictures(gaussians)).min() > least_db


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["glb", "spz", "compressed.ply"])
def test_every_degree(name, degree):
    encode, decode, _ = FORMATS[name]
    gaussians = ball(700, degree)
    again = decode(encode(gaussians), HERE)
    assert again.sh.shape == gaussians.sh.shape
    if name == "compressed.ply":  # which sorts
        again, gaussians = (g[g.opacities.argsort()] for g in (again, gaussians))
    torch.testing.assert_close(again.sh.sum(0), gaussians.sh.sum(0), atol=700 * 0.02, rtol=0)


def test_glb_is_exact():
    gaussians, again = ball(), decode_glb(encode_glb(ball()), HERE)
    torch.testing.assert_close(again.means, gaussians.means, atol=0, rtol=0)
    torch.testing.assert_close(again.scales, gaussians.scales, atol=0, rtol=0)
    torch.testing.assert_close(again.sh, gaussians.sh, atol=0, rtol=0)


def as_gaussians(data, tmp_path):
    """What gsply read, through its own PLY writer and our reader."""
    gsply.plywrite(str(tmp_path / "read.ply"), data)
    return read_ply(tmp_path / "read.ply")


def test_gsply_reads_our_compressed_ply(tmp_path):
    (tmp_path / "a.compressed.ply").write_bytes(encode_compressed_ply(ball()))
    again = as_gaussians(gsply.plyread(str(tmp_path / "a.compressed.ply")), tmp_path)
    assert psnr(pictures(again), pictures(ball())).min() > 38


@pytest.mark.slow
def test_we_read_gsplys_compressed_ply(tmp_path):
    write_ply(tmp_path / "plain.ply", ball())
    gsply.plywrite(str(tmp_path / "theirs.compressed.ply"), gsply.plyread(str(tmp_path / "plain.ply")), compressed=True)
    again = decode_compressed_ply(next(tmp_path.glob("theirs*")).read_bytes(), HERE)
    assert psnr(pictures(again), pictures(ball())).min() > 38


def test_gsply_reads_our_spz(tmp_path):
    (tmp_path / "a.spz").write_bytes(encode_spz(ball()))
    data = gsply.read_spz(str(tmp_path / "a.spz"))
    ours = decode_spz((tmp_path / "a.spz").read_bytes(), HERE)
    theirs = transform_gaussians(as_gaussians(data, tmp_path), turn_over())  # it leaves the file's y-up world as it is
    assert psnr(pictures(theirs), pictures(ours)).min() > 38


def test_spz_4_holds_what_3_holds_and_gsply_reads_it(tmp_path):
    pytest.importorskip("zstandard")
    for degree in (0, 1):
        three, four = encode_spz(ball(degree=degree)), encode_spz(ball(degree=degree), version=4)
        ours, theirs = decode_spz(three, HERE), decode_spz(four, HERE)
        for name, tensor in vars(ours).items():
            torch.testing.assert_close(getattr(theirs, name), tensor, atol=0, rtol=0)
        (tmp_path / "a.spz").write_bytes(four)
        data = gsply.read_spz(str(tmp_path / "a.spz"))
        np.testing.assert_allclose(data.means, ours.means.numpy(), atol=1e-6)
        np.testing.assert_allclose(data.sh0, ours.sh[:, 0].numpy(), atol=1e-5)


def test_without_zstandard_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'headsup-cli\[spz\]', or write version 3"):
        encode_spz(ball(10), version=4)


def test_spz_is_the_same_every_time_and_keeps_millimetres_of_a_large_scene():
    gaussians = ball()
    assert encode_spz(gaussians) == encode_spz(gaussians)
    far = Gaussians(**{**vars(gaussians), "means": gaussians.means * 1000})
    error = (decode_spz(encode_spz(far), HERE).means - far.means).abs().max()
    assert error < 1e-4


@pytest.mark.parametrize("name", FORMATS)
def test_cut_short_and_foreign_files_are_refused(name):
    encode, decode, _ = FORMATS[name]
    content = encode(ball(300))
    for bad in (content[:-7], content[:20], b"", b"ply\nend_header\n", gzip.compress(b"nonsense" * 9)[:-1]):
        with pytest.raises(InputError, match="file"):
            decode(bad, HERE)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_spz_4_is_read_or_refused(data):
    pytest.importorskip("zstandard")
    content = bytearray(encode_spz(ball(40), version=4))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(8, len(content)))]
    try:
        gaussians = decode_spz(bytes(content), HERE)
    except InputError:
        return
    assert np.isfinite(gaussians.quats.numpy()).all()


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused(name, data):
    encode, decode, _ = FORMATS[name]
    content = bytearray(encode(ball(40)))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        gaussians = decode(bytes(content), HERE)
    except InputError:
        return
    assert np.isfinite(gaussians.quats.numpy()).all()
