import numpy as np
import pytest

from headsup_cli.template.anny_source import AVERAGE_ADULT, AnnySource
from headsup_cli.template.default import load_template
from headsup_cli.template.regions import soft_regions
from headsup_cli.template.uv_layout import lay_out


@pytest.mark.slow
def test_shipped_layout_is_what_the_solver_finds():
    people, template = AnnySource.shared(), load_template()
    vertices = people.vertices_for(AVERAGE_ADULT).astype(np.float64)
    regions = soft_regions(vertices, template.faces, template.face_parts)
    uvs, uv_faces = lay_out(vertices, template.faces, template.face_parts, regions)
    assert np.array_equal(uv_faces, template.uv_faces)
    np.testing.assert_allclose(uvs, template.uvs, atol=1e-3)  # an iterative solver: other machines, other last bits
