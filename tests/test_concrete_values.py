"""Concrete values while recording: what Python sees of a recorded value, at any moment, is what NumPy computes."""

import tracemalloc

import numpy as np
import pytest

import fastad as fad
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder


def steps(x):
    """Values of several kinds, one computed from another."""
    y = np.sin(x) * 2
    z = y[1:] - y[:-1]
    w = np.stack([z, z * z])
    n = np.argmax(w[1])
    return [y, z, w, n, w.sum(), w[0] @ z, z[0] > 0, np.where(z > 0, z, 1 / z), x.astype(np.float32), 3 - n]


@pytest.mark.parametrize("order", [range(10), reversed(range(10)), [4, 4, 0, 9]])
def test_values_may_be_asked_for_in_any_order(order):
    x = np.linspace(-1.0, 2.0, 6)
    wanted = steps(x)
    with Recorder() as recorder:
        found = steps(Recorded(recorder, recorder.input(x)))
        for i in order:
            value = found[i].value
            assert np.array_equal(value, wanted[i])
            assert value.dtype == wanted[i].dtype


def test_values_are_those_of_the_moment_of_recording():
    outside, x = np.ones(3), np.arange(3.0)
    with Recorder() as recorder:
        y = Recorded(recorder, recorder.input(x)) + outside
        outside[:], x[:] = 5.0, 7.0
        assert y.value.tolist() == [1.0, 2.0, 3.0]


def test_no_warnings_of_values_that_nobody_asked_for(recwarn):
    with fad.Tape() as tape:
        x = tape.variable(0.0)
        y = np.log(x)
    assert y.value == -np.inf and not recwarn.list


def test_errors_arise_at_the_line_that_causes_them():
    lines = []

    def f(x):
        i = np.argmax(x) + 5
        try:
            x[i]
        except IndexError:
            lines.append("caught")
        return x.sum()

    fad.trace(f, np.ones(3))
    assert lines == ["caught"]


def test_every_row_names_its_line():
    def f(x):
        y = (
            np.sin(x)
            + x * 2
        )  # fmt: skip
        for _ in range(3):
            y = y * y
            y = np.cos(y)
        return max([v + 1 for v in (y, x)])

    table = fad.trace(f, 1.0)
    first = f.__code__.co_firstlineno
    found = {table.row(i).name: table.line_of(i) for i in range(len(table))}
    assert found["sin"].number == first + 2 and found["cos"].number == first + 7
    assert {line.file for line in found.values() if line.number} == {__file__}


def test_lines_of_long_straight_line_code():
    count = 700  # instructions far from the function's beginning, extended arguments
    source = "def f(x):\n" + "".join(f"    x = x * {i}.5\n" for i in range(count)) + "    return x\n"
    scope = {}
    exec(compile(source, "<long>", "exec"), scope)
    table = fad.trace(scope["f"], 1.0)
    numbers = [table.line_of(i).number for i in range(len(table)) if table.row(i).name == "multiply"]
    assert numbers == list(range(2, count + 2))


def test_values_of_an_ended_recording_are_refused_on_either_side_of_a_number():
    kept = []
    fad.trace(lambda x: kept.append(x) or x * 2, 1.0)
    for f in (lambda x: x + 1, lambda x: 1 - x, np.sin, lambda x: np.arctan2(1.0, x), lambda x: x * np.ones(2)):
        with pytest.raises(fad.RecordingError, match="ended"):
            f(kept[0])


def test_stack_writes_its_pieces_at_once():
    table = fad.trace(lambda x: np.stack([np.sin(x), np.cos(x)], axis=1), np.ones((2, 3)))
    assert [table.row(i).name for i in range(len(table))] == ["input", "sin", "cos", "assemble"]


def test_reading_back_what_was_written():
    def f(x):
        y = x.copy()
        y[1:3] = np.sin(x[:2])
        y[3] = y[1] * y[2]
        z = y * 1.0
        return y[1:3] + z[2:] + y[3]

    x = np.linspace(0.1, 1.0, 4)
    assert np.allclose(fad.jit(f)(x), f(x))
    assert np.allclose(fad.jit(f)(2 * x), f(2 * x))


def test_values_that_nobody_holds_are_dropped_and_come_back(monkeypatch):
    """A recording that reads its values holds those of a few steps, and finds each again where it is wanted."""
    from fastad.recording import forgetting

    monkeypatch.setattr(forgetting, "_BYTES", 100_000)
    peak, start = [], np.linspace(0.1, 0.9, 2000)

    def f(x):
        first, early = np.sin(x), None
        for k in range(60):
            x = np.where(x > 0.5, np.cos(x), x + 0.01 * k)
            if x[k] > 2.0:  # asks for the value
                x = x * 0.5
            early = x if k == 3 else early
            peak.append(tracemalloc.get_traced_memory()[0])
        return np.sum(x * early) + np.sum(np.sin(start) * first) + (early[0] > 0) * np.sum(np.cos(first))

    def plain(x):
        return f(x)

    wanted = plain(start)
    peak.clear()
    tracemalloc.start()
    try:
        found = fad.jit(f)(start)
    finally:
        tracemalloc.stop()
    assert np.isclose(found, wanted, rtol=1e-14)
    assert max(peak) - peak[0] < 600_000  # of 60 steps, each three arrays of 16,000 bytes
