"""Profiles: predicted and measured figures by program, tier and source line, also of a layered network."""

import inspect
from collections import Counter

import numpy as np
import pytest

import fastad as fad

RNG = np.random.default_rng(5)
WEIGHTS = [RNG.normal(size=(10, 10)) / 3 for _ in range(6)]
READOUT = RNG.normal(size=(1, 10))


def network(x):
    """A layered network: 10 inputs, 6 layers of 10, one output."""
    for W in WEIGHTS:
        x = np.tanh(W @ x)
    return READOUT @ x


@pytest.fixture(scope="module")
def example():
    return fad.profile(network, np.full(10, 0.1), seconds=0.01)


def test_a_layered_network(example):
    """Forward: O(6100) work and O(10) memory; reverse: O(610) work and O(60) memory."""
    c = example.cost
    assert (c.d, c.m) == (10, 1)
    assert c.d * c.tangent.each.products == 6100 and c.m * c.adjoint.each.products == 610
    assert c.tangent.bytes <= 8 * 4 * 10 and 8 * 60 <= c.adjoint.bytes <= 8 * 85
    assert example.mode == "rev"


def test_counted_operations_are_the_predicted_ones(example):
    assert [p.name for p in example.programs] == ["value", "JVP", "VJP", "Jacobian, 10 JVPs", "Jacobian, 1 VJP"]
    for p in example.programs:
        assert p.operations == pytest.approx(p.predicted_operations, rel=0.03)
    assert example["Jacobian, 10"].operations > 4 * example["Jacobian, 1 "].operations


def test_measured_memory_of_the_sweeps_is_the_predicted_one():
    x = np.linspace(0, 1, 20_000)
    p = fad.profile(lambda x: np.sum(np.sin(x) * np.exp(-x * x)), x, tiers=["sweep"], seconds=0.01)
    assert "gradient" in [q.name for q in p.programs]
    for q in p.programs:
        if "sweep" in q.measured:
            assert q.measured["sweep"].bytes == pytest.approx(q.planned_bytes["sweep"], rel=0.1)
    assert "Jacobian, 20,000 JVPs: not run in sweep: it would take" in str(p) and p.fastest_mode is None


def test_measured_memory_of_native_code_is_the_planned_one():
    x = np.linspace(0, 1, 50_000)
    p = fad.profile(lambda x: np.sum(np.sin(x) * np.exp(-x * np.cumsum(x))), x, tiers=["native"], seconds=0.01)
    for name in ("value", "gradient", "JVP"):
        planned = p[name].planned_bytes["native"]
        # what Python keeps of a first call counts too
        assert p[name].measured["native"].bytes == pytest.approx(planned, rel=0.02, abs=32_768)


def test_both_tiers_are_measured(example):
    for p in example.programs:
        for tier in ("sweep", "native"):
            m = p.measured[tier]
            assert 0 < m.seconds < 0.1 and m.calls >= 5 and m.bytes > 0
    assert example.fastest_mode in ("fwd", "rev")
    assert example.ratio(example["value"], "native") == 1.0


def test_shares_of_source_lines(example):
    """Operations as counted by hand; every row that computes something belongs to one line."""
    layers, last = example.lines
    lines, start = inspect.getsourcelines(network)
    wanted = (layers, "x = np.tanh(W @ x)", 6 * (100 + 100 + 10)), (last, "return READOUT @ x", 10 + 10)
    for line, text, operations in wanted:
        number = start + next(k for k, written in enumerate(lines) if written.strip() == text)
        assert (line.source, line.place, line.operations) == (text, f"test_profile.py:{number}", operations)
        assert line.share == operations / example["value"].operations
    table = fad.trace(network, np.full(10, 0.1))
    computing = [table.line_of(i).number for i, row in enumerate(table.rows()) if row.name not in ("input", "const")]
    assert {line.number: line.rows for line in example.lines} == Counter(computing)


def test_only_the_chosen_arguments_are_differentiated():
    X, y = RNG.normal(size=(50, 3)), np.ones(50)
    f = lambda w, X, y, name: np.sum((X @ w - y) ** 2)
    assert fad.profile(f, np.ones(3), X, y, "name", tiers=[]).cost.d == 3
    assert fad.profile(f, np.ones(3), X, y, "name", argnums=(0, 2), tiers=[]).cost.d == 53
    with pytest.raises(fad.DerivativeError):
        fad.profile(f, np.ones(3), X, y, "name", argnums=3)
    with pytest.raises(ValueError, match="tiers"):
        fad.profile(f, np.ones(3), X, y, "name", tiers=["gpu"])


def test_the_report_prints_well(example):
    text = str(example).splitlines()
    assert text[0].startswith("profile of network: ") and "10 inputs, 1 result; Jacobian by reverse mode" in text[0]
    first, last = (next(i for i, x in enumerate(text) if x.startswith(w)) for w in ("value", "Jacobian, 1 VJP"))
    assert len({len(line) for line in text[first : last + 1]}) == 1  # aligned
    assert example._repr_html_().count("<table>") == 2
    with pytest.raises(KeyError, match="value"):
        example["hessian"]


def test_the_picture(example, tmp_path):
    pytest.importorskip("matplotlib")
    figure = example.plot(tmp_path / "profile.png")
    assert (tmp_path / "profile.png").stat().st_size > 10_000
    titles = [axes.get_title().split(" (")[0] for axes in figure.axes]
    assert titles == ["operations", "peak memory", "time of a call, measured"]
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert len(texts) == 2 * len(example.programs)
