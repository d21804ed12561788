"""Rolled loops: Python loops whose turns repeat become loop rows, with the same values to the last bit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastad as fad
from fastad.errors import TableError
from fastad.execution.compiled import Compiled
from fastad.execution.request import Request
from fastad.primitives.regions import elements_of, region
from fastad.tables.composites.loops import Loop
from fastad.tables.reference import evaluate
from fastad.tables.rolling import rolled
from fastad.tables.rolling.packing import _within, packed_at_once
from fastad.tables.rolling.rolled import roll

TURNS, WIDTH = 24, 3
COEFFICIENTS = np.random.default_rng(5).normal(size=TURNS + 8)
ORDER = np.random.default_rng(6).permutation(TURNS)


@pytest.fixture(autouse=True)
def small_loops(monkeypatch):
    """Loops of few turns are rolled, too."""
    monkeypatch.setattr(rolled, "LEAST_TURNS", 6)
    monkeypatch.setattr(rolled, "LEAST_WORTH", 1)
    monkeypatch.setattr(rolled, "LEAST_WORTH_OF_SHORT_TURNS", 1)


def unrolled(f, *args):
    """The table of a function without rolled loops."""
    return fad.trace(fad.jit(f, roll=False), *args)


def loops(table):
    return [sub for sub in table.subs if isinstance(sub, Loop)]


def same(f, *args, loops_found=None):
    """Values of the rolled table are those of the unrolled one; returns the rolled one."""
    plain = unrolled(f, *args)
    table = packed_at_once(roll(plain))
    if loops_found is not None:
        assert len(loops(table)) == loops_found, table
    for a, b in zip(evaluate(plain, args_of(plain, args)), evaluate(table, args_of(table, args)), strict=True):
        np.testing.assert_array_equal(a, b)
    return table


def args_of(table, args):
    return [*args, *table.captured]


# ── what is found ─────────────────────────────────────────────────────────────────────────────────────────────
def runge_kutta(p):
    u = p[:2]
    field = lambda u: np.stack([p[0] * u[0] - p[1] * u[0] * u[1], -p[1] * u[1] + u[0] * u[1]])
    for _ in range(TURNS):
        k1 = field(u)
        k2 = field(u + 0.05 * k1)
        k3 = field(u + 0.05 * k2)
        u = u + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + field(u + 0.1 * k3))
    return np.sum(u * p[2:].mean())


def stencil(a):
    a, b = a.copy(), np.ones(len(a))
    for _ in range(TURNS):
        b[1:-1] = (a[:-2] + a[1:-1] + a[2:]) / 3
        a[1:-1] = (b[:-2] + b[1:-1] + b[2:]) / 3
    return np.sum(a * a) + np.sum(b)


def recurrence(x):
    y = np.zeros(TURNS)
    y[0] = x[0]
    for i in range(1, TURNS):
        y[i] = np.sin(y[i - 1]) * x[i] + COEFFICIENTS[i] * x[i - 1] + i
    return np.sum(y * y[::-1])


def collected(x):
    values, s = [], 0.0
    for v, i in zip(x, ORDER, strict=False):
        s = np.tanh(s * x[i] + v)
        values.append([s, s * v])
    return np.sum(np.array(values[3:]) ** 2) + values[5][1]


def hidden_markov(p):
    a, emissions = p[:WIDTH], p[WIDTH : 4 * WIDTH].reshape(WIDTH, 3)
    matrix, likelihood = np.outer(a, a) + 1, 0.0
    for seen in ORDER % 3:
        a = (a @ matrix) * emissions[:, seen]
        total = np.sum(a)
        a, likelihood = a / total, likelihood + np.log(total)
    return likelihood


def nested(x):
    for _ in range(TURNS):
        h = x
        for _ in range(10):
            h = np.tanh(0.5 * h + x[0]) * 0.9
        x = x + 0.1 * h
    return np.sum(x)


def columns(x):
    """What a turn reads of values that were computed before stands at places that follow no rule."""
    matrix, vectors, s = np.sin(np.outer(x[:3], x)), [np.cos(x[:3] * k) for k in range(TURNS)], x[:3]
    for i in range(TURNS):
        s = np.tanh(s * matrix[::-1, ORDER[i]] + vectors[i][ORDER[i] % 3])
    return np.sum(s)


def seasonal(x):
    """Lags of 1, 4 and 6 of a list that starts with values of another kind; it is cut, and summed up at the end."""
    seen, level, error = [np.sin(x[k]) for k in range(6)], x[6], 0.0
    for i in range(TURNS):
        wrong = x[i] - level * seen[-6] * seen[-1]
        level = level + 0.3 * wrong + 0.1 * seen[-4]
        seen.append(seen[-6] * 0.9 + level * COEFFICIENTS[i])
        seen = seen[-12:]
        error = error + wrong**2
    return error + sum(seen)


def listed(x):
    """A turn adds to three lists, of numbers and of vectors; one of them is read backwards, one with gaps."""
    path, heights, logs = [x[:3]], [], [0.0]
    for i in range(TURNS):
        path.append(np.tanh(path[-1] + 0.1 * x[i]))
        heights.append(path[-1][1] * COEFFICIENTS[i])
        logs.append(np.log(1 + heights[i] ** 2))
    backwards = np.sum(np.stack(path)[::-1] * x[0]) + np.mean(heights[::-1])
    return backwards + np.sum(np.array(heights[::3]) ** 2) + sum(logs)


def advected(x, speed=3.0):
    """What flows in is read at places that depend on the state, as in a semi-Lagrangian step."""
    u = x
    for _ in range(TURNS):
        back = np.arange(len(u)) - speed * u
        left = np.floor(back).astype(int)
        share = back - left
        u = (1 - share) * u[left % len(u)] + share * u[(left + 1) % len(u)] + 0.01 * np.sin(u)
    return np.sum(u**2)


PROGRAMS = [runge_kutta, stencil, recurrence, collected, hidden_markov, nested, columns, seasonal, listed, advected]
X = np.random.default_rng(1).uniform(0.1, 1, TURNS)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_a_rolled_loop_has_the_values_of_the_turns(f):
    table = same(f, X, loops_found=2 if f in (nested, seasonal, listed) else 1)
    assert len(table) < len(unrolled(f, X))
    assert "rolled loop, loop of" in str(fad.trace(f, X))


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_derivatives_are_those_of_the_turns(f, tier):
    v = np.random.default_rng(2).normal(size=TURNS)
    plain = fad.jit(f, roll=False)
    value, gradient = fad.value_and_grad(f, tier=tier)(X)
    np.testing.assert_allclose(value, f(X), rtol=1e-14)
    expected = fad.grad(plain)(X)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-13)
    _, tangent = fad.jvp(fad.jit(f, tier=tier), (X,), (v,))
    np.testing.assert_allclose(tangent, expected @ v, rtol=1e-12, atol=1e-13)
    if tier == "sweep":
        np.testing.assert_allclose(fad.hvp(f, X, v), fad.hvp(plain, X, v), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_rolled_loops_in_lanes_and_files(f, tmp_path):
    lanes = np.stack([X, X[::-1], X + 0.1])
    expected = np.stack([fad.grad(f, roll=False)(x) for x in lanes])
    np.testing.assert_allclose(fad.vmap(fad.grad(f))(lanes), expected, rtol=1e-12, atol=1e-13)
    own = fad.jit(f)
    own(X)
    own.save(tmp_path / "f.npz")
    np.testing.assert_allclose(fad.grad(fad.load(tmp_path / "f.npz"))(X), expected[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_an_index_out_of_bounds_in_a_turn_is_an_error_that_names_its_line(tier):
    def shifted(x, far):
        for _ in range(TURNS):
            x = 0.9 * x + 0.1 * x[np.floor(x * far).astype(int)]
        return np.sum(x)

    def guarded(x, far):
        return shifted(x, far) if np.max(x) * far < len(x) else np.sum(x)

    f, line = fad.jit(shifted, tier=tier), shifted.__code__.co_firstlineno + 2
    assert len(loops(fad.trace(f, X, 2.0))) == 1
    f(X, 2.0)
    with pytest.raises(fad.IndexRangeError, match=rf"^rolled loop: index out of bounds \(recorded at \S+:{line} in"):
        f(X, 1e3)
    assert np.isclose(f(X, 3.0), shifted(X, 3.0), rtol=1e-14)
    g = fad.jit(guarded, tier=tier)  # the guard before the loop leads to the other path
    assert np.isclose(g(X, 2.0), shifted(X, 2.0), rtol=1e-14) and np.isclose(g(X, 1e3), np.sum(X), rtol=1e-14)


def test_the_pattern_of_a_jacobian_stays_tight():
    def running(x):
        y = np.zeros(TURNS)
        for i in range(2, TURNS):
            y[i] = np.sin(x[i]) * x[i - 2] + y[i - 1] * 0
        return y

    same(running, X, loops_found=1)
    rolled_pattern = fad.jacobian_sparsity(running, X).toarray()
    plain_pattern = fad.jacobian_sparsity(fad.jit(running, roll=False), X).toarray()
    np.testing.assert_array_equal(rolled_pattern, plain_pattern)


# ── what is not ───────────────────────────────────────────────────────────────────────────────────────────────
def test_loops_that_change_stay_as_they_are():
    def growing(x):
        y = x[:1]
        for i in range(1, 12):
            y = np.concatenate([y * 2, x[i : i + 1]])
        return np.sum(y)

    def branching(x):
        s = x[0]
        for i in range(TURNS):
            s = s * x[i] if s > 0.1 else s + x[i]
        return s

    def apart(x):
        return np.sum(np.stack([np.sin(x[i]) * i for i in range(TURNS)]))

    for f in (growing, branching, apart):
        same(f, X, loops_found=0)


def test_a_loop_of_more_states_than_the_one_before_it():
    """It starts from the other's result, but is no further turn of it."""

    def f(x):
        y = x[0]
        for _ in range(TURNS):
            y = y + 0.01 * np.sin(y)
        for _ in range(TURNS):
            y = np.sin(y)
            x = x * np.cos(x)
        return np.sum(x) + y

    same(f, X, loops_found=2)


