"""Latents to train the prior and the animation model on, of captures or of simulated people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from headsup_cli.cameras.camera import Cameras
from headsup_cli.capture.capture import Capture, read_capture
from headsup_cli.inference.capture_views import capture_views
from headsup_cli.model.checkpoint import latent_fingerprint, load_checkpoint
from headsup_cli.model.config import DEFAULT_CHECKPOINT
from headsup_cli.model.views import Views
from headsup_cli.runtime.progress import progress
from headsup_cli.simulation.attributes import attributes
from headsup_cli.simulation.body.expressions import coefficients, sample_expression, sample_shapes
from headsup_cli.simulation.drawing.lighting import sample_lamps
from headsup_cli.simulation.drawing.shading import render_mesh
from headsup_cli.simulation.drawing.strands import sample_footprint_m
from headsup_cli.simulation.person import Person, lit_mesh, posed_vertices, sample_person
from headsup_cli.simulation.rig.rig import sample_cameras
from headsup_cli.template.template import Template
from headsup_cli.training.captions import facts_of
from headsup_cli.training.latents import LatentSet, Portrait, encode_latents, mirrored

_VIEWS, _SUPERSAMPLING = 8, 2  # of simulated portraits

_CROWD = 3000  # people whom those to be encoded are chosen from
_VARIED = ("sex", "age", "build", "skin", "hair", "hair colour", "beard", "glasses", "headwear", "expression")

Portraits = tuple[Callable[[int], Portrait], int]  # portraits by number, and how many there are


def portraits_of_captures(captures: Sequence[Path]) -> Portraits:
    """Every moment of every capture, each with its mirror image; captures are told apart by their place in the list."""
    moments = [(number, frame) for number, path in enumerate(captures) for frame in read_capture(path).frames]

    @lru_cache(maxsize=1)
    def opened(number: int) -> Capture:
        return read_capture(captures[number])

    def portrait(index: int) -> Portrait:
        number, frame = moments[index // 2]
        capture = opened(number)
        _, views = capture_views(capture, frame)
        weights = torch.from_numpy(coefficients(capture.frames[frame].expression))
        straight = Portrait(views, number, weights, {})
        return mirrored(straight) if index % 2 else straight

    return portrait, 2 * len(moments)


def portraits_of_simulated(
    people: Sequence[int], seed: int = 0, *, expressions: int = 1, height_px: int = 192
) -> Portraits:
    """People who do not exist, by number, each with a neutral face and with expressions.

    Mirror images, which are worth having of captures, cost more here than new people tell.

    Args:
        people: Their numbers in the crowd.
        seed: Of the crowd.
        expressions: Of each person: a plausible one, then ones of any shapes at random.
        height_px: Of the pictures, which are three quarters as wide. Small ones tell people apart; a faint expression
            needs what the encoder can see.
    """
    faces = 1 + expressions
    return lambda index: _simulated(seed, people[index // faces], index % faces, height_px), faces * len(people)


def varied_people(count: int, seed: int = 0) -> list[int]:
    """Numbers of simulated people among whom every look is seen about as often: the rarest first, in turn.

    Of a crowd as it is one in fourteen has light hair and one in twenty-five a headscarf, too few to learn from. The
    beginning of the list is as varied as the whole.

    Args:
        count: How many, at most 3000.
        seed: Of the crowd they are chosen from.
    """
    crowd = [
        {(topic, faces[1][topic]) for topic in _VARIED if topic in faces[1]}
        for faces in progress(simulated_facts(_CROWD, seed), "choosing people", total=_CROWD)
    ]
    looks = sorted(set().union(*crowd))
    shows = np.array([[look in one for look in looks] for one in crowd], float)  # [crowd, looks]
    seen, chosen = np.zeros(len(looks)), list[int]()
    for _ in range(min(count, _CROWD)):
        scores = shows @ (1 / (1 + seen)) / shows.sum(1)
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        seen += shows[chosen[-1]]
    return chosen


def make_latents(
    portraits: Portraits, folder: Path, template: Template, *, checkpoint: Path | None, device: torch.device | str
) -> LatentSet:
    """Encode portraits; what a stopped run had finished is kept in `folder`.

    Args:
        portraits: Of captures or of simulated people.
        folder: For the finished parts.
        template: The one that the weights were trained on.
        checkpoint: The weights; those that ship with headsup by default.
        device: Where to work.

    Raises:
        InputError: The weights cannot be used, or `folder` holds latents of others.
    """
    source, count = portraits
    model = load_checkpoint(checkpoint, template, device).model
    weights = latent_fingerprint(checkpoint or DEFAULT_CHECKPOINT)
    return encode_latents(source, count, model, folder, model_hash=weights, device=device)


def simulated_facts(people: int, seed: int = 0) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """What can be said of people 0, 1 and so on, of their neutral face and of the other; nothing is drawn."""
    for number in range(people):
        _, person, expression = _person(seed, number)
        said = attributes(person)
        yield facts_of(said, coefficients({})), facts_of(said, coefficients(expression))


def _person(seed: int, number: int) -> tuple[np.random.Generator, Person, dict[str, float]]:
    """Somebody, their expression, and the source of what else there is about their portraits."""
    rng = np.random.default_rng([seed, number, 0x5A9])
    return rng, sample_person(rng, departure=1.0), sample_expression(rng)


def _simulated(seed: int, number: int, face: int, height_px: int) -> Portrait:
    """The same person, light and cameras whatever the face: 0 is neutral, 1 plausible, others any shapes."""
    rng, person, expression = _person(seed, number)
    lamps, cameras = sample_lamps(rng), sample_cameras(rng, _VIEWS, 3 * height_px // 4, height_px)
    if face == 0:
        expression = {}
    elif face > 1:
        expression = sample_shapes(np.random.default_rng([seed, number, 0x5A9, face]))
    mesh = lit_mesh(person, posed_vertices(person, expression), lamps, sample_footprint_m(cameras, _SUPERSAMPLING))
    rgb, alpha = render_mesh(mesh, person.paint, cameras, _SUPERSAMPLING, np.ones((_VIEWS, 3)))
    single = Cameras(cameras.cam_from_world.float(), cameras.K.float(), cameras.width, cameras.height)
    views = Views(torch.from_numpy(rgb), torch.from_numpy(alpha)[..., None], single, masked=True)
    return Portrait(views, number, torch.from_numpy(coefficients(expression)), attributes(person))
