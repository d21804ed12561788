"""Native code that is made while the sweeps work, and taken over when it is ready."""

import os
import subprocess
import sys
import textwrap
import threading
import warnings

import numpy as np
import pytest
from thread_tools import in_threads

import fastad as fad
from fastad.execution.compiled import Compiled
from fastad.execution.executors import EXECUTORS, NATIVE, SWEEP, Executor
from fastad.execution.machine import background
from fastad.execution.request import Request
from fastad.transforms.known import RECORDINGS

X = np.linspace(0.1, 0.9, 5)


@pytest.fixture
def turned_on(monkeypatch):
    monkeypatch.setenv("FASTAD_BACKGROUND", "1")
    RECORDINGS.clear()


class Gate:
    """An executor whose kernels are those of another one, made when the gate is opened."""

    def __init__(self, monkeypatch, made_by=NATIVE, estimate=5.0):
        self.opened, self.entered, self.made_by, self.threads = threading.Event(), threading.Event(), made_by, []
        executor = Executor("native", lambda request: estimate, lambda request, threads: False, self.kernel)
        monkeypatch.setitem(EXECUTORS, "native", executor)

    def kernel(self, request, threads, threshold):
        self.threads.append(threading.current_thread().name)
        self.entered.set()
        assert self.opened.wait(60)
        return self.made_by.kernel(request, threads, threshold)


def compiled(f):
    (path,) = f.all_paths()
    return path.compiled


def has_paid(f):
    """Let the first executor have taken as long as any compilation."""
    compiled(f).interpreted_seconds = 1e9


def wait_for(gate, f):
    gate.opened.set()
    compiled(f)._job._ended.wait(60)


def function():
    return fad.value_and_grad(lambda x: np.sum(np.sin(x) * np.exp(-x * x)))


# ── taking over ───────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("made_by", "tolerance"), [(SWEEP, 0.0), (NATIVE, 1e-13)])
def test_calls_go_on_until_the_code_is_ready_and_the_next_one_runs_it(turned_on, monkeypatch, made_by, tolerance):
    gate, f = Gate(monkeypatch, made_by), function()
    wanted = f(X)
    has_paid(f)
    for _ in range(5):
        assert np.array_equal(f(X)[1], wanted[1])
    assert gate.entered.wait(60) and f.stats()["tables"][0]["tier"] == "sweep"
    wait_for(gate, f)
    found = f(X)
    assert f.stats()["tables"][0]["tier"] == "native" and compiled(f).is_settled
    np.testing.assert_allclose(found[0], wanted[0], rtol=tolerance)
    np.testing.assert_allclose(found[1], wanted[1], rtol=tolerance)
    assert gate.threads == ["fastad-background"]


def test_half_the_compile_time_is_waited_for(turned_on, monkeypatch):
    gate, f = Gate(monkeypatch), function()
    f(X)
    for seconds, is_begun in ((2.4, False), (2.5, True)):
        compiled(f).interpreted_seconds = seconds
        f(X)
        assert (compiled(f)._job is not None) == is_begun
    wait_for(gate, f)


def test_who_cannot_wait_for_its_turn_compiles_at_once(turned_on, monkeypatch):
    gate, first, second = Gate(monkeypatch), function(), fad.grad(lambda x: np.sum(np.tanh(x)))
    for f in (first, second):
        f(X)
        has_paid(f)
        f(X)
    assert gate.entered.wait(60) and compiled(second)._job is not None
    gate.opened.set()
    assert np.array_equal(second.prepare(X)(), fad.grad(lambda x: np.sum(np.tanh(x)), tier="native")(X))
    assert compiled(second).is_settled
    np.testing.assert_allclose(first.prepare(X)()[1], first(X)[1])  # that one is waited for
    assert compiled(first).is_settled


def test_a_program_that_nobody_has_any_more_is_not_compiled():
    program = Compiled(Request(fad.trace(np.sum, X)))
    program([X])
    make = program._maker()
    assert make().layout.outputs
    del program
    with pytest.raises(ReferenceError):
        make()


def test_a_failure_is_told_once_and_the_sweeps_go_on(turned_on, monkeypatch):
    def fail(request, threads, threshold):
        raise KeyError(-1)

    gate, f = Gate(monkeypatch, Executor("broken", None, None, fail)), function()
    wanted = f(X)
    has_paid(f)
    f(X)
    wait_for(gate, f)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            assert np.array_equal(f(X)[1], wanted[1])
    (warning,) = caught
    assert "KeyError: -1" in str(warning.message) and warning.filename == __file__
    assert f.stats()["tables"][0]["tier"] == "sweep" and len(gate.threads) == 1


def test_it_can_be_turned_off(monkeypatch):
    RECORDINGS.clear()
    gate, f = Gate(monkeypatch), function()
    gate.opened.set()
    f(X)
    has_paid(f)
    f(X)
    assert f.stats()["tables"][0]["tier"] == "native" and gate.threads == [threading.current_thread().name]


