"""Native code takes every table that the sweeps take; where making it fails all the same, the sweeps go on."""

import os
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_tools import run
from transform_tools import same

import fastad as fad
from fastad.execution.executors import EXECUTORS, Executor
from fastad.tables.builder import Builder
from fastad.transforms.known import RECORDINGS

THOROUGH = os.environ.get("FASTAD_TEST_PROFILE") == "thorough"


# ── random programs with updates in place and slices of changing length ───────────────────────────────────────
# What one step of a loop does: k is the step's place, (low, high) a slice, empty ones included.
def _write_product(s, k, low, high):
    s.x[k] = s.b[k] - 0.1 * (s.y[:k] @ s.x[:k])


def _write_row_product(s, k, low, high):
    s.x[k] = s.b[k] - 0.1 * (s.a[k % len(s.a), :k] @ s.x[:k])


def _update_tail(s, k, low, high):
    s.x[k:] = 0.5 * s.x[k:] + 0.1 * np.sin(s.y[k:])


def _add_slice(s, k, low, high):
    s.x[low:high] += 0.1 * s.y[len(s.y) - (high - low) :]


def _sum_of_head(s, k, low, high):
    s.y[k] = 0.1 * np.sum(s.x[:k] * s.y[:k])


def _write_row(s, k, low, high):
    s.a[k % len(s.a)] = 0.5 * s.a[k % len(s.a)] + 0.1 * s.x


def _scale_columns(s, k, low, high):
    s.a[:, low:high] *= 0.9


def _every_other(s, k, low, high):
    s.x[::2] = 0.9 * s.x[::2] + 0.01 * s.y[0]


def _joined(s, k, low, high):
    s.y = np.concatenate([s.x[k:], s.y[:k]]) * 0.7


def _cut_off(s, k, low, high):
    s.x = np.concatenate([0.9 * s.x[:k], np.zeros(len(s.x) - k), s.b])[: len(s.x)]


def _backwards(s, k, low, high):
    s.y = 0.9 * s.y[::-1] + 0.1 * s.b


def _rolled(s, k, low, high):
    s.a = 0.99 * np.roll(s.a, 1, axis=0)


def _shuffled(s, k, low, high):
    s.a = s.a.T.reshape(s.a.shape)


def _filled(s, k, low, high):
    s.y[low:high] = 0.9 * np.repeat(s.x[k], high - low)


def _chosen(s, k, low, high):
    s.a = np.where(s.a > s.y, 0.7 * s.a, -s.a)[::-1]


UPDATES = [
    _write_product, _write_row_product, _update_tail, _add_slice, _sum_of_head, _write_row, _scale_columns,
    _every_other, _joined, _cut_off, _backwards, _rolled, _shuffled, _filled, _chosen,
]  # fmt: skip


class State:
    def __init__(self, a, x, b):
        self.a, self.x, self.y, self.b = a.copy(), x.copy(), 0.5 * b, b


@st.composite
def programs(draw):
    """(function of a, x, b; their values)."""
    n, m = draw(st.sampled_from([1, 3, 16, 17, 20, 33])), draw(st.sampled_from([1, 2, 5]))
    place = st.integers(0, n)
    steps = draw(st.lists(st.tuples(st.sampled_from(UPDATES), place, place), min_size=1, max_size=4))
    times = draw(st.sampled_from([1, n, 30]))

    def program(a, x, b):
        s = State(a, x, b)
        for i in range(times):
            for update, p, q in steps:
                update(s, i % n, min(p, q), max(p, q))
        return np.sum(s.x**2) + np.sum(np.sin(s.y)) + 0.1 * np.sum(s.a**2)

    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return program, tuple(rng.normal(size=shape) for shape in ((m, n), n, n))


def tangent_of_gradient(f):
    return lambda *args: fad.jvp(fad.grad(f, argnums=(0, 1, 2)), args, args)


@given(programs(), st.sampled_from([fad.value_and_grad, tangent_of_gradient]))
@settings(max_examples=2000 if THOROUGH else 10)
def test_native_code_takes_what_the_sweeps_take(drawn, derivative):
    program, args = drawn
    if derivative is fad.value_and_grad:
        calls = [fad.value_and_grad(program, argnums=(0, 1, 2), tier=tier) for tier in ("sweep", "native")]
    else:
        calls = [fad.jit(derivative(program), tier=tier) for tier in ("sweep", "native")]
    (_, wanted), (_, found) = (call(*args) for call in calls)
    for x, y in zip(wanted, found, strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-9, atol=1e-10)


def substitution(row):
    def f(lower, x, b):
        x = x.copy()
        for i in range(len(x)):
            x[i] = b[i] - row(lower, b, i) @ x[:i]
        return np.sum(x * x)

    return f


