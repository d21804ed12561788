"""scipy.linalg on recorded values, under SciPy's own names: what NumPy has is NumPy's, with SciPy's defaults."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.functions import linalg, matrix_functions
from fastad.recording.operands import as_recorded, recorder_of
from fastad.recording.recorder import recording_error

_OF_STORAGE = frozenset(["overwrite_a", "overwrite_b", "overwrite_ab", "check_finite"])  # values do not depend on these


def _without_storage(name: str, function: Callable[..., Any], *ignored: str) -> Callable[..., Any]:
    """The function without the arguments of SciPy's that change nothing, or only the way to the same values."""

    def called(*args: Any, **options: Any) -> Any:
        kept = {key: x for key, x in options.items() if key not in _OF_STORAGE and key not in ignored}
        try:
            return function(*args, **kept)
        except TypeError as error:
            if "unexpected keyword" not in str(error) and "positional argument" not in str(error):
                raise
            raise recording_error(f"scipy.linalg.{name} with these options", "Leave the options out.") from error

    return called


def _triangle(a: Any, lower: bool) -> Any:
    """The symmetric matrix of which SciPy reads this triangle."""
    a = as_recorded(a, recorder_of((a,)))
    return a if lower else np.swapaxes(a, -1, -2)


def _solve(a: Any, b: Any, lower: bool = False, *, transposed: bool = False) -> Any:
    return np.linalg.solve(np.swapaxes(a, -1, -2) if transposed else a, b)


def _cholesky(a: Any, lower: bool = False) -> Any:
    found = np.linalg.cholesky(_triangle(a, lower))
    return found if lower else np.swapaxes(found, -1, -2)


def _eigh(a: Any, *, lower: bool = True, eigvals_only: bool = False) -> Any:
    return np.linalg.eigvalsh(_triangle(a, lower)) if eigvals_only else tuple(np.linalg.eigh(_triangle(a, lower)))


def _eigvalsh(a: Any, *, lower: bool = True) -> Any:
    return np.linalg.eigvalsh(_triangle(a, lower))


def _svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    return np.linalg.svd(a, full_matrices, compute_uv)


def _norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    return np.linalg.norm(a, ord, axis, keepdims)


def functions() -> dict[str, Callable[..., Any]]:
    """All of them, by name."""
    own = {
        name: getattr(module, name)
        for module, names in (
            (linalg, ("lu_factor", "lu_solve", "solve_triangular")),
            (matrix_functions, (
                "block_diag", "cho_factor", "cho_solve", "circulant", "expm", "hankel", "solve_banded", "sqrtm",
                "toeplitz",
            )),
        )
        for name in names
    }  # fmt: skip
    own |= {"cholesky": _cholesky, "eigh": _eigh, "eigvalsh": _eigvalsh, "svd": _svd, "norm": _norm}
    own |= {"inv": np.linalg.inv, "det": np.linalg.det, "pinv": lambda a: np.linalg.pinv(a)}
    found = {name: _without_storage(name, function) for name, function in own.items()}
    found["solve"] = _without_storage("solve", _solve, "assume_a")
    return found
