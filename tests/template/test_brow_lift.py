import numpy as np

from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.brow_lift import CONVERGENCE_M, LIFT_M, lifted_blendshapes


def test_brows_rise_as_far_as_peoples_and_take_the_forehead_along(template):
    lifted = lifted_blendshapes(template)
    raising = [ARKIT_NAMES.index(name) for name in ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")]
    together = lifted[raising].sum(0)
    brows = [index for name, index in template.landmarks.items() if name.startswith("brow_")]
    assert together[brows, 1].max() > 0.95 * LIFT_M
    x, y, z = template.vertices.T
    front, brow_y = (np.abs(x) < 0.04) & (z > 0.05), template.vertices[brows, 1].mean()
    above = [together[front & (np.abs(y - brow_y - up) < 0.006), 1].mean() for up in (0.01, 0.02, 0.03)]
    assert above[0] > above[1] > above[2] > 0
    assert together[front & (y > brow_y + CONVERGENCE_M + 0.006), 1].max() < 1e-4  # the upper forehead stays
    others = np.setdiff1d(np.arange(52), raising)
    np.testing.assert_array_equal(lifted[others], template.blendshapes[others])


def test_templates_without_brows_keep_their_shapes(toy_template):
    assert lifted_blendshapes(toy_template) is toy_template.blendshapes
