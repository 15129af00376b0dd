from dataclasses import replace

import numpy as np
import pytest
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.capture.lens import Lens
from headsup_cli.capture.rig_dump import RigCamera
from headsup_cli.gaussians.gaussians import Gaussians
from headsup_cli.inference.pictures import (
    DEPTH_UNIT_M,
    Look,
    Scene,
    write_film,
    write_sequence,
    write_sheet,
    write_stills,
)
from headsup_cli.media.images import decode_file, read_image
from headsup_cli.media.video import read_video


def ball(radius_m=0.1, count=4000):
    """Opaque, red in front (+z), green at the back."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    z = torch.tensor([0.0, 0, 1]).expand_as(normal)
    front = (normal[:, 2] > 0).float()
    colour = torch.stack([front, 1 - front, torch.zeros(count)], 1)
    return Gaussians(
        means=normal * radius_m + torch.tensor([0.0, -0.03, 0.0]),
        quats=torch.cat([1 + (z * normal).sum(1, keepdim=True), torch.cross(z, normal, dim=-1)], 1),
        scales=torch.tensor([0.004, 0.004, 0.0005]).expand(count, 3).clone(),
        opacities=torch.full((count,), 0.98),
        sh=((colour - 0.5) / 0.28209479177387814)[:, None],
    )


def front(width=96, height=96):
    return orbit(1, width, height)


def test_colour_and_background():
    (picture,) = Scene(ball(), Look(background=(0.0, 0.0, 1.0))).pictures(front())
    assert picture[48, 48].tolist() == pytest.approx([255, 0, 0], abs=12)
    assert picture[2, 2].tolist() == [0, 0, 255]


def test_transparency_is_straight():
    gaussians = replace(ball(), opacities=torch.full((4000,), 0.1))
    (picture,) = Scene(gaussians, Look(background=None)).pictures(front())
    assert picture.shape == (96, 96, 4)
    half = (picture[..., 3] > 40) & (picture[..., 3] < 200)
    assert half.sum() > 50
    assert (picture[half][:, :2].astype(int).sum(1) > 225).all(), "no darker where it is thinner"
    assert picture[2, 2, 3] == 0


def test_depth_is_metric_in_stills_and_a_shade_in_films(tmp_path):
    cameras, scene = front(), Scene(ball(), Look("depth"))
    write_sequence(scene, cameras, tmp_path / "depth")
    stored = decode_file(tmp_path / "depth" / "00000.png")
    assert stored.dtype == np.uint16
    assert stored[48, 48] * DEPTH_UNIT_M == pytest.approx(0.9, abs=0.003), "the camera stands 1 m from the centre"
    assert stored[2, 2] == 0
    (shade,) = scene.pictures(cameras)
    rim = np.flatnonzero(stored[48])[2]
    assert shade[48, 48, 0] > shade[48, rim, 0] > 30, "the nearer the brighter"


def test_normals_are_seen_from_the_camera():
    for view in orbit(4, 96, 96)[[0, 1]], orbit(4, 96, 96)[[2, 3]]:
        for picture in Scene(ball(), Look("normals")).pictures(view):
            centre, right, top = picture[48, 48].astype(int), picture[48, 62].astype(int), picture[34, 48].astype(int)
            assert centre[2] > 240, "towards the viewer is blue"
            assert abs(centre[:2] - 128).max() < 25
            assert right[0] > 190, "to the right is red"
            assert top[1] > 190, "upwards is green"


def test_alpha_is_white_on_black_whatever_the_background():
    (picture,) = Scene(ball(), Look("alpha", background=None)).pictures(front())
    assert picture.shape == (96, 96, 3)
    assert picture[48, 48].min() > 250
    assert picture[2, 2].max() == 0


def test_supersampling_averages_what_is_drawn_finer():
    (fine,) = Scene(ball()).pictures(front(192, 192))
    (picture,) = Scene(ball(), Look(supersampling=2)).pictures(front())
    averaged = fine.reshape(96, 2, 96, 2, 3).mean((1, 3))
    assert np.abs(averaged - picture).max() <= 1


def test_a_sheet_holds_the_views_in_rows(tmp_path):
    cameras, scene = orbit(5, 32, 24), Scene(ball())
    write_sheet(scene, cameras, tmp_path / "sheet.png")
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape == (2 * 24, 3 * 32, 3)
    for index, picture in enumerate(scene.pictures(cameras)):
        row, column = divmod(index, 3)
        np.testing.assert_array_equal(sheet[24 * row : 24 * row + 24, 32 * column : 32 * column + 32], picture)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_films_show_the_path(tmp_path, suffix):
    cameras, scene = orbit(4, 64, 64), Scene(ball())
    write_film(scene, cameras, tmp_path / f"turn{suffix}", fps=10.0)
    frames = list(read_video(tmp_path / f"turn{suffix}"))
    assert len(frames) == 4
    for frame, picture in zip(frames, scene.pictures(cameras), strict=True):
        assert np.abs(frame.astype(int) - picture).mean() < 12
    assert frames[0][32, 32, 0] > frames[0][32, 32, 1]
    assert frames[2][32, 32, 1] > frames[2][32, 32, 0]


def rig_camera(lens=None, skew=0.0):
    camera = front(128, 96)
    K = camera.K[0].double().numpy()
    K[0, 1] = skew
    return RigCamera("cam", K, lens or Lens(), camera.cam_from_world[0].double().numpy(), 128, 96)


def spots():
    """Three small bright spots at known places."""
    means = torch.tensor([[0.0, -0.03, 0.0], [0.2, 0.08, 0.1], [-0.15, -0.15, -0.1]])
    return Gaussians(
        means, torch.tensor([[1.0, 0, 0, 0]]).expand(3, 4), torch.full((3, 3), 0.004), torch.full((3,), 0.99),
        torch.full((3, 1, 3), 1.7),
    )  # fmt: skip


@pytest.mark.parametrize("supersampling", [1, 2])
@pytest.mark.parametrize(
    "camera", [rig_camera(), rig_camera(Lens("opencv", (-0.4, 0.1, 0.01, -0.02))), rig_camera(Lens("fisheye", (0.1,))),
               rig_camera(skew=9.0)],
    ids=["ideal", "barrel", "fisheye", "skew"],
)  # fmt: skip
def test_stills_show_what_the_lens_shows(tmp_path, camera, supersampling):
    look = Look("alpha", supersampling=supersampling)
    world = np.diag([100.0, 100.0, 100.0, 1.0])  # the rig counts in centimetres
    world[:3, 3] = [7.0, -3.0, 11.0]
    moved = replace(camera, cam_from_rig=camera.cam_from_rig @ np.linalg.inv(world / [[100], [100], [100], [1]]))
    write_stills(Scene(spots(), look), world, {"cam": moved}, tmp_path)
    picture = read_image(tmp_path / "cam.png")[..., 0].astype(float)
    points = spots().means.double().numpy() @ camera.cam_from_rig[:3, :3].T + camera.cam_from_rig[:3, 3]
    y, x = np.mgrid[:96, :128] + 0.5
    for expected in camera.project(points[:, :2] / points[:, 2:]):
        near = picture * (np.hypot(x - expected[0], y - expected[1]) < 8)
        assert near.sum() > 300
        found = (near * x).sum() / near.sum(), (near * y).sum() / near.sum()
        np.testing.assert_allclose(found, expected, atol=0.12)
