"""scipy.sparse on recorded values, under SciPy's own names and with its arguments: matrices of fad.sparse, and their
solvers. `fastad.scipy_sparse` calls these while a function is recorded."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from fastad.errors import ShapeError
from fastad.recording.operands import as_recorded, is_recorded
from fastad.recording.recorder import recording_error
from fastad.recording.source import at_line
from fastad.sparse import building
from fastad.sparse.arrays import SparseArray, as_sparse, coo_array, csc_array, csr_array
from fastad.sparse.factoring import splu, spsolve
from fastad.sparse.incomplete import spilu
from fastad.sparse.iterative import bicgstab, cg, gmres


# ── matrices ──────────────────────────────────────────────────────────────────────────────────────────────────
def _made(form: str) -> Callable[..., Any]:
    """A constructor: of (data, (rows, columns)), of (data, indices, indptr), of a dense or of a sparse matrix."""

    def made(arg1: Any, shape: Any = None, dtype: Any = None, copy: bool = False, **options: Any) -> Any:
        if isinstance(arg1, tuple):
            found = _of_entries(form, arg1, shape)
        else:
            found = as_sparse(arg1)
            found = found if isinstance(found, SparseArray) else _of_dense(found)
        found = found if dtype is None else found.astype(dtype)
        return getattr(found, f"to{form}")()

    return made


def _of_entries(form: str, parts: Any, shape: Any) -> SparseArray:
    if len(parts) == 2 and isinstance(parts[1], tuple | list):
        data, (i, j) = parts
        i, j = np.asarray(i), np.asarray(j)
        if shape is None:
            shape = tuple(int(places.max(initial=-1)) + 1 for places in (i, j))
        return coo_array(data, i, j, shape)
    if len(parts) != 3 or form == "coo":
        raise recording_error(
            f"scipy.sparse.{form}_array of a tuple of {len(parts)}", "Give (data, (rows, columns)) and shape=."
        )
    data, indices, indptr = parts
    if shape is None:
        size = len(indptr) - 1, int(np.max(indices, initial=-1)) + 1
        shape = size if form == "csr" else size[::-1]
    return {"csr": csr_array, "csc": csc_array}[form](data, indices, indptr, shape)


def _of_dense(x: Any) -> SparseArray:
    """All elements of a dense matrix: which of them are zero may be another thing at the next call."""
    x = as_recorded(x) if is_recorded(x) else np.asarray(x)
    if x.ndim != 2:
        raise ShapeError(f"a sparse matrix of an array of shape {x.shape}{at_line()}. Pass a matrix.")
    i, j = np.indices(x.shape).reshape(2, -1)
    return coo_array(x.reshape(-1), i, j, x.shape)


def _diags(diagonals: Any, offsets: Any = 0, shape: Any = None, format: Any = None, dtype: Any = None) -> Any:
    return _in_format(building.diags(diagonals, offsets, shape), format)


def _diags_array(diagonals: Any, /, *, offsets: Any = 0, **options: Any) -> Any:
    return _diags(diagonals, offsets, **options)


def _with_format(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, format=None, dtype=None: _in_format(function(*args), format)


def _in_format(found: Any, form: Any) -> Any:
    return found if form in (None, "coo", "dia", "bsr") else getattr(found, f"to{form}")()


def _block_diag(mats: Any) -> Any:
    n = len(mats)
    blocks = [as_sparse(m) for m in mats]
    blocks = [m if isinstance(m, SparseArray) else _of_dense(np.atleast_2d(m)) for m in blocks]
    return building.block_array([[blocks[i] if i == j else None for j in range(n)] for i in range(n)])


def _kronsum(A: Any, B: Any, format: Any = None) -> Any:
    n, m = np.shape(B)[0], np.shape(A)[0]
    return _in_format(building.kron(building.eye(n), A) + building.kron(B, building.eye(m)), format)


# ── solvers ───────────────────────────────────────────────────────────────────────────────────────────────────
def _spsolve(A: Any, b: Any, permc_spec: Any = None, use_umfpack: bool = True) -> Any:
    """SciPy makes a vector of a right side that is one column."""
    column = np.ndim(b) == 2 and np.shape(b)[1] == 1
    return spsolve(A, b[:, 0] if column else b)


def _splu(A: Any, *args: Any, **options: Any) -> Any:
    return splu(A)  # the options choose the way to the same solutions


def _spilu(A: Any, drop_tol: Any = None, fill_factor: Any = None, *args: Any, **options: Any) -> Any:
    return spilu(A, drop_tol, fill_factor)


def _iterative(solver: Callable[..., Any]) -> Callable[..., Any]:
    def called(A: Any, b: Any, *args: Any, callback: Any = None, callback_type: Any = None, **options: Any) -> Any:
        if callback is not None:
            raise recording_error(f"scipy.sparse.linalg.{solver.__name__} with callback=", "Leave it out.")
        options = {name: _function_of(x) for name, x in options.items()}  # M
        return solver(_function_of(A), b, *map(_function_of, args), **options)

    return called


def _as_operator(A: Any) -> Any:
    """SciPy's operator of a matrix: its products with vectors and matrices from both sides."""
    if isinstance(A, LinearOperator):
        return A
    products = (lambda v: A @ v), (lambda v: A.T @ v)
    return LinearOperator(A.shape, *products, *products[:1], np.dtype(float), *products[1:])


