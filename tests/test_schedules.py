"""Checkpoint schedules: valid and optimal by count, proven by a symbolic executor and by brute force."""

import heapq
import pickle
from functools import cache
from itertools import count
from math import comb

import numpy as np
import pytest

import fastad as fad
from fastad.kernels import online, plan_fields, planning
from fastad.schedules import tiered
from fastad.schedules.base import new_buffer, surveyed

C = fad.checkpoint
Action, Code = C.Action, C.Code
A, S, L, D, R, N = Code.ADVANCE, Code.STORE, Code.LOAD, Code.DISCARD, Code.REVERSE, Code.RESTART

# Figures of Griewank & Walther (2000): (steps, slots) -> fewest steps to run.
OPTIMA = {
    (10, 1): 45, (10, 2): 20, (10, 3): 15, (56, 5): 140, (56, 3): 210, (57, 3): 216, (100, 5): 316, (100, 10): 222,
    (1000, 5): 6284, (1000, 10): 3636, (1000, 45): 1953, (10**4, 20): 37976, (10**5, 50): 375196,
    (10**6, 100): 3817896,
}  # fmt: skip

FAMILIES = {
    "StoreAll": [C.StoreAll()],
    "StoreNone": [C.StoreNone()],
    "Revolve": [C.Revolve(c) for c in (1, 2, 3, 4, 5, 8, 13, 100)],
    "Periodic": [C.Periodic(k) for k in (1, 2, 3, 4, 7, 10, 100)],
}
FAMILIES |= {
    "Multistage": [
        C.Multistage(1, 0), C.Multistage(1, 3), C.Multistage(2, 1, write=0.5, read=0), C.Multistage(3, 4, write=0),
        C.Multistage(2, 50, write=0.1, read=0.1), C.Multistage(5, 20, write=5, read=5),
    ],
    "Online": [C.Online(c) for c in (1, 2, 3, 4, 7, 100)],
    "Auto": [C.Auto(24), C.Auto(100), C.Auto(10**4)],
}  # fmt: skip
SCHEDULES = [s for family in FAMILIES.values() for s in family]


class Listed(C.Schedule):
    """A user's schedule, which defines `actions` only. It stores every state."""

    def __repr__(self):  # which names tests, in every process alike
        return "Listed()"

    def actions(self, n_steps):
        for k in range(n_steps - 1):
            yield Action(Code.STORE, k, k, k)
            yield Action(Code.ADVANCE, k, k + 1, -1)
        if n_steps:
            yield Action(Code.REVERSE, n_steps - 1, n_steps, -1)
        for k in reversed(range(n_steps - 1)):
            yield Action(Code.LOAD, k, k, k)
            yield Action(Code.REVERSE, k, k + 1, -1)


@cache
def brute_force(length, slots):
    """The fewest steps for l steps and c slots, by trying every split."""
    if length <= 1:
        return 0
    if slots == 1:
        return length * (length - 1) // 2
    return min(m + brute_force(length - m, slots - 1) + brute_force(m, slots) for m in range(1, length))


@pytest.mark.parametrize("schedule", [*SCHEDULES, Listed()], ids=repr)
def test_every_schedule_is_valid_and_does_what_it_predicts(schedule):
    for n in (*range(41), 64, 100, 257):
        found = C.verify(schedule, n)  # within the slots that it asks for
        memory, disk = schedule.slots(n)
        assert found.steps == schedule.predicted_steps(n)
        assert found.slots <= memory + disk
        assert found.slots == memory + disk or isinstance(schedule, C.Multistage)
        assert schedule.predicted_bytes(n, 8) == (memory + 2) * 8
        assert schedule.disk_bytes(n, 8) == disk * 8


@pytest.mark.parametrize("schedule", [*SCHEDULES, Listed()], ids=repr)
def test_forward_sweep_ends_before_the_first_adjoint_with_the_last_state_at_hand(schedule):
    for n in (1, 2, 3, 10, 33):
        rows = schedule.array(n)
        first = int(np.argmax(rows[:, 0] == Code.REVERSE))
        sweep = [(a, b) for code, a, b, _ in rows[:first] if code == Code.ADVANCE]
        assert [k for a, b in sweep for k in range(a, b)] == list(range(n - 1))


