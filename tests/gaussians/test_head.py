import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.errors import InputError
from headsup_cli.gaussians.head import Head, read_gaussians, read_head, write_head
from headsup_cli.gaussians.head_folder import is_head
from headsup_cli.gaussians.ply import read_ply
from headsup_cli.gaussians.uv_maps import template_maps


@pytest.fixture
def head(toy_template):
    torch.manual_seed(0)
    maps = template_maps(16)
    maps.offset.normal_(std=0.003)
    maps.sh.normal_(std=0.3)
    rig_from_head = np.diag([1000.0, 1000.0, 1000.0, 1.0])
    rig_from_head[:3, 3] = [1, 2, 3]
    return Head(
        subject="egg",
        maps=maps,
        template=toy_template.name,
        template_sha256=toy_template.sha256,
        rig_from_head=rig_from_head,
        latent=torch.randn(4, 8, 8),
        provenance={"seed": 1},
    )


def test_round_trip(head, tmp_path, toy_template):
    write_head(head, tmp_path, toy_template)
    assert is_head(tmp_path)
    back = read_head(tmp_path)
    for name, tensor in head.maps.tensors().items():
        assert torch.equal(back.maps.tensors()[name], tensor), name
    assert torch.equal(back.latent, head.latent)
    np.testing.assert_array_equal(back.rig_from_head, head.rig_from_head)
    assert (back.subject, back.provenance) == ("egg", {"seed": 1})


def test_who_may_read_one_file_of_a_head_may_read_all(head, tmp_path, toy_template):
    write_head(head, tmp_path, toy_template)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_the_ply_shows_the_same_as_the_maps(head, tmp_path, toy_template):
    from headsup_cli.rendering.render import render

    write_head(head, tmp_path, toy_template)
    cameras = orbit(3, 64, 64)
    native = render(read_gaussians(tmp_path, toy_template), cameras).rgb
    baked = render(read_ply(tmp_path / "gaussians.ply"), cameras).rgb
    assert (native - baked).abs().mean() < 1e-4
    assert native.max() > 0.3


def test_another_template_is_refused(head, tmp_path, toy_template):
    write_head(head, tmp_path, toy_template)
    with pytest.raises(InputError, match="HEADSUP_TEMPLATE"):
        read_gaussians(tmp_path, replace(toy_template, sha256="0" * 64))


def test_damage_is_told_in_a_sentence(head, tmp_path, toy_template):
    with pytest.raises(InputError, match=r"expected a head"):
        read_head(tmp_path)
    write_head(head, tmp_path, toy_template)
    file = json.loads((tmp_path / "head.json").read_text())

    def with_changes(**changes):
        (tmp_path / "head.json").write_text(json.dumps(file | changes))
        return pytest.raises(InputError, match=next(iter(changes)))

    (tmp_path / "head.json").write_text(json.dumps(file | {"resolution": 17}))
    with pytest.raises(InputError, match=r"head\.safetensors: offset .* expected finite and 17 x 17"):
        read_head(tmp_path)
    with with_changes(rig_from_head=[[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]):
        read_head(tmp_path)
    with with_changes(schema="headsup-head/9"):
        read_head(tmp_path)
    (tmp_path / "head.json").write_text(json.dumps(file))
    (tmp_path / "head.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"head\.safetensors"):
        read_head(tmp_path)
