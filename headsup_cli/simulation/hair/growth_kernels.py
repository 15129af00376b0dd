"""Growing strands of hair on a posed body: the distance to the skin, guides that flow over it, strands along guides."""

import numpy as np

from headsup_cli.simulation.compilation import inline, kernel

CLEARANCE_M = 0.0012  # strands keep off the skin by this much


@kernel
def fill_distance(points, normals, origin, cell, distance):
    """Signed distance from the nodes of a grid [x, y, z] to a surface known by samples [n, 3] and their normals.

    The closest sample is passed on from node to node. Nearby, the distance is that to the sample's plane.
    """
    nx, ny, nz = distance.shape
    nearest = np.full(distance.shape, np.int32(-1))
    best = np.full(distance.shape, np.float32(1e9))
    for index in range(points.shape[0]):
        x, y, z = _cells(points[index, 0], points[index, 1], points[index, 2], origin, cell)
        x, y, z = round(x), round(y), round(z)
        if 0 <= x < nx and 0 <= y < ny and 0 <= z < nz:
            _offer(points, origin, cell, index, x, y, z, nearest, best)
    for sweep in range(2):
        forward = sweep % 2 == 0
        step = -1 if forward else 1
        for a in range(nx):
            x = a if forward else nx - 1 - a
            for b in range(ny):
                y = b if forward else ny - 1 - b
                for c in range(nz):
                    z = c if forward else nz - 1 - c
                    for axis in range(7):
                        u = x + step * (axis == 0 or axis == 3 or axis == 4 or axis == 6)
                        v = y + step * (axis == 1 or axis == 3 or axis == 5 or axis == 6)
                        w = z + step * (axis == 2 or axis == 4 or axis == 5 or axis == 6)
                        if 0 <= u < nx and 0 <= v < ny and 0 <= w < nz:
                            index = nearest[u, v, w]
                            if index >= 0 and index != nearest[x, y, z]:
                                _offer(points, origin, cell, index, x, y, z, nearest, best)
    for x in range(nx):
        for y in range(ny):
            for z in range(nz):
                index = nearest[x, y, z]
                plane = (
                    (origin[0] + x * cell - points[index, 0]) * normals[index, 0]
                    + (origin[1] + y * cell - points[index, 1]) * normals[index, 1]
                    + (origin[2] + z * cell - points[index, 2]) * normals[index, 2]
                )
                far = np.sqrt(best[x, y, z])
                share = min(max(far / cell - 0.5, 0.0), 1.0)
                distance[x, y, z] = (1 - share) * plane + share * (far if plane > 0 else -far)


@inline
def _offer(points, origin, cell, index, x, y, z, nearest, best):
    dx = origin[0] + x * cell - points[index, 0]
    dy = origin[1] + y * cell - points[index, 1]
    dz = origin[2] + z * cell - points[index, 2]
    squared = dx * dx + dy * dy + dz * dz
    if squared < best[x, y, z]:
        best[x, y, z] = squared
        nearest[x, y, z] = index


@inline
def _cells(x, y, z, origin, cell):
    return (x - origin[0]) / cell, (y - origin[1]) / cell, (z - origin[2]) / cell


@inline
def distance_at(field, origin, cell, x, y, z):
    """A grid's value at a point, and its gradient made a unit vector."""
    u, v, w = _cells(x, y, z, origin, cell)
    u = min(max(u, 0.0), field.shape[0] - 1.001)
    v = min(max(v, 0.0), field.shape[1] - 1.001)
    w = min(max(w, 0.0), field.shape[2] - 1.001)
    i, j, k = int(u), int(v), int(w)
    u, v, w = u - i, v - j, w - k
    a, b, c, d = field[i, j, k], field[i, j, k + 1], field[i, j + 1, k], field[i, j + 1, k + 1]
    e, f, g, h = field[i + 1, j, k], field[i + 1, j, k + 1], field[i + 1, j + 1, k], field[i + 1, j + 1, k + 1]
    low0, low1 = a + w * (b - a), c + w * (d - c)
    high0, high1 = e + w * (f - e), g + w * (h - g)
    low, high = low0 + v * (low1 - low0), high0 + v * (high1 - high0)
    gx = high - low
    gy = (1 - u) * (low1 - low0) + u * (high1 - high0)
    gz = (1 - u) * ((1 - v) * (b - a) + v * (d - c)) + u * ((1 - v) * (f - e) + v * (h - g))
    norm = 1 / np.sqrt(gx * gx + gy * gy + gz * gz + 1e-12)
    return low + u * (high - low), gx * norm, gy * norm, gz * norm


