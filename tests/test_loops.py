"""Composite rows of loops: drivers compute what the definitions say, in both tiers, and so do all derived rows."""

import functools

import numpy as np
import pytest
from control_tools import STEPWISE, both_tiers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_tools import Bound

import fastad as fad
from fastad.execution.composites import drivers
from fastad.execution.composites.calling import kernel_of
from fastad.execution.composites.evaluating import run
from fastad.execution.executors import EXECUTORS
from fastad.execution.kernel import SIGNATURE, aligned
from fastad.execution.marshalling import run_part
from fastad.execution.native import NativeKernel
from fastad.execution.sweeps.kernel import SweepKernel
from fastad.tables.builder import Builder
from fastad.tables.composites.choices import Branch, Lanes, made
from fastad.tables.composites.loop_adjoint import LoopAdjoint
from fastad.tables.composites.loops import Loop, Sizes
from fastad.tables.composites.sub import packed, slices
from fastad.tables.composites.wanted import Wanted
from fastad.tables.files.store import load, save
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.reference import evaluate

C = fad.checkpoint


def dense(rng, name, n_in, n_out):
    """x to tanh(A x + b) for random A and b."""
    a, bias = rng.normal(size=(n_out, n_in)) / max(n_in, 1) ** 0.5, rng.normal(size=n_out) / 2

    def rows(b, x):
        shift = b.const(bias)
        if not n_in or not n_out:
            return b.zeros((0,)) if not n_out else b.emit("tanh", (shift,))
        y = b.emit("matmul", (b.const(a), x), (1, n_out, n_in, 1, 0, 0, 0, 0), (n_out,))
        return b.emit("tanh", (b.add(y, shift),))

    return made(name, n_in, rows)


def random_loop(sizes, length, seed=0, conditional=False, **options):
    """A loop with a random body, and, if it is conditional, one that ends sooner or later."""
    rng = np.random.default_rng(seed)
    n_in = sum(span.size for span in sizes.step_in)
    body = dense(rng, "body", n_in, sizes.state + sizes.result)
    test = None
    if conditional:
        inner = dense(rng, "condition", n_in, 1)
        positive = lambda b, x: b.emit("less", (b.call(inner, x), b.const(rng.normal() / 2 + 0.3)))
        test = made("condition", n_in, lambda b, x: b.emit("strided", (positive(b, x),), (0, 1, 1), (1,), "d"))
    return Loop.of("loop", sizes, length, body, condition=test, **options)


def by_driver(sub, x, tier, saved=None):
    """The result of a row by its driver, called by a table, or with (a copy of) what was saved for it."""
    if saved is not None:
        return run_part(kernel_of(sub, EXECUTORS[tier].part), sub, x, saved)
    b = Builder()
    table = b.table([b.call(sub, b.input(x.shape))])
    bound = Bound((NativeKernel if tier == "native" else SweepKernel)(table), [x])
    assert bound.run() == 0
    return bound.results[0].copy()


def by_definition(sub, x):
    """The result of a row as its definition in Python says, of the rows inside too."""
    return sub.evaluate(x)


def run_rows(sub, x):
    """The result of a row, or of a table of rows, by drivers."""
    return sub.evaluate(x, run=run)


def close(found, wanted, tolerance=1e-12):
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


SIZES = st.builds(
    Sizes, st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.booleans()
)  # fmt: skip
SCHEDULES = st.sampled_from([None, *STEPWISE])


def check_driver(loop, tier, rng):
    """A loop, the one that saves its states, and its adjoint with and without saved states."""
    x, u = rng.normal(size=loop.n_in), rng.normal(size=loop.n_out)
    adjoint, both = LoopAdjoint.of(loop), np.concatenate([x, u])
    saved = by_driver(loop.saving, x, tier)
    close(by_driver(loop, x, tier), loop.reference(x))
    close(saved[: loop.n_out], loop.reference(x))
    own = by_driver(adjoint, both, tier)
    close(own, adjoint.reference(both))
    helped = by_driver(LoopAdjoint.of(loop.saving), both, tier, saved)
    np.testing.assert_array_equal(helped, own)


@pytest.fixture(params=["in their places", "apart", "large ones apart"])
def pieces(request, monkeypatch):
    """Where the pieces of a step's argument and result are."""
    least = {"in their places": 10**9, "apart": 2, "large ones apart": 3}[request.param]  # numbers stay in theirs
    monkeypatch.setattr(drivers, "APART_FROM", least)


