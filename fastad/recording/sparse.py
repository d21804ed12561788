"""Sparse linear algebra, entry by entry: the rows for recorded values, their definitions for plain ones.

Places of entries (see `fastad.primitives.sparse_values.as_places`) and patterns are arrays that somebody keeps and
nobody changes: tables refer to them instead of copying them, but for the places of products.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.primitives import primitive
from fastad.primitives.sparse_values import as_places
from fastad.recording.operands import as_recorded, is_recorded, to_ref
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder, current_recorder, recording_error
from fastad.recording.source import at_line
from fastad.tables.builder import Ref, dtype_char

Shape = tuple[int, ...]


def _row(
    name: str, places: np.ndarray, operands: Sequence[Any], statics: Shape, shape: Shape,
    fixed: Callable[[Recorder, np.ndarray], Ref] = to_ref,
) -> Any:  # fmt: skip
    """The value of a row; of plain arrays, its definition. `fixed` makes the operand that has the places."""
    recorder = current_recorder()
    if recorder is None or not is_recorded(list(operands)):
        return primitive(name).numpy(statics, shape, places, *operands)
    values = [as_recorded(x, recorder) for x in operands]
    kinds = {x.dtype.char for x in values if x.dtype.kind == "f"}
    refs = [fixed(recorder, places), *(x.ref for x in values)]
    return Recorded(recorder, recorder.emit(name, refs, statics, shape, "f" if kinds == {"f"} else "d"))


def product(places: np.ndarray, data: Any, x: Any, shape: Shape) -> Any:
    """A x for the entries of a matrix of this shape, and a vector or a matrix x."""
    m = x.shape[1] if x.ndim == 2 else 1
    statics = (1, len(places), *shape, m, 1, 1, 0)
    # A constant: an equation takes arrays from outside as parameters, and could not see which elements these choose.
    return _row("sparse_product", places, (data, x), statics, (shape[0], *x.shape[1:]), Recorder.const)


def factors(pattern: np.ndarray, data: Any, sizes: Shape) -> Any:
    """The factors of a square matrix; `sizes` are n, the number of entries, and the numbers of L and of U."""
    n, _, lower, upper = sizes
    return _row("sparse_lu", pattern, (data,), (1, *sizes), (1 + lower + upper + n,))


def solution(pattern: np.ndarray, data: Any, found: Any, b: Any, sizes: Shape, trans: int) -> Any:
    """x with op(A) x = b, by the factors `found`."""
    m = b.shape[1] if b.ndim == 2 else 1
    return _row("sparse_lu_solve", pattern, (data, found, b), (1, *sizes, m, trans, 1), b.shape)


def summed(data: Any, groups: np.ndarray, size: int) -> Any:
    """The sums of the numbers of every group, of `size` groups."""
    if not is_recorded(data):
        return np.bincount(groups, np.asarray(data), minlength=size).astype(np.asarray(data).dtype)
    x = as_recorded(data, current_recorder())
    places = x.recorder.const(np.asarray(groups, np.int64))
    return Recorded(x.recorder, x.recorder.emit("scatter_add", (x.ref, places), (1,), (size,), dtype_char(x.dtype)))


# ── SciPy's matrices ──────────────────────────────────────────────────────────────────────────────────────────
def is_scipy(x: Any) -> bool:
    """Whether x is one of SciPy's sparse matrices."""
    return type(x).__module__.startswith("scipy.sparse") and hasattr(x, "tocoo")


def scipy_places(x: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and place in x.data of every entry. They are compared at every call, as all plain arrays from
    outside that a function looks into."""
    if x.format not in ("csr", "csc", "coo", "bsr", "dia"):
        raise recording_error(f"a sparse matrix of SciPy's format {x.format!r}", "Convert it outside: A.tocsr().")
    numbered = x.copy()
    numbered.data = np.arange(1, x.data.size + 1).reshape(x.data.shape)
    numbered = numbered.tocoo()
    return (*numbered.coords, numbered.data - 1)


def scipy_numbers(x: Any, taken: np.ndarray) -> Any:
    """The numbers at these places of x.data: while a function is recorded, read anew by every replay."""
    recorder = current_recorder()
    data = x.data if recorder is None else as_recorded(x.data, recorder)
    if data.dtype.kind != "f":
        data = data.astype(float)
    if data.ndim == 1 and np.array_equal(taken, np.arange(data.size)):
        return data
    return data.reshape(-1)[taken]


def scipy_operator(name: str, a: Any, b: Any) -> Any:
    """An operator between a sparse matrix of SciPy's and a recorded value. The `*` of its older matrices is `@`."""
    ufunc = getattr(np, name)
    if ufunc is np.multiply and is_scipy(b) and not (a.ndim and _is_matrix(b)):
        return NotImplemented  # the matrix scales its entries: see `fastad.scipy_sparse`
    if ufunc is not np.matmul and not (ufunc is np.multiply and _is_matrix(a if is_scipy(a) else b)):
        raise recording_error(
            f"np.{name} of a sparse matrix of SciPy's and a recorded value", "Use fad.sparse.csr_array(A) instead of A."
        )
    return _product(a, b) if is_scipy(a) else _product(b.T, as_recorded(a).T).T


def _is_matrix(x: Any) -> bool:
    from scipy.sparse import spmatrix

    return isinstance(x, spmatrix)


def _product(a: Any, b: Any) -> Any:
    """A x of a sparse matrix of SciPy's."""
    x = as_recorded(b)
    if x.ndim not in (1, 2) or x.shape[0] != a.shape[1]:
        raise ShapeError(f"A @ x of shapes {a.shape} and {x.shape}{at_line()}. x needs {a.shape[1]} rows.")
    rows, columns, taken = scipy_places(a)
    return product(as_places(rows, columns), scipy_numbers(a, taken), x, a.shape)