def test_what_takes_less_comes_first(turned_on):
    opened, order = threading.Event(), []
    background.submit(lambda: opened.wait(60))
    jobs = [background.submit(lambda s=s: order.append(s), s) for s in (3.0, 1.0, 2.0, 1.0)]
    opened.set()
    for job in jobs:
        job._ended.wait(60)
    assert order == [1.0, 1.0, 2.0, 3.0]


def test_settings_of_numpy_hold_in_the_background(turned_on):
    with np.errstate(divide="raise"):
        job = background.submit(lambda: np.geterr()["divide"])
    assert job.result() == "raise"


# ── threads and processes ─────────────────────────────────────────────────────────────────────────────────────
def test_threads_that_call_and_earn_the_same_and_other_programs(turned_on, monkeypatch):
    gate, f, shared = Gate(monkeypatch), function(), X.copy()
    gate.opened.set()

    def work(k):
        x = np.linspace(0.1, 0.9, k + 2)
        wanted = [np.exp(-x * x) * (np.cos(x) - 2 * x * np.sin(x)) for x in (shared, x)]
        for n in range(200):
            for point, gradient in zip((shared, x), wanted, strict=True):
                np.testing.assert_allclose(f(point)[1], gradient, rtol=1e-12, atol=1e-15)
            paths = [path.compiled for path in f.all_paths()]
            if n == 20:
                for path in paths:
                    path.interpreted_seconds = 1e9
        while not all(path.is_settled for path in paths):
            f(shared), f(x)

    in_threads(work, 8)
    assert {table["tier"] for table in f.stats()["tables"]} == {"native"} and f.stats()["paths"] == 8


LONG = """
    import os, sys, time
    import numpy as np
    import fastad as fad
    from fastad.execution.machine import compiling

    def long(x):
        s = x
        for k in range(300):
            s = 0.9 * np.sin(s) + (0.1 + k) * x
        return np.sum(s)

    f, x = fad.grad(long, roll=False), np.full(3, 0.3)
    wanted = f(x)
    (path,) = f.all_paths()
    path.compiled.interpreted_seconds = 1e9
    while path.compiled._job is None or set(compiling._all) == set(compiling._idle):  # no process compiles it yet
        assert np.array_equal(f(x), wanted) and not path.compiled.is_settled
"""


def own_process(text, tmp_path):
    code = textwrap.dedent(LONG) + textwrap.dedent(text)
    settings = os.environ | {"FASTAD_BACKGROUND": "1", "FASTAD_CACHE_DIR": str(tmp_path / "cache")}
    run = [sys.executable, "-c", code]
    return subprocess.run(run, env=settings, capture_output=True, text=True, timeout=300)


def test_the_end_of_a_process_does_not_wait(tmp_path):
    ended = own_process("print(compiling._all[0]._process.pid, path.compiled._job.is_done)", tmp_path)
    pid, is_done = ended.stdout.split()
    assert (ended.returncode, ended.stderr, is_done) == (0, "", "False")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_goes_on_by_itself(tmp_path):
    text = """
        lost = path.compiled._job
        child = os.fork()
        if not child:
            assert lost.is_lost and not compiling._all
            assert np.array_equal(f(x), wanted)      # asks again
            assert path.compiled._job is not lost
            short = fad.grad(lambda x: np.sum(x**2), tier="native")
            assert np.array_equal(short(x), 2 * x)
            np.testing.assert_allclose(f.prepare(x)(), wanted, rtol=1e-9)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        f.prepare(x)
        np.testing.assert_allclose(f(x), wanted, rtol=1e-9)
        print(f.stats()["tables"][0]["tier"])
    """
    ended = own_process(text, tmp_path)
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "native\n")


def test_ctrl_c_stops_a_compilation(tmp_path):
    text = """
        import signal, threading
        from fastad.errors import CompileError

        compiling._close()      # that in the background
        compiling._closed = False
        signal.signal(signal.SIGINT, signal.default_int_handler)
        g = fad.grad(long, roll=False, tier="native")

        def send():
            while not (busy := set(compiling._all) - set(compiling._idle)):
                time.sleep(0.01)
            seen.update(busy)
            os.kill(os.getpid(), signal.SIGINT)

        stopped = 0
        for _ in range(3):      # on a busy machine the signal may come when the text is done
            compiling._all.clear()
            seen = set()
            try:
                threading.Thread(target=send).start()
                g(x)
            except KeyboardInterrupt:
                stopped += all(process._process.returncode == -signal.SIGKILL for process in seen)
            else:
                raise AssertionError("not interrupted")
        assert stopped
        np.testing.assert_allclose(g(x), wanted, rtol=1e-9)
    """
    ended = own_process(text, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
