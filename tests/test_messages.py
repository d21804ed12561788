"""Errors and printed forms that a newcomer meets: each names what was called, what was wrong, and the fix."""

import dataclasses
import re
import warnings
from typing import Any

import numpy as np
import pytest

import fastad as fad
from fastad.control import paths

X = np.array([1.0, 2.0])


def square(x):
    return np.sum(x**2)


@pytest.mark.parametrize("argument", [None, {"a": None}, (None, [None])])
def test_nothing_to_differentiate_by(argument):
    for transform in (fad.grad, fad.value_and_grad, fad.jacobian, fad.hessian):
        with pytest.raises(fad.DerivativeError, match=r"square: argument 0 is None, so .* nothing to differentiate"):
            transform(square)(argument)


def test_none_beside_arrays_and_empty_structures_are_kept():
    gradient = fad.grad(lambda p: np.sum(p["a"] ** 2))({"a": X, "b": None})
    assert gradient["b"] is None and np.array_equal(gradient["a"], 2 * X)
    assert fad.grad(lambda p: np.float64(1.0))([]) == []


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("jvp", lambda v: fad.jvp(square, (X,), (v,))),
        ("hvp", lambda v: fad.hvp(square, X, v)),
        ("linearize", lambda v: fad.linearize(square, X)[1](v)),
    ],
)
def test_tangents_that_do_not_fit(name, call):
    with pytest.raises(fad.ShapeError, match=rf"^{name} of square: a tangent has shape \(3,\).* shape \(2,\)"):
        call(np.ones(3))
    with pytest.raises(fad.ShapeError, match=f"{name} of square: the tangents must have the structure"):
        call((X,))


def test_a_cotangent_that_does_not_fit():
    def both(x):
        return x, {"s": np.sum(x)}

    _, pull = fad.vjp(both, X)
    with pytest.raises(fad.ShapeError, match=re.escape("(float64[2], {s: float64}), not float64[3]")):
        pull(np.ones(3))


def test_matrices_are_refused_where_they_would_compute_otherwise():
    with pytest.warns(PendingDeprecationWarning), pytest.raises(fad.RecordingError, match="operand is a matrix"):
        fad.jit(lambda x: np.asmatrix(x))(X)


# ── loops and branches ────────────────────────────────────────────────────────────────────────────────────────
def test_a_list_of_arrays_by_the_number_of_a_step(monkeypatch):
    monkeypatch.setattr(paths, "_MOST", 2)
    rows = [X, 2 * X]
    with pytest.raises(fad.RecordingError, match=r"np.asarray\(a, like=i\)\[i\]"):
        fad.fori_loop(0, 2, lambda k, s: s + rows[k], 0 * X)
    with pytest.raises(fad.RecordingError) as caught:
        fad.scan(lambda s, _: (s + (1.0 if s < 1 else 2.0 if s < 2 else 3.0), None), 0.0, length=4)
    assert "fad.cond" in str(caught.value) and "like=" not in str(caught.value)
    for table in (X, X.tolist()):
        assert fad.fori_loop(0, 2, lambda k, s, table=table: s + table[k], 0.0) == np.sum(X)
    assert fad.fori_loop(0, 2, lambda k, s: s + np.asarray(X, like=k)[k], 0.0) == np.sum(X)


def test_states_are_shown_with_dtypes_and_shapes():
    with pytest.raises(fad.ShapeError, match=re.escape("it got float64[2], and returned (float64[4], None)")):
        fad.scan(lambda s, _: ((np.concatenate([s, s]), None), None), X, length=2)
    with pytest.raises(fad.ShapeError, match=r"scan\(f, init, length=n\)"):
        fad.scan(lambda s, _: (s, None), X, 10)
    with pytest.raises(fad.ShapeError, match=re.escape("float64[2] and (float64[2], float64[2])")):
        fad.soft.cond(0.5, lambda x: x, lambda x: (x, x), X)


def test_values_in_the_place_of_functions():
    for pred in (True, False):
        with pytest.raises(TypeError, match=r"false_fun of cond must be a function.*np\.where"):
            fad.cond(pred, lambda: X, X)


def test_random_numbers_in_a_step_name_the_users_function():
    numbers = np.random.default_rng(1)

    def shaken(s, _):
        return s + numbers.normal(), None

    with pytest.warns(RuntimeWarning, match=rf"shaken .*:{shaken.__code__.co_firstlineno}\) drew .* every step"):
        fad.scan(shaken, 0.0, length=3)


