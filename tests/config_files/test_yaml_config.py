from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from headsup_cli.config_files.schema import StrictModel, validate
from headsup_cli.config_files.yaml_config import load_yaml_config
from headsup_cli.errors import InputError


class Optimizer(StrictModel):
    kind: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)


class Config(StrictModel):
    steps: int
    sizes: tuple[int, ...] = ()
    optimizer: Optimizer = Optimizer()


@pytest.fixture
def load(tmp_path):
    """Load a text as if it were a config file."""

    def load(text, *overrides):
        (tmp_path / "a.yaml").write_text(text)
        return load_yaml_config(tmp_path / "a.yaml", Config, overrides)

    return load


def test_values_defaults_and_overrides(load):
    config = load("steps: 10\noptimizer: {kind: sgd}", "optimizer.learning_rate=3e-4", "sizes=[1, 2]", "steps=20")
    assert config == Config(steps=20, sizes=(1, 2), optimizer=Optimizer(kind="sgd", learning_rate=3e-4))


def test_override_reaches_a_section_the_file_leaves_out(load):
    assert load("steps: 1\noptimizer:", "optimizer.kind=sgd").optimizer.kind == "sgd"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "steps: 1\nsteppes: 2",
            "steppes is not a known key, expected one of steps, sizes, optimizer; did you mean 'steps'.",
        ),
        (
            "steps: 1\noptimizer: {lr: 1}",
            "optimizer.lr is not a known key, expected one of kind, learning_rate; remove it.",
        ),
        ("sizes: []", "steps is missing, expected a value; add it."),
        ("steps: many", "steps is 'many', expected a valid integer, unable to parse string as an integer; correct it."),
        ("steps: 1\nsizes: [1, x]", "sizes[1] is 'x', expected a valid integer"),
        ("steps: 1\noptimizer: {learning_rate: .nan}", "optimizer.learning_rate is nan, expected"),
        ("steps: 1\noptimizer: {learning_rate: -1}", "optimizer.learning_rate is -1, expected greater than 0"),
        ("steps: x\nsizes: 3\noptimizer: 4", "see to 2 more: sizes, optimizer."),
        ("- 1", "a list at its top, expected a YAML mapping"),
        ("", "a NoneType at its top"),
        ("steps: [", "no YAML ("),
        ("!!python/object/apply:os.getcwd []", "no YAML ("),
        ("#" * 2_000_000, "larger than 1000 kB"),
    ],
)
def test_faults_are_one_sentence_with_the_field(load, text, sentence):
    with pytest.raises(InputError) as caught:
        load(text)
    assert sentence in str(caught.value)
    assert "a.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("override", ["steps", "=3", "a..b=1", "steps.x=1", "steps=[", "unknown=1"])
def test_bad_overrides_are_named(load, override):
    with pytest.raises(InputError):
        load("steps: 1", override)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_yaml_config(tmp_path / "absent.yaml", Config)


def test_models_are_immutable():
    with pytest.raises(ValueError, match="frozen"):
        Config(steps=1).steps = 2


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["steps", "optimizer", "x"]), inner),
    max_leaves=8,
)


@given(data=JSON)
def test_any_data_is_accepted_or_told_in_one_line(data):
    message = "file.json: "
    try:
        validate(Config, data, "file.json")
    except InputError as error:
        message = str(error)
    assert message.startswith("file.json: ")
    assert "\n" not in message
