"""Light inside hair: how much of every lamp gets through, on a grid, and what fibres make of it."""

import numpy as np

from headsup_cli.simulation.compilation import inline, kernel
from headsup_cli.simulation.drawing.surface_kernels import pattern_colour
from headsup_cli.simulation.hair.growth_kernels import distance_at

_EXTINCTION = np.float32(0.30)  # of a fibre's shadow; the rest is scattered on
_WRAP = 0.55


@kernel
def deposit(nodes, widths, origin, cell, density):
    """Add the area of strands [s, n, 3] per volume to the grid."""
    volume = cell**3
    for strand in range(nodes.shape[0]):
        for node in range(1, nodes.shape[1]):
            ax, ay, az = nodes[strand, node - 1, 0], nodes[strand, node - 1, 1], nodes[strand, node - 1, 2]
            bx, by, bz = nodes[strand, node, 0], nodes[strand, node, 1], nodes[strand, node, 2]
            length = np.sqrt((bx - ax) ** 2 + (by - ay) ** 2 + (bz - az) ** 2)
            amount = length * widths[strand] / volume
            u, v, w = (
                ((ax + bx) / 2 - origin[0]) / cell,
                ((ay + by) / 2 - origin[1]) / cell,
                ((az + bz) / 2 - origin[2]) / cell,
            )
            i, j, k = int(np.floor(u)), int(np.floor(v)), int(np.floor(w))
            if not (0 <= i < density.shape[0] - 1 and 0 <= j < density.shape[1] - 1 and 0 <= k < density.shape[2] - 1):
                continue
            u, v, w = u - i, v - j, w - k
            for corner in range(8):
                a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
                share = (u if a else 1 - u) * (v if b else 1 - v) * (w if c else 1 - w)
                density[i + a, j + b, k + c] += amount * share


@kernel
def sweep_light(first, end, directions, density, field, cell, through_hair, through_body):
    """Shares of lamps `first` to `end` that reach the grid's nodes, [l, x, y, z]: past the hair and past the body."""
    shape = density.shape
    strides = (shape[1] * shape[2], shape[2], 1)
    thick, depth = density.ravel(), field.ravel()
    for lamp in range(first, end):
        direction = directions[lamp]
        main = 0
        for axis in range(1, 3):
            if abs(direction[axis]) > abs(direction[main]):
                main = axis
        one, two = (main + 1) % 3, (main + 2) % 3
        sign = 1 if direction[main] > 0 else -1
        step = np.float32(cell / abs(direction[main]))
        shift_one, shift_two = direction[one] / abs(direction[main]), direction[two] / abs(direction[main])
        hair, body = through_hair[lamp].ravel(), through_body[lamp].ravel()
        main_stride, one_stride, two_stride = strides[main], strides[one], strides[two]
        for slab in range(shape[main]):
            at = shape[main] - 1 - slab if sign > 0 else slab
            for p in range(shape[one]):
                a = np.float32(min(max(p + shift_one, 0.0), shape[one] - 1.001))
                p0 = int(a)
                a -= p0
                here = at * main_stride + p * one_stride
                row = (at + sign) * main_stride + p0 * one_stride
                for q in range(shape[two]):
                    t_hair, t_body = np.float32(1), np.float32(1)
                    if slab > 0:
                        b = np.float32(min(max(q + shift_two, 0.0), shape[two] - 1.001))
                        q0 = int(b)
                        b -= q0
                        up = row + q0 * two_stride
                        low = hair[up] + a * (hair[up + one_stride] - hair[up])
                        high = hair[up + two_stride]
                        high += a * (hair[up + one_stride + two_stride] - high)
                        t_hair = low + b * (high - low)
                        low = body[up] + a * (body[up + one_stride] - body[up])
                        high = body[up + two_stride]
                        high += a * (body[up + one_stride + two_stride] - high)
                        t_body = low + b * (high - low)
                    node = here + q * two_stride
                    sunk = min(max(-depth[node] / cell - np.float32(0.4), np.float32(0)), np.float32(1))
                    absorbed = thick[node]
                    hair[node] = t_hair * np.exp(-_EXTINCTION * absorbed * step) if absorbed > 0 else t_hair
                    body[node] = t_body * (1 - np.float32(0.9) * sunk)


@kernel
def gather_voxels(directions, colours, ambient, strongest, density, through_hair, through_body, light):
    """At nodes near hair: light from all around (0-2), its sums along x, y, z by colour (3-11), highlights' shares."""
    nx, ny, nz = density.shape
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                if not density[x, y, z] > 0:
                    continue
                opening = 0.0
                out = light[x, y, z]
                for lamp in range(directions.shape[0]):
                    share = through_hair[lamp, x, y, z] * through_body[lamp, x, y, z]
                    opening += share / directions.shape[0]
                    for channel in range(3):
                        power = share * colours[lamp, channel]
                        out[channel] += power
                        for axis in range(3):
                            out[3 + 3 * axis + channel] += power * directions[lamp, axis]
                for channel in range(3):
                    out[channel] += 2 * ambient[channel] * opening
                for place in range(min(len(strongest), 2)):
                    lamp = strongest[place]
                    out[12 + place] = through_hair[lamp, x, y, z] * through_body[lamp, x, y, z]


