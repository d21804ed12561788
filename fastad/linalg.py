"""Linear algebra of SciPy's that NumPy lacks, for plain arrays and recorded values alike.

`np.linalg` is recorded as it is, and so are these functions under SciPy's own names, `scipy.linalg.expm` say. They
stand here with the same arguments; those of this module take stacks of matrices, too.

>>> import numpy as np, fastad as fad
>>> def energy(A, b):
...     return b @ fad.linalg.lu_solve(fad.linalg.lu_factor(A), b)
>>> fad.grad(energy, argnums=1)(np.diag([2.0, 4.0]), np.ones(2)).tolist()
[1.0, 0.5]
"""

from fastad.recording.functions.linalg import lu_factor, lu_solve, solve_triangular
from fastad.recording.functions.matrix_functions import (
    block_diag,
    cho_factor,
    cho_solve,
    circulant,
    expm,
    hankel,
    solve_banded,
    sqrtm,
    toeplitz,
)

__all__ = [
    "block_diag", "cho_factor", "cho_solve", "circulant", "expm", "hankel", "lu_factor", "lu_solve", "solve_banded",
    "solve_triangular", "sqrtm", "toeplitz",
]  # fmt: skip
