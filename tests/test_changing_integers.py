"""An integer argument that changes is an input; where Python needs the number itself, every value has a recording."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_tools import each_tier

import fastad as fad

X = np.array([0.5, -1.5, 2.0])
DATA = np.arange(30.0).reshape(10, 3)

# What becomes an input, and in how many recordings at most: one for the first value, one for all others, one a branch.
INPUTS = {
    "not used": (lambda x, i: np.sum(x * x), 2),
    "learning rate": (lambda x, i: np.sum(x * x) * 0.1 / (1 + i), 2),
    "power": (lambda x, i: np.sum(x * 0.9**i), 2),
    "exponent": (lambda x, i: np.sum(np.abs(x) ** i), 2),
    "branch": (lambda x, i: np.sum(x) * (2.0 if i % 3 == 0 else 1.0), 4),
    "arithmetic": (lambda x, i: np.sum(x) * ((7 * i - 3) // 2 % 5 + abs(-i)), 2),
    "truth": (lambda x, i: np.sum(x) * (2.0 if i - 3 else 1.0), 3),
    "minibatch": (lambda x, i: np.sum(x * DATA[i % 3]), 4),
    "quotient": (lambda x, i: np.sum(x) * (1 / (1 + 0.01 * i)), 2),
    "ufunc": (lambda x, i: np.sum(x) * np.sqrt(i + 1), 2),
    "keyword": (lambda x, *, i=0: np.sum(x) * i, 2),
    "where": (lambda x, i: np.sum(np.where(x > i, x, i)), 2),
    "recorded index": (lambda x, i: np.sum(x * np.asarray(DATA, like=x)[i]), 2),
    "scan": (lambda x, i: fad.scan(lambda c, y: (c * 0.5 + y * i, None), 0.0, x)[0], 2),
}
VALUES = {
    "range": lambda x, i: sum((np.sum(x) * k for k in range(i)), 0.0),
    "index": lambda x, i: np.sum(x * DATA[i]),
    "slice": lambda x, i: np.sum(x * DATA[i : i + 2]),
    "shape": lambda x, i: np.sum(x) * np.ones(i).size,
    "power of a list": lambda x, i: np.sum(x) * len([1.0] * i),
    "name": lambda x, i: np.sum(x) * {0: 1.0, 1: 2.0}.get(i, 3.0),
    "type": lambda x, i: np.sum(x) * (i if isinstance(i, int) and not hasattr(i, "ndim") else -1),
    "float": lambda x, i: np.sum(x) * float(i),
    "text": lambda x, i: np.sum(x) * len(str(i)),
    "membership": lambda x, i: np.sum(x) * (1.0 if i in (2, 5) else 2.0),
    "minimum": lambda x, i: np.sum(x) * min(i, 4),
}


@each_tier
@pytest.mark.parametrize("name", INPUTS)
def test_one_recording_for_all_values(name, tier):
    f, most = INPUTS[name]
    value, gradient = fad.jit(f, tier=tier), fad.grad(f, tier=tier)
    keyword = {"i": 0} if f.__code__.co_kwonlyargcount else None
    for i in (0, 0, 1, 2, 3, 7, 2, 8, 9):
        arguments, options = ((X,), {"i": i}) if keyword else ((X, i), {})
        np.testing.assert_allclose(value(*arguments, **options), f(*arguments, **options), rtol=1e-13, err_msg=str(i))
        if name != "where":
            rest = arguments[1:]
            slope = [f(X + h, *rest, **options) - f(X - h, *rest, **options) for h in 1e-6 * np.eye(3)]
            found = gradient(*arguments, **options)
            np.testing.assert_allclose(found, np.array(slope) / 2e-6, rtol=1e-6, atol=1e-8, err_msg=str(i))
    assert value.stats()["recordings"] <= most


@pytest.mark.parametrize("name", VALUES)
def test_where_python_needs_the_number(name):
    f = VALUES[name]
    value = fad.jit(f)
    for i in (1, 1, 2, 3, 5, 2, 6, 7):
        np.testing.assert_allclose(value(X, i), f(X, i), rtol=1e-14, err_msg=str(i))
    count = value.stats()["recordings"]
    for i in (1, 2, 3, 5, 6, 7):
        value(X, i)
    assert value.stats()["recordings"] == count <= 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_it_follows_the_dtype_of_arrays(dtype):
    f = lambda x, i: x * (1 + i) / (2 * i + 1)
    x, g = np.ones(3, dtype), fad.jit(f)
    for i in (1, 2, 3):
        assert g(x, i).dtype == f(x, i).dtype


def test_python_says_what_division_by_zero_is():
    f = fad.jit(lambda x, i: x * (1 / i))
    assert [f(1.0, 1), f(1.0, 2)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError):
        f(1.0, 0)
    assert f(1.0, 4) == 0.25


def test_large_integers_and_truth_values_are_constants():
    f = fad.jit(lambda x, i: x * (i % 10))
    assert [f(1.0, i) for i in (1, 2**60 + 3, 10**30 + 7, 2)] == [1.0, float((2**60 + 3) % 10), 7.0, 2.0]
    g = fad.jit(lambda x, flag: x if flag else -x)
    assert [g(1.0, flag) for flag in (True, False, True)] == [1.0, -1.0, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_that_no_dtype_holds_are_floats(dtype):
    f = fad.jit(lambda x, n: x * n)
    for n in (2**63, 2**70, 3, -(2**63) - 1, 2**64 + 1):
        for x in (np.ones(3, dtype), np.ones((), dtype)[()], 1.5):
            found, wanted = f(x, n), x * n
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == getattr(wanted, "dtype", np.float64)
    assert fad.grad(lambda x: x * x)(2**70) == 2.0**71
    assert fad.jit(lambda x, n: (x, n, n // 2**60))(1.0, 2**70) == (1.0, 2**70, 2**10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_sums_of_equal_elements_keep_their_dtype(dtype):
    a = np.ones(4, dtype)
    f = lambda x, n: ((a * n).sum(), (np.array([3, 3]) * n).sum(), np.broadcast_to(x, (5,)).sum())
    g = fad.jit(f)
    for n in (1, 2, 3):
        for found, wanted in zip(g(a[0], n), f(a[0], n), strict=True):
            assert found == wanted and found.dtype == wanted.dtype


def test_inside_other_transformations():
    inner = fad.jit(lambda x, i: np.sum(x * i))
    f = fad.grad(lambda x, i: inner(x, i) * i)
    g = fad.vmap(lambda x, i: x * i)
    h = fad.jacobian(lambda x, i: x**2 * i)
    for i in (1, 2, 3):
        np.testing.assert_array_equal(f(X, i), np.full(3, i * i))
        np.testing.assert_array_equal(g(X, i), X * i)
        np.testing.assert_allclose(h(X, i), np.diag(2 * X * i))
        assert fad.jvp(lambda x, n: x * n, (2.0, i), (1.0, 1))[1] == i + 2.0


EXACT = {
    "sum of comparisons": (lambda x, i: x * ((i > 3) + (i > 1)), (2, 5, 7)),
    "not a comparison": (lambda x, i: x * (not i > 9), (2, 5, 12)),
    "large products": (lambda x, i: x * (i * i % 1000007), (3, 5, 10**9 + 7)),
    "large powers": (lambda x, i: x * ((i + 1) ** 40 % 1000), (3, 5, 7)),
    "negative exponents": (lambda x, i: x * 2.0**i + 2**i, (2, 3, -2, -1)),
    "negative powers": (lambda x, i: x * i**-2, (2, 3, 5)),
    "bits": (lambda x, i: x * ((i << 1) + (i & 3) + (1 << i) + (~i)), (1, 2, 5)),
    "modular powers": (lambda x, i: x * pow(i, 2, 5), (1, 2, 3)),
    "seeds": (lambda x, i: x * np.random.default_rng(i).integers(9), (1, 2, 3)),
    "text": (lambda x, i: x * len(f"{i!r}{i}"), (1, 20, 300)),
    "identity": (lambda x, i: x * (2.0 if (i > 3) is True else 1.0), (1, 5, 2)),
}


@pytest.mark.parametrize("name", EXACT)
def test_it_is_pythons_integer(name):
    f, values = EXACT[name]
    g = fad.jit(f)
    for i in (*values, *values):
        np.testing.assert_allclose(g(X, i), f(X, i), rtol=1e-14, err_msg=str(i))


def test_caches_and_lists_outside_hold_plain_integers():
    cache, seen, best = {}, [], [0]

    def weights(i):
        if i not in cache:
            cache[i] = np.arange(3.0) * i
        return cache[i]

    def store(x, i):
        best[0] = max(best[0], i)
        seen.append(i)
        return x * i

    f, g = fad.jit(lambda x, i: x * weights(i)), fad.jit(store)
    for i in (1, 2, 3, 2):
        np.testing.assert_array_equal(f(X, i), X * np.arange(3.0) * i)
        np.testing.assert_array_equal(g(X, i), X * i)
    assert sorted(cache) == [1, 2, 3] and weights(2).tolist() == [0.0, 2.0, 4.0]
    assert seen[0] == 1 and best[0] + 1 == 4


def test_saved(tmp_path):
    f = fad.jit(lambda x, i: np.sum(x * i))
    for i in (1, 2, 3):
        f(X, i)
    f.save(tmp_path / "f.npz")
    g = fad.load(tmp_path / "f.npz")
    assert [g(X, i) for i in (1, 5, 6)] == [np.sum(X * i) for i in (1, 5, 6)]


OPERATIONS = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "//": lambda a, b: a // (abs(b) + 1),
    "%": lambda a, b: a % (abs(b) + 1), "/": lambda a, b: a / (b * b + 1), "neg": lambda a, b: -a,
    "pow": lambda a, b: a**2, "if": lambda a, b: a if b > 2 else -a, "max": lambda a, b: max(a, b),
    "abs": lambda a, b: abs(a),
}  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 9), st.integers(0, 9)), max_size=6),
       st.lists(st.integers(-4, 6), min_size=3, max_size=6))  # fmt: skip
@settings(deadline=None)
def test_arithmetic_is_pythons(steps, values):
    def f(x, i):
        found = [i, 3, 2.5]
        for name, a, b in steps:
            found.append(OPERATIONS[name](found[a % len(found)], found[b % len(found)]))
        return x * found[-1]

    g = fad.jit(f)
    for i in values:
        for x in (np.float32([1.5]), np.array([1.5])):
            found, wanted = g(x, i), f(x, i)
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=1e-6 if x.dtype == np.float32 else 1e-12)
