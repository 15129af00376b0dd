import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headsup_cli.animation.drivers.detection import DRIVERS, read_curves
from headsup_cli.errors import InputError
from headsup_cli.template.arkit import ARKIT_NAMES

JAW, JAW_LEFT, JAW_RIGHT = (ARKIT_NAMES.index(name) for name in ("jawOpen", "jawLeft", "jawRight"))
PASCAL = [name[0].upper() + name[1:] for name in ARKIT_NAMES]
PASCAL[PASCAL.index("JawLeft")], PASCAL[PASCAL.index("JawRight")] = "JawRight", "JawLeft"  # as the app has it
ANGLES = [f"{part}{turn}" for part in ("Head", "LeftEye", "RightEye") for turn in ("Yaw", "Pitch", "Roll")]


def live_link(tmp_path, rows, header=(*PASCAL, *ANGLES), timecodes=None):
    """Rows of values by column name."""
    lines = ["Timecode,BlendShapeCount," + ",".join(header)]
    for index, row in enumerate(rows):
        timecode = timecodes[index] if timecodes else f"12:00:{index // 60:02d}:{index % 60:02d}.000"
        lines.append(f"{timecode},61," + ",".join(str(row.get(name, 0.0)) for name in header))
    path = tmp_path / "take.csv"
    path.write_text("\n".join(lines))
    return path


def test_live_link_face(tmp_path):
    rows = [{"JawOpen": index / 100, "JawLeft": 0.25, "HeadYaw": 0.3, "LeftEyeYaw": 0.1} for index in range(90)]
    curves = read_curves(live_link(tmp_path, rows))
    np.testing.assert_allclose(curves.times_s, np.arange(90) / 60, atol=1e-9)
    np.testing.assert_allclose(curves.weights[:, JAW], np.arange(90) / 100, atol=1e-6)
    assert curves.weights[0, JAW_LEFT] == 0.25  # by name, whatever the order of columns
    assert curves.weights[0, JAW_RIGHT] == 0
    np.testing.assert_allclose(curves.head_rad[0], [0.3, 0, 0])
    assert curves.gaze_rad is None  # the right eye's are zero throughout: switched off


def test_live_link_face_without_rotations_and_with_repeated_rows(tmp_path):
    timecodes = ["23:59:59:58.500", "23:59:59:59.500", "23:59:59:59.500", "00:00:00:00.500"]
    curves = read_curves(live_link(tmp_path, [{"JawOpen": 0.1}] * 4, PASCAL, timecodes))
    assert len(curves) == 3
    np.testing.assert_allclose(curves.times_s, np.arange(3) / 60, atol=1e-6)
    assert curves.head_rad is None


def test_live_link_face_in_degrees(tmp_path):
    curves = read_curves(live_link(tmp_path, [{"HeadYaw": 30.0, "HeadPitch": -10.0}, {}]))
    np.testing.assert_allclose(curves.head_rad[0], np.radians([30, -10, 0]), atol=1e-6)


@pytest.mark.parametrize(("cell", "shown"), [("abc", "'abc'"), ("", "''"), ("nan", "'nan'")])
def test_a_bad_cell_is_named_by_line_and_column(tmp_path, cell, shown):
    path = live_link(tmp_path, [{"JawOpen": 0.1}, {"JawOpen": cell}])
    with pytest.raises(InputError) as error:
        read_curves(path)
    assert "line 3, column JawOpen" in str(error.value)
    assert shown in str(error.value)


def test_face_cap(tmp_path):
    names = [name.replace("Left", "_L").replace("Right", "_R") for name in ARKIT_NAMES]
    weights = ["0"] * 52
    weights[JAW] = "0.5"
    lines = ["info,device", "bs," + ",".join(names)]
    lines += [f"k,{1000 + index * 40},0,0,0,10,20,30,1,2,3,4,{','.join(weights)}" for index in range(5)]
    (tmp_path / "cap.txt").write_text("\n".join(lines))
    curves = read_curves(tmp_path / "cap.txt")
    np.testing.assert_allclose(curves.times_s, np.arange(5) * 0.04)
    assert (curves.weights[:, JAW] == 0.5).all()
    np.testing.assert_allclose(np.degrees(curves.head_rad[0]), [20, 10, 30], atol=1e-4)
    np.testing.assert_allclose(np.degrees(curves.gaze_rad[0]), [[2, 1], [4, 3]], atol=1e-4)


