import torch

from headsup_cli.gaussians.rotations import matrix_from_quat
from headsup_cli.gaussians.uv_maps import THICKNESS, bind, template_maps, texel_anchors


def test_the_bare_template_lies_on_its_surface_flat_and_closed(toy_template):
    anchors = texel_anchors(toy_template, 32)
    gaussians = bind(template_maps(32), anchors)
    assert len(gaussians) == int(anchors.mask.sum()) > 0.8 * 32 * 32
    torch.testing.assert_close(gaussians.means, anchors.positions)
    radii = (gaussians.means / torch.tensor([0.08, 0.12, 0.1])).norm(dim=-1)
    assert radii.min() > 0.95, "on the egg, up to the flatness of its facets"
    assert radii.max() < 1.001
    normals = matrix_from_quat(gaussians.quats)[..., 2]
    assert ((normals * gaussians.means).sum(-1) > 0).all(), "the third axis points outwards"
    thin = gaussians.scales[:, 2] / gaussians.scales[:, :2].prod(-1).sqrt()
    torch.testing.assert_close(thin, torch.full_like(thin, THICKNESS))


def test_offsets_move_along_the_tangent_frame(toy_template):
    anchors = texel_anchors(toy_template, 16)
    maps = template_maps(16)
    maps.offset[..., 2] = 0.01
    moved = bind(maps, anchors).means - anchors.positions
    torch.testing.assert_close(moved, 0.01 * anchors.frames[..., 2], atol=1e-6, rtol=0)


def test_a_moved_template_carries_the_gaussians_along(toy_template):
    angle = torch.tensor(0.4)
    rotation = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    maps = template_maps(16)
    maps.offset.normal_(std=0.01)
    still = bind(maps, texel_anchors(toy_template, 16))
    vertices = torch.from_numpy(toy_template.vertices) @ rotation.T
    turned = bind(maps, texel_anchors(toy_template, 16, vertices))
    torch.testing.assert_close(turned.means, still.means @ rotation.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        matrix_from_quat(turned.quats), rotation @ matrix_from_quat(still.quats), atol=1e-4, rtol=0
    )


def test_resampling_keeps_constants_and_shape(toy_template):
    anchors = texel_anchors(toy_template, 16)
    maps = template_maps(16)
    maps.sh[..., 0, :] = 0.7
    outside = ~anchors.mask
    maps.sh[outside] = 99.0  # what lies outside the islands must not leak in
    maps.offset[outside] = 99.0
    finer = maps.resampled(anchors, 40)
    gaussians = bind(finer, texel_anchors(toy_template, 40))
    seen = gaussians.sh[:, 0]
    assert ((seen - 0.7).abs().amax(-1) < 1e-4).float().mean() > 0.99
    assert seen.max() < 0.71
    assert (gaussians.means - texel_anchors(toy_template, 40).positions).abs().max() < 1e-6
    assert torch.isfinite(gaussians.quats).all()


def test_gather_and_scatter_are_inverse_inside(toy_template):
    anchors = texel_anchors(toy_template, 16)
    values = torch.randn(len(anchors), 5)
    image = anchors.scatter(values)
    assert torch.equal(anchors.gather(image), values)
    assert not image[~anchors.mask].any()
