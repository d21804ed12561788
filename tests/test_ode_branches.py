"""Python branches in right-hand sides: every path is recorded, and derivatives are those of the path that is taken."""

import numpy as np
import pytest

import fastad as fad
from fastad.tables.composites.paths import Paths
from fastad.tables.reference import evaluate

TIERS = ("sweep", "native")


def heated(t, y, k, off=1.0):
    """A body that is heated until `off`, and cools down then; the limit of the source is a branch on the state."""
    source = 2.0 if t < off else 0.0
    return np.array([source - k * y[0], min(y[0], 0.5) - y[1]])


def heated_without_branches(t, y, k, off=1.0):
    source = np.where(t < off, 2.0, 0.0)
    return np.array([source - k * y[0], np.where(y[0] < 0.5, y[0], 0.5) - y[1]])


def end(fun, k, **options):
    return np.sum(fad.solve_ivp(fun, (0, 3), [0.0, 1.0], args=(k,), **options).y[:, -1])


# Where a step spans a switch, the choice of its size hangs on the last bits of its error.
@pytest.mark.parametrize(
    ("options", "rtol"),
    [
        ({"rtol": 1e-8}, 1e-5), ({"method": "RK4", "step": 0.05}, 1e-12),
        ({"method": "Dopri8", "step": 0.1, "t_eval": [0.5, 3.0]}, 1e-12),
    ],
)
@pytest.mark.parametrize("tier", TIERS)
def test_branches_give_what_where_gives(tier, options, rtol):
    for of in (lambda f: f, lambda f: fad.grad(f, tier=tier), lambda f: fad.grad(fad.grad(f, tier=tier), tier=tier)):
        found, wanted = (of(lambda k, f=f: end(f, k, **options))(0.7) for f in (heated, heated_without_branches))
        np.testing.assert_allclose(found, wanted, rtol=rtol)
    pushed = [fad.jvp(lambda k, f=f: end(f, k, **options), (0.7,), (1.0,)) for f in (heated, heated_without_branches)]
    np.testing.assert_allclose(pushed[0], pushed[1], rtol=rtol)


def test_lanes_take_paths_of_their_own():
    ks = np.array([0.1, 0.7, 5.0])
    found = fad.vmap(fad.grad(lambda k: end(heated, k)))(ks)
    np.testing.assert_allclose(found, [fad.grad(lambda k: end(heated, k))(k) for k in ks], rtol=1e-9)


def test_a_path_that_is_met_in_a_replay_is_recorded_then():
    def fun(t, y):
        return 1.0 - y if y[0] < 1.5 else -y

    f = fad.jit(lambda y: fad.solve_ivp(fun, (0, 1), np.reshape(y, (1,)), rtol=1e-10).y[0, -1])
    for start in (0.0, 0.5, 1.0, 0.2):
        np.testing.assert_allclose(f(start), 1 - (1 - start) * np.exp(-1), rtol=1e-8)
    assert f.stats()["recordings"] == 1
    np.testing.assert_allclose(f(4.5), 4.5 * np.exp(-1), rtol=1e-8)
    np.testing.assert_allclose(f(0.0), 1 - np.exp(-1), rtol=1e-8)
    assert f.stats()["recordings"] == 2


def test_loops_in_right_hand_sides_may_have_any_number_of_steps():
    def fun(t, y):
        n = 0
        while n < t:
            n += 1
        return n * y

    sol = fad.solve_ivp(fun, (0, 3), [1.0], max_step=0.1, rtol=1e-8)
    np.testing.assert_allclose(np.log(sol.y[0, -1]), 6.0, rtol=1e-5)


def test_the_kernels_compute_what_the_definition_says():
    f = lambda k: end(heated, k, method="RK4", step=0.1)
    for own in (f, fad.grad(f), lambda k: fad.jvp(f, (k,), (1.0,))[1]):
        table = fad.trace(own, 0.7)
        np.testing.assert_allclose(evaluate(table, [np.float64(0.7), *table.captured])[0], own(0.7), rtol=1e-9)


def test_paths_are_stored_in_files(tmp_path):
    f = fad.jit(lambda k: end(heated, k))
    wanted = f(0.7), fad.grad(f)(0.7)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    assert any(isinstance(part, Paths) for table in loaded.tables or f.tables for part in _parts(table.subs))
    np.testing.assert_allclose((loaded(0.7), fad.grad(loaded)(0.7)), wanted, rtol=1e-12)


def _parts(subs):
    for sub in subs:
        yield sub
        yield from _parts(sub.parts)
        if sub.table is not None:
            yield from _parts(sub.table.subs)


def test_a_function_with_too_many_paths_says_so(monkeypatch):
    monkeypatch.setattr("fastad.control.paths._MOST", 12)

    def fun(t, y):
        return int(t * 1e6) * 1e-6 * y

    with pytest.raises(fad.RecordingError, match=r"int|path|branch"):
        fad.solve_ivp(fun, (0, 3), [1.0])
