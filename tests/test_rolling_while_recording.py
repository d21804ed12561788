"""Loops that are rolled while a function is recorded: the same values as unrolled, in a table that does not grow."""

import gc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rolling import FINISHES, PROGRAMS, STATEMENTS, X, loops, program, unrolled

import fastad as fad
from fastad.recording import rolling
from fastad.tables.reference import evaluate
from fastad.tables.rolling import rolled


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Loops of few turns are rolled, and after few rows. Each time all objects are looked at that the garbage collector
    knows: those of other tests, in their millions, are left out."""
    make_small(monkeypatch.setattr)
    gc.freeze()
    yield
    gc.unfreeze()


def make_small(put):
    for name, value in (("LEAST_TURNS", 6), ("LEAST_WORTH", 1), ("LEAST_WORTH_OF_SHORT_TURNS", 1)):
        put(rolled, name, value)
    put(rolling, "MANY", 60)


def counted(monkeypatch):
    """How often a recording went on in another builder."""
    found = []
    real = rolling.Recorder.go_on_in

    def go_on_in(self, builder, *others):
        found.append((len(self.builder), len(builder)))
        return real(self, builder, *others)

    monkeypatch.setattr(rolling.Recorder, "go_on_in", go_on_in)
    return found


def check(f, *args):
    """Values and derivatives of a function are those of its unrolled recording; returns the table."""
    table, plain = fad.trace(f, *args), unrolled(f, *args)
    for a, b in zip(evaluate(table, [*args, *table.captured]), evaluate(plain, [*args, *plain.captured]), strict=True):
        np.testing.assert_array_equal(a, b)
    # By sweeps: to compile all turns of the unrolled one takes most of such a test; test_rolling has the native tier.
    gradient = lambda roll: fad.grad(lambda *x: np.sum(f(*x)), roll=roll, tier="sweep")(*args)
    np.testing.assert_allclose(gradient(None), gradient(False), rtol=1e-12, atol=1e-13)
    return table


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_programs_have_the_values_of_their_turns(f):
    check(f, X)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=6), st.sampled_from(FINISHES), st.integers(8, 20),
    st.integers(30, 90),
)  # fmt: skip
def test_any_loop_keeps_its_values_and_derivatives(body, finish, turns, many):
    make_small(setattr)
    rolling.MANY = many
    check(program(body, finish, turns), X)


TURNS = 160
DATA = np.sin(np.arange(float(TURNS)))


def plain(x):
    for _ in range(TURNS):
        x = x + 0.01 * np.sin(x)
    return x


def with_time(x):
    for i in range(TURNS):
        x = x + 0.01 * np.sin(x + 0.1 * i)
    return x


def with_data(x):
    for value in DATA:
        x = x + 0.01 * np.sin(x) * value
    return x


def with_both(x):
    for i in range(TURNS):
        x = x + 0.01 * np.sin(x * DATA[i]) * i
    return x


def with_two_states(x):
    y = x * 2
    for _ in range(TURNS):
        x, y = x + 0.01 * y, y - 0.01 * np.sin(x)
    return x + y


def with_parameter(x):
    y = x * 0.5
    for _ in range(TURNS):
        y = y + 0.01 * x * np.cos(y)
    return y


@pytest.mark.parametrize(
    "f", [plain, with_time, with_data, with_both, with_two_states, with_parameter], ids=lambda f: f.__name__
)
def test_a_loop_of_any_number_of_turns_is_one_row(f, monkeypatch):
    """The pieces are joined to one loop, and the builder never holds more than a few of them."""
    moves = counted(monkeypatch)
    table = check(f, np.array(0.3))
    assert len(moves) > 3 and max(after for _, after in moves) < 40 and max(before for before, _ in moves) < 200
    assert len(loops(table)) == 1 and len(table) < 40
    assert TURNS - loops(table)[0].length < rolled.LEAST_TURNS


def test_states_of_all_turns_can_be_kept():
    def f(x):
        seen = []
        for _ in range(60):
            x = x + 0.01 * np.sin(x)
            seen.append(x)
        return np.sum(np.array(seen) ** 2)

    check(f, np.array(0.3))


def test_vectors_views_and_writes():
    def f(x):
        y, out = np.zeros(3), x.copy()
        for _ in range(60):
            view = out[1:]
            view[0] = view[0] * 0.5 + out[0]
            y[1] = out[1]
            out = out + 0.1 * y
            y = y * 0.5
        return np.sum(out * y + out[::-1])

    check(f, np.array([0.3, 0.4, 0.5]))


def test_branches_and_values_are_those_of_the_turns():
    """Rows with guards stay; the values that branches look at are still there after a move."""

    def f(x):
        for i in range(90):
            x = x + 0.01 * np.sin(x)
            if i % 20 == 19 and x > 0.4:
                x = x * 0.5
        return x

    check(f, np.array(0.3))


def test_concrete_values_stay(capsys):
    def f(x):
        for i in range(60):
            x = x + 0.01 * np.sin(x)
            if i % 13 == 0:
                print(f"{x:.15f}")
        return x

    fad.trace(f, 0.3)
    shown = capsys.readouterr().out
    f(0.3)
    assert capsys.readouterr().out == shown


def test_captured_arrays_stay_inputs():
    data = np.array([0.1, 0.2, 0.3])

    def f(x):
        for _ in range(60):
            x = x + data * np.sin(x)
        return np.sum(x)

    g = fad.value_and_grad(f)
    before = g(np.ones(3))[0]
    data[0] = 0.5
    assert g(np.ones(3))[0] == pytest.approx(f(np.ones(3)), rel=1e-14) and g(np.ones(3))[0] != before


def test_values_that_the_garbage_collector_has_frozen():
    """They cannot be found, so no rows are moved."""

    def f(x):
        y = x * 2
        for i in range(60):
            x = x + 0.01 * np.sin(x)
            if i == 2:
                gc.freeze()
        return x + y

    try:
        check(f, np.array(0.3))
    finally:
        gc.unfreeze()


def test_functions_within_functions():
    """Rows are moved in no recording that code of fastad is working on."""

    def inner(x, p):
        for _ in range(60):
            x = x + 0.01 * p * np.sin(x)
        return x

    def f(p):
        total = p * 0.0
        for _ in range(6):
            total = total + fad.grad(inner)(total, p) * 0.1 + np.vectorize(lambda t: t * 2.0)(total)
        return total

    check(f, np.array(0.3))
    assert np.isfinite(fad.hessian(lambda p: inner(p, p))(0.4))


def test_errors_name_the_line_after_a_move():
    def f(x):
        for _ in range(60):
            x = x + 0.01 * np.sin(x)
        m = np.zeros((2, 2)) * x
        return np.linalg.inv(m)  # the line

    with pytest.raises(fad.SingularMatrixError, match=rf":{f.__code__.co_firstlineno + 4}\b"):
        fad.trace(f, 0.3)


def test_roll_false_keeps_all_rows(monkeypatch):
    moves = counted(monkeypatch)
    assert len(unrolled(plain, 0.3)) > TURNS and not moves
