from itertools import pairwise

import numpy as np
import pytest
import torch

from headsup_cli.simulation.body.landmarks import landmarks_68
from headsup_cli.simulation.rig.faults import Faults
from headsup_cli.simulation.training_sample import TrainingSample, training_sample
from headsup_cli.simulation.truth import BACKGROUND
from headsup_cli.template.anny_source import AnnySource

SIZE = {"views": 3, "width": 48, "height": 64}


@pytest.fixture(scope="module")
def samples() -> list[TrainingSample]:
    return [training_sample(seed, **SIZE) for seed in range(6)]


def test_same_seed_same_pixels_on_any_number_of_threads(samples):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if before > 1 else 2)
        again = training_sample(2, **SIZE)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(again.images, samples[2].images)
    np.testing.assert_array_equal(again.masks, samples[2].masks)
    np.testing.assert_array_equal(again.vertices, samples[2].vertices)
    assert torch.equal(again.cameras.K, samples[2].cameras.K)


def test_seeds_give_different_people(samples):
    for one, other in pairwise(samples):
        assert np.abs(one.vertices - other.vertices).max() > 0.003
        assert np.abs(one.images - other.images).mean() > 0.01


def test_images_lie_over_black_under_their_masks(samples):
    for sample in samples:
        assert sample.images.shape == (3, 64, 48, 3)
        assert sample.masks.shape == (3, 64, 48)
        assert 0 <= sample.images.min() <= sample.images.max() <= 1
        assert sample.images[sample.masks == 0].max(initial=0) == 0
        assert (sample.masks.mean((1, 2)) > 0.1).all()
        assert (sample.masks.mean((1, 2)) < 0.95).all()
        inside = sample.masks == 1
        assert sample.images[inside].mean() > 0.03
        assert sample.images[inside].std() > 0.02


def test_tracked_mesh_is_what_the_cameras_see(samples):
    landmarks = AnnySource.shared().mesh.landmarks
    covered = []
    for sample in samples:
        face = sample.vertices[[landmarks[name] for name in ("nose_tip", "chin", "glabella")]]
        pixels, depth = sample.cameras.project(torch.from_numpy(face).double())
        assert (depth > 0.3).all()
        columns, rows = pixels[..., 0].floor().long(), pixels[..., 1].floor().long()
        seen = (columns >= 0) & (columns < 48) & (rows >= 0) & (rows < 64)
        assert seen.float().mean() > 0.7
        views = torch.arange(3)[:, None].expand_as(seen)
        covered += (sample.masks[views[seen], rows[seen], columns[seen]] > 0).tolist()
    assert np.mean(covered) > 0.95  # a nose tip in profile may miss every sample of its pixel


def test_mesh_stands_in_the_head_frame(samples):
    landmarks = AnnySource.shared().mesh.landmarks
    for sample in samples:
        left, right = (sample.vertices[landmarks[f"ear_canal_{side}"]] for side in ("left", "right"))
        assert np.linalg.norm((left + right) / 2) < 0.02  # displaced heads keep the frame of what they were made from
        assert left[0] > 0.04
        assert right[0] < -0.04
        assert sample.vertices[landmarks["nose_tip"]][2] > 0.05
        assert sample.vertices[landmarks["crown"]][1] > 0.08


def test_truth_agrees_with_the_pictures(samples):
    sample = training_sample(1, **SIZE, with_truth=True)
    np.testing.assert_array_equal(sample.images, samples[1].images)
    assert samples[1].truth is None
    truth = sample.truth
    covered = truth.labels != BACKGROUND
    assert (sample.masks[covered] > 0).mean() > 0.99
    assert (covered[sample.masks == 1]).mean() > 0.99
    assert (truth.depth[covered] > 0.3).all()
    assert (truth.depth[~covered] == 0).all()
    usual = landmarks_68(sample.vertices)
    brows = (np.arange(68) >= 17) & (np.arange(68) < 27)
    np.testing.assert_allclose(sample.landmarks[~brows], usual[~brows], atol=1e-6)
    np.testing.assert_allclose(sample.landmarks[brows], usual[brows], atol=0.012)  # higher or lower
    pixels, _ = sample.cameras.project(torch.from_numpy(sample.landmarks).double())
    np.testing.assert_allclose(truth.landmark_pixels, pixels, atol=1e-3)
    assert 20 < truth.landmark_visible.sum() < 3 * 68


def test_faults_and_rooms_are_dialled(samples):
    ideal = training_sample(1, **SIZE, layout="front", faults=Faults())
    worn = training_sample(
        1,
        **SIZE,
        layout="front",
        faults=Faults(gain=0.3, noise=0.02, blur=1.0, jpeg=60.0, light=1.0, room=2.0, calibration=2.0),
    )
    np.testing.assert_array_equal(ideal.vertices, worn.vertices)
    np.testing.assert_array_equal(ideal.masks, worn.masks)
    assert torch.equal(ideal.cameras.K, worn.cameras.K)
    assert not torch.allclose(ideal.cameras.cam_from_world, worn.cameras.cam_from_world, atol=1e-3)
    assert torch.allclose(ideal.cameras.centres, worn.cameras.centres)
    assert ideal.images[ideal.masks == 0].max() == 0
    assert worn.images[worn.masks == 0].std() > 0.02
    assert (worn.cameras.centres[:, 2] > -0.5).all()


def test_a_bust_ends_above_the_rim_and_is_the_same_person_otherwise(samples):
    bust = training_sample(2, **SIZE, bust_share=1.0)
    np.testing.assert_array_equal(bust.vertices, samples[2].vertices)
    assert (bust.masks <= samples[2].masks + 1e-6).all()
    assert bust.masks.sum() < 0.95 * samples[2].masks.sum()
    lost = np.argwhere((samples[2].masks > 0.5) & (bust.masks < 0.5))  # [n, 3] view, row, column
    assert lost[:, 1].mean() > 0.6 * SIZE["height"]
