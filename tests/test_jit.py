"""jit: structures of arguments and results, keys, guards, dtypes, memory, errors."""

import functools
import warnings
from collections import namedtuple

import numpy as np
import pytest
from transform_tools import each_tier_and_auto, same

import fastad as fad

Point = namedtuple("Point", "x y")


@each_tier_and_auto
def test_pytrees_of_arguments_and_results(tier, rng):
    def f(p, items, *, scale, extra=None):
        assert extra is None
        a, (b, c) = items
        return {"z": p.x * scale, "a": [a + b, (c["k"], None)], "p": Point(p.y, 2.0)}

    jitted = fad.jit(f, tier=tier)
    args = (Point(rng.normal(size=3), 2.5), [rng.normal(size=(2, 2)), (np.float64(3.0), {"k": np.arange(3)})])
    for scale in (2.0, 3.0, np.float64(4.0)):
        same(jitted(*args, scale=scale), f(*args, scale=scale))
        same(jitted(*args, scale=scale, extra=None), f(*args, scale=scale))


@each_tier_and_auto
def test_static_arguments_are_part_of_the_key(tier):
    @functools.partial(fad.jit, tier=tier)
    def f(x, n, mode, flag):
        for _ in range(n):
            x = x * 2 if mode == "double" else x + 1
        return -x if flag else x

    x = np.array([1.0, 2.0])
    assert f(x, 3, "double", False).tolist() == [8.0, 16.0]
    assert f(x, 2, "double", False).tolist() == [4.0, 8.0]
    assert f(x, 2, "add", False).tolist() == [3.0, 4.0]
    assert f(x, 2, "add", True).tolist() == [-3.0, -4.0]
    assert f.stats()["recordings"] == 4
    assert f(x, 3, "double", False).tolist() == [8.0, 16.0]
    assert f.stats()["recordings"] == 4


def test_statics_that_are_equal_but_of_other_types_are_told_apart():
    f = fad.jit(lambda x, s: x * s)
    x = np.arange(3)
    same(f(x, 1), x * 1)
    same(f(x, True), x * True)
    same(f(x, 1.0), x * 1.0)
    with pytest.raises(fad.ShapeError, match="hashable"):
        f(x, {1, 2})


@each_tier_and_auto
def test_dtypes(tier, rng):
    f = fad.jit(lambda x: (x * 2, np.sin(x), np.sum(x), x > 1, x // 2), tier=tier)
    for dtype in (np.float64, np.float32, np.int64, np.int32, np.bool_):
        x = (3 * rng.normal(size=5)).astype(dtype)
        if dtype == np.bool_:
            y = x.astype(np.float64)  # NumPy's sin(True) is a float16, which we do not have
            same(f(x)[:4], (x * 2, np.sin(y), np.sum(x), x > 1))
        elif dtype == np.int32:
            for found, wanted in zip(f(x), f.__wrapped__(x.astype(np.int64)), strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=0)  # vector functions differ in last bits
        else:
            same(f(x), f.__wrapped__(x))


@each_tier_and_auto
def test_kinds_of_numbers(tier):
    f = fad.jit(lambda x: 2 * x + 1, tier=tier)
    for x in (1.5, np.float64(1.5), np.array(1.5), np.float32(1.5)):
        found = f(x)
        assert found == 4.0 and np.shape(found) == ()
    assert f(np.float32(1.5)).dtype == np.float32
    assert f(2) == 5
    assert f(True) == 3


@each_tier_and_auto
def test_memory_layouts(tier, rng):
    f = fad.jit(lambda x: (x @ x.T, x[1], x.sum(0)), tier=tier)
    base = rng.normal(size=(40, 60))
    frozen = base[:20, :20].copy()
    frozen.flags.writeable = False
    layouts = [
        base[:20, :20],
        base.T[10:30, 5:25],
        base[::2, ::3],
        base[20:0:-1, 20:0:-1],
        np.asfortranarray(base[:20, :20]),
        frozen,
    ]
    for x in layouts:
        same(f(x), f.__wrapped__(x))
    assert f.stats()["recordings"] == 1


@each_tier_and_auto
def test_empty_arrays(tier):
    f = fad.jit(lambda x: (x * 2, np.sum(x), np.concatenate([x, x]), x.reshape(2, 0)), tier=tier)
    same(f(np.zeros(0)), f.__wrapped__(np.zeros(0)))
    f = fad.grad(lambda x: np.sum(x**2) + 1.0, tier=tier)
    same(f(np.zeros((0, 3))), np.zeros((0, 3)))


@each_tier_and_auto
@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 5000, 300_000])
def test_sizes_across_the_limit_of_passing_by_reference(tier, n, rng):
    f = fad.jit(lambda x, y: (x * y, np.sum(x), x), tier=tier)
    for _ in range(3):
        x, y = rng.normal(size=n), rng.normal(size=n)
        same(f(x, y), f.__wrapped__(x, y), 1e-10)


