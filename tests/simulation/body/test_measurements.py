import importlib.util
from pathlib import Path

import numpy as np
import pytest

_PATH = Path(__file__).parents[3] / "benchmarks" / "face_measurements.py"
_spec = importlib.util.spec_from_file_location("face_measurements", _PATH)
benchmark = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(benchmark)


@pytest.fixture(scope="module")
def adults():
    return benchmark.measured_adults(130)


@pytest.mark.parametrize("name", benchmark.PUBLISHED)
def test_adults_measure_as_people_do(adults, name):
    men, women, _ = benchmark.PUBLISHED[name]
    for people, (mean, deviation) in zip(adults, (men, women), strict=True):
        values = [person[name] for person in people]
        assert len(values) > 40
        assert abs(np.mean(values) - mean) < 0.5 * deviation
        assert 0.6 < np.std(values) / deviation < 1.3
