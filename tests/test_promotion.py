"""Results have NumPy's dtypes: every dtype that can be recorded beside float32 and beside every other one, as an
argument, a captured array, a captured array without axes, a NumPy number and a Python number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastad as fad

DTYPES = [np.dtype(c) for c in "?bBhHiIlLfd"]
VALUES = np.array([[1, 0, 3], [2, 5, 1]])
INTEGERS = [d for d in DTYPES if d.kind in "iu"]
NARROW = [d for d in INTEGERS if d.itemsize < 4]
# What NumPy promotes by np.result_type, for floats beside any other dtype.
OPERATIONS = {
    "multiply": lambda x, c: x * c,
    "from the right": lambda x, c: c * x,
    "add": np.add,
    "divide": lambda x, c: c / (x + 1),
    "power": lambda x, c: x**c,
    "maximum": np.maximum,
    "arctan2": np.arctan2,
    "hypot": np.hypot,
    "where": lambda x, c: np.where(x > 1, x, c),
    "select": lambda x, c: np.select([x > 1, x > 3], [x, c], 0),
    "dot": lambda x, c: np.dot(x, np.reshape(c, (-1,))[:1][0]),
    "concatenate": lambda x, c: np.concatenate([np.ravel(x), np.ravel(c)]),
    "pieces": lambda x, c: x * np.reshape(c, (-1,))[::2][0],
}
ARRAYS = {
    "matmul": lambda x, c: x @ c.T,
    "einsum": lambda x, c: np.einsum("ij,ij->i", x, c),
    "tensordot": lambda x, c: np.tensordot(x, c, 2),
    "stack": lambda x, c: np.stack([x, c]),
    "transposed": lambda x, c: x.T * c.T,
    "reshaped": lambda x, c: x.reshape(3, 2) + c.reshape(3, 2),
    "a row": lambda x, c: x * c[0],
    "taken": lambda x, c: x * c[:, [2, 0, 1]],
    "repeated": lambda x, c: np.repeat(x, 2) - np.repeat(c, 2),
    "sorted": lambda x, c: x + np.sort(c),
    "polyval": lambda x, c: np.polyval(x[0], c),
    "heaviside": lambda x, c: np.heaviside(c, x),
}
FORMS = {"array": VALUES, "array without axes": np.array(3), "number": np.int64(3)}


def as_form(form, dtype):
    x = FORMS[form]
    return dtype.type(x) if form == "number" else x.astype(dtype)


def assert_like_numpy(f, *arguments):
    found, wanted = fad.jit(f)(*arguments), f(*arguments)
    assert np.asarray(found).dtype == np.asarray(wanted).dtype
    assert np.allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("floating", ["f", "d"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_beside_floats(floating, dtype, form):
    x, c = VALUES.astype(floating), as_form(form, dtype)
    for f in (*OPERATIONS.values(), *(ARRAYS.values() if form == "array" else ())):
        assert_like_numpy(lambda x, f=f: f(x, c), x)
        assert_like_numpy(f, x, c)


@pytest.mark.parametrize("floating", ["f", "d"])
@pytest.mark.parametrize("number", [True, 2, 2.0])
def test_python_numbers(floating, number):
    for f in OPERATIONS.values():
        assert_like_numpy(lambda x, f=f: f(x, number), VALUES.astype(floating))
        if type(number) is not float:  # floats that are passed are arguments to differentiate by: float64
            assert_like_numpy(f, VALUES.astype(floating), number)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_moves_keep_the_dtype(dtype):
    for f in (
        lambda c: c[1:, ::2],
        lambda c: c.T.reshape(-1),
        lambda c: np.roll(c, 1, axis=1),
        lambda c: np.concatenate([c, c]),
        lambda c: np.where(c > 1, c, c[::-1]),
        lambda c: c[0, 1],
        lambda c: np.take(c, [1, 0], axis=1),
        lambda c: np.broadcast_to(c, (2, 2, 3)),
    ):
        found, wanted = fad.jit(f)(VALUES.astype(dtype)), f(VALUES.astype(dtype))
        recorded = {"i": "int64", "u": "int64"}.get(dtype.kind) if dtype.itemsize >= 4 else None
        assert np.asarray(found).dtype == np.dtype(recorded or dtype)
        assert np.array_equal(found, wanted)


@given(st.sampled_from(NARROW), st.sampled_from(NARROW), st.data())
def test_arithmetic_of_narrow_integers_wraps(first, second, data):
    x, y = (
        np.array(data.draw(st.lists(st.integers(*limits), min_size=3, max_size=3)), d)
        for d in (first, second)
        for limits in [(np.iinfo(d).min, np.iinfo(d).max)]
    )
    with np.errstate(all="ignore"):
        for f in (
            np.add, np.subtract, np.multiply, np.maximum, lambda x, y: np.abs(x) - y * 3, lambda x, y: -x + (y << 1),
            lambda x, y: x // 3 - y % 3, lambda x, y: ~x, lambda x, y: x[y % 3], lambda x, y: np.arange(300.0)[x % 7],
            np.cumprod, np.cumsum, lambda x, y: np.prod(x), lambda x, y: np.sum(x), lambda x, y: x >> 1,
            lambda x, y: np.sin(x * 1.0) if np.sin(x[0] * 1.0) > 0.1 else np.cos(y * 1.0),
            lambda x, y: np.sort(x)[1] + y,
        ):  # fmt: skip
            arguments = (x, y) if f not in (np.cumprod, np.cumsum) else (x,)
            wanted, found = f(*arguments), fad.jit(f)(*arguments)
            wide = found.dtype == np.int64 and wanted.dtype.kind in "iu" and wanted.dtype.itemsize >= 4
            assert wide or found.dtype == wanted.dtype
            assert np.allclose(found, wanted, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_products_of_narrow_integers_wrap(dtype):
    limits = np.iinfo(dtype)
    x, y = np.array([limits.max, 3, 7], dtype), np.array([limits.max // 2, limits.min, 2], dtype)
    for f in (
        np.dot, np.outer, np.convolve, np.vdot, lambda x, y: np.outer(x, y) @ x, lambda x, y: np.vander(x),
        lambda x, y: np.einsum("i,i,j->j", x, y, x), lambda x, y: np.einsum("i->", x), np.inner,
        lambda x, y: np.sum(x, dtype=y.dtype), lambda x, y: np.sum(y[:0], dtype=y.dtype),
    ):  # fmt: skip
        found, wanted = fad.jit(f)(x, y), f(x, y)
        assert found.dtype == wanted.dtype
        assert np.array_equal(found, wanted)


@given(st.sampled_from(DTYPES), st.sampled_from(NARROW), st.integers(-70_000, 70_000))
def test_conversions_to_narrow_integers_wrap(source, target, number):
    if source.kind == "u":
        number = abs(number)  # kernels hold no integers beyond 2⁵³
    if source.kind == "f" and not np.iinfo(target).min <= number <= np.iinfo(target).max:
        return  # C leaves it open
    x = np.array([number, 1]).astype(source)
    wanted = x.astype(target)
    found = fad.jit(lambda x: x.astype(target))(x)
    assert found.dtype == target
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_gradients_beside_narrow_integers(dtype, tmp_path):
    """They are float32 where the argument is, also those of a saved function; integers serve as indices."""
    c, x = VALUES.astype(dtype), VALUES.astype(np.float32)
    gradient = fad.grad(lambda x, c: np.sum(x[c[0] % 2] ** 2 * c[:1]))
    assert gradient(x, c).dtype == np.float32
    assert np.array_equal(gradient(x, c), gradient(x, c.astype(np.int64)))
    f = fad.jit(lambda x: np.sin(x) * c)
    wanted = f(x)
    f.save(tmp_path / "f.npz")
    found = fad.load(tmp_path / "f.npz")(x)
    assert found.dtype == np.float32
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_comparisons_of_float32_with_python_numbers(tier):
    """NumPy rounds the number to float32."""
    x = np.array([0.1, 0.3, 0.5, 1e30], np.float32)
    for f in (
        lambda x: x == 0.1, lambda x: x > 0.3, lambda x: x <= 0.3, lambda x: np.less_equal(x, 0.3),
        lambda x: np.where(x < 0.3, x, 2 * x), lambda x: x < 1e300, lambda x: x.astype(float) == 0.1,
    ):  # fmt: skip
        assert np.array_equal(fad.jit(f, tier=tier)(x), f(x))
