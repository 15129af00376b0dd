"""Moving the Gaussians of a head, one after the other. Matrices are tuples of nine numbers, row by row."""

import numpy as np

from headsup_cli.animation.compilation import inline, kernel

_LEAST_STRETCH, _MOST_STRETCH = np.float32(0.5), np.float32(2.5)  # how far a splat follows the skin
_FLAT = np.float32(0.02)  # sine of the angle between two tangents under which a fold has no frame
_ONE, _TINY = np.float32(1), np.float32(1e-12)
_CLEAR = np.float32(1e-4)  # opacities nearer to 0 or 1 are taken for this near


@kernel
def pose_texels(
    weights, first, shapes, deltas, tangents, neutral_frames, anchors, rigid, transforms, head_share, turn, pivot,
    means, quats, scales, sh,
):  # fmt: skip
    """Pose n Gaussians bound to texels, in place.

    Row i of `deltas` from first[i] to first[i + 1] holds, for the blendshapes named in `shapes`, how the texel's point
    (0-2) and its tangents along u (3-5) and v (6-8) move at weight 1. Texels with rigid[i] >= 0 follow that transform
    [3 x 4] instead. `turn` is the head's rotation vector about `pivot`, of which each texel takes its share.
    """
    turning = turn[0] != 0 or turn[1] != 0 or turn[2] != 0
    for i in range(means.shape[0]):
        along_u, along_v = _ONE, _ONE
        if rigid[i] >= 0:
            m = transforms[rigid[i]]
            rotation = (m[0, 0], m[0, 1], m[0, 2], m[1, 0], m[1, 1], m[1, 2], m[2, 0], m[2, 1], m[2, 2])
            x, y, z = _times(rotation, means[i, 0], means[i, 1], means[i, 2])
            x, y, z = x + m[0, 3], y + m[1, 3], z + m[2, 3]
        else:
            moves, moved = _moved(weights, first[i], first[i + 1], shapes, deltas)
            if not moves and not (turning and head_share[i] > 0):
                continue
            rotation, along_u, along_v = _deformed(tangents[i], neutral_frames[i], moved)
            ax, ay, az = anchors[i, 0], anchors[i, 1], anchors[i, 2]
            x, y, z = _times(rotation, means[i, 0] - ax, means[i, 1] - ay, means[i, 2] - az)
            x, y, z = x + ax + moved[0], y + ay + moved[1], z + az + moved[2]
        if turning and head_share[i] > 0:
            turned = _rotation(turn[0] * head_share[i], turn[1] * head_share[i], turn[2] * head_share[i])
            x, y, z = _times(turned, x - pivot[0], y - pivot[1], z - pivot[2])
            x, y, z = x + pivot[0], y + pivot[1], z + pivot[2]
            rotation = _compose(turned, rotation)
        means[i, 0], means[i, 1], means[i, 2] = x, y, z
        if along_u != _ONE or along_v != _ONE:
            _stretch(quats[i], neutral_frames[i], along_u, along_v, scales[i])
        _turn_quaternion(_quaternion(rotation), quats[i])
        _turn_colour(rotation, sh[i])


