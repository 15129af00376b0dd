import json
import logging
import shutil

import numpy as np
import pytest
import torch

from headsup_cli.errors import HeadsupError
from headsup_cli.training import captures as captures_module
from headsup_cli.training.captures import CaptureSource, index_captures, split_people
from headsup_cli.training.config import TrainingConfig, ValidationConfig
from headsup_cli.training.dataset import ExampleStream


def source_of(folder, tmp_path, *, seed=0, camera_share=0.2) -> CaptureSource:
    return CaptureSource(tuple(index_captures([folder], tmp_path / "index.json")), seed, camera_share)


def names_of(caplog):
    return " ".join(record.getMessage() for record in caplog.records)


def test_the_index_is_read_again_only_where_a_capture_changed(write_people, tmp_path, monkeypatch):
    folder = write_people(3, frames=2)
    first = index_captures([folder], tmp_path / "index.json")
    assert [capture.frames for capture in first] == [(("000", 6), ("001", 6))] * 3
    read = []
    load = captures_module.load_json_config
    monkeypatch.setattr(
        captures_module, "load_json_config", lambda path, model: read.append(path.name) or load(path, model)
    )
    assert index_captures([folder], tmp_path / "index.json") == first
    assert read == ["index.json"]
    changed = folder / "person_01" / "capture.json"
    changed.write_text(changed.read_text() + " ")
    assert index_captures([folder], tmp_path / "index.json") == first
    assert read == ["index.json", "index.json", "capture.json"]


def test_what_cannot_be_used_is_named_and_left_out(write_people, tmp_path, caplog):
    folder = write_people(3)
    (folder / "person_00" / "capture.json").write_text("{")
    content = json.loads((folder / "person_02" / "capture.json").read_text())
    views = content["frames"]["000"]["views"]
    content["frames"]["000"]["views"] = {"cam0": views["cam0"]}
    (folder / "person_02" / "capture.json").write_text(json.dumps(content))
    with caplog.at_level(logging.WARNING):
        usable = index_captures([folder], tmp_path / "index.json")
    assert [capture.folder.name for capture in usable] == ["person_01"]
    assert "person_00" in names_of(caplog)
    assert "one view" in names_of(caplog)
    shutil.rmtree(folder / "person_01")
    with pytest.raises(HeadsupError, match="none of 2 captures"):
        index_captures([folder], tmp_path / "index.json")


def test_every_epoch_shows_everyone_once_in_an_order_of_its_own(write_people, tmp_path):
    source = source_of(write_people(5), tmp_path)
    epochs = [[source._drawn(index)[0].folder.name for index in range(5 * n, 5 * n + 5)] for n in range(4)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    again = source_of(tmp_path / "captures", tmp_path)
    assert [again._drawn(index) for index in range(20)] == [source._drawn(index) for index in range(20)]


def test_held_out_cameras_are_never_shown_in_training(write_people, tmp_path):
    source = source_of(write_people(4), tmp_path)
    config = TrainingConfig(steps=30, input_views=(2, 6), render_views=3, alignment_mm=0, alignment_deg=0)
    held_out = source.held_out(ValidationConfig(input_views=4), 48)
    unseen = torch.cat([example.targets.cameras.centres for example in held_out])  # [4, 3]
    assert unseen.shape == (4, 3)
    assert (unseen - unseen[0]).abs().max() < 1e-6, "one camera of a rig that all share"
    stream = ExampleStream(source, config.model_copy(update={"alignment_scale": 0.0}), 48)
    for index in range(30):
        example = stream[index]
        for views in (example.inputs, example.targets):
            assert torch.cdist(views.cameras.centres, unseen).min() > 1e-2


def test_pictures_masks_and_cameras_come_at_the_size_that_is_asked_for(write_people, tmp_path):
    source = source_of(write_people(1, frames=1), tmp_path)
    subject = source.views(0, [2, 0], 24)
    assert subject.rgb.shape == (2, 24, 18, 3)
    assert (subject.cameras.width, subject.cameras.height) == (18, 24)
    assert subject.masked
    assert float(subject.rgb[:, 0, 0].abs().max()) == 0.0, "black outside the mask"
    assert float(subject.whole[:, 0, 0].min()) > 0.1
    large = source.views(0, [2, 0], 48)
    torch.testing.assert_close(subject.cameras.K[:, :2] * 2, large.cameras.K[:, :2])
    halved = torch.nn.functional.avg_pool2d(large.rgb.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    torch.testing.assert_close(subject.rgb, halved, atol=0.02, rtol=0)


def test_captures_without_masks_train_with_their_room(write_people, tmp_path):
    stream = ExampleStream(source_of(write_people(1, masked=False), tmp_path), TrainingConfig(steps=2), 48)
    assert not stream[0].inputs.masked
    assert float(stream[0].inputs.mask.min()) == 1.0


def test_a_broken_picture_is_replaced_counted_and_named(write_people, tmp_path):
    folder = write_people(3)
    for picture in (folder / "person_01" / "images" / "000").iterdir():
        picture.write_bytes(b"no picture")
    stream = ExampleStream(source_of(folder, tmp_path), TrainingConfig(steps=6), 48)
    examples = [stream[index] for index in range(6)]
    broken = [message for example in examples for message in example.broken]
    assert len(broken) >= 2
    assert all("person_01" in message for message in broken)
    assert all(torch.isfinite(example.inputs.rgb).all() for example in examples)
    again = [stream[index] for index in range(6)]
    assert all(torch.equal(a.inputs.rgb, b.inputs.rgb) for a, b in zip(examples, again, strict=True))


def test_where_everything_is_broken_it_says_so(write_people, tmp_path):
    folder = write_people(1)
    source = source_of(folder, tmp_path)
    shutil.rmtree(folder / "person_00" / "images")
    with pytest.raises(HeadsupError, match="in a row"):
        ExampleStream(source, TrainingConfig(steps=1), 48)[0]


def test_people_are_held_out_as_a_whole_and_the_same_ones_every_time(write_people, tmp_path):
    captures = index_captures([write_people(10, views=2)], tmp_path / "index.json")
    seen, held_out = split_people(captures, ValidationConfig(people_share=0.3))
    assert len(held_out) == 3
    assert {c.folder for c in seen}.isdisjoint(c.folder for c in held_out)
    assert split_people(list(np.array(captures, dtype=object)[::-1]), ValidationConfig(people_share=0.3))[1] == held_out
    few, same = split_people(captures[:4], ValidationConfig())
    assert few == same == captures[:4]
