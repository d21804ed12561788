"""Pictures of schedules, and what loops take under them, predicted and measured."""

import pytest

import fastad as fad

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
    figure = C.draw(schedule, n, tmp_path / "schedule.png")
    assert (tmp_path / "schedule.png").stat().st_size > 5000
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
    with pytest.raises(ValueError, match="cannot be told apart"):
        C.draw(C.Revolve(10), 10**5)
