"""A number that a function reads from outside and that changes is an input; never is a result stale."""

import functools
import math
import threading
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_tools import in_threads
from transform_tools import each_tier

import fastad as fad
from fastad.transforms import base

X = np.array([0.5, -1.5, 2.0])
DATA = np.arange(30.0).reshape(10, 3)
STEP, RATE = 1, 0.5
SETTLED = 3  # by this value, the number is known to change


@pytest.fixture
def recorded(monkeypatch):
    """A list that grows by one with each function that is recorded."""
    seen, record = [], base.record
    monkeypatch.setattr(base, "record", lambda f, call: seen.append(f) or record(f, call))
    return seen


def loss(x, i, r):
    return np.sum(np.sin(x) * r) * (1 + i) + i


class Model:
    def __init__(self, i, r):
        self.i, self.r = i, r

    def value(self, x):
        return loss(x, self.i, self.r)


def _global(i, r):
    globals().update(STEP=i, RATE=r)
    return lambda x: loss(x, STEP, RATE)


MAKERS = {
    "closure": lambda i, r: lambda x: loss(x, i, r),
    "nested": lambda i, r: lambda x: (lambda y: loss(y, i, r))(x),
    "default": lambda i, r: lambda x, i=i, *, r=r: loss(x, i, r),
    "partial": lambda i, r: functools.partial(lambda i, r, x: loss(x, i, r), i, r),
    "keywords of a partial": lambda i, r: functools.partial(loss, i=i, r=r),
    "method": lambda i, r: Model(i, r).value,
    "object": lambda i, r: (lambda m: lambda x: loss(x, m.i, m.r))(types.SimpleNamespace(i=i, r=r)),
    "containers": lambda i, r: (lambda m: lambda x: loss(x, m[0]["i"], m[1]))([{"i": i}, r]),
    "tuples": lambda i, r: (lambda m, n: lambda x: loss(x, m[0], n["r"][1]))((i, None, [i]), {"r": (X, r)}),
    "global": _global,
    "transformation": lambda i, r: fad.jit(lambda x: loss(x, i, r)),
    "gradient inside": lambda i, r: lambda x: np.sum(fad.grad(lambda y: loss(y, i, r))(x)) + i,
    "scan": lambda i, r: lambda x: fad.scan(lambda c, y: (c * r + y * i, None), 0.0, x)[0],
    "lanes": lambda i, r: lambda x: np.sum(fad.vmap(lambda y: y * r * i)(x)),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_one_recording_for_all_values(maker, recorded):
    count = 0
    for k in range(20):
        f = MAKERS[maker](k, 1 / (1 + k))
        found = fad.value_and_grad(f)(X)
        np.testing.assert_allclose(found[0], f(X), rtol=1e-12)
        slope = [(f(X + 1e-6 * e) - f(X - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
        np.testing.assert_allclose(found[1], slope, rtol=1e-6, atol=1e-8)
        count = len(recorded) if k <= SETTLED else count
    assert len(recorded) == count <= 12


def test_numbers_in_static_arguments(recorded):
    count = 0
    value, gradient = fad.jit(lambda m, x: m.value(x)), fad.grad(lambda x, *, m: m.value(x))
    models = [Model(k, 1 / (1 + k)) for k in range(20)]
    for k, model in enumerate([*models, *models]):
        np.testing.assert_allclose(value(model, X), model.value(X), rtol=1e-12)
        wanted = np.cos(X) * model.r * (1 + model.i)
        np.testing.assert_allclose(gradient(X, m=model), wanted, rtol=1e-12)
        model.r += 1.0
        count = len(recorded) if k <= SETTLED else count
    assert len(recorded) == count <= 12


class Counter:
    def __init__(self):
        self.count, self.scale = 0, 1.0

    def step(self, x):
        self.count += 1
        return np.sum(x) * self.count * self.scale


def test_a_static_argument_that_counts_its_calls():
    f, counter = fad.jit(Counter.step), Counter()
    for k in range(1, 8):
        counter.scale = 2.0**k
        assert f(counter, X) == np.sum(X) * k * 2.0**k
        assert counter.count == k and type(counter.count) is int and type(counter.scale) is float


USES = {
    "jit": lambda f: fad.jit(f)(X),
    "vjp": lambda f: fad.vjp(f, X)[1](1.0)[0],
    "jvp": lambda f: fad.jvp(f, (X,), (X,))[1],
    "hvp": lambda f: fad.hvp(f, X, X),
    "hessian": lambda f: fad.hessian(f)(X),
    "vmap": lambda f: fad.vmap(f)(np.stack([X, X])),
    "prepare": lambda f: fad.jit(f).prepare(X)(),
}


@pytest.mark.parametrize("name", USES)
def test_by_every_transformation(name, recorded):
    count = 0
    for k in range(6):
        r = 2.0**k
        found = USES[name](lambda x: np.sum(x**3) * r)  # noqa: B023
        np.testing.assert_array_equal(found, r * USES[name](lambda x: np.sum(x**3) * 1.0))
        count = len(recorded) if k <= SETTLED else count
    assert len(recorded) == count


# ── where Python needs the number ─────────────────────────────────────────────────────────────────────────────
def _hidden(i):
    try:
        return {0: 1.0, 1: 2.0}[i]
    except KeyError:
        return 3.0


NEEDED = {
    "range": lambda x, i: sum((np.sum(x) * k for k in range(i)), 0.0),
    "index": lambda x, i: np.sum(x * DATA[i]),
    "shape": lambda x, i: np.sum(x) * np.ones(i).size,
    "float": lambda x, i: np.sum(x) * float(i),
    "text": lambda x, i: np.sum(x) * len(f"{i}{i!r}"),
    "key": lambda x, i: np.sum(x) * _hidden(i),
    "branch": lambda x, i: np.sum(x) * (2.0 if i % 3 == 0 else 1.0),
    "math": lambda x, i: np.sum(x) * math.sqrt(i) * math.cos(i) * math.factorial(i),
    "rounding": lambda x, i: np.sum(x) * (round(i / 3, 1) + round(i / 3) + math.floor(i / 3) + int(i / 2)),
    "type": lambda x, i: np.sum(x) * (i if isinstance(i, int) and not hasattr(i, "ndim") else -1),
    "plain NumPy": lambda x, i: np.sum(x) * np.arange(5.0)[i % 5] * np.float64(i) * np.array([i, 2])[0],
    "min": lambda x, i: np.sum(x) * min(i, 4),
    "library": lambda x, i: np.sum(x * np.random.default_rng(i).integers(9)),
    "buffer": lambda x, i: np.sum(x * np.full(3, i)),
}


@pytest.mark.parametrize("name", NEEDED)
def test_where_python_needs_the_number(name):
    f = NEEDED[name]
    model = Model(0, 1.0)
    g = fad.jit(lambda x: f(x, model.i))
    for model.i in (1, 1, 2, 3, 5, 2, 6, 7, 5):
        np.testing.assert_allclose(g(X), f(X, model.i), rtol=1e-14, err_msg=str(model.i))


def test_python_says_what_is_not_defined():
    for f in (lambda x, k: x / k, lambda x, k: x * math.sqrt(k - 0.5), lambda x, k: x * math.log(k)):
        model = types.SimpleNamespace(k=1.0)
        g = fad.jit(lambda x: x * f(1.0, model.k))  # noqa: B023
        for model.k in (1.0, 2.0, 3.0, 0.0, 4.0):
            try:
                wanted = 2.0 * f(1.0, model.k)
            except (ZeroDivisionError, ValueError) as error:
                with pytest.raises(type(error)):
                    g(2.0)
            else:
                assert g(2.0) == pytest.approx(wanted, rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_it_follows_the_dtype_of_arrays(dtype):
    m, x = Model(1, 0.5), np.ones(3, dtype)
    for f in (
        lambda x: x * m.i, lambda x: x * m.r, lambda x: x * (m.r / m.i), lambda x: x * math.sin(m.r),
        lambda x: x - round(m.r), lambda x: np.sum(x * m.i),
    ):  # fmt: skip
        g = fad.jit(f)
        for m.i, m.r in ((1, 0.5), (2, 1.5), (3, 2.25)):
            found, wanted = g(x), f(x)
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def _written(x, i, r):
    y = np.zeros(3)
    y[i % 3] = r
    y[:2] += x[:2] * i
    return y


# Programs with an integer and a float, and in how many recordings at most seven values of these end.
PROGRAMS = {
    "while_loop": (lambda x, i, r: fad.while_loop(lambda c: c[0] < i, lambda c: (c[0] + 1, c[1] * r), (0, x))[1], 2),
    "fori_loop": (lambda x, i, r: fad.fori_loop(0, i, lambda k, c: c * r + k, x), 2),
    "cond": (lambda x, i, r: fad.cond(np.sum(x) > r, lambda y: y * i, lambda y: y * r, x), 2),
    "checkpoint": (lambda x, i, r: fad.checkpoint(lambda y: np.sin(y) * r * i)(x), 2),
    "creation": (lambda x, i, r: x * np.linspace(0, r, 3) + np.arange(i, i + 3) + np.eye(3) * r @ x, 2),
    "clip": (lambda x, i, r: np.clip(x, -r, r) + np.maximum(x, r) * np.hypot(x, r), 2),
    "roll": (lambda x, i, r: np.roll(x, i), 6),
    "norm": (lambda x, i, r: np.linalg.norm(x, ord=i) * x, 6),
    "quantile": (lambda x, i, r: np.quantile(x, r / 10) * x, 2),
    "where": (lambda x, i, r: np.where(np.arange(3) < i, x, r), 2),
    "writes": (_written, 2),
    "powers": (lambda x, i, r: np.abs(x) ** r * i**2 + 2.0**i, 2),
    "polyval": (lambda x, i, r: np.polyval([i, r, 1], x), 2),
    "sum": (lambda x, i, r: sum([r * x, i * x]), 2),
    "whole numbers": (lambda x, i, r: x * (i % 3) + i // 2 - divmod(i, 2)[1], 2),
    "sorted": (lambda x, i, r: x * sorted([i, r, 2.5])[1], 4),
    "text": (lambda x, i, r: x * len(f"{i:d} {r:.3f}"), 6),
    "stack": (lambda x, i, r: np.stack([x * r, x])[i % 2], 2),
    "NumPy's scalars": (lambda x, i, r: x * np.float64(r) * np.int64(i), 6),
    "products": (lambda x, i, r: np.einsum("i,->i", x, r) * np.dot([i, r, 1.0], x), 2),
    "arrays": (lambda x, i, r: np.array([i, r, 2]) * x + np.concatenate([x[:2], [r]]), 2),
    "functions of numbers": (lambda x, i, r: np.exp(-r) * x + np.sqrt(i) + np.log1p(r) * np.mod(i, 3), 2),
    "questions": (lambda x, i, r: x * (2 if np.isclose(r, 1.5) else 0 if np.isnan(r) else np.isscalar(i)), 4),
}


@each_tier
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name, tier):
    f, most = PROGRAMS[name]
    m = Model(1, 0.75)
    g = fad.jit(lambda x: f(x, m.i, m.r), tier=tier)
    for k in (1, 2, 3, 4, 2, 5, 1):
        m.i, m.r = k, 0.75 * k
        found, wanted = g(X), f(X, m.i, m.r)
        assert found.dtype == wanted.dtype and type(m.i) is int and type(m.r) is float
        np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=str(k))
    assert g.stats()["recordings"] <= most


# ── what the function does to its numbers ─────────────────────────────────────────────────────────────────────
def test_a_function_that_counts_its_calls():
    model = Model(0, 1.0)

    def counting(x):
        model.i += 1
        return np.sum(x) * model.i

    f = fad.jit(counting)
    assert [f(X) for _ in range(5)] == [k * np.sum(X) for k in (1, 2, 3, 4, 5)]
    assert model.i == 5 and type(model.i) is int


def test_a_function_that_counts_from_the_third_value_on():
    model = Model(0, 1.0)

    def counting(x):
        if model.i > 2:
            model.r = model.r + 1.0
        return np.sum(x) * model.r * model.i

    f, r = fad.jit(counting), 1.0
    for k in range(1, 7):
        model.i = k
        r += k > 2
        assert f(X) == np.sum(X) * r * k
        assert model.r == r and type(model.r) is float


def test_a_function_that_counts_in_a_tuple():
    state = {"t": (0, 1.0)}

    def counting(x):
        t, scale = state["t"]
        if t > 2:
            state["t"] = (t, scale + 1.0)
        return np.sum(x) * scale * t

    f, scale = fad.jit(counting), 1.0
    for k in range(1, 8):
        state["t"] = (k, scale)
        assert f(X) == np.sum(X) * scale * k
        scale += k > 2
        assert state["t"] == (k, scale) and list(map(type, state["t"])) == [int, float]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_numbers_are_in_their_places(error):
    model, wanted = Model(1, 2.0), False

    def failing(x, k=3):
        if wanted:
            raise error
        return np.sum(x) * model.i * k

    f = fad.jit(failing)
    for model.i in (1, 2, 3):
        f(X)
    wanted = True
    with pytest.raises(error):
        f(np.ones(4))
    assert vars(model) == {"i": 3, "r": 2.0} and type(model.i) is int and failing.__defaults__ == (3,)


def test_numbers_that_are_kept_are_plain_afterwards():
    kept, model, i = [], Model(0, 0.5), 0

    def keeping(x, append=kept.append):
        append(i + 1)
        model.i = i
        return x * i

    f = fad.jit(keeping)
    for i in (1, 2, 3):
        np.testing.assert_array_equal(f(X), X * i)
    assert model.i == 3 and type(model.i) is int
    k = kept[-1]
    assert k == 4 and np.array_equal(X * k, 4 * X) and np.ones(5)[k] == 1.0 and np.add(k, 1) == 5
    assert list(range(k)) == [0, 1, 2, 3] and fad.grad(lambda x: x * k)(1.0) == 4.0


def test_rules_of_primitives_read_the_number_of_the_call():
    k = 1.0
    power = fad.primitive(lambda x: x * k, vjp=lambda xs, u: (k * u,))
    f = fad.grad(lambda x: np.sum(power(x) * k))
    for k in (1.0, 2.0, 3.0, 4.0):
        np.testing.assert_array_equal(f(X), np.full(3, k * k))


# ── threads ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_other_threads_see_plain_numbers():
    model, inside, done, seen = Model(1, 0.5), threading.Event(), threading.Event(), []

    def slow(x):
        inside.set()
        done.wait(10)
        return np.sum(x) * model.i

    def look():
        inside.wait(10)
        i, r = model.i, X * model.i
        seen.extend([i + 1, 2.0 * i, list(range(i)), math.sqrt(i), np.sum(r), fad.grad(lambda x: x * model.i)(1.0)])
        seen.extend([str(i), bool(i), i == 2, np.add(i, X)[0], {i: 1}[2], np.zeros(3)[i]])
        done.set()

    f = fad.jit(slow)
    done.set()
    f(X)
    model.i = 2
    inside.clear(), done.clear()
    other = threading.Thread(target=look)
    other.start()
    assert f(X) == np.sum(X) * 2
    other.join()
    assert seen == [3, 4.0, [0, 1], math.sqrt(2), np.sum(X * 2), 2.0, "2", True, True, X[0] + 2, 1, 0.0]


def test_threads_that_record_with_the_same_number():
    wrong, model = [], Model(0, 0.0)

    def work(k):
        for i in range(40):
            own = k * 100 + i
            if fad.grad(lambda x: np.sum(x * own * STEP) + model.r)(X)[0] != own * STEP:  # noqa: B023
                wrong.append((k, i))

    in_threads(work, 8)
    assert not wrong


# ── random programs ───────────────────────────────────────────────────────────────────────────────────────────
OPERATIONS = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "//": lambda a, b: a // (abs(b) + 1),
    "%": lambda a, b: a % (abs(b) + 1), "/": lambda a, b: a / (b * b + 1), "neg": lambda a, b: -a,
    "pow": lambda a, b: a**2, "if": lambda a, b: a if b > 2 else -a, "max": lambda a, b: max(a, b),
    "abs": lambda a, b: abs(a), "cos": lambda a, b: math.cos(a), "int": lambda a, b: int(a) % 7,
    "round": lambda a, b: round(a), "index": lambda a, b: DATA[int(abs(a)) % 10, 1],
}  # fmt: skip


FLOATS = st.sampled_from([0.5, -1.25, 2.0, 0.0, 3.0])
STEPS = st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 9), st.integers(0, 9))


@given(st.lists(STEPS, max_size=6), st.lists(st.tuples(st.integers(-4, 6), FLOATS), min_size=3, max_size=6))
@settings(deadline=None)
def test_arithmetic_is_pythons(steps, values):
    m = Model(0, 0.0)

    def f(x):
        found = [m.i, 3, m.r, 2.5]
        for name, a, b in steps:
            found.append(OPERATIONS[name](found[a % len(found)], found[b % len(found)]))
        return x * found[-1]

    g = fad.jit(f)
    for m.i, m.r in values:
        for x in (np.float32([1.5]), np.array([1.5])):
            found, wanted = g(x), f(x)
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=1e-6 if x.dtype == np.float32 else 1e-12)
