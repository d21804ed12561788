"""Lookups in tables from outside by a recorded whole number: one recording for all indices, in whatever way the index
is made and wherever it is looked up, with the values of now. The tables are those of plain Python, and the reference is
the same function where nothing is recorded, and differences of it."""

import builtins
import math

import numpy as np
import pytest

import fastad as fad

STEP = 0.05
INPUTS = np.sin(3.0 * np.arange(21))
LIST, TUPLE, WHOLE = INPUTS.tolist(), tuple(INPUTS.tolist()), (10 * INPUTS).astype(int)

INDICES = {
    "int": lambda t: int(t / STEP),
    "clipped": lambda t: min(max(int(t / STEP), 0), 20),
    "floor division": lambda t: int(t // STEP),
    "math.floor": lambda t: math.floor(t / STEP),
    "np.floor": lambda t: np.floor(t / STEP).astype(int),
    "clip": lambda t: np.clip((t / STEP).astype(int), 0, 20),
    "searchsorted": lambda t: np.searchsorted(STEP * np.arange(21), t, side="right") - 1,
}


def _rate(index, table):
    def rate(t, y, k):
        return [-k * y[0] + table[index(t)]]

    return rate


def _end(index, table=INPUTS, method="Tsit5", **options):
    rate = _rate(index, table)

    def end(k):
        return fad.solve_ivp(rate, (0.0, 0.99), [1.0], method, args=(k,), max_step=STEP / 2, **options).y[0, -1]

    return end


def _held(k):
    """The same, with an input that is held: exact within each stretch."""
    y = 1.0
    for i, u in enumerate(INPUTS[:20]):
        h = STEP if i < 19 else 0.04
        y = y * np.exp(-k * h) + u * (1.0 - np.exp(-k * h)) / k
    return y


@pytest.mark.parametrize("name", INDICES)
def test_input_held_between_times(name):
    end = _end(INDICES[name], rtol=1e-7)
    value, slope = fad.value_and_grad(end)(1.3)
    assert value == pytest.approx(_held(1.3), rel=1e-4)
    assert slope == pytest.approx((_held(1.3001) - _held(1.2999)) / 2e-4, rel=1e-4)
    assert value == pytest.approx(end(1.3), rel=1e-13)


@pytest.mark.parametrize("table", [LIST, TUPLE, WHOLE], ids=["list", "tuple", "whole numbers"])
@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_other_tables(table, tier):
    end = _end(INDICES["int"], table)
    reference = fad.value_and_grad(_end(INDICES["np.floor"], np.asarray(table)))(0.7)
    np.testing.assert_allclose(fad.jit(fad.value_and_grad(end), tier=tier)(0.7), reference, rtol=1e-12)


def test_stiff_methods_and_second_order():
    for method in ("Rodas5P", "BDF", "Radau"):
        end = _end(INDICES["clipped"], method=method, rtol=1e-6)
        assert fad.grad(end)(1.3) == pytest.approx((_held(1.3001) - _held(1.2999)) / 2e-4, rel=1e-3)
    end = _end(INDICES["int"], rtol=1e-8)
    second = (_held(1.301) - 2.0 * _held(1.3) + _held(1.299)) / 1e-6
    assert fad.hessian(end)(1.3) == pytest.approx(second, rel=1e-3)


def test_table_of_an_object():
    class Motor:
        def __init__(self, inputs):
            self.inputs = inputs

        def rate(self, t, y, k):
            return np.array([-k * y[0] + self.inputs[int(t / STEP)]])

    motor = Motor(INPUTS.copy())
    end = lambda k: fad.solve_ivp(motor.rate, (0.0, 0.99), [1.0], args=(k,), max_step=STEP / 2).y[0, -1]
    gradient = fad.value_and_grad(end)
    before = gradient(0.7)
    motor.inputs *= 2.0
    np.testing.assert_allclose(gradient(0.7), fad.value_and_grad(_end(INDICES["int"], 2.0 * INPUTS))(0.7), rtol=1e-12)
    assert gradient(0.7)[0] != before[0]


@pytest.mark.filterwarnings("error")
def test_one_recording_for_minibatches():
    """Rows that an argument names: other rows need no recording after the second."""
    data, rng = np.random.default_rng(0).standard_normal((40, 2)), np.random.default_rng(1)
    batch_loss = lambda w, rows: np.sum(np.tanh(data[rows] @ w))
    gradient = fad.value_and_grad(batch_loss)
    for _ in range(100):
        w, rows = rng.standard_normal(2), rng.choice(40, 8, replace=False)
        value, slope = gradient(w, rows)
        assert value == pytest.approx(batch_loss(w, rows), rel=1e-12)
        np.testing.assert_allclose(slope, (1.0 - np.tanh(data[rows] @ w) ** 2) @ data[rows], rtol=1e-12)
    assert gradient.memory.recordings == 2
    data[:] = rng.standard_normal((40, 2))
    assert gradient(w, rows)[0] == pytest.approx(batch_loss(w, rows), rel=1e-12)


@pytest.mark.filterwarnings("error")
def test_lookups_by_int_outside_of_solves():
    rng = np.random.default_rng(2)

    def looked_up(x):
        return x[2] * LIST[int(x[0])] + x[0] * TUPLE[min(max(int(np.floor(x[1])), 0), 2)]

    gradient = fad.value_and_grad(looked_up)
    for _ in range(100):
        x = rng.uniform(0.0, 4.0, 3)
        value, slope = gradient(x)
        assert value == pytest.approx(looked_up(x), rel=1e-12)
        np.testing.assert_allclose(slope, [TUPLE[min(int(x[1]), 2)], 0.0, LIST[int(x[0])]], rtol=1e-12)


def test_loops_and_roots():
    data = np.random.default_rng(3).standard_normal(50)

    def plain(a):
        x = 0.0
        for i in range(50):
            x = x * a + data[i]
        return x

    loops = [
        lambda a: fad.fori_loop(0, 50, lambda i, x: x * a + data[i], 0.0),
        lambda a: fad.scan(lambda x, i: (x * a + data[i], None), 0.0, np.arange(50))[0],
        lambda a: fad.while_loop(lambda s: s[0] < 50, lambda s: (s[0] + 1, s[1] * a + data[s[0]]), (0, 0.0))[1],
    ]
    for loop in loops:
        np.testing.assert_allclose(fad.value_and_grad(loop)(0.5), fad.value_and_grad(plain)(0.5), rtol=1e-12)
    cube_root = lambda k: fad.root(lambda x, k: x**3 - LIST[int(k)] * k, 1.0, args=(k,)).x
    assert fad.grad(cube_root)(1.5) == pytest.approx(np.cbrt(LIST[1]) * 1.5 ** (-2 / 3) / 3, rel=1e-9)


def test_numbers_of_turns_stay_paths():
    data = np.arange(1.0, 8.0)

    def power(x):
        y, turns = x[1], int(x[0])
        for _ in range(turns):
            y = y * data[turns]
        return y

    for turns in range(6):
        assert fad.grad(power)(np.array([turns + 0.5, 2.0]))[1] == data[turns] ** turns


def test_outside_the_table():
    beyond = fad.grad(lambda x: LIST[int(x)] * x)
    assert [beyond(2.5), beyond(1.5)] == [LIST[2], LIST[1]]
    with pytest.raises(fad.FastadError, match="test_lookups"):
        beyond(30.5)


def test_int_is_itself_afterwards():
    fad.grad(_end(INDICES["int"]))(0.9)
    assert "int" not in globals()
    assert int is builtins.int


def test_paths_that_cannot_be_rows_are_named_once(monkeypatch):
    monkeypatch.setattr("fastad.control.paths._MOST", 12)

    def rate(t, y):
        return [np.float64(len("x" * int(t / 0.01))) - y[0]]

    with pytest.raises(fad.RecordingError, match=r"^fun of Tsit5: a Python branch .*test_lookups.*like=i"):
        fad.grad(lambda y: fad.solve_ivp(rate, (0.0, 1.0), [y], max_step=0.01).y[0, -1])(1.0)
