"""An array keeps its dtype, whatever is written to it and however: random programs of writes, compared with NumPy."""

import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastad as fad
from fastad.tables.reference import evaluate_rows

THOROUGH = os.environ.get("FASTAD_TEST_PROFILE") == "thorough"
# All numbers are small multiples of 1/4, which every dtype computes with exactly.
NUMBERS = (0, 1, -3, 2.75, -0.5, True, np.float64(1.25), np.float32(-2.5), np.int64(4), np.bool_(True), np.nan, np.inf)
FINITE = 10  # of the numbers, which come first
DTYPES = (float, np.float32, int, bool)
CREATED = {
    "zeros_like": lambda x, kind: np.zeros_like(x, dtype=kind),
    "full_like": lambda x, kind: np.full_like(x, 1, dtype=kind),
    "astype": lambda x, kind: x.astype(kind),
    "copy": lambda x, kind: (x * 2).astype(kind).copy(),
    "stacked": lambda x, kind: np.concatenate([x[:2], x[2:] * 3]).astype(kind),
}
KEYS = {
    "all": slice(None), "dots": ..., "part": slice(1, 3), "step": slice(3, None, -2), "one": 2, "last": -1,
    "list": [0, 2], "pair": np.array([3, 1]), "mask": np.array([True, False, True, False]),
}  # fmt: skip


def array_of(x, shape, kind):
    """A recorded array of this shape and dtype."""
    return (np.resize(np.arange(-2, 6) * 0.75, shape) * x[1] + x[0]).astype(kind)


VALUES = {
    "recorded": array_of,
    "scalar": lambda x, shape, kind: (x[2] * 3).astype(kind),
    "plain": lambda x, shape, kind: np.resize([1.75, -2.0, 0.0, 3.25], shape).astype(kind),
    "row": lambda x, shape, kind: array_of(x, (1, *shape) if shape else (), kind),
}
ARITHMETIC = (np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.less, np.logical_or)
ROUNDING = 3e-7  # of float32, which is computed in float64: quotients are rounded once, not at each step


def set_item(y, key, value, ufunc):
    y[key] = value


def set_view(y, key, value, ufunc):
    view = y[::-1]
    view[key] = value


def set_in_place(y, key, value, ufunc):
    part = y[key]
    if isinstance(part, np.generic) or not np.shape(part):
        y[key] += value
    else:
        part += value
        y[key] = part


def set_out(y, key, value, ufunc):
    ufunc(y[key] if np.shape(y[key]) else y, value, out=y[1:3] if np.shape(y[key]) == (2,) else y)


def set_from_plain(y, key, value, ufunc):
    ufunc(np.array([1.5, 2.0, 0.25, 1.0]), 2, out=y, casting="unsafe")


WRITES = {
    "setitem": set_item,
    "view": set_view,
    "in place": set_in_place,
    "out": set_out,
    "plain out": set_from_plain,
    "dtype": lambda y, key, value, ufunc: set_item(y, key, np.add(value, 1, dtype=float), ufunc),
    "fill": lambda y, key, value, ufunc: y.fill(value) if not np.shape(value) else None,
    "copyto": lambda y, key, value, ufunc: np.copyto(y[1:3], value),
    "copyto unsafe": lambda y, key, value, ufunc: np.copyto(y, value, casting="unsafe", where=KEYS["mask"]),
    "put": lambda y, key, value, ufunc: np.put(y, [1, 3], value),
    "putmask": lambda y, key, value, ufunc: np.putmask(y, KEYS["mask"], value),
    "place": lambda y, key, value, ufunc: np.place(y, KEYS["mask"], np.atleast_1d(value)),
    "diagonal": lambda y, key, value, ufunc: np.fill_diagonal(y.reshape(2, 2), value),
    "add.at": lambda y, key, value, ufunc: np.add.at(y, [0, 0, 3], value if y.dtype.kind == "f" else True),
    "sort": lambda y, key, value, ufunc: y.sort(),
}
# A computed scalar that is NaN cannot be told from others while a program is recorded: an integer array takes it.
COMPUTING = ("in place", "dtype", "add.at", "copyto unsafe")


def drawn(rng):
    """A program of writes, as a function of x."""
    kind, create = DTYPES[rng.integers(4)], CREATED[rng.choice(list(CREATED))]
    steps = []
    for _ in range(rng.integers(1, 6)):
        name, key = rng.choice(list(WRITES)), KEYS[rng.choice(list(KEYS))]
        number = NUMBERS[rng.integers(len(NUMBERS) if name not in COMPUTING else FINITE)]
        source = [None, *VALUES.values()][rng.integers(5)]
        steps.append(
            (str(name), key, number, source, DTYPES[rng.integers(4)], ARITHMETIC[rng.integers(8)], rng.random())
        )

    def program(x):
        y = create(x, kind)
        seen = []
        for name, key, number, source, of, ufunc, read in steps:
            source = VALUES["recorded"] if source is VALUES["row"] and key is KEYS["mask"] else source
            value = number if source is None else source(x, np.shape(y[key]), of)
            WRITES[name](y, key, value, ufunc)
            if read < 0.5:
                seen.append(y[1:] if read < 0.2 else y[0] if read < 0.3 else y.copy())
        return y, y[2:], seen

    program.text = f"{kind.__name__} {[(*s[:3], s[4].__name__, s[5].__name__) for s in steps]}"
    return program