@kernel
def grow_guides(roots, starts, combs, lengths, layers, floors, flow, field, origin, cell, path, across):
    """Lay guides [m, n, 3] over the body from their roots.

    `combs` are directions to be combed to, `flow` one record of how: see `strand_growth.Flow`. `across` receives a
    unit vector across each guide at every node, turned along without twist.
    """
    n = path.shape[1]
    fine = np.empty((n, 3), np.float32)
    setting = flow[0]
    for guide in range(path.shape[0]):
        step = lengths[guide] / (n - 1)
        x, y, z = roots[guide, 0], roots[guide, 1], roots[guide, 2]
        dx, dy, dz = starts[guide, 0], starts[guide, 1], starts[guide, 2]
        fine[0, 0], fine[0, 1], fine[0, 2] = x, y, z
        end = n - 1
        for node in range(1, n):
            s = (node - 0.5) * step
            px, py, pz = x - setting.pole[0], y - setting.pole[1], z - setting.pole[2]
            far = np.sqrt(px * px + py * py + pz * pz) + 1e-6
            if setting.pole_weight < 0 and far < 0.013:
                end = node - 1
                break
            weight = setting.pole_weight / far
            cx, cy, cz = combs[guide, 0] + weight * px, combs[guide, 1] + weight * py, combs[guide, 2] + weight * pz
            _, gx, gy, gz = distance_at(field, origin, cell, x, y, z)
            tx, ty, tz = _drawn_to(setting, s, roots[guide, 0], x, y, z, cx, cy, cz, gx, gy, gz)
            turn = min(1.0, step / setting.bend_m)
            dx, dy, dz = dx + turn * (tx - dx), dy + turn * (ty - dy), dz + turn * (tz - dz)
            norm = 1 / np.sqrt(dx * dx + dy * dy + dz * dz + 1e-9)
            qx, qy, qz = x + dx * norm * step, y + dy * norm * step, z + dz * norm * step
            height = layers[guide] * (1 - np.exp(-s / setting.rise_m)) + CLEARANCE_M
            distance, gx, gy, gz = distance_at(field, origin, cell, qx, qy, qz)
            if distance < height:
                push = height - distance
            else:
                push = -setting.cling * min(1.0, step / 0.02) * (distance - height)
            qx, qy, qz = qx + push * gx, qy + push * gy, qz + push * gz
            dx, dy, dz = qx - x, qy - y, qz - z
            norm = 1 / np.sqrt(dx * dx + dy * dy + dz * dz + 1e-12)
            dx, dy, dz = dx * norm, dy * norm, dz * norm
            x, y, z = _kept_off(field, origin, cell, x + dx * step, y + dy * step, z + dz * step)
            fine[node, 0], fine[node, 1], fine[node, 2] = x, y, z
            if y < floors[guide]:
                end = node
                break
        _resample(fine, end, path[guide])
        _carry_across(path[guide], across[guide])


@inline
def _drawn_to(setting, s, root_x, x, y, z, cx, cy, cz, gx, gy, gz):
    """Where hair is drawn `s` metres from its root: combed along the skin, whose normal is `g`, lifted, parted."""
    inward = cx * gx + cy * gy + cz * gz
    cx, cy, cz = cx - inward * gx, cy - inward * gy, cz - inward * gz
    hold = np.exp(-s / setting.hold_m)
    lift = setting.lift * np.exp(-s / setting.lift_m)
    fall = setting.gravity * (1 - hold)
    tx, ty, tz = hold * cx + lift * gx, hold * cy + lift * gy - fall, hold * cz + lift * gz
    if y < setting.face[1] and z > setting.face[2]:
        aside = setting.part * max(1 - abs(x) / setting.face[0], 0.0)
        tx, tz = tx + (aside if root_x > setting.parting_m else -aside), tz - 0.3 * aside
    return tx, ty, tz


