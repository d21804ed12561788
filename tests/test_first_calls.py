"""What the first call of a program waits for, and that later ones find what it has recorded."""

import numpy as np
import pytest

import fastad as fad
from fastad.execution.executors import NATIVE, SWEEP, policy
from fastad.execution.machine import cache
from fastad.execution.request import Request
from fastad.transforms.known import RECORDINGS
from fastad.transforms.paths import _may_change

N = 30  # unknowns, so many that matrices are sparse


def chained(x, p):
    return np.sum((x - p) ** 2) + 0.1 * np.sum((x[1:] - x[:-1]) ** 4)


BOUNDED = {"bounds": [(0.1, 0.9)] * N}
EQUAL = {"constraints": {"type": "eq", "fun": lambda x: np.sum(x) - 1.0}}
LIMITED = {"constraints": [{"type": "ineq", "fun": lambda x: x[:5]}, {"type": "eq", "fun": lambda x: x[0] - x[1]}]}


@pytest.mark.parametrize("limits", [{}, BOUNDED, EQUAL, LIMITED], ids=["free", "bounds", "eq", "both"])
def test_a_problem_of_many_unknowns_is_recorded_once(limits, monkeypatch):
    """Patterns of sparse matrices are constants of a recording, which must not keep later calls from finding it."""
    found, find = [], type(RECORDINGS).find

    def watched(own, key):
        found.append(find(own, key))
        return found[-1]

    monkeypatch.setattr(type(RECORDINGS), "find", watched)

    def solve(p):
        found.clear()
        return fad.minimize(chained, np.full(N, 0.5), (p,), **limits).x, [x is not None for x in found]

    first, _ = solve(np.linspace(0.0, 1.0, N))
    again, known = solve(np.linspace(0.0, 1.0, N))
    other, still_known = solve(np.linspace(0.5, 0.2, N))
    assert known == still_known == [True]
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-9)
    assert np.max(np.abs(other - first)) > 1e-3


def test_arrays_that_nobody_can_write_into_do_not_keep_a_recording_private():
    whole = np.arange(6.0)
    view = whole[1:]
    assert _may_change(whole) and _may_change(view)
    view.flags.writeable = False
    assert _may_change(view)  # by way of the whole
    whole.flags.writeable = False
    assert not _may_change(whole) and not _may_change(whole[1:])
    assert _may_change(np.frombuffer(bytearray(16)))


def solved_equation(p):
    return fad.root(lambda x, p: x**3 + np.roll(x, 1) - p, np.ones(N), (p,)).x


def minimised(p):
    return fad.minimize(chained, np.full(N, 0.5), (p,), **BOUNDED).x


def stiff(p):
    return fad.solve_ivp(lambda t, y: -p * y**3, (0.0, 1.0), np.ones(N), "Radau").y[:, -1]


def long_loop(p):
    return fad.while_loop(lambda x: np.sum(x) > 1e-6, lambda x: x * 0.5 * np.cos(x), p)


@pytest.mark.parametrize(
    "f, executor", [(solved_equation, SWEEP), (minimised, SWEEP), (stiff, SWEEP), (long_loop, NATIVE)]
)
def test_what_takes_few_steps_begins_with_the_sweeps(f, executor, monkeypatch):
    """Iterations that converge and adaptive solves do not wait for a compiler; a loop that may be long does."""
    monkeypatch.setattr(cache, "is_stored", lambda key: False)
    table = fad.trace(f, np.linspace(0.1, 0.9, N))
    assert policy("auto").once(table.subs[0], 1) is executor
    assert executor is NATIVE or policy("auto").start(Request(table), 1) is SWEEP
