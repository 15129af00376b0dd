"""Fit the shape model to landmarks in space: pose, identity, expression and, where the rig has none, size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from headsup_cli.preprocessing.head_shape import HeadShape
from headsup_cli.preprocessing.landmarks.points import IBUG_COUNT, POINT_COUNT
from headsup_cli.preprocessing.landmarks.triangulation import SpacePoints
from headsup_cli.preprocessing.silhouette_fit import Fit, HeadMesh, Silhouettes, head_mesh, outline

Size = Literal["metric", "arbitrary"]  # whether what a rig calls metres are metres

_WITHOUT_OUTLINES = (0.0,) * 25  # steps at most
_OUTLINE_KERNELS_M = (0.03, 0.02, *(0.015,) * 8)
_POINTS_PER_OBSERVATION = 3.0  # neighbouring landmarks err alike
_CONVERGED = 1e-5  # radians, metres, standard deviations
_OUTLIER = 3.0  # standard deviations at which a landmark's say has fallen to a half (Cauchy)
_EXPRESSION_SIGMA = 0.25  # of ARKit coefficients around none
_KNOWN_SIZE_PRECISION = 1e12
_CHIN = 8  # the landmark below which outlines are a neck's
_UNKNOWN_SIZE_SIGMA = 1.0  # of the log scale
_FAR_M, _FAR_LOG_SCALE = 0.25, 1.0


def _model_sigma_m() -> Float64[np.ndarray, " k"]:
    """By how much people's landmarks stray from what modes and blendshapes can tell."""
    sigma = np.full(POINT_COUNT, 0.0015)
    sigma[:17] = 0.005  # along the jaw, where points are defined by the outline
    sigma[17:27] = 0.008  # brows, which sit higher or lower as one
    sigma[48:IBUG_COUNT] = 0.0025  # lips
    sigma[IBUG_COUNT:] = 0.0025  # pupils
    sigma[IBUG_COUNT : IBUG_COUNT + 6] = 0.008  # ears, which lie higher or lower, further back or not
    return sigma


@dataclass(frozen=True)
class HeadFit:
    """A head in the world of its landmarks: `x_world = rotation @ (scale * x_shape) + translation`, metres.

    The shape model has its origin between its ear canals, the head frame between the head's own, which no shape of the
    model may have quite there.
    """

    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, " 3"]
    scale: float  # 1 where the size is known; else such that the head has the mean head's size
    identity: Float64[np.ndarray, " m"]  # standard deviations along the modes
    expression: Float64[np.ndarray, " e"]
    log_scale_sigma: float  # standard deviation; 0 where the scale is known
    residuals_m: Float64[np.ndarray, " k"]  # distances of the landmarks to the fitted head's
    origin: Float64[np.ndarray, " 3"]  # the head frame's, in the shape model's; metres

    @property
    def world_from_head(self) -> Float64[np.ndarray, "4 4"]:
        """The placement as a similarity."""
        transform = np.eye(4)
        transform[:3, :3] = self.scale * self.rotation
        transform[:3, 3] = self.translation + transform[:3, :3] @ self.origin
        return transform

    def surface(self, shape: HeadShape) -> Float64[np.ndarray, "v 3"]:
        """The neutral head, metres, head frame."""
        return shape.vertices(self.identity) - self.origin

    @property
    def escaped(self) -> bool:
        """Whether the fit left the surroundings in which it means anything."""
        return bool(np.linalg.norm(self.translation) > _FAR_M or abs(np.log(self.scale)) > _FAR_LOG_SCALE)


@dataclass(frozen=True)
class Outlines:
    """Silhouettes to fit along with the landmarks, in the landmarks' world."""

    views: Silhouettes
    mesh: HeadMesh  # the shape model's topology


