import numpy as np
import torch

from headsup_cli.metrics.colour_fit import affine_colour_fit


def test_an_affine_change_of_colours_is_undone_inside_the_mask_alone():
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(12, 9, 3, generator=generator)
    mixing = torch.tensor([[0.8, 0.1, 0.0], [0.05, 0.7, 0.1], [0.0, 0.1, 0.9]])
    image = reference @ mixing + torch.tensor([0.05, -0.02, 0.01])
    mask = torch.rand(12, 9, generator=generator) > 0.4
    fitted = affine_colour_fit(image, reference, mask)
    torch.testing.assert_close(fitted[mask], reference[mask], atol=1e-5, rtol=0)
    assert torch.equal(fitted[~mask], image[~mask])


def test_it_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(1)
    image, reference = torch.rand(2, 20, 10, 3, generator=generator, dtype=torch.float64)
    mask = torch.ones(20, 10, dtype=torch.bool)
    system = np.c_[image.reshape(-1, 3), np.ones(200)]
    expected = system @ np.linalg.lstsq(system, reference.reshape(-1, 3).numpy(), rcond=None)[0]
    np.testing.assert_allclose(affine_colour_fit(image, reference, mask).reshape(-1, 3), expected, atol=1e-10)


def test_one_colour_and_an_empty_mask_are_no_harm():
    grey, reference = torch.full((4, 5, 3), 0.5), torch.full((4, 5, 3), 0.7)
    assert torch.equal(affine_colour_fit(grey, reference, torch.zeros(4, 5, dtype=torch.bool)), grey)
    torch.testing.assert_close(affine_colour_fit(grey, reference, torch.ones(4, 5, dtype=torch.bool)), reference)
