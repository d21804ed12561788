"""Loops with steps that are linear in the state: their adjoints read no state, store none and make no step again."""

import numpy as np
import pytest
from control_tools import both_tiers, equal_derivatives
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_loops import by_driver, close, pieces, run_between_guards

import fastad as fad
from fastad.tables.composites.loop_adjoint import LoopAdjoint
from fastad.tables.composites.loop_sizes import Sizes
from fastad.tables.composites.loops import Loop
from fastad.tables.composites.sub import made, packed, slices
from fastad.tables.composites.unread import reads_state
from fastad.tables.rolling import rolled

__all__ = ["pieces"]  # a fixture
X = np.array([0.4, -0.7, 0.2])
NOISE = np.random.default_rng(1).normal(size=(24, 3))


def linear_loop(sizes, length, seed, **options):
    """[A state + tanh(B others) | C state + sin(D others)]."""
    rng = np.random.default_rng(seed)
    widths = [sizes.state, sizes.element + sizes.indexed + sizes.shared]
    n_out = sizes.state + sizes.result

    def rows(b, x):
        parts = slices(b, x, widths)
        terms = [b.zeros((n_out,))]
        for part, width, outer in zip(parts, widths, ("stop", "tanh"), strict=True):
            if width and n_out:
                a = b.const(rng.normal(size=(n_out, width)) / width)
                y = b.emit("matmul", (a, part), (1, n_out, width, 1, 0, 0, 0, 0), (n_out,))
                terms.append(y if outer == "stop" else b.emit(outer, (y,)))
        return b.add(*terms)

    return Loop.of("loop", sizes, length, made("body", sum(widths), rows), **options)


SIZES = st.builds(
    Sizes, st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.booleans()
)  # fmt: skip


# ── the driver ────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.usefixtures("pieces")
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.integers(0, 6), st.booleans(), st.integers(0, 99))
def test_adjoints_are_those_with_stored_states(sizes, length, backward, seed):
    loop = linear_loop(sizes, length, seed, backward=backward)
    assert loop.is_unread and not loop.can_save
    storing = linear_loop(sizes, length, seed, backward=backward, schedule=fad.checkpoint.StoreAll())
    assert storing.can_save and not storing.is_unread
    x = np.random.default_rng(seed).normal(size=loop.n_in + loop.n_results)
    found = by_driver(LoopAdjoint.of(loop), x, "sweep")
    np.testing.assert_array_equal(found, by_driver(LoopAdjoint.of(storing), x, "sweep"))
    close(found, LoopAdjoint.of(loop).reference(x))


@pytest.mark.usefixtures("pieces")
@both_tiers
def test_drivers_write_nothing_else_and_need_no_room_for_states(tier, rng):
    loop = linear_loop(Sizes(3, 2, 2, 3, True), 5, 1)
    adjoint, both = LoopAdjoint.of(loop), rng.normal(size=loop.n_in + loop.n_results)
    close(run_between_guards(adjoint, both, tier)[99:-99], adjoint.reference(both))
    longer = [linear_loop(Sizes(3, shared=2), n, 1) for n in (5, 5000)]
    assert len({LoopAdjoint.of(own).work_bytes(lambda part: 0) for own in longer}) == 1
    assert loop.total_steps(adjoint=True) == 5  # no step is made again


def test_adjoint_steps_read_no_state(rng):
    """Where it is said that no state is read, the adjoint of a step is the same at any state."""
    for seed in range(6):
        loop = linear_loop(Sizes(3, 2, 1, 2, True), 4, seed)
        x = rng.normal(size=loop.step.n_in + loop.step.n_out)
        other = np.concatenate([np.full(3, np.nan), x[3:]])
        np.testing.assert_array_equal(loop.step.adjoint.evaluate(x), loop.step.adjoint.evaluate(other))


# ── which steps ───────────────────────────────────────────────────────────────────────────────────────────────
def step_of(rows, n=3):
    return made("step", 2 * n, lambda b, v: rows(b, *slices(b, v, (n, n))))


def shifted(b, x):
    return b.region(x, (2, 3, -1), (3,))


