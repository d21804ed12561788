"""The rows of dense linear algebra, on stacks of square matrices: `batch` matrices of `n` rows, right sides of `m`
columns.

`separate` is 1 where every system of a stack has a matrix of its own, 0 where all share one.
"""

import math
from collections.abc import Sequence
from typing import Any

from fastad.errors import NotPositiveDefiniteError, SingularMatrixError
from fastad.primitives import linear_elements as elements
from fastad.primitives import linear_rules as rules
from fastad.primitives import linear_values as values
from fastad.primitives import patterns
from fastad.primitives.arrays import array
from fastad.primitives.row import INDEX_ERROR, Result

Statics = tuple[int, ...]
_UNROLLED = 3  # rows of a matrix for which code is written out
_WRITTEN_OUT, _WRITTEN_OUT_ALONE, _MANY = 8, 6, 8  # the same in a function of its own, of many matrices and of few


# ── safety ────────────────────────────────────────────────────────────────────────────────────────────────────
def _check(count: int, switches: int, sizes_of: Any) -> Any:
    """`count` sizes and then switches of 0 or 1; `sizes_of(*statics)` are the sizes of the result and the operands."""

    def check(s: Statics, size: int, sizes: Sequence[int]) -> str | None:
        if len(s) != count + switches or min(s) < 0 or max(s[count:], default=0) > 1:
            return "static integers of another kind"
        fits = [size, *sizes] == list(sizes_of(*s)) and math.prod(max(k, 1) for k in s[:count]) <= max(2**31, size)
        return None if fits else "matrices of other sizes than the operands"

    return check


def _of_lu(batch: int, n: int) -> tuple[int, ...]:
    return batch * n * (n + 1), batch * n * n


def _of_permutation(batch: int, n: int, m: int, inverse: int, separate: int) -> tuple[int, ...]:
    return batch * n * m, (batch if separate else 1) * n, batch * n * m


def _of_lu_solve(batch: int, n: int, m: int, trans: int, separate: int) -> tuple[int, ...]:
    count = batch if separate else 1
    return batch * n * m, count * n * n, count * n * (n + 1), batch * n * m


def _of_triangle(batch: int, n: int, m: int, lower: int, trans: int, unit: int, separate: int) -> tuple[int, ...]:
    return batch * n * m, (batch if separate else 1) * n * n, batch * n * m


def _of_sign(batch: int, n: int) -> tuple[int, ...]:
    return batch, batch * n * (n + 1)


def _of_log(batch: int, n: int) -> tuple[int, ...]:
    return batch, batch * n * n, batch * n * (n + 1)


def _of_cholesky(batch: int, n: int) -> tuple[int, ...]:
    return batch * n * n, batch * n * n


