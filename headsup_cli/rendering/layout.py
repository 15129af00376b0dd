"""The memory layout the CPU kernels agree on."""

import numpy as np

TILE = 16  # pixels a side
BLOCK = 4  # pixels a side: one block is one vector, one tile sixteen blocks
CHUNK = 1024  # Gaussians projected as one piece of work; a view's rows of a chunk stand together
GROUP = 16  # Gaussians projected at once, one per lane

# One row of 16 numbers (64 bytes) per visible Gaussian and view
ROW = 16
X, Y = 0, 1  # projected mean, pixels
WXX, WXY, WYY = 2, 3, 4  # W of log2 alpha = LOG2_OPACITY - |W (pixel - mean)|^2, upper triangular
LOG2_OPACITY = 5
RED, GREEN, BLUE, DEPTH = 6, 7, 8, 9
# Integers in the same memory: the tiles reached, the first of the slots for them, and which Gaussian it is
TILE_X, TILE_Y, TILES_WIDE, TILES_HIGH, SLOT, GAUSSIAN = 10, 11, 12, 13, 14, 15

# One slot of 16 numbers per Gaussian, view and tile: sums over the tile's pixels of g, the loss's derivative by
# ln alpha, times 1, the components (u, v) of W (pixel - mean) and their products; then the colour's and depth's
SUM, SUM_U, SUM_V, SUM_UU, SUM_UV, SUM_VV, SUM_RED, SUM_GREEN, SUM_BLUE, SUM_DEPTH = range(10)

# One row of numbers per view
CAMERA = 20
ROTATION, TRANSLATION, FOCAL_X, FOCAL_Y, CENTRE_X, CENTRE_Y, POSITION = 0, 9, 12, 13, 14, 15, 16

# What is counted per view and chunk, and where it begins: rows (visible Gaussians) and slots
ROWS, SLOTS = range(2)
COUNTED = 2

# The scalar settings
NEAR, FAR, RADIUS_CLIP, EPS2D, ANTIALIASED, WIDTH, HEIGHT = range(7)

LOG2_255 = float(np.log2(255.0))  # alpha below 1/255 is skipped
