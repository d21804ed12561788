"""Branches on types go the way that they go in NumPy: isinstance of a recorded value, and what is made of it."""

import functools
import numbers
import os

import numpy as np
import pytest

import fastad as fad

CLASSES = (
    float, int, bool, str, list, np.ndarray, np.generic, np.floating, np.integer, np.float64, np.float32, np.bool_,
    numbers.Number, numbers.Real, numbers.Integral, (int, float), float | int, (list, np.ndarray),
)  # fmt: skip
X = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -4.0]])
VALUES = {
    "array": lambda x: x, "row": lambda x: x[0], "copy": lambda x: x.copy(), "single": lambda x: x.astype(np.float32),
    "mask": lambda x: x > 0, "places": lambda x: np.argsort(x), "empty": lambda x: x[:0], "made": np.zeros_like,
    "view of a number": lambda x: x[0, 0, ...], "number": lambda x: x[0, 0], "sum": lambda x: np.sum(x),
    "single number": lambda x: x.astype(np.float32)[0, 0], "truth": lambda x: x[0, 0] > 0,
    "place": np.argmax,
}  # fmt: skip


def answers(value):
    return [isinstance(value, kind) for kind in CLASSES] + [np.isscalar(value), issubclass(value.__class__, np.generic)]


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_isinstance_answers_as_in_numpy(make):
    found = []
    fad.jit(lambda x: found.extend(answers(make(x))) or x)(X)
    assert found == answers(make(X))


def test_a_float_argument_is_a_float():
    found = []
    fad.grad(lambda x: found.extend([isinstance(x, float), isinstance(x, numbers.Real), np.isscalar(x)]) or x * x)(2.0)
    assert found == [True] * 3


def branching(x):
    scale = 2.0 if isinstance(x[0, 0], float) else 5.0
    rows = list(x) if isinstance(x, np.ndarray) else [x]
    return sum(scale * np.sum(r * r) if isinstance(r, np.ndarray) else 0.0 * r for r in rows)


def test_branches_and_their_derivatives():
    assert fad.jit(branching)(X) == branching(X)
    np.testing.assert_allclose(fad.grad(branching)(X), 4 * X)
    np.testing.assert_allclose(fad.jit(fad.grad(branching))(X), 4 * X)
    each = fad.vmap(lambda r: r[0] if isinstance(r[0], float) else r[1])
    np.testing.assert_array_equal(each(X), X[:, 0])
    np.testing.assert_array_equal(fad.scan(lambda c, r: (c, r * isinstance(r, np.ndarray)), 0.0, X)[1], X)


@functools.singledispatch
def described(x):
    return "object"


@described.register
def _(x: float):
    return "float"


@described.register
def _(x: np.ndarray):
    return "array"


def test_single_dispatch():
    found = []
    fad.jit(lambda x: found.extend(map(described, (x, x[0], x[0, 0], x[0, 0] > 0))) or x)(X)
    assert found == ["array", "array", "float", "object"]


def test_libraries_are_told_that_the_value_is_not_in_memory():
    found, place = [], os.path.join(os.path.dirname(np.__file__), "lib", "some_module.py")
    asks = compile("isinstance(x, np.ndarray), isinstance(x, float)", place, "eval")
    fad.jit(lambda x: found.extend(eval(asks, {"np": np, "x": x})) or x)(X)
    assert found == [False, False]
