import itertools
import os
import platform
import threading
import time

import pytest
import torch

from headsup_cli.runtime.threads import configure_threads, run_shared


def test_work_is_shared_and_finished():
    tickets, done, names = itertools.count(), [], set()

    def work():
        names.add(threading.current_thread().name)
        while (ticket := next(tickets)) < 50:
            time.sleep(0.001)
            done.append(ticket)

    run_shared(work, 4)
    assert sorted(done) == list(range(50))
    assert len(names) > 1


def test_one_thread_is_the_caller():
    seen = []
    run_shared(lambda: seen.append(threading.get_ident()), 1)
    assert seen == [threading.get_ident()]


def test_an_error_on_a_helper_reaches_the_caller():
    caller = threading.get_ident()

    def work():
        if threading.get_ident() != caller:
            raise ValueError("on a helper")
        time.sleep(0.05)

    with pytest.raises(ValueError, match="on a helper"):
        run_shared(work, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_helpers_start_anew_after_a_fork():
    run_shared(lambda: None, 3)
    child = os.fork()
    if child == 0:
        threading.Timer(20, os._exit, (1,)).start()
        both = threading.Barrier(2)
        run_shared(both.wait, 2)  # returns only if a helper comes
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_configuring_before_torch(monkeypatch, run_python):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    program = """
import os, sys
from headsup_cli.runtime.threads import configure_threads
assert "torch" not in sys.modules
configure_threads({threads})
import torch
print(os.environ["OMP_WAIT_POLICY"], torch.get_num_threads())
"""
    assert run_python(program.format(threads=1)).stdout.split() == ["PASSIVE", "1"]
    assert run_python(program.format(threads="")).stdout.split()[0] == "PASSIVE"
    assert run_python(program.format(threads=""), OMP_WAIT_POLICY="ACTIVE").stdout.split()[0] == "ACTIVE"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="torch multiplies by OpenBLAS here")
def test_numpy_goes_without_workers_unless_the_user_says_so(monkeypatch, run_python):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    program = """
import os, sys
import headsup_cli.app
from headsup_cli.runtime.threads import configure_threads
assert "numpy" not in sys.modules
configure_threads()
import numpy
print(os.environ["OPENBLAS_NUM_THREADS"])
"""
    assert run_python(program).stdout.split() == ["1"]
    assert run_python(program, OPENBLAS_NUM_THREADS="3").stdout.split() == ["3"]


def test_configuring_after_torch(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    before = torch.get_num_threads()
    try:
        configure_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
