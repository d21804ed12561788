"""float32: conversions round as NumPy's and have derivative one; results are those of float64, rounded once."""

import numpy as np
import pytest
from thread_tools import in_threads
from transform_tools import each_tier

import fastad as fad
from fastad.execution.work_memory import WORK

HALF = 2.0**128 - 2.0**103  # half-way between the largest float32 number and 2¹²⁸: rounds to infinity
GRID = np.concatenate([2.0 ** np.arange(-151.0, 129), [0.0, np.inf, np.nan, HALF, np.nextafter(HALF, 0), 1e300]])


def hard_cases():
    """Numbers that are hard to round: at and beside what float32 holds, and half-way between two such numbers."""
    rng = np.random.default_rng(5)
    single = (rng.normal(size=2000) * 2.0 ** rng.integers(-149, 127, 2000)).astype(np.float32)
    half = (single.astype(float) + np.nextafter(single, np.float32(np.inf)).astype(float)) / 2
    found = np.concatenate([GRID, single, half, rng.normal(size=2000) * 10.0 ** rng.integers(-50, 50, 2000)])
    found = np.concatenate([found, np.nextafter(found, 0), np.nextafter(found, 9)])
    return np.concatenate([found, -found])


@each_tier
def test_conversions_round_as_numpys(tier):
    x = hard_cases()
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float32)
    found = fad.jit(lambda x: x.astype(np.float32), tier=tier)(x)
    there_and_back = fad.jit(lambda x: x.astype(np.float32).astype(float), tier=tier)(x)
    for result in (found, there_and_back):
        np.testing.assert_array_equal(result, wanted)
        np.testing.assert_array_equal(np.signbit(result)[wanted == 0], np.signbit(wanted)[wanted == 0])
    assert found.dtype == np.float32 and there_and_back.dtype == np.float64


@each_tier
def test_integers_and_writes_round(tier):
    def f(x, n):
        y = np.zeros(3, np.float32)
        y[:2] = x
        y[2] = n
        return y.astype(float), n.astype(np.float32).astype(int)

    x, n = np.array([0.1, 1e9 + 1]), np.int64(2**24 + 1)
    for found, wanted in zip(fad.jit(f, tier=tier)(x, n), f(x, n), strict=True):
        np.testing.assert_array_equal(found, wanted)


@each_tier
def test_the_derivative_is_that_of_the_number(tier):
    def f(x):
        return np.sum(np.sin(x.astype(np.float32)) * x)

    x, v = np.array([0.1, 0.7, -2.3]), np.array([1.0, -0.5, 2.0])
    rounded = x.astype(np.float32).astype(float)
    gradient = np.cos(rounded) * x + np.sin(rounded)
    np.testing.assert_allclose(fad.grad(f, tier=tier)(x), gradient, rtol=1e-14)
    value, tangent = fad.jvp(f, (x,), (v,))
    np.testing.assert_allclose([value, tangent], [np.sum(np.sin(rounded) * x), v @ gradient], rtol=1e-14)
    hessian = np.diag(2 * np.cos(rounded) - np.sin(rounded) * x)
    np.testing.assert_allclose(fad.hessian(f, tier=tier)(x), hessian, rtol=1e-14, atol=1e-14)
    fad.check_adjoint(lambda x: np.cumsum(x.astype(np.float32) * x), (x,))


@each_tier
@pytest.mark.parametrize("n", [3, 1000, 70_000])
def test_results_are_those_of_float64_rounded(tier, n):
    def f(x, y):
        return x * y - np.tanh(x), np.sum(x * y), np.float32(2.0) * y

    x = np.linspace(-1, 1, n, dtype=np.float32)
    y = np.cos(x)
    wanted = [z.astype(np.float32) for z in f(x.astype(float), y.astype(float))]
    for layout in (x, np.repeat(x, 2)[::2], x[::-1][::-1]):
        found = fad.jit(f, tier=tier)(layout, y)
        for got, known in zip(found, wanted, strict=True):
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, known, rtol=2e-7, atol=1e-7)
    gradient = fad.grad(lambda x, y: np.sum(x * y - np.tanh(x)), tier=tier)(x, y)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, y - 1 + np.tanh(x.astype(float)) ** 2, rtol=1e-6, atol=1e-6)


def test_memory_for_conversions_is_shared_but_never_at_once():
    n, wrong = 50_000, []
    f = fad.jit(lambda x, k, mask: (x * k, k + 1, np.where(mask, x, -x)), tier="native")
    x, k = np.linspace(0, 1, n, dtype=np.float32), np.arange(n)
    kept = f(x, k, x > 0.5)

    def work(thread):
        own = x * np.float32(thread)
        for _ in range(10):
            product, more, chosen = f(own, k * thread, own > 0.5)
            if not (
                np.array_equal(product, own * (k * thread)) and np.array_equal(more, k * thread + 1)
                and np.array_equal(chosen, np.where(own > 0.5, own, -own))
            ):
                wrong.append(thread)

    in_threads(work, 4)
    assert not wrong
    np.testing.assert_array_equal(kept[0], x * k)  # results are the caller's own
    assert kept[0].dtype == np.float64 and kept[1].dtype == np.int64 and kept[2].dtype == np.float32
    assert WORK.nbytes <= 8 * 2**25


@each_tier
def test_integers_of_large_arrays_are_exact_or_an_error(tier):
    f = fad.jit(lambda k: k - 1, tier=tier)
    k = np.full(1000, 2**53 - 1)
    np.testing.assert_array_equal(f(k), k - 1)
    np.testing.assert_array_equal(f(-k + 1), -k)
    for beyond in (2**53, -(2**53)):
        k[7] = beyond
        with pytest.raises(OverflowError, match="2⁵³"):
            f(k)
    with pytest.raises(OverflowError, match="2⁵³"):
        f(np.full(1000, -(2**53) + 1) * np.array(1))
