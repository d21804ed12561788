"""NumPy functions that recorded values do not support, and the fix that the error names."""

from typing import Any

import numpy as np

from fastad.recording.operators import FIXES

_SOLVERS = "Wrap it as a user-defined primitive with fad.primitive(f, jvp=..., vjp=...)."
_FOURIER = (
    "Multiply by a plain DFT matrix, or wrap it as a user-defined primitive with fad.primitive(f, jvp=..., vjp=...)."
)


def _fix(module: Any, names: str, fix: str) -> None:
    for name in names.split():
        found = getattr(module, name, None)
        if found is not None:
            FIXES[found] = fix


_fix(
    np.linalg,
    "pinv qr eig eigh eigvals eigvalsh svd svdvals lstsq cond matrix_rank tensorsolve tensorinv",
    _SOLVERS,
)
_fix(np.linalg, "inv", "Use np.linalg.solve(a, b) in place of inv(a) @ b, or np.linalg.solve(a, np.eye(n)).")
_fix(np.linalg, "det", "Use np.linalg.slogdet: sign * np.exp(logabsdet).")
_fix(np.fft, "fft ifft fft2 ifft2 fftn ifftn rfft irfft rfft2 irfft2 rfftn irfftn hfft ihfft", _FOURIER)
_fix(np.fft, "fftshift ifftshift", "Use np.roll.")
_fix(
    np, "histogram histogram2d histogramdd", "Compute bin numbers from plain arrays, and use np.bincount with weights=."
)
_fix(
    np,
    "intersect1d union1d setdiff1d setxor1d isin",
    "The shape of the result would depend on the values: use plain arrays, or np.sort and comparisons.",
)
_fix(np, "roots poly polydiv", _SOLVERS)
_fix(
    np,
    "save savez savetxt array2string array_repr array_str",
    "Return the value from the function and write it outside.",
)
_fix(np, "nanmedian nanquantile nanpercentile", "Use np.median or np.quantile of x[~np.isnan(x)].")