@pytest.mark.parametrize("slots", range(1, 9))
def test_revolve_is_optimal(slots):
    for length in range(1, 131):
        assert C.optimal_steps(length, slots) == brute_force(length, slots)
        found = C.verify(C.Revolve(slots), length)
        assert found.steps == brute_force(length, slots)
        runs = next(r for r in range(length) if length <= comb(slots + r, r))
        assert max(found.repetitions) <= runs


def test_known_optima():
    assert {key: C.optimal_steps(*key) for key in OPTIMA} == OPTIMA
    assert C.Revolve(100).predicted_steps(10**6) == OPTIMA[10**6, 100]
    for n, c in OPTIMA:
        if c > 3:  # the planner's own actions, counted
            assert surveyed(C.Revolve(c).state(n), c)[:2] == (OPTIMA[n, c], min(c, n - 1))


@pytest.mark.parametrize("schedule", [*SCHEDULES, Listed()], ids=repr)
@pytest.mark.parametrize("room", [plan_fields.MOST_AT_ONCE, 7, 50])
def test_planner_resumes_where_it_stopped(schedule, room):
    state, buffer, found = schedule.state(60), np.empty((room, 4), np.int64), []
    while rows := planning.plan(state, buffer):
        found += buffer[:rows].tolist()
    assert found == schedule.array(60).tolist()
    assert planning.plan(state, buffer) == 0


def test_array_and_actions_agree():
    for schedule in (C.Revolve(3), Listed()):
        assert [tuple(a) for a in schedule.actions(20)] == [tuple(r) for r in schedule.array(20).tolist()]
        assert schedule.array(20).dtype == np.int64
        assert schedule.array(0).shape == (0, 4)


def test_many_steps_need_no_long_list():
    for schedule in (C.StoreAll(), C.Revolve(100), C.Periodic(1000)):
        assert schedule.state(10**6).size < 10**4
        steps, slots, *_ = surveyed(schedule.state(10**6), 10**6)
        assert (steps, slots) == (schedule.predicted_steps(10**6), schedule.slots(10**6)[0])


def test_extremes_of_revolve_are_the_other_schedules():
    for n in range(1, 30):
        assert C.Revolve(1).predicted_steps(n) == C.StoreNone().predicted_steps(n) == n * (n - 1) // 2
        assert C.Revolve(n).predicted_steps(n) == C.StoreAll().predicted_steps(n) == n - 1
        assert C.StoreNone().slots(n) == (0, 0)
        assert C.StoreAll().slots(n) == (n - 1, 0)


def test_periodic_counts():
    for n in range(1, 60):
        for every in range(1, 20):
            lengths = [min(every, n - a) for a in range(0, n, every)]
            again = sum(k - 1 for k in lengths[:-1])
            assert C.Periodic(every).predicted_steps(n) == n - 1 + again


# H-Revolve's costs for 100 steps, memory free: (memory, disk, cost of a write and of a read) -> cost.
TWO_TIERS = {(5, 0, 2): 316, (5, 5, 2): 257, (5, 20, 2): 233, (5, 20, 5): 280, (3, 10, 2): 275, (3, 10, 10): 385}


def test_known_optima_of_two_tiers():
    found = {(c, d, w): C.Multistage(c, d, write=w, read=w).predicted_cost(100) for c, d, w in TWO_TIERS}
    assert found == TWO_TIERS


def cost_of(schedule, n):
    """The cost of a schedule, counted by the symbolic executor."""
    found = C.verify(schedule, n)
    return found.steps + schedule.write * found.writes + schedule.read * found.reads


def two_tiers_by_recursion(n, memory, disk, write, read, unit=1):
    """The least cost by the recursion of `kernels/tiers.py`, every split tried; states on disk are `unit` apart."""
    length = n // unit
    only = [0, *(brute_force(k * unit, memory) for k in range(1, length + 1))]
    fresh, stored, before = only, None, None
    for _ in range(disk):
        before, stored = stored, only[:2]
        for k in range(2, length + 1):
            stored.append(min([only[k], *(j * unit + fresh[k - j] + read + stored[j] for j in range(1, k))]))
        if stored == before:  # more slots are of no use
            break
        fresh = [min(a, write + b) for a, b in zip(only, stored, strict=False)]
    return fresh[length]


