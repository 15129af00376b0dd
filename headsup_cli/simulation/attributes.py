"""A person in words and numbers, from which prompts can be made."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from headsup_cli.simulation.body.identity import age_years
from headsup_cli.simulation.person import Person

_SKIN_TONES = ((0.12, "very fair"), (0.28, "fair"), (0.5, "light"), (0.8, "olive"), (1.2, "brown"), (1.7, "dark brown"))
_BUILDS = ((0.3, "slim"), (0.62, "average"), (0.78, "heavy"))
_FABRICS = ("plain", "tie-dyed", "camouflage", "striped", "checked", "mottled", "striped", "plaid", "dotted", "melange",
            "printed")  # fmt: skip


def attributes(person: Person) -> dict[str, str | float | bool]:
    """What can be said about a person: sex, age, build, colours, hair, clothes and accessories."""
    identity, paint, worn = person.identity, person.paint, person.accessories
    years = age_years(identity.age)
    grown = years >= 18
    man, woman = ("man", "woman") if grown else ("boy", "girl")
    clothed = person.garment.kind != "none"
    sunglasses = worn.sunglasses and worn.rims != "none"
    bearded = paint.beard_density > 0 and person.beard_m > 0
    return {
        "person": woman if identity.gender > 0.5 else man,
        "sex": "female" if identity.gender > 0.5 else "male",
        "femininity": identity.gender,
        "age_years": round(years, 1),
        "build": _word(_BUILDS, identity.phenotype["weight"], "very heavy"),
        "weight": identity.phenotype["weight"],
        "muscle": identity.phenotype["muscle"],
        **{f"ancestry_{name}": share for name, share in identity.ancestry.items()},
        "skin": _word(_SKIN_TONES, paint.melanin, "very dark"),
        "melanin": paint.melanin,
        "freckles": bool(paint.freckles > 0.3),
        "eyes": _eye_colour(paint.iris),
        "hair": person.hair.style,
        "hair_colour": hair_colour(paint.hair, paint.grey),
        "grey": paint.grey,
        "beard": "none" if not bearded else "stubble" if person.beard_m < 0.004 else "beard",
        "lipstick": bool(paint.lipstick > 0),
        "clothes": person.garment.kind,
        "fabric": _FABRICS[paint.cloth.kind] if clothed else "none",
        "clothes_colour": _colour(paint.cloth.first) if clothed else "none",
        "glasses": "none"
        if worn.rims == "none"
        else f"{worn.rims} sunglasses"
        if sunglasses
        else f"{worn.rims} glasses",
        "earrings": worn.earrings,
        "headwear": worn.headwear,
        "headwear_colour": "none" if worn.headwear == "none" else _colour(paint.headwear.first),
    }


def _word(limits: tuple[tuple[float, str], ...], value: float, beyond: str) -> str:
    return next((word for limit, word in limits if value < limit), beyond)


def hair_colour(linear: Float[np.ndarray, "3"], grey: float) -> str:
    """A word for the colour of hair, `grey` of which has lost it."""
    red, green, blue = (float(channel) for channel in linear)
    if grey > 0.75:
        return "white"
    if grey > 0.3:
        return "grey"
    if blue > 1.1 * red or green > 1.15 * red or (green < 0.35 * red and blue > 0.6 * green and red > 0.15):
        return "dyed " + _colour(linear)
    if red < 0.035:
        return "black"
    if green < 0.38 * red and red > 0.12:
        return "red"
    return _word(((0.09, "dark brown"), (0.2, "brown"), (0.36, "dark blond")), red, "blond")


def _eye_colour(linear: Float[np.ndarray, "3"]) -> str:
    red, green, blue = (float(channel) for channel in linear)
    if blue > 1.15 * green:
        return "blue"
    if green > 0.95 * red:
        return "green" if green > 1.15 * blue else "grey"
    return "dark brown" if red < 0.1 else "brown"


def _colour(linear: Float[np.ndarray, "3"]) -> str:
    """The everyday name of a linear colour."""
    red, green, blue = (float(channel) ** (1 / 2.2) for channel in linear)
    high, low = max(red, green, blue), min(red, green, blue)
    if high - low < 0.12 * high + 0.02:
        return _word(((0.2, "black"), (0.42, "dark grey"), (0.7, "grey"), (0.86, "light grey")), high, "white")
    hue = {
        red: (green - blue) / (high - low) % 6, green: (blue - red) / (high - low) + 2,
        blue: (red - green) / (high - low) + 4,
    }[high]  # fmt: skip
    hues = ((0.35, "red"), (0.85, "orange"), (1.25, "yellow"), (2.6, "green"), (3.3, "teal"), (4.3, "blue"),
            (5.2, "purple"), (5.7, "pink"))  # fmt: skip
    name = _word(hues, hue, "red")
    if name == "orange" and high < 0.65:
        return "brown"
    return f"dark {name}" if high < 0.4 else f"light {name}" if low > 0.55 else name
