"""Judges of what a prompt can ask for: linear classifiers of real latents, and the people whom they learn from.

python benchmarks/sample_judges.py judges.safetensors [-n 420] [--checkpoint FILE]

People are drawn as for the prior, from another seed, and those are encoded who show what is rare: of a crowd as it is
one in twenty has light hair, and a judge would hardly have seen any.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from headsup_cli.jobs.latents import make_latents, portraits_of_simulated, simulated_facts
from headsup_cli.model.config import DEFAULT_CHECKPOINT
from headsup_cli.model.latent_set import LatentSet, save_latents
from headsup_cli.template.default import load_template
from headsup_cli.training.captions import Facts, facts_of

SEED = 1  # of the judges' people; the prior's are of seed 0
CANDIDATES = 1000

# The ten attributes: classes by the facts that belong to them; the first of each is what prompts ask for.
# Facts between the classes (an average build, brown hair, stubble) are left out: nobody could tell them apart.
CLASSES: dict[str, dict[str, tuple[str, ...]]] = {
    "sex": {"man": ("male",), "woman": ("female",)},
    "age": {"child": ("child", "teenage"), "grown": ("young", "middle-aged"), "old": ("old",)},
    "build": {"slim": ("slim",), "heavy": ("heavy",)},
    "skin": {"light": ("fair",), "dark": ("dark", "brown")},
    "hair": {
        "none": ("bald", "shaved"),
        "short": ("short", "spiky", "swept", "parted"),
        "long": ("long", "wavy", "locs"),
    },
    "hair colour": {"dark": ("black", "dark brown"), "light": ("blond", "dark blond"), "grey": ("grey", "white")},
    "beard": {"none": ("none",), "beard": ("beard",)},
    "glasses": {"none": ("none",), "glasses": ("any", "round", "square", "aviator", "cat-eye", "sun")},
    "headwear": {"none": ("none",), "hat": ("beanie", "cap"), "headscarf": ("headscarf",)},
    "expression": {"neutral": ("neutral",), "smiling": ("smiling",), "open mouth": ("open mouth",)},
}
FOLDS = 5
_LEAST_SPREAD = 0.3  # of the mean spread: texels where nothing differs tell nothing
_STIFFNESS = tuple(10.0**power for power in range(-4, 3))  # tried, in units of the features' mean square


class Judge:
    """Tells a topic's classes apart: ridge regression to them, each class weighed alike.

    Features are a latent's values about their mean, in units of their spread. How stiff the regression is decides what
    those people are called whom it has not seen, by leaving out each of those it learns from.
    """

    def __init__(self, topic: str, people: LatentSet) -> None:
        self.topic, self.names = topic, list(CLASSES[topic])
        people, labels = labelled(topic, people)
        self.mean, spread = people.latents.mean(0), people.latents.std(0)
        self.spread = spread + _LEAST_SPREAD * spread.mean()
        features = self._features(people.latents)
        share = torch.bincount(labels, minlength=len(self.names)).clamp_min(1) * len(self.names) / len(labels)
        root = share[labels].rsqrt()[:, None]  # of a person's weight
        wanted = nn.functional.one_hot(labels, len(self.names)).float() * root
        gram = root * (features @ features.T) * root.T
        values, vectors = torch.linalg.eigh(gram)
        best = -1.0
        for stiffness in _STIFFNESS:
            kept = values.clamp_min(0) / (values.clamp_min(0) + stiffness * values.mean())
            hat = (vectors * kept) @ vectors.T
            guessed = (hat @ wanted - hat.diag()[:, None] * wanted) / (1 - hat.diag()[:, None])  # each left out
            right = balanced_accuracy(guessed.argmax(1), labels)
            if right > best:
                best, chosen = right, stiffness
        shrunk = vectors @ ((vectors.T @ wanted) / (values.clamp_min(0) + chosen * values.mean())[:, None])
        self.slopes = features.T @ (root * shrunk)  # [d, k]

    def __call__(self, latents: Float[Tensor, "n z q q"]) -> Int[Tensor, " n"]:
        """The number of each one's class."""
        return (self._features(latents) @ self.slopes).argmax(1)

    def _features(self, latents: Float[Tensor, "n z q q"]) -> Float[Tensor, "n d"]:
        """With a constant of the size of the rest, so that the regression has an intercept."""
        centred = ((latents - self.mean) / self.spread).flatten(1)
        return torch.cat([centred, torch.full((len(centred), 1), centred.shape[1] ** 0.5)], 1)


