"""What a step of training takes, counted without doing it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from headsup_cli.cameras.camera import Cameras
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.model.config import ModelConfig
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.views import Views
from headsup_cli.rendering.render import RenderOutput
from headsup_cli.template.template import Template
from headsup_cli.training.config import Preset, Stage
from headsup_cli.training.precision import recompute_fusion

_COPIES = 5  # of the weights: themselves, gradient, two moments of Adam, the average
_ASPECT = 0.75  # width over height of the pictures that the estimate is for


@dataclass(frozen=True)
class StepCost:
    """Of one subject with a number of input views; the renderer's own work and memory are not in it."""

    forward_flops: int
    flops: int  # forward and backward
    saved_bytes: int  # kept from the forward for the backward pass


def estimate_costs(preset: Preset, template: Template) -> list[str]:
    """Lines for people: parameters, and for each stage FLOPs and memory of a step."""
    with torch.device("meta"):
        model = HeadModel(preset.model, template).to("meta")  # the template's buffers too
    if model.feedback is not None:
        model.feedback.draw = _undrawn
    parameters = sum(parameter.numel() for parameter in model.parameters())
    recompute_fusion(model, preset.training.recompute)
    weights_gb = 4 * _COPIES * parameters / 1e9
    lines = [
        f"model: {parameters / 1e6:.2f} M parameters, {preset.model.attention} attention, "
        f"{preset.model.resolution} x {preset.model.resolution} texels",
        f"memory of weights, gradients, optimizer and average: {weights_gb:.2f} GB",
    ]
    for number, stage in enumerate(preset.training.plan(), 1):
        lines.append(f"stage {number}: {_stage_line(model, preset.model, stage)}")
    return lines


def _stage_line(model: nn.Module, config: ModelConfig, stage: Stage) -> str:
    training = stage.config
    height = training.image_size_px or config.image_size_px
    width = round(_ASPECT * height)
    mean_views = training.input_views[0] + (training.input_views[1] - training.input_views[0]) / 3  # of u squared
    usual, most = (step_cost(model, views, width, height) for views in (round(mean_views), training.input_views[1]))
    per_step = training.subjects_per_step * usual.flops
    return (
        f"{training.steps:,} steps of {training.subjects_per_step} subjects, {training.input_views[0]} to "
        f"{training.input_views[1]} views of {width} x {height} in, {training.render_views} rendered, learning rate "
        f"{training.learning_rate:g}; {_flops(per_step)} a step ({_flops(per_step * training.steps)} in all), "
        f"{usual.saved_bytes / 1e9:.2f} GB of activations a subject, {most.saved_bytes / 1e9:.2f} GB with most views"
    )


def step_cost(model: nn.Module, views: int, width: int, height: int) -> StepCost:
    """Count on tensors without content.

    Args:
        model: A `HeadModel` on the device `meta`.
        views: Input views.
        width: Of the pictures, pixels.
        height: Of the pictures, pixels.
    """
    saved: dict[int, int] = {}
    parameters = {id(parameter) for parameter in model.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in parameters and not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            saved[storage._cdata] = storage.nbytes()
        return tensor

    counter = FlopCounterMode(display=False)
    with counter, saved_tensors_hooks(keep, lambda tensor: tensor):
        prediction = model(_empty_views(views, width, height))
        forward = counter.get_total_flops()
        tensors = [*prediction.maps.tensors().values(), *prediction.latent_maps.tensors().values()]
        sum((tensor.sum() for tensor in tensors), torch.zeros((), device="meta")).backward()
    model.zero_grad(set_to_none=True)
    return StepCost(forward, counter.get_total_flops(), sum(saved.values()))


def _empty_views(count: int, width: int, height: int) -> Views:
    def empty(*shape: int) -> Tensor:
        return torch.empty(count, *shape, device="meta")

    cameras = Cameras(empty(4, 4), empty(3, 3), width, height)
    return Views(empty(height, width, 3), empty(height, width, 1), cameras, masked=True)


def _undrawn(gaussians: Gaussians, cameras: Cameras) -> RenderOutput:
    """Pictures without content, which still depend on the Gaussians."""
    rgb, alpha, depth = (gaussians.means.new_empty(len(cameras), cameras.height, cameras.width, c) for c in (3, 1, 1))
    return RenderOutput(rgb + gaussians.means.sum(), alpha, depth)


def _flops(count: int) -> str:
    power = min(int(math.log10(max(count, 1)) // 3), 8)
    return f"{count / 1000**power:.3g} {['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'][power]}FLOP"