@pytest.mark.parametrize(("write", "read"), [(2, 2), (0, 0), (1, 0), (0, 3), (0.1, 0.7), (3.7, 1.1), (40, 40)])
def test_multistage_has_the_least_cost_of_its_recursion(write, read):
    for n in (1, 2, 3, 5, 8, 13, 30, 61, 100):
        for memory, disk in ((1, 1), (1, 5), (2, 3), (3, 9), (5, 2)):
            schedule = C.Multistage(memory, disk, write=write, read=read)
            assert cost_of(schedule, n) == pytest.approx(
                two_tiers_by_recursion(n, memory, disk, write, read), rel=1e-12
            )
            assert cost_of(schedule, n) == pytest.approx(schedule.predicted_cost(n), rel=1e-12)


@pytest.mark.parametrize("work", [10**3, 10**4, 10**5])
def test_multistage_of_long_loops_is_optimal_among_every_few_states(work, monkeypatch):
    """The states on disk are a unit apart, and the cost is the least with such states (n whole units)."""
    monkeypatch.setattr(tiered, "_MOST_WORK", work)
    for n in (2, 96, 100, 257):
        for memory, disk in ((1, 3), (3, 7), (2, 300)):
            tiered._listed.cache_clear()
            schedule = C.Multistage(memory, disk, write=1, read=1)
            rows = schedule.array(n)
            written = rows[(rows[:, 0] == S) & (rows[:, 3] >= schedule.slots(n)[0]), 1]
            cost, least = cost_of(schedule, n), {}
            for slots in (1, disk):  # the unit of 1 where `disk` slots are as good as any number
                unit = tiered._unit(n, slots)
                if not (written % unit).any():
                    whole = -(-n // unit) * unit
                    least[unit] = (two_tiers_by_recursion(whole, memory, disk, 1, 1, unit), whole == n)
            assert any(cost == most or (cost < most and not exact) for most, exact in least.values())
            assert two_tiers_by_recursion(n, memory, disk, 1, 1) <= cost <= brute_force(n, memory)
    tiered._listed.cache_clear()


def least_cost(n, memory, disk, write=0.0, read=0.0):
    """The least cost of all schedules: a shortest path over (adjoints left, current state, states stored)."""
    number = count()
    best, heap = {}, [(0.0, next(number), (n, 0, frozenset(), frozenset()))]
    while True:
        cost, _, here = heapq.heappop(heap)
        if here in best:
            continue
        best[here] = cost
        if here[0] == 0:
            return cost
        for more, there in moves(*here, memory, disk, write, read):
            if there not in best:
                heapq.heappush(heap, (cost + more, next(number), there))


def moves(left, current, memory, disk, memory_slots, disk_slots, write, read):
    """(cost, next node) for every possible action; states that no adjoint needs are dropped."""
    if current == left - 1:
        yield 0, (current, None, memory - {current}, disk - {current})
    elif current is not None:
        yield 1, (left, current + 1, memory, disk)
    if current is not None:
        for kept in keeping(memory, current, memory_slots):
            yield 0, (left, current, kept, disk)
        for kept in keeping(disk, current, disk_slots):
            yield write, (left, current, memory, kept)
    yield from ((0, (left, k, memory, disk)) for k in memory)
    yield from ((read, (left, k, memory, disk)) for k in disk)


def keeping(stored, state, slots):
    """The sets of states that can be stored after this state has been stored too."""
    if len(stored) < slots:
        return [stored | {state}]
    return [stored - {k} | {state} for k in stored]


@pytest.mark.parametrize(("memory", "disk"), [(1, 0), (2, 0), (3, 0), (1, 1), (1, 2), (2, 1), (2, 2)])
def test_no_schedule_at_all_is_better(memory, disk):
    for n in range(1, 8):
        if disk == 0:
            assert C.Revolve(memory).predicted_steps(n) == least_cost(n, memory, 0)
            continue
        for write, read in ((0, 0), (0.5, 0.5), (1, 2), (2, 1), (3, 0), (0, 3)):
            schedule = C.Multistage(memory, disk, write=write, read=read)
            assert schedule.predicted_cost(n) == least_cost(n, memory, disk, write, read)


def test_multistage_without_disk_or_with_dear_disk_is_revolve():
    for n in (1, 2, 10, 77):
        assert C.Multistage(4, 0).predicted_steps(n) == C.Multistage(4, 9, write=1e9).predicted_steps(n)
        assert C.Multistage(4, 0).array(n).tolist() == C.Revolve(4).array(n).tolist()
        assert C.Multistage(4, 9, write=1e9).slots(n) == C.Revolve(4).slots(n)


@pytest.mark.parametrize("slots", range(1, 12))
def test_online_is_optimal_while_two_runs_do_and_then_runs_no_step_too_often(slots):
    for n in range(1, 200):
        found = C.verify(C.Online(slots), n, memory=slots)
        runs = next(r for r in range(n) if n <= comb(slots + r, r))
        assert max(found.repetitions) <= runs
        if 2 * n <= (slots + 1) * (slots + 2):
            assert found.steps == C.optimal_steps(n, slots)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 16, 100])
