"""Draws the pictures of docs/template.md into docs/images: `python benchmarks/template_pictures.py`."""

from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from headsup_cli.cameras.camera import Cameras
from headsup_cli.rendering.mesh_rasteriser import rasterise_mesh
from headsup_cli.template.anny_source import AnnySource
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.default import load_template
from headsup_cli.template.parts import REGIONS
from headsup_cli.template.template import Template
from headsup_cli.template.texels import sample_texels, vertex_normals

IMAGES = Path(__file__).resolve().parents[1] / "docs/images"
SUPERSAMPLING = 2
FONT = cv2.FONT_HERSHEY_SIMPLEX
REGION_COLOURS = np.array(  # blue, green, red
    [
        [120, 190, 250],
        [240, 190, 110],
        [120, 110, 220],
        [150, 220, 150],
        [200, 170, 200],
        [160, 215, 235],
        [205, 205, 190],
    ]
)
PART_COLOURS = {"eye_left": (245, 240, 235), "eye_right": (245, 240, 235), "mouth_inner": (90, 80, 160)}
PART_COLOURS |= {"teeth_upper": (225, 240, 245), "teeth_lower": (225, 240, 245), "tongue": (120, 110, 215)}
SKIN_COLOUR = (185, 200, 225)


def camera(azimuth_deg: float, height_m: float, view_height_m: float, width: int, height: int) -> Cameras:
    """A long lens that looks at a point above the origin, from the left of the face where the azimuth is positive."""
    distance_m, angle = 2.0, np.radians(azimuth_deg)
    backward = np.array([np.sin(angle), 0, np.cos(angle)])
    right = np.array([np.cos(angle), 0, -np.sin(angle)])
    rotation = np.stack([right, [0.0, -1.0, 0.0], -backward])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ (np.array([0, height_m, 0]) + distance_m * backward)
    focal_px = distance_m * height / view_height_m
    K = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
    return Cameras(torch.tensor(pose[None]), torch.tensor(K[None]), width, height)


def shaded(
    template: Template, vertices: Float[np.ndarray, "v 3"], view: Cameras, colours: Float[np.ndarray, "f 3"], cells: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The mesh in one view, with a checker of so many cells along each side of the UV layout (0: none)."""
    large = view.resized(view.width * SUPERSAMPLING, view.height * SUPERSAMPLING)
    fragments = rasterise_mesh(vertices, template.faces, large)
    face, weights = fragments.face[0], fragments.barycentric[0][..., None]
    seen = face >= 0
    normal = (weights * vertex_normals(vertices, template.faces)[template.faces[face]]).sum(-2)
    light = np.array([0.25, 0.35, 0.1]) - view.cam_from_world[0, 2, :3].numpy()  # beside and above the camera
    brightness = 0.25 + 0.75 * np.clip(normal @ (light / np.linalg.norm(light)), 0, 1)
    if cells:
        uv = (weights * template.uvs[template.uv_faces[face]]).sum(-2)
        brightness *= 0.78 + 0.22 * ((uv * cells).astype(int).sum(-1) % 2)
    image = np.where(seen[..., None], colours[face] * brightness[..., None], 255)
    return cv2.resize(image.astype(np.uint8), (view.width, view.height), interpolation=cv2.INTER_AREA)


def part_colours(template: Template) -> Float[np.ndarray, "f 3"]:
    """The colour of each face's part."""
    palette = np.array([PART_COLOURS.get(name, SKIN_COLOUR) for name in template.part_names], dtype=float)
    return palette[template.face_parts]


def region_colours(template: Template) -> Float[np.ndarray, "f 3"]:
    """The colours of each face's regions, mixed."""
    weights = np.stack([template.regions[name] for name in REGIONS], axis=-1)  # [v, regions]
    return (weights @ REGION_COLOURS)[template.faces].mean(axis=1)


def layout_picture(template: Template, size: int = 1000) -> UInt8[np.ndarray, "h w 3"]:
    """The UV layout: regions tinted, triangles drawn, a checker of 32 cells, landmarks as dots."""
    texels = sample_texels(template, size)
    rows, columns = np.indices((size, size))
    checker = 0.9 + 0.1 * ((rows * 32 // size + columns * 32 // size) % 2)
    image = np.where(texels.mask[..., None], region_colours(template)[texels.face] * checker[..., None], 40)
    image = np.ascontiguousarray(image.astype(np.uint8))
    points = (template.uvs * size * 16).astype(np.int32)
    for corners in template.uv_faces:
        cv2.polylines(image, [points[corners]], True, (130, 110, 90), 1, cv2.LINE_AA, shift=4)
    uv_of_vertex = np.zeros(len(template.vertices), dtype=int)
    uv_of_vertex[template.faces.ravel()] = template.uv_faces.ravel()
    for index in template.landmarks.values():
        cv2.circle(image, tuple((template.uvs[uv_of_vertex[index]] * size).astype(int).tolist()), 4, (30, 30, 200), -1)
    cv2.rectangle(image, (6, 2), (92, 162), (255, 255, 255), -1)
    for row, name in enumerate(REGIONS):
        cv2.rectangle(image, (12, 8 + 22 * row), (28, 24 + 22 * row), REGION_COLOURS[row].tolist(), -1)
        cv2.putText(image, name, (34, 22 + 22 * row), FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return image


def views_picture(template: Template) -> UInt8[np.ndarray, "h w 3"]:
    """Front, side and back with the checker."""
    colours = region_colours(template)
    views = [camera(azimuth, -0.125, 0.58, 500, 500) for azimuth in (0, 90, 180)]
    close = [camera(azimuth, 0.015, 0.3, 500, 500) for azimuth in (0, 40, 90)]
    rows = [
        np.hstack([shaded(template, template.vertices, view, colours, cells=64) for view in row])
        for row in (views, close)
    ]
    return np.vstack(rows)


def blendshapes_picture(template: Template, columns: int = 9) -> UInt8[np.ndarray, "h w 3"]:
    """All 52, each at 1, captioned."""
    view, colours = camera(15, 0.005, 0.26, 170, 200), part_colours(template)
    tiles = []
    for name in ARKIT_NAMES:
        tile = shaded(template, template.posed({name: 1.0}), view, colours, cells=0)
        cv2.putText(tile, name, (4, 194), FONT, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])


def people_picture(template: Template, count: int = 10) -> UInt8[np.ndarray, "h w 3"]:
    """Random identities in the same topology."""
    people, rng = AnnySource.shared(), np.random.default_rng(4)
    view, colours = camera(25, -0.06, 0.46, 240, 280), part_colours(template)
    tiles = []
    for _ in range(count):
        phenotype = {name: rng.uniform(0, 1) for name in people.phenotype_names} | {"age": rng.uniform(0.6, 1)}
        changes = {name: float(np.clip(rng.normal(0, 0.25), -1, 1)) for name in people.local_change_names}
        tiles.append(shaded(template, people.vertices_for(phenotype, changes), view, colours, cells=0))
    return np.vstack([np.hstack(tiles[: count // 2]), np.hstack(tiles[count // 2 :])])


def main() -> None:
    template = load_template()
    pictures = {
        "template_layout": layout_picture(template),
        "template_views": views_picture(template),
        "template_blendshapes": blendshapes_picture(template),
        "template_people": people_picture(template),
    }
    for name, picture in pictures.items():
        cv2.imwrite(str(IMAGES / f"{name}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
