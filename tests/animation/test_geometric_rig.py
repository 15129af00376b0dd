import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.spatial.transform import Rotation

from headsup_cli.animation.blendshape_file import write_blendshapes
from headsup_cli.animation.clips import clip
from headsup_cli.animation.curves import Curves
from headsup_cli.animation.geometric_rig import GeometricRig, Pose
from headsup_cli.animation.outputs import VideoOptions, write_animation_video, write_plys
from headsup_cli.errors import InputError
from headsup_cli.gaussians.head import Head, write_head
from headsup_cli.gaussians.ply import read_ply
from headsup_cli.gaussians.rotations import matrix_from_quat
from headsup_cli.gaussians.uv_maps import bind, template_maps, texel_anchors
from headsup_cli.media.video import read_video
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.template.default import load_template
from headsup_cli.template.texels import sample_texels


@pytest.fixture(scope="module")
def template():
    return load_template()


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
    return GeometricRig.of(head, template)


def skin(template, resolution):
    texels = sample_texels(template, resolution)
    return template.face_parts[texels.face[texels.mask]] == template.part_names.index("skin")


def test_at_rest_nothing_moves(rig):
    posed = rig.pose(Pose.of({}))
    for name in ("means", "quats", "scales", "sh", "opacities"):
        torch.testing.assert_close(getattr(posed, name), getattr(rig.neutral, name), atol=1e-6, rtol=0)


@pytest.mark.parametrize("coefficients", [{"jawOpen": 0.7}, {"mouthSmileLeft": 1.0, "browInnerUp": 0.5}])
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
        eye = rig.bindings.rigid == index
        assert eye.sum() > 20
        rest, centre = rig.neutral.means[eye], torch.from_numpy(rig.centres[index])
        posed = rig.pose(Pose.of({"eyeLookUpLeft": 1.0, "eyeLookUpRight": 1.0})).means[eye]
        torch.testing.assert_close((posed - centre).norm(dim=1), (rest - centre).norm(dim=1), atol=1e-6, rtol=0), part
        looking = (posed - rest)[rest[:, 2] > rest[:, 2].median()]
        assert looking[:, 1].mean() > 1e-3  # the front of the eye goes up


def test_gaze_angles_take_over_from_the_coefficients(rig):
    weights = Pose.of({}).weights
    left = rig.pose(Pose(weights, gaze_rad=np.array([[0.3, 0.0], [0.0, 0.0]], np.float32))).means - rig.neutral.means
    eyes = rig.bindings.rigid == 0, rig.bindings.rigid == 1
    front = rig.neutral.means[:, 2] > rig.centres[0, 2]
    assert left[eyes[0] & front.numpy()][:, 0].mean() > 1e-3  # yaw to the subject's left
    assert left[eyes[1]].abs().max() < 1e-6


def test_a_turn_of_the_head_leaves_the_torso_and_turns_the_face(rig):
    yaw = 0.4
    posed = rig.pose(Pose(Pose.of({}).weights, head_rad=np.array([yaw, 0, 0], np.float32)))
    share = rig.bindings.head_share
    still, whole = share < 1e-3, share > 0.999
    assert still.sum() > 100
    torch.testing.assert_close(posed.means[still], rig.neutral.means[still], atol=1e-4, rtol=0)
    turn = torch.from_numpy(Rotation.from_euler("Y", yaw).as_matrix()).float()
    pivot = torch.from_numpy(rig.bindings.pivot)
    torch.testing.assert_close(
        posed.means[whole], (rig.neutral.means[whole] - pivot) @ turn.T + pivot, atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        matrix_from_quat(posed.quats[whole]), turn @ matrix_from_quat(rig.neutral.quats[whole]), atol=1e-3, rtol=0
    )


def test_lips_part_over_a_dark_mouth(rig, template):
    texels = sample_texels(template, 96)
    part = template.face_parts[texels.face[texels.mask]]
    deep = (part == template.part_names.index("mouth_inner")) & (rig.anchors[:, 2] < 0.05)
    bright = rig.pose(Pose.of({})).sh[deep, 0].mean()
    assert rig.pose(Pose.of({"jawOpen": 0.8})).sh[deep, 0].mean() < bright - 0.5


def test_size_of_the_face_scales_the_movement(head, template):
    from dataclasses import replace

    bigger = replace(head.maps, offset=head.maps.offset.clone())
    anchors = texel_anchors(template, 96)
    outward = torch.einsum("nji,nj->ni", anchors.frames, 0.2 * anchors.positions)  # 20 % larger about the origin
    bigger.offset[anchors.mask] = outward
    rig = GeometricRig.of(replace(head, maps=bigger), template)
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


def test_command(head, template, tmp_path, headsup):
    folder = tmp_path / "anna"
    folder.mkdir()
    write_head(head, folder, template)
    done = headsup("animate", folder, "--clip", "blink", "--size", "64x64", "--fps", 4, "-o", tmp_path / "o")
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "o" / "blink.mp4"))
    for arguments, found in (
        (["--clip", "wink"], "'wink'"),
        (["--gain", "jawOpen"], "jawOpen"),
        (["--driver", tmp_path / "none.csv"], "none.csv"),
    ):
        done = headsup("animate", folder, "-o", tmp_path / "o", *arguments)
        assert done.returncode == 2
        assert found in done.stderr


def test_curves_drive_the_head(rig):
    from headsup_cli.animation.outputs import posed

    weights = np.zeros((2, 52), np.float32)
    weights[1, ARKIT_NAMES.index("jawOpen")] = 1
    still, opened = posed(rig, Curves(np.array([0, 0.1]), weights))
    assert (opened.means - still.means).norm(dim=1).max() > 0.02
