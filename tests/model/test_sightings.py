"""What is looked up where the fusion found the surface, and what the latent keeps of it."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from headsup_cli.cameras.camera import Cameras
from headsup_cli.model.anchors import UvAnchors
from headsup_cli.model.bottleneck import Bottleneck
from headsup_cli.model.sightings import PIXEL_CHANNELS, pictures, sight
from headsup_cli.model.views import Views

SIDE = 96


@pytest.fixture
def views() -> Views:
    """One camera 1 m in front of the face; the left half of its picture is subject."""
    pose = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 1], [0, 0, 0, 1]])[None]
    K = torch.tensor([[2.0 * SIDE, 0, SIDE / 2], [0, 2.0 * SIDE, SIDE / 2], [0, 0, 1]])[None]
    mask = torch.zeros(1, SIDE, SIDE, 1)
    mask[:, :, : SIDE // 2] = 1
    return Views(mask * torch.tensor([0.2, 0.4, 0.6]), mask, Cameras(pose, K, SIDE, SIDE), masked=True)


def test_blurred_masks_tell_the_distance_to_the_outline(views):
    found = pictures(views)[0, :, SIDE // 2]  # [p, w]: a row
    assert found.shape == (PIXEL_CHANNELS, SIDE)
    sharp, narrow, wide = found[3:]
    assert sharp.unique().tolist() == [0, 1]
    for blurred in (narrow, wide):
        assert (blurred.diff() <= 1e-6).all()  # falls from the subject to the room
        assert blurred[0] == 1
        assert blurred[-1] == 0
    assert ((wide > 0) & (wide < 1)).sum() > 2 * ((narrow > 0) & (narrow < 1)).sum() > 0


def test_masks_are_blurred_by_the_mean_over_a_square(views):
    rough = replace(views, mask=torch.rand(1, SIDE, SIDE, 1, generator=torch.Generator().manual_seed(0)))
    mask = rough.mask.permute(0, 3, 1, 2)
    for found, half in zip(pictures(rough)[:, 4:].split(1, 1), (1, 3), strict=True):
        padded = F.pad(mask, (half,) * 4, mode="replicate")
        torch.testing.assert_close(found, F.avg_pool2d(padded, 2 * half + 1, 1), atol=1e-6, rtol=0)


def test_texels_look_where_the_fusion_moved_them(views, toy_template):
    anchors = UvAnchors(toy_template, 8)
    still = sight(anchors, torch.zeros(1, 3, 4, 4), views)
    moved = sight(anchors, torch.full((1, 3, 4, 4), 0.02), views)
    assert still.pixels.shape == (1, 64, PIXEL_CHANNELS)
    torch.testing.assert_close(moved.offset, torch.full((64, 3), 0.02))
    assert not torch.allclose(still.pixels, moved.pixels)


def test_the_latent_knows_colour_and_offset(views, toy_template):
    torch.manual_seed(0)
    bottleneck = Bottleneck(16, 8, latent_resolution=4, resolution=8)
    anchors, tokens = UvAnchors(toy_template, 8), torch.randn(1, 16, 4, 4)
    seen = sight(anchors, torch.zeros(1, 3, 4, 4), views)
    latent = bottleneck(tokens, seen)
    assert latent.shape == (1, 8, 4, 4)
    torch.testing.assert_close(latent.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(latent.std(correction=0), torch.tensor(1.0), atol=1e-3, rtol=0)
    brighter = Views(views.rgb * 1.5, views.mask, views.cameras, views.masked)
    assert not torch.allclose(bottleneck(tokens, sight(anchors, torch.zeros(1, 3, 4, 4), brighter)), latent)
    assert not torch.allclose(bottleneck(tokens, sight(anchors, torch.full((1, 3, 4, 4), 0.02), views)), latent)