def labelled(topic: str, people: LatentSet) -> tuple[LatentSet, Int[Tensor, " n"]]:
    """Those of whom the topic's class is known, and its number."""
    names = list(CLASSES[topic])
    facts = [facts_of(a, c) for a, c in zip(people.attributes, people.coefficients.numpy(), strict=True)]
    found = [class_of(topic, entry) for entry in facts]
    known = torch.tensor([i for i, name in enumerate(found) if name is not None])
    return people[known], torch.tensor([names.index(name) for name in found if name is not None])


def class_of(topic: str, facts: Facts) -> str | None:
    """The name of the class that somebody with these facts belongs to; nothing where it cannot be told."""
    if topic == "sex" and facts["grown"] != "yes":
        return None  # children's heads hardly differ
    value = facts.get(topic)
    return next((name for name, values in CLASSES[topic].items() if value in values), None)


def balanced_accuracy(guessed: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> float:
    """Mean over the classes of the share that is called by its name."""
    return float(torch.stack([(guessed[labels == k] == k).float().mean() for k in labels.unique()]).mean())


def held_out_accuracy(topic: str, people: LatentSet) -> tuple[float, int]:
    """Balanced accuracy on people whom the judge has not seen, by five-fold cross-validation, and how many they are."""
    people, labels = labelled(topic, people)
    fold = torch.arange(len(labels)) % FOLDS
    guessed = torch.empty_like(labels)
    for k in range(FOLDS):
        guessed[fold == k] = Judge(topic, people[fold != k])(people.latents[fold == k])
    return balanced_accuracy(guessed, labels), len(labels)


def telling(candidates: Sequence[Sequence[Facts]], count: int) -> list[tuple[int, int]]:
    """People, and which of their faces, such that every class is seen about as often: the rare first, in turn.

    Args:
        candidates: What can be said of the faces of each.
        count: How many people are wanted.

    Returns:
        Numbers of person and face, no person twice. The beginning of the list is as balanced as the whole.
    """
    classes = {
        (person, face): [(topic, name) for topic in CLASSES if (name := class_of(topic, facts)) is not None]
        for person, faces in enumerate(candidates)
        for face, facts in enumerate(faces)
    }
    seen: Counter[tuple[str, str]] = Counter()
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        best = max(classes, key=lambda which: sum(1 / (1 + seen[name]) for name in classes[which]))
        seen.update(classes[best])
        classes = {which: names for which, names in classes.items() if which[0] != best[0]}
        chosen.append(best)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judges", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("-n", type=int, default=420)
    given = parser.parse_args()
    faces = telling(list(simulated_facts(CANDIDATES, SEED)), given.n)
    portrait, _ = portraits_of_simulated(range(CANDIDATES), SEED)
    wanted = [2 * person + face for person, face in faces]  # of each person's portraits
    people = make_latents(
        (lambda number: portrait(wanted[number]), len(wanted)),
        given.judges.with_suffix(".parts"),
        load_template(),
        checkpoint=given.checkpoint,
        device="cpu",
    )
    save_latents(given.judges, people)
    for topic in CLASSES:
        accuracy, judged = held_out_accuracy(topic, people)
        print(f"{topic:12} {accuracy:.2f} of {judged} people")


if __name__ == "__main__":
    main()
