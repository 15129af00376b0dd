import numpy as np
import pytest
import torch

from headsup_cli.animation.clips import clip
from headsup_cli.animation.geometric_rig import geometric_rig
from headsup_cli.animation.outputs import posed, write_usd_sequence
from headsup_cli.gaussians.formats.usd import read_usd
from headsup_cli.gaussians.head import Head
from headsup_cli.gaussians.uv_maps import template_maps
from headsup_cli.template.default import load_template


def test_a_usd_stage_holds_every_pose_of_a_clip(tmp_path):
    pytest.importorskip("pxr")
    template = load_template()
    rig = geometric_rig(Head("anna", template_maps(32), template.name, template.sha256, np.eye(4)), template)
    curves = clip("smile").resampled(2.0)
    write_usd_sequence(rig, curves, tmp_path / "smile.usd", fps=2.0)
    assert [file.name for file in tmp_path.iterdir()] == ["smile.usd"]
    frames = list(posed(rig, curves))
    assert (frames[0].means - frames[len(frames) // 2].means).abs().max() > 1e-3, "the clip moves"
    for index, frame in enumerate(frames):
        again = read_usd(tmp_path / "smile.usd", float(index))
        torch.testing.assert_close(again.means, frame.means)
        torch.testing.assert_close(again.scales, frame.scales)