@pytest.mark.usefixtures("pieces")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.integers(0, 7), st.booleans(), SCHEDULES, st.integers(0, 9))
def test_drivers_are_their_definitions(sizes, length, backward, schedule, seed):
    loop = random_loop(sizes, length, seed, backward=backward, schedule=schedule)
    check_driver(loop, "sweep", np.random.default_rng(seed))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    "sizes", [Sizes(0, 2, 1, 0, True), Sizes(3, 0, 2, 1), Sizes(2, 1, 0, 2, True), Sizes(1)], ids=repr
)
def test_drivers_of_native_parts_are_their_definitions(sizes, rng):
    for length, schedule in ((0, None), (1, C.StoreNone()), (5, C.Revolve(2))):
        check_driver(random_loop(sizes, length, schedule=schedule), "native", rng)


def run_between_guards(sub, x, tier, saved=None, size=99):
    """The result of a row, of which the driver writes no more than that, its work, and what was saved for it."""
    kernel = kernel_of(sub, EXECUTORS[tier].part)
    work, out = aligned(kernel.work_size + 2 * size), np.full(sub.n_out + 2 * size, 7e77)
    work[:] = 7e77
    own = work[size - size % 8 :]
    if saved is not None:
        own.view(np.int64)[0] = saved[size:].ctypes.data
    code = SIGNATURE(kernel.address)(kernel.context, x.ctypes.data, out[size:].ctypes.data, own.ctypes.data)
    assert code == 0
    for guarded in (work[: size - size % 8], own[kernel.work_size :], out[:size], out[-size:]):
        assert (guarded == 7e77).all()
    return out


@pytest.mark.usefixtures("pieces")
@both_tiers
@pytest.mark.parametrize("schedule", [None, C.StoreNone(), C.Revolve(2), C.Online(2)], ids=repr)
def test_drivers_write_nothing_else(tier, schedule, rng):
    loop = random_loop(Sizes(3, 2, 2, 3, True), 5, conditional=isinstance(schedule, C.Online), schedule=schedule)
    x, u = rng.normal(size=loop.n_in), rng.normal(size=loop.n_results)
    adjoint, both = LoopAdjoint.of(loop), np.concatenate([x, u])
    run_between_guards(loop, x, tier)
    saved = run_between_guards(loop.saving, x, tier)
    for sub, own in ((adjoint, None), (LoopAdjoint.of(loop.saving), saved)):
        close(run_between_guards(sub, both, tier, own)[99:-99], adjoint.reference(both))
    assert (saved[-99:] == 7e77).all()


ENDING = st.sampled_from([None, C.StoreAll(), C.Online(1), C.Online(3)])


@pytest.mark.usefixtures("pieces")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SIZES, st.integers(0, 9), st.booleans(), ENDING, st.integers(0, 99))
def test_drivers_of_loops_with_a_condition(sizes, length, backward, schedule, seed):
    """They may end before all their elements are used."""
    loop = random_loop(sizes, length, seed, conditional=True, schedule=schedule, backward=backward)
    check_driver(loop, "sweep", np.random.default_rng(seed))


def rows_of_all_kinds():
    """Loops, their adjoints, lanes and branches."""
    sizes = Sizes(2, 1, 1, 2, True)
    plain = random_loop(sizes, 4)
    scheduled = random_loop(sizes, 5, 1, schedule=C.Revolve(2), backward=True)
    searching = random_loop(Sizes(2, shared=1), 6, 2, conditional=True)
    bounded = random_loop(sizes, 6, 5, conditional=True)
    online = random_loop(sizes, 6, 9, conditional=True, schedule=C.Online(2), backward=True)
    bodies = [random_loop(sizes, 3, k).body for k in range(3)]
    inner = random_loop(Sizes(2, shared=1), 3, 4)
    widened = made("nested", 2 + 1 + 1 + 2, lambda b, x: b.call(inner, b.emit("strided", (x,), (0, 3, 1), (3,))))
    nested = Loop.of("nested", Sizes(2, 1, 0, 2, True), 3, widened, schedule=C.StoreNone())
    return {
        "plain": plain, "scheduled": scheduled, "searching": searching, "nested": nested,
        "bounded": bounded, "bounded online": online, "adjoint of bounded": LoopAdjoint.of(online),
        "branch": Branch.of(bodies, "branch"), "lanes": Lanes.of(Branch.of(bodies, "branch"), 3),
        "adjoint": LoopAdjoint.of(plain), "adjoint of scheduled": LoopAdjoint.of(scheduled),
        "adjoint of searching": LoopAdjoint.of(searching), "wide": plain._wide(2), "tangent": plain.augmented,
        "parts of the adjoint": LoopAdjoint.of(plain, Wanted((), ((1, 2),))),
        "parts of the adjoint of bounded": LoopAdjoint.of(online, Wanted(((0, 1),), ())),
    }  # fmt: skip


KINDS = rows_of_all_kinds()


