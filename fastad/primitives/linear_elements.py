"""The rows of small systems of equations as elementwise ones, over lanes whose matrices need different pivots: rows are
swapped by selects. See `elements`; the algorithms are those of `fastad.kernels.factoring`, step by step.

A lane cannot stop the others by an error. The solution of a singular system is NaN in every component there, so that a
solver rejects the step, and ends with an error of its own where no other step helps.
"""

from typing import Any

import numpy as np

from fastad.primitives.elements import Elements

MOST = 8  # rows of a matrix: a factorisation has about 1.5 n³ rows of the table, which must be compiled
_NAN = float("nan")

Matrix = np.ndarray  # of references


def _matrices(operand: Elements, count: int, *shape: int) -> Matrix:
    return np.array(operand, int).reshape(count, *shape)


def _swap(b: Any, condition: int, a: Matrix, i: int, j: int) -> None:
    """Swap two rows where the condition holds."""
    for k in range(a.shape[1]):
        x, y = int(a[i, k]), int(a[j, k])
        a[i, k], a[j, k] = b.emit("where", (condition, y, x)), b.emit("where", (condition, x, y))


def _minus_product(b: Any, a: int, x: int, y: int) -> int:
    return int(b.emit("subtract", (int(a), b.multiply(int(x), int(y)))))


# ── factors ───────────────────────────────────────────────────────────────────────────────────────────────────
def lu(b: Any, row: Any, operands: list[Elements]) -> Elements | None:
    batch, n = row.statics
    if n > MOST:
        return None
    return [x for a in _matrices(operands[0], batch, n, n) for x in _factored(b, a)]


def _factored(b: Any, a: Matrix) -> list[int]:
    """The factors of one matrix, then its pivots."""
    n, pivots = len(a), []
    for k in range(n):
        best, pivot = b.emit("absolute", (int(a[k, k]),)), b.const(float(k))
        for i in range(k + 1, n):
            size = b.emit("absolute", (int(a[i, k]),))
            better = b.emit("greater", (size, best))
            best, pivot = (b.emit("where", (better, *pair)) for pair in ((size, best), (b.const(float(i)), pivot)))
        for i in range(k + 1, n):
            _swap(b, b.emit("equal", (pivot, b.const(float(i)))), a, k, i)
        pivots.append(pivot)
        _eliminate(b, a, k)
    return [*a.reshape(-1).tolist(), *pivots]


def _eliminate(b: Any, a: Matrix, k: int) -> None:
    """Nothing is to be done where the pivot is 0: then all below it is."""
    n = len(a)
    if k + 1 == n:
        return
    is_zero = b.emit("equal", (int(a[k, k]), b.const(0.0)))
    divisor = b.emit("where", (is_zero, b.const(1.0), int(a[k, k])))
    for i in range(k + 1, n):
        a[i, k] = b.emit("divide", (int(a[i, k]), divisor))
        for j in range(k + 1, n):
            a[i, j] = _minus_product(b, a[i, j], a[i, k], a[k, j])


# ── systems ───────────────────────────────────────────────────────────────────────────────────────────────────
def lu_solve(b: Any, row: Any, operands: list[Elements]) -> Elements | None:
    batch, n, m, trans, separate = row.statics
    if n > MOST:
        return None
    factors = _matrices(operands[1], batch if separate else 1, n * (n + 1))
    sides = _matrices(operands[2], batch, n, m)
    return [x for p, z in enumerate(sides) for x in _solved(b, factors[p * separate], z, trans)]


def _solved(b: Any, factors: Matrix, z: Matrix, trans: int) -> Elements:
    n = len(z)
    t, pivots = factors[: n * n].reshape(n, n), factors[n * n :]
    if not trans:
        _permute(b, z, pivots, range(n))
    _substitute(b, t, z, 1 - trans, trans, 1 - trans)
    _substitute(b, t, z, trans, trans, trans)
    if trans:
        _permute(b, z, pivots, range(n - 1, -1, -1))
    return _where_regular(b, t, z.reshape(-1).tolist())


def triangular_solve(b: Any, row: Any, operands: list[Elements]) -> Elements | None:
    batch, n, m, lower, trans, unit, separate = row.statics
    if n > MOST:
        return None
    triangles = _matrices(operands[0], batch if separate else 1, n, n)
    found: Elements = []
    for p, z in enumerate(_matrices(operands[1], batch, n, m)):
        t = triangles[p * separate]
        _substitute(b, t, z, lower, trans, unit)
        own = z.reshape(-1).tolist()
        found += own if unit else _where_regular(b, t, own)
    return found


def permute_rows(b: Any, row: Any, operands: list[Elements]) -> Elements | None:
    batch, n, m, inverse, separate = row.statics
    if n > MOST:
        return None
    pivots = _matrices(operands[0], batch if separate else 1, n)
    found: Elements = []
    for p, z in enumerate(_matrices(operands[1], batch, n, m)):
        _permute(b, z, pivots[p * separate], range(n - 1, -1, -1) if inverse else range(n))
        found += z.reshape(-1).tolist()
    return found


def _permute(b: Any, z: Matrix, pivots: Matrix, order: range) -> None:
    for k in order:
        for i in range(k + 1, len(z)):
            _swap(b, b.emit("equal", (int(pivots[k]), b.const(float(i)))), z, k, i)


def _substitute(b: Any, t: Matrix, z: Matrix, lower: int, trans: int, unit: int) -> None:
    """z = op(T)⁻¹ z."""
    n, m = z.shape
    t, lower = (t.T, 1 - lower) if trans else (t, lower)
    for i in range(n) if lower else range(n - 1, -1, -1):
        for j in range(m):
            for k in range(i) if lower else range(n - 1, i, -1):
                z[i, j] = _minus_product(b, z[i, j], t[i, k], z[k, j])
            if not unit:
                z[i, j] = b.emit("divide", (int(z[i, j]), int(t[i, i])))


def _where_regular(b: Any, t: Matrix, found: Elements) -> Elements:
    """NaN where a number on the diagonal is 0."""
    nothing = b.emit("equal", (int(t[0, 0]), b.const(0.0)))
    for k in range(1, len(t)):
        nothing = b.emit("logical_or", (nothing, b.emit("equal", (int(t[k, k]), b.const(0.0)))))
    return [b.emit("where", (nothing, b.const(_NAN), x)) for x in found]
