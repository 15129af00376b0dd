"""Colours of hair, strand by strand."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int

from headsup_cli.simulation.body.appearance import Paint, paint_record
from headsup_cli.simulation.drawing.strands import SCALP
from headsup_cli.simulation.hair.guides import Tress
from headsup_cli.simulation.hair.hair import Hair
from headsup_cli.simulation.hair.light_kernels import pattern_at
from headsup_cli.simulation.noise import noise_volume


def coloured(
    rng: np.random.Generator,
    hair: Hair,
    paint: Paint,
    nodes: Float32[np.ndarray, "s n 3"],
    width: float,
    choice: Int[np.ndarray, " s"],
    rest: Float[np.ndarray, "s 3"],
) -> Tress:
    """Strands of the scalp with the colours of their guides (`choice`) and their places."""
    roots, tips = fibre_colours(rng, paint, paint.hair, choice, rest)
    return Tress(
        nodes=nodes,
        widths=(width * rng.uniform(0.75, 1.25, len(nodes))).astype(np.float32),
        root_colours=roots,
        tip_colours=tips,
        kind=SCALP,
        depth_m=max(0.9 * hair.thickness_m, 0.003),
        shade=0.35 if hair.style == "shaved" else 0.75,
        taper=0.75,
    )


def fibre_colours(
    rng: np.random.Generator,
    paint: Paint,
    colour: Float[np.ndarray, "3"],
    choice: Int[np.ndarray, " s"],
    rest: Float[np.ndarray, "s 3"],
) -> tuple[Float32[np.ndarray, "s 3"], Float32[np.ndarray, "s 3"]]:
    """Colours at roots and tips of hair of a linear `colour`.

    Pigment absorbs (Beer and Lambert), more or less of it by strand and by lock. Each strand stands for several hairs,
    a share of which is grey and has none; temples go grey first. Sun bleaches tips.
    """
    n = len(choice)
    absorption = -np.log(np.clip(colour, 1e-3, 0.75) / 0.75)
    amount = np.exp(rng.normal(0, 0.12, choice.max() + 1)[choice] + rng.normal(0, 0.10, n))[:, None]
    temple = np.clip((np.abs(rest[:, 0]) - 0.03) / 0.05, 0, 1)
    turned = paint.grey * (0.7 + 0.6 * temple)
    grey = np.clip(turned + rng.normal(0, 0.55, n) * np.sqrt(np.clip(turned * (1 - turned), 0, 1)), 0, 1)[:, None]
    white = grey * np.array([0.46, 0.45, 0.43])
    bleached = amount * (1 - rng.uniform(0.05, 0.25))
    roots, tips = (white + (1 - grey) * 0.75 * np.exp(-absorption * share) for share in (amount, bleached))
    if paint.hair_pattern.amount > 0:
        brightness = amount.mean() / amount
        roots, tips = (
            _patterned(paint, rest + shift, colours, brightness) for shift, colours in ((0.0, roots), (0.02, tips))
        )
    return roots.astype(np.float32), tips.astype(np.float32)


def _patterned(
    paint: Paint, at: Float[np.ndarray, "s 3"], colours: Float[np.ndarray, "s 3"], brightness: Float[np.ndarray, "s 1"]
) -> Float[np.ndarray, "s 3"]:
    """Colours under the random pattern that some people wear in their hair."""
    pattern = np.empty((len(at), 3), np.float32)
    pattern_at(paint_record(paint), noise_volume(), np.ascontiguousarray(at, dtype=np.float32), pattern)
    share = paint.hair_pattern.amount
    return colours * (1 - share) + share * pattern * np.clip(brightness, 0.6, 1.6)
