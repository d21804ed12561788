"""numba_function: compiled functions and gradients inside the user's own @njit code."""

import numba
import numpy as np
import pytest
from transform_tools import each_tier, each_tier_and_auto, same

import fastad as fad


@each_tier_and_auto
@pytest.mark.parametrize("n", [2, 257, 5000])
def test_values_and_gradients(tier, n, rng):
    f = fad.value_and_grad(lambda x, k: k * np.sum(np.sin(x)), tier=tier)
    x = rng.normal(size=n)
    f.prepare(x, 2.0)
    g = f.numba_function

    @numba.njit
    def use(x):
        total = 0.0
        for i in range(3):
            value, gradient = g(x, float(i))
            total += value + gradient[0]
        return total, gradient

    total, gradient = use(x)
    np.testing.assert_allclose(total, 3 * (np.sum(np.sin(x)) + np.cos(x[0])), rtol=1e-11)
    same(gradient, 2 * np.cos(x))
    _, gradient = g(x[::-1], 1.0)  # strided, and called from Python
    same(gradient, np.cos(x[::-1]))


@each_tier
def test_several_results_of_all_kinds(tier):
    f = fad.jit(lambda p, k: {"a": p["x"] * k, "b": (np.sum(p["x"]), p["x"] > 1, p["i"] * 2, "text")}, tier=tier)
    f({"x": np.ones((2, 2)), "i": np.arange(3)}, 2.0)
    g = f.numba_function
    x, i = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 2, 3])
    # Arguments and results in the order of the leaves: dictionaries by their keys.
    a, total, greater, doubled = g(i, x, 3.0)
    same(a, 3 * x), same(total, np.float64(10.0)[()] if isinstance(total, np.generic) else 10.0)
    assert greater.tolist() == [[False, True], [True, True]] and greater.dtype == np.bool_
    assert doubled.tolist() == [2, 4, 6] and doubled.dtype == np.int64


@each_tier
def test_single_precision(tier):
    f = fad.grad(lambda x: np.sum(x**2), tier=tier)
    x = np.array([1.0, 2.0], np.float32)
    f(x)
    assert f.numba_function(x).dtype == np.float32
    assert f.numba_function(x).tolist() == [2.0, 4.0]


@each_tier
def test_wrong_shapes_branches_and_indices(tier):
    f = fad.jit(lambda x, i: x[i] * 2 if x[0] > 0 else x[i], tier=tier)
    f(np.ones(3), np.array([0, 1]))
    g = f.numba_function
    assert g(np.arange(1.0, 4.0), np.array([2, -1])).tolist() == [6.0, 6.0]
    with pytest.raises(ValueError, match="expected shape"):
        g(np.ones(4), np.array([0, 1]))
    with pytest.raises(ValueError, match="expected shape"):
        g(np.ones((3, 1)), np.array([0, 1]))
    with pytest.raises(RuntimeError, match="path"):
        g(-np.ones(3), np.array([0, 1]))
    with pytest.raises(IndexError, match="out of bounds"):
        g(np.ones(3), np.array([0, 3]))

    @numba.njit
    def caught(x, i):
        try:
            g(x, i)
        except Exception:
            return 1
        return 0

    assert caught(np.ones(3), np.array([0, 3])) == 1


@each_tier
def test_captured_arrays_are_read_anew(tier):
    """Contiguous, strided, and of other types, in one function: numba compiles it once."""
    n = 3
    a, b = np.arange(float(n)), np.arange(float(n))
    captured = (a, b[::-1], np.arange(n), np.ones(n, np.float32))
    f = fad.jit(lambda x: tuple(np.sum(x * c) for c in captured), tier=tier)
    f(np.ones(n))
    g = f.numba_function

    @numba.njit
    def use(x):
        return g(x)

    for value in (2, 3):
        for k, array in enumerate(captured):
            array[:] = value + 10 * k
        assert use(np.ones(n)) == tuple((value + 10 * k) * n for k in range(len(captured)))


@pytest.mark.parametrize("which", range(4))
def test_a_large_captured_array_is_read_anew(which):
    n = 1000
    a = np.arange(float(n))
    captured = (a, a[::-1], np.arange(n), np.ones(n, np.float32))[which]
    f = fad.jit(lambda x, c=captured: np.sum(x * c), tier="native")
    f(np.ones(n))
    g = f.numba_function

    @numba.njit
    def use(x):
        return g(x)

    for value in (2, 3):
        captured[:] = value
        assert use(np.ones(n)) == value * n


@each_tier
def test_in_parallel_loops(tier):
    f = fad.value_and_grad(lambda x: np.sum(np.exp(x)), tier=tier)
    f(np.zeros(4))
    g = f.numba_function

    @numba.njit(parallel=True)
    def use(points):
        values = np.empty(len(points))
        for i in numba.prange(len(points)):
            value, gradient = g(points[i])
            values[i] = value + gradient[0]
        return values

    points = np.random.default_rng(0).normal(size=(2000, 4))
    np.testing.assert_allclose(use(points), np.exp(points).sum(1) + np.exp(points[:, 0]), rtol=1e-13)


@each_tier
def test_static_arguments_and_keywords_are_left_out(tier):
    f = fad.jit(lambda x, n, *, k: x**n * k, tier=tier)
    f(2.0, 3, k=1.5)
    assert f.numba_function(3.0, 2.0) == 54.0


@each_tier
def test_composite_rows(tier):
    f = fad.grad(fad.checkpoint(lambda x: np.sum(np.sin(x))), tier=tier)
    x = np.array([0.5, 1.0])
    f(x)
    same(f.numba_function(x), np.cos(x))


def test_the_function_outlives_what_it_was_made_from():
    import gc

    a = np.arange(1000.0)
    f = fad.jit(lambda x: x * np.arange(1000.0))
    f(1.0)
    g = f.numba_function
    del f
    gc.collect()
    same(g(2.0), 2 * a)


def test_not_recorded_yet():
    with pytest.raises(fad.RecordingError, match="once"):
        fad.jit(lambda x: x).numba_function  # noqa: B018


def test_the_same_function_again():
    f = fad.jit(lambda x: x * 2)
    f(1.0)
    assert f.numba_function is f.numba_function


@pytest.mark.parametrize("n", [3, 1000])
def test_several_captured_arrays_keep_their_copies(n):
    """Those that are copied for the kernel live until it has run; a view is read where it lies."""
    a, b, c = np.arange(float(n)), np.arange(float(n))[::-1], np.arange(n)
    f = fad.jit(lambda x: tuple(np.sum(x * own) for own in (a, b, c)), tier="native")
    f(np.ones(n))
    g = f.numba_function
    a[:], b[:], c[:] = 2, 3, 4
    assert numba.njit(lambda x: g(x))(np.ones(n)) == (2 * n, 3 * n, 4 * n)
    assert f(np.ones(n)) == (2 * n, 3 * n, 4 * n)
