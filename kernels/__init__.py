"""Compiled kernels: everything that numba compiles, over plain arrays, numbers and addresses.

Importing this package compiles nothing and loads no SciPy; import the file that holds the kernel you need:

- `moving`     strided, strided_add, assemble
- `reducing`   sum, amax, amin, argmax, argmin
- `scanning`   cumsum, linrec
- `sorting`    argsort, searchsorted
- `indexing`   gather, scatter_add, put_blocks, add_blocks, wrap_index, guard
- `products`   matmul
- `fourier`    fourier
- `factoring`  lu, lu_solve, triangular_solve, permute_rows, determinant_sign, log_determinant, cholesky
- `orthogonal` qr
- `spectral`   eigh, svd, eigh_spectrum, svd_spectrum, gap_quotient
- `inverting`  determinant, cofactors, pinv
- `matrix_functions`  expm, sqrtm
- `banded`     banded_lu, banded_lu_solve, banded_solve
- `export`     compiled functions as LLVM IR, for objects that need no numba

Every array primitive NAME has `NAME_forward(out, x, y, s)`, which returns 0, 1 for an error, or 2 for a failed guard.
Primitives of more than two operands take them all in the place of x and y; those whose row asks for scratch memory take
it as a last argument, `w`. For derivatives by sweeps there may be `NAME_reverse(xb, yb, ob, x, y, o, s)`, which adds
the transposed Jacobian applied to `ob` to `xb` and `yb` (what is then left in `ob` means nothing, and what is not
wanted is empty), and, where the primitive is not linear, `NAME_tangent(dout, dx, dy, x, y, o, s, choice, w)`, where bit
k of `choice` is set if operand k moves. Primitives without are differentiated by derivation only. All values are
contiguous one-dimensional float64 arrays, an absent operand is an empty one, and `s` holds the primitive's integers
(sizes, strides, switches) as int64.
"""
