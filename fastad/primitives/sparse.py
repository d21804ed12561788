"""The rows of sparse linear algebra. A matrix is given entry by entry: places that never change, and numbers.

Places of entries are operands: those of the products (see `fastad.kernels.sparse_products`), and the pattern of a
factorisation, which has them and everything else that follows from them (see `fastad.kernels.sparse_factoring`).
`separate` is 1 where every system of a stack has numbers (or a matrix) of its own, 0 where all share them.
"""

from collections.abc import Sequence
from typing import Any

from fastad.errors import SingularMatrixError
from fastad.primitives import patterns
from fastad.primitives import sparse_rules as rules
from fastad.primitives import sparse_values as values
from fastad.primitives.arrays import array
from fastad.primitives.row import INDEX_ERROR

Statics = tuple[int, ...]


# ── safety ────────────────────────────────────────────────────────────────────────────────────────────────────
def _check(count: int, switches: int, sizes_of: Any) -> Any:
    """`count` sizes and then switches of 0 or 1; `sizes_of(*statics)` are the sizes of the result and the operands."""

    def check(s: Statics, size: int, sizes: Sequence[int]) -> str | None:
        if len(s) != count + switches or min(s) < 0 or max(s[count:], default=0) > 1:
            return "static integers of another kind"
        # A result without elements says nothing about the number of lanes and of columns.
        fits = [size, *sizes] == list(sizes_of(*s)) and (size > 0 or s[0] * max(s[count - 1], 1) <= 2**31)
        return None if fits else "a sparse matrix of another size than the operands"

    return check


def _of_product(
    batch: int, count: int, rows: int, columns: int, m: int, own: int, other: int, back: int
) -> tuple[int, ...]:
    lanes = (batch if own else 1), (batch if other else 1)
    return batch * rows * m, count, lanes[0] * count, lanes[1] * columns * m


def _of_sample(
    batch: int, count: int, rows: int, columns: int, m: int, own: int, other: int, back: int
) -> tuple[int, ...]:
    lanes = (batch if own else 1), (batch if other else 1)
    return batch * count, count, lanes[0] * rows * m, lanes[1] * columns * m


def _of_lu(batch: int, n: int, count: int, lower: int, upper: int) -> tuple[int, ...]:
    return batch * values.size_of_factors(n, lower, upper), values.Pattern.size(n, count, lower, upper), batch * count


def _of_solve(
    batch: int, n: int, count: int, lower: int, upper: int, m: int, trans: int, separate: int
) -> tuple[int, ...]:
    lanes = batch if separate else 1
    pattern, factors = values.Pattern.size(n, count, lower, upper), values.size_of_factors(n, lower, upper)
    return batch * n * m, pattern, lanes * count, lanes * factors, batch * n * m


# ── costs ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _multiply_add(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    return {"additions": s[0] * s[1] * s[4], "multiplications": s[0] * s[1] * s[4]}


def _factorisation(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    """Of columns of equal length: the places, which say more, are an operand."""
    batch, n, _, lower, upper = s
    products = batch * upper * lower // max(n, 1)
    return {"additions": products, "multiplications": products, "divisions": batch * lower}


def _substitution(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    batch, n, _, lower, upper, m = s[:6]
    products = batch * m * (lower + upper)
    return {"additions": products, "multiplications": products, "divisions": batch * n * m}


# ── the rows ──────────────────────────────────────────────────────────────────────────────────────────────────
_PLACES = INDEX_ERROR | {"complaint": "an entry outside of the matrix"}

# fmt: off
array("sparse_product", values.sparse_product, 3,
      "batch entries rows columns m separate_numbers separate_matrix transposed",
      check=_check(5, 3, _of_product), operations=_multiply_add, linear=(1, 2), differentiable=(1, 2),
      tangent=rules.tangent_bilinear, adjoint=rules.adjoint_sparse_product, batch=rules.batch_sparse,
      sparsity=patterns.sparse_product, **_PLACES)
array("sparse_sample", values.sparse_sample, 3,
      "batch entries rows columns m separate_first separate_second transposed",
      check=_check(5, 3, _of_sample), operations=_multiply_add, linear=(1, 2), differentiable=(1, 2),
      tangent=rules.tangent_bilinear, adjoint=rules.adjoint_sparse_sample, batch=rules.batch_sparse,
      sparsity=patterns.sparse_sample, **_PLACES)
array("sparse_lu", values.sparse_lu, 2, "batch n entries lower upper", check=_check(5, 0, _of_lu),
      operations=_factorisation, work=lambda s, size, sizes: 2 * s[1] + (s[2] + 1) // 2,
      differentiable=(), adjoint=rules.adjoint_sparse_lu, batch=rules.batch_sparse_lu, sparsity=patterns.sparse_lu,
      **(INDEX_ERROR | {"complaint": "a pattern that is none"}))
array("sparse_lu_solve", values.sparse_lu_solve, 4, "batch n entries lower upper m transposed separate",
      check=_check(6, 2, _of_solve), operations=_substitution, work=lambda s, size, sizes: s[1],
      linear=(3,), differentiable=(1, 3), tangent=rules.tangent_sparse_lu_solve,
      adjoint=rules.adjoint_sparse_lu_solve, batch=rules.batch_sparse_lu_solve,
      sparsity=patterns.sparse_lu_solve, error=SingularMatrixError, complaint="a singular matrix",
      calls_python=True)
# fmt: on
