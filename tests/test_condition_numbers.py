"""`np.linalg.cond` of singular matrices, and errors of plain calls, which name the user's line."""

import numpy as np
import pytest

import fastad as fad
from fastad.errors import SingularMatrixError

NORMS = [1, -1, np.inf, -np.inf, "fro"]
SINGULAR = [np.ones((2, 2)), np.diag([1.0, 0.0]), np.zeros((2, 2))]


@pytest.mark.parametrize("p", NORMS)
def test_singular_matrices_have_an_infinite_condition_number_without_derivative(p):
    cond = lambda a: np.linalg.cond(a, p)
    regular = np.array([[1.0, 2.0], [3.0, 4.0]])
    for a in (*SINGULAR, regular, np.stack([regular, *SINGULAR])):
        np.testing.assert_allclose(fad.jit(cond)(a), np.linalg.cond(a, p))
    fad.check_grads(cond, (regular,), order=1)
    for transform in (fad.grad, lambda f: lambda a: fad.jvp(f, (a,), (np.eye(2),))):
        with pytest.raises(SingularMatrixError, match="test_condition_numbers"):
            transform(cond)(np.ones((2, 2)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: fad.sparse_jacobian(3),
        lambda: fad.grad(3),
        lambda: fad.linalg.sqrtm(-np.eye(2)),
        lambda: fad.linalg.sqrtm(np.zeros((2, 2))),
        lambda: fad.linalg.cho_factor(-np.eye(2)),
        lambda: fad.linalg.solve_banded((1, 1), np.zeros((3, 4)), np.ones(4)),
        lambda: fad.linalg.solve_triangular(np.zeros((2, 2)), np.ones(2)),
        lambda: fad.coloring.color(np.ones(3)),
        lambda: fad.coloring.color(np.eye(3), "other"),
        lambda: fad.coloring.color(np.triu(np.ones((3, 3))), "star"),
        lambda: fad.coloring.color(np.ones((2, 3)), "acyclic"),
    ],
)
def test_errors_of_plain_calls_name_the_line(call):
    with pytest.raises((fad.FastadError, TypeError, ValueError), match=r"test_condition_numbers\.py:\d+"):
        call()