def outcome(run):
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y, tail, seen = run()
        return [y, tail, *seen]
    except (TypeError, ValueError, OverflowError) as error:
        return error


def compare(found, wanted, text):
    if isinstance(wanted, Exception):
        assert isinstance(found, Exception), f"{text}: NumPy raises {wanted!r}, recorded it gives {found}"
        return
    assert not isinstance(found, Exception), f"{text}: {found!r}"
    for a, b in zip(found, wanted, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype, text
        rounding = ROUNDING if np.asarray(b).dtype == np.float32 else 0
        np.testing.assert_allclose(a, b, rtol=rounding, err_msg=text)


def check(seed, tier="sweep"):
    program = drawn(np.random.default_rng(seed))
    run = fad.jit(program, tier=tier)
    for x in (np.array([1.5, 0.75, -2.0, 3.0]), np.array([-0.5, 2.0, 1.0, 0.0])):
        compare(outcome(lambda x=x: run(x)), outcome(lambda x=x: program(x.copy())), f"seed {seed}: {program.text}")
    for table in run.tables:
        for row, value in zip(table.rows(), evaluate_rows(table, [x, *table.captured]), strict=True):
            if row.dtype in "ib":
                held = (value != 0) if row.dtype == "b" else np.trunc(value)
                np.testing.assert_array_equal(value, held, f"seed {seed}: {program.text}: {row.name} is no {row.dtype}")


@given(st.integers(0, 10**9))
@settings(max_examples=10_000 if THOROUGH else 150)
def test_writes_of_all_dtypes(seed):
    check(seed)


@pytest.mark.parametrize("seed", range(20))
def test_writes_in_native_code(seed):
    check(seed, "native")


def test_integers_to_negative_powers_are_refused_at_every_call():
    f = fad.jit(lambda n: 2 ** n[0] + n[1])
    assert f(np.array([3, 1])) == 9
    with pytest.raises(ValueError, match="negative integer powers"):
        f(np.array([-3, 1]))


# `out` in its place among the arguments, and with operands of which none is recorded.
INTO = """
np.clip(x, 0, 1, y) | x.clip(0, 1, y) | np.cumsum(x, 0, None, y) | np.round(x, 1, y) | x.round(1, y) | np.negative(x, y)
np.add(x, 1, y) | np.sum(m, 0, None, y) | m.sum(0, None, y) | np.max(m, 0, y) | np.dot(m, x, y) | np.matmul(m, x, y)
np.concatenate([x[:1], x[1:]], 0, y) | np.take(x, [0, 2, 1], None, y) | np.ptp(m, 0, y) | np.fix(x, y)
np.nansum(m, 0, None, y)
np.mean(m, 0, None, y) | np.add.reduce(m, 0, None, y) | np.modf(x, y, y * 0) | np.divmod(x, 0.25, out=(y, y * 0))
np.stack([x[0], x[1], x[2]], out=y) | np.sum(np.ones((3, 3)), axis=0, out=y)
np.concatenate([np.ones(1), x[:0], [2, 3]], out=y) | np.copyto(y, [1, 2, 3])
np.einsum('ij->i', np.ones((3, 3)), out=y) | np.clip(np.arange(3), 0, 1, out=y) | np.multiply(np.ones(3), 2, out=y)
np.add(x > 0, x > -9, dtype=int, out=y) | np.add(x > 0, x > -9, out=y) | np.sqrt(np.arange(3), y)
"""


@pytest.mark.parametrize("text", [part.strip() for part in INTO.replace("\n", "|").split("|") if part.strip()])
def test_results_written_into_arrays(text):
    space = {"np": np}
    exec(f"def f(x):\n    y, m = np.zeros_like(x), np.outer(x, x)\n    {text}\n    return y", space)
    x = np.array([0.5, -0.75, 2.25])
    np.testing.assert_array_equal(fad.jit(space["f"])(x), space["f"](x))


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_no_integer_is_minus_zero(tier):
    def f(x):
        n = np.zeros_like(x, dtype=int)
        n[:] = x
        less = n - 3
        computed = -n, n * -3, n * 3, (n + 1) * n, less % -3, less // 9, np.fmod(less, 3), np.sign(-n), np.prod(n)
        with np.errstate(divide="ignore"):
            return 1.0 / x.astype(int), np.arctan2(n, -1.0), np.signbit(n * 1.0), *(1.0 / k for k in computed)

    x = np.array([-0.5, -0.0, 0.75])
    for a, b in zip(fad.jit(f, tier=tier)(x), f(x), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_integers_divided_by_zero_are_zero(tier):
    def f(n, d):
        quotients = n // d, n % d, np.fmod(n, d), *np.divmod(n, d), n // 0, n % 0, 7 // d, (n > 0) // (d > 0)
        return *quotients, 1 + n // d, np.sum(n % d) * 0.5

    n, d = np.array([5, -5, 0, 7, -7]), np.array([0, 0, 0, -2, 2])
    for found, wanted in zip(fad.jit(f, tier=tier)(n, d), f(n, d), strict=True):
        assert found.dtype.kind == wanted.dtype.kind
        np.testing.assert_array_equal(found, wanted)