def _function_of(x: Any) -> Any:
    """The function of a LinearOperator of SciPy's."""
    return x._matvec if isinstance(x, LinearOperator) else x


def applied(name: str, A: LinearOperator, x: Any) -> Any:
    """What this method of an operator returns: SciPy's own converts a recorded operand or result to a plain array."""
    x = x if is_recorded(x) or isinstance(x, SparseArray) or issparse(x) else np.asarray(x)
    if name == "dot":
        if np.ndim(x) == 0:
            return LinearOperator(A.shape, lambda v: x * A.matvec(v), lambda v: x * A.rmatvec(v), dtype=A.dtype)
        name = "matvec" if np.ndim(x) == 1 or x.shape[1:] == (1,) else "matmat"
    rows, columns = reversed(A.shape) if name.startswith("r") else A.shape
    of_vector = name.endswith("vec")
    shapes = ((columns,), (columns, 1)) if of_vector else ((columns, *x.shape[1:2]),)
    if x.shape not in shapes:
        raise ShapeError(f"{name} of an operator of shape {A.shape} is asked of an array of shape {x.shape}{at_line()}")
    found = getattr(A, f"_{name}")(x)
    return found.reshape(rows, *x.shape[1:]) if of_vector else found


_INSTEAD = {
    "eigs": "Eigenvalues of a nonsymmetric matrix are complex, and are not supported",
    "eigsh": "Write np.linalg.eigh(A.toarray()), which finds all eigenvalues",
    "svds": "Write np.linalg.svd(A.toarray()), which finds all singular values",
    "expm": "Write scipy.linalg.expm(A.toarray())",
    "expm_multiply": "Write scipy.linalg.expm(A.toarray()) @ v, or solve y' = A y by fad.solve_ivp",
    "inv": "Write scipy.sparse.linalg.spsolve(A, b) for the right sides b that are wanted",
    "norm": "Write np.sqrt(np.sum(A.data**2)) for the Frobenius norm of a matrix without duplicates",
    "spsolve_triangular": "Write scipy.sparse.linalg.spsolve(A, b)",
    "minres": "Write scipy.sparse.linalg.cg or gmres",
    **dict.fromkeys(("lsqr", "lsmr"), "Solve the normal equations: scipy.sparse.linalg.spsolve(A.T @ A, A.T @ b)"),
}  # fmt: skip
_ENTRIES = "Write scipy.sparse.coo_array((data, (rows, columns)), shape=shape)"
_INSTEAD_OF_MAKERS = {
    **dict.fromkeys(("dok_array", "dok_matrix", "lil_array", "lil_matrix"), f"{_ENTRIES}, which adds up entries"),
    **dict.fromkeys(("tril", "triu"), f"{_ENTRIES} with the entries that are wanted"),
    "find": "Write A.tocoo(), and its data",
}  # fmt: skip
_WRAPPED = "or wrap the call by fad.implicit(solver, residual) or fad.primitive(f, vjp=...)"


def _refused(name: str, fix: str) -> Callable[..., Any]:
    """A function of SciPy's that takes plain matrices only, with what to write instead."""

    def called(*args: Any, **options: Any) -> Any:
        raise recording_error(f"scipy.sparse.{name} takes no recorded numbers", f"{fix}.")

    return called


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"{form}_{kind}": _made(form) for form in ("coo", "csr", "csc") for kind in ("matrix", "array")},
    "diags": _diags, "diags_array": _diags_array, "block_diag": _block_diag,
    "bmat": _with_format(building.bmat), "block_array": _with_format(building.block_array),
    "hstack": _with_format(building.hstack), "vstack": _with_format(building.vstack),
    "kronsum": _kronsum, "kron": lambda A, B, format=None: _in_format(building.kron(A, B), format),
    "issparse": lambda x: isinstance(x, SparseArray), "isspmatrix": lambda x: isinstance(x, SparseArray),
    "spsolve": _spsolve, "splu": _splu, "spilu": _spilu, "factorized": lambda A: splu(A).solve,
    "aslinearoperator": _as_operator,
    "cg": _iterative(cg), "gmres": _iterative(gmres), "bicgstab": _iterative(bicgstab),
    **{name: _refused(f"linalg.{name}", f"{fix}; {_WRAPPED}") for name, fix in _INSTEAD.items()},
    **{name: _refused(name, fix) for name, fix in _INSTEAD_OF_MAKERS.items()},
}  # fmt: skip


# ── operators of SciPy's matrices ─────────────────────────────────────────────────────────────────────────────
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "__mul__": operator.mul, "multiply": operator.mul, "__matmul__": operator.matmul, "__truediv__": operator.truediv,
}  # fmt: skip


def operated(name: str, a: Any, b: Any) -> Any:
    """The result of this method of a sparse matrix of SciPy's."""
    if name.startswith("__r"):
        return _OPERATORS[name.replace("__r", "__", 1)](b, as_sparse(a))
    return _OPERATORS[name](as_sparse(a), b)
