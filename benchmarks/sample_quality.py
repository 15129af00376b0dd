"""How good the prior's samples are: spread, novelty, obedience to words, time; and sheets of pictures to look at.

python benchmarks/sample_quality.py latents.safetensors [--prior FILE] [--checkpoint FILE] [--pictures DIR] [-n 256]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.evaluation.sample_report import latent_report
from headsup_cli.gaussians.uv_maps import bind, texel_anchors
from headsup_cli.inference.sampling import SampleOptions, sample
from headsup_cli.media.images import write_image
from headsup_cli.model.checkpoint import DEFAULT_CHECKPOINT, latent_fingerprint, load_checkpoint
from headsup_cli.model.latent_set import LatentSet, load_latents
from headsup_cli.model.prior import PRIOR_FILE, Prior, load_prior
from headsup_cli.rendering.sequences import render_frames
from headsup_cli.template.default import load_template
from headsup_cli.training.captions import Wording, caption, facts_of

# The ten attributes: classes by the facts that belong to them; the first of each is what a prompt asks for.
CLASSES: dict[str, dict[str, tuple[str, ...]]] = {
    "sex": {"man": ("male",), "woman": ("female",)},
    "age": {"child": ("child",), "grown": ("young", "middle-aged"), "old": ("old",)},
    "build": {"slim": ("slim",), "heavy": ("heavy",)},
    "skin": {"light": ("fair",), "dark": ("dark", "brown")},
    "hair": {
        "none": ("bald", "shaved"),
        "short": ("short", "spiky", "swept", "parted"),
        "long": ("long", "wavy", "locs", "curly"),
    },
    "hair colour": {"dark": ("black", "dark brown"), "light": ("blond", "dark blond"), "grey": ("white", "grey")},
    "beard": {"none": ("none",), "beard": ("beard",)},
    "glasses": {"none": ("none",), "glasses": ("round", "square", "aviator", "cat-eye", "sun")},
    "headwear": {"none": ("none",), "hat": ("cap", "beanie"), "headscarf": ("headscarf",)},
    "expression": {"neutral": ("neutral",), "smiling": ("smiling",), "open mouth": ("open mouth",)},
}
ANYBODY = {"expression": "neutral", "grown": "yes", "years": "30"}
PROMPTS = 20  # an attribute
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


class Judge:
    """Tells a topic's classes apart: logistic regression on the prior's components, classes weighed alike."""

    def __init__(self, topic: str, prior: Prior, latents: LatentSet) -> None:
        self.topic, self.prior, self.names = topic, prior, list(CLASSES[topic])
        people, strangers = latents.divided()
        features, labels = self._labelled(people)
        self.line = nn.Linear(features.shape[1], len(self.names))
        nn.init.zeros_(self.line.weight)
        weights = 1 / torch.bincount(labels, minlength=len(self.names)).clamp_min(1)
        optimizer = torch.optim.LBFGS(self.line.parameters(), max_iter=60, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.line(features), labels, weights)
            loss = loss + 0.01 * self.line.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        features, labels = self._labelled(strangers)
        right = self.line(features).argmax(1) == labels
        shares = [right[labels == k].float().mean() for k in range(len(self.names)) if (labels == k).any()]
        self.accuracy, self.judged = float(torch.stack(shares).mean()), len(labels)

    @torch.no_grad()
    def __call__(self, latents: Float[Tensor, "n z q q"]) -> list[str]:
        """The class of each."""
        return [self.names[k] for k in self.line(self._features(latents)).argmax(1).tolist()]

    def _features(self, latents: Float[Tensor, "n z q q"]) -> Float[Tensor, "n k"]:
        return self.prior.space.tokens(latents).flatten(1).clamp(-4, 4)

    def _labelled(self, latents: LatentSet) -> tuple[Float[Tensor, "n k"], Int[Tensor, " n"]]:
        if self.topic != "expression":
            latents = latents[latents.neutral]
        facts = [facts_of(a, c) for a, c in zip(latents.attributes, latents.coefficients.numpy(), strict=True)]
        found = [self._class(entry.get(self.topic, "none")) for entry in facts]
        kept = torch.tensor([i for i, k in enumerate(found) if k is not None])
        return self._features(latents.latents[kept]), torch.tensor([k for k in found if k is not None])

    def _class(self, value: str) -> int | None:
        return next((k for k, name in enumerate(self.names) if value in CLASSES[self.topic][name]), None)


def obedience(prior: Prior, latents: LatentSet, options: SampleOptions) -> None:
    """Print for each topic the judge's own accuracy and how often samples are what plain and varied prompts ask for."""
    rng, totals = np.random.default_rng(0), np.zeros(2)
    print(f"{'attribute':12} judge  plain  varied   ({PROMPTS} prompts each)")
    for topic in CLASSES:
        judge, shares = Judge(topic, prior, latents), []
        wordings: tuple[Wording, ...] = ("plain", "varied")
        for wording in wordings:
            asked = [judge.names[i % len(judge.names)] for i in range(PROMPTS)]
            made = [_prompted(prior, topic, name, wording, rng, options, i) for i, name in enumerate(asked)]
            found = judge(torch.cat(made))
            shares.append(np.mean([a == b for a, b in zip(asked, found, strict=True)]))
        totals += shares
        print(
            f"{topic:12} {judge.accuracy:5.2f}  {shares[0]:5.2f}  {shares[1]:5.2f}    {judge.judged} judged", flush=True
        )
    print(f"{'all':12}        {totals[0] / len(CLASSES):5.2f}  {totals[1] / len(CLASSES):5.2f}")


def _prompted(
    prior: Prior, topic: str, name: str, wording: Wording, rng: np.random.Generator, options: SampleOptions, number: int
) -> Float[Tensor, "1 z q q"]:
    value = str(rng.choice(CLASSES[topic][name])) if wording == "varied" else CLASSES[topic][name][0]
    facts = ANYBODY | {topic: value, "grown": "no" if value == "child" else "yes"}
    if topic == "beard":
        facts |= {"sex": "male"}
    prompt = caption(facts, rng, mention=("sex", topic), wording=wording)
    changed = SampleOptions(prompt=prompt, guidance=options.guidance, steps=options.steps, seed=1000 + number)
    return sample(prior, 1, changed).latents


def pictures(prior: Prior, checkpoint: Path, folder: Path, options: SampleOptions) -> None:
    """Sheets of 64 samples of anybody, from in front and from behind, and of 8 samples for each of 8 prompts."""
    template = load_template()
    model = load_checkpoint(checkpoint, template).model
    anchors = texel_anchors(template, model.config.resolution)

    def drawn(latents: Float[Tensor, "n z q q"], angle: int) -> list[np.ndarray]:
        camera = orbit(8, 128, 128)[[angle]]
        with torch.inference_mode():
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
    parser.add_argument("latents", type=Path)
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
    latents, prior = load_latents(given.latents), loaded.prior
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {loaded.provenance}")
    started = time.process_time()
    made = sample(prior, given.n, SampleOptions(steps=given.steps))
    print(f"{given.n} samples in {given.steps} steps: {time.process_time() - started:.1f} s of CPU")
    print(f"drawn more than once: {int((made.draws > 1).sum())}")
    names = [str(i) for i in range(given.n)]
    print("\n".join(latent_report(names, made.latents, latents).lines()), flush=True)
    obedience(prior, latents, options)
    if given.pictures is not None:
        pictures(prior, given.checkpoint, given.pictures, options)


if __name__ == "__main__":
    main()
