import logging

import pytest

from headsup_cli.runtime import progress as module
from headsup_cli.runtime.progress import StageTimes, progress


@pytest.fixture
def records(monkeypatch):
    """Messages of the module, as in a run whose stderr is a file."""
    messages = []

    class Collector(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    monkeypatch.setattr(module._logger, "handlers", [Collector()])
    level = module._logger.level
    module._logger.setLevel(logging.INFO)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    yield messages
    module._logger.setLevel(level)


def test_lines_tell_count_and_time_left(monkeypatch, records):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert list(progress(range(5), "rendering")) == list(range(5))
    # Every step takes 20 s, a line comes every 30 s: before the second item and before the fourth.
    assert records == ["rendering: 1 of 5, 02:40 left", "rendering: 3 of 5, 00:53 left"]


def test_quick_loops_and_quiet_runs_say_nothing(monkeypatch, records):
    assert list(progress(iter("abc"), "reading")) == ["a", "b", "c"]
    module._logger.setLevel(logging.WARNING)
    monkeypatch.setattr(module, "_LOG_INTERVAL_S", 0.0)
    assert list(progress("abc", "reading")) == ["a", "b", "c"]
    assert records == []


def test_stages_add_up_and_failed_ones_are_left_out(monkeypatch, records):
    clock = iter([0.0, 1.0, 10.0, 12.0, 20.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    times = StageTimes()
    for _ in range(2):
        with times.stage("fit"):
            pass
    with pytest.raises(ZeroDivisionError), times.stage("broken"):
        raise ZeroDivisionError
    assert times.seconds == {"fit": 3.0}
    assert records == ["fit: 1.0 s", "fit: 2.0 s"]
