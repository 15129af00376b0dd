import json
import math

import numpy as np
import pytest
import torch

from headsup_cli.errors import InputError
from headsup_cli.inference.camera_paths import NAMED_PATHS, around, read_camera_path


def path_file(folder, keyframes, **other):
    file = folder / "flight.json"
    file.write_text(json.dumps({"schema": "headsup-path/1", "keyframes": keyframes, **other}))
    return file


def key(time_s, position, **other):
    return {"time_s": time_s, "position": position, **other}


@pytest.mark.parametrize("name", NAMED_PATHS)
def test_named_paths_begin_at_the_face_and_close(name):
    cameras = NAMED_PATHS[name](48, 64, 80)
    assert len(cameras) == 48
    first = cameras.centres[0]
    assert abs(float(first[0])) < 1e-5, "in the plane of symmetry"
    assert first[2] > 0.5, "in front of the face"
    steps = torch.linalg.vector_norm(cameras.centres.roll(-1, 0) - cameras.centres, dim=-1)
    assert steps[-1] < 2 * steps.mean() + 1e-3, "from the last to the first is a step like any other"
    pixels, depth = cameras.project(torch.tensor([[0.0, -0.03, 0.0]]))
    torch.testing.assert_close(pixels[:, 0], torch.tensor([32.0, 40.0]).expand(48, 2), atol=1e-2, rtol=0)
    assert (depth > 0.5).all()
    above, _ = cameras.project(torch.tensor([[0.0, 0.05, 0.0]]))
    assert (above[:, 0, 1] < 40).all(), "up is up in every picture"


def test_the_eight_crosses_itself_and_the_dolly_goes_straight():
    eight, dolly = NAMED_PATHS["figure-eight"](48, 64, 64).centres, NAMED_PATHS["dolly"](48, 64, 64).centres
    torch.testing.assert_close(eight[0], eight[24], atol=1e-4, rtol=0)
    assert eight[12, 0] > 0.4
    assert eight[36, 0] < -0.4
    assert dolly[:, 0].abs().max() < 1e-6
    assert dolly[24, 2] == dolly[:, 2].min() == pytest.approx(0.6, abs=1e-3)


def test_views_from_all_around_look_from_every_side():
    centres = around((-40.0, 10.0, 60.0), 8, 32).centres
    for direction in torch.eye(3).repeat(2, 1)[:6] * torch.tensor([1, 1, 1, -1, -1, -1])[:, None]:
        assert (torch.nn.functional.normalize(centres, dim=-1) @ direction).max() > 0.55


def test_key_frames_are_met_and_what_lies_between_is_smooth(tmp_path):
    keys = [
        key(0.0, [0, 0, 1], fov_deg=30),
        key(1.0, [0.6, 0.1, 0.7], target=[0, 0.02, 0.05], fov_deg=40),
        key(3.0, [0.2, 0.4, 0.5], up=[0.1, 1, 0], fov_deg=20),
    ]
    path = read_camera_path(path_file(tmp_path, keys))
    assert (path.seconds, path.is_closed) == (3.0, False)
    cameras = path.cameras(61, 100, 80)
    for keyframe in path.keyframes:
        index = round(keyframe.time_s * 20)
        np.testing.assert_allclose(cameras.centres[index], keyframe.position, atol=1e-5)
        assert float(cameras.K[index, 1, 1]) == pytest.approx(40 / math.tan(math.radians(keyframe.fov_deg) / 2), 1e-4)
        pixel, _ = cameras[index].project(torch.tensor([keyframe.target]))
        np.testing.assert_allclose(pixel[0, 0], [50, 40], atol=1e-3)
    velocity = cameras.centres.diff(dim=0)
    assert torch.linalg.vector_norm(velocity[[0, -1]], dim=-1).max() < 0.006, "at rest at both ends"
    assert torch.linalg.vector_norm(velocity.diff(dim=0), dim=-1).max() < 0.012, "no jerk"


def test_a_closed_path_goes_through_its_start_without_stopping(tmp_path):
    corners = [[0, 0, 1], [1, 0, 0], [0, 0, -1], [-1, 0, 0], [0, 0, 1]]
    path = read_camera_path(path_file(tmp_path, [key(t, p, target=[0, 0, 0]) for t, p in enumerate(corners)]))
    assert path.is_closed
    centres = path.cameras(40, 64, 64).centres
    assert (torch.linalg.vector_norm(centres, dim=-1) - 1).abs().max() < 0.06, "nearly a circle"
    steps = torch.linalg.vector_norm(centres.roll(-1, 0) - centres, dim=-1)
    assert steps.min() > 0.8 * steps.max()


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ([key(0, [0, 0, 1])], "keyframes"),
        ([key(0, [0, 0, 1]), key(0, [0, 1, 1])], "each later than the one before"),
        ([key(0, [0, 0, 1]), key(1, [0, 1])], r"keyframes\[1\]\.position"),
        ([key(0, [0, 0, 1]), key(1, [0, 1, 1], fov_deg=180)], "fov_deg"),
        ([key(0, [0, 0, 1]), key(1, [0, 1, 1], zoom=3)], "zoom"),
    ],
)
def test_files_that_are_no_path_are_refused(tmp_path, keys, named):
    with pytest.raises(InputError, match=named):
        read_camera_path(path_file(tmp_path, keys))


def test_a_camera_without_an_up_direction_is_named_with_its_time(tmp_path):
    keys = [key(0, [0, 0, 1], target=[0, 0, 0]), key(2, [0, 1, 0], target=[0, 0, 0])]
    with pytest.raises(InputError, match=r"flight\.json: keyframes .* at 2\.00 s"):
        read_camera_path(path_file(tmp_path, keys)).cameras(5, 32, 32, tmp_path / "flight.json")
