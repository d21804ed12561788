"""Checkpoint schedules: valid and optimal by count, proven by a symbolic executor and by brute force."""

import pickle
from functools import cache
from math import comb

import numpy as np
import pytest

import fastad as fad
from fastad.kernels import planning
from fastad.schedules.base import new_buffer

C = fad.checkpoint
Action, Code = C.Action, C.Code

# The figures of the first table of issue and paper: (steps, slots) -> fewest steps to run.
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
SCHEDULES = [s for family in FAMILIES.values() for s in family]


class Listed(C.Schedule):
    """A user's schedule: nothing but a generator. Keeps every state, and the work to do for it minimal."""

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
        assert found.slots == memory + disk
        assert schedule.predicted_bytes(n, 24) == (memory + 2) * 24
        assert schedule.disk_bytes(n, 24) == disk * 24


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
            assert planning.survey(C.Revolve(c).state(n), new_buffer(), c)[:2] == (OPTIMA[n, c], min(c, n - 1))


@pytest.mark.parametrize("schedule", [*SCHEDULES, Listed()], ids=repr)
@pytest.mark.parametrize("rows", [planning.MOST_AT_ONCE, 7, 50])
def test_planner_resumes_where_it_stopped(schedule, rows):
    state, buffer, found = schedule.state(60), np.empty((rows, 4), np.int64), []
    while count := planning.plan(state, buffer):
        found += buffer[:count].tolist()
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
        steps, slots, *_ = planning.survey(schedule.state(10**6), new_buffer(), 10**6)
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


@pytest.mark.parametrize("make", [
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


A, S, L, D, R, N = Code.ADVANCE, Code.STORE, Code.LOAD, Code.DISCARD, Code.REVERSE, Code.RESTART


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
        assert schedule.resolve(10, 8) is schedule
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
