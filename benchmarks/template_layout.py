"""Computes the default template's UV layout and puts it into the package: `python benchmarks/template_layout.py`.

The layout is shipped, not computed on the user's machine, because trained weights depend on every texel of it, and
because an iterative solver ends in other last bits with other linear algebra libraries. Run this only to change the
layout on purpose: weights trained before are refused after.
"""

import numpy as np

from headsup_cli.runtime.atomic import atomic_path
from headsup_cli.template.anny_source import AVERAGE_ADULT, AnnySource
from headsup_cli.template.default_build import LAYOUT_FILE, LAYOUT_STEPS
from headsup_cli.template.regions import soft_regions
from headsup_cli.template.uv_layout import lay_out


def main() -> None:
    people = AnnySource.shared()
    mesh = people.mesh
    vertices = people.vertices_for(AVERAGE_ADULT).astype(np.float64)
    regions = soft_regions(vertices, mesh.faces, mesh.face_parts)
    uvs, uv_faces = lay_out(vertices, mesh.faces, mesh.face_parts, regions)
    steps = (uvs * LAYOUT_STEPS).round().astype(np.uint16)
    with atomic_path(LAYOUT_FILE) as path:
        np.savez_compressed(path, faces=mesh.faces.astype(np.uint16), uvs=steps, uv_faces=uv_faces.astype(np.uint16))


if __name__ == "__main__":
    main()
