"""LPIPS with weights drawn by lot against its formula, spelled out layer by layer."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F  # noqa: N812

from headsup_cli.errors import InputError
from headsup_cli.metrics.lpips import find_lpips_weights, load_lpips

# torchvision's index of each convolution: (output channels, kernel, stride, padding).
CONVOLUTIONS = {
    "alex": {0: (64, 11, 4, 2), 3: (192, 5, 1, 2), 6: (384, 3, 1, 1), 8: (256, 3, 1, 1), 10: (256, 3, 1, 1)},
    "vgg": {
        index: (channels, 3, 1, 1)
        for index, channels in zip(
            (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
            (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
            strict=True,
        )
    },
}
POOLED_BEFORE = {"alex": (3, 6), "vgg": (5, 10, 17, 24)}
COMPARED = {"alex": (0, 3, 6, 8, 10), "vgg": (2, 7, 14, 21, 28)}  # after the ReLU of these


@pytest.fixture(params=["alex", "vgg"])
def net(request):
    return request.param


@pytest.fixture
def state(net):
    """Weights under torchvision's names and the lpips package's."""
    generator = torch.Generator().manual_seed(1)
    weights, channels = {}, 3
    for index, (out, kernel, _, _) in CONVOLUTIONS[net].items():
        fan_in = channels * kernel * kernel
        weights[f"features.{index}.weight"] = torch.randn(out, channels, kernel, kernel, generator=generator) / (
            fan_in**0.5
        )
        weights[f"features.{index}.bias"] = 0.1 * torch.randn(out, generator=generator)
        channels = out
    for number, index in enumerate(COMPARED[net]):
        width = CONVOLUTIONS[net][index][0]
        weights[f"lin{number}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=generator) / width
    return weights


def formula(state, net, image, reference):
    """d = sum over layers of the mean over places of w . (unit(y) - unit(y0))^2, for pictures in [-1, 1]."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    seen, wanted = (((2 * x - 1 - shift) / scale).movedim(-1, 0)[None] for x in (image, reference))
    window = (3, 2) if net == "alex" else (2, 2)
    total = 0.0
    for index, (_, _, stride, padding) in CONVOLUTIONS[net].items():
        outputs = []
        for x in (seen, wanted):
            x = F.max_pool2d(x, *window) if index in POOLED_BEFORE[net] else x
            x = F.conv2d(x, state[f"features.{index}.weight"], state[f"features.{index}.bias"], stride, padding)
            outputs.append(x.clamp_min(0))
        seen, wanted = outputs
        if index in COMPARED[net]:
            units = [x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10) for x in outputs]
            weight = state[f"lin{COMPARED[net].index(index)}.model.1.weight"][0]
            total += float(((units[0] - units[1]).square()[0] * weight).sum(0).mean())
    return total


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 40, 35, 3, generator=generator)


def test_it_equals_the_formula(net, state, pair, tmp_path):
    torch.save(state, tmp_path / "weights.pth")
    metric = load_lpips(tmp_path / "weights.pth")
    assert metric.name == f"{net}[-1,1]"
    expected = [formula(state, net, image, reference) for image, reference in zip(*pair, strict=True)]
    assert min(expected) > 1e-3
    torch.testing.assert_close(metric(*pair), torch.tensor(expected))
    assert metric(pair[0], pair[0]).abs().max() < 1e-6


@pytest.mark.parametrize("net", ["alex"], indirect=True)
def test_a_loss_can_be_made_of_it(state, pair, tmp_path):
    torch.save(state, tmp_path / "weights.pth")
    metric = load_lpips(tmp_path / "weights.pth")
    image = pair[0].clone()
    image[0] = 0
    image.requires_grad_()
    before = metric(image, pair[1]).sum()
    before.backward()
    assert image.grad.isfinite().all()
    step = 0.01 * image.grad / image.grad.norm()
    assert metric(image - step, pair[1]).sum() < before
    assert not any(parameter.requires_grad for parameter in metric.parameters())


def test_it_sees_the_smallest_pictures_that_it_claims_to(state, pair, tmp_path):
    torch.save(state, tmp_path / "weights.pth")
    metric = load_lpips(tmp_path / "weights.pth")
    side = metric.min_side_px
    assert metric(*pair[:, :, :side, :side]).isfinite().all()
    with pytest.raises(RuntimeError):
        metric(*pair[:, :, : side - 1, :side])


@pytest.mark.parametrize("net", ["alex"], indirect=True)
def test_the_packages_names_and_safetensors_give_the_same(state, pair, tmp_path):
    renamed = {name.replace("features.", "net.slice3."): tensor for name, tensor in state.items()}
    extras = {f"lins.{name[3]}{name[4:]}": tensor.clone() for name, tensor in state.items() if name.startswith("lin")}
    extras["scaling_layer.shift"] = torch.zeros(1, 3, 1, 1)
    save_file(renamed | extras, tmp_path / "theirs.safetensors")
    torch.save(state, tmp_path / "weights.pth")
    one, other = (load_lpips(tmp_path / name)(*pair) for name in ("theirs.safetensors", "weights.pth"))
    assert torch.equal(one, other)


@pytest.mark.parametrize("net", ["alex"], indirect=True)
@pytest.mark.parametrize("damage", ["missing", "no weights", "truncated", "code", "without lin", "not finite"])
def test_bad_weights_are_refused_in_one_sentence(damage, state, tmp_path):
    path = tmp_path / "weights.pth"
    if damage == "without lin":
        state.pop("lin3.model.1.weight")
    if damage == "not finite":
        state["features.0.bias"][0] = float("nan")
    if damage != "missing":
        torch.save({"no weights": {"x": torch.zeros(1)}, "code": {"x": Path}}.get(damage, state), path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:999])
    with pytest.raises(InputError, match=r"weights\.pth"):
        load_lpips(path)


def test_weights_in_the_cache_are_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HEADSUP_CACHE_DIR", str(tmp_path))
    assert find_lpips_weights() is None
    for name in ("lpips_vgg.pth", "lpips_alex.pth", "lpips_alex.safetensors"):
        (tmp_path / name).touch()
        assert find_lpips_weights() == tmp_path / name
