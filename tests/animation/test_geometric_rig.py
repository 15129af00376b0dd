import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.spatial.transform import Rotation

from headsup_cli.animation.blendshape_file import write_blendshapes
from headsup_cli.animation.brow_lift import LIFT_M, lifted_blendshapes
from headsup_cli.animation.clips import clip
from headsup_cli.animation.curves import Curves
from headsup_cli.animation.geometric_rig import geometric_rig
from headsup_cli.animation.outputs import VideoOptions, posed, write_animation_video, write_plys
from headsup_cli.animation.rig import Pose
from headsup_cli.errors import InputError
from headsup_cli.gaussians.head import Head
from headsup_cli.gaussians.ply import read_ply
from headsup_cli.gaussians.rotations import matrix_from_quat
from headsup_cli.gaussians.uv_maps import bind, template_maps, texel_anchors
from headsup_cli.media.video import read_video
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.texels import sample_texels


@pytest.fixture(scope="module")
def head(template):
    torch.manual_seed(0)
    maps = template_maps(96)
    maps.offset.normal_(std=5e-4)
    maps.rotation.add_(torch.randn_like(maps.rotation) * 0.2)
    maps.sh.normal_(std=0.2)
    return Head("anna", maps, template.name, template.sha256, np.eye(4))


@pytest.fixture(scope="module")
def rig(head, template):
    return geometric_rig(head, template)


def skin(template, resolution):
    texels = sample_texels(template, resolution)
    return template.face_parts[texels.face[texels.mask]] == template.part_names.index("skin")


def test_at_rest_nothing_moves(rig):
    posed = rig.pose(Pose.of({}))
    for name in ("means", "quats", "scales", "sh", "opacities"):
        torch.testing.assert_close(getattr(posed, name), getattr(rig.neutral, name), atol=1e-6, rtol=0)


@pytest.mark.parametrize("coefficients", [{"jawOpen": 0.7}, {"mouthSmileLeft": 1.0, "browDownLeft": 0.5}])
def test_skin_follows_the_posed_template(rig, head, template, coefficients):
    """Binding the maps to the posed template is the slow way to nearly the same: frames are smoothed differently."""
    posed = rig.pose(Pose.of(coefficients))
    direct = bind(head.maps, texel_anchors(template, 96, torch.from_numpy(template.posed(coefficients))))
    where = skin(template, 96)
    moved = (posed.means - rig.neutral.means)[where]
    expected = (direct.means - rig.neutral.means)[where]
    assert expected.norm(dim=1).max() > 5e-3
    assert (moved - expected).norm(dim=1).mean() < 0.06 * expected.norm(dim=1).mean() + 1e-4


def test_left_and_right_are_the_subjects(rig, template):
    for side, sign in (("Left", 1), ("Right", -1)):
        moved = (rig.pose(Pose.of({f"eyeBlink{side}": 1.0})).means - rig.neutral.means).norm(dim=1)
        x = rig.neutral.means[(moved > 2e-3) & torch.from_numpy(skin(template, 96)), 0]
        assert len(x) > 10
        assert (x * sign > 0).all()  # +X is the subject's left


def test_eyes_turn_rigidly_about_their_centres(rig):
    for index, part in enumerate(("eye_left", "eye_right")):
        eye = rig.movement.rigid == index
        assert eye.sum() > 20
        rest, centre = rig.neutral.means[eye], torch.from_numpy(rig.centres[index])
        posed = rig.pose(Pose.of({"eyeLookUpLeft": 1.0, "eyeLookUpRight": 1.0})).means[eye]
        torch.testing.assert_close((posed - centre).norm(dim=1), (rest - centre).norm(dim=1), atol=1e-6, rtol=0), part
        looking = (posed - rest)[rest[:, 2] > rest[:, 2].median()]
        assert looking[:, 1].mean() > 1e-3  # the front of the eye goes up


def test_gaze_angles_take_over_from_the_coefficients(rig):
    weights = Pose.of({}).weights
    left = rig.pose(Pose(weights, gaze_rad=np.array([[0.3, 0.0], [0.0, 0.0]], np.float32))).means - rig.neutral.means
    eyes = rig.movement.rigid == 0, rig.movement.rigid == 1
    front = rig.neutral.means[:, 2] > rig.centres[0, 2]
    assert left[eyes[0] & front.numpy()][:, 0].mean() > 1e-3  # yaw to the subject's left
    assert left[eyes[1]].abs().max() < 1e-6


def test_a_turn_of_the_head_leaves_the_torso_and_turns_the_face(rig):
    yaw = 0.4
    posed = rig.pose(Pose(Pose.of({}).weights, head_rad=np.array([yaw, 0, 0], np.float32)))
    share = rig.movement.head_share
    still, whole = share < 1e-3, share > 0.999
    assert still.sum() > 100
    torch.testing.assert_close(posed.means[still], rig.neutral.means[still], atol=1e-4, rtol=0)
    turn = torch.from_numpy(Rotation.from_euler("Y", yaw).as_matrix()).float()
    pivot = torch.from_numpy(rig.movement.pivot)
    torch.testing.assert_close(
        posed.means[whole], (rig.neutral.means[whole] - pivot) @ turn.T + pivot, atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        matrix_from_quat(posed.quats[whole]), turn @ matrix_from_quat(rig.neutral.quats[whole]), atol=1e-3, rtol=0
    )


