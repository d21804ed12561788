"""Calls of NumPy functions that are like an earlier one of the recording: they compute what they compute alone."""

import numpy as np
import pytest
import test_numpy_functions
import test_numpy_shapes
from recording_tools import check, leaves, record
from test_numpy_functions import EINSUM, function, general, split

import fastad as fad
from fastad.errors import IndexRangeError, ShapeError
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder
from fastad.recording.repeated import repeated
from fastad.tables.reference import evaluate

FACTORS = (1.0, 0.75, 1.25, 0.5)  # the first call and the second ask the implementation, the others repeat its steps
EXPRESSIONS = [
    expression
    for module, names in (
        (test_numpy_functions, ("REDUCTIONS", "PRODUCTS")),
        (test_numpy_shapes, ("SHAPING", "JOINING", "SELECTING", "NUMERICAL")),
    )
    for name in names
    for expression in split(getattr(module, name))
]
EXPRESSIONS += ["np.einsum({!r}, {})".format(*case.split(";")) for case in split(EINSUM)]


def over_and_over(f):
    """f at several arrays in one recording."""
    return lambda *arrays: [x for factor in FACTORS for x in leaves(f(*(a * factor for a in arrays)))]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_repeated_calls_compute_what_numpy_computes(expression):
    f, used = function(expression)
    check(over_and_over(f), general(used), differentiate=False)


def plans(f, *arrays):
    """How many kinds of calls are repeated in a recording of f."""
    with Recorder() as recorder:
        f(*(Recorded(recorder, recorder.input(a)) for a in arrays))
        return sum(hasattr(plan, "steps") for plan in recorder.calls.values())


X = np.arange(1.0, 10.0).reshape(3, 3)


@pytest.mark.parametrize(
    "call",
    [
        np.sum, np.mean, lambda x: np.max(x, axis=1, keepdims=True), lambda x: x @ x, lambda x: x.T @ x[0],
        lambda x: np.roll(x, 1, axis=0), lambda x: np.concatenate([x, x]), lambda x: x[[0, 2]],
        lambda x: x[:, np.array([0, 2])], lambda x: np.array([x[0, 0], x[1, 1]]), np.linalg.norm, np.linalg.inv,
        lambda x: np.einsum("ij,jk->ik", x, x),
    ],
)  # fmt: skip
def test_calls_are_repeated(call):
    assert plans(over_and_over(call), X + np.eye(3))


def test_what_is_equal_in_one_call_may_differ_in_the_next():
    """The kind of a call says which operands are one, and equal rows do not make operands equal."""

    def f(x, y):
        return [np.dot(a, b) for a, b in ((x, x), (y, y), (x, y), (y, x), (x * 2, y), (x, x), (x * 1.0, x), (y, y))]

    check(f, lambda rng: [rng.normal(size=4), rng.normal(size=4)])


def test_constants_among_operands_are_those_of_each_call():
    def f(x):
        zero, one = x * 0 + 0.0, np.ones(3)
        return [np.sum(np.concatenate([a, b])) for a in (x, zero, one, 2 * one, x * x) for b in (x, one, x + 1)]

    check(f, lambda rng: [rng.normal(size=3)])


def test_calls_that_depend_on_values_are_not_repeated():
    """np.repeat with recorded counts has a shape by their values, and a guard each time."""

    def f(x, n):
        return [np.repeat(x, k) for k in (n, n + 1, n + 2, n)]

    table, concrete, _ = record(f, np.ones(2), np.array(1))
    assert [x.shape for x in concrete] == [(2,), (4,), (6,), (2,)]
    assert len(table.guards) == 3


def test_results_of_repeated_calls_can_be_written_to():
    """Each is an array of its own, also where an operand of the call is written to later."""

    def f(x):
        out = []
        for k in range(4):
            y = x * (k + 1.0)
            z = np.sum(y, axis=0)
            z[0] = 7.0
            y[1] = 0.0
            out += [z, np.sum(y, axis=0)]
        return out

    check(f, lambda rng: [rng.normal(size=(3, 4))])


def test_views_of_operands_stay_views():
    def f(x):
        out = []
        for k in range(4):
            y = x * (k + 1.0)
            turned, flat = np.transpose(y), np.ravel(y)
            turned[0, 1] = 5.0
            flat[0] = 3.0
            out.append(y)
        return out

    check(f, lambda rng: [rng.normal(size=(3, 4))])


def test_arrays_from_outside_are_operands():
    """Also where they change between the calls, and after the recording."""
    data, index = np.array([1.0, 2.0, 3.0]), np.array([0, 2, 2])

    def f(x):
        return [np.dot(data, x * k) + np.sum((x * k)[index]) for k in (1.0, 2.0, 3.0, 4.0)]

    table, concrete, _ = record(f, data * 2)
    assert len(table.captured) == 2
    moved = evaluate(table, [data * 2, *(a + 1 if a is data else a - 0 for a in table.captured)])
    for k, x, y in zip((1.0, 2.0, 3.0, 4.0), concrete, moved, strict=True):
        z = data * 2 * k
        assert x == pytest.approx(data @ z + z[index].sum())
        assert y == pytest.approx((data + 1) @ z + z[index].sum())


def test_an_array_that_changes_between_calls_is_read_anew():
    data = np.array([1.0, 2.0, 3.0])

    def f(x):
        out = []
        for k in range(4):
            data[0] = k
            out.append(np.dot(data, x * (k + 1.0)))
        return out

    _, concrete, _ = record(f, np.ones(3))
    assert concrete == [k_1 * (k_1 - 1 + 5.0) for k_1 in (1, 2, 3, 4)]


def test_errors_of_repeated_calls_name_the_line():
    """The values of what may fail are looked at in each call, at its line."""

    def f(x):
        return [np.linalg.inv(y) for y in (x, 2 * x, 3 * x, 0 * x)]

    with pytest.raises(fad.SingularMatrixError, match=r"test_repeated_calls.py:\d+"):
        record(f, X + np.eye(3))


def test_wrong_indices_are_found_in_repeated_calls():
    def f(x):
        return [x[i] for i in (np.array([0, 1]), np.array([1, 2]), np.array([2, 0]), np.array([0, 3]))]

    with pytest.raises((IndexError, IndexRangeError), match=r"3|test_repeated"):
        record(f, np.ones(3))


def test_shapes_that_do_not_fit_are_found_in_repeated_calls():
    def f(x):
        return [np.dot(x * k, np.ones(3 if k < 4 else 2)) for k in (1.0, 2.0, 3.0, 4.0)]

    with pytest.raises((ValueError, ShapeError), match="not"):
        record(f, np.ones(3))


def test_rows_of_repeated_calls_have_their_lines():
    def f(x):
        a = np.sum(x)
        b = np.sum(x * 2)
        c = np.sum(x * 3)
        d = np.sum(x * 4)
        return a + b + c + d

    table, _, _ = record(f, X)
    lines = {table.line_of(i).number for i, row in enumerate(table.rows()) if row.name == "sum"}
    assert len(lines) == 4


def test_an_implementation_that_writes_into_an_operand_gets_the_operand():
    """Repeating is for functions of their arguments."""

    def clear(x):
        x[0] = 0.0
        return x

    with Recorder() as recorder:
        x = Recorded(recorder, recorder.input(X))
        for k in range(4):
            y = x * (k + 1.0)
            assert repeated(clear, clear, (y,), {}) is y
            np.testing.assert_array_equal(y.value[0], 0.0)