@inline
def _kept_off(field, origin, cell, x, y, z):
    """The point, moved out of the skin's clearance."""
    distance, gx, gy, gz = distance_at(field, origin, cell, x, y, z)
    push = max(CLEARANCE_M - distance, 0.0)
    return x + push * gx, y + push * gy, z + push * gz


@inline
def _resample(fine, end, path):
    """Nodes evenly spread over the first `end` pieces."""
    n = path.shape[0]
    for node in range(n):
        at = node * end / (n - 1)
        low = min(int(at), max(end - 1, 0))
        share = at - low
        high = min(low + 1, end)
        for axis in range(3):
            path[node, axis] = fine[low, axis] + share * (fine[high, axis] - fine[low, axis])


@inline
def _carry_across(path, across):
    """Turn the first node's vector across the path along it without twist."""
    n = path.shape[0]
    ux, uy, uz = across[0, 0], across[0, 1], across[0, 2]
    for node in range(n):
        tx, ty, tz = _tangent(path, node)
        along = ux * tx + uy * ty + uz * tz
        vx, vy, vz = ux - along * tx, uy - along * ty, uz - along * tz
        square = vx * vx + vy * vy + vz * vz
        if square > 1e-6:
            norm = 1 / np.sqrt(square)
            ux, uy, uz = vx * norm, vy * norm, vz * norm
        across[node, 0], across[node, 1], across[node, 2] = ux, uy, uz


@kernel
def carry_across(paths, across):
    """`across` [m, n, 3] along given guides, from what its first nodes hold."""
    for guide in range(paths.shape[0]):
        _carry_across(paths[guide], across[guide])


@inline
def _tangent(path, node):
    a, b = max(node - 1, 0), min(node + 1, path.shape[0] - 1)
    x, y, z = path[b, 0] - path[a, 0], path[b, 1] - path[a, 1], path[b, 2] - path[a, 2]
    norm = 1 / np.sqrt(x * x + y * y + z * z + 1e-14)
    return x * norm, y * norm, z * norm


@kernel
def nearest_guides(roots, sides, guides, guide_sides, choice):
    """The guide whose root is closest to each strand's, on the same side of the parting."""
    for strand in range(roots.shape[0]):
        best = 1e9
        for guide in range(guides.shape[0]):
            x, y, z = (
                roots[strand, 0] - guides[guide, 0],
                roots[strand, 1] - guides[guide, 1],
                roots[strand, 2] - guides[guide, 2],
            )
            square = x * x + y * y + z * z + (0.0 if sides[strand] == guide_sides[guide] else 1.0)
            if square < best:
                best = square
                choice[strand] = guide


