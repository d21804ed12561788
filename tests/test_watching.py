"""What a function does with the elements of arrays from outside: never a stale branch or number, and no new recording
where the arrays are only operands of recorded operations."""

import functools
import itertools
import operator
import pickle
import statistics
from collections import namedtuple

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import fastad as fad

X = np.array([1.5, -0.5])
SIZES = pytest.mark.parametrize("n", [4, 120_000])

# Ways to look into an array. All are positive where its elements are, and negative where they are.
LOOKS = {
    "element": lambda a: a[0],
    "element_of_a_view": lambda a: a[1:][::2].reshape(-1, 1).T[0, 0],
    "row": lambda a: next(iter(a.reshape(2, -1)))[0],
    "iteration": lambda a: next(x for x in a),
    "unpacked": lambda a: (lambda first, *others: first)(*a[:3]),
    "zip": lambda a: next(zip(a, a, strict=True))[1],
    "maximum": lambda a: max(a[:10]),
    "sorted": lambda a: sorted(a[:10])[0],
    "method": lambda a: a.sum(),
    "ufunc": lambda a: np.exp(a)[0] - 1,
    "reduction": lambda a: np.add.reduce(a),
    "function": lambda a: np.median(a),
    "comparison": lambda a: np.all(a > 0) - 0.5,
    "sum_of_products": lambda a: (a @ a) * a.min(),
    "float": lambda a: float(a[0]),
    "truth": lambda a: bool(a[:1] > 0) - 0.5,
    "item": lambda a: a.item(0),
    "list": lambda a: a.tolist()[0],
    "flat": lambda a: a.flat[0],
    "bytes": lambda a: np.frombuffer(a.tobytes())[0],
    "memory": lambda a: memoryview(a)[0],
    "nditer": lambda a: float(next(iter(np.nditer(a)))),
    "text": lambda a: float(str(a[0])),
    "pickle": lambda a: pickle.loads(pickle.dumps(a))[0],
    "interface": lambda a: np.asarray(type("M", (), {"__array_interface__": a.__array_interface__})())[0],
    "asarray": lambda a: np.asarray(a)[0],
    "array": lambda a: np.array(a, dtype=np.float32)[0],
    "float64": lambda a: np.float64(a[:1]).item(),
    "windows": lambda a: sliding_window_view(a, 2)[0, 0],
    "strided": lambda a: as_strided(a, (1,), (8,))[0],
    "statistics": lambda a: statistics.mean(a[:4].tolist()),
    "accumulated": lambda a: list(itertools.accumulate(a[:4]))[-1],
    "getter": lambda a: operator.itemgetter(0)(a),
    "copied": lambda a: a.copy()[0],
    "masked": lambda a: np.ma.masked_array(a).mean(),
    "vectorized": lambda a: np.vectorize(lambda v: v)(a[:2])[0],
    "write": lambda a: a.__setitem__(0, 2 * a[0]) or a.__setitem__(0, a[0] / 2) or a[0],
    "replay": lambda a: fad.jit(lambda s: np.sum(a * s))(1.0),
    "checkpoint": lambda a: fad.checkpoint(lambda s: np.sum(a * s))(1.0),
}  # fmt: skip

Pair = namedtuple("Pair", "first second")


class Slots:
    __slots__ = ("array",)


def held_in_a_class(a):
    class Data:
        array = a

    return lambda look, x: branch(look, x, Data.array)


def held_in_slots(a):
    slots = Slots()
    slots.array = a
    return lambda look, x: branch(look, x, slots.array)


def held_by_a_cache(a):
    @functools.lru_cache
    def data():
        return a

    return lambda look, x: branch(look, x, data())


def branch(look, x, a):
    return x * a[:2] if look(a) > 0 else a[:2] - x


# Places that hold an array: functions of it that give a function of a look and x.
HOLDERS = {
    "cell": lambda a: lambda look, x: branch(look, x, a),
    "list": lambda a: (lambda things: lambda look, x: branch(look, x, things[0]["a"]))([{"a": a}]),
    "tuple": lambda a: (lambda things: lambda look, x: branch(look, x, things[1][0]))((1.0, (a, a))),
    "namedtuple": lambda a: (lambda pair: lambda look, x: branch(look, x, pair.second))(Pair([a], a)),
    "default": lambda a: lambda look, x, data=a: branch(look, x, data),
    "keyword": lambda a: lambda look, x, *, data=a: branch(look, x, data),
    "partial": lambda a: functools.partial(lambda data, look, x: branch(look, x, data), a),
    "class": held_in_a_class,
    "slots": held_in_slots,
    "cache": held_by_a_cache,
}