def test_lips_part_over_a_dark_mouth(rig, template):
    texels = sample_texels(template, 96)
    part = template.face_parts[texels.face[texels.mask]]
    deep = (part == template.part_names.index("mouth_inner")) & (rig.movement.anchors[:, 2] < 0.08)
    lips = template.vertices[template.landmarks["upper_lip_inner"], :2]
    aside = np.linalg.norm(rig.neutral.means.numpy()[:, :2] - lips, axis=1)
    still, opened = (rig.pose(Pose.of(pose)).sh[:, 0].mean(1) for pose in ({}, {"jawOpen": 0.8}))
    seen, behind_the_cheeks = deep & (aside < 0.02), deep & (aside > 0.04)
    assert opened[seen].mean() < still[seen].mean() - 0.5
    torch.testing.assert_close(opened[behind_the_cheeks], still[behind_the_cheeks], atol=0, rtol=0)


def test_size_of_the_face_scales_the_movement(head, template):
    from dataclasses import replace

    bigger = replace(head.maps, offset=head.maps.offset.clone())
    anchors = texel_anchors(template, 96)
    outward = torch.einsum("nji,nj->ni", anchors.frames, 0.2 * anchors.positions)  # 20 % larger about the origin
    bigger.offset[anchors.mask] = outward
    rig = geometric_rig(replace(head, maps=bigger), template)
    assert rig.size == pytest.approx(1.2, abs=0.01)


def test_unknown_and_impossible_coefficients_are_refused(rig):
    with pytest.raises(InputError, match="jawOpne"):
        Pose.of({"jawOpne": 0.5})
    with pytest.raises(InputError, match=r"1\.5"):
        Pose.of({"jawOpen": 1.5})


def test_blendshape_file_reproduces_single_shapes(rig, tmp_path):
    write_blendshapes(rig, tmp_path / "b.safetensors")
    file = load_file(tmp_path / "b.safetensors")
    index = ARKIT_NAMES.index("mouthSmileLeft")
    rows = slice(*file["delta_first"][index : index + 2])
    means = file["means"].copy()
    means[file["delta_index"][rows]] += 0.6 * file["delta_means"][rows]
    posed = rig.pose(Pose.of({"mouthSmileLeft": 0.6})).means.numpy()
    assert np.abs(means - posed).max() < 1e-3
    assert np.abs(posed - file["means"]).max() > 3e-3
    full = rig.pose(Pose.of({"mouthSmileLeft": 1.0}))
    turned = Rotation.from_quat(file["quats"], scalar_first=True).as_matrix()
    where = file["delta_index"][rows]
    turned[where] = Rotation.from_rotvec(file["delta_rotation"][rows]).as_matrix() @ turned[where]
    np.testing.assert_allclose(turned, matrix_from_quat(full.quats).numpy(), atol=3e-3)


def test_plys_in_a_folder_and_in_a_zip_hold_the_poses(rig, tmp_path):
    import zipfile

    curves = clip("smile").resampled(2.0)
    write_plys(rig, curves, tmp_path / "smile")
    write_plys(rig, curves, tmp_path / "smile.zip")
    files = sorted((tmp_path / "smile").iterdir())
    assert len(files) == len(curves)
    with zipfile.ZipFile(tmp_path / "smile.zip") as archive:
        assert archive.namelist() == [file.name for file in files]
        assert archive.read(files[1].name) == files[1].read_bytes()
    torch.testing.assert_close(read_ply(files[2]).means, rig.pose(Pose(curves.weights[2])).means, atol=1e-6, rtol=0)


def test_video_has_a_frame_for_each_and_the_plot_beneath(rig, tmp_path):
    curves = clip("blink").resampled(4.0)
    options = VideoOptions(width=64, height=64, fps=4.0, plot=True)
    write_animation_video(rig, curves, tmp_path / "v.mp4", options)
    frames = list(read_video(tmp_path / "v.mp4"))
    assert len(frames) == len(curves)
    assert frames[0].shape == (78, 64, 3)


def test_curves_drive_the_head(rig):
    weights = np.zeros((2, 52), np.float32)
    weights[1, ARKIT_NAMES.index("jawOpen")] = 1
    still, opened = posed(rig, Curves(np.array([0, 0.1]), weights))
    assert (opened.means - still.means).norm(dim=1).max() > 0.02


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
    assert together[front & (y > brow_y + 0.075), 1].max() < 1e-4  # the hairline stays
    others = np.setdiff1d(np.arange(52), raising)
    np.testing.assert_array_equal(lifted[others], template.blendshapes[others])


def test_templates_without_brows_keep_their_shapes(toy_template):
    assert lifted_blendshapes(toy_template) is toy_template.blendshapes


def test_after_a_clip_the_head_is_as_before(rig):
    *_, last = posed(rig, clip("talk").resampled(10.0))
    again = rig.pose(Pose.of({}))
    assert (last.means - rig.neutral.means).abs().max() < 2e-3  # the clip's last frame is nearly neutral
    for name in ("means", "quats", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(again, name), getattr(rig.neutral, name), atol=1e-6, rtol=0)


def test_mirroring_a_clip_moves_the_other_side(rig):
    weights = np.zeros((1, 52), np.float32)
    weights[0, ARKIT_NAMES.index("mouthSmileLeft")] = 1
    curves = Curves(np.array([0.0]), weights)
    for clip_, sign in ((curves, 1), (curves.mirrored(), -1)):
        (moved,) = posed(rig, clip_)
        far = (moved.means - rig.neutral.means).norm(dim=1) > 5e-3
        assert (rig.neutral.means[far, 0] * sign).mean() > 0.01


def test_gain_exaggerates_and_stops_at_twice(rig):
    weights = np.zeros((1, 52), np.float32)
    weights[0, ARKIT_NAMES.index("mouthSmileLeft")] = 1

    def reach(gain):
        (moved,) = posed(rig, Curves(np.array([0.0]), weights).with_gains({"mouthSmileLeft": gain}))
        return float((moved.means - rig.neutral.means).norm(dim=1).max())

    assert reach(1.5) == pytest.approx(1.5 * reach(1.0), rel=0.1)
    assert reach(5.0) == reach(2.0)
