import math

import cv2
import numpy as np
import pytest
import torch

from headsup_cli.metrics.image_quality import psnr, ssim, ssim_map


@pytest.fixture
def pair():
    """Two pictures and a mask, [2, 40, 33, 3] and [2, 40, 33], in double precision."""
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(2, 40, 33, 3, generator=generator, dtype=torch.float64)
    image = (reference + 0.1 * torch.randn(reference.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return image, reference, (torch.rand(2, 40, 33, generator=generator) > 0.5).double()


def reference_ssim_map(a, b):
    """Wang et al.'s formula, spelled out per channel with OpenCV's filter, without the borders."""

    def blur(image):
        return cv2.GaussianBlur(image, (11, 11), 1.5)[5:-5, 5:-5]

    c1, c2 = 0.01**2, 0.03**2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * cov + c2) / (var_a + var_b + c2)


def test_ssim_equals_the_formula(pair):
    image, reference, _ = pair
    expected = np.stack([reference_ssim_map(a.numpy(), b.numpy()) for a, b in zip(image, reference, strict=True)])
    np.testing.assert_allclose(ssim_map(image, reference), expected, atol=1e-10)
    np.testing.assert_allclose(ssim(image, reference), expected.mean((1, 2, 3)), atol=1e-10)


def test_ssim_of_equal_pictures_is_one_in_single_precision(pair):
    _, reference, _ = pair
    assert ssim(reference.float(), reference.float()).sub(1).abs().max() < 1e-6


def test_psnr_equals_the_definition(pair):
    image, reference, mask = pair
    squared = ((image - reference) ** 2).numpy()
    np.testing.assert_allclose(psnr(image, reference), -10 * np.log10(squared.mean((1, 2, 3))))
    inside = [squared[i][mask[i].numpy() > 0].mean() for i in range(2)]
    np.testing.assert_allclose(psnr(image, reference, mask), -10 * np.log10(inside))


def test_any_batch_shape(pair):
    image, reference, mask = pair
    assert psnr(image[0], reference[0], mask[0]) == psnr(image, reference, mask)[0]
    assert ssim(image[None], reference[None]).shape == (1, 2)
    assert ssim(image[None], reference[None], border="reflect").shape == (1, 2)
    torch.testing.assert_close(ssim(image[1], reference[1]), ssim(image, reference)[1])


def test_edge_cases_of_psnr(pair):
    image, reference, mask = pair
    assert psnr(image[0], image[0]) == math.inf
    assert psnr(image[0], reference[0], mask[0] * 0).isnan()


def test_gradients(pair):
    image, reference, mask = (tensor[0, :13, :12] for tensor in pair)
    image.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ssim(x, reference), image)
    assert torch.autograd.gradcheck(lambda x: psnr(x, reference, mask), image)


def test_torchmetrics_finds_the_same(pair):
    functional = pytest.importorskip("torchmetrics.functional.image")
    image, reference, _ = (tensor.float() for tensor in pair)
    for one, other in zip(image, reference, strict=True):
        planes = [picture.permute(2, 0, 1)[None] for picture in (one, other)]
        theirs = functional.structural_similarity_index_measure(*planes, data_range=1.0)
        assert ssim(one, other, border="reflect") == pytest.approx(float(theirs), abs=1e-5)
        theirs = functional.peak_signal_noise_ratio(*planes, data_range=1.0)
        assert psnr(one, other) == pytest.approx(float(theirs), abs=1e-5)
