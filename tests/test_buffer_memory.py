"""The memory of buffers: other arrays that show it, code that reads it past NumPy's protocols, and its dtypes. All of
it is what NumPy gives, or an error that names the line and the fix; never NaN or old numbers."""

import itertools
import os

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import fastad as fad
from fastad.errors import RecordingError

X = np.array([0.3, 0.7, 1.1])
DTYPES = pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", ">f4"])
# Views of an array y of four elements, that show its memory.
VIEWS = {
    "windows": lambda y: sliding_window_view(y, 2),
    "windows_by_name": lambda y: np.lib.stride_tricks.sliding_window_view(y, 3)[::-1],
    "strided": lambda y: as_strided(y, (3, 2), (y.itemsize, y.itemsize)),
    "strided_by_name": lambda y: np.lib.stride_tricks.as_strided(y[1:], (2,), (2 * y.itemsize,)),
    "strided_columns": lambda y: as_strided(y.reshape(2, 2, order="F"), (2, 2), (y.itemsize, y.itemsize)),
    "plain": lambda y: y.view(np.ndarray),
    "plain_by_keyword": lambda y: y[1:].view(type=np.ndarray),
    "base": lambda y: y[1:].base,
    "broadcast": lambda y: np.broadcast_to(y, (2, 4)),
    "flat": lambda y: np.array([y.flat[k] for k in range(4)]),
}
ORDERS = pytest.mark.parametrize("order", ["view first", "write first", "between two writes"])


def agrees(f, rtol=1e-12):
    """Value and gradient, and those of a second call, are NumPy's."""
    jitted, gradient = fad.jit(f), fad.grad(lambda x: np.sum(f(x) ** 2))
    for x in (X, X + 0.5):
        wanted = f(x)
        np.testing.assert_allclose(jitted(x), wanted, rtol=rtol)
        step = [np.sum(f(x + h) ** 2 - f(x - h) ** 2) / 0.5 for h in 0.25 * np.eye(3)]  # all here are linear
        np.testing.assert_allclose(gradient(x), step, rtol=max(rtol, 1e-10), atol=1e-12)


@DTYPES
@ORDERS
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_show_what_is_written(view, order, dtype):
    def f(x):
        y = np.zeros(4, dtype)
        if order == "between two writes":
            y[0] = x[2]
        v = None if order == "write first" else view(y)
        y[1:] = x
        v = view(y) if v is None or view is VIEWS["flat"] else v
        return 2.0 * v

    agrees(f, 1e-6 if "4" in dtype else 1e-12)


def test_what_is_written_into_such_a_view_is_in_the_array():
    for view in (VIEWS["strided_by_name"], VIEWS["plain"], lambda y: sliding_window_view(y, 2, writeable=True)[1]):

        def f(x, view=view):
            y = np.ones(4)
            v = view(y)
            v[0] = x[0] + x[1]
            y[3] = x[2]
            return y

        agrees(f)


def test_iterators_made_before_a_write_read_what_was_written():
    def f(x):
        y = np.zeros(4)
        elements = np.nditer(y)
        y[1:] = 2 * x
        return sum(k * a for k, a in enumerate(elements))

    agrees(f)


# ── past NumPy's protocols ────────────────────────────────────────────────────────────────────────────────────
READERS = {
    "memoryview": lambda y: (lambda m: lambda: np.asarray(m) * 2)(memoryview(y)),
    "one_number": lambda y: (lambda m: lambda: m[1] + 1.0)(memoryview(y)),
    "plain_view": lambda y: (lambda v: lambda: 3 * v - 1)(np.ndarray.view(y, np.ndarray)),
    "from_buffer": lambda y: (lambda v: lambda: v.sum())(np.frombuffer(y, y.dtype)),
    "float32": lambda y: (lambda v: lambda: v.astype(np.float32))(np.frombuffer(y, y.dtype)),
}


@pytest.mark.parametrize("used", [True, False], ids=["operand", "result"])
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_numbers_that_were_read_past_numpy_are_an_error(reader, dtype, used):
    def f(x):
        y = np.zeros(4, dtype)
        read = reader(y)
        y[1:] = x
        return read() * x[0] if used else read()

    line = f.__code__.co_firstlineno + 3
    with pytest.raises(RecordingError, match=rf"test_buffer_memory.py:{line} .*memoryview.*Use NumPy's"):
        fad.jit(f)(X)


def test_nan_of_the_user_is_none_of_it():
    def f(x):
        y = np.full(4, np.nan)
        y[1:] = x
        return y * np.array([np.nan, 1.0, -np.nan, 1.0]) + float("nan") * x[0]

    assert np.isnan(fad.jit(f)(X)).all()


@pytest.mark.parametrize("name", ["resize", "tobytes", "tofile", "dump", "dumps", "data", "ctypes"])
def test_what_needs_the_memory_names_the_fix(name):
    def f(x):
        y = np.zeros(4)
        y[1:] = x
        found = getattr(y, name)
        arguments = {"resize": [6], "tofile": [os.devnull], "dump": [os.devnull]}
        return found(*arguments.get(name, [])) if callable(found) else found

    with pytest.raises(RecordingError, match=rf"\.{name} of an array .*test_buffer_memory.py.*(Return|Make)"):
        fad.jit(f)(X)


def test_flags():
    def f(x, write):
        y = np.zeros(4)
        y[1:] = x
        y.setflags(write=False)
        if write:
            y[0] = x[0]
        return y

    agrees(lambda x: f(x, False))
    with pytest.raises(ValueError, match="read-only"):
        fad.jit(lambda x: f(x, True))(X)


def test_a_dtype_set_after_a_write():
    def f(x):
        y = np.zeros(4)
        y[1:] = x
        y.dtype = np.int64
        return y * 2

    with pytest.raises(RecordingError, match="another dtype"):
        fad.jit(f)(X)


def test_vectorize():
    def f(x):
        y = np.ones(4)
        y[1:] = x
        return np.vectorize(lambda u, v: 2 * u + v)(y, 3.0)

    agrees(f)


# ── dtypes ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_dtypes_that_recorded_values_do_not_have(dtype):
    def f(x):
        y = np.zeros(4, dtype)
        y[1:] = x
        return y

    with pytest.raises(RecordingError, match=rf"array of dtype {np.dtype(dtype)} .*test_buffer_memory.*float64"):
        fad.jit(f)(X)


def test_at_on_arrays_of_integers():
    for where, what in itertools.product([np.argsort, lambda x: [0, 2, 1]], [lambda x: 1, np.argsort, lambda x: x > 1]):

        def f(x, where=where, what=what):
            y = np.zeros(3, int)
            np.add.at(y, where(x), what(x))
            return y * x

        jitted = fad.jit(f)
        for x in (X, X[::-1].copy(), X + 1):
            np.testing.assert_array_equal(jitted(x), f(x))

    def truncated(x):
        y = np.zeros(3, int)
        np.add.at(y, [0, 1, 2], x)
        return y

    with pytest.raises(RecordingError, match="floats into an array of integers"):
        fad.jit(truncated)(X)


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4", ">i8"])
def test_arrays_of_another_byte_order(dtype):
    a = np.array([1, 2, 3], dtype)
    for f in (lambda x: x * a, lambda x: a - x, lambda x: np.dot(x, a) + x, lambda x: np.stack([x, a])[1] * x):
        jitted = fad.jit(f)
        for k in range(6):
            a[...] = [k, 2, 3]
            np.testing.assert_allclose(jitted(X), f(X), rtol=1e-6)
            np.testing.assert_allclose(fad.jacobian(f)(X), fad.jacobian(jitted)(X))
