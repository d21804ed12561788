"""NumPy functions that recorded values do not support, and the fix that the error names."""

import numpy as np

from fastad.recording.dispatch import advise

_SOLVERS = "Wrap it as a user-defined primitive with fad.primitive(f, jvp=..., vjp=...)."
_ROOTS = (
    "Its results may be complex numbers, which cannot be recorded. For one real root use fad.root(lambda x: "
    "np.polyval(p, x), x0)."
)


advise(
    np.linalg,
    "eig eigvals",
    "Eigenvalues of a nonsymmetric matrix are complex numbers, which cannot be recorded. Use np.linalg.eigh or "
    "eigvalsh for a symmetric one, and np.linalg.svd for singular values.",
)
advise(
    np,
    "intersect1d setdiff1d setxor1d isin",
    "The shape of the result would depend on the values: use plain arrays, or np.sort and comparisons.",
)
advise(
    np,
    "unique_all unique_counts unique_inverse",
    "Use np.unique with return_index=, return_inverse= and return_counts=.",
)
advise(np, "sort_complex", "Recorded values are real: use np.sort.")
advise(np, "roots", _ROOTS)
advise(np, "poly polydiv", _SOLVERS)
advise(
    np,
    "save savez savetxt array2string array_repr array_str",
    "Return the value from the function and write it outside.",
)
