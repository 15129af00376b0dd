import sys
from dataclasses import replace

import pytest
import torch

from headsup_cli.errors import InputError, MissingDependencyError
from headsup_cli.gaussians.formats.usd import read_usd, write_usd, write_usd_frames
from headsup_cli.gaussians.gaussians import Gaussians


def some(count=50, degree=1):
    generator = torch.Generator().manual_seed(0)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator),
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator)),
        scales=torch.rand(count, 3, generator=generator) + 0.1,
        opacities=torch.rand(count, generator=generator),
        sh=torch.randn(count, (degree + 1) ** 2, 3, generator=generator),
    )


def test_without_usd_core_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'headsup-cli\[usd\]'"):
        write_usd(tmp_path / "a.usd", some())


class TestWithUsdCore:
    @pytest.fixture(autouse=True)
    def _pxr(self):
        pytest.importorskip("pxr")

    @pytest.mark.parametrize("degree", [0, 1, 3])
    @pytest.mark.parametrize("suffix", [".usd", ".usda"])
    def test_a_still_head_comes_back_exactly(self, tmp_path, degree, suffix):
        write_usd(tmp_path / f"a{suffix}", some(degree=degree))
        again = read_usd(tmp_path / f"a{suffix}")
        for name, tensor in vars(some(degree=degree)).items():
            torch.testing.assert_close(getattr(again, name), tensor, atol=1e-6, rtol=1e-6)

    def test_the_stage_is_what_renderers_ask_for(self, tmp_path):
        from pxr import Usd, UsdGeom, UsdVol

        write_usd(tmp_path / "a.usd", some(), metres_per_unit=0.01)
        stage = Usd.Stage.Open(str(tmp_path / "a.usd"))
        assert UsdGeom.GetStageUpAxis(stage) == "Y"
        assert UsdGeom.GetStageMetersPerUnit(stage) == 0.01
        field = UsdVol.ParticleField3DGaussianSplat(stage.GetDefaultPrim())
        assert field.GetRadianceSphericalHarmonicsDegreeAttr().Get() == 1
        assert len(field.GetRadianceSphericalHarmonicsCoefficientsAttr().Get()) == 4 * 50
        first = field.GetOrientationsAttr().Get()[0]
        assert [first.GetReal(), *first.GetImaginary()] == pytest.approx(some().quats[0].tolist(), abs=1e-6)
        low, high = field.GetExtentAttr().Get()
        assert all(low[i] < some().means[:, i].min() and high[i] > some().means[:, i].max() for i in range(3))
        assert field.GetPositionsAttr().GetNumTimeSamples() == 0

    def test_a_moving_head_has_a_sample_for_every_frame(self, tmp_path):
        frames = [replace(some(), means=some().means + step) for step in range(3)]
        write_usd_frames(tmp_path / "a.usd", iter(frames), fps=24.0)
        for index, frame in enumerate(frames):
            torch.testing.assert_close(read_usd(tmp_path / "a.usd", float(index)).means, frame.means)
        from pxr import Usd

        stage = Usd.Stage.Open(str(tmp_path / "a.usd"))
        assert (stage.GetStartTimeCode(), stage.GetEndTimeCode(), stage.GetTimeCodesPerSecond()) == (0, 2, 24)

    def test_what_stays_the_same_is_stored_once(self, tmp_path):
        frames = [replace(some(5000), means=some(5000).means + step) for step in range(6)]
        write_usd(tmp_path / "one.usd", frames[0])
        write_usd_frames(tmp_path / "six.usd", frames, fps=24.0)
        added = (tmp_path / "six.usd").stat().st_size - (tmp_path / "one.usd").stat().st_size
        assert added < 5 * 5000 * 12 * 1.2, "positions alone"

    def test_stages_without_a_head_are_refused(self, tmp_path):
        from pxr import Usd

        (tmp_path / "a.usda").write_text("no stage")
        with pytest.raises(InputError, match="unreadable"):
            read_usd(tmp_path / "a.usda")
        Usd.Stage.CreateNew(str(tmp_path / "b.usda")).Save()
        with pytest.raises(InputError, match="Gaussian field"):
            read_usd(tmp_path / "b.usda")