JSON_CLIPS = {
    "audio2face": {"exportFps": 25, "facsNames": ["jawOpen", "jawLeft"], "weightMat": [[0.1, 0], [0.2, 0], [0.3, 0]]},
    "frames": {"fps": 25, "frames": [{"jawOpen": 0.1}, {"jawOpen": 0.2, "jawLeft": 0.0}, {"jawOpen": 0.3}]},
    "weights": [{"time": i / 25, "weights": {"jawOpen": (i + 1) / 10}} for i in range(3)],
    "lists": {"fps": 25, "jawOpen": [0.1, 0.2, 0.3]},
    "mediapipe": {
        "fps": 25,
        "frames": [
            {"faceBlendshapes": [{"categories": [{"categoryName": "_neutral", "score": 0.9},
                                                 {"categoryName": "jawOpen", "score": (i + 1) / 10}]}]}
            for i in range(3)
        ],
    },
    "mediapipe in python": [
        {"time": i / 25, "face_blendshapes": [[{"category_name": "jawOpen", "score": (i + 1) / 10}]]} for i in range(3)
    ],
}  # fmt: skip


@pytest.mark.parametrize("layout", JSON_CLIPS)
def test_json_layouts(tmp_path, layout):
    (tmp_path / "clip.json").write_text(json.dumps(JSON_CLIPS[layout]))
    curves = read_curves(tmp_path / "clip.json")
    np.testing.assert_allclose(curves.weights[:, JAW], [0.1, 0.2, 0.3], atol=1e-6)
    np.testing.assert_allclose(curves.times_s, np.arange(3) / 25, atol=1e-9)


def test_table_with_and_without_times(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("time_ms;jawOpen;mood\n0;0.1;1\n50;0.2;1\n")
    curves = read_curves(tmp_path / "a.csv")
    np.testing.assert_allclose(curves.times_s, [0, 0.05])
    assert "mood" in caplog.text
    (tmp_path / "b.csv").write_text("frame,jawOpen\n1,0.1\n2,0.2\n")
    np.testing.assert_allclose(read_curves(tmp_path / "b.csv").times_s, [0, 1 / 30])


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.csv", "colour,mood\n1,2\n", "coefficients"),
        ("a.csv", "time,jawOpen\n1,0.1\n1,0.2\n", "line 3, column time"),
        ("a.csv", "jawOpen,jawLeft\n0.1\n", "line 2"),
        ("a.csv", "jawOpen\n", "0 rows"),
        ("a.json", "{", "no JSON"),
        ("a.json", '{"facsNames": ["jawOpen"], "weightMat": [[0.1, 0.2]]}', "weightMat[0]"),
        ("a.json", '[{"jawOpen": "wide"}]', "'wide'"),
        ("a.json", "[]", "0 frames"),
        ("a.json", '[{"jawOpen": 1' + "0" * 400 + "}]", "1000"),
        ("a.json", '{"fps": 1e-320, "jawOpen": [0, 1, 0]}', "at most a day"),
        ("a.json", '{"time": [-1e308, 1e308], "jawOpen": [0, 1]}', "at most a day"),
        ("a.csv", "jawOpen,note\n0.1," + "x" * 200_000, "no table"),
        ("a.csv", "Timecode,BlendShapeCount,jawOpen\n" + "9" * 400 + ":00:00:00,1,1\n", "at most a day"),
        ("a.txt", "bs,jawOpen\nk,0,0,0,0,1e308,0,0,0,0,0,0,1\n", "head rotation"),
        ("a.bin", "x", "no curves"),
    ],
)
def test_faults_are_named(tmp_path, name, text, found):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_curves(tmp_path / name)
    assert found in str(error.value)


def test_missing_and_binary_files(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x80")
    for name, found in (("a.csv", "unreadable"), ("b.csv", "not text")):
        with pytest.raises(InputError, match=found):
            read_curves(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=300),
        st.text(alphabet="Timecode,jawOpen0.1:\n", max_size=200),
        st.recursive(
            st.none() | st.floats() | st.text(max_size=5) | st.sampled_from(["jawOpen", "frames", "weightMat"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["jawOpen", "frames", "weightMat", "facsNames", "time"]), inner, max_size=3
                )
            ),
            max_leaves=8,
        ).map(json.dumps),
    ),
    suffix=st.sampled_from([".csv", ".json", ".txt"]),
)
def test_any_text_is_read_or_refused(tmp_path, text, suffix):
    path = tmp_path / f"clip{suffix}"
    path.write_text(text, "utf-8", errors="replace")
    try:
        curves = read_curves(path)
    except InputError:
        return
    assert np.isfinite(curves.weights).all()
    assert len(curves) == len(curves.weights) >= 1


def test_recognising_a_file_reads_its_first_lines_only(tmp_path, monkeypatch):
    from headsup_cli.animation.drivers import text_table

    path = live_link(tmp_path, [{"JawOpen": 0.1}] * 2)
    with path.open("ab") as file:
        file.write(b"\n" + b"\xff" * 100_000)  # would be refused
    monkeypatch.setattr(text_table, "MAX_BYTES", 0)
    assert next(driver.name for driver in DRIVERS if driver.recognises(path)) == "live-link-face"
    with pytest.raises(InputError, match="larger than"):
        read_curves(path)


def test_every_driver_says_what_it_reads():
    assert len({driver.name for driver in DRIVERS}) == len(DRIVERS)
