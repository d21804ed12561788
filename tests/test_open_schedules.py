"""Checkpoint schedules of adaptive solves and of loops that end by a condition: the number of steps is not known before
they are made. Gradients have the bits of those with all states stored, and steps and memory are those predicted."""

import numpy as np
import pytest

import fastad as fad
from fastad.kernels import online, planning
from fastad.ode.events import Event
from fastad.schedules.base import new_buffer

C = fad.checkpoint
SCHEDULES = [
    C.Revolve(1), C.Revolve(4), C.Revolve(1000), C.Periodic(1), C.Periodic(6), C.Periodic(1000), C.StoreNone(),
    C.Auto(3000), C.Multistage(2, 3), C.Multistage(1, 0), C.Online(2, disk=2),
]  # fmt: skip
FEW = [C.Revolve(4), C.Periodic(6), C.StoreNone(), C.Multistage(2, 3)]
METHODS = ("Tsit5", "Rodas5P", "Kvaerno5", "Radau", "BDF", "auto")
Y0, P = np.array([1.2, 0.3]), np.array([6.0, 0.8])


def swing(t, y, p):
    """Van der Pol's oscillator with a drive: fast and slow by turns, so that steps are rejected."""
    return np.stack([y[1], p[0] * (1 - y[0] ** 2) * y[1] - y[0] + p[1] * np.sin(t)])


def bounce(t, y, p):
    return y[0] + 0.5


EVENTS = [Event(bounce, jump=lambda t, y, p: np.stack([y[0] + 1.0, 0.5 * y[1]]), terminal=3)]


def cost(y0, p, schedule, method="Tsit5", **options):
    given = {"t_eval": [0.7, 2.1], "rtol": 1e-5, "args": (p,)} | options
    found = fad.solve_ivp(swing, (0, 4.0), y0, method, checkpoint=schedule, **given)
    return np.sum(found.y**2) + np.sum(found.y[:, -1])


def gradient(schedule, tier="sweep", **options):
    own = fad.grad(lambda y0, p: cost(y0, p, schedule, **options), argnums=(0, 1), tier=tier)
    return np.concatenate(own(Y0, P))


def same_bits(found, wanted, schedule):
    assert np.all(np.isfinite(wanted))
    assert np.asarray(found).tobytes() == np.asarray(wanted).tobytes(), schedule


# ── gradients ─────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.filterwarnings("ignore:.*was recorded 64 times")
@pytest.mark.parametrize("with_events", [False, True], ids=["", "events"])
@pytest.mark.parametrize("method", METHODS)
def test_every_schedule_of_every_method(method, with_events):
    options = {"method": method, "events": EVENTS} if with_events else {"method": method}
    wanted = gradient(C.StoreAll(), **options)
    for schedule in SCHEDULES if method == "Tsit5" else FEW:
        same_bits(gradient(schedule, **options), wanted, schedule)


def test_steps_of_these_tests_are_rejected_and_end_by_events():
    """Otherwise they show little."""
    found = fad.solve_ivp(swing, (0, 4.0), Y0, "BDF", args=(P,), events=EVENTS, rtol=1e-5)
    assert found.stats["rejected"] > 5 and len(found.t_events[0]) > 1


@pytest.mark.parametrize("method", ["Tsit5", "BDF"])
def test_native_code(method):
    wanted = gradient(C.StoreAll(), "native", method=method, events=EVENTS)
    for schedule in FEW:
        same_bits(gradient(schedule, "native", method=method, events=EVENTS), wanted, schedule)


def test_daes():
    def tank(t, y, k):
        return np.stack([-k * y[0] * y[1], y[0] + y[1] - 1.0 - 0.1 * np.sin(t)])

    def end(k, schedule):
        return fad.solve_ivp(
            tank, (0, 3.0), [0.4, 0.6], "Rodas5P", args=(k,), mass=np.diag([1.0, 0.0]), checkpoint=schedule, rtol=1e-6
        ).y[0, -1]  # fmt: skip

    wanted = fad.grad(lambda k: end(k, C.StoreAll()), tier="sweep")(2.0)
    for schedule in (C.Revolve(2), C.Periodic(4), C.StoreNone(), C.Multistage(1, 2)):
        same_bits(fad.grad(lambda k, s=schedule: end(k, s), tier="sweep")(2.0), wanted, schedule)


@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P"])
def test_second_derivatives(method):
    def product(schedule):
        gradient = fad.grad(lambda p: cost(Y0, p, schedule, method, rtol=1e-4), tier="sweep")
        return fad.jvp(gradient, (P,), (np.array([0.3, 1.0]),))[1]

    wanted = product(C.StoreAll())
    for schedule in (C.Revolve(3), C.Periodic(5), C.StoreNone()):
        same_bits(product(schedule), wanted, schedule)