@pytest.mark.parametrize("loop", ["scan", "fori_loop", "while_loop"])
def test_every_loop_can_show_its_progress(loop, capsys):
    pytest.importorskip("tqdm")

    def run(x, progress):
        if loop == "scan":
            return fad.scan(lambda s, _: (1.01 * s, None), x, length=20, progress=progress)[0]
        if loop == "fori_loop":
            return fad.fori_loop(0, 20, lambda k, s: 1.01 * s, x, progress=progress)
        return fad.while_loop(lambda s: s < 2.0, lambda s: 1.01 * s, x, progress=progress)

    plain = fad.value_and_grad(lambda x: run(x, False))(1.0)
    assert capsys.readouterr().err == ""
    assert fad.value_and_grad(lambda x: run(x, True))(1.0) == plain
    assert loop in capsys.readouterr().err


def test_states_that_no_memory_holds():
    with pytest.raises(MemoryError, match=r"TiB.*checkpoint=fad\.checkpoint\.Auto"):
        fad.grad(lambda x: fad.fori_loop(0, 10**12, lambda k, s: s * x, x))(1.0)


def test_schedules_of_a_profile():
    def fall(x):
        return fad.fori_loop(0, 10, lambda k, y: y * x, x)

    with pytest.raises(fad.ScheduleError, match="Revolve"):
        fad.checkpoint.profile(fall, 1.0, schedules=[3])


# ── printed forms ─────────────────────────────────────────────────────────────────────────────────────────────
def test_prepared_calls_and_tapes():
    run = fad.grad(square).prepare(X)
    assert "float64[2]" in repr(run) and "square" in repr(run)
    with pytest.raises(TypeError, match="inputs"):
        run(X)
    with fad.Tape() as tape:
        x = tape.variable(2.0)
        y = x * x
    assert "1 variable" in repr(tape)
    with pytest.raises(fad.ShapeError, match="variable: new value"):
        tape.replay(3.0)
    tape.replay({x: 3.0})
    assert y.value == 9.0


def test_what_verify_found_fits_in_a_line():
    found = fad.checkpoint.verify(fad.checkpoint.Revolve(3), 500)
    assert "steps=" in repr(found) and len(repr(found)) < 80


def test_loops_print_nothing_by_themselves(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fad.grad(lambda x: fad.fori_loop(0, 3, lambda k, y: y * x, x))(1.0)
    assert capsys.readouterr() == ("", "")


# ── where ─────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclasses.dataclass
class Model:
    """A dataclass of the user's: its own functions that are written by the library have no file."""

    rate: Any
    wrong: Any = dataclasses.field(default=None, compare=False)

    def __post_init__(self):
        if self.wrong is not None:
            np.roots(self.rate)


def test_code_that_libraries_have_written_is_nobodys_line():
    """What a dataclass calls is at the line that calls the dataclass, or in the user's own function."""
    event = fad.ode.Event(lambda t, y: y[0])
    wrong = [
        lambda: fad.ode.Event(3), lambda: fad.ode.Event(lambda t, y: y, direction="up"),
        lambda: dataclasses.replace(event, terminal=-2), lambda: fad.grad(lambda x: Model(x, 1).rate)(1.0),
    ]  # fmt: skip
    for make in wrong:
        with pytest.raises((TypeError, ValueError, fad.FastadError), match=r"test_messages\.py:\d+"):
            make()


def test_code_without_a_file_is_the_users():
    with pytest.raises(ValueError, match="at <string>:1 in"):
        exec("fad.ode.Event(lambda t, y: y, direction='up')", {"fad": fad})


# ── a function that is recorded again and again
REPEATED = {  # what changes at every call, and what the warning says to do
    "branch": (lambda k: (lambda x: x[int(x[0])] * 2.0, (np.full(100, float(k)),)), r"np\.where or fad\.cond\.$"),
    "integer": (
        lambda k: (lambda x, seed: x @ np.random.default_rng(seed).normal(size=2), (np.ones(2), k)),
        r"Changed last: seed \(6\d\).*\(a seed, .*as an array\.$",
    ),
    "shape": (lambda k: (np.sum, (np.ones(k + 1),)), r"shape \(64,\), float64\)\. Every shape has a recording[^.]*\.$"),
    "captured": (lambda k: (lambda x: x * float(k), (1.0,)), r"'k' outside.*Pass changing numbers[^.]*\.$"),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_the_warning_of_many_recordings_says_what_to_do_about_what_changed(kind):
    make, advice = REPEATED[kind]
    with pytest.warns(RuntimeWarning, match="was recorded 64 times") as caught:
        for k in range(70):
            f, arguments = make(k)
            fad.jit(f)(*arguments)
    assert [w for w in caught if re.search(advice, str(w.message))], str(caught[0].message)
