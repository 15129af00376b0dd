"""The painter of the room behind simulated people, pixel by pixel."""

import numpy as np

from headsup_cli.simulation.compilation import inline, kernel
from headsup_cli.simulation.noise_kernels import noise4


@kernel
def paint_room(rays, centre, radius, contrast, bars, colour, offset, things, volume, out):
    """Colours [h, w, 3] of the ball around the rig, and of the boxes before it, seen from `centre`.

    `rays` [3, 3] takes a pixel (x, y, 1) to its direction in the world. Boxes are rows of `Backdrop.things`.
    """
    height, width, _ = out.shape
    cx, cy, cz = centre[0], centre[1], centre[2]
    beyond = cx * cx + cy * cy + cz * cz - radius * radius
    for row in range(height):
        for column in range(width):
            x, y = column + np.float32(0.5), row + np.float32(0.5)
            dx = rays[0, 0] * x + rays[0, 1] * y + rays[0, 2]
            dy = rays[1, 0] * x + rays[1, 1] * y + rays[1, 2]
            dz = rays[2, 0] * x + rays[2, 1] * y + rays[2, 2]
            norm = 1 / np.sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx * norm, dy * norm, dz * norm
            along = dx * cx + dy * cy + dz * cz
            distance = np.sqrt(max(along * along - beyond, np.float32(0))) - along
            red, green, blue = _wall(
                cx + dx * distance, cy + dy * distance, cz + dz * distance, contrast, bars, colour, offset, volume
            )
            for thing in range(things.shape[0]):
                hit, shade = _box(things[thing], cx, cy, cz, dx, dy, dz, distance)
                if hit < distance:
                    distance = hit
                    red, green, blue = (
                        things[thing, 12] * shade, things[thing, 13] * shade, things[thing, 14] * shade
                    )  # fmt: skip
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = red, green, blue


@inline
def _wall(x, y, z, contrast, bars, colour, offset, volume):
    """The ball's colour: clouds, grain, bars about the vertical, lamps."""
    cloud = noise4(volume, 2 * x + offset[0], 2 * y + offset[1], 2 * z + offset[2])
    grain = noise4(volume, 20 * x + offset[0], 20 * y + offset[1], 20 * z + offset[2])[0]
    bar = np.tanh(6 * np.sin(bars * np.arctan2(x, z) + cloud[3]))
    shade = 0.12 * cloud[0] + 0.04 * grain + 0.07 * bar
    lamp = min(max((cloud[2] - np.float32(0.8)) * 6, np.float32(0)), np.float32(1))
    red = min(max(colour[0] + contrast * (shade + 0.04 * cloud[0]), 0.0), 1.0)
    green = min(max(colour[1] + contrast * (shade + 0.04 * cloud[1]), 0.0), 1.0)
    blue = min(max(colour[2] + contrast * (shade + 0.04 * cloud[2]), 0.0), 1.0)
    return red + lamp * (1 - red), green + lamp * (1 - green), blue + lamp * (1 - blue)


@inline
def _box(thing, cx, cy, cz, dx, dy, dz, farthest):
    """Distance at which a ray enters a box, `farthest` where it does not, and how bright that side is (slabs)."""
    ox, oy, oz = cx - thing[0], cy - thing[1], cz - thing[2]
    ax, ay, az, bx, by, bz = thing[6], thing[7], thing[8], thing[9], thing[10], thing[11]
    enter, leave, side = np.float32(0), farthest, 0
    for axis in range(3):
        if axis == 0:
            ux, uy, uz = ax, ay, az
        elif axis == 1:
            ux, uy, uz = bx, by, bz
        else:
            ux, uy, uz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        origin, slope = ox * ux + oy * uy + oz * uz, dx * ux + dy * uy + dz * uz
        inverse = 1 / (slope if abs(slope) > 1e-9 else np.float32(1e-9))
        first = (-np.copysign(thing[3 + axis], inverse) - origin) * inverse
        last = (np.copysign(thing[3 + axis], inverse) - origin) * inverse
        if first > enter:
            enter, side = first, axis
        leave = min(leave, last)
        if enter >= leave:
            return farthest, np.float32(1)
    if enter <= 0:
        return farthest, np.float32(1)
    return enter, np.float32(1) if thing[15] > 0 else np.float32((0.7, 1.0, 0.85)[side])