# ── costs ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _factorisation(share: int) -> Any:
    def count(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
        batch, n = s[:2]
        half = batch * n * (n - 1) // 2
        products = batch * (n - 1) * n * (2 * n - 1) // (6 * share)
        return {"additions": products, "multiplications": products, "divisions": half}

    return count


def _substitution(triangles: int) -> Any:
    def count(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
        batch, n, m = s[:3]
        products = triangles * batch * m * n * (n - 1) // 2
        return {"additions": products, "multiplications": products, "divisions": batch * n * m}

    return count


def _logarithms(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    return {"functions": s[0] * s[1], "additions": s[0] * s[1]}


def _signs(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    return {"comparisons": 2 * s[0] * s[1]}


def _swaps(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    return {"moves": size}


# ── the rows ──────────────────────────────────────────────────────────────────────────────────────────────────
_SINGULAR: dict[str, Any] = {"error": SingularMatrixError, "complaint": "a singular matrix"}


def _small(s: Statics, size: int) -> bool:
    return s[0] == 1 and s[1] <= _UNROLLED


def _few_rows(s: Statics, size: int) -> bool:
    return s[1] <= (_WRITTEN_OUT if s[0] >= _MANY else _WRITTEN_OUT_ALONE)


def _few_numbers(s: Statics, size: int) -> bool:
    return _few_rows(s, size) and s[1] * s[1] * s[2] <= 2 * _WRITTEN_OUT**2


# fmt: off
array("lu", values.lu, 1, "batch n", check=_check(2, 0, _of_lu), operations=_factorisation(1), unrolls=_small,
      stacks=_few_rows,
      work=lambda s, size, sizes: s[1] * (s[1] + 1) + 2, symbols=("dgetrf",),
      parts=lambda s: (s[0], (Result("factors", (s[1], s[1]), "d"), Result("pivots", (s[1],), "i"))),
      tangent=rules.tangent_lu, adjoint=rules.adjoint_lu, batch=rules.batch_lu, sparsity=patterns.lu,
      elements=elements.lu,
      domain=("regular",),
      examples=[((1, 3), (12,), [(3, 3)]), ((2, 4), (2, 20), [(2, 4, 4)]), ((1, 1), (2,), [(1, 1)]),
                ((4, 2), (4, 6), [(4, 2, 2)])])
array("permute_rows", values.permute_rows, 2, "batch n m inverse separate", check=_check(3, 2, _of_permutation),
      operations=_swaps, linear=(1,), differentiable=(1,), adjoint=rules.adjoint_permute_rows,
      batch=rules.batch_permute_rows, sparsity=patterns.permute_rows, elements=elements.permute_rows, result="float",
      **(INDEX_ERROR | {"complaint": "pivots that are no rows of the matrix"}), domain=("pivots", "R"),
      examples=[((1, 3, 2, 0, 1), (3, 2), [(3,), (3, 2)]), ((2, 3, 1, 1, 0), (2, 3), [(3,), (2, 3)])])
array("triangular_solve", values.triangular_solve, 2, "batch n m lower transposed unit separate",
      check=_check(3, 4, _of_triangle), operations=_substitution(1), unrolls=_small, stacks=_few_numbers, linear=(1,),
      tangent=rules.tangent_triangular_solve, adjoint=rules.adjoint_triangular_solve,
      batch=rules.batch_triangular_solve, sparsity=patterns.solve, elements=elements.triangular_solve,
      symbols=("dgemm",), **_SINGULAR,
      domain=("regular", "R"),
      examples=[((1, 3, 2, lower, trans, unit, 1), (3, 2), [(3, 3), (3, 2)])
                for lower in (0, 1) for trans in (0, 1) for unit in (0, 1)]
      + [((2, 3, 1, 1, 0, 0, 0), (2, 3), [(3, 3), (2, 3)]), ((3, 2, 2, 0, 1, 0, 1), (3, 2, 2), [(3, 2, 2), (3, 2, 2)])])
array("lu_solve", values.lu_solve, 3, "batch n m transposed separate", check=_check(3, 2, _of_lu_solve),
      operations=_substitution(2), unrolls=_small, stacks=_few_numbers, linear=(2,), differentiable=(0, 2),
      tangent=rules.tangent_lu_solve, adjoint=rules.adjoint_lu_solve, batch=rules.batch_lu_solve,
      sparsity=patterns.solve, elements=elements.lu_solve, symbols=("dgemm",), **_SINGULAR,
      domain=("regular", "factors", "R"),
      examples=[((1, 3, 2, trans, 1), (3, 2), [(3, 3), (12,), (3, 2)]) for trans in (0, 1)]
      + [((2, 2, 1, 0, 0), (2, 2), [(2, 2), (6,), (2, 2)]),
         ((2, 4, 2, 1, 1), (2, 4, 2), [(2, 4, 4), (2, 20), (2, 4, 2)]),
         ((3, 2, 1, 1, 1), (3, 2), [(3, 2, 2), (3, 6), (3, 2)])])
array("determinant_sign", values.determinant_sign, 1, "batch n", check=_check(2, 0, _of_sign), operations=_signs,
      unrolls=_small, stacks=_few_rows, of_nothing=1.0, batch=rules.batch_determinant, domain=("factors",),
      examples=[((1, 3), (), [(12,)]), ((2, 4), (2,), [(2, 20)]), ((4, 2), (4,), [(4, 6)])])
array("log_determinant", values.log_determinant, 2, "batch n", check=_check(2, 0, _of_log), operations=_logarithms,
      unrolls=_small, differentiable=(0,), tangent=rules.tangent_log_determinant,
      adjoint=rules.adjoint_log_determinant, batch=rules.batch_determinant, sparsity=patterns.of_lanes,
      domain=("regular", "factors"),
      examples=[((1, 3), (), [(3, 3), (12,)]), ((2, 4), (2,), [(2, 4, 4), (2, 20)]),
                ((4, 2), (4,), [(4, 2, 2), (4, 6)])])
array("cholesky", values.cholesky, 1, "batch n", check=_check(2, 0, _of_cholesky), operations=_factorisation(2),
      unrolls=_small, stacks=_few_rows, work=lambda s, size, sizes: 1, symbols=("dpotrf",),
      tangent=rules.tangent_cholesky, adjoint=rules.adjoint_cholesky, batch=rules.batch_lu, sparsity=patterns.cholesky,
      error=NotPositiveDefiniteError, complaint="a matrix that is not positive definite", domain=("definite",),
      examples=[((1, 3), (3, 3), [(3, 3)]), ((2, 4), (2, 4, 4), [(2, 4, 4)]), ((3, 2), (3, 2, 2), [(3, 2, 2)])])
# fmt: on
