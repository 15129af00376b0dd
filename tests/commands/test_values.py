import pytest
import typer

from headsup_cli.commands.values import Effort, parse_colour, parse_effort, parse_size


def test_sizes():
    assert parse_size("640x480") == (640, 480)
    for text in ("640", "0x5", "9000x10", "axb", "640x480x3", "-1x5"):
        with pytest.raises(typer.BadParameter, match="512x512"):
            parse_size(text)


def test_colours():
    assert parse_colour("white") == (1, 1, 1)
    assert parse_colour("#ff8000") == (1, 128 / 255, 0)
    for text in ("pink", "#ff80", "#gggggg", ""):
        with pytest.raises(typer.BadParameter, match="rrggbb"):
            parse_colour(text)


def test_efforts():
    assert parse_effort("60") == parse_effort("60s") == Effort(seconds=60.0)
    assert parse_effort("1.5") == Effort(seconds=1.5)
    assert parse_effort("200steps") == Effort(steps=200)
    for text in ("", "0", "0steps", "1.5steps", "-3", "soon", "nan"):
        with pytest.raises(typer.BadParameter, match="steps"):
            parse_effort(text)
