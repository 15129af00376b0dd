import json

import pytest
import torch

from headsup_cli.errors import InputError
from headsup_cli.model.checkpoint import latent_fingerprint
from headsup_cli.model.config import DEFAULT_CHECKPOINT, LatentConfig, expression_weights
from headsup_cli.model.expression import (
    Expression,
    ExpressionConfig,
    ExpressionTransformer,
    load_expression,
    save_expression,
)

LATENT = LatentConfig(resolution=16, channels=8)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = ExpressionTransformer(ExpressionConfig(channels=24, blocks=1, heads=2), LATENT).eval()
    torch.nn.init.normal_(network.outward.weight)
    network.typical.normal_()
    return network


@pytest.mark.parametrize("direction", ["to expression", "to neutral"])
def test_no_expression_changes_nothing(network, direction):
    latent = torch.randn(2, 8, 16, 16)
    torch.testing.assert_close(network(latent, torch.zeros(2, 52), direction), latent, atol=0, rtol=0)


def test_directions_and_people_differ(network):
    latent, b = torch.randn(2, 8, 16, 16), torch.rand(1, 52).expand(2, -1)
    there, back = network(latent, b) - latent, network(latent, b, "to neutral") - latent
    assert (there - back).abs().max() > 0.1
    assert (there[0] - there[1]).abs().max() > 0.1


def test_people_in_a_batch_do_not_see_each_other(network):
    latent, b = torch.randn(3, 8, 16, 16), torch.rand(3, 52)
    torch.testing.assert_close(network(latent, b)[1:2], network(latent[1:2], b[1:2]), atol=1e-5, rtol=1e-5)


def test_saved_and_loaded_it_is_the_same(network, tmp_path):
    path = tmp_path / "expression.safetensors"
    save_expression(path, Expression(network, "abc", {"seed": 1}))
    loaded = load_expression(path)
    assert (loaded.model_hash, loaded.provenance) == ("abc", {"seed": 1})
    latent, b = torch.randn(1, 8, 16, 16), torch.rand(1, 52)
    network.half().float()  # the precision of the file
    torch.testing.assert_close(loaded.network(latent, b), network(latent, b), atol=0, rtol=0)


def test_damaged_weights_are_refused(network, tmp_path):
    path = tmp_path / "expression.safetensors"
    with pytest.raises(InputError, match=r"expression\.json"):
        load_expression(path)
    save_expression(path, Expression(network, "abc"))
    described = json.loads(path.with_suffix(".json").read_text())
    described["expression"]["channels"] = 48
    path.with_suffix(".json").write_text(json.dumps(described))
    with pytest.raises(InputError, match="unusable"):
        load_expression(path)
    network.typical[0] = torch.nan
    save_expression(path, Expression(network, "abc"))
    with pytest.raises(InputError, match="typical"):
        load_expression(path)


def test_the_shipped_one_is_small_belongs_to_the_shipped_weights_and_leaves_a_still_face_alone():
    path = expression_weights(None)
    assert path.stat().st_size <= 5e6
    shipped = load_expression(path)
    assert shipped.model_hash == latent_fingerprint(DEFAULT_CHECKPOINT)
    latent = torch.randn(1, 32, 32, 32)
    for direction in ("to expression", "to neutral"):
        assert torch.equal(shipped.network(latent, torch.zeros(1, 52), direction), latent)
    for told in ("held_out_explained", "held_out_explained_back"):
        assert shipped.provenance[told]["all"] > 0, "of the way between latents of people held out"


def test_weights_of_ones_own_may_have_a_transformer_beside_them(network, tmp_path):
    assert expression_weights(tmp_path / "model.safetensors") == expression_weights(None)
    save_expression(tmp_path / "expression.safetensors", Expression(network, "abc"))
    assert expression_weights(tmp_path / "model.safetensors") == tmp_path / "expression.safetensors"
