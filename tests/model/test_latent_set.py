from dataclasses import replace

import pytest
import torch

from headsup_cli.errors import InputError
from headsup_cli.model.latent_set import LatentSet, joined, load_latents, save_latents


def mirrored_too(crowd) -> LatentSet:
    return joined([crowd, replace(crowd, latents=crowd.latents.flip(-1), subject=-1 - crowd.subject)])


def test_a_set_comes_back_from_its_file(crowd, tmp_path):
    path = tmp_path / "latents.safetensors"
    save_latents(path, crowd)
    again = load_latents(path)
    torch.testing.assert_close(again.latents, crowd.latents, atol=0.01, rtol=1e-3)  # half precision
    assert torch.equal(again.subject, crowd.subject)
    assert torch.equal(again.coefficients, crowd.coefficients)
    assert again.attributes == crowd.attributes
    assert again.model_hash == crowd.model_hash


def test_nobody_and_nobodys_mirror_image_is_on_both_sides(crowd):
    everybody = mirrored_too(crowd)
    people, strangers = everybody.divided()
    assert len(people) + len(strangers) == len(everybody)
    assert len(strangers.person.unique()) == 12
    assert not set(people.person.tolist()) & set(strangers.person.tolist())
    assert {int(s) for s in strangers.subject} == {t for p in strangers.person.tolist() for t in (p, -1 - p)}


def test_the_division_does_not_depend_on_the_order(crowd):
    order = torch.randperm(len(crowd), generator=torch.Generator().manual_seed(1))
    assert set(crowd[order].divided()[1].subject.tolist()) == set(crowd.divided()[1].subject.tolist())


def test_neutral_faces_are_told_from_others(crowd):
    assert torch.equal(crowd.neutral, torch.arange(len(crowd)) % 2 == 0)


def test_choosing_keeps_the_columns_together(crowd):
    chosen = crowd[crowd.subject == 7]
    assert chosen.subject.tolist() == [7, 7]
    assert [words["sex"] for words in chosen.attributes] == ["female", "female"]
    assert chosen.coefficients[1].sum() > 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "unusable"),
        (lambda path: path.write_bytes(b"{}"), "unusable"),
        (lambda path: path.unlink(), "not there"),
    ],
)
def test_a_damaged_file_is_refused(crowd, tmp_path, spoil, says):
    path = tmp_path / "latents.safetensors"
    save_latents(path, crowd)
    spoil(path)
    with pytest.raises(InputError, match=says):
        load_latents(path)


def test_numbers_that_do_not_fit_are_refused(crowd, tmp_path):
    path = tmp_path / "latents.safetensors"
    broken = crowd.latents.clone()
    broken[3, 0, 0, 0] = float("nan")
    save_latents(path, replace(crowd, latents=broken))
    with pytest.raises(InputError, match="not finite"):
        load_latents(path)
    save_latents(path, replace(crowd, attributes=crowd.attributes[1:]))
    with pytest.raises(InputError, match="for 119 portraits"):
        load_latents(path)