def test_short_loops_are_not_rolled_by_default(monkeypatch):
    monkeypatch.undo()
    assert not loops(fad.trace(recurrence, X))


def test_roll_is_a_choice():
    assert loops(fad.trace(recurrence, X)) and not loops(unrolled(recurrence, X))
    assert fad.jit(recurrence).roll is None and fad.grad(fad.jit(recurrence, roll=False)).roll is False
    rolls, repeats = fad.jit(recurrence), fad.jit(recurrence, roll=False)
    assert rolls(X) == repeats(X)
    assert rolls.stats()["tables"][0]["rows"] < repeats.stats()["tables"][0]["rows"]
    with pytest.raises(TypeError, match=r"roll must be True, False or a schedule, such as .*, not 'no'"):
        fad.jit(recurrence, roll="no")


def test_a_schedule_says_which_states_are_stored():
    gradient = fad.grad(recurrence, roll=fad.checkpoint.Revolve(3))
    np.testing.assert_allclose(gradient(X), fad.grad(recurrence, roll=False)(X), rtol=1e-13)
    (loop,) = loops(fad.trace(fad.jit(recurrence, roll=fad.checkpoint.Revolve(3)), X))
    assert loop.schedule == fad.checkpoint.Revolve(3) and "Revolve(snapshots=3)" in loop.kind_text