def test_online_chooses_alike_whether_the_number_of_steps_is_known(n):
    schedule = C.Online(4)
    state, actions = schedule.open_state(-1), []
    for k in range(n - 1):  # step k is not the last one
        slot = online.choose(state, k)
        if slot >= 0:
            actions.append((k, slot))
    online.finish(state, n)
    known = schedule.array(n)
    forward, adjoint = known[: n and np.argmax(known[:, 0] == R)], known[n and np.argmax(known[:, 0] == R) :]
    assert actions == [(k, slot) for code, k, _, slot in forward.tolist() if code == S]
    buffer = new_buffer()
    assert buffer[: planning.plan(state, buffer)].tolist() == adjoint.tolist()


def test_auto_takes_the_fewest_steps_that_fit():
    for n in (1, 2, 3, 10, 100):
        for room in range(3, 110):
            chosen = C.Auto(room * 80 + 7).resolve(n, 80)
            assert chosen.predicted_bytes(n, 80) <= room * 80 + 7
            assert chosen.predicted_steps(n) == (C.optimal_steps(n, max(1, room - 2)) if n else 0)
            assert C.Auto(room * 80 + 7).predicted_bytes(n, 80) == chosen.predicted_bytes(n, 80)
    assert isinstance(C.Auto(10**6).resolve(100, 80), C.StoreAll)
    assert C.Auto(0).resolve(10, 0) == C.StoreAll()  # an empty state takes no room
    with pytest.raises(fad.ScheduleError, match="at least 240 bytes"):
        C.Auto(239).resolve(100, 80)
    with pytest.raises(fad.ScheduleError, match="at least 160 bytes"):
        C.Auto(159).resolve(1, 80)


@pytest.mark.parametrize("make", [
    lambda: C.Multistage(0, 3), lambda: C.Multistage(3, -1), lambda: C.Multistage(3, 1.5), lambda: C.Online(0),
    lambda: C.Multistage(3, 1, write=-1), lambda: C.Multistage(3, 1, read=np.nan), lambda: C.Auto(-1),
    lambda: C.Auto("1"), lambda: C.Auto(8, state_bytes=-1),
    lambda: C.Multistage(3, 1, read="much"), lambda: C.Online(3).predicted_steps(-2), lambda: C.Auto(9).resolve(-2, 8),
    lambda: C.Revolve(0), lambda: C.Revolve(-1), lambda: C.Revolve(2.5), lambda: C.Revolve("3"), lambda: C.Periodic(0),
    lambda: C.Periodic(1.5), lambda: C.optimal_steps(10, 0), lambda: C.optimal_steps(-1, 2),
    lambda: C.optimal_steps(2.0, 2), lambda: C.Revolve(3).predicted_steps(-1), lambda: list(C.Revolve(3).actions(-1)),
    lambda: C.Revolve(3).state(-1), lambda: C.StoreAll().array(1.5), lambda: list(C.StoreNone().actions(None)),
    lambda: C.StoreNone().predicted_steps(2.0), lambda: C.Revolve(3).predicted_bytes(10, -8),
    lambda: C.StoreAll().predicted_bytes(10, 1.5), lambda: C.Revolve(2).state(2**31), lambda: Listed().state(-1),
])  # fmt: skip
def test_impossible_numbers(make):
    with pytest.raises(fad.ScheduleError, match=r"must be|up to"):
        make()


