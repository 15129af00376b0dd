"""FLIP against its authors' own package."""

import cv2
import numpy as np
import pytest
import torch

from headsup_cli.metrics.flip import PIXELS_PER_DEGREE, flip

flip_evaluator = pytest.importorskip("flip_evaluator")


def pictures(seed, height, width, blur_px):
    """A smooth picture and a noisy, shifted, colour-cast copy of it, [h, w, 3] in [0, 1]."""
    rng = np.random.default_rng(seed)
    reference = cv2.GaussianBlur(rng.random((height, width, 3), np.float32), (0, 0), blur_px)
    reference = (reference - reference.min()) / np.ptp(reference)
    image = np.roll(reference, 1, axis=1) * (0.9, 1.05, 1.0) + 0.05 * rng.standard_normal(reference.shape)
    return np.clip(image, 0, 1).astype(np.float32), reference


@pytest.mark.parametrize(("height", "width"), [(40, 57), (101, 64)])
@pytest.mark.parametrize("blur_px", [1, 6])
@pytest.mark.parametrize("ppd", [PIXELS_PER_DEGREE, 30.0])
def test_it_equals_the_authors_package(height, width, blur_px, ppd):
    image, reference = pictures(3, height, width, blur_px)
    theirs, mean, _ = flip_evaluator.evaluate(reference, image, "LDR", applyMagma=False, parameters={"ppd": ppd})
    ours = flip(torch.from_numpy(image), torch.from_numpy(reference), pixels_per_degree=ppd)
    assert 0.03 < mean < 0.9
    np.testing.assert_allclose(ours, theirs[..., 0], atol=1e-4)


def test_saturated_colours_equal_the_authors_package():
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    image, reference = np.repeat(np.tile(corners, (8, 1)), 8, 0), np.repeat(np.repeat(corners, 8, 0), 8, 0)
    image, reference = (np.tile(x[:, None], (1, 24, 1)) for x in (image, reference))
    theirs, _, _ = flip_evaluator.evaluate(reference, image, "LDR", applyMagma=False)
    ours = flip(torch.from_numpy(image), torch.from_numpy(reference))
    assert ours.max() > 0.9
    np.testing.assert_allclose(ours, theirs[..., 0], atol=2e-4)


def test_equal_pictures_have_none_and_batches_are_looked_at_one_by_one():
    image, reference = (torch.from_numpy(x) for x in pictures(0, 30, 20, 3))
    assert flip(reference, reference).max() == 0
    batch = flip(torch.stack([image, reference])[None], torch.stack([reference, image])[None])
    assert batch.shape == (1, 2, 30, 20)
    torch.testing.assert_close(batch[0, 0], flip(image, reference))
    torch.testing.assert_close(batch[0, 0], batch[0, 1])  # it is symmetric
