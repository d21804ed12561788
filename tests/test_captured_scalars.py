"""NumPy's floats and arrays without axes that a function reads from outside: like Python's floats, they are inputs once
they have changed, so that no call records anew; values and types are NumPy's."""

import math
import threading

import numpy as np
import pytest

import fastad as fad
from fastad.transforms import finding

KINDS = {"float": float, "float64": np.float64, "float32": np.float32, "array": np.array}


@pytest.fixture
def recordings(monkeypatch):
    """What was recorded, one entry each time."""
    found, count = [], finding.count_recording
    monkeypatch.setattr(finding, "count_recording", lambda *args: found.append(args) or count(*args))
    return found


def by_closure(c):
    return lambda x: np.sum(x * x) * c


def by_default(c):
    def f(x, c=c):
        return np.sum(x * x) * c

    return f


def by_tuple(c):
    pair = (c, 3.0)
    return lambda x: np.sum(x * x) * pair[0]


class Held:
    c = None


def by_attribute(c):
    held = Held()
    held.c = c
    return lambda x: np.sum(x * x) * held.c


def in_loop(c):
    return lambda x: fad.scan(lambda s, _: (s * c, None), np.sum(x * x), None, 3)[0] / c / c


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [by_closure, by_default, by_tuple, by_attribute, in_loop])
def test_a_changing_number_is_recorded_twice(make, kind, recordings):
    if kind == "array" and make is by_tuple:
        pytest.skip("a tuple with an array is found anew")
    for k in range(8):
        c = KINDS[kind](1.0 + 0.25 * k)
        np.testing.assert_allclose(fad.grad(make(c))(np.ones(3)), np.full(3, 2 * (1.0 + 0.25 * k)), rtol=1e-6)
    assert len(recordings) <= 3


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_arithmetic_is_numpys(kind):
    def parts(c):
        def f(x):
            assert isinstance(c, kind) and isinstance(c, float) == (kind is np.float64)
            single = np.ones(2, np.float32) * x[0].astype(np.float32)
            values = [c * 2, 1 / c, c**2, 2.0**c, -c, c // 0.3, c % 0.3, math.sin(c), np.sqrt(c), round(c, 1), abs(-c)]
            chosen = 1.0 if c > 2 else 3.0
            assert (single * c).dtype == np.result_type(np.float32, kind) and c.dtype == kind and c.shape == ()
            return sum(values) * x[1] + chosen * x[0] + np.sum(single * c)

        return f

    for k in range(5):
        f, x = parts(kind(1.1 + 0.4 * k)), np.array([0.5, 2.0])
        np.testing.assert_allclose(fad.jit(f)(x), f(x), rtol=1e-6)


def test_numbers_that_python_needs_are_constants(recordings):
    """A float of another library's, a key of a dictionary: every value has a recording of its own."""
    for k in range(3):
        c = np.float64(k + 1.0)
        f = lambda x, c=c: np.sum(x * x) * float(c) * {c: 2.0}[c] * len(f"{c:.1f}")
        np.testing.assert_allclose(fad.grad(f)(np.ones(2)), np.full(2, 12.0 * c))
        np.testing.assert_allclose(fad.grad(f)(np.ones(2)), np.full(2, 12.0 * c))
    assert len(recordings) >= 3


def test_other_threads_find_plain_numbers():
    """While a number of a global's is recorded, another thread computes with it."""
    held, wrong = Held(), []
    held.c = np.float64(1.0)
    stop = threading.Event()

    def reader():
        while not stop.is_set():
            if not float(held.c * 2.0) >= 2.0:
                wrong.append(held.c)

    thread = threading.Thread(target=reader)
    thread.start()
    try:
        for k in range(20):
            held.c = np.float64(1.0 + k)
            f = lambda x, k=k: np.sum(x * x) * held.c + 0 * k
            np.testing.assert_allclose(fad.grad(f)(np.ones(2)), np.full(2, 2.0 * (1 + k)))
    finally:
        stop.set()
        thread.join()
    assert not wrong


def test_arrays_without_axes_are_read_anew():
    c = np.array(2.0)
    f = fad.jit(lambda x: x * c)
    assert f(3.0) == 6.0
    c[...] = 5.0
    assert f(3.0) == 15.0 and fad.grad(f)(1.0) == 5.0
    g = fad.jit(lambda x: x if c > 0 else -x)
    assert g(2.0) == 2.0
    c[...] = -1.0
    assert g(2.0) == -2.0