@pytest.mark.parametrize(("n", "rows", "message"), [
    (2, [(A, 0, 1, -1), (R, 1, 2, -1)], "1 of 2 steps are missing"),
    (2, [(R, 0, 1, -1)], "next adjoint due is that of step 1"),
    (2, [(A, 0, 1, -1), (R, 1, 2, -1), (R, 0, 1, -1)], "current state is none"),
    (2, [(A, 0, 1, -1), (R, 1, 2, -1), (R, 1, 2, -1)], "due is that of step 0"),
    (2, [(A, 0, 1, 0), (R, 1, 2, -1), (R, 0, 1, 1)], "slot 1 holds none"),
    (3, [(A, 1, 2, -1)], "current state is state 0"),
    (3, [(A, 0, 4, -1)], "steps 0..2"),
    (3, [(A, 1, 1, -1)], "at least one"),
    (3, [(A, 0, 2, -1), (S, 1, 1, 0)], "current state is state 2"),
    (3, [(S, 0, 0, 0), (A, 0, 1, -1), (S, 1, 1, 0)], "holds state 0, still needed"),
    (3, [(S, 0, 0, -1)], "slots 0..1"),
    (3, [(S, 0, 0, 2)], "slots 0..1"),
    (3, [(A, 0, 2, 1)], "slots 0..1"),
    (3, [(S, 0, 1, 0)], "same state"),
    (3, [(S, 0, 0, 0), (L, 1, 1, 0)], "slot 0 holds state 0"),
    (3, [(D, 0, 0, 0)], "slot 0 holds none"),
    (3, [(A, 0, 2, 0), (R, 2, 3, -1), (R, 0, 2, -1)], "several states"),
    (3, [(A, 0, 1, -1), (N, 1, 1, -1)], "only the initial state"),
])  # fmt: skip
def test_the_symbolic_executor_finds_what_is_wrong(n, rows, message):
    with pytest.raises(fad.ScheduleError, match=message):
        C.verify([Action(*row) for row in rows], n, memory=2)


def test_discarded_and_dead_slots_are_free():
    rows = [(S, 0, 0, 0), (A, 0, 1, -1), (S, 1, 1, 1), (D, 1, 1, 1), (A, 1, 2, -1), (S, 2, 2, 1), (R, 2, 3, 1),
            (L, 0, 0, 0), (A, 0, 1, -1), (S, 1, 1, 1), (R, 1, 2, 1), (R, 0, 1, 0)]  # fmt: skip
    found = C.verify([Action(*row) for row in rows], 3, memory=1, disk=1)
    assert (found.steps, found.slots, found.repetitions) == (3, 2, [2, 1, 0])
    assert (found.writes, found.reads) == (3, 2)


def test_schedules_are_values():
    for schedule in SCHEDULES:
        again = pickle.loads(pickle.dumps(schedule))
        assert again == schedule and hash(again) == hash(schedule)
        assert schedule.resolve(10, 8) is schedule or isinstance(schedule, C.Auto)
    assert repr(C.Revolve(np.int64(3))) == "Revolve(snapshots=3)"


def test_actions_read_well():
    assert [repr(a) for a in C.Revolve(2).actions(5)] == [
        "store state 0 in slot 0", "advance steps 0..2", "advance step 3 into slot 1", "reverse step 4",
        "reverse step 3 from slot 1", "load state 0 from slot 0", "advance step 0", "advance step 1 into slot 1",
        "reverse step 2", "reverse steps 1..0 from slots 1..0",
    ]  # fmt: skip


def test_checkpoint_is_a_function_with_attributes():
    assert pickle.loads(pickle.dumps(fad.checkpoint)) is fad.checkpoint
    block = fad.checkpoint(lambda x: np.sin(x) * x)
    assert block(2.0) == np.sin(2.0) * 2.0
    outer = lambda x: fad.checkpoint(np.exp)(x) * 2  # the object itself is captured
    assert fad.grad(outer)(0.5) == 2 * np.exp(0.5)
