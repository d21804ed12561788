"""Functions whose reads and writes depend on indices: segments, repeated places, iterators, distinct elements."""

import numpy as np
import pytest
from recording_tools import check
from test_numpy_functions import split

import fastad as fad
from fastad.errors import RecordingError

STARTS = [0, 4, 4, 2, 9]


def vector(rng):
    return [np.round(rng.uniform(0.2, 2.0, 12), 3)]


def matrix(rng):
    return [rng.uniform(0.2, 2.0, (5, 6))]


CASES = """
np.add.reduceat(x, STARTS) | np.multiply.reduceat(x, STARTS) | np.maximum.reduceat(x, STARTS)
np.logaddexp.reduceat(x, [3]) | np.add.reduceat(x > 1, STARTS)
np.unique(np.concatenate([x, x[2:5]]), return_index=True, return_inverse=True, return_counts=True)
np.unique(np.concatenate([x[:3], [np.nan, np.nan]])) | np.union1d(x[:4], x[2:8])
np.trim_zeros(np.concatenate([[0.0, 0.0], x, [0.0]])) | np.trim_zeros(np.concatenate([[0.0], x, [0.0]]), "f")
np.trim_zeros(0 * x) | np.poly1d(x[:4])(0.5) | np.lib.stride_tricks.as_strided(x, (8, 5), 2 * x.strides).sum(1)
np.nanmedian(np.where(x > 1, x, np.nan)) | np.nanquantile(np.where(x > 1, x, np.nan), [0.1, 0.7])
np.frompyfunc(lambda a: a * a, 1, 1)(x).astype(float) | np.histogram2d(np.arange(12), np.arange(12) % 5, 3, weights=x)
np.histogramdd([np.arange(12.0), np.arange(12) % 5], [2, 3], density=True, weights=x)[0]
"""
MATRICES = """
np.add.reduceat(x, [0, 2, 5], axis=1) | np.minimum.reduceat(x, [1, 0], axis=-2)
np.nanpercentile(np.where(x > 0.5, x, np.nan), 30, axis=1, keepdims=True) | np.nanmedian(x * np.nan, axis=0)
np.pad(x, 2, mode="linear_ramp", end_values=3.0) | np.pad(x, ((1, 2), (0, 3)), mode="mean")
np.pad(x, ((1, 2), (0, 3)), mode="maximum", stat_length=2) | np.pad(x, 1, mode="median") | np.pad(x, 1, mode="minimum")
np.einsum("ij,kj,kl->il", x, x, x, optimize=np.einsum_path("ij,kj,kl->il", x, x, x)[0])
"""


def function(text):
    return eval(f"lambda x: {text}", {"np": np, "STARTS": STARTS})


@pytest.mark.parametrize("text", split(CASES))
@pytest.mark.filterwarnings("ignore:All-NaN slice encountered")
def test_of_vectors(text):
    check(function(text), vector, differentiate="nan, np.nan" not in text)


@pytest.mark.parametrize("text", split(MATRICES))
@pytest.mark.filterwarnings("ignore:All-NaN slice encountered")
def test_of_matrices(text):
    check(function(text), matrix, differentiate="nan)" not in text)


# ── ufunc.at ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", ["multiply", "maximum", "minimum", "divide", "power", "subtract", "arctan2", "hypot"])
@pytest.mark.parametrize("key", [[3, 0, 3, 1], (slice(1, 4), [0, 0]), np.arange(4) > 1], ids=["list", "grid", "mask"])
def test_ufunc_at(name, key):
    def f(x):
        y = np.ones((4, 3)) + np.zeros((4, 3)) if isinstance(key, tuple) else 1.5 * np.ones(4)
        y[0] = 2 * x[0]
        places = np.empty(y.shape)[key].shape
        getattr(np, name).at(y, key, np.resize(x, places))
        return y

    check(f, vector)


def test_ufunc_at_of_one_operand():
    def f(x):
        y = x.copy()
        np.sin.at(y, [0, 0, 5])
        np.negative.at(y, slice(2, 4))
        return y

    check(f, vector)


# ── np.nditer ─────────────────────────────────────────────────────────────────────────────────────────────────
def summed(x):
    total = 0.0
    for v in np.nditer(x):
        total = total + np.sin(v)
    return total


def in_order(order):
    def f(x):
        return np.stack([v * k for k, v in enumerate(np.nditer(x, order=order))])

    return f


def doubled(x):
    y = x.copy()
    with np.nditer(y, flags=["multi_index"], op_flags=["readwrite"]) as it:
        for v in it:
            v[...] = 2 * v * it.multi_index[0]
    return y


def by_hand(x):
    it, total = np.nditer(x, flags=["multi_index", "c_index"]), 0.0
    while not it.finished:
        total = total + it[0] * it.index + x[it.multi_index] ** 2
        it.iternext()
    return total


def allocated(x):
    it = np.nditer([x, x[:, :1], None], op_flags=[["readonly"], ["readonly"], ["writeonly", "allocate"]])
    for a, b, out in it:
        out[...] = a * b
    return it.operands[2]


def into_a_buffer(x):
    out = np.zeros_like(x)
    for a, y in np.nditer([x, out], op_flags=[["readonly"], ["writeonly"]]):
        y[...] = np.exp(a)
    return out


@pytest.mark.parametrize(
    "f",
    [summed, in_order("C"), in_order("F"), lambda x: in_order("K")(x.T), lambda x: in_order("K")(x[::-1]), doubled,
     by_hand, allocated, into_a_buffer],
)  # fmt: skip
def test_nditer(f):
    check(f, matrix)


def test_nditer_says_what_it_does_not_take():
    def f(x):
        return sum(np.sum(v) for v in np.nditer(x, flags=["external_loop"]))

    with pytest.raises(RecordingError, match=r"external_loop.*test_index_methods.*whole arrays"):
        fad.grad(f)(np.ones(3))


# ── errors as NumPy's ─────────────────────────────────────────────────────────────────────────────────────────
def test_indices_out_of_range():
    with pytest.raises(IndexError, match="index 7 out-of-bounds"):
        fad.grad(lambda x: np.sum(np.add.reduceat(x, [0, 7])))(np.ones(5))


def test_the_path_changes_with_distinct_elements():
    def f(x):
        return np.sum(np.unique(x) ** 2)

    for x in ([1.0, 2.0, 3.0], [1.0, 1.0, 3.0], [5.0, 2.0, 2.0]):
        assert fad.jit(f)(np.array(x)) == f(np.array(x))


@pytest.mark.parametrize("f", [
    lambda x: np.searchsorted(x, 0.5, sorter=[0, 1]), lambda x: np.lexsort((x, x[:3])),
])  # fmt: skip
def test_companions_of_another_length_are_an_error_as_in_numpy(f):
    for run in (f, fad.jit(f)):
        with pytest.raises(ValueError):
            run(np.arange(6.0))
