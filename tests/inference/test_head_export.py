import pytest
import torch

from headsup_cli.errors import HeadsupError
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.inference.head_export import FORMATS, HeadFormat, export_head


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


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_exported_renders_as_before(name, tmp_path):
    path = tmp_path / f"ball{FORMATS[name].suffix}"
    assert export_head(ball(), path, FORMATS[name]) >= FORMATS[name].least_psnr_db
    assert len(FORMATS[name].read(path)) == 800
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_file_that_looks_otherwise_gets_no_name(tmp_path):
    good = FORMATS["ply"]
    wrong = HeadFormat(".ply", lambda path, some: good.write(path, some[:400]), good.read, good.least_psnr_db)
    with pytest.raises(HeadsupError, match="dB"):
        export_head(ball(), tmp_path / "ball.ply", wrong)
    assert not list(tmp_path.iterdir())
