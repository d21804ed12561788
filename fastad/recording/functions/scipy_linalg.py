"""scipy.linalg on recorded values: NumPy's functions where it has them, else those of `fad.linalg`. Keywords that say
only how LAPACK is called (`overwrite_a`, `check_finite`, `lapack_driver`) change nothing here."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.functions import linalg, matrix_functions
from fastad.recording.operands import as_recorded, recorder_of
from fastad.recording.recorder import recording_error

_HOW = {"overwrite_a", "overwrite_b", "overwrite_ab", "check_finite", "lapack_driver", "driver", "lwork", "turbo"}


def _only_how(name: str, options: dict[str, Any]) -> None:
    """Refuse keywords that change the result."""
    others = [key for key, value in options.items() if key not in _HOW and value is not None]
    if others:
        listed = ", ".join(f"{key}=" for key in others)
        raise recording_error(f"scipy.linalg.{name} with {listed} is not supported on recorded values", "Leave it out.")


def _matrix(*given: Any) -> Any:
    """The first of these as a recorded array; the others say of which recording."""
    return as_recorded(given[0], recorder_of(given))


def _turned(a: Any) -> Any:
    return np.swapaxes(a, -1, -2)


def _lower(a: Any, lower: bool) -> Any:
    """The matrix whose lower or upper triangle this one has, with the same in its lower triangle."""
    return a if lower else _turned(a)


def _mirrored(a: Any, lower: bool) -> Any:
    """The symmetric matrix with this lower or upper triangle."""
    a = np.tril(_lower(a, lower))
    return a + _turned(np.tril(a, -1))


_STRUCTURES: dict[str, Callable[[Any, bool], Any]] = {
    **dict.fromkeys(("gen", "general", "banded"), lambda a, lower: a),
    **dict.fromkeys(("pos", "positive definite", "sym", "symmetric", "her", "hermitian"), _mirrored),
    "diagonal": lambda a, lower: a * np.eye(a.shape[-1], dtype=a.dtype),
    "tridiagonal": lambda a, lower: np.triu(np.tril(a, 1), -1),
    "lower triangular": lambda a, lower: np.tril(a),
    "upper triangular": lambda a, lower: np.triu(a),
}  # fmt: skip


def _as_assumed(name: str, a: Any, assume_a: str | None, lower: bool) -> Any:
    """The matrix of which SciPy reads what such a matrix has: one triangle of a symmetric one."""
    if (assume_a or "gen") not in _STRUCTURES:
        listed = ", ".join(map(repr, _STRUCTURES))
        raise recording_error(f"scipy.linalg.{name} with assume_a={assume_a!r}", f"It is one of {listed}.")
    return _STRUCTURES[assume_a or "gen"](a, lower)


def solve(
    a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False,
    check_finite: bool = True, assume_a: str | None = None, transposed: bool = False,
) -> Any:  # fmt: skip
    a, b = _matrix(a, b), _matrix(b, a)
    if assume_a in ("lower triangular", "upper triangular"):
        return linalg.solve_triangular(_turned(a) if transposed else a, b, lower=assume_a.startswith("l") != transposed)
    a = _as_assumed("solve", a, assume_a, lower)
    return np.linalg.solve(_turned(a) if transposed else a, b)


def inv(
    a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: str | None = None, lower: bool = False
) -> Any:
    return np.linalg.inv(_as_assumed("inv", _matrix(a), assume_a, lower))


def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    return np.linalg.det(_matrix(a))


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    factor = np.linalg.cholesky(_lower(_matrix(a), lower))
    return factor if lower else _turned(factor)


def eigh(
    a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, type: int = 1,
    subset_by_index: Any = None, **options: Any,
) -> Any:  # fmt: skip
    _only_how("eigh", {**options, "type": None if type == 1 or b is None else type})
    a, factor = _lower(_matrix(a, b), lower), None
    if b is not None:  # B = L Lᵀ, and L⁻¹ A L⁻ᵀ has the eigenvalues
        factor = np.linalg.cholesky(_lower(_matrix(b, a), lower))
        a = linalg.solve_triangular(factor, _mirrored(a, True), lower=True)
        a = linalg.solve_triangular(factor, _turned(a), lower=True)
    first, last = (0, a.shape[-1] - 1) if subset_by_index is None else subset_by_index
    if eigvals_only:
        return np.linalg.eigvalsh(a)[..., first : last + 1]
    values, vectors = np.linalg.eigh(a)
    values, vectors = values[..., first : last + 1], vectors[..., first : last + 1]
    if factor is not None:
        vectors = linalg.solve_triangular(factor, vectors, trans=1, lower=True)
    return values, vectors


def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **options: Any) -> Any:
    return eigh(a, b, lower=lower, eigvals_only=True, **options)


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False, check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:  # fmt: skip
    found: Any = np.linalg.svd(_matrix(a), full_matrices, compute_uv)  # type: ignore[call-overload]
    return tuple(found) if compute_uv else found


def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    return svd(a, compute_uv=False)


def qr(
    a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    _only_how("qr", {"pivoting": pivoting or None, "mode": "raw" if mode == "raw" else None})
    if mode not in ("full", "r", "economic"):
        raise recording_error(f"scipy.linalg.qr with mode={mode!r}", "It is 'full', 'r' or 'economic'.")
    q, r = np.linalg.qr(_matrix(a), "reduced" if mode == "economic" else "complete")
    return (r,) if mode == "r" else (q, r)


def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    return np.linalg.norm(_matrix(a), ord, axis, keepdims)


def lstsq(
    a: Any, b: Any, cond: Any = None, overwrite_a: bool = False, overwrite_b: bool = False, check_finite: bool = True,
    lapack_driver: str | None = None,
) -> Any:  # fmt: skip
    x, residuals, rank, values = np.linalg.lstsq(_matrix(a, b), _matrix(b, a), rcond=cond)
    return x, residuals[0] if np.ndim(b) == 1 and residuals.size else residuals, rank, values


def pinv(a: Any, *, rtol: Any = None, **options: Any) -> Any:
    _only_how("pinv", options)
    return np.linalg.pinv(_matrix(a)) if rtol is None else np.linalg.pinv(_matrix(a), rtol=rtol)


OF_LINALG: dict[str, Callable[..., Any]] = {
    **{f.__name__: f for f in (solve, inv, det, cholesky, eigh, eigvalsh, svd, svdvals, qr, norm, lstsq, pinv)},
    **{f.__name__: f for f in (linalg.lu_factor, linalg.lu_solve, linalg.solve_triangular)},
    **{
        name: getattr(matrix_functions, name)
        for name in (
            "block_diag", "cho_factor", "cho_solve", "circulant", "expm", "hankel", "solve_banded", "sqrtm", "toeplitz",
        )
    },
}  # fmt: skip
