import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from headsup_cli.animation.blendshape_file import write_blendshapes
from headsup_cli.animation.clips import clip
from headsup_cli.animation.curves import Curves
from headsup_cli.animation.geometric_rig import geometric_rig
from headsup_cli.animation.outputs import VideoOptions, posed, write_animation_video, write_plys
from headsup_cli.animation.registration import FaceMarks, MouthMarks
from headsup_cli.animation.rig import OPEN_LIPS, Pose
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


def part_texels(template, resolution, *names):
    texels = sample_texels(template, resolution)
    return np.isin(np.array(template.part_names)[template.face_parts[texels.face[texels.mask]]], names)


def test_lips_part_over_a_mouth_of_the_templates_own(template):
    """Whatever pictures of a closed mouth made of it, here bright green splats on the lips."""
    inside = part_texels(template, 96, "mouth_inner", "tongue", "teeth_upper", "teeth_lower")
    maps, anchors = template_maps(96), texel_anchors(template, 96)
    lips = torch.from_numpy(template.vertices[template.landmarks["upper_lip_inner"]])
    shift = torch.einsum("nji,nj->ni", anchors.frames, lips - anchors.positions) * torch.from_numpy(inside)[:, None]
    maps.offset[anchors.mask] = 0.9 * shift
    maps.sh[anchors.mask] = torch.where(
        torch.from_numpy(inside)[:, None, None], torch.tensor([-1.0, 2.0, -1.0]), maps.sh[anchors.mask]
    )
    rig = geometric_rig(Head("anna", maps, template.name, template.sha256, np.eye(4)), template)
    still, opened = (rig.pose(Pose.of(pose)) for pose in ({}, {"jawOpen": 0.8}))
    torch.testing.assert_close(still.sh, rig.neutral.sh, atol=1e-6, rtol=0)
    anchors = rig.movement.anchors
    seen = np.isin(np.arange(len(anchors)), rig.unseen.texels[rig.unseen.shapes == OPEN_LIPS])
    assert seen.sum() > 50
    assert ((opened.means[seen, 2] - still.means[skin(template, 96), 2].max()) < -0.004).all()
    colour = 0.5 + 0.28209479 * opened.sh[seen, 0]
    assert (colour[:, 1] <= colour[:, 0] + 1e-6).all(), "nothing green comes to light"
    assert colour.min() < 0.45, "the cavity is darker than the grey lips"
    teeth = part_texels(template, 96, "teeth_lower")[seen]
    assert (opened.means - still.means)[seen][teeth][:, 1].mean() < -5e-3, "the lower teeth go down with the jaw"


def test_the_mouths_inside_ends_before_the_cheeks(rig, template):
    """The template's cavity is of few and large splats, which would shine through the skin beside the mouth."""
    inside = rig.unseen.shapes == OPEN_LIPS
    others, lips = rig.unseen.others[torch.from_numpy(np.flatnonzero(inside))], template.landmarks["upper_lip_inner"]
    beside = (others.means[:, 0] - float(template.vertices[lips, 0])).abs()
    assert beside.max() > 0.02
    assert (beside + 2 * others.scales.max(1).values).max() < 0.035


def test_a_tongue_is_red_and_bright_once_it_is_out(rig, template):
    """Whatever the colour of the lips, here a grey noise."""
    tongue = rig.unseen.texels[part_texels(template, 96, "tongue")[rig.unseen.texels]]
    assert len(tongue) > 20
    inside, out = (
        0.5 + 0.28209479 * rig.pose(Pose.of({"jawOpen": 0.7, "tongueOut": weight})).sh[tongue, 0]
        for weight in (0.0, 1.0)
    )
    for colour in (inside, out):
        assert (colour[:, 0] > 1.4 * colour[:, 1]).all()
    assert out.mean() > 1.4 * inside.mean()


def test_teeth_that_were_taken_for_a_lip_stay_with_it(template):
    """Refinement of closed lips puts whatever there is on them."""
    maps, anchors = template_maps(256), texel_anchors(template, 256)
    lip = torch.from_numpy(template.vertices[template.landmarks["lower_lip"]])
    front = torch.from_numpy(part_texels(template, 256, "teeth_upper")) & ((anchors.positions - lip).norm(dim=1) < 0.03)
    assert front.sum() > 50
    away = torch.einsum("nji,nj->ni", anchors.frames, lip - anchors.positions)
    maps.offset[anchors.mask] = away * front[:, None]
    rig = geometric_rig(Head("anna", maps, template.name, template.sha256, np.eye(4)), template, marks_of(template))
    moved = (rig.pose(Pose.of({"jawOpen": 0.8})).means - rig.neutral.means)[front]
    assert (moved[:, 1] < -0.01).all(), "down with the jaw, as upper teeth are not"


