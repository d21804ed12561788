"""The rows of factorisations that few programs need, of functions of matrices, and of band matrices, on stacks:
`batch` matrices of `m` rows and `n` columns."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from fastad.errors import ConvergenceError, SingularMatrixError
from fastad.primitives import factor_values as values
from fastad.primitives import inverse_rules, orthogonal_rules, spectral_rules
from fastad.primitives.arrays import array
from fastad.primitives.factor_values import band_factors
from fastad.primitives.linear_rules import batch_determinant
from fastad.primitives.row import Result

Statics = tuple[int, ...]
Shapes = list[tuple[int, ...]]


# ── safety ────────────────────────────────────────────────────────────────────────────────────────────────────
def _check(sizes: int, switches: int, elements: Callable[..., Sequence[int]], more: int = 0) -> Any:
    """`sizes` sizes, switches of 0 or 1, and `more` other integers; `elements(*statics)` are the numbers of elements of
    the result and of the operands."""

    def check(s: Statics, size: int, operands: Sequence[int]) -> str | None:
        if len(s) != sizes + switches + more or min(s) < 0 or max(s[sizes : sizes + switches], default=0) > 1:
            return "static integers of another kind"
        fits = [size, *operands] == list(elements(*s))
        fits = fits and math.prod(max(k, 1) for k in s[:sizes]) <= max(2**31, size)
        return None if fits else "matrices of other sizes than the operands"

    return check


def _total(batch: int, shapes: Shapes, more: int = 0) -> int:
    return batch * (sum(math.prod(shape) for shape in shapes) + more)


def _qr_shapes(s: Statics) -> Shapes:
    _, m, n, complete = s
    k = m if complete else n
    return [(m, k), (k, n)]


def _of_qr(*s: int) -> tuple[int, ...]:
    batch, m, n, _ = s
    return (_total(batch, _qr_shapes(s)) if m >= n else -1, batch * m * n)


def _of_eigh(*s: int) -> tuple[int, ...]:
    return _total(s[0], spectral_rules.eigen_shapes(s)), s[0] * s[1] ** 2


def _of_svd(*s: int) -> tuple[int, ...]:
    return _total(s[0], spectral_rules.singular_shapes(s)), s[0] * s[1] * s[2]


def _of_eigh_spectrum(*s: int) -> tuple[int, ...]:
    size = _total(s[0], spectral_rules.eigen_shapes(s))
    return size + s[0], s[0] * s[1] ** 2, size


def _of_svd_spectrum(*s: int) -> tuple[int, ...]:
    size = _total(s[0], spectral_rules.singular_shapes(s))
    return size + s[0], s[0] * s[1] * s[2], size


def _of_gaps(batch: int, n: int, m: int, kind: int, quiet: int) -> tuple[int, ...]:
    good = kind < 4 and quiet < 2 and (kind < 2 or n == m)
    return (batch * n * m if good else -1, batch * n * m, batch * n, batch * m, 2 * batch)


def _of_determinant(batch: int, n: int) -> tuple[int, ...]:
    return batch, batch * n * n, batch * n * (n + 1)


def _of_cofactors(batch: int, n: int) -> tuple[int, ...]:
    return batch * n * n, batch * n * n, batch * n * (n + 1)


def _of_pinv(batch: int, m: int, n: int) -> tuple[int, ...]:
    return batch * m * n, batch * m * n, batch


def _of_function(batch: int, n: int, core: int) -> tuple[int, ...]:
    good = core == n or (n % 2 == 0 and 2 * core <= n)  # of blocks, whose halves are equal
    return (batch * n * n if good else -1, batch * n * n)


def _of_band(batch: int, n: int, m: int, low: int, high: int, trans: int, separate: int) -> tuple[int, ...]:
    good = max(trans, separate) < 2
    return (batch * n * m if good else -1, (batch if separate else 1) * (low + high + 1) * n, batch * n * m)


def _of_band_lu(batch: int, n: int, low: int, high: int) -> tuple[int, ...]:
    return batch * band_factors(n, low, high), batch * (low + high + 1) * n


def _of_band_solve(
    batch: int, n: int, low: int, high: int, m: int, trans: int, separate: int
) -> tuple[int, ...]:
    count = batch if separate else 1
    return batch * n * m, count * (low + high + 1) * n, count * band_factors(n, low, high), batch * n * m


# ── scratch memory ────────────────────────────────────────────────────────────────────────────────────────────
def _qr_work(s: Statics, size: int, sizes: Sequence[int]) -> int:
    _, m, n, complete = s
    k = m if complete else n
    return m * k + n + 64 * k + 2


def _eigh_work(s: Statics, size: int, sizes: Sequence[int]) -> int:
    n = s[1]
    return 3 * n * n + 43 * n + 8


def _svd_scratch(m: int, n: int, full: int, vectors: int) -> int:
    k = min(m, n)
    rows, columns = (m, n) if full else (k, k)
    own = m * n + vectors * (m * rows + columns * n)
    return own + 6 * k * k + 14 * k + 80 * (m + n) + 104


def _svd_work(s: Statics, size: int, sizes: Sequence[int]) -> int:
    return _svd_scratch(*s[1:5])


def _cofactors_work(s: Statics, size: int, sizes: Sequence[int]) -> int:
    n = s[1]
    return 2 * n * n + 2 * n + _svd_scratch(n, n, 0, 1)


def _pinv_work(s: Statics, size: int, sizes: Sequence[int]) -> int:
    _, m, n = s
    k = min(m, n)
    return m * k + k + k * n + _svd_scratch(m, n, 0, 1)


def _function_work(s: Statics, size: int, sizes: Sequence[int]) -> int:
    n = s[1]
    return 7 * n * n + 4 * n + 16


def _band_work(s: Statics, size: int, sizes: Sequence[int]) -> int:
    _, n, _, low, high = s[:5]
    return band_factors(n, low, high) + n + 3


# ── costs ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _cubes(factor: int) -> Any:
    """So many products and sums for a cube of the smaller size, in proportion to the larger one."""

    def count(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
        m, n = (s[1], s[2]) if len(s) > 4 or len(s) == 3 else (s[1], s[1])
        products = s[0] * factor * min(m, n) ** 2 * max(m, n)
        return {"additions": products, "multiplications": products}

    return count


def _qr_operations(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    batch, m, n, complete = s
    products = batch * (2 * n * n * m + (2 * m * m * n if complete else 0))
    return {"additions": products, "multiplications": products, "functions": batch * n}


def _square_operations(factor: int) -> Any:
    def count(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
        products = s[0] * factor * s[1] ** 3
        return {"additions": products, "multiplications": products}

    return count


def _quotients(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    return {"additions": size, "divisions": size, "comparisons": 2 * size}


def _moves(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    return {"moves": size}


def _diagonals(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    return {"multiplications": s[0] * s[1]}


def _band_operations(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    batch, n, m, low, high = s[:5]
    return _in_band(batch * n, low * (low + high) + m * (2 * low + high), low + m)


def _band_lu_operations(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    batch, n, low, high = s
    return _in_band(batch * n, low * (low + high), low)


def _band_solve_operations(s: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    batch, n, low, high, m = s[:5]
    return _in_band(batch * n, m * (2 * low + high), m)


def _in_band(rows: int, products: int, divisions: int) -> dict[str, int]:
    return {"additions": rows * products, "multiplications": rows * products, "divisions": rows * divisions}


# ── the rows ──────────────────────────────────────────────────────────────────────────────────────────────────
def _packed(shapes: Callable[[Statics], Shapes], *names: str) -> Any:
    def parts(s: Statics) -> tuple[int, tuple[Result, ...]]:
        own = shapes(s)
        found = names if len(own) > 1 else names[-1:]
        return s[0], tuple(Result(name, shape, "d") for name, shape in zip(found, own, strict=True))

    return parts


def _eigen_parts(s: Statics) -> tuple[int, tuple[Result, ...]]:
    return _packed(spectral_rules.eigen_shapes, *(("eigenvalues", "vectors") if s[3] else ("eigenvalues",)))(s)


def _with_distance(parts: Any) -> Any:
    def more(s: Statics) -> tuple[int, tuple[Result, ...]]:
        batch, found = parts(s[:-1])
        return batch, (*found, Result("distance", (1,), "d"))

    return more


def _singular_parts(s: Statics) -> tuple[int, tuple[Result, ...]]:
    return _packed(spectral_rules.singular_shapes, *(("u", "s", "vt") if s[4] else ("s",)))(s)


_NO_CONVERGENCE: dict[str, Any] = {"error": ConvergenceError}

# fmt: off
array("qr", values.qr, 1, "batch m n complete", check=_check(3, 1, _of_qr), operations=_qr_operations, work=_qr_work,
      symbols=("dgeqrf", "dorgqr"), parts=_packed(_qr_shapes, "q", "r"),
      tangent=orthogonal_rules.tangent_qr, adjoint=orthogonal_rules.adjoint_qr, batch=orthogonal_rules.batch_factors,
      domain=("R",),
      examples=[((1, 3, 3, 0), (18,), [(3, 3)]), ((2, 4, 2, 0), (2, 12), [(2, 4, 2)]),
                ((1, 4, 2, 1), (24,), [(4, 2)]), ((1, 1, 1, 0), (2,), [(1, 1)])])
array("eigh", values.eigh, 1, "batch n lower vectors", check=_check(2, 2, _of_eigh),
      operations=_square_operations(9), work=_eigh_work, symbols=("dsyevd",), parts=_eigen_parts,
      batch=orthogonal_rules.batch_factors, **_NO_CONVERGENCE, complaint="no convergence to eigenvalues",
      domain=("symmetric",),
      examples=[((1, 3, 1, 1), (12,), [(3, 3)]), ((2, 2, 0, 0), (2, 2), [(2, 2, 2)])])
array("eigh_spectrum", values.eigh_spectrum, 2, "batch n lower vectors level",
      check=_check(2, 2, _of_eigh_spectrum, 1), operations=_moves, differentiable=(0,),
      parts=_with_distance(_eigen_parts), near=spectral_rules.next_level,
      tangent=spectral_rules.tangent_eigh, adjoint=spectral_rules.adjoint_eigh, batch=spectral_rules.batch_stacks,
      domain=("R", "eigenvalues"),
      examples=[((1, 3, 1, 1, 0), (13,), [(3, 3), (12,)]), ((2, 2, 0, 0, 0), (2, 3), [(2, 2, 2), (2, 2)]),
                ((2, 4, 0, 1, 1), (2, 21), [(2, 4, 4), (2, 20)])])
array("svd", values.svd, 1, "batch m n full vectors", check=_check(3, 2, _of_svd),
      operations=_cubes(9), work=_svd_work, symbols=("dgesdd",), parts=_singular_parts,
      batch=orthogonal_rules.batch_factors, **_NO_CONVERGENCE, complaint="no convergence to singular values",
      domain=("R",),
      examples=[((1, 3, 3, 0, 1), (21,), [(3, 3)]), ((2, 4, 2, 1, 1), (2, 22), [(2, 4, 2)]),
                ((1, 2, 3, 0, 0), (2,), [(2, 3)])])
array("svd_spectrum", values.svd_spectrum, 2, "batch m n full vectors level",
      check=_check(3, 2, _of_svd_spectrum, 1), operations=_moves, differentiable=(0,),
      parts=_with_distance(_singular_parts), near=spectral_rules.next_level,
      tangent=spectral_rules.tangent_svd, adjoint=spectral_rules.adjoint_svd, batch=spectral_rules.batch_stacks,
      domain=("R", "u"),
      examples=[((1, 3, 3, 0, 1, 0), (22,), [(3, 3), (21,)]), ((2, 4, 2, 0, 1, 1), (2, 15), [(2, 4, 2), (2, 14)]),
                ((1, 2, 3, 0, 1, 0), (13,), [(2, 3), (12,)])])
array("gap_quotient", values.gap_quotient, 4, "batch rows columns kind quiet", check=_check(3, 0, _of_gaps, 2),
      operations=_quotients, linear=(0,), differentiable=(0, 1, 2), notice=values.gap_notice,
      tangent=spectral_rules.tangent_gap_quotient, adjoint=spectral_rules.adjoint_gap_quotient,
      batch=spectral_rules.batch_stacks, domain=("R", "low", "high", "zeros"),
      examples=[((2, 3, 3, kind, 0), (2, 3, 3), [(2, 3, 3), (2, 3), (2, 3), (2, 2)]) for kind in (0, 1, 2)]
      + [((1, 3, 2, 0, 0), (3, 2), [(3, 2), (3,), (2,), (1, 2)])])
array("determinant", values.determinant, 2, "batch n", check=_check(2, 0, _of_determinant), operations=_diagonals,
      of_nothing=1.0, differentiable=(0,), tangent=inverse_rules.tangent_determinant,
      adjoint=inverse_rules.adjoint_determinant, batch=batch_determinant, domain=("R", "factors"),
      examples=[((1, 3), (), [(3, 3), (12,)]), ((2, 4), (2,), [(2, 4, 4), (2, 20)]),
                ((4, 2), (4,), [(4, 2, 2), (4, 6)])])
array("cofactors", values.cofactors, 2, "batch n", check=_check(2, 0, _of_cofactors),
      operations=_square_operations(2), work=_cofactors_work, symbols=("dgesdd", "dgemm"), differentiable=(0,),
      tangent=inverse_rules.tangent_cofactors, adjoint=inverse_rules.adjoint_cofactors, batch=batch_determinant,
      **_NO_CONVERGENCE, complaint="no convergence to singular values", domain=("R", "factors"),
      examples=[((1, 3), (3, 3), [(3, 3), (12,)]), ((2, 4), (2, 4, 4), [(2, 4, 4), (2, 20)]),
                ((1, 1), (1, 1), [(1, 1), (2,)])])
array("pinv", values.pinv, 2, "batch m n", check=_check(3, 0, _of_pinv), operations=_cubes(10), work=_pinv_work,
      symbols=("dgesdd",), differentiable=(0,), tangent=inverse_rules.tangent_pinv, adjoint=inverse_rules.adjoint_pinv,
      batch=inverse_rules.batch_pinv, **_NO_CONVERGENCE, complaint="no convergence to singular values",
      domain=("R", "zeros"),
      examples=[((1, 3, 3), (3, 3), [(3, 3), (1,)]), ((2, 4, 2), (2, 2, 4), [(2, 4, 2), (2,)]),
                ((1, 2, 3), (3, 2), [(2, 3), (1,)])])
array("expm", values.expm, 1, "batch n core", check=_check(2, 0, _of_function, 1), operations=_square_operations(10),
      work=_function_work, symbols=("dgemm", "dgetrf"), tangent=inverse_rules.tangent_function,
      adjoint=inverse_rules.adjoint_function, batch=orthogonal_rules.batch_factors, domain=("R",),
      examples=[((1, 3, 3), (3, 3), [(3, 3)]), ((2, 4, 4), (2, 4, 4), [(2, 4, 4)])])
array("sqrtm", values.sqrtm, 1, "batch n core", check=_check(2, 0, _of_function, 1), operations=_square_operations(40),
      work=_function_work, symbols=("dgemm", "dgetrf"), tangent=inverse_rules.tangent_function,
      adjoint=inverse_rules.adjoint_function, batch=orthogonal_rules.batch_factors,
      **_NO_CONVERGENCE, complaint="a matrix without a real square root", domain=("definite",),
      examples=[((1, 3, 3), (3, 3), [(3, 3)]), ((2, 4, 4), (2, 4, 4), [(2, 4, 4)])])
array("banded_lu", values.banded_lu, 1, "batch n low high", check=_check(4, 0, _of_band_lu),
      operations=_band_lu_operations, work=lambda s, size, sizes: s[1] + 3, symbols=("dgbtrf",),
      parts=lambda s: (s[0], (Result("band factors", (s[1], 2 * s[2] + s[3] + 1), "d"),
                              Result("pivots", (s[1],), "i"))),
      differentiable=(), adjoint=lambda b, row, operands, result, u: [None], batch=orthogonal_rules.batch_factors,
      domain=("R",),
      examples=[((1, 4, 1, 2), (24,), [(4, 4)]), ((2, 3, 1, 0), (2, 12), [(2, 2, 3)])])
array("banded_lu_solve", values.banded_lu_solve, 3, "batch n low high m transposed separate",
      check=_check(5, 2, _of_band_solve), operations=_band_solve_operations, work=lambda s, size, sizes: s[1],
      linear=(2,), differentiable=(0, 2), tangent=inverse_rules.tangent_banded_lu_solve,
      adjoint=inverse_rules.adjoint_banded_lu_solve, batch=inverse_rules.batch_banded_lu_solve,
      error=SingularMatrixError, complaint="a singular matrix", domain=("R", "band factors", "R"),
      examples=[((1, 4, 1, 2, 2, trans, 1), (4, 2), [(4, 4), (24,), (4, 2)]) for trans in (0, 1)]
      + [((2, 3, 1, 1, 1, 0, 0), (2, 3), [(3, 3), (15,), (2, 3)]),
         ((2, 3, 0, 1, 1, 1, 1), (2, 3), [(2, 2, 3), (2, 9), (2, 3)])])
array("banded_solve", values.banded_solve, 2, "batch n m low high transposed separate",
      check=_check(3, 0, _of_band, 4), operations=_band_operations, work=_band_work, linear=(1,),
      symbols=("dgbtrf",), tangent=inverse_rules.tangent_banded_solve,
      adjoint=inverse_rules.adjoint_banded_solve, batch=inverse_rules.batch_banded_solve,
      error=SingularMatrixError, complaint="a singular matrix", domain=("R", "R"),
      examples=[((1, 4, 2, 1, 2, trans, 1), (4, 2), [(4, 4), (4, 2)]) for trans in (0, 1)]
      + [((2, 3, 1, 1, 0, 0, 0), (2, 3), [(2, 3), (2, 3)]), ((2, 3, 1, 0, 1, 0, 1), (2, 3), [(2, 2, 3), (2, 3)])])
# fmt: on
