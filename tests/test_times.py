"""Estimates of compile times: what they learn, and what they are kept in."""

import json

import numpy as np
import pytest

import fastad as fad
from fastad.execution import executors
from fastad.execution.executors import MOST_ROWS, Executor, Policy, compile_seconds
from fastad.execution.machine import cache, times
from fastad.execution.machine.times import Times
from fastad.execution.request import Request
from fastad.execution.row_kinds import program_tables, row_counts

FIRST = {"a": 1e-3, "b": 2e-4, "c": 1e-2}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache folder of its own."""
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    return tmp_path / "times.json"


# ── learning ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("factors", [(3.0, 3.0, 3.0), (0.2, 5.0, 1.0), (1.0, 0.3, 8.0)])
def test_estimates_come_close_to_what_things_take(kept, factors, rng):
    own, true = Times(FIRST), {kind: FIRST[kind] * by for kind, by in zip(FIRST, factors, strict=True)}
    errors = []
    for _ in range(60):
        counts = dict(zip(FIRST, rng.integers(0, [100, 500, 10]).astype(float), strict=True))
        taken = sum(true[kind] * count for kind, count in counts.items()) * rng.uniform(0.8, 1.25)
        errors.append(abs(np.log(own.expected(counts) / taken)))
        own.measured(counts, taken)
    assert np.median(errors[30:]) < 0.3 and np.median(errors[30:]) < np.median(errors[:5])


def test_what_a_thing_did_not_have_is_not_changed_by_it(kept):
    own = Times(FIRST)
    own.measured({"a": 10.0, "b": 0.0}, 1.0)
    assert own.expected({"a": 1.0}) > FIRST["a"]
    assert own.expected({"b": 1.0, "c": 1.0}) == FIRST["b"] + FIRST["c"]


def test_measurements_that_cannot_be_are_not_believed(kept):
    own = Times(FIRST)
    for taken in (0.0, -1.0, float("nan")):
        own.measured({"a": 1.0}, taken)
    assert own.expected({"a": 1.0}) == FIRST["a"]
    for _ in range(50):
        own.measured({"a": 1.0}, 1e9)
    assert own.expected({"a": 1.0}) <= 30.001 * FIRST["a"]


# ── on disk ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_other_processes_go_on_with_what_was_learnt(kept):
    one, other = Times(FIRST), Times(FIRST)
    one.measured({"a": 1.0}, 4e-3)
    other.expected({"a": 1.0})  # has read the file before it was there
    one.store()
    other.measured({"c": 1.0}, 4e-2)
    other.store()
    third = Times(FIRST)
    for kind, by in (("a", one), ("b", one), ("c", other)):
        assert third.expected({kind: 1.0}) == by.expected({kind: 1.0})
    assert set(json.loads(kept.read_text())[times._processor()]) == {"a", "c"}


def test_each_processor_has_its_own(kept, monkeypatch):
    one = Times(FIRST)
    one.measured({"a": 1.0}, 4e-3)
    one.store()
    monkeypatch.setattr(times, "_processor", lambda: "another")
    assert Times(FIRST).expected({"a": 1.0}) == FIRST["a"]


@pytest.mark.parametrize("text", [
    b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"[" * 50_000, b'{"P": 3}', b'{"P": {"a": "1"}}', b'{"P": {"a": null}}',
    b'{"P": {"a": NaN}}', b'{"P": {"a": -1.0}}', b'{"P": {"a": 1e999}}', b'{"P": {"z": 1.0}}', b'{"P": {"a": true}}',
    b'{"P": {"a": 0.001}}' + b" " * 200_000,
])  # fmt: skip
def test_a_file_of_another_kind_is_no_harm(kept, monkeypatch, text):
    monkeypatch.setattr(times, "_processor", lambda: "P")
    kept.write_bytes(text)
    own = Times(FIRST)
    assert own.expected({"a": 1.0}) == FIRST["a"]
    own.measured({"a": 1.0}, 4e-3)
    own.store()
    assert Times(FIRST).expected({"a": 1.0}) == own.expected({"a": 1.0})


def test_numbers_far_from_the_first_ones_are_bounded(kept, monkeypatch):
    monkeypatch.setattr(times, "_processor", lambda: "P")
    kept.write_text('{"P": {"a": 1e9, "b": 1e-300}}')
    own = Times(FIRST)
    assert own.expected({"a": 1.0}) == 30 * FIRST["a"] and own.expected({"b": 1.0}) == FIRST["b"] / 30


def test_a_folder_that_cannot_be_written_to_is_no_harm(monkeypatch):
    for folder in (None, cache.Path("/proc/none")):
        monkeypatch.setattr(cache, "folder", lambda folder=folder: folder)
        own = Times(FIRST)
        own.measured({"a": 1.0}, 1.0)
        own.store()


# ── of tables ─────────────────────────────────────────────────────────────────────────────────────────────────
def test_rows_by_kind():
    def f(x, y, a):
        z = np.sin(x) * y[0]  # a map, a number, a map
        return np.sum(a * a, axis=0) + z, y[1:] * y[0]  # a map, a reduction, a map; numbers

    found = row_counts(fad.trace(f, np.ones(100), np.ones(5), np.ones((3, 100))))
    assert found["table"] == 1 and found["map"] == 4 and found["reduction"] == 1
    assert found["scalar"] >= 1 and found["few"] >= 4


def test_the_programs_of_loops_count():
    def f(x):
        return fad.fori_loop(0, 10, lambda i, y: np.sin(y) + np.cos(y), x)

    table = fad.trace(f, 1.0)
    assert len(list(program_tables(table))) >= 2
    assert compile_seconds(Request(table)) > compile_seconds(Request(fad.trace(np.sin, 1.0)))


def test_the_longest_programs_are_not_compiled_unasked(monkeypatch):
    table = fad.trace(lambda x: np.sin(x) * x, 1.0)
    assert np.isfinite(compile_seconds(Request(table, "adjoint", (0,))))
    monkeypatch.setattr(executors, "MOST_ROWS", 2)
    assert compile_seconds(Request(table, "adjoint", (0,))) == np.inf
    assert MOST_ROWS > 1e4


# ── the choice ────────────────────────────────────────────────────────────────────────────────────────────────
def choices(monkeypatch, estimates, start):
    """Which executor each of several requests begins with, where `start` seconds get the first one ready."""
    ready, spent = set(), Times({"x": 1.0})
    monkeypatch.setattr(executors, "TIMES", spent)
    request, found = Request(fad.trace(np.sin, 1.0)), []
    for estimate in estimates:
        first = Executor("sweep", lambda r: 0.0 if ready else start, lambda r, t: True, None)
        then = Executor("native", lambda r, estimate=estimate: estimate, lambda r, t: False, None)
        chosen = Policy(first, then).start(request, 1)
        found.append(chosen.name)
        if chosen is then:
            spent.measured({"x": 1.0}, estimate)
        else:
            ready.add("sweep")
    return found


@pytest.mark.parametrize(("estimates", "start", "compiled"), [
    ([0.01] * 40, 0.4, 19),  # each alone is below the start-up; all together are not
    ([0.1, 0.05, 0.2, 0.01], 0.4, 2),
    ([0.3], 0.4, 0),
    ([0.01] * 40, 0.0, 0),
])  # fmt: skip
def test_all_that_a_process_compiles_is_weighed_against_one_start(monkeypatch, kept, estimates, start, compiled):
    found = choices(monkeypatch, estimates, start)
    assert found == ["native"] * compiled + ["sweep"] * (len(estimates) - compiled)
    assert sum(estimates[:compiled]) <= start / 2


def test_what_is_measured_while_it_is_kept_is_kept_later(kept, monkeypatch):
    own = Times(FIRST)
    own.measured({"a": 1.0}, 2e-3)
    write = times.folders.write

    def measuring(path, data):
        own.measured({"b": 1.0}, 1e-3)
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(times.folders, "write", measuring)
        own.store()
    own.store()
    assert set(json.loads(kept.read_text())[times._processor()]) == {"a", "b"}
