"""Pictures of schedules, and what loops take under them, predicted and measured."""

import numpy as np
import pytest

import fastad as fad
from fastad.checks.checkpoints import scheduled

C = fad.checkpoint


def bars(figure):
    """(length, colour) of the horizontal bars in the upper picture: how long states were kept."""
    found = []
    for collection in figure.axes[0].collections:
        if collection.get_label().startswith("state"):
            found += [(s[1][0] - s[0][0], collection.get_label()) for s in collection.get_segments()]
    return found


@pytest.mark.parametrize("schedule", [
    C.StoreAll(), C.StoreNone(), C.Revolve(3), C.Periodic(5), C.Multistage(2, 4), C.Online(4), C.Auto(10**4),
], ids=repr)  # fmt: skip
@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_every_schedule_can_be_drawn(schedule, n, tmp_path):
    path = tmp_path / "schedule.png" if n == 30 else None  # writing takes longer than drawing
    figure = C.draw(schedule, n, path)
    assert path is None or path.stat().st_size > 5000
    upper, lower = figure.axes
    lines = {c.get_label(): c.get_segments() for c in upper.collections}
    run = sum(s[1][1] - s[0][1] for s in lines["steps"])
    reversed_ = sum(s[0][1] - s[1][1] for s in lines["adjoint steps"])
    assert (run, reversed_) == (schedule.predicted_steps(n), n)  # by the heights of the lines
    memory, disk = schedule.slots(n)
    assert lower.get_ylim()[1] == pytest.approx(1.08 * max(memory + disk, 1))
    assert any(label == "state on disk" for _, label in bars(figure)) == (disk > 0)
    assert repr(schedule) in figure.get_suptitle()


def test_bars_are_as_long_as_states_are_kept():
    lengths = sorted(length for length, _ in bars(C.draw(C.StoreAll(), 5)))
    assert lengths == [1 + 2 * k for k in range(1, 5)]  # the state of step 3 − k: to the last one and back
    assert sorted(length for length, _ in bars(C.draw(C.Revolve(1), 3))) == [1 + 1 + 1 + 1 + 2]


def test_too_many_steps_are_not_drawn():
    with pytest.raises(ValueError, match="a picture cannot show"):
        C.draw(C.Revolve(10), 10**5)


# ── profiles ──────────────────────────────────────────────────────────────────────────────────────────────────
N, WIDTH = 40, 6
ALL = [C.StoreAll(), C.Revolve(4), C.Revolve(1), C.Periodic(6), C.Online(5), C.StoreNone(), C.Auto(600)]


def swing(x, k=0.1):
    """A loop that stores what the profiles look at, and one by its own schedule inside of steps."""
    inner = lambda y: fad.fori_loop(0, 3, lambda i, z: z + k * np.sin(z), y, checkpoint=C.StoreNone())
    last, totals = fad.scan(lambda y, a: (inner(y) * a, np.sum(y)), x, np.linspace(0.9, 1.1, N))
    return np.sum(last) + np.sum(totals)


@pytest.fixture(scope="module")
def profile():
    return C.profile(swing, np.linspace(0.0, 1.0, WIDTH), schedules=ALL, tier="sweep", seconds=0.0)


def test_steps_are_run_as_predicted(profile):
    assert [(x.name, x.steps, x.state_bytes) for x in profile.loops] == [("scan", N, 8 * WIDTH)]
    for schedule, x in zip(ALL, profile.schedules, strict=True):
        own = schedule.resolve(N, 8 * WIDTH)
        assert x.schedule == schedule
        assert x.steps == x.predicted_steps == own.predicted_steps(N)  # counted while it ran
        assert x.predicted_bytes == own.predicted_bytes(N, 8 * WIDTH)
        assert x.measured.seconds >= x.measured.fastest > 0 and x.predicted_seconds > 0
    assert profile[0].predicted_steps == N - 1


def test_predicted_seconds_follow_the_steps(profile):
    for x in profile.schedules:
        expected = (x.predicted_steps + 1) * profile.step_seconds + N * profile.adjoint_seconds
        assert x.predicted_seconds == pytest.approx(expected)