def test_an_error_in_a_turn_is_that_of_the_turn():
    def factored(m):
        for _ in range(10):
            m = np.linalg.cholesky(m + np.eye(2)) @ np.ones((2, 2)) - 3.5
        return np.sum(m)

    with pytest.raises(Exception) as plain:
        fad.jit(factored, roll=False)(np.eye(2))
    with pytest.raises(type(plain.value)):
        fad.jit(factored)(np.eye(2))


# ── any loop ──────────────────────────────────────────────────────────────────────────────────────────────────
STATEMENTS = [
    "a = np.sin(a) * b", "b = a + b * x[i]", "a = a * COEFFICIENTS[i] + i", "v = np.tanh(v) * a + w",
    "w = v[::-1] * 0.5", "y[i] = a * x[i]", "a = a + y[i - 1]", "s.append(b * 2)", "v = m @ v * 0.1",
    "b = b + np.sum(v * w)", "w = w + x[i : i + 3]", "a = a - x[ORDER[i]]", "a, b = b, a", "b = b * x[0]",
    "v = np.where(v > a, v, w)", "b = 0.5 * (s[-1] if s else b)",
    "a = np.maximum(a, b) / 2", "w = 0.5 * w * np.cos(big[:, ORDER[i]])", "b = b + big[:, ORDER[i]] @ v",
    "b = 0.5 * b + several[i][ORDER[i] % 3]", "v = v.copy(); v[ORDER[i] % 3] = a", "w = w + big[::-2, ORDER[i]][0]",
    "b = 0.5 * b + np.sin(s[-3] if len(s) > 2 else a)", "s.append(a)", "t.append(v)",
    "v = 0.5 * v + (t[-2] if len(t) > 1 else w)",
    "a = 0.5 * a + (s[-7] * x[i] if len(s) > 6 else b)", "a = np.cos(a) if i == 5 else a", "s = s[-9:]",
]  # fmt: skip
FINISHES = [
    "a + b", "np.sum(y)", "sum(s, a)", "np.sum(np.stack(t or [v]) * w) + b", "sum(q * q for q in s[::2]) + a",
    "np.sum(np.array(s[::-1])[: len(s) // 2]) + np.sum(np.array(t)) * b",
     "np.sum(v * w) + a", "np.sum(np.array(s[1:])) + b if len(s) > 1 else b", "y[5] + y[-1] * a"
]  # fmt: skip


