"""The cameras' gains from what they see of one head, and from the hue of the room behind it.

Where cameras i see point p of the head, linear light is I = g_i (A_p + S_ip): a gain, what the point scatters all
around, and its sheen. A_p is the point's own unknown. The sheen is white light, a function of direction for the whole
head, either the same everywhere or as strong as the light that falls on the point: spherical harmonics of the mirrored
ray (soft lights) and powers of the angle between normal and ray (Fresnel, lights beside the cameras). In logarithms,
log I = log g_i + log A_p + S_ip / A_p, which is linear in gains and sheen once A_p is known well enough, so it is
solved by iteratively reweighted least squares. What is left over is weighted by its own covariance over the channels:
brightness strays several times as far as hue, and hue is what tells sheen from gains.

Clean plates show one room: their hues are the room's, the gain's, and a deviation of the camera's own.

Gains, sheen and deviations have normal priors around zero, whose variances are estimated along with them (empirical
Bayes, by expectation maximisation): a camera that sees nothing but hair is drawn to what cameras of its rig usually
are, sheen is held back as far as the subject's own skin has little, and a motley room says little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float64, Int

_LEAST_ALBEDO = 0.05  # relative to the mean: division by darker ones amplifies noise
_MOST_SHEEN = 0.5  # of what a point scatters, where that is estimated; logarithm
_ITERATIONS = 12
_USUAL_SPREAD, _USUAL_SD = 0.05, 0.1  # standard deviations of logarithms to start from
_LEAST_SPREAD = 1e-4  # pictures without noise or texture have none of their own
_GAIN_SD, _SHEEN_SD, _ROOM_SD = (0.02, 0.3), (1e-4, 1.0), (0.002, 0.5)  # limits of what is estimated
_ALIKE = 3.0  # observations that go wrong together: many are worth as much as so many times fewer of chance errors
_KERNEL = 1.0  # width of the robust kernel, in standard deviations of the residuals
_POINT_PRIOR = 0.1  # observations that a point's own standard deviation is drawn to the usual one by
_POINT_POWER = 1.5  # of a point's variance that divides its weight; 1 for chance errors, but hair's go one way together
_ODD_ROOM = 2.0  # standard deviations at which a camera's room has lost half its say: something large stands there
_TO_SD = 1.4826  # of a normal variable's median distance from zero
_HUES = np.eye(3) - 1 / 3  # takes the mean over the channels away


@dataclass(frozen=True)
class Observations:
    """What the cameras see of the points of a surface, and of the room."""

    light: Float64[np.ndarray, "c p 3"]  # logarithm of linear light
    facing: Float64[np.ndarray, "c p"]  # cosine between the normal and the direction to the camera
    mirrored: Float64[np.ndarray, "c p 3"]  # direction from which a mirror there would show light
    seen: Bool[np.ndarray, "c p"]
    rooms: Float64[np.ndarray, "c 3"]  # logarithm of the clean plate's hue, of mean zero; NaN without one

    def of_cameras(self, kept: Bool[np.ndarray, " c"]) -> Observations:
        """Those of some of the cameras."""
        return Observations(self.light[kept], self.facing[kept], self.mirrored[kept], self.seen[kept], self.rooms[kept])


def log_gains(observed: Observations) -> tuple[Float64[np.ndarray, "c 3"], float]:
    """Logarithms of the cameras' gains, of mean zero over the cameras, and how far views of a point still differ."""
    sights = _Sights.of(observed)
    if not len(sights.point):
        return np.zeros((sights.cameras, 3)), 0.0
    seen = sights.camera, sights.point
    basis = _sheen_basis(observed.mirrored[seen], observed.facing[seen])
    basis = basis / np.sqrt(np.maximum(np.average(basis**2, axis=0, weights=sights.weight), 1e-12))
    rooms, trust = _Rooms.of(observed.rooms), np.ones(len(basis))
    gains, sheen, covariance = np.zeros((sights.cameras, 3)), np.zeros_like(sights.light), _USUAL_SPREAD**2 * np.eye(3)
    gain_sd = sheen_sd = _USUAL_SD
    residual = sights.light
    for _ in range(_ITERATIONS):
        scattered = sights.light - gains[sights.camera] - sheen.clip(-_MOST_SHEEN, _MOST_SHEEN)
        shine = _shine(basis, sights, scattered)  # [n, k, 3]
        trusted = replace(sights, weight=sights.weight * trust)
        fit = _solved(trusted, shine, np.linalg.inv(covariance) / _ALIKE, rooms, gain_sd, sheen_sd)
        gains, sheen = fit.gains, np.einsum("nkj,k->nj", shine, fit.sheen)
        residual = trusted.centred(sights.light - gains[sights.camera] - sheen)
        trust = _trust(_whitened(residual, covariance), replace(sights, weight=trust))
        covariance = _covariance(residual, sights.weight * trust)
        deviation = gains - gains.mean(0)
        gain_sd = _sd(np.mean(deviation**2) + fit.gain_variance, _GAIN_SD)
        sheen_sd = _sd(np.mean(fit.sheen**2) + fit.sheen_variance, _SHEEN_SD)
        rooms = rooms.reweighted(gains, fit.hue_variance)
    spread = _TO_SD * np.median(np.abs(residual), axis=0)
    return gains - gains.mean(0), float(spread.max())