def outlines(views: Silhouettes, rig_from_points: Float64[np.ndarray, "4 4"], shape: HeadShape) -> Outlines:
    """Silhouettes of a metric rig in the world of landmarks; `rig_from_points` is rigid."""
    cameras = views.cameras.in_frame(torch.from_numpy(rig_from_points))
    chin_height_m = float(shape.landmark_mean[_CHIN, 1])
    return Outlines(replace(views, cameras=cameras), head_mesh(shape.mean, shape.faces, chin_height_m))


@dataclass(frozen=True)
class _State:
    """What is fitted; steps are (turn in the head frame, move, log scale, coefficients)."""

    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, " 3"]
    log_scale: float
    coefficients: Float64[np.ndarray, " n"]  # along the modes, then expressions

    def stepped(self, step: Float64[np.ndarray, " s"]) -> _State:
        rotation = self.rotation @ Rotation.from_rotvec(step[:3]).as_matrix()
        log_scale = self.log_scale + float(step[6])
        return _State(rotation, self.translation + step[3:6], log_scale, self.coefficients + step[7:])

    @property
    def from_prior(self) -> Float64[np.ndarray, " s"]:
        return np.concatenate([np.zeros(6), [self.log_scale], self.coefficients])


def fit_head(points: SpacePoints, shape: HeadShape, size: Size, seen: Outlines | None = None) -> HeadFit:
    """Maximum a posteriori by Gauss-Newton, with a Cauchy kernel over landmarks.

    Args:
        points: Landmarks in a world that is about the head frame.
        shape: The prior over heads.
        size: Whether the world's metres are metres; else the scale is found from the prior.
        seen: Silhouettes, if there are any and the world is metric.
    """
    modes, expressions = len(shape.modes), len(shape.landmark_expressions)
    noise = points.covariance + _model_sigma_m()[:, None, None] ** 2 * np.eye(3)  # [k, 3, 3]
    information = np.linalg.inv(noise)
    scale_precision = _KNOWN_SIZE_PRECISION if size == "metric" else _UNKNOWN_SIZE_SIGMA**-2
    coefficient_precision = np.repeat([1.0, _EXPRESSION_SIGMA**-2], [modes, expressions])
    prior = np.concatenate([np.full(6, 1e-6), [scale_precision], coefficient_precision])
    state = _State(np.eye(3), np.zeros(3), 0.0, np.zeros(modes + expressions))
    for kernel_m in _WITHOUT_OUTLINES if seen is None else _OUTLINE_KERNELS_M:
        normal, downhill = _landmark_terms(state, points, information, shape)
        if seen is not None:
            more = _outline_terms(state, shape, seen, kernel_m)
            normal, downhill = normal + more[0], downhill + more[1]
        step = np.linalg.solve(normal + np.diag(prior), downhill - prior * state.from_prior)
        state = state.stepped(step)
        if np.abs(step).max() < _CONVERGED:
            break
    identity, expression = state.coefficients[:modes], state.coefficients[modes:]
    own = _landmarks(state, shape) @ state.rotation.T + state.translation
    residuals_m = np.linalg.norm(own - points.positions, axis=1)
    scale, sigma = 1.0, 0.0
    if size == "arbitrary":
        growth = _size_m(shape.landmark_mean + np.tensordot(identity, shape.landmark_modes, 1))
        scale = float(np.exp(state.log_scale) * growth / _size_m(shape.landmark_mean))
        sigma = _log_size_sigma(shape)
    origin = _canals_astray(own, points) @ state.rotation / scale
    return HeadFit(state.rotation, state.translation, scale, identity, expression, sigma, residuals_m, origin)


def _canals_astray(own: Float64[np.ndarray, "k 3"], points: SpacePoints) -> Float64[np.ndarray, " 3"]:
    """By how much the middle between the ear canals is off where the shape has it, the mean a posteriori; world."""
    canals = slice(IBUG_COUNT, IBUG_COUNT + 2)
    model = _model_sigma_m()[canals, None, None] ** 2 * np.eye(3)
    gain = model @ np.linalg.inv(model + points.covariance[canals])
    return (gain @ (points.positions - own)[canals, :, None])[..., 0].mean(0)


