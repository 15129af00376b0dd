import pytest

from headsup_cli.config_files import json_config
from headsup_cli.config_files.json_config import load_json_config
from headsup_cli.config_files.schema import StrictModel
from headsup_cli.errors import InputError


class Point(StrictModel):
    x: float


class Points(StrictModel):
    points: dict[str, Point]


@pytest.fixture
def load(tmp_path):
    """Load bytes as if they were a JSON file."""

    def load(data, model=Point, **options):
        (tmp_path / "a.json").write_bytes(data)
        return load_json_config(tmp_path / "a.json", model, **options)

    return load


def test_values_and_files_with_free_top_keys(load):
    assert load(b'{"x": 1.5}') == Point(x=1.5)
    assert load(b'{"nose": {"x": 1}}', Points, wrapped_in="points").points == {"nose": Point(x=1)}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b'{"x": NaN}', "x is nan, expected"),
        (b'{"x": 1, "y": 2}', "y is not a known key"),
        (b"[" * 100_000, "no JSON"),
        (b'{"x": ', "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"", "no JSON"),
    ],
)
def test_faults_are_one_sentence(load, data, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        load(data)
    assert "\n" not in str(caught.value)


def test_missing_and_oversized_files(load, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="No such file"):
        load_json_config(tmp_path / "absent.json", Point)
    monkeypatch.setattr(json_config, "_MAX_BYTES", 4)
    with pytest.raises(InputError, match="larger than"):
        load(b'{"x": 1}')
