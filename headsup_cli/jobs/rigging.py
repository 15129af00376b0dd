"""Heads made ready to be posed, their faces found by looking at them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from headsup_cli.animation.latent_rig import neutralised
from headsup_cli.animation.registration import FaceMarks, MouthMarks
from headsup_cli.animation.rig import Pose, Rig
from headsup_cli.animation.rigs import RigKind, expression_transformer, rigged
from headsup_cli.cameras.trajectories import orbit
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.gaussians.head import Head
from headsup_cli.media.images import to_8bit
from headsup_cli.model.checkpoint import Checkpoint
from headsup_cli.preprocessing.landmarks.detection import NetworkDetector, RigView, detect
from headsup_cli.preprocessing.landmarks.triangulation import triangulate
from headsup_cli.rendering.render import render
from headsup_cli.simulation.body.landmarks import landmarks_68
from headsup_cli.template.brow_lift import lifted_blendshapes
from headsup_cli.template.default import DEFAULT_NAME
from headsup_cli.template.template import Template

_SIZE_PX = 256
_VIEWS = (-3, -2, -1, 0, 1, 2, 3)  # of 24 on a circle, 0 being in front
_FACE = slice(17, 68)  # iBUG's points of brows, nose, eyes and lips
_BROWS, _MOUTH = [*range(17, 27)], [*range(31, 36), *range(48, 68)]  # of them; nose and lips
_SURE_M = 0.006  # standard deviation of a landmark that is made use of


def ready_to_animate(
    head: Head,
    template: Template,
    kind: RigKind = "geometric",
    *,
    checkpoint: Path | None = None,
    expression: Path | None = None,
) -> Rig:
    """A head with a rig; see `animation.rigs.rigged`.

    Raises:
        InputError: As there.
    """
    marks = face_marks(head.gaussians(template), template)
    return rigged(head, template, kind, checkpoint=checkpoint, expression=expression, marks=marks)


@torch.no_grad()
def made_neutral(
    head: Head, expression: Mapping[str, float], template: Template, loaded: Checkpoint, *, checkpoint: Path | None
) -> Head:
    """A head without the expression that it was captured in; see `animation.latent_rig.neutralised`.

    Args:
        head: That `checkpoint` reconstructed.
        expression: ARKit's coefficients by name.
        template: The one that the head was made with.
        loaded: What `checkpoint` holds.
        checkpoint: Weights that gave the head its latent; those that come with headsup by default.

    Raises:
        InputError: A coefficient is not ARKit's, or no expression transformer belongs to the weights.
    """
    b, transformer = Pose.of(expression).weights, expression_transformer(checkpoint)
    posed = template.vertices + np.tensordot(b, lifted_blendshapes(template), 1)
    marks = face_marks(head.gaussians(template), template, posed)
    mouth = None if marks is None else marks.mouth
    return neutralised(head, torch.from_numpy(b), template, loaded.model, transformer, mouth)


@torch.no_grad()
def face_marks(
    gaussians: Gaussians, template: Template, vertices: Float[np.ndarray, "v 3"] | None = None
) -> FaceMarks | None:
    """Landmarks of a face in the head frame; None where no face is seen, or the template is not headsup's own.

    Args:
        gaussians: The head.
        template: The one that it was made with.
        vertices: The template's in the head's expression; neutral ones by default.
    """
    if template.name != DEFAULT_NAME:
        return None
    cameras = orbit(24, _SIZE_PX, _SIZE_PX)[list(_VIEWS)]
    pictures = to_8bit(render(gaussians.to("cpu"), cameras, background=torch.full((3,), 0.5)).rgb.clamp(0, 1).numpy())
    K, poses = cameras.K.double().numpy(), cameras.cam_from_world.double().numpy()
    seen = detect(NetworkDetector(), [RigView(*view) for view in zip(pictures, K, poses, strict=True)], np.eye(4))
    found = triangulate(seen, np.zeros(3))
    on_template = landmarks_68(template.vertices if vertices is None else vertices)
    sure = np.zeros(len(found.positions), bool)
    sure[_FACE] = np.sqrt(np.trace(found.covariance[_FACE], axis1=1, axis2=2)) < _SURE_M
    face, brows, mouth = (np.intersect1d(np.flatnonzero(sure), part) for part in (range(68), _BROWS, _MOUTH))
    of_mouth = MouthMarks(on_template[mouth], found.positions[mouth])
    at = found.positions
    marks = FaceMarks(on_template[face], at[face], at[brows], of_mouth if of_mouth.tell else None)
    return marks if marks.tell else None
