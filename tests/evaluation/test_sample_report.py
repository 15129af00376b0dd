from dataclasses import replace

import numpy as np
import pytest
import torch

from headsup_cli.errors import InputError
from headsup_cli.evaluation.sample_report import SampleReport, evaluate_samples
from headsup_cli.gaussians.head import Head, write_head
from headsup_cli.gaussians.uv_maps import template_maps
from headsup_cli.model.latent_set import LatentSet, joined, save_latents


@pytest.fixture
def enough(crowd):
    """The crowd four times over, each time a little otherwise: 240 people."""
    generator = torch.Generator().manual_seed(5)
    parts = []
    for number in range(4):
        off = 0.5 * torch.randn(len(crowd), 4, 8, 8, generator=generator)
        parts.append(replace(crowd, latents=crowd.latents + off, subject=crowd.subject + 100 * number))
    return joined(parts)


@pytest.fixture
def evaluated(enough, tmp_path, toy_template):
    """Judges latents as if they had been sampled."""
    save_latents(tmp_path / "latents.safetensors", enough)

    def call(latents: torch.Tensor) -> SampleReport:
        for number, latent in enumerate(latents):
            folder = tmp_path / "samples" / f"sample_{number:04d}"
            folder.mkdir(parents=True)
            maps = template_maps(8)
            write_head(Head("s", maps, "toy", toy_template.sha256, np.eye(4), latent), folder, toy_template)
        return evaluate_samples(tmp_path / "samples", tmp_path / "latents.safetensors", template=toy_template)

    return call


def strangers(enough: LatentSet) -> LatentSet:
    held_out = enough.divided()[1]
    return held_out[held_out.neutral]


def test_held_out_people_pass_for_samples(evaluated, enough):
    report = evaluated(strangers(enough).latents)
    assert report.training_people == 192
    assert report.held_out_people == report.samples == 48
    assert report.latents.ratio < 1
    assert report.coverage == 1.0
    assert report.nearest_sample == pytest.approx(report.nearest_held_out, rel=0.01)
    assert report.pictures is None, "the weights are not at hand"


def test_training_people_are_caught(evaluated, enough):
    people = enough.divided()[0]
    copies = people[people.neutral][torch.arange(12)]
    report = evaluated(torch.cat([copies.latents, strangers(enough).latents[:8]]))
    assert set(report.memorised) >= {f"sample_{number:04d}" for number in range(12)}
    assert len(report.memorised) <= 13
    assert [report.nearest_person[f"sample_{number:04d}"] for number in range(12)] == copies.subject.tolist()
    assert report.nearest_sample < 0.1 * report.nearest_held_out
    assert "like a training person: sample_0000" in "\n".join(report.lines())


def test_samples_that_are_all_alike_cover_little(evaluated, enough):
    person = strangers(enough).latents[:1]
    report = evaluated(person + 0.01 * torch.randn(20, 4, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert report.coverage < 0.5
    assert report.latents.ratio > 2


def test_too_few_heads_or_people_are_refused(evaluated, enough, crowd, tmp_path, toy_template):
    with pytest.raises(InputError, match="with 3 heads"):
        evaluated(enough.latents[:3])
    save_latents(tmp_path / "few.safetensors", crowd[crowd.subject < 20])
    with pytest.raises(InputError, match="with 3 heads"):
        evaluate_samples(tmp_path / "samples", tmp_path / "few.safetensors", template=toy_template)
    with pytest.raises(InputError, match="with 0 heads"):
        evaluate_samples(tmp_path / "nowhere", tmp_path / "latents.safetensors", template=toy_template)
