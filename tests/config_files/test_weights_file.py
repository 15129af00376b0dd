import pytest
import torch
from pydantic import BaseModel
from torch import nn

from headsup_cli.config_files.weights_file import read_weights, restore_weights, write_weights
from headsup_cli.errors import InputError


class Description(BaseModel):
    width: int = 3


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))


@pytest.fixture
def path(tmp_path):
    write_weights(tmp_path / "a.safetensors", network(), Description(), torch.bfloat16)
    return tmp_path / "a.safetensors"


def test_weights_come_back_rounded_and_whole_numbers_as_they_were(path):
    assert Description.model_validate_json(path.with_suffix(".json").read_text()).width == 3
    again = network()
    with torch.no_grad():
        again[0].weight.zero_()
    restore_weights(again, path, read_weights(path, remedy="-"), remedy="-")
    for name, tensor in network().state_dict().items():
        found = again.state_dict()[name]
        assert found.dtype == tensor.dtype
        torch.testing.assert_close(found, tensor.bfloat16().to(tensor.dtype) if tensor.is_floating_point() else tensor)


def test_what_cannot_be_used_is_named(path, tmp_path):
    with pytest.raises(InputError, match=r"unusable .*No such file.*; fetch it"):
        read_weights(tmp_path / "b.safetensors", remedy="fetch it")
    weights = read_weights(path, remedy="-")
    with pytest.raises(InputError, match=r"unusable .*the weights that its JSON describes; train again"):
        restore_weights(nn.Linear(2, 2), path, weights, remedy="train again")
    broken = network()
    with torch.no_grad():
        broken[0].bias[1] = torch.nan
    write_weights(path, broken, Description(), torch.float32)
    with pytest.raises(InputError, match=r"0\.bias is not finite"):
        read_weights(path, remedy="-")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="unusable"):
        read_weights(path, remedy="-")
