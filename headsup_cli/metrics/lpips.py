"""LPIPS, the differentiable distance of two pictures in the features of a network that was trained to name things.

Zhang, Isola, Efros, Shechtman, Wang: "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018),
version 0.1 of its weights. They do not come with headsup; docs/evaluation.md says how to get them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from headsup_cli.errors import InputError
from headsup_cli.runtime.cache_directory import cache_directory

_SUFFIXES = (".safetensors", ".pth")
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


@dataclass(frozen=True)
class _Architecture:
    """The convolutional part of a classifier, and where it is listened to."""

    convolutions: tuple[tuple[int, int, int, int] | None, ...]  # channels, kernel, stride, padding; None pools
    pool: tuple[int, int]  # window, stride
    taps: tuple[int, ...]  # layers whose output is compared
    widths: tuple[int, ...]  # channels there
    min_side_px: int


def _threes(count: int, channels: int) -> tuple[tuple[int, int, int, int], ...]:
    return ((channels, 3, 1, 1),) * count


_ARCHITECTURES = {
    "alex": _Architecture(
        ((64, 11, 4, 2), None, (192, 5, 1, 2), None, *_threes(1, 384), *_threes(2, 256)),
        pool=(3, 2),
        taps=(1, 4, 7, 9, 11),
        widths=(64, 192, 384, 256, 256),
        min_side_px=31,
    ),
    "vgg": _Architecture(
        (
            *_threes(2, 64),
            None,
            *_threes(2, 128),
            None,
            *_threes(3, 256),
            None,
            *_threes(3, 512),
            None,
            *_threes(3, 512),
        ),
        pool=(2, 2),
        taps=(3, 8, 15, 22, 29),
        widths=(64, 128, 256, 512, 512),
        min_side_px=16,
    ),
}


class Lpips(nn.Module):
    """The metric with one of its networks, `alex` or `vgg`; parameters have torchvision's names."""

    def __init__(self, net: str) -> None:
        super().__init__()
        self.net, self.architecture = net, _ARCHITECTURES[net]
        self.features = nn.Sequential(*_layers(self.architecture))
        self.lin = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in self.architecture.widths)

    @property
    def name(self) -> str:
        """Network and input range, as the protocol line has them."""
        return f"{self.net}[-1,1]"

    @property
    def min_side_px(self) -> int:
        """Pictures need as many pixels in width and height."""
        return self.architecture.min_side_px

    def forward(
        self, image: Float[Tensor, "*batch h w 3"], reference: Float[Tensor, "*batch h w 3"]
    ) -> Float[Tensor, "*batch"]:
        """Distances, one per picture, of sRGB values in [0, 1], which are brought to [-1, 1] here."""
        batch = image.shape[:-3]
        pair = torch.stack(
            [x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2) for x in (image, reference)]
        )  # [2, n, ...]
        shift, scale = (pair.new_tensor(constant).view(3, 1, 1) for constant in (_SHIFT, _SCALE))
        x = ((2 * pair - 1 - shift) / scale).flatten(0, 1)
        distance, taps = pair.new_zeros(pair.shape[1]), iter(self.lin)
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self.architecture.taps:
                unit = x / (x.norm(dim=1, keepdim=True) + 1e-10)
                seen, wanted = unit.chunk(2)
                distance = distance + next(taps)((seen - wanted).square()).mean((1, 2, 3))
        return distance.reshape(batch)


def find_lpips_weights() -> Path | None:
    """The weights in the cache directory, `lpips_alex.*` before `lpips_vgg.*`, or None."""
    candidates = (cache_directory() / f"lpips_{net}{suffix}" for net in _ARCHITECTURES for suffix in _SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def load_lpips(path: Path, device: torch.device | str = "cpu") -> Lpips:
    """Read the metric's weights; no code in the file is ever run.

    Args:
        path: `.safetensors`, or the state that `torch.save(lpips.LPIPS(net=...).state_dict(), path)` writes.
        device: Where to put the network.

    Raises:
        InputError: The file is missing or damaged, or holds other weights.
    """
    state = {_own_name(name): tensor for name, tensor in _read(path).items()}
    kernel = tuple(state["features.0.weight"].shape) if "features.0.weight" in state else None
    net = {(64, 3, 11, 11): "alex", (64, 3, 3, 3): "vgg"}.get(kernel or ())
    if net is None:
        raise _unusable(path, "without the first convolution of AlexNet or VGG16")
    metric = Lpips(net)
    try:
        metric.load_state_dict({name: state[name].float() for name in metric.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise _unusable(path, f"without fitting {str(error).splitlines()[-1].strip()}") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in metric.state_dict().values()):
        raise _unusable(path, "not finite")
    return metric.to(device).eval().requires_grad_(False)


def _layers(architecture: _Architecture) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for entry in architecture.convolutions:
        if entry is None:
            layers.append(nn.MaxPool2d(*architecture.pool))
            continue
        layers += [nn.Conv2d(channels, *entry), nn.ReLU()]
        channels = entry[0]
    return layers


def _own_name(name: str) -> str:
    """`features.N.*` and `lin.K.weight` of what the lpips package, torchvision and torchmetrics call them."""
    name = re.sub(r"^net\.slice\d+\.(\d+)\.", r"features.\1.", name)
    return re.sub(r"^lins?\.?(\d)\.model\.1\.", r"lin.\1.", name)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # damage shows in whatever their parsers raise
        raise _unusable(path, f"unreadable ({(str(error) or type(error).__name__).splitlines()[0]})") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise _unusable(path, "no state of a network")
    return state


def _unusable(path: Path, found: str) -> InputError:
    return InputError(
        path,
        found=found,
        expected="LPIPS weights with their network (alex or vgg)",
        remedy="make the file as docs/evaluation.md says, or leave --lpips out",
    )
