from dataclasses import replace

import pytest
import torch

from headsup_cli.errors import HeadsupError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.ply import read_ply
from headsup_cli.inference.head_export import FORMATS, Placement, export_head


def ball(count=800):
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return Gaussians(
        means=direction * 0.1,
        quats=torch.randn(count, 4, generator=generator),
        scales=torch.rand(count, 3, generator=generator) * 0.005 + 0.002,
        opacities=torch.rand(count, generator=generator) * 0.8 + 0.1,
        sh=torch.randn(count, 4, 3, generator=generator) * 0.3,
    )


NEEDS = {"usd": "pxr", "spz-4": "zstandard"}
OURS = [name for name in FORMATS if name not in ("sog", "html")]  # those need a program: tests/gaussians/formats


@pytest.mark.parametrize("name", OURS)
def test_what_is_exported_renders_as_before(name, tmp_path):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    path = tmp_path / f"ball{FORMATS[name].suffix}"
    assert export_head(ball(), path, FORMATS[name]) >= FORMATS[name].least_psnr_db
    assert len(FORMATS[name].read(path, Placement())) == 800
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["ply", "glb", "splat", "usd"])
@pytest.mark.parametrize("up", ["+y", "-y"])
def test_up_axis_and_scale_are_what_was_asked(name, up, tmp_path):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    format = FORMATS[name]
    own = "+y" if name in ("glb", "usd") else "-y"
    path, placement = tmp_path / f"ball{format.suffix}", Placement(up, 100.0)
    assert export_head(ball(), path, format, placement) >= format.least_psnr_db
    as_if_own = format.read(path, Placement(None if name != "ply" else "-y"))  # what its readers take it for
    expected = ball().means * 100
    if up != own and name != "ply":  # which says itself what points up
        expected = expected * torch.tensor([1.0, -1.0, -1.0])
    order = expected[:, 0].argsort(), as_if_own.means[:, 0].argsort()
    torch.testing.assert_close(as_if_own.means[order[1]], expected[order[0]], atol=2e-3, rtol=0)


def test_a_ply_says_what_points_up(tmp_path):
    export_head(ball(), tmp_path / "a.ply", FORMATS["ply"], Placement("+y", 10.0))
    assert b"comment up +y\n" in (tmp_path / "a.ply").read_bytes()[:300]
    torch.testing.assert_close(read_ply(tmp_path / "a.ply").means, ball().means * 10)


def test_a_file_that_looks_otherwise_gets_no_name(tmp_path):
    good = FORMATS["ply"]
    wrong = replace(good, write=lambda path, some, placement: good.write(path, some[:400], placement))
    with pytest.raises(HeadsupError, match="dB"):
        export_head(ball(), tmp_path / "ball.ply", wrong)
    assert not list(tmp_path.iterdir())
