"""How good the prior's samples are: spread, novelty, obedience to words, time; and sheets of pictures to look at.

python benchmarks/sample_quality.py judges.safetensors [--latents FILE] [--prior FILE] [--checkpoint FILE]
    [--pictures DIR] [-n 256]

Who the judges learn from is written by sample_judges.py. Spread and novelty need the latents that the prior was trained
with (`latents.safetensors` in its run).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sample_judges import CLASSES, Judge, held_out_accuracy
from torch import Tensor

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.evaluation.sample_report import latent_report
from headsup_cli.gaussians.uv_maps import bind, texel_anchors
from headsup_cli.inference.sampling import SampleOptions, sample
from headsup_cli.media.images import write_image
from headsup_cli.model.checkpoint import latent_fingerprint, load_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT
from headsup_cli.model.latent_set import LatentSet, load_latents
from headsup_cli.model.prior import PRIOR_FILE, Prior, load_prior
from headsup_cli.rendering.sequences import render_frames
from headsup_cli.template.default import load_template
from headsup_cli.training.captions import Wording, caption

ANYBODY = {"expression": "neutral", "grown": "yes"}
YEARS = {"child": "8", "old": "72"}  # said now and then; 30 of everybody else
PROMPTS = 20  # an attribute, plainly and in paraphrase each
SHEET_PROMPTS = (
    "an old man with a white beard and round glasses",
    "a young woman with long blond hair",
    "a little girl with pigtails",
    "a heavy bald man",
    "a dark-skinned woman with an afro",
    "a man wearing a beanie",
    "a woman wearing a headscarf",
    "a smiling boy with short red hair",
)


def obedience(prior: Prior, people: LatentSet, options: SampleOptions) -> None:
    """Print for each topic how often its judge is right about people, and how often samples obey."""
    rng, totals = np.random.default_rng(0), np.zeros(2)
    wordings: tuple[Wording, ...] = ("plain", "varied")
    print(f"{'attribute':12} judge  plain  varied   ({PROMPTS} samples each, guidance {options.guidance:g})")
    for topic in CLASSES:
        judge = Judge(topic, people)
        shares = [_obeying(prior, judge, wording, rng, options) for wording in wordings]
        totals += shares
        accuracy, judged = held_out_accuracy(topic, people)
        print(f"{topic:12} {accuracy:5.2f}  {shares[0]:5.2f}  {shares[1]:5.2f}    {judged} judged", flush=True)
    print(f"{'all':12}        {totals[0] / len(CLASSES):5.2f}  {totals[1] / len(CLASSES):5.2f}")


def _obeying(prior: Prior, judge: Judge, wording: Wording, rng: np.random.Generator, options: SampleOptions) -> float:
    """The share of samples, of every class about as many, that the judge calls by the name they were asked for by."""
    asked = [i % len(judge.names) for i in range(PROMPTS)]
    prompts = [_prompt(judge.topic, judge.names[k], wording, rng) for k in asked]
    right = 0
    for number, prompt in enumerate(dict.fromkeys(prompts)):
        kinds = torch.tensor([k for k, said in zip(asked, prompts, strict=True) if said == prompt])
        made = sample(prior, len(kinds), replace(options, prompt=prompt, seed=1000 + number)).latents
        right += int((judge(made) == kinds).sum())
    return right / PROMPTS


def _prompt(topic: str, name: str, wording: Wording, rng: np.random.Generator) -> str:
    """Words for the first fact of a class: the plain ones, or others that mean the same."""
    value = CLASSES[topic][name][0]
    facts = ANYBODY | {topic: value, "years": YEARS.get(value, "30"), "grown": "no" if value == "child" else "yes"}
    if topic == "beard":
        facts |= {"sex": "male"}
    return caption(facts, rng, mention=("sex", topic), wording=wording)


def spread(prior: Prior, latents: LatentSet, count: int, steps: int) -> None:
    """Print how unprompted samples relate to the people whom the prior was trained on, and to those held out."""
    started = time.process_time()
    made = sample(prior, count, SampleOptions(steps=steps))
    print(f"{count} samples in {steps} steps: {time.process_time() - started:.1f} s of CPU")
    print(f"drawn more than once: {int((made.draws > 1).sum())}")
    print("\n".join(latent_report([str(i) for i in range(count)], made.latents, latents).lines()), flush=True)


def pictures(prior: Prior, checkpoint: Path, folder: Path, options: SampleOptions) -> None:
    """Sheets of 64 samples of anybody, from in front and from behind, and of 8 samples for each of 8 prompts."""
    template = load_template()
    model = load_checkpoint(checkpoint, template).model
    anchors = texel_anchors(template, model.config.resolution)

    def drawn(latents: Float[Tensor, "n z q q"], angle: int) -> list[np.ndarray]:
        camera = orbit(8, 128, 128)[[angle]]
        with torch.no_grad():
            return [next(iter(render_frames(bind(model.decode(z), anchors), camera))) for z in latents]

    anybody = sample(prior, 64, SampleOptions(steps=options.steps, seed=options.seed)).latents
    for name, angle in (("front", 0), ("three_quarter", 1), ("behind", 4)):
        write_image(folder / f"samples_{name}.jpg", _grid(drawn(anybody, angle)))
    rows = []
    for prompt in SHEET_PROMPTS:
        changed = SampleOptions(prompt=prompt, guidance=options.guidance, steps=options.steps, seed=options.seed)
        rows += drawn(sample(prior, 8, changed).latents, 0)
    write_image(folder / "samples_prompted.jpg", _grid(rows))


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.concatenate(tiles[i : i + 8], 1) for i in range(0, len(tiles), 8)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judges", type=Path)
    parser.add_argument("--latents", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--prior", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("-n", type=int, default=256)
    parser.add_argument("--steps", type=int, default=32)
    parser.add_argument("--guidance", type=float, default=3.0)
    given = parser.parse_args()
    options = SampleOptions(steps=given.steps, guidance=given.guidance)
    file = given.prior or given.checkpoint.with_name(PRIOR_FILE)
    loaded = load_prior(file, model_sha256=latent_fingerprint(given.checkpoint))
    prior = loaded.prior
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {loaded.provenance}")
    if given.latents is not None:
        spread(prior, load_latents(given.latents), given.n, given.steps)
    obedience(prior, load_latents(given.judges), options)
    if given.pictures is not None:
        pictures(prior, given.checkpoint, given.pictures, options)


if __name__ == "__main__":
    main()
