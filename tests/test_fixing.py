"""Inputs of a recording that become constants: the rows that are copied in blocks, against all of them emitted anew."""

from collections import Counter

import numpy as np
import pytest

import fastad as fad
from bench import programs
from fastad.recording import recorder
from fastad.tables.builder import Builder
from fastad.tables.inline import compact, inline
from fastad.tables.reference import evaluate

RNG = np.random.default_rng(3)


def emitted_anew(recorded, outputs, order, fixed, captured):
    """The same by `inline`, which emits each row."""
    numbers = {ref: recorded.columns["a"][ref] for ref in (*order, *fixed)}
    b = Builder()
    places = {numbers[ref]: b.input(*recorded.type(ref)) for ref in order}
    places |= {numbers[ref]: b.const(value) for ref, value in fixed.items()}
    table = recorded.table(outputs)
    refs = inline(b, table, [places[i] for i in range(len(table.inputs))])
    return compact(b.table([refs[i] for i in table.outputs], captured))


@pytest.fixture
def tables(monkeypatch):
    """Pairs of tables of the recordings that follow."""
    found, usual = [], recorder.with_inputs

    def both(*given):
        found.append((emitted_anew(*given), usual(*given)))
        return found[-1][1]

    monkeypatch.setattr(recorder, "with_inputs", both)
    return found


def rows_of(table):
    return Counter((row.name, row.statics, row.shape, row.dtype) for row in table.rows())


def agree(tables, arguments):
    for anew, copied in tables:
        assert rows_of(anew) == rows_of(copied) and anew.inputs == copied.inputs and anew.subs == copied.subs
        if len(anew.inputs) == len(arguments) + len(anew.captured):
            given = [*arguments, *anew.captured]
            for x, y in zip(evaluate(anew, given), evaluate(copied, given), strict=True):
                assert np.array_equal(x, y, equal_nan=True)


def many(f):
    """f after so many rows that they are copied in blocks."""

    def g(x):
        for i in range(20):
            x = np.tanh(x) * (x + 0.1 * i)
        y = f(x)
        for i in range(20):
            y = np.sin(y) - 0.3 * i
        return y

    return g


NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.7, -2.0, np.nan, np.inf]
USES = [
    lambda x, c: x + c, lambda x, c: x * c, lambda x, c: c - x, lambda x, c: x / c, lambda x, c: x**c,
    lambda x, c: np.maximum(x, c) + np.maximum(c, c * 2), lambda x, c: np.where(c > 0, x, c),
    lambda x, c: np.where(x > c, x, c), lambda x, c: c @ x, lambda x, c: np.concatenate([c, x])[3:8],
    lambda x, c: np.sum(c * np.ones(6)) * x, lambda x, c: x[:, None] * c, lambda x, c: np.outer(c, x).T[1:3],
    lambda x, c: -(c * x) + np.abs(c) * np.abs(x), lambda x, c: np.cumsum(c * x[2]), lambda x, c: (x + c) + (x + c),
    lambda x, c: x[2] * c, lambda x, c: x[2] * (c + c) + c, lambda x, c: np.zeros(6) + x * np.zeros(6) + c,
    lambda x, c: np.linalg.solve(np.diag(c + 4.0), x), lambda x, c: x[c.argsort()] + x[np.array([0, 1, 0, -1, 2, 5])],
]  # fmt: skip


@pytest.mark.parametrize("f", USES)
@pytest.mark.parametrize("number", [*NUMBERS, None])
def test_rows_and_values_are_those_of_all_rows_emitted_anew(f, number, tables):
    c = RNG.normal(size=6) if number is None else np.full(6, number)
    x = 0.3 + RNG.random(6)
    with np.errstate(all="ignore"):
        fad.trace(many(lambda x: f(x, c.copy())), x)
    assert len(tables) == 1 and not tables[0][1].captured
    agree(tables, [x])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (0, 3), (2, 1)])
def test_small_and_empty_constants(shape, tables):
    for number in (0.0, 1.0, 2.0):
        constant = np.full(shape, number)
        fad.trace(many(lambda x, own=constant: np.concatenate([own.copy().ravel(), x])[-3:] + x), np.ones(3))
    assert len(tables) == 3
    agree(tables, [np.ones(3)])


def test_integers_and_booleans(tables):
    def f(x):
        mask, index = np.array([True, False, True]), np.array([2, 0, 1])
        return np.where(mask, x[index], x * mask) + np.array([1, 1, 1]) * x + np.where(np.array([True] * 3), x, 0.0)

    fad.trace(many(f), np.ones(3))
    agree(tables, [np.ones(3)])


@pytest.mark.parametrize("name", ["adi", "cavity", "fluid", "heat_design", "wing", "hidden_markov_em", "lu"])
def test_programs(name, tables):
    f, x = programs.over(name, np, "small")
    fad.trace(f, x)
    agree(tables, [x] if isinstance(x, np.ndarray) else [])
