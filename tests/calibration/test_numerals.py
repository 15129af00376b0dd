import pytest

from headsup_cli.calibration.numerals import rounded


@pytest.mark.parametrize(
    ("value", "digits", "told"),
    [
        (0.304, 2, "0.3"),
        (14.4, 2, "14"),
        (121.3, 2, "121"),
        (3999.6, 2, "4000"),
        (1052.4, 3, "1052"),
        (-250.2, 2, "-250"),
    ],
)
def test_never_an_exponent(value, digits, told):
    assert rounded(value, digits) == told
