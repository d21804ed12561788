"""Linear algebra of small matrices as straight-line code: their numbers are in registers, pivots are chosen by selects.
The code is that of one matrix, or of as many as a SIMD vector has lanes.

The algorithms are those of `fastad.kernels.factoring`, step by step.
"""

from typing import Any

import numpy as np

from fastad.execution.native.code.unrolled import unrolled

Matrix = np.ndarray  # of texts


def _matrix(code: Any, x: int, shape: tuple[int, ...]) -> Matrix:
    return np.array(code.all(x), object).reshape(shape)


class _Numbers:
    """Arithmetic on the numbers of a function."""

    def __init__(self, code: Any) -> None:
        self.code, self.block = code, code.entry
        self.zero, self.one = self.block.zero, self.block.one

    def __getattr__(self, name: str) -> Any:
        return lambda *operands: self.block.number(self.block.apply(name, *operands))

    def minus_product(self, a: str, x: str, y: str) -> str:
        """a - x y, rounded twice: what cancels exactly then is 0."""
        return str(self.subtract(a, self.block.emit(f"fmul {self.block.type} {x}, {y}")))

    def constant(self, x: float) -> str:
        return str(self.block.constant(float(x)))

    def swap(self, condition: str, a: Matrix, i: int, j: int) -> None:
        """Swap two rows where the condition holds."""
        for k in range(a.shape[1]):
            x, y = a[i, k], a[j, k]
            a[i, k], a[j, k] = self.where(condition, y, x), self.where(condition, x, y)

    def stop_if(self, condition: str, row: Any) -> None:
        """End with the error of a row."""
        self.code.stop_if(self.block.truth(condition), -(row.index + 1))


# ── factors ───────────────────────────────────────────────────────────────────────────────────────────────────
@unrolled("lu")
def _lu(code: Any, row: Any) -> list[str]:
    _, n = row.statics
    a, do = _matrix(code, row.operands[0], (n, n)), _Numbers(code)
    pivots = []
    for k in range(n):
        best, better = do.absolute(a[k, k]), []
        for i in range(k + 1, n):
            size = do.absolute(a[i, k])
            better.append(do.block.apply("greater", size, best))
            best = do.where(better[-1], size, best)
        pivots.append(do.constant(k))
        for i, chosen in enumerate(_last(do, better), k + 1):
            do.swap(chosen, a, k, i)
            pivots[-1] = do.where(chosen, do.constant(i), pivots[-1])
        _eliminate(do, a, k, n)
    return [*a.reshape(-1).tolist(), *pivots]


def _last(do: _Numbers, flags: list[str]) -> list[str]:
    """For each flag, whether it is the last one that is true. To compare the number of the pivot with all others would
    say the same, but takes LLVM a long time."""
    found, later = flags[-1:], flags[-1] if flags else ""
    for flag in flags[-2::-1]:
        found.insert(0, do.block.apply("logical_and", flag, do.block.apply("logical_not", later)))
        later = do.block.apply("logical_or", flag, later)
    return found


def _eliminate(do: _Numbers, a: Matrix, k: int, n: int) -> None:
    """Nothing is to be done where the pivot is 0: then all below it is."""
    divisor = do.where(do.block.apply("equal", a[k, k], do.zero), do.one, a[k, k])
    for i in range(k + 1, n):
        a[i, k] = do.divide(a[i, k], divisor)
        for j in range(k + 1, n):
            a[i, j] = do.minus_product(a[i, j], a[i, k], a[k, j])


@unrolled("cholesky")
def _cholesky(code: Any, row: Any) -> list[str]:
    _, n = row.statics
    a, do = _matrix(code, row.operands[0], (n, n)), _Numbers(code)
    lower = np.full((n, n), do.zero, object)
    for i in range(n):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total = do.minus_product(total, lower[i, k], lower[j, k])
            if i > j:
                lower[i, j] = do.divide(total, lower[j, j])
            else:
                do.stop_if(do.block.apply("less_equal", total, do.zero), row)
                lower[i, i] = do.sqrt(total)
    return list(lower.reshape(-1))


@unrolled("determinant_sign")
def _determinant_sign(code: Any, row: Any) -> list[str]:
    _, n = row.statics
    f, do = code.all(row.operands[0]), _Numbers(code)
    sign = do.one
    for k in range(n):
        d, swapped = f[k * n + k], do.not_equal(f[n * n + k], do.constant(k))
        turned = do.where(do.block.apply("not_equal", do.less(d, do.zero), swapped), do.negative(sign), sign)
        # 0 where d is, NaN where d is
        ordinary = do.block.apply("greater", do.absolute(d), do.zero)
        sign = do.where(ordinary, turned, do.multiply(sign, do.absolute(d)))
    return [do.where(do.block.apply("equal", sign, do.zero), do.zero, sign)]


@unrolled("log_determinant")
def _log_determinant(code: Any, row: Any) -> list[str]:
    _, n = row.statics
    f, do = code.all(row.operands[1]), _Numbers(code)
    total = do.zero
    for k in range(n):
        total = do.add(total, do.log(do.absolute(f[k * n + k])))
    return [total]


# ── systems ───────────────────────────────────────────────────────────────────────────────────────────────────
def _stop_if_singular(do: _Numbers, t: Matrix, row: Any) -> None:
    for k in range(len(t)):
        do.stop_if(do.block.apply("equal", t[k, k], do.zero), row)


def _substitute(do: _Numbers, t: Matrix, b: Matrix, lower: int, trans: int, unit: int) -> None:
    """b = op(T)⁻¹ b."""
    n, m = b.shape
    t, lower = (t.T, 1 - lower) if trans else (t, lower)
    order = range(n) if lower else range(n - 1, -1, -1)
    for i in order:
        for j in range(m):
            for k in range(i) if lower else range(n - 1, i, -1):
                b[i, j] = do.minus_product(b[i, j], t[i, k], b[k, j])
            if not unit:
                b[i, j] = do.divide(b[i, j], t[i, i])


@unrolled("triangular_solve")
def _triangular_solve(code: Any, row: Any) -> list[str]:
    _, n, m, lower, trans, unit, _ = row.statics
    t, b, do = _matrix(code, row.operands[0], (n, n)), _matrix(code, row.operands[1], (n, m)), _Numbers(code)
    if not unit:
        _stop_if_singular(do, t, row)
    _substitute(do, t, b, lower, trans, unit)
    return list(b.reshape(-1))


@unrolled("lu_solve")
def _lu_solve(code: Any, row: Any) -> list[str]:
    _, n, m, trans, _ = row.statics
    _, f, z = row.operands
    factors, do = code.all(f), _Numbers(code)
    t, pivots = np.array(factors[: n * n], object).reshape(n, n), factors[n * n :]
    b = _matrix(code, z, (n, m))
    _stop_if_singular(do, t, row)
    if not trans:
        _permute(do, b, pivots, range(n))
    _substitute(do, t, b, 1 - trans, trans, 1 - trans)
    _substitute(do, t, b, trans, trans, trans)
    if trans:
        _permute(do, b, pivots, range(n - 1, -1, -1))
    return list(b.reshape(-1))


def _permute(do: _Numbers, b: Matrix, pivots: list[str], order: range) -> None:
    for k in order:
        for i in range(k + 1, len(b)):
            do.swap(do.block.apply("equal", pivots[k], do.constant(i)), b, k, i)
