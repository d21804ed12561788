"""Jacobians and patterns that the user gives, as SciPy takes them. The engine derives its own from the right-hand side;
they are compared with it where a solve starts."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fastad.control.parts import concrete
from fastad.errors import ShapeError
from fastad.execution.composites.evaluating import run
from fastad.ode.iteration import Iteration
from fastad.recording.source import at_line
from fastad.tables.reference import evaluate

if TYPE_CHECKING:
    from fastad.ode.problem import Options, Problem

_RELATIVE, _OF_LARGEST = 1e-4, 1e-7  # differences that finite differences have too, of an element and of its row

Start = tuple[np.ndarray, np.ndarray, np.ndarray]  # t, y, and the values that the right-hand side refers to


def check_jacobian(iteration: Iteration, options: "Options", problem: "Problem", start: Start) -> None:
    """ShapeError unless the user's Jacobian is that of the right-hand side at the start, and the user's pattern has all
    of its elements that are not 0 there."""
    t, y, _ = start
    if options.jac_sparsity is not None:
        _check_pattern(_matrix(options.jac_sparsity, iteration.n, "jac_sparsity"), _jacobian(iteration, start))
    jac = options.jac
    if callable(jac):
        jac = jac(float(t), y, *concrete(problem.args))
    if jac is not None:
        _check_values(_matrix(jac, iteration.n, "jac"), _jacobian(iteration, start))


def _jacobian(iteration: Iteration, start: Start) -> np.ndarray:
    """∂f/∂y at the start."""
    t, y, own = start
    slope = iteration.slope
    structure = slope.compressed.structure
    elements = evaluate(slope.compressed.table, [y, np.concatenate([np.ravel(t), own])], run)[-1]
    found = np.zeros(structure.shape)
    found[structure.rows(), structure.indices] = elements
    return found


def _matrix(given: Any, n: int, name: str) -> np.ndarray:
    found = np.asarray(given.toarray() if hasattr(given, "toarray") else given)
    found = found.reshape(1, 1) if n == 1 and found.size == 1 else found
    if found.shape != (n, n):
        raise ShapeError(f"`{name}` is expected to have shape {(n, n)}{at_line()}, but actually has {found.shape}.")
    return found


def _check_values(given: np.ndarray, own: np.ndarray) -> None:
    largest = np.abs(own).max(axis=1, keepdims=True, initial=0.0)
    allowed = _RELATIVE * np.abs(own) + _OF_LARGEST * np.maximum(largest, np.abs(given))
    wrong = np.abs(given - own) - allowed
    wrong = np.where(np.isfinite(own), np.where(np.isnan(wrong), np.inf, wrong), 0.0)
    if np.all(wrong <= 0.0):
        return
    i, j = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    raise ShapeError(
        f"jac is not the Jacobian of fun at the start{at_line()}: its element [{i}, {j}] is {given[i, j]:.6g}, and the "
        f"derivative of component {i} by y[{j}] is {own[i, j]:.6g}. Leave jac out: fastad derives it"
    )


def _check_pattern(given: np.ndarray, own: np.ndarray) -> None:
    missing = (given == 0) & (own != 0.0)
    if missing.any():
        i, j = np.unravel_index(int(np.argmax(missing)), missing.shape)
        raise ShapeError(
            f"jac_sparsity has no element [{i}, {j}]{at_line()}, but the derivative of component {i} of fun by y[{j}] "
            f"is {own[i, j]:.6g} at the start. Leave jac_sparsity out: fastad finds the pattern"
        )