def _landmarks(state: _State, shape: HeadShape) -> Float64[np.ndarray, "k 3"]:
    """In the head frame, scaled."""
    bases = np.concatenate([shape.landmark_modes, shape.landmark_expressions])
    return np.exp(state.log_scale) * (shape.landmark_mean + np.tensordot(state.coefficients, bases, 1))


def _landmark_terms(
    state: _State, points: SpacePoints, information: Float64[np.ndarray, "k 3 3"], shape: HeadShape
) -> tuple[Float64[np.ndarray, "s s"], Float64[np.ndarray, " s"]]:
    """Normal matrix and downhill direction of the landmarks' distances."""
    own = _landmarks(state, shape)
    residual = own @ state.rotation.T + state.translation - points.positions
    squared = np.einsum("ka,kab,kb->k", residual, information, residual)
    weighted = information / (1 + squared / (3 * _OUTLIER**2))[:, None, None]
    turn = -np.einsum("ab,kbc->kac", state.rotation, _cross(own))  # [k, 3, 3]
    move = np.broadcast_to(np.eye(3), turn.shape)
    bases = np.concatenate([shape.landmark_modes, shape.landmark_expressions])  # [n, k, 3]
    along = np.einsum("ab,nkb->kan", np.exp(state.log_scale) * state.rotation, bases)  # [k, 3, n]
    jacobian = np.concatenate([turn, move, (own @ state.rotation.T)[..., None], along], 2)
    weighted = weighted / _POINTS_PER_OBSERVATION
    normal = np.einsum("kai,kab,kbj->ij", jacobian, weighted, jacobian, optimize=True)
    return normal, -np.einsum("kai,kab,kb->i", jacobian, weighted, residual)


def _outline_terms(
    state: _State, shape: HeadShape, seen: Outlines, kernel_m: float
) -> tuple[Float64[np.ndarray, "s s"], Float64[np.ndarray, " s"]]:
    """The same of the distances between outlines."""
    modes = len(shape.modes)
    mesh = replace(seen.mesh, vertices=shape.vertices(state.coefficients[:modes]))
    line = outline(Fit(state.rotation, state.translation, np.ones(3)), mesh, seen.views)
    start, end = mesh.edge_vertices[line.edge].T
    middles = (shape.modes_by_vertex[start] + shape.modes_by_vertex[end]) / 2  # [n, m, 3]
    by_modes = (middles @ line.by_own[..., None])[..., 0]
    others = len(state.coefficients) - modes
    jacobian = np.concatenate(
        [line.by_pose(), np.zeros((len(by_modes), 1)), by_modes, np.zeros((len(by_modes), others))], 1
    )
    information = line.information(kernel_m)
    return jacobian.T @ (jacobian * information[:, None]), -jacobian.T @ (line.residual_m * information)


def _size_m(landmarks: Float64[np.ndarray, "k 3"]) -> float:
    return float(np.sqrt(((landmarks - landmarks.mean(0)) ** 2).sum(-1).mean()))


def _log_size_sigma(shape: HeadShape) -> float:
    """By how much people differ in size, children included."""
    grown = [_size_m(shape.landmark_mean + mode) / _size_m(shape.landmark_mean) for mode in shape.landmark_modes]
    return float(np.linalg.norm(np.log(grown)))


def _cross(vectors: Float64[np.ndarray, "k 3"]) -> Float64[np.ndarray, "k 3 3"]:
    """The matrices that take the cross product with each vector."""
    matrices = np.zeros((len(vectors), 3, 3))
    x, y, z = vectors.T
    matrices[:, 0, 1], matrices[:, 0, 2], matrices[:, 1, 2] = -z, y, -x
    return matrices - matrices.transpose(0, 2, 1)