def test_memory_measured_follows_the_schedule(profile):
    found = {x.schedule: profile.memory(x) for x in profile.schedules}
    assert found[C.StoreAll()] > found[C.Revolve(4)] > found[C.Revolve(1)]


def test_gradients_do_not_depend_on_the_schedule():
    """Bitwise, and in every tier: a schedule says when a step is run, not what it computes."""
    x = np.linspace(0.0, 1.0, WIDTH)
    table = fad.trace(swing, x)
    for schedule in ALL:
        (loop,) = scheduled(table, schedule=schedule).subs
        assert loop.schedule == schedule
        (inner,) = loop.body.table.subs  # keeps its own
        assert inner.schedule == C.StoreNone()
    step = lambda y, a: (y + 0.1 * np.sin(y) * a, None)

    def loss(x, schedule):
        return np.sum(fad.scan(step, x, np.linspace(0.9, 1.1, N), checkpoint=schedule)[0])

    for tier in ("sweep", "native"):
        gradients = [fad.grad(lambda x, s=s: loss(x, s), tier=tier)(x) for s in (None, *ALL)]
        assert all(np.array_equal(g, gradients[0]) for g in gradients)


def test_profile_as_text_and_picture(profile, tmp_path):
    cells = profile.table()
    assert [row[0] for row in cells[2:]] == [repr(s) for s in ALL]
    assert len({len(row) for row in cells}) == 1
    assert cells[3][1:3] == (f"{profile[1].predicted_steps:,}",) * 2
    assert repr(C.Revolve(4)) in str(profile) and "<table>" in profile._repr_html_()
    figure = profile.plot(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").stat().st_size > 5000
    names = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {repr(s) for s in ALL} <= names


def test_no_schedule_in_memory_is_better_than_the_bound(profile):
    bound = profile.optimum()
    assert [s for _, s in bound] == sorted((s for _, s in bound), reverse=True)
    for x in profile.schedules:
        assert x.predicted_steps >= min(s for b, s in bound if b <= x.predicted_bytes)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
@pytest.mark.parametrize("schedule", [C.StoreNone(), C.StoreAll(), C.Revolve(3), C.Multistage(1, 2)], ids=repr)
def test_pictures_count_steps_and_states_in_whole_numbers(schedule, n):
    figure = C.draw(schedule, n)
    figure.draw_without_rendering()
    for axes in figure.axes:
        for ticks in (axes.get_xticks(), axes.get_yticks()):
            assert np.array_equal(ticks, np.round(ticks))


def test_what_takes_too_long_is_predicted_only():
    found = C.profile(swing, np.ones(WIDTH), schedules=[C.Revolve(3)], tier="sweep", seconds=0.0, max_seconds=0.0)
    assert found[0].measured is None and found[0].steps is None and found[0].predicted_steps == C.optimal_steps(N, 3)
    assert "—" in found.table()[2]
    found.plot()


def test_profile_says_what_it_cannot_do():
    with pytest.raises(fad.ScheduleError, match="no loop"):
        C.profile(lambda x: np.sum(x * x), np.ones(3))
    with pytest.raises(fad.DerivativeError):
        C.profile(lambda x: fad.scan(lambda y, a: (y * a, None), x, np.ones(3))[0], np.ones(3))
    with pytest.raises(ValueError, match="tiers"):
        C.profile(swing, np.ones(3), tier="fast")


@pytest.mark.parametrize("options", [{"method": "RK4", "step": 0.05}, {"rtol": 1e-8}], ids=["fixed", "adaptive"])
def test_solves_are_profiled(options):
    def swing(w):
        f = lambda t, y: np.array([y[1], -w * np.sin(y[0])])
        return np.sum(fad.solve_ivp(f, (0, 10), [1.0, 0.0], **options).y[:, -1] ** 2)

    found = C.profile(swing, 2.0, tier="sweep", seconds=0.01)
    steps = fad.solve_ivp(lambda t, y: np.array([y[1], -2.0 * np.sin(y[0])]), (0, 10), [1.0, 0.0], **options)
    assert found.loops[0].steps == steps.stats["accepted"]
    assert [x.steps for x in found.schedules] == [x.predicted_steps for x in found.schedules]
    assert len(found.table()) == 2 + len(found.schedules) > 4
