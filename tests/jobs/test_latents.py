from pathlib import Path

import numpy as np
import torch

from headsup_cli.cameras.trajectories import orbit
from headsup_cli.capture.capture import Capture, CaptureFrame
from headsup_cli.capture.schemas import HeadFrameEntry, ProvenanceEntry
from headsup_cli.jobs import latents
from headsup_cli.jobs.latents import portraits_of_captures, portraits_of_simulated, simulated_facts, varied_people
from headsup_cli.model.views import Views
from headsup_cli.template.arkit import ARKIT_NAMES
from headsup_cli.training.captions import facts_of


def capture_with(frames: dict[str, CaptureFrame]) -> Capture:
    origin = HeadFrameEntry.model_construct(), ProvenanceEntry.model_construct()
    return Capture("somebody", {}, frames, np.eye(4), *origin)


def test_every_moment_of_every_capture_is_a_portrait_and_its_mirror_image(monkeypatch):
    rest, wink = CaptureFrame({}), CaptureFrame({}, {"eyeBlinkLeft": 0.9})
    captures = {Path("anna"): {"rest": rest, "wink": wink}, Path("ben"): {"rest": rest}}
    views = Views(torch.rand(2, 8, 6, 3), torch.ones(2, 8, 6, 1), orbit(2, 6, 8), masked=False)
    monkeypatch.setattr(latents, "read_capture", lambda path: capture_with(captures[path]))
    monkeypatch.setattr(latents, "capture_views", lambda capture, frame: (["a", "b"], views))
    portrait, count = portraits_of_captures([Path("anna"), Path("ben")])
    made = [portrait(index) for index in range(count)]
    assert [one.subject for one in made] == [0, -1, 0, -1, 1, -2]
    left, right = (ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right"))
    assert float(made[2].coefficients[left]) == float(made[3].coefficients[right]) == torch.tensor(0.9)
    assert not made[0].coefficients.any()
    assert torch.equal(made[1].views.rgb, views.rgb.flip(2))
    assert all(one.attributes == {} for one in made)


def test_a_simulated_person_keeps_face_light_and_cameras_under_an_expression(monkeypatch):
    monkeypatch.setattr(latents, "_VIEWS", 1)
    portrait, count = portraits_of_simulated([7, 1])
    assert count == 4
    neutral, smiling = (portrait(index) for index in (2, 3))
    assert [one.subject for one in (portrait(0), neutral, smiling)] == [7, 1, 1]
    assert not neutral.coefficients.any()
    assert smiling.coefficients.any()
    assert torch.equal(neutral.views.cameras.cam_from_world, smiling.views.cameras.cam_from_world)
    assert neutral.attributes == smiling.attributes
    said = list(simulated_facts(2))[1]  # of the same two faces, without drawing them
    assert said == tuple(facts_of(one.attributes, one.coefficients.numpy()) for one in (neutral, smiling))
    change = (neutral.views.rgb - smiling.views.rgb).abs()
    assert 0 < change.mean() < 0.05, "the face moves, the rest stays"


def test_more_expressions_of_a_person_begin_with_the_same_two_faces(monkeypatch):
    monkeypatch.setattr(latents, "_VIEWS", 1)
    few, _ = portraits_of_simulated([7, 1], height_px=64)
    many, count = portraits_of_simulated([7, 1], expressions=3, height_px=64)
    assert count == 8
    faces = [many(index) for index in range(4, 8)]
    assert {one.subject for one in faces} == {1}
    assert {tuple(one.views.rgb.shape) for one in faces} == {(1, 64, 48, 3)}
    for index, one in enumerate(faces[:2]):
        assert torch.equal(few(2 + index).views.rgb, one.views.rgb)
    assert len({tuple(one.coefficients.tolist()) for one in faces}) == 4


def test_people_to_learn_from_show_rare_looks_often(monkeypatch):
    common = {"sex": "male", "glasses": "none", "headwear": "none", "expression": "neutral"}
    rare = common | {"headwear": "headscarf", "expression": "smiling"}
    crowd = [(common, common if number % 10 else rare) for number in range(100)]
    monkeypatch.setattr(latents, "_CROWD", len(crowd))
    monkeypatch.setattr(latents, "simulated_facts", lambda people, seed: iter(crowd[:people]))
    chosen = varied_people(20)
    assert len(set(chosen)) == 20
    assert sum(number % 10 == 0 for number in chosen) >= 9, "there are ten of them"
    assert varied_people(8) == chosen[:8]
    assert sorted(varied_people(1000)) == list(range(100))