@kernel
def lay_strands(roots, choice, paths, across, chances, locks, shape, field, origin, cell, nodes):
    """Strands [s, n, 3] along their guides.

    Each keeps its root's place beside the guide's, drawn together by the shape's clumping, waved or coiled with its
    lock, a little by itself, and kept off the skin. `chances` [s, 6] are uniform in 0..1, `locks` [m, 3] likewise.
    """
    setting = shape[0]
    n = nodes.shape[1]
    for strand in range(nodes.shape[0]):
        guide = choice[strand]
        path = paths[guide]
        ox, oy, oz = roots[strand, 0] - path[0, 0], roots[strand, 1] - path[0, 1], roots[strand, 2] - path[0, 2]
        tx, ty, tz = _tangent(path, 0)
        ux, uy, uz = across[guide, 0, 0], across[guide, 0, 1], across[guide, 0, 2]
        vx, vy, vz = ty * uz - tz * uy, tz * ux - tx * uz, tx * uy - ty * ux
        ot, ou, ov = ox * tx + oy * ty + oz * tz, ox * ux + oy * uy + oz * uz, ox * vx + oy * vy + oz * vz
        length, reach = _length(path), 1 - setting.ragged * chances[strand, 0] ** 2
        for axis in range(3):
            nodes[strand, 0, axis] = roots[strand, axis]
        for node in range(1, n):
            at = reach * node / (n - 1)
            s = at * length
            (cx, cy, cz), (tx, ty, tz), (ux, uy, uz) = _frame_at(path, across[guide], at)
            vx, vy, vz = ty * uz - tz * uy, tz * ux - tx * uz, tx * uy - ty * ux
            pt, pu, pv = _place_in_lock(setting, chances[strand], locks[guide], s, ot, ou, ov)
            x, y, z = (
                cx + pt * tx + pu * ux + pv * vx,
                cy + pt * ty + pu * uy + pv * vy,
                cz + pt * tz + pu * uz + pv * vz,
            )
            distance, gx, gy, gz = distance_at(field, origin, cell, x, y, z)
            floor = min(CLEARANCE_M * (0.6 + chances[strand, 0]), 0.4 * s)
            if distance < floor:
                push = floor - distance
                x, y, z = x + push * gx, y + push * gy, z + push * gz
            nodes[strand, node, 0], nodes[strand, node, 1], nodes[strand, node, 2] = x, y, z


@inline
def _length(path):
    length = 0.0
    for node in range(1, path.shape[0]):
        x, y, z = (
            path[node, 0] - path[node - 1, 0],
            path[node, 1] - path[node - 1, 1],
            path[node, 2] - path[node - 1, 2],
        )
        length += np.sqrt(x * x + y * y + z * z)
    return length


@inline
def _frame_at(path, across, at):
    """A guide's point at a share `at` of its nodes, the tangent there and the vector across."""
    spot = at * (path.shape[0] - 1)
    low = min(int(spot), path.shape[0] - 2)
    share = spot - low
    point = (
        path[low, 0] + share * (path[low + 1, 0] - path[low, 0]),
        path[low, 1] + share * (path[low + 1, 1] - path[low, 1]),
        path[low, 2] + share * (path[low + 1, 2] - path[low, 2]),
    )
    sideways = (
        across[low, 0] + share * (across[low + 1, 0] - across[low, 0]),
        across[low, 1] + share * (across[low + 1, 1] - across[low, 1]),
        across[low, 2] + share * (across[low + 1, 2] - across[low, 2]),
    )
    return point, _tangent(path, low + (1 if share > 0.5 else 0)), sideways


@inline
def _place_in_lock(setting, chances, lock, s, ot, ou, ov):
    """Place of a strand beside its guide, along and across it, `s` metres from the root, where it was `ot, ou, ov`."""
    spread = 1 - setting.clump * (s / (s + setting.clump_m))
    cosine, sine = np.cos(setting.twist * s), np.sin(setting.twist * s)
    pu, pv = spread * (cosine * ou - sine * ov), spread * (sine * ou + cosine * ov)
    phase = 6.2831853 * (lock[0] + setting.loose * (chances[2] - 0.5))
    period = setting.period_m * (0.75 + 0.5 * lock[1])
    wave = setting.wave_m * (0.6 + 0.8 * lock[2]) * (1 - 0.35 * setting.loose * chances[3])
    angle = phase + 6.2831853 * s / period
    amount = wave * min(s / setting.onset_m, 1.0)
    stray = 0.12 * setting.frizz * (1.0 if chances[1] < 0.97 else 2.5)
    away, flutter = stray * (1 - np.exp(-s / 0.08)), 25 + 45 * chances[1]
    pu += amount * np.cos(angle) + away * np.sin(6.2831853 * chances[4] + flutter * s)
    pv += amount * setting.helix * np.sin(angle) + away * np.sin(6.2831853 * chances[5] + flutter * s)
    return ot * spread, pu, pv
