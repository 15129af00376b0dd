import numpy as np

from headsup_cli.simulation.body.anatomy import default_anatomy
from headsup_cli.template.brow_lift import lifted_blendshapes


def test_people_raise_their_brows_as_far_as_a_rig_raises_a_heads(template):
    np.testing.assert_allclose(default_anatomy().blendshapes, lifted_blendshapes(template), atol=5e-6)
