"""Adjoints of loops leave out what is not differentiated, and are the same numbers."""

import numpy as np
import pytest
from control_tools import both_tiers, equal_derivatives
from hypothesis import given, settings
from hypothesis import strategies as st
from test_loops import ENDING, SCHEDULES, SIZES, by_driver, random_loop

import fastad as fad
from fastad.errors import TableError
from fastad.tables.builder import Builder
from fastad.tables.composites.loop_adjoint import LoopAdjoint
from fastad.tables.composites.loop_sizes import Sizes
from fastad.tables.composites.wanted import Wanted
from fastad.tables.files.store import load, save
from fastad.tables.passes.activity import active_elements, active_rows
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.reference import evaluate

DATA = np.random.default_rng(2).normal(size=(7, 3))
OTHER = np.random.default_rng(3).normal(size=(3, 3))
X = np.array([0.4, -0.7, 0.2])


def masks(draw, sizes, length):
    """Random activity of [state | shared | elements], the same for the elements of all steps."""
    own = lambda n: np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    return np.concatenate([np.ones(sizes.state, bool), own(sizes.shared), np.tile(own(sizes.element), length)])


@settings(max_examples=40)
@given(st.data(), SIZES, st.integers(0, 6), st.booleans(), st.booleans(), st.integers(0, 9))
def test_the_parts_that_are_wanted_are_those_of_the_whole(data, sizes, length, backward, ends, seed):
    schedule = data.draw(ENDING if ends else SCHEDULES)
    loop = random_loop(sizes, length, seed, backward=backward, conditional=ends, schedule=schedule)
    mask = masks(data.draw, sizes, length)
    wanted = Wanted.of(sizes, length, mask)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=loop.n_in + loop.n_results)
    whole = by_driver(LoopAdjoint.of(loop), x, "sweep")
    if wanted is None:
        assert mask.all() or not len(mask) or not length
        return
    part = LoopAdjoint.of(loop, wanted)
    found = by_driver(part, x, "sweep")
    assert part.n_out == len(found) == np.count_nonzero(mask)
    np.testing.assert_array_equal(found, whole[mask])
    np.testing.assert_allclose(part.reference(x), found, rtol=1e-13, atol=1e-15)
    b = Builder()
    table = b.table([wanted.spread(b, b.input((part.n_out,)), sizes, length)])
    np.testing.assert_array_equal(evaluate(table, [found])[0], np.where(mask, whole, 0.0))


# ── programs ──────────────────────────────────────────────────────────────────────────────────────────────────
def likelihood(x, data):
    return fad.scan(lambda s, row: (s + np.log(1 + np.exp(row @ x)), None), 0.0, data)[0]


def mixed(x, data):
    """Data and what depends on x side by side: in the elements, and in what is shared."""
    y, z = np.sin(x), data * 2.0

    def step(s, xs):
        row, moved = xs
        return 0.5 * s + row * y + moved @ z[0] * z[1], s @ row

    s, out = fad.scan(step, x, (data, x * data))
    return s @ s + out @ out


def ending(x, data):
    """A loop that its data ends."""
    s = fad.while_loop(lambda s: s[1] < 3, lambda s: (np.tanh(s[0] + data[0] * x), s[1] + 1), (x, 0.0), max_steps=9)
    return s[0] @ data[1]


def inner(x, data):
    """A loop in a loop."""
    step = lambda s, row: (s + fad.scan(lambda t, e: (t * np.cos(e * x[0]), None), s[0], data[0] + row)[0], None)
    return fad.scan(step, x, data)[0] @ x


PROGRAMS = {"likelihood": likelihood, "mixed": mixed, "ending": ending, "inner": inner}
all_programs = pytest.mark.parametrize("f", PROGRAMS.values(), ids=PROGRAMS)


def in_python(f):
    """The same program with Python loops."""
    def scan(step, s, xs):
        rows, ys = (zip(*xs, strict=True) if isinstance(xs, tuple) else xs), []
        for row in rows:
            s, y = step(s, row)
            ys.append(y)
        return s, None if ys[0] is None else np.stack(ys)

    def while_loop(goes_on, step, s, max_steps):
        while goes_on(s):
            s = step(s)
        return s

    def run(*args):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fad, "scan", scan)
            patch.setattr(fad, "while_loop", while_loop)
            return f(*args)

    return run


def bars(f, *args, wrt=(0,)):
    """The adjoints of loops in the gradient of a function."""
    table = adjoint_table(fad.trace(f, *args), wrt)
    return [sub for sub in table.subs if isinstance(sub, LoopAdjoint)]