@dataclass(frozen=True)
class _Sights:
    """Sightings of points that two cameras or more see, one after the other."""

    camera: Int[np.ndarray, " n"]
    point: Int[np.ndarray, " n"]
    light: Float64[np.ndarray, "n 3"]
    weight: Float64[np.ndarray, " n"]
    cameras: int  # number of them
    points: int

    @classmethod
    def of(cls, observed: Observations) -> _Sights:
        seen = observed.seen & (observed.facing > 0)
        camera, point = np.nonzero(seen & (seen.sum(0) >= 2))
        weight = observed.facing[camera, point] ** 2
        return cls(camera, point, observed.light[camera, point], weight, *observed.seen.shape)

    @property
    def matrix(self) -> Float64[np.ndarray, "c p"]:
        """The weights by camera and point."""
        matrix = np.zeros((self.cameras, self.points))
        matrix[self.camera, self.point] = self.weight
        return matrix

    def of_points(self, values: Float64[np.ndarray, "n ..."]) -> Float64[np.ndarray, "p ..."]:
        """Means over the cameras; zero of points that none sees."""
        gather = sp.csr_array((self.weight, (self.point, np.arange(len(self.point)))), (self.points, len(self.point)))
        flat = gather @ values.reshape(len(values), -1) / np.maximum(gather.sum(1), 1e-9)[:, None]
        return flat.reshape(self.points, *values.shape[1:])

    def centred(self, values: Float64[np.ndarray, "n ..."]) -> Float64[np.ndarray, "n ..."]:
        """Values less their points' means."""
        return values - self.of_points(values)[self.point]

    def by_camera(self, values: Float64[np.ndarray, "n ..."]) -> Float64[np.ndarray, "c ..."]:
        """Weighted sums over each camera's points."""
        gather = sp.csr_array(
            (self.weight, (self.camera, np.arange(len(self.camera)))), (self.cameras, len(self.camera))
        )
        return (gather @ values.reshape(len(values), -1)).reshape(self.cameras, *values.shape[1:])


@dataclass(frozen=True)
class _Rooms:
    """The rooms' hues, and how much each says of its camera's gains."""

    hues: Float64[np.ndarray, "c 3"]
    known: Bool[np.ndarray, " c"]
    say: Float64[np.ndarray, " c"]  # 1 for a room like the others
    sd: float

    @classmethod
    def of(cls, rooms: Float64[np.ndarray, "c 3"]) -> _Rooms:
        known = np.isfinite(rooms).all(1)
        return cls(np.where(known[:, None], rooms, 0.0), known, known.astype(float), _USUAL_SD)

    @property
    def precision(self) -> Float64[np.ndarray, "c c"]:
        """Of the cameras' hues; the room's own is unknown, so only differences count."""
        precision = self.say / self.sd**2
        return np.diag(precision) - np.outer(precision, precision) / max(float(precision.sum()), 1e-12)

    def reweighted(self, gains: Float64[np.ndarray, "c 3"], variance: Float64[np.ndarray, " c"]) -> _Rooms:
        """As these gains, hues known by `variance`, leave them."""
        if self.known.sum() < 2:
            return self
        own = (self.hues - gains) @ _HUES
        squared = ((own - np.average(own, axis=0, weights=self.say)) ** 2).sum(-1) / 2 + variance  # two hues are free
        usual = np.average(squared, weights=self.say)
        say = self.known / (1 + squared / (_ODD_ROOM**2 * usual))
        return _Rooms(self.hues, self.known, say, _sd(np.average(squared, weights=say), _ROOM_SD))


@dataclass(frozen=True)
class _Fit:
    """Gains and sheen, with variances a posteriori."""

    gains: Float64[np.ndarray, "c 3"]  # logarithms
    sheen: Float64[np.ndarray, " k"]
    gain_variance: float  # mean
    sheen_variance: float  # mean
    hue_variance: Float64[np.ndarray, " c"]  # of either hue of a camera's gain