def never_stale(f, a):
    """The same table for several changes, and then another branch."""
    jitted = fad.jit(f)
    gradient = fad.grad(lambda x: np.sum(jitted(x)))
    for k, sign in enumerate([1, 1, 1, 1, 1, 1, -1, -1, 1]):
        a[...] = sign * (1 + 0.1 * k + np.linspace(0, 1, a.size))
        np.testing.assert_array_equal(jitted(X), f(X))
        np.testing.assert_array_equal(gradient(X), a[:2] if sign > 0 else [-1, -1])
    return jitted


@SIZES
@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_an_array_that_the_function_looks_into_is_compared_at_every_call(n, look):
    a = np.empty(n)
    never_stale(lambda x: branch(look, x, a), a)


@pytest.mark.parametrize("hold", HOLDERS.values(), ids=HOLDERS)
def test_wherever_it_is_held(hold):
    a = np.empty(4)
    never_stale(functools.partial(hold(a), LOOKS["element"]), a)


# ── what is not looked into ───────────────────────────────────────────────────────────────────────────────────
OPERANDS = {
    "product": lambda x, a: x * a[:2],
    "reflected": lambda x, a: a[:2] * x + 2.0,
    "matrix": lambda x, a: a[:4].reshape(2, 2) @ x,
    "transposed": lambda x, a: np.dot(a[:4].reshape(2, 2).T, x),
    "asarray": lambda x, a: np.asarray(a)[None, :2] * x,
    "ravelled": lambda x, a: np.ravel(a)[:2] * x,
    "shape": lambda x, a: x * a[: len(a) // 2][:2] * (1.0 if a.ndim == 1 and np.size(a) > 2 else 2.0),
    "stacked": lambda x, a: np.stack([x, a[:2]]) * np.zeros_like(a)[:2],
    "truth_of_a_recorded_value": lambda x, a: x if np.sum(x * a[:2]) > 0 else -x,
    "nested": lambda x, a: fad.grad(lambda y: np.sum(y**2 * a[:2]))(x),
    "argument_of_a_nested_one": lambda x, a: fad.grad(lambda y, b: np.sum(y**2 * b))(x, a[:2]),
}


@SIZES
@pytest.mark.parametrize("f", OPERANDS.values(), ids=OPERANDS)
def test_an_array_that_is_only_an_operand_is_read_anew(n, f):
    a = np.empty(n)
    jitted = fad.jit(lambda x: f(x, a))
    for k in range(12):
        a[...] = k + np.linspace(1, 2, n)
        np.testing.assert_allclose(jitted(X), f(X, a), rtol=1e-13, atol=1e-12)
    assert jitted.stats()["recordings"] <= 2


def test_one_array_decides_and_another_is_an_operand():
    decides, data = np.array([1.0, 2.0]), np.ones(2)
    jitted = fad.jit(lambda x: x * data if decides[0] > 0 else -x * data)
    for k in range(10):
        data[...] = k
        np.testing.assert_array_equal(jitted(X), X * k)
    assert jitted.stats()["recordings"] == 2
    decides[0] = -1.0
    np.testing.assert_array_equal(jitted(X), -X * 9)


def test_an_array_that_is_looked_into_in_one_branch_only():
    first, second = np.array([-1.0, 0.0]), np.array([1.0, 0.0])

    def f(x):
        sign = 1.0
        if first[0] > 0 and second[0] < 0:
            sign = -1.0
        return x * sign * first * second

    jitted = fad.jit(f)
    for values in [(-1, 1), (-2, 2), (1, 2), (3, 3), (3, -1), (-3, -1), (3, -1)]:
        first[0], second[0] = values
        np.testing.assert_array_equal(jitted(X), f(X))


def test_new_functions_of_new_arrays():
    def result(a):
        return fad.grad(lambda x: np.sum(x * a) if a[0] > 0 else -np.sum(x))(X)

    for k in (1.0, 2.0, 3.0, 4.0, 5.0, -1.0, 6.0, -2.0):
        np.testing.assert_array_equal(result(np.array([k, 1.0])), [k, 1.0] if k > 0 else [-1.0, -1.0])


def test_places_hold_their_arrays_afterwards():
    a = np.ones(2)
    things, pair = [a], (a, 1.0)

    def f(x, b=a):
        if len(things) > 3:
            raise ValueError
        return x * a * things[0] * pair[0] * b

    part = functools.partial(f, b=a)
    for g in (f, part):
        jitted = fad.jit(g)
        for k in range(3):
            a[...] = k
            jitted(X)
        assert things[0] is pair[0] is f.__defaults__[0] is part.keywords["b"] is a
    things += [a, a, a]
    with pytest.raises(ValueError):
        jitted(X)
    assert things[0] is pair[0] is f.__defaults__[0] is part.keywords["b"] is a
