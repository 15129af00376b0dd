import json

import numpy as np

from headsup_cli.gaussians.head import read_head


def test_a_capture_gives_the_same_head_as_the_dump_it_was_made_from(program, pytestconfig, tmp_path):
    sample = pytestconfig.rootpath / "sample_data" / "anna"
    code, out, err = program("preprocess", sample, "-o", tmp_path / "captures", "--frame", "00_neutral", "--quiet")
    assert code == 0, err
    assert out.strip() == str(tmp_path / "captures" / "anna")
    capture = json.loads((tmp_path / "captures" / "anna" / "capture.json").read_text())
    assert list(capture["frames"]) == ["00_neutral"]
    for source, target in ((tmp_path / "captures" / "anna", "a"), (sample, "b")):
        code, _, err = program("reconstruct", source, "-o", tmp_path / target, "--views", "4", "--quiet")
        assert code == 0, err
    a, b = (read_head(tmp_path / name / "anna") for name in "ab")
    np.testing.assert_allclose(a.rig_from_head, b.rig_from_head, atol=1e-9)
    difference = (a.maps.offset - b.maps.offset).abs().mean()
    assert difference < 1e-5


def test_a_folder_that_is_no_dump_is_refused(program, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"no picture")
    code, _, err = program("preprocess", tmp_path / "holiday", "-o", tmp_path / "out")
    assert code == 2
    assert "holiday" in err
    assert "expected" in err
    assert not (tmp_path / "out").exists()
