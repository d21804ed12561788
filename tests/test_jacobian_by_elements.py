"""Jacobians element by element are for few numbers: what they take to derive is bounded, whatever the arrays are."""

import numpy as np
import pytest

import fastad as fad
from fastad.sparsity import scalars


def chain(x, p):
    """Each component depends on its neighbours."""
    return x**3 + x - 0.3 * np.roll(x, 1) * p[0] - p[1]


def full(x, p):
    """Each component depends on all, in a handful of rows."""
    return np.tanh(x) + x - np.sin(p[0] * np.sum(x) * x) / x.shape[0] - p[1]


@pytest.mark.parametrize("f", [chain, full])
@pytest.mark.parametrize("n", [1, 2, 7, 40, 120, 400])
def test_no_more_rows_are_derived_than_the_limit_says(f, n, monkeypatch):
    derived = []

    def spy(table, wrt):
        derived.append(len(table))
        return tangent(table, wrt)

    tangent = scalars.tangent_table
    monkeypatch.setattr(scalars, "tangent_table", spy)
    table = fad.trace(f, np.linspace(0.1, 1.0, n), np.array([0.4, 0.2]))
    found = scalars.jacobian_by_elements(table, 10**9)
    assert sum(derived) <= scalars._MOST_ROWS
    assert found is not None or n > 7


@pytest.mark.parametrize("n", [3, 120])
def test_roots_of_full_equations_have_the_derivatives_of_differences(n):
    def total(p):
        return np.sum(fad.root(full, np.full(n, 0.2), (p,)).x ** 2)

    p, v, h = np.array([0.4, 0.2]), np.array([0.6, -0.8]), 1e-5
    slope = (total(p + h * v) - total(p - h * v)) / (2 * h)
    assert fad.grad(total)(p) @ v == pytest.approx(slope, rel=1e-6)
    assert fad.jvp(total, (p,), (v,))[1] == pytest.approx(slope, rel=1e-6)
