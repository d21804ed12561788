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
    """ShapeError unless the user's Jacobian is that of the right-hand side at the start, and the user's pattern and
    bands have all of its elements that are not 0 there."""
    t, y, _ = start
    if options.jac_sparsity is not None:
        _check_pattern(_matrix(options.jac_sparsity, iteration.n, "jac_sparsity"), _jacobian(iteration, start))
    if options.bands is not None:
        _check_bands(*options.bands, _jacobian(iteration, start))
    jac = options.jac
    if callable(jac):
        jac = jac(float(t), y, *concrete(problem.args))
    if jac is not None:
        jac = concrete(jac)  # which may refer to recorded values
        n, bands = iteration.n, options.bands
        given = _matrix(jac, n, "jac") if bands is None else _unpacked(jac, n, *bands)
        _check_values(given, _jacobian(iteration, start))


def _jacobian(iteration: Iteration, start: Start) -> Any:
    """∂f/∂y at the start, sparse."""
    from scipy.sparse import csr_array

    t, y, own = start
    structure, table = iteration.slope.compressed.structure, iteration.slope.compressed.table
    elements = evaluate(table, [y, np.concatenate([np.ravel(t), own])], run)[-1]
    return csr_array((elements, (structure.rows(), structure.indices)), shape=structure.shape)


def _matrix(given: Any, n: int, name: str) -> Any:
    from scipy.sparse import csr_array

    given = given.toscipy() if hasattr(given, "toscipy") else given  # a matrix of fad.sparse
    given = given if hasattr(given, "tocsr") else np.asarray(given, float)
    found = csr_array(np.reshape(given, (1, 1)) if n == 1 and np.shape(given) in ((), (1,)) else given)
    if found.shape != (n, n):
        raise ShapeError(f"`{name}` is expected to have shape {(n, n)}{at_line()}, but actually has {found.shape}.")
    return found


def _unpacked(given: Any, n: int, low: int, high: int) -> Any:
    """The matrix whose diagonals are packed: given[high + i - j, j] is its element [i, j]."""
    from scipy.sparse import dia_array

    packed = np.asarray(given, float)
    if packed.shape != (low + high + 1, n):
        raise ShapeError(
            f"with lband={low} and uband={high} jac has its diagonals as rows: `jac` is expected to have shape "
            f"{(low + high + 1, n)}{at_line()}, but actually has {packed.shape}. Leave lband and uband out for a matrix"
        )
    return dia_array((packed, np.arange(high, -low - 1, -1)), shape=(n, n)).tocsr()


def _at(matrix: Any, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Elements of a sparse matrix."""
    found = matrix[i, j]
    return np.ravel(found.toarray() if hasattr(found, "toarray") else found)


def _check_values(given: Any, own: Any) -> None:
    difference = (given - own).tocoo()
    i, j = difference.row, difference.col
    theirs, ours = _at(given, i, j), _at(own, i, j)
    largest = np.ravel(abs(own).max(axis=1).toarray())[i] if len(i) else np.zeros(0)
    allowed = _RELATIVE * np.abs(ours) + _OF_LARGEST * np.maximum(largest, np.abs(theirs))
    wrong = np.abs(theirs - ours) - allowed
    wrong = np.where(np.isfinite(ours), np.where(np.isnan(wrong), np.inf, wrong), 0.0)
    if np.all(wrong <= 0.0):
        return
    k = int(np.argmax(wrong))
    raise ShapeError(
        f"jac is not the Jacobian of fun at the start{at_line()}: its element [{i[k]}, {j[k]}] is {theirs[k]:.6g}, and "
        f"the derivative of component {i[k]} by y[{j[k]}] is {ours[k]:.6g}. Leave jac out: fastad derives it"
    )


def _check_pattern(given: Any, own: Any) -> None:
    entries = own.tocoo()
    i, j = entries.row, entries.col
    missing = (_at(given, i, j) == 0.0) & (entries.data != 0.0)
    if missing.any():
        k = int(np.argmax(missing))
        raise ShapeError(
            f"jac_sparsity has no element [{i[k]}, {j[k]}]{at_line()}, but the derivative of component {i[k]} of fun "
            f"by y[{j[k]}] is {entries.data[k]:.6g} at the start. Leave jac_sparsity out: fastad finds the pattern"
        )


def _check_bands(low: int, high: int, own: Any) -> None:
    entries = own.tocoo()
    below = entries.row.astype(np.int64) - entries.col
    missing = ((below > low) | (-below > high)) & (entries.data != 0.0)
    if missing.any():
        k = int(np.argmax(missing))
        i, j = entries.row[k], entries.col[k]
        raise ShapeError(
            f"lband={low} and uband={high} leave out element [{i}, {j}]{at_line()}, but the derivative of component "
            f"{i} of fun by y[{j}] is {entries.data[k]:.6g} at the start. Leave them out: fastad finds the band"
        )
