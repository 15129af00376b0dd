import torch

from headsup_cli.gaussians.gaussians import Gaussians, concatenate
from headsup_cli.inference.camera_paths import around
from headsup_cli.inference.visibility import outward_normals, seen_by, visible_weights
from headsup_cli.rendering.render import render


def sphere(count=1500, radius_m=0.1):
    """A closed shell of flat discs, every second of which is upside down; with their outward normals."""
    height = 1 - (2 * torch.arange(count) + 1) / count
    turn = torch.arange(count) * 2.399963  # the golden angle
    across = (1 - height**2).sqrt()
    normal = torch.stack([across * turn.cos(), height, across * turn.sin()], 1)
    z = torch.tensor([0.0, 0, 1]).expand_as(normal)
    quats = torch.cat([1 + (z * normal).sum(1, keepdim=True), torch.cross(z, normal, dim=-1)], 1)  # takes z to normal
    upside_down = torch.arange(count) % 2 == 0
    turned = torch.stack([-quats[:, 1], quats[:, 0], quats[:, 3], -quats[:, 2]], 1)  # then by 180 degrees about x
    return Gaussians(
        means=normal * radius_m,
        quats=torch.where(upside_down[:, None], turned, quats),
        scales=torch.tensor([0.015, 0.015, 0.0005]).expand(count, 3).clone(),
        opacities=torch.full((count,), 0.95),
        sh=torch.zeros(count, 1, 3),
    ), normal


def test_weights_are_what_each_gaussian_adds_to_the_pictures_coverage():
    gaussians, _ = sphere(300)
    cameras = around((0.0, 30.0), 2, 64)
    weights = visible_weights(gaussians, cameras)
    torch.testing.assert_close(weights.sum(1), render(gaussians, cameras).alpha.sum((1, 2, 3)), rtol=1e-3, atol=0)


def test_what_is_inside_is_not_seen_and_leaving_it_out_changes_nothing():
    shell, _ = sphere()
    inside, _ = sphere(200, radius_m=0.05)
    both, cameras = concatenate([shell, inside]), around((-40.0, 0.0, 40.0), 6, 128)
    seen = seen_by(both, cameras)
    assert seen[:1500].float().mean() > 0.99
    assert seen[1500:].float().mean() < 0.05
    left = both[seen]
    assert (render(left, cameras).rgb - render(both, cameras).rgb).abs().max() < 1 / 255


def test_only_what_the_cameras_face_is_kept():
    shell, normal = sphere()
    front = around((0.0,), 8, 128)[:1]
    seen = seen_by(shell, front)
    assert seen[normal[:, 2] > 0.3].all()
    assert not seen[normal[:, 2] < -0.9].any()


def test_normals_point_outwards_whatever_the_signs_of_the_axes():
    shell, normal = sphere()
    torch.testing.assert_close(outward_normals(shell), normal, atol=1e-3, rtol=0)