@pytest.mark.parametrize(
    ("rows", "reads"),
    [
        (lambda b, s, e: b.add(s, e), False),
        (lambda b, s, e: b.add(b.emit("multiply", (s, b.const(0.5))), b.emit("sin", (e,))), False),
        (lambda b, s, e: b.emit("divide", (shifted(b, s), b.const(3.0))), False),
        (lambda b, s, e: packed(b, [b.emit("negative", (s,)), b.emit("multiply", (e, e))]), False),
        (lambda b, s, e: b.emit("multiply", (s, e)), True),
        (lambda b, s, e: b.emit("divide", (b.const(3.0), s)), True),
        (lambda b, s, e: b.emit("tanh", (s,)), True),
        (lambda b, s, e: b.emit("maximum", (s, e)), True),
        (lambda b, s, e: b.emit("where", (b.emit("less", (s, e)), s, e)), True),
        (lambda b, s, e: b.emit("where", (b.emit("less", (e, b.const(0.0))), s, e)), False),
        (lambda b, s, e: b.call(made("inner", 3, lambda b, x: b.add(x, x)), s), True),
    ],
)
def test_which_steps_read_the_state(rows, reads):
    assert reads_state(step_of(rows), 3) == reads


def test_steps_that_may_fail_are_run():
    gathered = lambda b, s, e: b.emit("gather", (s, b.const(np.array([2, 0, 1]))), (1,), (3,), "d")
    assert reads_state(step_of(gathered), 3)  # an index may be out of bounds


def test_loops_that_choose_how_states_are_found_are_left_so():
    sizes = Sizes(2, 1, 0, 1)
    assert linear_loop(sizes, 9, 1).is_unread
    for schedule in (fad.checkpoint.StoreAll(), fad.checkpoint.Revolve(2), fad.checkpoint.StoreNone()):
        assert not linear_loop(sizes, 9, 1, schedule=schedule).is_unread
    assert not linear_loop(sizes, 9, 1).saving.is_unread  # as in files of versions that stored these states


# ── programs ──────────────────────────────────────────────────────────────────────────────────────────────────
def filtered(x, scan):
    def step(s, e):
        s = 0.9 * s + np.roll(s, 1) / 7 + e * np.sin(e) * x
        return s, s[0] - 2 * s[2]

    end, seen = scan(step, x, NOISE)
    return np.sum(end**3) + np.sum(np.sin(seen))


def by_python(step, state, rows):
    seen = []
    for row in rows:
        state, own = step(state, row)
        seen.append(own)
    return state, np.array(seen)


@both_tiers
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_are_those_of_plain_python(tier, reverse):
    def by_rows(x):
        rows = NOISE[::-1] if reverse else NOISE
        return filtered(x, lambda step, state, _: by_python(step, state, rows))

    def by_scan(x):
        return filtered(x, lambda step, state, rows: fad.scan(step, state, rows, reverse=reverse))

    if reverse:  # results of a backward loop are at the places of their elements; their order does not matter here
        assert by_scan(X) == pytest.approx(by_rows(X), rel=1e-13)
    equal_derivatives(by_scan, by_rows, X, tier=tier)
    lanes = np.stack([X, X + 0.1, X - 0.3])
    expected = [fad.grad(by_rows)(x) for x in lanes]
    np.testing.assert_allclose(fad.vmap(fad.grad(by_scan), tier=tier)(lanes), expected, rtol=1e-11)


@both_tiers
def test_rolled_stencils_store_no_turns(tier, monkeypatch):
    monkeypatch.setattr(rolled, "LEAST_WORTH", 1)

    def stencil(a, turns=40):
        b = a.copy()
        for _ in range(turns):
            b[1:-1] = 0.3 * (a[:-2] + a[1:-1] + a[2:])
            a[1:-1] = 0.3 * (b[:-2] + b[1:-1] + b[2:])
        return np.sum(a**2)

    x = np.random.default_rng(3).normal(size=50)
    table = fad.trace(fad.grad(lambda x: stencil(x.copy())), x)
    loops = [sub for sub in table.subs if isinstance(sub, Loop)]
    assert len(loops) == 1 and loops[0].n_out == loops[0].n_results  # no states behind the results
    found = [fad.grad(lambda x: stencil(x.copy()), tier=tier, roll=roll)(x) for roll in (None, False)]
    np.testing.assert_allclose(*found, rtol=1e-13)
    v = np.random.default_rng(4).normal(size=50)
    h = 1e-6
    difference = (stencil(x + h * v) - stencil(x - h * v)) / (2 * h)
    assert np.vdot(found[0], v) == pytest.approx(difference, rel=1e-8)