@each_tier_and_auto
@pytest.mark.parametrize("n", [3, 1000])
def test_results_are_arrays_of_their_own(tier, n):
    def f(x):
        y = x * 2
        return x, y, y, y[::-1], np.ones(n), 3.0, [y]

    jitted = fad.jit(f, tier=tier)
    x = np.arange(n, dtype=float)
    for _ in range(3):
        out = jitted(x)
        same(out, f(x))
        arrays = [x, *out[:5], out[6][0]]
        for i, a in enumerate(arrays):
            for b in arrays[:i]:
                assert not np.shares_memory(a, b)
        for a in arrays[1:]:
            a[...] = -1.0  # must not be seen by the next call
    same(x, np.arange(n, dtype=float))


@each_tier_and_auto
def test_constants_and_other_results(tier):
    f = fad.jit(lambda x: ("text", None, 3, True, np.arange(3), Point, x), tier=tier)
    out = f(1.0)
    assert out[:2] == ("text", None) and out[5] is Point
    assert out[2] == 3 and out[3] == True and out[4].tolist() == [0, 1, 2]  # noqa: E712
    assert fad.jit(lambda: np.float64(2.0), tier=tier)() == 2.0
    assert fad.jit(lambda x: None, tier=tier)(1.0) is None
    assert fad.jit(lambda x: (), tier=tier)(1.0) == ()


# ── branches ──────────────────────────────────────────────────────────────────────────────────────────────────
@each_tier_and_auto
def test_branches_are_guarded_by_value(tier):
    def f(x):
        if x[0] > 0:
            return x * 2
        return x * 3 if x[1] > 0 else -x

    jitted = fad.jit(f, tier=tier)
    points = [np.array([a, b]) for a in (1.0, -1.0) for b in (1.0, -1.0)]
    for _ in range(3):
        for x in points:
            same(jitted(x), f(x))
    assert jitted.stats()["recordings"] == 3
    assert len(jitted.tables) == 3
    assert jitted.stats()["calls"] >= 12


@each_tier_and_auto
def test_nan_takes_the_branch_that_numpy_takes(tier):
    f = fad.jit(lambda x: x * 2 if x > 0 else x - 1, tier=tier)
    assert f(1.0) == 2.0
    assert np.isnan(f(np.nan))
    assert f(-1.0) == -2.0


@each_tier_and_auto
def test_while_loop_with_a_trip_count_from_the_data(tier):
    def collatz(n):
        steps = n * 0.0
        while n > 1:
            n = n / 2 if n % 2 == 0 else 3 * n + 1
            steps = steps + 1
        return steps

    f = fad.jit(collatz, tier=tier)
    for n in (6.0, 7.0, 1.0, 12.0, 6.0, 9.0):
        assert f(n) == collatz(n)


@each_tier_and_auto
def test_integers_of_recorded_values(tier):
    def f(x, k):
        n = int(k)
        return x[n] * n + sum(x[i] for i in range(n)) + [10.0, 20.0, 30.0][k]

    jitted = fad.jit(f, tier=tier)
    x = np.array([1.0, 2.0, 4.0])
    for k in (0, 1, 2, 1, 0):
        same(jitted(x, np.int64(k)), np.float64(f(x, k)))


@each_tier_and_auto
def test_gradients_through_branches(tier, rng):
    def f(x):
        total = 0.0
        for i in range(3):
            total = total + (np.sin(x[i]) if x[i] > 0 else x[i] ** 3)
        return total

    gradient = fad.grad(f, tier=tier)
    for _ in range(20):
        x = rng.normal(size=3)
        same(gradient(x), np.where(x > 0, np.cos(x), 3 * x**2))
    assert gradient.stats()["recordings"] <= 8


def test_many_paths_are_reported_once():
    f = fad.jit(lambda x: x[int(x[0])] * 2.0)
    with pytest.warns(RuntimeWarning, match=r"was recorded 64 times.*the branch at .*test_jit.py") as caught:
        for k in range(80):
            x = np.full(100, float(k))
            assert f(x)[()] == 2.0 * k
    assert len([w for w in caught if "was recorded" in str(w.message)]) == 1