@both_tiers
@all_programs
def test_derivatives_by_some_arguments_and_by_all(f, tier):
    """Of every order and combination of modes, beside the program in plain Python. Native code is compiled for all
    orders by the first argument only."""
    equal_derivatives(f, in_python(f), X, OTHER, tier=tier, second=tier == "sweep")
    equal_derivatives(lambda x: f(x, OTHER), in_python(lambda x: f(x, OTHER)), X, tier=tier)


@all_programs
def test_mixed_second_derivatives(f):
    """What the inner derivative leaves out, the outer one is by."""
    plain = in_python(f)
    for outer in (fad.jacfwd, fad.jacrev):
        wanted = outer(lambda d: fad.grad(plain)(X, d))(OTHER)
        np.testing.assert_allclose(outer(lambda d: fad.grad(f)(X, d))(OTHER), wanted, rtol=1e-11, atol=1e-12)


@all_programs
def test_lanes_and_patterns(f):
    xs = np.stack([X, X + 0.1, 2 * X])
    wanted = np.stack([fad.grad(f)(x, OTHER) for x in xs])
    np.testing.assert_allclose(fad.vmap(lambda x: fad.grad(f)(x, OTHER))(xs), wanted, rtol=1e-12)
    dense = fad.hessian(f)(X, OTHER)
    np.testing.assert_allclose(fad.sparse_hessian(f)(X, OTHER).toarray(), dense, rtol=1e-11, atol=1e-12)


def test_data_have_no_adjoints():
    (adjoint,) = bars(likelihood, X, OTHER)
    assert adjoint.n_out == 1 + len(X)
    (adjoint,) = bars(likelihood, X, OTHER, wrt=(1,))
    assert adjoint.n_out == 1 + OTHER.size
    (adjoint,) = bars(likelihood, X, OTHER, wrt=(0, 1))
    assert adjoint.wanted is None
    captured = np.linspace(0.0, 1.0, 12).reshape(4, 3)
    (adjoint,) = bars(lambda x: likelihood(x, captured) + likelihood(x, captured), X)
    assert adjoint.n_out == 1 + len(X)


def test_what_is_moved_into_an_assembly_is_told_apart():
    def f(x, y):
        return np.concatenate([y[:2], np.sin(x), y, x * y])[1:9].reshape(2, 4).T

    table = fad.trace(f, X, X)
    for wrt, wanted in (((0,), "01110001"), ((1,), "10001111"), ((0, 1), "11111111"), ((), "00000000")):
        found = active_elements(table, table.outputs[0], active_rows(table, wrt))
        expected = np.array([c == "1" for c in wanted]).reshape(2, 4).T.reshape(-1)
        np.testing.assert_array_equal(found, expected)


def test_long_chains_of_writes_are_followed_so_far():
    def f(x):
        y = np.zeros(3000)
        for k in range(2500):
            y[k % 7 :: 100] += x[0]
        return fad.scan(lambda s, e: (s * e, None), x[1], y[:5] + y[5:10])[0]

    assert np.isfinite(fad.grad(f)(X)).all()


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_adjoints_of_parts_are_saved(tmp_path):
    table = adjoint_table(fad.trace(mixed, X, OTHER), (0,))
    save(table, tmp_path / "t.npz")
    own, given = load(tmp_path / "t.npz"), [X, OTHER, np.ones(())]
    assert own == table
    np.testing.assert_array_equal(evaluate(own, given)[1], evaluate(table, given)[1])


@pytest.mark.parametrize("parts", [3, [[]], [[[0, 1]], [[0]]], "ab", [[["x", 1]], []], [[], [], []]])
def test_parts_of_a_file_that_are_none(parts):
    with pytest.raises(TableError):
        Wanted.from_data(parts)


@pytest.mark.parametrize("parts", [((0, 9),), ((1, 1),), ((1, 2), (0, 1)), ((-1, 1),), ((0, 2), (1, 2))])
def test_parts_of_other_vectors(parts):
    loop = random_loop(Sizes(2, 2, 1, 2, True), 3)
    for wanted in (Wanted(parts, ()), Wanted((), parts)):
        assert LoopAdjoint.of(loop, wanted).check()
    assert Wanted.from_data(Wanted(((0, 1),), ()).to_data()) == Wanted(((0, 1),), ())
    assert LoopAdjoint.of(loop, Wanted(((0, 1),), ((1, 2),))).check() is None