@pytest.mark.parametrize("name", KINDS)
def test_tangents_and_adjoints_of_rows(name, rng):
    """<u, J v> = <J'u, v>; J v is the central difference of the definition; drivers agree with definitions."""
    sub = KINDS[name]
    x, v = rng.normal(size=(2, sub.n_in)) * 0.7
    if isinstance(sub, Branch | Lanes):  # in the middle of a branch
        number = 1 + (sub.n_in - 1 if isinstance(sub, Branch) else sub.n_in // 3 - 1)
        x[::number] = np.arange(len(x[::number])) % 3
    u, step = rng.normal(size=sub.n_out), 1e-6
    tangent = run_rows(sub.tangent, np.concatenate([x, v]))
    moving = v * np.array([not isinstance(sub, Branch | Lanes) or i % number != 0 for i in range(len(v))])
    wanted = (by_definition(sub, x + step * moving) - by_definition(sub, x - step * moving)) / (2 * step)
    close(run_rows(sub.tangent, np.concatenate([x, moving])), wanted, 1e-7)
    bar = run_rows(sub.adjoint, np.concatenate([x, u]))
    close(tangent @ u, bar @ v, 1e-11)
    for derived in (sub.tangent, sub.adjoint):
        point = rng.normal(size=derived.n_in) * 0.7
        point[: len(x)] = x
        close(run_rows(derived, point), by_definition(derived, point))


@pytest.mark.parametrize("name", KINDS)
def test_rows_over_lanes(name, rng):
    sub = KINDS[name]
    x = rng.normal(size=(3, sub.n_in)) * 0.7
    for size in (1, 3):
        wanted = np.concatenate([run_rows(sub, lane) for lane in x[:size]])
        close(run_rows(sub.batched(size), x[:size].reshape(-1)), wanted)
    twice = sub.batched(1).batched(3) if name != "nested" else sub.batched(3)
    close(run_rows(twice, x.reshape(-1)), wanted)


@pytest.mark.usefixtures("pieces")
@both_tiers
def test_second_order_of_every_kind(tier, rng):
    """Adjoint of the adjoint, and tangent of the adjoint, against each other by the symmetry of u . f''."""
    names = ("plain", "scheduled", "searching", "nested", "bounded", "bounded online", "parts of the adjoint")
    for name in names:
        sub = KINDS[name]
        adjoint = sub.adjoint
        point = rng.normal(size=adjoint.n_in) * 0.7
        v, w = np.zeros((2, adjoint.n_in))
        v[: sub.n_in], w[: sub.n_in] = rng.normal(size=(2, sub.n_in))
        second = [by_driver(adjoint.tangent, np.concatenate([point, d]), tier) for d in (v, w)]
        close(second[0] @ w[: sub.n_in], second[1] @ v[: sub.n_in], 1e-11)
        bar = by_driver(adjoint.adjoint, np.concatenate([point, w[: sub.n_in]]), tier)
        close(bar @ v, second[0] @ w[: sub.n_in], 1e-11)


def of_two_orders(length, schedule):
    first = random_loop(Sizes(2, 1, 1, 1, True), length, 3, schedule=schedule).adjoint
    return first, first.adjoint


def by_tiers(adjoint, x, length):
    tiers = ("sweep", "native") if length == 6 else ("sweep",)
    return [by_driver(adjoint, x[: adjoint.n_in], tier) for tier in tiers]


@functools.cache
def stored(length, pieces):
    """A point, and what the adjoints that store all states give there: the same for every schedule."""
    adjoints = of_two_orders(length, C.StoreAll())
    x = np.random.default_rng(length).normal(size=adjoints[1].n_in)
    return x, [by_tiers(adjoint, x, length) for adjoint in adjoints]


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("schedule", STEPWISE, ids=repr)
def test_schedules_change_no_bit(schedule):
    """Adjoints under every schedule are those of StoreAll, at first and second order, in both tiers."""
    for length in (1, 2, 6):
        x, wanted = stored(length, drivers.APART_FROM)
        found = [by_tiers(adjoint, x, length) for adjoint in of_two_orders(length, schedule)]
        for own, stored_all in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(own, stored_all)


def test_rows_are_equal_where_they_compute_the_same():
    """Equal loops are one row in a table; those that differ in anything are not."""
    sizes = Sizes(2, 1, 1, 1)
    body = random_loop(sizes, 3).body
    same = [Loop.of("loop", sizes, 3, body), Loop.of("other name", sizes, 3, body)]
    others = [
        Loop.of("loop", sizes, 3, body, schedule=C.Revolve(2)), Loop.of("loop", sizes, 3, body, schedule=C.Revolve(3)),
        Loop.of("loop", sizes, 3, body, backward=True), Loop.of("loop", sizes, 4, body), same[0].saving,
        Loop.of("loop", sizes, 3, random_loop(sizes, 3, 1).body), LoopAdjoint.of(same[0]),
        Loop.of("loop", sizes, 3, body, inverse=random_loop(Sizes(2, 1, 0, 1), 3).body),
    ]  # fmt: skip
    assert same[0].key == same[1].key
    assert len({same[0].key, *(other.key for other in others)}) == 1 + len(others)


# ── results whose number is known only as a maximum ───────────────────────────────────────────────────────────────
def decaying(length, schedule=None, **options):
    """y becomes y·a·e, with the result y², while y > 1; a second state counts the steps."""

    def body(b, v):
        y, count, e, a = slices(b, v, (1, 1, 1, 1))
        new = b.emit("multiply", (b.emit("multiply", (y, e)), a))
        return packed(b, [new, b.add(count, b.const(np.ones(1))), b.emit("multiply", (y, y))])

    def test(b, v):
        return b.emit("strided", (b.emit("less", (b.const(np.ones(1)), slices(b, v, (1,))[0])),), (0, 1, 1), (1,), "d")

    sizes = Sizes(2, 1, 1, 1)
    condition = made("condition", 4, test)
    return Loop.of("decay", sizes, length, made("body", 4, body), condition=condition, schedule=schedule, **options)


def by_hand(x, length):
    (y, count, a), e, results = x[:3], x[3:], np.zeros(length)
    k = 0
    while k < length and y > 1:
        results[k] = y * y
        y, k = y * a * e[k], k + 1
    return np.array([y, count + k, *results]), k


@pytest.mark.usefixtures("pieces")
@both_tiers
@pytest.mark.parametrize("schedule", [None, C.StoreAll(), C.Online(1), C.Online(2)], ids=repr)
def test_unused_results_are_zeros_and_their_adjoints_are_ignored(tier, schedule, rng):
    loop, length = decaying(9, schedule), 9
    x = np.array([3.0, 0.0, 0.8, *np.linspace(1.0, 0.9, length)])
    wanted, steps = by_hand(x, length)
    assert 0 < steps < length and wanted[1] == steps
    close(by_driver(loop, x, tier), wanted)
    v, u = rng.normal(size=loop.n_in), rng.normal(size=loop.n_out)
    tangent = by_driver(loop.tangent, np.concatenate([x, v]), tier)
    close(tangent, (by_hand(x + 1e-6 * v, length)[0] - by_hand(x - 1e-6 * v, length)[0]) / 2e-6, 1e-7)
    assert tangent[1] == v[1] and not tangent[2 + steps :].any()  # the count has no derivative, nor has what is unused
    bar = by_driver(loop.adjoint, np.concatenate([x, u]), tier)
    close(bar @ v, tangent @ u, 1e-11)
    assert not bar[3 + steps :].any()
    other = u.copy()
    other[2 + steps :] = np.nan
    np.testing.assert_array_equal(by_driver(LoopAdjoint.of(loop), np.concatenate([x, other]), tier), bar)


@both_tiers
def test_lanes_use_as_many_results_as_they_make_steps(tier):
    loop, length = decaying(9), 9
    x = np.stack([[y, 0.0, 0.8, *np.linspace(1.0, 0.9, length)] for y in (0.5, 1.1, 3.0, 900.0)])
    found = by_driver(loop.batched(4), x.reshape(-1), tier).reshape(4, -1)
    close(found, np.stack([by_hand(own, length)[0] for own in x]))
    assert found[:, 1].tolist() == [0.0, 1.0, 5.0, 9.0]


@pytest.mark.usefixtures("pieces")
def test_work_of_before_does_not_shine_through(rng):
    """The kernel writes its whole result, whatever was there."""
    loop = decaying(9)
    for sub in (loop, loop.saving, LoopAdjoint.of(loop)):
        x = np.array([3.0, 0.0, 0.8, *np.ones(9), *rng.normal(size=max(sub.n_in - 12, 0))])
        kernel = kernel_of(sub, EXECUTORS["sweep"].part)
        results = []
        for before in (0.0, np.nan):
            out, work = np.full(sub.n_out, before), aligned(kernel.work_size)
            work[:] = before
            code = SIGNATURE(kernel.address)(kernel.context, x.ctypes.data, out.ctypes.data, work.ctypes.data)
            assert code == 0
            results.append(sub.numbers(out))
        np.testing.assert_array_equal(*results)


def test_bounded_loops_are_saved(tmp_path, rng):
    b = Builder()
    loop = decaying(9, C.Online(2))
    table = b.table([b.call(loop, b.input((loop.n_in,)))])
    save(table, tmp_path / "t.npz")
    x = np.array([3.0, 0.0, 0.8, *np.ones(9)])
    for own in (load(tmp_path / "t.npz"), table):
        close(evaluate(own, [x])[0], by_hand(x, 9)[0])
        close(evaluate(adjoint_table(own, [0]), [x, np.ones(11)])[1], loop.adjoint.evaluate([*x, *np.ones(11)]))
