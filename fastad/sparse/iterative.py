"""`cg`, `gmres` and `bicgstab`: systems with an operator that is a matrix or a function, SciPy's calls."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.control.outside import recorded_loop
from fastad.control.parts import Shared, record_part
from fastad.errors import ShapeError
from fastad.recording.operands import as_recorded, is_recorded, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line, user_line
from fastad.sparse.arrays import as_sparse
from fastad.sparse.factoring import SparseLU
from fastad.sparse.operators import IterativeRules, Operator
from fastad.tables.columns import ValueType
from fastad.transforms.composite import call_sub

_RESTART = 20


def cg(
    A: Any, b: Any, x0: Any = None, *, rtol: Any = 1e-5, atol: Any = 0.0, maxiter: int | None = None, M: Any = None
) -> tuple[Any, Any]:  # fmt: skip
    """Solve A x = b for a symmetric positive definite A by conjugate gradients, as scipy.sparse.linalg.cg.

    The solution can be differentiated by b, by A's numbers and by what a function A refers to. Derivatives come from
    the equation: one more system with A, or for adjoints with its transpose, and M's, to the same tolerance.

    Parameters
    ----------
    A : (n, n) matrix, sparse or dense, or a function v → A v in plain NumPy.
    b : (n,) right side.
    x0 : (n,) first guess; without it zero.
    rtol, atol : the iteration ends at ‖b − A x‖ ≤ max(rtol ‖b‖, atol).
    maxiter : the largest number of steps; 10 n without it.
    M : the preconditioner, near A⁻¹: a matrix, a function v → M v, or factors (`spilu`, `splu`). See also `jacobi`.

    Returns
    -------
    x : (n,).
    info : 0, or the number of steps after which the residual was still too large.

    Raises ConvergenceError for derivatives of an x that was not reached.

    >>> import numpy as np, fastad as fad
    >>> A = fad.sparse.diags([np.array([2.0, 4.0])], [0])
    >>> x, info = fad.sparse.cg(A, np.array([2.0, 8.0]), rtol=1e-12)
    >>> x.round(9).tolist(), int(info)
    ([1.0, 2.0], 0)

    Source: Barrett et al. (1994), Templates for the Solution of Linear Systems, section 2.3.1.
    """
    return _called("cg", A, b, x0, (rtol, atol, maxiter), M, 0)


def bicgstab(
    A: Any, b: Any, x0: Any = None, *, rtol: Any = 1e-5, atol: Any = 0.0, maxiter: int | None = None, M: Any = None
) -> tuple[Any, Any]:  # fmt: skip
    """Solve A x = b by stabilised biconjugate gradients, as scipy.sparse.linalg.bicgstab. For all else see `cg`.

    >>> import numpy as np, fastad as fad
    >>> x, info = fad.sparse.bicgstab(lambda v: 2 * v + np.flip(v), np.array([4.0, 5.0]), rtol=1e-12)
    >>> x.round(9).tolist(), int(info)
    ([1.0, 2.0], 0)

    Source: van der Vorst (1992), "Bi-CGSTAB".
    """
    return _called("bicgstab", A, b, x0, (rtol, atol, maxiter), M, 0)


def gmres(
    A: Any, b: Any, x0: Any = None, *, rtol: Any = 1e-5, atol: Any = 0.0, restart: int | None = None,
    maxiter: int | None = None, M: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Solve A x = b by GMRES, as scipy.sparse.linalg.gmres. For all else see `cg`.

    Parameters
    ----------
    restart : steps between restarts, 20 without it: as many pairs of vectors are kept.
    maxiter : the largest number of restarts; 10 n without it.

    >>> import numpy as np, fastad as fad
    >>> x, info = fad.sparse.gmres(np.array([[2.0, 1.0], [0.0, 4.0]]), np.array([4.0, 8.0]), rtol=1e-12)
    >>> x.round(9).tolist(), int(info)
    ([1.0, 2.0], 0)

    Source: Saad & Schultz (1986), "GMRES"; preconditioned from the right.
    """
    return _called("gmres", A, b, x0, (rtol, atol, maxiter), M, _RESTART if restart is None else int(restart))