@pytest.mark.parametrize("method", ["Tsit5", "BDF"])
def test_ensembles(method):
    starts = Y0 + np.linspace(0.0, 0.4, 5)[:, None]
    bars = lambda s: fad.vmap(fad.grad(lambda y0: cost(y0, P, s, method), tier="sweep"))(starts)
    wanted = bars(C.StoreAll())
    for schedule in (C.Revolve(3), C.Periodic(5), C.StoreNone(), C.Multistage(2, 2)):
        np.testing.assert_allclose(bars(schedule), wanted, rtol=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_loops_that_end_by_a_condition(schedule):
    def grown(x, own):
        step = lambda s: (s[0] * x + np.sin(s[0]), s[1] + 1.0)
        y, n = fad.while_loop(lambda s: s[0] < 50.0, step, (x, 0.0), 200, checkpoint=own)
        return y * n

    for x in (1.2, 1.6, 60.0):  # from many steps to none
        wanted = fad.grad(lambda x: grown(x, C.StoreAll()), tier="sweep")(x)
        same_bits(fad.grad(lambda x: grown(x, schedule), tier="sweep")(x), wanted, schedule)


# ── steps and memory ──────────────────────────────────────────────────────────────────────────────────────────
def test_steps_and_memory_are_those_predicted():
    loss = lambda y0: np.sum(fad.solve_ivp(swing, (0, 2.0), y0, args=(P,), rtol=1e-6).y[:, -1] ** 2)
    profile = C.profile(loss, Y0, schedules=[C.StoreAll(), *SCHEDULES], tier="sweep", seconds=0.0)
    n = profile.loops[0].steps
    for x in profile.schedules:
        own = x.schedule.resolve(None, profile.loops[0].state_bytes)
        assert x.predicted_steps == own.predicted_steps(n)
        again = n if x.disk_bytes else 0  # states on disk do not outlive the forward pass, which is made again
        assert x.steps == x.predicted_steps + again, x.schedule
    assert profile[-1].disk_bytes == 2 * 8 * (2 + 4 + 2)  # states with their control and cached derivative


def test_gradients_take_the_memory_of_their_schedule():
    def field(t, y):
        return np.sin(3.0 * y) - y * np.cos(t)

    def loss(y0, schedule):
        return np.sum(fad.solve_ivp(field, (0, 3.0), y0, checkpoint=schedule).y[:, -1] ** 2)

    y0 = np.linspace(0.1, 1.0, 4_000)
    schedules = [C.StoreAll(), C.Revolve(6), C.Periodic(5), C.StoreNone(), C.Auto(600_000), C.Multistage(2, 6)]
    profile = C.profile(lambda y0: loss(y0, None), y0, schedules=schedules, tier="sweep", seconds=0.0)
    size = profile.loops[0].state_bytes
    least = profile.memory(profile[3])
    for x in profile.schedules:
        beyond = profile.memory(x) - least  # of what any adjoint takes
        predicted = x.predicted_bytes - profile[3].predicted_bytes
        assert abs(beyond - predicted) <= 1.5 * size, (x.schedule, beyond / size, predicted / size)


def test_stats_say_what_a_gradient_takes():
    size = None
    for schedule in (C.Revolve(4), C.Periodic(6), C.StoreNone(), C.Auto(3000), C.Multistage(2, 3)):
        found = fad.solve_ivp(swing, (0, 4.0), Y0, args=(P,), checkpoint=schedule).stats
        size = size or found["checkpoint_bytes"] // 6
        own, n = schedule.resolve(None, size), found["accepted"]
        assert found["checkpoint_bytes"] == own.predicted_bytes(n, size)
        assert found["recomputed"] == own.predicted_steps(n) - (n - 1)


# ── schedules ─────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("schedule", [C.Periodic(1), C.Periodic(7), C.Periodic(50), C.StoreNone()], ids=repr)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 40])
def test_plans_are_those_of_a_known_number_of_steps(schedule, n):
    state, rows, stored = schedule.open_state(40), new_buffer(), {}
    for k in range(n - 1):  # step k is not the last one
        slot = online.choose(state, k)
        if slot >= 0:
            stored[slot] = k
    assert online.is_possible(state, schedule.open_state(40), n)
    assert online.finish(state, n) == 1
    found = rows[: planning.plan(state, rows)]
    np.testing.assert_array_equal(found, schedule.array(n))
    forward = found[: np.argmax(found[:, 0] == C.Code.REVERSE)] if n else found
    for code, start, stop, slot in forward.tolist():  # what the plan has stored until then is there
        if slot >= 0:
            count = 1 if code == C.Code.STORE else stop - start
            assert [stored[slot + i] for i in range(count)] == list(range(start, start + count))
    assert len(stored) <= sum(schedule.slots(n)) <= sum(schedule.open_slots(40))


def test_revolve_is_online_since_that_takes_no_more_steps_than_to_count_them_first():
    for c in (1, 2, 3, 10, 40):
        for n in (1, 2, 3, 5, 10, 60, 200, 1000):
            own = C.Revolve(c).resolve(None, 8)
            assert own == C.Online(c) and own.predicted_bytes(n, 8) <= 8 * (c + 2)
            assert own.predicted_steps(n) <= C.Revolve(c).predicted_steps(n) + n


@pytest.mark.parametrize("schedule", [C.Online(1, disk=4), C.Online(3, disk=2)], ids=repr)
def test_states_beyond_those_in_memory_are_on_disk(schedule):
    for n in (0, 1, 2, 3, 5, 30, 200):
        C.verify(schedule, n)
        memory, disk = schedule.slots(n)
        assert (memory, disk) == schedule.open_slots(n)[:1] + (min(schedule.disk, max(n - 1 - memory, 0)),)
        assert schedule.predicted_steps(n) == C.Online(schedule.snapshots + schedule.disk).predicted_steps(n)


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_schedules_that_cannot_be_say_what_to_write():
    class Own(C.Schedule):
        def actions(self, n_steps):
            return C.StoreNone().actions(n_steps)

    with pytest.raises(fad.ScheduleError, match=r"Online\(snapshots\)[\s\S]*test_open_schedules"):
        gradient(Own())
    with pytest.raises(fad.ScheduleError, match=r"at least \d+ bytes"):
        gradient(C.Auto(50))
    with pytest.raises(fad.ScheduleError, match="max_steps"):
        fad.grad(lambda x: fad.while_loop(lambda s: s < 9, lambda s: s * 2, x, checkpoint=C.Periodic(3)))(1.0)
    with pytest.raises(fad.ScheduleError, match="disk"):
        C.Online(3, disk=-1)
