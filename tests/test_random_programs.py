"""Random programs agree in all executors and with independent references; errors that campaigns found stay fixed."""

import os

import campaign
import numpy as np
import pytest
from hypothesis import given, settings
from random_programs import draw_program, minimised, programs

import fastad as fad
from fastad.execution.native import NativeKernel
from fastad.execution.sweeps.kernel import SweepKernel
from fastad.tables.builder import Builder
from fastad.tables.reference import evaluate_rows

THOROUGH = os.environ.get("FASTAD_TEST_PROFILE") == "thorough"
CHUNKS, PROGRAMS = 8, 15 if THOROUGH else 10  # programs of a chunk


def complain(errors, counts, complaints):
    assert not complaints, "\n".join(f"python -m tests.campaign --seed {s}: {c}" for s, c in sorted(complaints.items()))
    assert counts["smooth points"] > 0.9 * counts["points"] and counts["comparisons"] > 10 * counts["programs"]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_programs_agree(chunk):
    seeds = range(chunk * PROGRAMS, (chunk + 1) * PROGRAMS)
    found = {seed: campaign.check_seed(seed, jax_share=0)[2] for seed in seeds}
    wrong = {seed: complaint for seed, complaint in found.items() if complaint}
    assert not wrong, "\n".join(f"python -m tests.campaign --seed {s}: {c}" for s, c in wrong.items())


@given(programs())
@settings(max_examples=400 if THOROUGH else 20)
def test_any_program_agrees(program):
    with np.errstate(all="ignore"):
        campaign.Check(program, native_share=10**9, jax_share=0).run()


@pytest.mark.peers
def test_programs_agree_with_jax():
    pytest.importorskip("jax")
    judged, seed = 0, 0
    while judged < 2:
        _, counts, complaint = campaign.check_seed(seed, jax_share=1, native_share=10**9)
        assert complaint is None, complaint
        judged, seed = judged + counts["judged by JAX"], seed + 4


@pytest.mark.slow
def test_campaign():
    complain(*campaign.campaign(range(10_000)))


def test_programs_repeat_and_shrink():
    program = draw_program(77)
    assert program.source() == draw_program(77).source()
    small = minimised(program, lambda p: len(p.statements) >= 1)
    assert len(small.statements) == len(small.outputs) == 1


def test_the_campaign_notices_what_is_wrong(monkeypatch):
    """A wrong derivative and an executor that differs from the others are both reported."""
    program = next(p for p in map(draw_program, range(100)) if "np.tanh(" in p.source() and not p.traits)
    assert campaign.check_seed(program.seed, jax_share=0)[2] is None
    right = campaign.executed
    monkeypatch.setattr(campaign, "executed", lambda *a: [x * (1 + 1e-10) for x in right(*a)])
    assert "Disagreement" in campaign.check_seed(program.seed, jax_share=0)[2]
    monkeypatch.undo()
    push = type(program).push
    monkeypatch.setattr(type(program), "push", lambda *a: [1e-9 + x for x in push(*a)])
    assert "complex step" in campaign.check_seed(program.seed, jax_share=0)[2]


# ── found by campaigns ────────────────────────────────────────────────────────────────────────────────────────
def test_sum_of_a_repeated_array_of_one_element():
    assert fad.grad(lambda x: np.sum(np.repeat(x, 3)))(np.array([2.0])) == [3.0]


def test_triangles_of_vectors():
    x = np.array([1.0, 2.0, 3.0])
    for function in (np.tril, np.triu):
        np.testing.assert_array_equal(fad.jit(function)(x), function(x))


def test_a_number_times_an_integer_value_is_a_float():
    table = fad.trace(fad.grad(lambda x: np.sum(np.maximum(x, 0.3))), np.ones(3))
    half = [row for row in table.rows() if row.name == "multiply"]
    assert half and all(row.dtype == "d" for row in half)


def test_arrays_of_objects_beside_plain_numbers_say_what_to_use():
    with pytest.raises(fad.RecordingError, match=r"test_random_programs.py:\d+.*np.stack"):
        fad.jit(lambda x: np.log(np.array([x, 1.0], dtype=object)))(2.0)
    assert fad.grad(lambda x: np.sum(np.log(np.stack([x, 1.0]))))(2.0) == 0.5


def test_elements_that_are_views():
    """x[..., 0] of a vector is a view without axes, as in NumPy; x[0] is not."""

    def function(x):
        y, z, w = x * 2.0, x * 3.0, x * 4.0
        y[..., 0][...] = 5.0
        v = z[..., 1]
        v += 1.0
        s, e = w[0], np.squeeze(w[2:])
        s += 7.0
        e *= 2.0
        return y, z, w, s, e

    x = np.array([1.0, 2.0, 3.0])
    for found, wanted in zip(fad.jit(function)(x), function(x), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_repetition_of_a_number_along_its_only_axis():
    assert fad.jit(lambda x: np.repeat(x, 3, axis=0))(2.0).tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("inner", [1, 2])
def test_recurrences_begin_with_nothing_multiplied(inner, reverse):
    """z_0 = y_0, in the reference interpreter, the sweeps and native code, even where x_0 is infinite."""
    b = Builder()
    x, y = b.input((3, inner)), b.input((3, inner))
    table = b.table([b.emit("linrec", (x, y), (1, 3, inner, reverse), (3, inner))])
    given = [np.full((3, inner), np.inf), np.ones((3, inner))]
    given[0][1] = 2.0
    wanted = np.array([1.0, 3.0, np.inf])[:: -1 if reverse else 1].repeat(inner)
    assert evaluate_rows(table, given)[-1].reshape(-1).tolist() == wanted.tolist()
    for kernel in (SweepKernel(table), NativeKernel(table)):
        assert campaign.executed(kernel, given)[0].tolist() == wanted.tolist()
