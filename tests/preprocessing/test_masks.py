import cv2
import numpy as np
import pytest

from headsup_cli.preprocessing.masks import mask_from_plate

HEIGHT, WIDTH = 320, 240


def _studio(rng):
    """A plate with structure, lamps and black corners, and a subject's disc with a colour gradient."""
    plate = cv2.GaussianBlur(rng.uniform(30, 120, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 8)
    plate = (plate - plate.mean()) * 6 + 60
    plate[20:60, 30:90] = 255
    plate[250:, 200:] = 3
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    subject = ((rows - 190) / 150) ** 2 + ((columns - 120) / 85) ** 2 < 1
    colour = np.stack([210 - columns / 4, 160 - rows / 8, 140 - rows / 6], -1)
    return np.clip(plate, 0, 255), subject, np.where(subject[..., None], colour, plate)


def _shot(picture, rng, gain=(1, 1, 1), noise=3.0):
    return np.clip(picture * gain + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def _iou(mask, truth):
    found = mask > 127
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize("gain", [(1, 1, 1), (1.12, 0.9, 1.05), (0.85, 0.85, 0.85)])
@pytest.mark.parametrize("noise", [0.0, 3.0, 6.0])
def test_subject_is_found_whatever_gain_and_noise(gain, noise):
    rng = np.random.default_rng(0)
    plate, truth, picture = _studio(rng)
    mask = mask_from_plate(_shot(picture, rng, gain, noise), _shot(plate, rng, noise=noise))
    assert _iou(mask, truth) > 0.985


def test_subject_that_fills_most_of_the_picture():
    rng = np.random.default_rng(1)
    plate, _, _ = _studio(rng)
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[60:, 20:-20] = True
    picture = np.where(truth[..., None], [200.0, 150.0, 130.0], plate)
    assert _iou(mask_from_plate(_shot(picture, rng), _shot(plate, rng)), truth) > 0.98


def test_outline_is_antialiased():
    rng = np.random.default_rng(2)
    plate = np.full((HEIGHT, WIDTH, 3), 40.0)
    coverage = np.clip((np.arange(WIDTH) - 100.3) / 2 + 0.5, 0, 1)[None, :, None] * np.ones((HEIGHT, 1, 1))
    picture = coverage * 200 + (1 - coverage) * plate
    mask = mask_from_plate(_shot(picture, rng, noise=1), _shot(plate, rng, noise=1)) / 255.0
    assert abs(mask[20:-20].mean() - coverage.mean()) < 0.003


def test_patch_of_the_plates_colour_inside_the_subject_is_filled():
    rng = np.random.default_rng(3)
    plate, _, picture = _studio(rng)
    picture[150:170, 110:130] = plate[150:170, 110:130]
    assert (mask_from_plate(_shot(picture, rng), _shot(plate, rng))[140:180, 100:140] > 127).all()


def test_empty_studio_gives_an_empty_mask():
    rng = np.random.default_rng(4)
    plate, _, _ = _studio(rng)
    assert mask_from_plate(_shot(plate, rng), _shot(plate, rng)).mean() < 1