def program(body, finish, turns):
    lines = [
        "def f(x):", " a, b, v, w = x[0], x[1], x[2:5], x[5:8]",
        " m, y, s, t = np.outer(v, w), np.zeros(len(x)), [], []",
        " big, several = np.sin(np.outer(v, x)), [np.cos(w * k) for k in range(len(x))]",
        f" for i in range({turns}):", *(f"  {line}" for line in body), f" return {finish}",
    ]  # fmt: skip
    text = "\n".join(lines)
    space = {"np": np, "COEFFICIENTS": COEFFICIENTS, "ORDER": ORDER}
    exec(compile(text, "<a random loop>", "exec"), space)
    return space["f"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=6), st.sampled_from(FINISHES), st.integers(8, 20))
def test_any_loop_keeps_its_values_and_derivatives(body, finish, turns):
    rolled.LEAST_TURNS, rolled.LEAST_WORTH, rolled.LEAST_WORTH_OF_SHORT_TURNS = 6, 1, 1
    f = program(body, finish, turns)
    plain = unrolled(f, X)
    table = roll(plain)
    inputs = args_of(plain, [X])
    np.testing.assert_array_equal(evaluate(plain, inputs)[0], evaluate(table, inputs)[0])
    for mode, more in (("tangent", [X[::-1].copy()]), ("adjoint", [np.array(1.0)])):
        given_inputs = [X, *more, *plain.captured]
        a, b = (Compiled(Request(own, mode, (0,)), "sweep")(given_inputs) for own in (plain, table))
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_allclose(a[1], b[1], rtol=1e-12, atol=1e-13)


def test_roll_gives_valid_tables():
    table = roll(unrolled(collected, X))
    assert roll(table) is table or len(roll(table)) <= len(table)
    with pytest.raises(TableError):
        type(table)(dict(table.columns), dict(table.pools), table.types, table.lines, table.inputs, (len(table),))


def test_long_loops(monkeypatch):
    monkeypatch.undo()

    def f(x):
        for _ in range(30_000):
            x = x + 1e-5 * (np.sin(x) - x * x)
        return x

    gradient = fad.value_and_grad(f)
    value, slope = gradient(0.3)
    assert value == f(0.3) and gradient.stats()["tables"][0]["rows"] < 100
    assert abs(slope - (f(0.3 + 1e-6) - f(0.3 - 1e-6)) / 2e-6) < 1e-8


@st.composite
def regions_of(draw, most):
    """A region of several dimensions, with strides up to so many."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    return tuple(shape), tuple(draw(st.lists(st.integers(-3, most), min_size=len(shape), max_size=len(shape))))


@settings(max_examples=300)
@given(regions_of(60), regions_of(6), st.integers(0, 63))
def test_a_region_within_a_value_at_another_one_is_where_its_elements_are(outer, inner, offset):
    own, numbers = region(1000, *outer), np.arange(5000)
    value = elements_of(numbers, own).reshape(-1)
    read = elements_of(np.arange(-100, 400), (offset + 100, *region(offset, *inner)[1:])).reshape(-1)
    assume(read.min() >= 0 and read.max() < len(value))
    found = _within(own, region(offset, *inner), len(value))
    if found is not None:
        np.testing.assert_array_equal(elements_of(numbers, found).reshape(-1), value[read])


def test_operands_of_loops_are_assembled_at_once():
    """What each turn reads is written once, from where the user has it."""

    def f(x, *lines):
        for line, after in pairwise(lines):
            x = np.tanh(x + line) * after
        return np.sum(x)

    rng = np.random.default_rng(3)
    lines = [rng.normal(size=5) for _ in range(21)]
    table = same(f, rng.normal(size=5), *lines, loops_found=1)
    rows = map(table.row, range(len(table)))
    assembled = [row for row in rows if row.name == "assemble"]
    assert [len(row.operands) for row in assembled] == [1 + 2 * 20]
