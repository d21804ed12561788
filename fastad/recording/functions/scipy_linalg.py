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


def _symmetric(a: Any, lower: bool) -> Any:
    """The matrix whose lower or upper triangle this one has, with the same in its lower triangle."""
    return a if lower else _turned(a)


def solve(
    a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False,
    check_finite: bool = True, assume_a: str | None = None, transposed: bool = False,
) -> Any:  # fmt: skip
    a, b = _matrix(a, b), _matrix(b, a)
    if assume_a in ("pos", "positive definite", "sym", "symmetric", "her", "hermitian"):  # reads one triangle
        a = np.tril(a) + _turned(np.tril(a, -1)) if lower else np.triu(a) + _turned(np.triu(a, 1))
    elif assume_a in ("lower triangular", "upper triangular"):
        return linalg.solve_triangular(_turned(a) if transposed else a, b, lower=assume_a.startswith("l") != transposed)
    elif assume_a in ("diagonal", "tridiagonal", "banded"):
        _only_how("solve", {"assume_a": assume_a})
    return np.linalg.solve(_turned(a) if transposed else a, b)


def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    factor = np.linalg.cholesky(_symmetric(_matrix(a), lower))
    return factor if lower else _turned(factor)


def eigh(a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, **options: Any) -> Any:
    _only_how("eigh", {"b": b, **options, "type": None if options.get("type", 1) == 1 else options["type"]})
    a = _symmetric(_matrix(a), lower)
    return np.linalg.eigvalsh(a) if eigvals_only else tuple(np.linalg.eigh(a))


def eigvalsh(a: Any, b: Any = None, lower: bool = True, **options: Any) -> Any:
    return eigh(a, b, lower=lower, eigvals_only=True, **options)


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, **options: Any) -> Any:
    _only_how("svd", options)
    found: Any = np.linalg.svd(_matrix(a), full_matrices, compute_uv)  # type: ignore[call-overload]
    return tuple(found) if compute_uv else found


def svdvals(a: Any, **options: Any) -> Any:
    return svd(a, compute_uv=False, **options)


def qr(
    a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    _only_how("qr", {"pivoting": pivoting or None, "mode": mode if mode in ("raw", "r") else None})
    return tuple(np.linalg.qr(_matrix(a), "complete" if mode == "full" else "reduced"))


def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    return np.linalg.norm(_matrix(a), ord, axis, keepdims)


def lstsq(a: Any, b: Any, cond: Any = None, **options: Any) -> Any:
    _only_how("lstsq", options)
    return tuple(np.linalg.lstsq(_matrix(a, b), _matrix(b, a), rcond=cond))


def pinv(a: Any, *, rtol: Any = None, **options: Any) -> Any:
    _only_how("pinv", options)
    return np.linalg.pinv(_matrix(a)) if rtol is None else np.linalg.pinv(_matrix(a), rtol=rtol)


def _of_numpy(name: str) -> Callable[..., Any]:
    def called(a: Any, overwrite_a: bool = False, check_finite: bool = True, **options: Any) -> Any:
        _only_how(name, options)
        return getattr(np.linalg, name)(_matrix(a))

    return called


OF_LINALG: dict[str, Callable[..., Any]] = {
    "inv": _of_numpy("inv"), "det": _of_numpy("det"),
    **{f.__name__: f for f in (solve, cholesky, eigh, eigvalsh, svd, svdvals, qr, norm, lstsq, pinv)},
    **{f.__name__: f for f in (linalg.lu_factor, linalg.lu_solve, linalg.solve_triangular)},
    **{
        name: getattr(matrix_functions, name)
        for name in (
            "block_diag", "cho_factor", "cho_solve", "circulant", "expm", "hankel", "solve_banded", "sqrtm", "toeplitz",
        )
    },
}  # fmt: skip
