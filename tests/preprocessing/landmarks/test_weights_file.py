import pytest
import torch

from headsup_cli.errors import InputError
from headsup_cli.preprocessing.landmarks.network import CROP_PX, LandmarkNetwork
from headsup_cli.preprocessing.landmarks.points import POINT_COUNT
from headsup_cli.preprocessing.landmarks.task_file import MediaPipeDetector
from headsup_cli.preprocessing.landmarks.weights_file import DEFAULT_WEIGHTS, load_network, save_network


def test_weights_come_back_at_half_precision(tmp_path):
    torch.manual_seed(0)
    network = LandmarkNetwork().eval()
    save_network(tmp_path / "w.safetensors", network, {"data": "none"})
    again = load_network(tmp_path / "w.safetensors")
    crops = torch.rand(2, 3, CROP_PX, CROP_PX)
    expected = torch.rand(2, POINT_COUNT, 2) * CROP_PX
    torch.testing.assert_close(again(crops, expected)[0], network(crops, expected)[0], atol=0.05, rtol=0)


def test_damaged_weights_are_refused_in_one_sentence(tmp_path):
    save_network(tmp_path / "w.safetensors", LandmarkNetwork(), {})
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="install headsup again"):
        load_network(tmp_path / "w.safetensors")


def test_weights_that_ship_are_small():
    assert sum(file.stat().st_size for file in DEFAULT_WEIGHTS.parent.iterdir()) < 5e6
    load_network()


def test_a_missing_task_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"face\.task"):
        MediaPipeDetector(tmp_path / "face.task")
