import pytest
import torch

from headsup_cli.errors import InputError
from headsup_cli.runtime.device import resolve_device


def test_auto_takes_cuda_only_where_it_is(monkeypatch):
    for present, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda present=present: present)
        assert resolve_device("auto").type == kind


@pytest.mark.parametrize(("devices", "name"), [(0, "cuda"), (0, "cuda:0"), (2, "cuda:2"), (2, "gpu"), (2, "cuda:-1")])
def test_absent_or_unknown_devices_are_refused(monkeypatch, devices, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    with pytest.raises(InputError, match=f"--device: '{name}'"):
        resolve_device(name)


def test_numbered_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