@kernel
def paint_texels(weights, texels, first, shapes, deltas, sh, opacities):
    """Change colours and opacities of some Gaussians in place.

    Row i of `deltas` from first[i] to first[i + 1] holds, for the shapes named in `shapes`, what Gaussian texels[i]
    gains at weight 1: harmonics, coefficient by coefficient, and the logit of its opacity.
    """
    channels = deltas.shape[1] - 1
    for i in range(texels.shape[0]):
        gaussian, logit = texels[i], np.float32(0)
        for row in range(first[i], first[i + 1]):
            w = weights[shapes[row]]
            if w != 0:
                for channel in range(channels):
                    sh[gaussian, channel // 3, channel % 3] += w * deltas[row, channel]
                logit += w * deltas[row, channels]
        if logit != 0:
            opacity = min(max(opacities[gaussian], _CLEAR), _ONE - _CLEAR)
            opacities[gaussian] = _ONE / (_ONE + (_ONE / opacity - _ONE) * np.exp(-logit))


@inline
def _moved(weights, start, stop, shapes, deltas):
    moves = False
    px, py, pz = np.float32(0), np.float32(0), np.float32(0)
    ux, uy, uz = np.float32(0), np.float32(0), np.float32(0)
    vx, vy, vz = np.float32(0), np.float32(0), np.float32(0)
    for k in range(start, stop):
        w = weights[shapes[k]]
        if w != 0:
            moves = True
            px, py, pz = px + w * deltas[k, 0], py + w * deltas[k, 1], pz + w * deltas[k, 2]
            ux, uy, uz = ux + w * deltas[k, 3], uy + w * deltas[k, 4], uz + w * deltas[k, 5]
            vx, vy, vz = vx + w * deltas[k, 6], vy + w * deltas[k, 7], vz + w * deltas[k, 8]
    return moves, (px, py, pz, ux, uy, uz, vx, vy, vz)


@inline
def _deformed(tangents, before, moved):
    """Rotation of the tangent frame, and its stretching along both tangents."""
    ax, ay, az, bx, by, bz = (
        tangents[0, 0], tangents[0, 1], tangents[0, 2], tangents[1, 0], tangents[1, 1], tangents[1, 2],
    )  # fmt: skip
    length_before, (_, _, _, area_before) = np.sqrt(ax * ax + ay * ay + az * az), _cross(ax, ay, az, bx, by, bz)
    ax, ay, az = ax + moved[3], ay + moved[4], az + moved[5]
    bx, by, bz = bx + moved[6], by + moved[7], bz + moved[8]
    length = np.sqrt(ax * ax + ay * ay + az * az)
    nx, ny, nz, area = _cross(ax, ay, az, bx, by, bz)
    identity = (_ONE, _ONE * 0, _ONE * 0, _ONE * 0, _ONE, _ONE * 0, _ONE * 0, _ONE * 0, _ONE)
    if area <= _FLAT * length * np.sqrt(bx * bx + by * by + bz * bz) or area_before < _TINY or length < _TINY:
        return identity, _ONE, _ONE
    ax, ay, az = ax / length, ay / length, az / length
    nx, ny, nz = nx / area, ny / area, nz / area
    cx, cy, cz, _ = _cross(nx, ny, nz, ax, ay, az)
    b = before
    rotation = (
        ax * b[0, 0] + cx * b[1, 0] + nx * b[2, 0],
        ax * b[0, 1] + cx * b[1, 1] + nx * b[2, 1],
        ax * b[0, 2] + cx * b[1, 2] + nx * b[2, 2],
        ay * b[0, 0] + cy * b[1, 0] + ny * b[2, 0],
        ay * b[0, 1] + cy * b[1, 1] + ny * b[2, 1],
        ay * b[0, 2] + cy * b[1, 2] + ny * b[2, 2],
        az * b[0, 0] + cz * b[1, 0] + nz * b[2, 0],
        az * b[0, 1] + cz * b[1, 1] + nz * b[2, 1],
        az * b[0, 2] + cz * b[1, 2] + nz * b[2, 2],
    )
    along_u = length / length_before
    return rotation, _limited(along_u), _limited(area / area_before / along_u)


@inline
def _stretch(quat, frame, along_u, along_v, scales):
    """Lengthen each axis of a Gaussian by as much as the surface stretches in its direction."""
    w, x, y, z = quat[0], quat[1], quat[2], quat[3]
    n = _ONE / max(w * w + x * x + y * y + z * z, _TINY)
    axes = (
        (_ONE - 2 * n * (y * y + z * z), 2 * n * (x * y + w * z), 2 * n * (x * z - w * y)),
        (2 * n * (x * y - w * z), _ONE - 2 * n * (x * x + z * z), 2 * n * (y * z + w * x)),
        (2 * n * (x * z + w * y), 2 * n * (y * z - w * x), _ONE - 2 * n * (x * x + y * y)),
    )
    for k in range(3):
        a = axes[k]
        u = a[0] * frame[0, 0] + a[1] * frame[0, 1] + a[2] * frame[0, 2]
        v = a[0] * frame[1, 0] + a[1] * frame[1, 1] + a[2] * frame[1, 2]
        scales[k] *= np.sqrt(max(_ONE + (along_u * along_u - _ONE) * u * u + (along_v * along_v - _ONE) * v * v, _TINY))


@inline
def _cross(ax, ay, az, bx, by, bz):
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return x, y, z, np.sqrt(x * x + y * y + z * z)


@inline
def _limited(stretch):
    return min(max(stretch, _LEAST_STRETCH), _MOST_STRETCH)


@inline
def _times(m, x, y, z):
    return m[0] * x + m[1] * y + m[2] * z, m[3] * x + m[4] * y + m[5] * z, m[6] * x + m[7] * y + m[8] * z


@inline
def _compose(a, b):
    x = _times(a, b[0], b[3], b[6])
    y = _times(a, b[1], b[4], b[7])
    z = _times(a, b[2], b[5], b[8])
    return x[0], y[0], z[0], x[1], y[1], z[1], x[2], y[2], z[2]


@inline
def _rotation(x, y, z):
    """Rodrigues' formula for a rotation vector."""
    angle = np.sqrt(x * x + y * y + z * z)
    inverse = _ONE / max(angle, _TINY)
    x, y, z, c, s = x * inverse, y * inverse, z * inverse, np.cos(angle), np.sin(angle)
    d = _ONE - c
    return (
        c + x * x * d, x * y * d - z * s, x * z * d + y * s,
        y * x * d + z * s, c + y * y * d, y * z * d - x * s,
        z * x * d - y * s, z * y * d + x * s, c + z * z * d,
    )  # fmt: skip


@inline
def _quaternion(m):
    """Unit quaternion wxyz of a rotation, by its largest component (Shepperd 1978)."""
    if m[0] + m[4] + m[8] > 0:
        s = 2 * np.sqrt(_ONE + m[0] + m[4] + m[8])
        return s / 4, (m[7] - m[5]) / s, (m[2] - m[6]) / s, (m[3] - m[1]) / s
    if m[0] >= m[4] and m[0] >= m[8]:
        s = 2 * np.sqrt(max(_ONE + m[0] - m[4] - m[8], _TINY))
        return (m[7] - m[5]) / s, s / 4, (m[3] + m[1]) / s, (m[2] + m[6]) / s
    if m[4] >= m[8]:
        s = 2 * np.sqrt(max(_ONE + m[4] - m[0] - m[8], _TINY))
        return (m[2] - m[6]) / s, (m[3] + m[1]) / s, s / 4, (m[7] + m[5]) / s
    s = 2 * np.sqrt(max(_ONE + m[8] - m[0] - m[4], _TINY))
    return (m[3] - m[1]) / s, (m[2] + m[6]) / s, (m[7] + m[5]) / s, s / 4


@inline
def _turn_quaternion(a, quat):
    w, x, y, z = quat[0], quat[1], quat[2], quat[3]
    quat[0] = a[0] * w - a[1] * x - a[2] * y - a[3] * z
    quat[1] = a[0] * x + a[1] * w + a[2] * z - a[3] * y
    quat[2] = a[0] * y - a[1] * z + a[2] * w + a[3] * x
    quat[3] = a[0] * z + a[1] * y - a[2] * x + a[3] * w


@inline
def _turn_colour(m, sh):
    """Carry the degree-1 colour along: its gradient is C1 (-c3, -c1, c2)."""
    if sh.shape[0] > 1:
        for channel in range(3):
            x, y, z = _times(m, -sh[3, channel], -sh[1, channel], sh[2, channel])
            sh[1, channel], sh[2, channel], sh[3, channel] = -y, z, -x