@inline
def _light_at(light, origin, cell, x, y, z, out):
    u = min(max((x - origin[0]) / cell, 0.0), light.shape[0] - 1.001)
    v = min(max((y - origin[1]) / cell, 0.0), light.shape[1] - 1.001)
    w = min(max((z - origin[2]) / cell, 0.0), light.shape[2] - 1.001)
    i, j, k = int(u), int(v), int(w)
    u, v, w = np.float32(u - i), np.float32(v - j), np.float32(w - k)
    one = np.float32(1)
    for channel in range(14):
        out[channel] = 0
    for corner in range(8):
        a, b, c = corner >> 2, (corner >> 1) & 1, corner & 1
        share = (u if a else one - u) * (v if b else one - v) * (w if c else one - w)
        for channel in range(14):
            out[channel] += share * light[i + a, j + b, k + c, channel]


@kernel
def light_strands(nodes, widths, roots, tips, depth_m, shade, taper, light, field, origin, cell, columns):
    """Fill `strands.Strands.columns` for strands [s, n, 3], colours from `roots` to `tips` [s, 3].

    `depth_m` is the height over the skin at which strands lie in the open, `shade` how dark those beneath are.
    """
    n = nodes.shape[1]
    here = np.zeros(14, np.float32)
    for strand in range(nodes.shape[0]):
        for node in range(n):
            at = node / (n - 1)
            x, y, z = nodes[strand, node, 0], nodes[strand, node, 1], nodes[strand, node, 2]
            a, b = max(node - 1, 0), min(node + 1, n - 1)
            tx, ty, tz = (
                nodes[strand, b, 0] - nodes[strand, a, 0],
                nodes[strand, b, 1] - nodes[strand, a, 1],
                nodes[strand, b, 2] - nodes[strand, a, 2],
            )
            norm = 1 / np.sqrt(tx * tx + ty * ty + tz * tz + 1e-14)
            tx, ty, tz = tx * norm, ty * norm, tz * norm
            distance, gx, gy, gz = distance_at(field, origin, cell, x, y, z)
            along = gx * tx + gy * ty + gz * tz
            nx, ny, nz = gx - 0.7 * along * tx, gy - 0.7 * along * ty, gz - 0.7 * along * tz
            norm = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
            nx, ny, nz = nx * norm, ny * norm, nz * norm
            _light_at(light, origin, cell, x, y, z, here)
            open_air = min(max(distance / depth_m, 0.0), 1.0)
            open_air = 1 - shade * (1 - open_air) * (1 - open_air)
            lx = here[3] + here[4] + here[5]
            ly = here[6] + here[7] + here[8]
            lz = here[9] + here[10] + here[11]
            cosine = (lx * tx + ly * ty + lz * tz) / np.sqrt(lx * lx + ly * ly + lz * lz + 1e-9)
            fibre = (0.45 + 0.55 * np.sqrt(max(1 - cosine * cosine, 0.0))) * open_air
            out = (strand * n) + node
            columns[out, 0], columns[out, 1], columns[out, 2] = x, y, z
            columns[out, 3], columns[out, 4], columns[out, 5] = tx, ty, tz
            columns[out, 6], columns[out, 7], columns[out, 8] = nx, ny, nz
            for channel in range(3):
                facing = here[3 + channel] * nx + here[6 + channel] * ny + here[9 + channel] * nz
                arrives = max((_WRAP * here[channel] + facing) / (1 + _WRAP), 0.12 * here[channel])
                colour = roots[strand, channel] + at * (tips[strand, channel] - roots[strand, channel])
                columns[out, 9 + channel] = colour * arrives * fibre
                columns[out, 12 + channel] = colour
            columns[out, 15] = widths[strand] * (1 - taper * at * at * at)
            columns[out, 16], columns[out, 17] = here[12] * open_air, here[13] * open_air


@kernel
def share_at(through, points, origin, cell, out):
    """How much of every lamp reaches points [n, 3] past the hair, [n, l]."""
    for lamp in range(through.shape[0]):
        for index in range(points.shape[0]):
            value, _, _, _ = distance_at(
                through[lamp], origin, cell, points[index, 0], points[index, 1], points[index, 2]
            )
            out[index, lamp] = value


@kernel
def pattern_at(record, volume, points, colours):
    """The hair's pattern at points [n, 3] in rest space."""
    pattern = record[0].hair_pattern
    for index in range(points.shape[0]):
        red, green, blue = pattern_colour(pattern, volume, points[index, 0], points[index, 1], points[index, 2])
        colours[index, 0], colours[index, 1], colours[index, 2] = red, green, blue