def _solved(
    sights: _Sights,
    shine: Float64[np.ndarray, "n k 3"],
    precision: Float64[np.ndarray, "3 3"],
    rooms: _Rooms,
    gain_sd: float,
    sheen_sd: float,
) -> _Fit:
    """Least squares for gains and sheen; the points' own logarithms are eliminated by centring.

    Args:
        sights: What is seen.
        shine: By how much each kind of sheen adds to it.
        precision: Of a sighting of weight one, over the channels.
        rooms: What the rooms say.
        gain_sd: Standard deviation a priori of the gains.
        sheen_sd: That of the sheen.
    """
    cameras, count = sights.cameras, shine.shape[1]
    values, shine = sights.centred(sights.light), sights.centred(shine)
    weight = sights.matrix
    shared = np.diag(weight.sum(1)) - (weight / np.maximum(weight.sum(0), 1e-9)) @ weight.T
    shared = shared + weight.sum() / cameras**2  # the mean of the gains, which nothing else fixes, is zero
    told = sights.by_camera(values) @ precision + rooms.precision @ rooms.hues @ _HUES  # [c, 3]
    shining = sights.by_camera(shine) @ precision  # [c, k, 3]
    root = np.linalg.cholesky(precision) * np.sqrt(sights.weight)[:, None, None]  # [n, 3, 3]
    lit = np.einsum("nj,nji->ni", values, root)
    shone = np.einsum("nkj,nji->nik", shine, root).reshape(-1, count)  # [n * 3, k]

    of_gains, of_sheen = slice(0, 3 * cameras), slice(3 * cameras, None)  # the gains of one channel after the other's
    normal = np.diag(np.repeat([gain_sd**-2.0, sheen_sd**-2.0], [3 * cameras, count]))
    normal[of_gains, of_gains] += np.kron(precision, shared) + np.kron(_HUES, rooms.precision)
    normal[of_gains, of_sheen] = shining.transpose(2, 0, 1).reshape(3 * cameras, count)
    normal[of_sheen, of_gains] = normal[of_gains, of_sheen].T
    normal[of_sheen, of_sheen] += shone.T @ shone
    right = np.concatenate([told.T.ravel(), shone.T @ lit.ravel()])

    inverse = np.linalg.inv(normal + 1e-9 * np.eye(len(normal)))
    solution, variances = inverse @ right, np.diag(inverse)
    gains_alone = inverse[of_gains, of_gains].reshape(3, cameras, 3, cameras)
    return _Fit(
        solution[of_gains].reshape(3, cameras).T,
        solution[of_sheen],
        float(variances[of_gains].mean()),
        float(variances[of_sheen].mean()),
        np.einsum("icjc,ij->c", gains_alone, _HUES) / 2,
    )


def _shine(
    basis: Float64[np.ndarray, "n k"], sights: _Sights, scattered: Float64[np.ndarray, "n 3"]
) -> Float64[np.ndarray, "n 2*k 3"]:
    """White sheen in logarithms, the same on every point and as strong as the light on it, by what they scatter."""
    albedo = np.exp(sights.of_points(scattered))  # [p, 3]
    seen = np.unique(sights.point)
    albedo = np.maximum(albedo / albedo[seen].mean(), _LEAST_ALBEDO)
    everywhere = basis[:, :, None] / albedo[sights.point][:, None]
    return np.concatenate([everywhere, basis[:, :, None] / albedo[seen].mean(0)], 1)


def _sheen_basis(mirrored: Float64[np.ndarray, "n 3"], facing: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n k"]:
    """Harmonics up to degree 3 of the mirrored direction, without the constant, and powers of the facing cosine."""
    x, y, z = mirrored.T
    terms = [x, y, z, x * y, y * z, x * z, 3 * z * z - 1, x * x - y * y]
    terms += [y * (3 * x * x - y * y), x * y * z, y * (5 * z * z - 1), z * (5 * z * z - 3), x * (5 * z * z - 1)]
    terms += [z * (x * x - y * y), x * (x * x - 3 * y * y), facing, facing**2, facing**4, facing**8]
    return np.stack(terms, -1)


def _whitened(
    residual: Float64[np.ndarray, "n 3"], covariance: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "n 3"]:
    """Residuals of the same usual size in every direction of the channels' space, one."""
    white = residual @ np.linalg.cholesky(np.linalg.inv(covariance))
    return white / max(_TO_SD * float(np.median(np.abs(white))), _LEAST_SPREAD / _USUAL_SPREAD)


def _trust(white: Float64[np.ndarray, "n 3"], sights: _Sights) -> Float64[np.ndarray, " n"]:
    """Weights by how far the views of a point disagree, as those of hair and cloth do, and each sighting with them.

    Args:
        white: What gains and sheen leave, of usual size one.
        sights: Weighted by what they are trusted for their points.
    """
    views = np.bincount(sights.point, minlength=sights.points)  # [p]
    squared = (white**2).mean(-1)
    own = sights.of_points(squared) * views / np.maximum(views - 1, 1)
    variance = ((_POINT_PRIOR + views * own) / (_POINT_PRIOR + views))[sights.point]
    return variance**-_POINT_POWER / (1 + squared / (_KERNEL**2 * variance))


def _covariance(residual: Float64[np.ndarray, "n 3"], weight: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "3 3"]:
    """Over the channels, of what most residuals are like."""
    least = _LEAST_SPREAD**2 * np.eye(3)
    covariance = (residual * weight[:, None]).T @ residual / weight.sum() + least
    white = residual @ np.linalg.cholesky(np.linalg.inv(covariance))
    return covariance * (_TO_SD * np.median(np.abs(white))) ** 2 + least


def _sd(variance: float | np.floating, limits: tuple[float, float]) -> float:
    return float(np.sqrt(variance).clip(*limits))