def test_lids_close_over_the_eyes_in_the_colour_of_the_skin_about_them(template):
    """Even where refinement painted them, and the eyes, as irises."""
    maps, anchors = template_maps(96), texel_anchors(template, 96)
    about = np.zeros(len(anchors), bool)
    for side in ("left", "right"):
        pupil = template.vertices[template.landmarks[f"pupil_{side}"]]
        about |= np.linalg.norm(anchors.positions.numpy() - pupil, axis=1) < 0.007
    maps.sh[anchors.mask] = torch.where(torch.from_numpy(about)[:, None, None], 2.0, maps.sh[anchors.mask])
    rig = geometric_rig(Head("anna", maps, template.name, template.sha256, np.eye(4)), template)
    half, closed, wink = (
        rig.pose(Pose.of(pose)).sh[:, 0].numpy()
        for pose in ({"eyeBlinkLeft": 0.0}, {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}, {"eyeBlinkRight": 1.0})
    )
    blink = rig.pose(Pose.of({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0})).means - rig.neutral.means
    lids = about & skin(template, 96) & (blink.norm(dim=1).numpy() > 4e-3)
    assert lids.sum() > 10
    np.testing.assert_allclose(half, rig.neutral.sh[:, 0], atol=1e-6)
    assert np.abs(closed[about & part_texels(template, 96, "eye_left", "eye_right")]).max() < 1e-3
    assert np.abs(closed[lids]).mean() < 0.3 < np.abs(half[lids]).mean()
    left = lids & (rig.movement.anchors[:, 0] > 0)
    np.testing.assert_allclose(wink[left], half[left], atol=1e-6)


def test_a_blink_changes_no_splat_of_the_mouth(rig, template):
    lids = (rig.unseen.shapes != OPEN_LIPS) & (rig.unseen.onset == 0)
    assert lids.sum() > 50
    assert part_texels(template, 96, "skin")[rig.unseen.texels[lids]].all()


def test_glasses_stay_in_place_as_eyes_close(rig, template):
    """Texels of the left lids whose splats stand 15 mm in front of them, as refinement uses them for rims."""
    maps, anchors = template_maps(96), texel_anchors(template, 96)
    blink = Pose.of({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0})
    lids = (rig.pose(blink).means - rig.neutral.means).norm(dim=1) > 4e-3
    rims = lids & torch.from_numpy(part_texels(template, 96, "skin")) & (anchors.positions[:, 0] > 0)
    assert rims.sum() > 10
    shift = torch.tensor([0.0, 0.0, 0.015]) * rims[:, None]
    maps.offset[anchors.mask] = torch.einsum("nji,nj->ni", anchors.frames, shift)
    worn = geometric_rig(Head("anna", maps, template.name, template.sha256, np.eye(4)), template)
    posed = worn.pose(blink)
    for name in ("means", "quats", "scales", "sh", "opacities"):
        torch.testing.assert_close(getattr(posed, name)[rims], getattr(worn.neutral, name)[rims], atol=1e-6, rtol=0)
    right = lids & torch.from_numpy(part_texels(template, 96, "skin")) & (anchors.positions[:, 0] < 0)
    assert (posed.means - worn.neutral.means)[right].norm(dim=1).mean() > 4e-3


def raised(template, chosen, above_m):
    """A head some of whose splats stand off the skin."""
    maps, anchors = template_maps(96), texel_anchors(template, 96)
    maps.offset[anchors.mask] = torch.tensor([0.0, 0.0, above_m]) * chosen(anchors)[:, None]
    return Head("anna", maps, template.name, template.sha256, np.eye(4))


def marks_of(template):
    """Landmarks of a face that has all where the template has it."""
    points = np.stack([template.vertices[index] for index in template.landmarks.values()]).astype(np.float64)
    about = points[(points[:, 2] > 0.03) & (np.abs(points[:, 0]) < 0.06)]
    brows, mouth = points[[name.startswith("brow_") for name in template.landmarks]], about[about[:, 1] < -0.02]
    return FaceMarks(about, about.copy(), brows, MouthMarks(mouth, mouth.copy()))


def raised_rig(template, chosen, above_m):
    return geometric_rig(raised(template, chosen, above_m), template, marks_of(template))