def test_few_paths_are_not_reported():
    f = fad.jit(lambda x: x if x > 0 else -x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(-100, 100):
            f(float(k))


# ── indices ───────────────────────────────────────────────────────────────────────────────────────────────────
@each_tier_and_auto
@pytest.mark.parametrize("n", [4, 400])
def test_an_index_out_of_bounds_in_a_replay_is_an_error_that_names_the_line(tier, n):
    f = fad.jit(lambda x, i: x[i] * 2, tier=tier)
    x = np.arange(float(n))
    i = np.array([0, -1, n - 1, -n])
    same(f(x, i), x[i] * 2)
    for bad in (n, -n - 1, 10**15, -(10**15)):
        with pytest.raises(fad.IndexRangeError, match="test_jit"):
            f(x, np.array([0, 1, bad, 2]))
        with pytest.raises(IndexError):
            f(x, np.array([0, 1, bad, 2]))
    same(f(x, i), x[i] * 2)


@each_tier_and_auto
def test_an_index_out_of_bounds_while_recording_is_an_error(tier):
    f = fad.jit(lambda x, i: x[i] * 2, tier=tier)
    with pytest.raises(IndexError):
        f(np.arange(3.0), np.array([5]))


@each_tier_and_auto
def test_nan_and_inf_pass_through(tier):
    f = fad.value_and_grad(lambda x: np.sum(np.log(x) / x), tier=tier)
    for x in (np.array([0.0, 1.0]), np.array([np.inf, 1.0]), np.array([np.nan, 1.0]), np.array([-1.0, 1.0])):
        value, gradient = f(x)
        with np.errstate(all="ignore"):
            same(value, np.sum(np.log(x) / x))
            same(gradient, (1 - np.log(x)) / x**2)


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────
@each_tier_and_auto
def test_errors_of_the_function_reach_the_caller_and_leave_no_recording_behind(tier):
    def f(x, fail):
        if fail:
            raise KeyError("mine")
        return x * 2

    jitted = fad.jit(f, tier=tier)
    with pytest.raises(KeyError, match="mine"):
        jitted(1.0, True)
    assert jitted(1.0, False) == 2.0
    with pytest.raises(KeyError, match="mine"):
        fad.grad(jitted)(1.0, True)
    assert fad.grad(jitted)(1.0, False) == 2.0


def test_wrong_calls():
    with pytest.raises(TypeError):
        fad.jit(3)
    with pytest.raises(ValueError, match="tier"):
        fad.jit(np.sin, tier="fast")
    with pytest.raises(TypeError):
        fad.jit(lambda x: x)(1.0, 2.0)
    with pytest.raises(fad.ShapeError, match=r"complex.*np\.asarray\(z, complex\)"):
        fad.jit(lambda x: x)(np.array([1j], "G"))
    with pytest.raises(fad.RecordingError, match=r"test_jit.*np\.zeros"):
        fad.jit(lambda x: float(x))(1.0)


def test_values_that_escape_a_recording_are_refused():
    kept = []
    f = fad.jit(lambda x: kept.append(x * 2) or x)
    f(1.0)
    with pytest.raises(fad.RecordingError, match="after the recording of its function has ended"):
        kept[0] + 1


def test_in_place_changes_of_arguments_are_refused():
    def f(x):
        x[0] = 1.0
        return x

    with pytest.raises(fad.RecordingError, match="copy"):
        fad.jit(f)(np.zeros(2))


@each_tier_and_auto
def test_stats_and_tables(tier):
    f = fad.jit(lambda x: x if x > 0 else -x, tier=tier)
    assert f.stats()["recordings"] == 0 and f.tables == []
    f(1.0), f(2.0), f(-1.0)
    stats = f.stats()
    assert stats["recordings"] == stats["paths"] == 2
    assert stats["calls"] >= 3
    assert {t["tier"] for t in stats["tables"]} <= ({tier} if tier != "auto" else {"sweep", "native"})
    assert "2 recorded path" in repr(f)


def test_the_tier_of_a_function_is_inherited():
    f = fad.jit(lambda x: x * x, tier="sweep")
    g = fad.grad(f)
    g(1.0)
    assert g.stats()["tables"][0]["tier"] == "sweep"
    assert fad.grad(f, tier="native").tier == "native"


def test_decorators_and_names():
    @fad.jit
    def f(x):
        """Twice x."""
        return x * 2

    assert f.__name__ == "f" and f.__doc__ == "Twice x." and f(2.0) == 4.0

    class Model:
        def __init__(self, k):
            self.k = k

        @fad.jit
        def value(self, x):
            return self.k * x

        @functools.partial(fad.grad, argnums=1)
        def slope(self, x):
            return self.k * x * x

    assert Model(3.0).value(2.0) == 6.0
    assert Model(4.0).value(2.0) == 8.0
    assert Model(4.0).slope(2.0) == 16.0


# ── arrays that are not NumPy's own ───────────────────────────────────────────────────────────────────────────
def test_arrays_with_arithmetic_of_their_own_are_refused():
    x = np.array([1.0, 2.0])
    f = fad.jit(lambda x: np.sum(x * x))
    assert f(x) == 5.0
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.asmatrix(x)
    for other in (np.ma.masked_array(x, [False, True]), matrix):
        with pytest.raises(fad.ShapeError, match="plain array"):
            f(other)
        with pytest.raises(fad.RecordingError, match="plain array"):
            fad.jit(lambda x, other=other: x * other)(x)


def test_other_byte_orders():
    swapped = np.array([1.0, 2.0]).astype(">f8")
    same(fad.grad(lambda x: np.sum(x**3))(swapped), np.array([3.0, 12.0]))
    same(fad.jit(lambda x: x * swapped)(np.ones(2)), np.array([1.0, 2.0]))


def test_generators_are_no_results():
    def turns(x):
        yield x

    with pytest.raises(fad.RecordingError, match="returned a generator"):
        fad.jit(turns)(1.0)


@pytest.mark.parametrize("threads", [0, -1, "two"])
def test_wrong_threads(threads):
    with pytest.raises(ValueError, match="threads"):
        fad.jit(np.sin, threads=threads)
