from dataclasses import replace

import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.errors import InputError
from headsup_cli.model.config import ModelConfig
from headsup_cli.model.head_model import HeadModel
from headsup_cli.model.views import Views
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.training.latents import Portrait, encode, encode_latents, mirrored

CONFIG = ModelConfig.model_validate(
    {
        "encoder": {"channels": [8, 8], "blocks": [1, 1], "pyramid_channels": 8, "image_size_px": 32},
        "fusion": [{"resolution": 8, "channels": 8, "blocks": 1, "heads": 2}],
        "latent": {"resolution": 8, "channels": 4},
        "decoder": {"channels": [8], "blocks": 1},
        "detail": None,
    }
)


@pytest.fixture(scope="module")
def model(toy_template):
    torch.manual_seed(0)
    return HeadModel(CONFIG, toy_template).eval()


def portrait(number: int) -> Portrait:
    generator = torch.Generator().manual_seed(number)
    cameras = orbit(3, 24, 32)
    skewed = cameras.K.clone()
    skewed[:, 0, 2] += 3.0
    rgb = torch.rand(3, 32, 24, 3, generator=generator)
    coefficients = torch.zeros(52)
    coefficients[ARKIT_NAMES.index("eyeBlinkLeft")] = 0.5 + 0.1 * number
    views = Views(rgb, torch.ones(3, 32, 24, 1), replace(cameras, K=skewed), masked=True)
    return Portrait(views, number, coefficients, {"sex": "female"})


def test_in_the_mirror_a_point_appears_where_its_image_does():
    original, image = portrait(0), mirrored(portrait(0))
    points = torch.tensor([[0.03, -0.02, 0.1], [-0.05, 0.04, 0.0]])
    there, depth = original.views.cameras.project(points)
    here, depth_here = image.views.cameras.project(points * torch.tensor([-1.0, 1.0, 1.0]))
    torch.testing.assert_close(here[..., 0], 24 - there[..., 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(here[..., 1], there[..., 1], atol=1e-3, rtol=0)
    torch.testing.assert_close(depth_here, depth)
    assert torch.equal(image.views.rgb[:, :, 0], original.views.rgb[:, :, -1])


def test_in_the_mirror_the_other_eye_blinks_and_somebody_else_is_seen():
    image = mirrored(portrait(2))
    assert image.subject == -3
    assert float(image.coefficients[ARKIT_NAMES.index("eyeBlinkRight")]) == pytest.approx(0.7)
    assert float(image.coefficients[ARKIT_NAMES.index("eyeBlinkLeft")]) == 0
    again = mirrored(image)
    assert again.subject == 2
    assert torch.equal(again.views.rgb, portrait(2).views.rgb)
    torch.testing.assert_close(again.views.cameras.K, portrait(2).views.cameras.K)


def test_encoding_gives_what_the_whole_model_calls_its_latent(model):
    views = portrait(1).views
    with torch.no_grad():
        torch.testing.assert_close(encode(model, views), model(views).latent)


def test_an_interrupted_encoding_goes_on_where_it_stopped(model, tmp_path):
    asked = []

    def source(number: int) -> Portrait:
        asked.append(number)
        if number == 33 and len(asked) == 34:
            raise KeyboardInterrupt
        return portrait(number)

    with pytest.raises(KeyboardInterrupt):
        encode_latents(source, 35, model, tmp_path, model_hash="a" * 64)
    latents = encode_latents(source, 35, model, tmp_path, model_hash="a" * 64)
    assert asked == [*range(34), 32, 33, 34]
    assert latents.subject.tolist() == list(range(35))
    torch.testing.assert_close(latents.latents[3], encode(model, portrait(3).views), atol=0.01, rtol=1e-2)


def test_latents_of_other_weights_are_not_mixed_in(model, tmp_path):
    encode_latents(portrait, 2, model, tmp_path, model_hash="a" * 64)
    with pytest.raises(InputError, match="another folder"):
        encode_latents(portrait, 2, model, tmp_path, model_hash="b" * 64)
