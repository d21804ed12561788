"""Recorded arrays behave like NumPy arrays: indexing in all forms, views, writes, edge cases, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from recording_tools import assert_same, check, check_derivatives, check_replay, check_values, record

import fastad as fad
from fastad.errors import RecordingError
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder
from fastad.tables.reference import Stopped, evaluate

shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)


def filled(shape, start=1.0):
    n = int(np.prod(shape))
    return (start + np.sin(np.arange(n) * 1.7) + np.arange(n) * 0.1).reshape(shape)


@st.composite
def keys(draw, advanced=True):
    """A shape and a key that NumPy accepts for it."""
    shape = draw(shapes)
    kinds = ["basic"] + (["integer", "mask", "mixed"] if advanced else [])
    kind = draw(st.sampled_from(kinds))
    if kind == "basic":
        return shape, draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    if kind == "mask":
        nd = draw(st.integers(1, len(shape)))
        return shape, draw(hnp.arrays(bool, shape[:nd]))
    if 0 in shape:
        return shape, ...
    if kind == "integer":
        nd = draw(st.integers(1, len(shape)))
        return shape, draw(hnp.integer_array_indices(shape[:nd]))
    parts = []
    for n in shape:
        choices = [st.integers(-n, n - 1), st.slices(n), st.lists(st.integers(-n, n - 1), min_size=2, max_size=2)]
        parts.append(draw(st.one_of(*choices)))
    return shape, tuple(parts[: draw(st.integers(1, len(parts)))])


@given(keys())
def test_reading_by_any_key(case):
    shape, key = case
    x = filled(shape)
    table, recorded = check_values(lambda a: a[key] * 2, x)
    check_replay(table, recorded, lambda a: a[key] * 2, filled(shape, -3.0))
    check_derivatives(table, recorded, lambda a: a[key] * 2, x)


@given(keys(), st.booleans())
def test_writing_by_any_key(case, whole):
    shape, key = case
    x = filled(shape)
    values = filled(np.shape(x[key]), 5.0) if whole else np.asarray(7.0)

    def f(a, b):
        out = a.copy()
        out[key] = b
        return out, out[key]

    table, recorded = check_values(f, x, values)
    check_replay(table, recorded, f, filled(shape, -3.0), values * 2)
    check_derivatives(table, recorded, f, x, values)


@given(keys())
def test_adding_in_place_by_any_key(case):
    shape, key = case

    def f(a):
        out = a * 1.0
        out[key] += 2.0
        out[key] *= a[key]
        return out

    table, recorded = check_values(f, filled(shape))
    check_derivatives(table, recorded, f, filled(shape))


@given(keys())
def test_recorded_integer_keys(case):
    shape, key = case
    listed = [np.asarray(k) for k in (key if isinstance(key, tuple) else (key,)) if isinstance(k, np.ndarray | list)]
    if not listed or any(k.dtype == bool for k in listed) or 0 in shape:
        return

    def f(a, *indices):
        given = iter(indices)
        parts = key if isinstance(key, tuple) else (key,)
        return a[tuple(next(given) if isinstance(k, np.ndarray | list) else k for k in parts)]

    x = filled(shape)
    table, recorded = check_values(f, x, *listed)
    check_derivatives(table, recorded, f, x, *listed)


@given(keys(advanced=False), keys(advanced=False))
def test_views_of_views_see_writes(case, other):
    shape, key = case

    def f(a):
        base = a.copy()
        view = base[key]
        if np.ndim(view) == 0:
            return base, view
        turned = view.T
        turned[...] = turned * 3
        base *= 2.0
        later = turned + 0
        view[..., :1] = -1.0
        return base, view, turned, later, view.reshape(-1)

    check_values(f, filled(shape))


def test_views_and_writes_one_by_one():
    def f(a):
        b = a.copy()
        row, flat, part = b[1], b.reshape(-1), b.T[1:]
        row[0] = 10.0
        flat[-1] = 20.0
        part *= 2
        b.ravel()[3] = a[0, 0]
        np.transpose(b)[0, 0] = 7.0
        b.swapaxes(0, 1)[1] += 1
        for r in b:
            r[0] = r[0] ** 2
        b[None, :, :, None][0, 0, 1] = -3.0
        x, y = np.split(b, [1])
        y[...] = y[::-1]
        return b, row, flat, part, x, y

    check(f, lambda rng: [rng.normal(size=(3, 4))])


def test_copies_do_not_see_writes():
    def f(a):
        b = a.copy()
        copies = b.copy(), b.flatten(), b[[0, 1]], b + 0, np.tile(b, 1), b.T.reshape(-1), np.array(b, copy=True, like=a)
        b[...] = 0.0
        return copies

    check_values(f, filled((3, 4)))


def test_filling_in_a_loop():
    def f(a):
        out = np.zeros(10, like=a)
        out[0] = a[0]
        for i in range(1, 10):
            out[i] = 0.5 * out[i - 1] + a[i % 3]
        grid = np.zeros((3, 3), like=a)
        for i in range(3):
            for j in range(3):
                grid[i, j] = a[i] * a[j]
        grid[1] = out[:3]
        return out, grid, grid.sum()

    check(f, lambda rng: [rng.normal(size=3)])


def test_arguments_are_not_written_to():
    with Recorder() as recorder:
        x = Recorded(recorder, recorder.input(np.ones(3)))
        x._locked = True
        with pytest.raises(RecordingError, match="copy"):
            x[0] = 1.0
        with pytest.raises(RecordingError, match="copy"):
            x += 1.0


@pytest.mark.parametrize(
    "make", [lambda b: np.broadcast_to(b, (2, 3, 3)), lambda b: np.diagonal(b), lambda b: np.diag(b)[:2]]
)
def test_read_only_views(make):
    for x in (np.eye(3), None):
        with Recorder() as recorder:
            b = x if x is not None else Recorded(recorder, recorder.input(np.eye(3))).copy()
            view = make(b)
            with pytest.raises(ValueError, match="read-only"):
                view[0] = 1.0
            b[0, 0] = 5.0
            assert np.max(np.asarray(view[..., 0] if isinstance(view, np.ndarray) else view[..., 0].value)) == 5.0


@pytest.mark.parametrize("shape", [(), (1,), (0,), (1, 1), (0, 3), (3, 0), (2, 1, 3)])
def test_small_and_empty_shapes(shape):
    x = filled(shape)
    for f in (
        lambda a: a.sum(), lambda a: a.T, lambda a: a.reshape(-1), lambda a: np.concatenate([a.reshape(-1), a.ravel()]),
        lambda a: np.exp(a) * 2, lambda a: a.mean(keepdims=True), lambda a: np.cumsum(a),
        lambda a: np.sort(a, axis=None),
        lambda a: np.stack([a, a]), lambda a: np.where(a > 0, a, -a), lambda a: np.prod(a), lambda a: a * a[None],
        lambda a: np.einsum("...->...", a), lambda a: np.tile(a, 2), lambda a: np.repeat(a, 2),
        lambda a: np.atleast_2d(a),
        lambda a: np.outer(a, a), lambda a: np.tensordot(a, a, a.ndim), lambda a: a[...], lambda a: np.flip(a),
        lambda a: a[()],
        lambda a: np.linalg.norm(a), lambda a: np.vdot(a, a), lambda a: np.cumprod(a), lambda a: np.any(a),
        lambda a: np.all(a > 0),
        lambda a: np.zeros_like(a) + a, lambda a: np.pad(a, 1) if a.ndim else a,
    ):  # fmt: skip
        table, recorded = check_values(f, x)
        if x.size:
            check_derivatives(table, recorded, f, x)


def test_non_contiguous_operands():
    big = filled((6, 8))
    for part in (big[::2, ::-1], big.T[1:4], big[:, 3], np.asfortranarray(big)):
        check_values(lambda a, b=part: (a * 2).sum(axis=0) + a[..., 0].sum() + (b * a).sum(), part)


NUMPYS_ERRORS = [
    lambda a: a.sum(axis=2), lambda a: np.concatenate([a, a[:, :1]]), lambda a: a.reshape(7), lambda a: a + np.ones(5),
    lambda a: a @ a, lambda a: np.stack([a, a[0]]), lambda a: a[5], lambda a: a[0, 0, 0], lambda a: a[[7]],
    lambda a: np.max(a[:0]),
    lambda a: a.transpose(0, 0), lambda a: np.swapaxes(a, 0, 5), lambda a: np.squeeze(a, 0),
    lambda a: np.broadcast_to(a, (3, 5)),
    lambda a: np.expand_dims(a, 9), lambda a: np.einsum("ij,jk", a, a), lambda a: np.split(a, 5),
    lambda a: np.argmax(a[:0]),
    lambda a: np.dot(a, a), lambda a: np.diag(a[None]), lambda a: np.gradient(a[:1]), lambda a: np.searchsorted(a, 1.0),
    lambda a: a[np.ones(3)], lambda a: a[np.ones(5, bool)], lambda a: bool(a), lambda a: len(a[0, 0]),
    lambda a: np.sort(a, axis=4),
    lambda a: np.take(a, 40), lambda a: np.cumsum(a, axis=3), lambda a: np.trapezoid(a, axis=3),
    lambda a: np.tensordot(a, a, 1),
    lambda a: np.linalg.matrix_power(a, 2), lambda a: np.quantile(a, 1.5), lambda a: np.roll(a, 1, axis=4),
    lambda a: a.ravel()[a],
    lambda a: np.linalg.norm(a, 5), lambda a: np.moveaxis(a, 0, 7), lambda a: np.einsum("ij->k", a),
    lambda a: np.einsum("ijk", a),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NUMPYS_ERRORS)))
def test_bad_input_raises_numpys_errors(number):
    f, x = NUMPYS_ERRORS[number], filled((3, 4))
    with pytest.raises(Exception) as wanted:
        f(x)
    with pytest.raises(Exception) as found:
        record(f, x)
    assert isinstance(found.value, wanted.type), f"NumPy raises {wanted.value!r}, recording {found.value!r}"


def test_writing_what_does_not_fit():
    for write in (
        lambda a: a.__setitem__(slice(0, 2), np.ones(3)), lambda a: a.__setitem__((0, 0), a[0]),
        lambda a: a.__iadd__(np.ones((2, 3, 4))),
        lambda a: a.__setitem__(9, 1.0), lambda a: a.__setitem__(([9],), 1.0),
    ):  # fmt: skip
        for x in (filled((3, 4)), None):
            with Recorder() as recorder, pytest.raises((ValueError, IndexError)):
                write(x if x is not None else Recorded(recorder, recorder.input(filled((3, 4)))).copy())


def test_writing_functions():
    def f(a, b):
        x, y, z, u, w = (a.copy() for _ in range(5))
        np.copyto(x, b[0])
        np.copyto(x, b, where=b > 0)
        np.put(y, [0, -1, 5], b[0, :3])
        np.fill_diagonal(z, b[0, :3])
        np.putmask(u, b > 0, b)
        np.place(w, b > 0.5, [1.0, 2.0])
        along = a.copy()
        np.put_along_axis(along, np.argsort(b, axis=1)[:, :1], 9.0, axis=1)
        return x, y, z, u, w, along

    check(f, lambda rng: [rng.normal(size=(3, 4)), rng.normal(size=(3, 4))])


def test_in_place_operators():
    def f(a, b):
        x = a.copy()
        x += b
        x -= 1
        x *= b
        x /= 2.0
        x **= 2
        x @= np.eye(3)
        y = x
        y += 1
        s = a[0, 0]
        s += 1
        return x, y, s

    check(f, lambda rng: [rng.uniform(1, 2, size=(3, 3)), rng.uniform(1, 2, size=(3, 3))])


def test_integers_become_part_of_the_path():
    plain = np.arange(10.0)

    def f(a):
        i = np.argmax(a)
        return plain[i] * a[0], np.repeat(a, np.argsort(a)), plain[np.argsort(a)] * a

    table, _ = check_values(f, filled((4,)))
    assert table.guards


def test_iteration_unpacking_and_python_functions():
    def f(a):
        x, y, z = a
        first, *rest = a
        total = sum(row.sum() for row in a)
        return x + y * z, first, rest, total, max(a[0]), min(a[1]), abs(a[0, 0]), [*a[0]], sorted(a[2])[0]

    check(f, lambda rng: [rng.normal(size=(3, 4))])


def test_same_values_after_many_writes_to_overlapping_parts():
    rng = np.random.default_rng(0)
    places = rng.integers(0, 20, size=(60, 2))

    def f(a):
        out = np.zeros(20, like=a) if isinstance(a, Recorded) else np.zeros(20)
        for k, (i, j) in enumerate(places):
            low, high = sorted((i, j))
            out[low:high] += a[k % 5]
            out[j] = out[i] * 0.5 + a[0]
        return out

    check(f, lambda rng: [rng.normal(size=5)])
    assert_same(f(filled((5,))), record(f, filled((5,)))[1][0])


def test_arrays_from_outside_that_decide_on_shapes_are_watched():
    """Masks and counts that a function refers to get guards, so they may change after the recording."""
    mask, counts = np.array([True, False, True]), np.array([1, 0, 2])
    for f, outside in (
        (lambda a: a[mask], mask), (lambda a: np.compress(mask, a), mask), (lambda a: np.extract(mask, a), mask),
        (lambda a: np.repeat(a, counts), counts), (lambda a: np.bincount(counts, a), counts),
        (lambda a: np.delete(a, counts), counts),
    ):  # fmt: skip
        table, _, _ = record(f, filled((3,)))
        (captured,) = table.captured
        assert captured is outside
        assert table.guards
        evaluate(table, [filled((3,)), outside])
        with pytest.raises(Stopped):
            evaluate(table, [filled((3,)), np.roll(outside, 1)])


def test_temporary_masks_and_indices_cost_nothing_at_run_time():
    for f in (
        lambda a: a[np.array([True, False, True])],
        lambda a: a[np.array([0, -1])],
        lambda a: np.repeat(a, np.array([1, 0, 2])),
    ):
        table, _, _ = record(f, filled((3,)))
        names = [row.name for row in table.rows() if row.name not in ("const", "input")]
        assert names in (["gather"], ["strided"])  # evenly spread places are a region
        assert not table.captured


def test_methods_that_write():
    def f(a):
        b, c, d = a.copy(), a.copy(), a.copy()
        b.sort()
        c.fill(2.0)
        d.put([0, 1], a[:2] * 2)
        return b, c, d, a.reshape(2, 2).mT, np.sort(a.argpartition(1) * 0 + a)

    check(f, lambda rng: [rng.normal(size=4)])


def test_formatting_shows_the_value():
    with Recorder() as recorder:
        x = Recorded(recorder, recorder.input(np.float64(1.23456)))
        assert f"{x:.2f}" == "1.23"
        assert "1.23" in f"{x}"
        many, text = "%.2f|%d|%s|%5.1f", "%e"  # as logging has them: `msg % args`
        assert many % (x, x, 7, x * 2) == "1.23|1|7|  2.5"
        text %= x
        assert text == "1.234560e+00"
        assert b"%.1f" % x == b"1.2"
        assert len(recorder.builder) == 3  # no row, and no guard that texts would make
        for conversion in (float, lambda x: text % float(x)):
            with pytest.raises(RecordingError, match=r"print with f'\{x:.3f\}'"):
                conversion(x)


def test_methods_whose_arguments_are_in_another_order():
    x = np.array([0.5, -1.0, 2.0])
    check(lambda x: x.compress([True, False, True]) ** 2, lambda rng: [rng.normal(size=3)])
    check(lambda x: x.view() * 2, lambda rng: [rng.normal(size=3)])
    with pytest.raises(RecordingError, match="astype"):
        record(lambda x: x.view(np.float32), x)


def test_conversion_of_nothing_keeps_the_dtype():
    check(lambda x: np.sum(np.asarray(x[:0]) * 2.0) + x[0], lambda rng: [rng.normal(size=2)])


@pytest.mark.parametrize("take", [
    lambda y: y[::2].ravel(), lambda y: np.ravel(y[::-1]), lambda y: y.reshape(2, 2)[:, 1:].ravel(),
    lambda y: np.ascontiguousarray(y[::2]), lambda y: y.ravel(), lambda y: y.reshape(2, 2).ravel(order="F"),
    lambda y: y.reshape(2, 2).T.ravel(order="K"), lambda y: np.ascontiguousarray(y),
])  # fmt: skip
def test_flat_copies_and_views_are_told_apart(take):
    def f(x):
        y = x * 2
        taken = take(y)
        taken[0] = 7
        return y * 1

    x = np.array([1.5, -2.0, 3.0, 0.5])
    np.testing.assert_array_equal(fad.jit(f)(x), f(x))