@pytest.mark.parametrize("row", [lambda lower, b, i: lower[i, :i], lambda lower, b, i: b[:i]])
def test_substitution_in_place(row):
    rng = np.random.default_rng(0)
    args = 0.1 * rng.normal(size=(20, 20)), rng.normal(size=20), 0.3 * rng.normal(size=20)
    native, sweep = (fad.grad(substitution(row), argnums=(0, 1, 2), tier=t)(*args) for t in ("native", "sweep"))
    for x, y in zip(native, sweep, strict=True):
        same(x, y)


# ── chains ────────────────────────────────────────────────────────────────────────────────────────────────────
CHAINS = {
    "sums": lambda s, b, i: s + np.sin(b[:, i % 7])[:, None],
    "views": lambda s, b, i: 0.9 * s[::-1] + b,
    "runs": lambda s, b, i: np.roll(s, 1, axis=0),
    "runs and sums": lambda s, b, i: 0.9 * np.roll(s, 1, axis=1) + b,
    "shuffled": lambda s, b, i: -s.T.reshape(-1)[::-1].reshape(b.shape),
    "signs of rows": lambda s, b, i: -(s if i else np.broadcast_to(b[:1], b.shape)).reshape(s.shape[::-1]),
}


@pytest.fixture
def shallow_stack():
    """A limit that programs would have to be ten times as long to reach otherwise."""
    frame, depth, limit = sys._getframe(), 0, sys.getrecursionlimit()
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    sys.setrecursionlimit(depth + 120)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.parametrize("kind", CHAINS)
def test_chains_longer_than_the_stack_is_deep(kind, request):
    def f(b):
        s = b
        for i in range(100):
            s = CHAINS[kind](s, b, i)
        return np.sum(s**2)

    b = np.random.default_rng(1).normal(size=(3, 7))
    wanted = fad.grad(f, tier="sweep")(b)
    fad.grad(lambda b: np.sum(b**2), tier="native")(b)  # imports
    request.getfixturevalue("shallow_stack")
    same(fad.grad(f, tier="native")(b), wanted)


# ── a fault of the native compiler ────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def broken(monkeypatch):
    """An executor that fails, from whenever its code pays."""

    def fail(request, threads, threshold):
        raise KeyError(-1)

    ready = Executor("native", lambda request: 0.0, lambda request, threads: False, fail)
    late = Executor("native", lambda request: 1e9, lambda request, threads: False, fail)
    RECORDINGS.clear()
    return lambda at_once: monkeypatch.setitem(EXECUTORS, "native", ready if at_once else late)


@pytest.mark.parametrize("at_once", [True, False])
def test_the_sweeps_go_on_after_one_warning(broken, at_once):
    broken(at_once)
    f = fad.grad(lambda x: np.sum(x**3))
    x = np.arange(3.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        same(f(x), 3 * x**2)
        (path,) = f.all_paths()
        path.compiled.interpreted_seconds = 1e10
        for _ in range(3):
            same(f(x), 3 * x**2)
        same(f.prepare(x).run(), 3 * x**2)
    (warning,) = caught
    assert "KeyError: -1" in str(warning.message) and warning.filename == __file__
    assert f.stats()["tables"][0]["tier"] == "sweep"


def test_drivers_fall_back_while_they_are_recorded(broken):
    broken(True)

    def f(x):
        y = fad.scan(lambda c, e: (0.5 * np.sin(c) + e, None), x[0], np.ones(2_000_000))[0]
        return y * 2 if y > 0 else y  # needs the value

    with pytest.warns(RuntimeWarning, match="KeyError"):
        assert np.isfinite(fad.jit(f, tier="sweep")(np.ones(2)))


def test_a_forced_tier_fails(monkeypatch, broken):
    broken(True)
    with pytest.raises(KeyError):
        fad.jit(np.sin, tier="native")(np.ones(3))


def test_a_fault_of_the_program_is_no_fault_of_the_compiler(monkeypatch):
    def fail(request, threads, threshold):
        raise ValueError("of the program")

    monkeypatch.setitem(EXECUTORS, "native", Executor("native", lambda r: 0.0, lambda r, t: False, fail))
    monkeypatch.setitem(EXECUTORS, "sweep", Executor("sweep", lambda r: 0.0, lambda r, t: True, fail))
    with warnings.catch_warnings(), pytest.raises(ValueError, match="of the program"):
        warnings.simplefilter("error")
        fad.jit(np.sin)(np.ones(3))


@pytest.mark.parametrize("wrong", [None, -1.0, 7.0, 1.5, np.nan])
def test_gathers_at_known_places(wrong):
    """Places that are constants are checked when the code is made; wrong ones fail as those known at run time do."""
    rng = np.random.default_rng(8)
    x, places = rng.normal(size=7), rng.integers(0, 7, 1000).astype(float)
    if wrong is not None:
        places[500] = wrong
    for known in (True, False):
        b = Builder()
        v = b.input((7,))
        given = b.const(places) if known else b.input((1000,))
        table = b.table([b.emit("gather", (v, given), (1,), (1000,))])
        code, results = run(table, [x] if known else [x, places])
        assert (code == 0) == (wrong is None)
        if wrong is None:
            np.testing.assert_array_equal(results[0], x[places.astype(int)])
