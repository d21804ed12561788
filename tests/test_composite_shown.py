"""What is shown of composite rows: listings, drawings, and predicted operations."""

import numpy as np
import pytest

import fastad as fad
from fastad.tables.passes.cost import count_operations, peak_bytes, sub_operations
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.shown.drawing import to_dot, to_svg
from fastad.tables.shown.graph import graph
from fastad.tables.shown.listing import listing

X = np.linspace(0.3, 1.2, 30)
C = fad.checkpoint


def step(y, e):
    return np.sin(y * e) + fad.cond(y > 0, np.cos, np.exp, y), y


def scanned(schedule=None):
    return fad.trace(lambda x: fad.scan(step, x[0], x, checkpoint=schedule)[0], X)


def loop_of(table):
    (sub,) = (row.sub for row in table.rows() if row.sub is not None)
    return sub


def test_a_listing_shows_what_rows_run_each_once():
    text = listing(adjoint_table(scanned(C.Revolve(2)), [0]))
    assert text.count("loop of 30 steps, Revolve(snapshots=2)") == 2  # the loop and its adjoint
    assert text.count("\n    body: scan") == 2 and text.count("body: scan, sub-program (shown above)") == 1
    assert "adjoint of the body" in text
    lines = text.splitlines()
    assert sum("choice among 2 branches" in x and "shown above" not in x for x in lines) == 2  # value and adjoint
    assert all(x.startswith(("%", "op table", "return", "sub ", "    ")) for x in lines)


def test_kinds_are_told():
    limited = fad.trace(lambda a: fad.while_loop(lambda y: y < 9, lambda y: y * a, a, max_steps=1000), 2.0)
    assert "loop while a condition holds, for 1,000 steps at most" in listing(limited)
    many = fad.trace(fad.vmap(lambda a: fad.while_loop(lambda y: y < 9, lambda y: y * a, a, max_steps=9)), X)
    assert "30 lanes" in listing(many)
    backwards = fad.trace(lambda x: fad.scan(step, x[0], x, reverse=True)[0], X)
    assert "loop of 30 steps, backwards" in listing(backwards)


def test_a_drawing_names_the_loop():
    (label,) = (node.label for node in graph(scanned(C.Revolve(2))).nodes if "loop" in node.label)
    assert label == "scan: loop of 30 steps, Revolve(snapshots=2)"
    assert "loop of 30 steps" in to_dot(scanned()) and "loop of 30 steps" in to_svg(scanned())


def test_a_loop_costs_what_its_steps_cost():
    loop = loop_of(scanned())
    body = count_operations(loop.body.table)
    assert body.total > 0 and sub_operations(loop) == 30 * body
    assert count_operations(scanned()).total == 30 * body.total


@pytest.mark.parametrize("schedule", [C.StoreNone(), C.Revolve(1), C.Revolve(4), C.Periodic(7)], ids=repr)
def test_an_adjoint_counts_the_steps_that_its_schedule_runs_again(schedule):
    table = scanned(schedule)
    body = count_operations(loop_of(table).body.table).total
    own, all_stored = (count_operations(adjoint_table(t, [0])).total for t in (table, scanned()))
    # The forward sweep of n - 1 steps is that of the value itself.
    assert own - all_stored == (C.verify(schedule, 30).steps - 29) * body


def test_choices_and_lanes():
    cond = loop_of(fad.trace(lambda x: fad.cond(x > 0, lambda x: np.sin(np.exp(x)), np.cos, x), 1.0))
    assert sub_operations(cond).functions == 2
    many = fad.trace(fad.vmap(lambda a: fad.while_loop(lambda y: y < 9, lambda y: y * a, a, max_steps=9)), X)
    lanes = loop_of(many)
    assert sub_operations(lanes) == 30 * sub_operations(lanes.sub)


def test_stored_states_count_as_memory():
    n = 30
    few, many = (peak_bytes(adjoint_table(scanned(s), [0])) for s in (C.Revolve(2), C.StoreAll()))
    assert 8 * (n - 5) <= many - few + 8 * 20  # the planner's state is kept with the few


def test_costs_and_profiles_of_loops_are_made():
    f = lambda x: fad.scan(step, x[0], x, checkpoint=C.Revolve(3))[0]
    assert "Jacobian" in str(fad.trace(f, X).cost())
    profile = fad.profile(f, X, tiers=["sweep"], seconds=0.01)
    assert profile["gradient"].measured["sweep"].seconds > 0
    assert profile["value"].operations == profile.cost.value.once.total