def jacobi(A: Any) -> Callable[[Any], Any]:
    """The preconditioner that divides by A's diagonal (by 1 where that is 0).

    >>> import numpy as np, fastad as fad
    >>> fad.sparse.jacobi(fad.sparse.diags([np.array([2.0, 4.0])], [0]))(np.ones(2)).tolist()
    [0.5, 0.25]
    """
    a = as_sparse(A)
    diagonal = np.diagonal(a) if isinstance(a, np.ndarray) else a.diagonal()
    inverse = np.where(diagonal == 0.0, 1.0, 1.0 / np.where(diagonal == 0.0, 1.0, diagonal))
    return lambda v: inverse * v


# ── what they share ───────────────────────────────────────────────────────────────────────────────────────────
def _called(
    name: str, A: Any, b: Any, x0: Any, limits: tuple[Any, Any, Any], M: Any, restart: int
) -> tuple[Any, Any]:  # fmt: skip
    b = _vector(name, "b", b)
    n = b.size
    x0 = np.zeros(n) if x0 is None else _vector(name, "x0", x0)
    if x0.size != n:
        raise ShapeError(f"{name}: x0 of {x0.size} numbers for {n} unknowns{at_line()}. Make them equal.")
    rtol, atol, maxiter = limits
    steps = float((10 * n if maxiter is None else int(maxiter)) * max(restart, 1))

    def run(A: Any, M: Any, b: Any, x0: Any, rtol: Any, atol: Any) -> tuple[Any, Any]:
        return _solved(name, (_applied(A), _applied(M)), b, x0, (rtol, atol, steps), restart)

    operands = (as_sparse(A), as_sparse(M), b, x0, rtol, atol)
    if current_recorder() is not None:
        return run(*operands)
    found: tuple[Any, Any] = recorded_loop(A if callable(A) else _product, run)(*operands)
    return found


def _vector(name: str, what: str, x: Any) -> Any:
    x = as_recorded(x) if is_recorded(x) else np.asarray(x)
    if x.ndim != 1:
        raise ShapeError(f"{name}: {what} of shape {x.shape}{at_line()}. Pass a vector; fad.vmap solves for several.")
    return x if x.dtype.kind == "f" else x.astype(float)


def _product(A: Any, v: Any) -> Any:
    return A @ v


def _applied(A: Any) -> Callable[[Any], Any]:
    """The product with an operator."""
    if A is None:
        return lambda v: 1.0 * v
    if isinstance(A, SparseLU):
        return A.solve
    return A if callable(A) else lambda v: _product(A, v)


def _solved(
    name: str, products: tuple[Callable[[Any], Any], Callable[[Any], Any]], b: Any, x0: Any, numbers: Any, restart: int
) -> tuple[Any, Any]:  # fmt: skip
    n, kind = b.size, ValueType((b.size,), "d")
    parts = [record_part(_flat(name, f, n), (np.ones(n),), name) for f in products]
    shared = Shared(parts)
    subs = [shared.sub(part, part.lead, [kind]) for part in parts]
    first, second = (Operator.of(n, sub) for sub in subs)
    sub = IterativeRules(name, restart, (first, second)).own
    limits = np.stack([np.asarray(x, like=b) if isinstance(b, Recorded) else np.asarray(x) for x in numbers])
    operands = [*shared.values, b, x0, limits]
    recorder_of(operands).builder.source_line(user_line())
    x, info = call_sub(sub, operands, [kind, ValueType((), "d")])
    return (x.astype(np.float32) if b.dtype == np.float32 else x), info.astype(np.int64)


def _flat(name: str, product: Callable[[Any], Any], n: int) -> Callable[[Any], Any]:
    def flat(v: Any) -> Any:
        found = product(v)
        if np.shape(found) != (n,):
            what = f"an operator that makes {np.shape(found)} of a vector ({n},)"
            raise ShapeError(f"{name}: {what}{at_line()}. It must keep the shape.")
        return found

    return flat