def test_rims_before_the_brows_stay_and_the_brows_rise_behind_them(template):
    brow = template.vertices[[template.landmarks[f"brow_middle_{side}"] for side in ("left", "right")]]

    def rim(anchors):
        height = torch.from_numpy(brow).mean(0)[1] - anchors.positions[:, 1]
        about = torch.from_numpy(skin(template, 96)) & (anchors.positions[:, 2] > 0.05)
        return about & (height.abs() < 0.002)

    rig = raised_rig(template, rim, 0.012)
    worn = rim(texel_anchors(template, 96))
    assert worn.sum() > 20
    moved = rig.pose(Pose.of({"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0})).means
    lift = (moved - rig.neutral.means)[:, 1]
    assert lift[worn].abs().max() < 1e-3
    about = ~worn & (torch.cdist(texel_anchors(template, 96).positions, torch.from_numpy(brow)).amin(1) < 0.008)
    assert lift[about].mean() > 5e-3


def test_bushy_brows_rise_with_the_skin(template):
    names = [f"brow_{part}_{side}" for part in ("inner", "middle", "outer") for side in ("left", "right")]
    brows = torch.from_numpy(template.vertices[[template.landmarks[name] for name in names]])

    def hair(anchors):
        return torch.from_numpy(skin(template, 96)) & (torch.cdist(anchors.positions, brows).amin(1) < 0.004)

    raising = Pose.of({"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0})
    flat, bushy = (raised_rig(template, hair, above_m) for above_m in (0.0, 0.0055))
    grown = hair(texel_anchors(template, 96))
    assert grown.sum() > 10
    flat, bushy = ((rig.pose(raising).means - rig.neutral.means)[grown, 1] for rig in (flat, bushy))
    assert bushy.mean() > 0.9 * flat.mean() > 3e-3


def test_a_beard_goes_with_the_jaw(template):
    def beard(anchors):
        apart = (anchors.positions - torch.from_numpy(template.vertices[template.landmarks["chin"]])).norm(dim=1)
        return torch.from_numpy(skin(template, 96)) & (apart < 0.012)

    rig = raised_rig(template, beard, 0.012)
    grown = beard(texel_anchors(template, 96))
    assert grown.sum() > 10
    opened = rig.pose(Pose.of({"jawOpen": 1.0})).means - rig.neutral.means
    assert (opened[grown].norm(dim=1) > 0.015).all()


def test_what_hangs_before_a_face_says_nothing_of_its_size(template):
    def fringe(anchors):
        return torch.from_numpy(skin(template, 96)) & (anchors.positions[:, 1] > 0.045) & (anchors.positions[:, 2] > 0)

    bare = raised_rig(template, lambda anchors: torch.zeros(len(anchors), dtype=torch.bool), 0.0)
    hung = raised_rig(template, fringe, 0.03)
    unknown = geometric_rig(raised(template, fringe, 0.03), template)
    assert abs(hung.size - bare.size) < 0.5 * abs(unknown.size - bare.size)


def test_splats_beside_their_features_move_as_what_they_lie_on(template):
    """A head whose splats all sit 8 mm too low for their texels, while its landmarks are the template's."""
    maps, anchors = template_maps(96), texel_anchors(template, 96)
    face = torch.from_numpy(skin(template, 96)) & (anchors.positions[:, 2] > 0.03)
    shift = torch.tensor([0.0, -0.008, 0.0]) * face[:, None]
    maps.offset[anchors.mask] = torch.einsum("nji,nj->ni", anchors.frames, shift)
    low = Head("anna", maps, template.name, template.sha256, np.eye(4))
    points = np.stack([template.vertices[index] for index in template.landmarks.values()]).astype(np.float64)
    marks = FaceMarks(points, points.copy(), points[:0], MouthMarks(points, points.copy()))
    exact = geometric_rig(Head("anna", template_maps(96), template.name, template.sha256, np.eye(4)), template)
    pose = Pose.of({"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0})
    expected = (exact.pose(pose).means - exact.neutral.means).numpy()

    def error(rig):
        means, there = rig.neutral.means.numpy(), part_texels(template, 96, "skin")
        distance, nearest = cKDTree(anchors.positions.numpy()[there]).query(means)
        wanted = expected[there][nearest]
        judged = face.numpy() & (distance < 0.003) & (np.linalg.norm(wanted, axis=1) > 2e-3)
        assert judged.sum() > 100
        return np.linalg.norm((rig.pose(pose).means - rig.neutral.means).numpy() - wanted, axis=1)[judged].mean()

    assert error(geometric_rig(low, template, marks)) < 0.5 * error(geometric_rig(low, template))


@pytest.mark.parametrize(("count", "off_m", "tell"), [(20, 0.005, True), (20, 0.05, False), (5, 0.0, False)])
def test_landmarks_that_are_too_few_or_far_off_tell_nothing(count, off_m, tell):
    points = np.random.default_rng(0).normal(0, 0.03, (count, 3))
    assert MouthMarks(points, points + np.array([0, 0, off_m])).tell is tell


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
