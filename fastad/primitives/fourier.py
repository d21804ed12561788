"""The row of discrete Fourier transforms, on (outer, 2, n, inner): real and imaginary parts in turn.

The second operand holds the n-th roots of unity: n cosines, then n sines.
"""

import math
from typing import Any

import numpy as np

from fastad.primitives.arrays import array
from fastad.primitives.regions import region
from fastad.primitives.rules import lead

Ref = int
Statics = tuple[int, ...]


def roots_of_unity(n: int) -> np.ndarray:
    """cos and sin of 2πk/n for k < n, of shape (2, n), to rounding: by angles of at most 45°."""
    eighths = 8 * np.arange(n)
    octant = eighths // n
    within = np.where(octant % 2, (octant + 1) * n - eighths, eighths - octant * n) * (math.pi / 4 / n)
    c, s = np.cos(within), np.sin(within)
    turned = [(c, s), (s, c), (-s, c), (-c, s), (-c, -s), (-s, -c), (s, -c), (c, -s)]
    return np.array([np.choose(octant, [pair[k] for pair in turned]) for k in (0, 1)])


def _fourier(s: Statics, shape: tuple[int, ...], x: Any, y: Any) -> np.ndarray:
    outer, n, inner, positive = s
    parts = np.reshape(x, (outer, 2, n, inner))
    z = parts[:, 0] + 1j * parts[:, 1]
    found = np.fft.ifft(z, axis=1, norm="forward") if positive else np.fft.fft(z, axis=1)
    return np.stack([found.real, found.imag], axis=1).reshape(shape)


def _evaluate(s: Statics, shape: tuple[int, ...], x: Any, y: Any) -> np.ndarray:
    return _fourier(s, shape, x, y) if s[1] else np.zeros(shape)


def _check(s: Statics, size: int, sizes: list[int]) -> str | None:
    if len(s) != 4 or min(s) < 0 or s[3] > 1:
        return "static integers that are not outer, n, inner, positive"
    fits = size == sizes[0] == 2 * math.prod(s[:3]) and sizes[1] == 2 * s[1]
    return None if fits and math.prod(max(k, 1) for k in s[:3]) <= max(size, 2**31) else "sizes that do not fit"


def _operations(s: Statics, size: int, sizes: list[int]) -> dict[str, int]:
    passes = max(s[1] - 1, 0).bit_length()
    return {"additions": size * passes * 3 // 2, "multiplications": size * passes}


def _adjoint(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    """The transpose of the real matrix of a transform is that of the transform with the other sign."""
    *sizes, positive = row.statics
    return [b.emit(row.name, (u, operands[1]), (*sizes, 1 - positive), b.shape(operands[0])), None]


def _batch(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    outer, *rest = row.statics
    x, roots = operands
    if flags[1]:  # all lanes have the same ones
        count = b.size(roots) // size
        roots = b.region(roots, region(0, (count,), (1,)), (count,))
    return b.emit(row.name, (lead(b, x, flags[0], size), roots), (size * outer, *rest), (size, *row.shape))


def _sparsity(sets: Any, s: Statics, size: int, operands: Any, known: Any) -> Any:
    """All elements along the axis, of both parts."""
    outer, n, inner, _ = s
    lanes = np.arange(outer * inner).reshape(outer, 1, inner)
    found = sets.together(operands[0], np.broadcast_to(lanes, (outer, 2 * n, inner)).reshape(-1), outer * inner)
    return np.broadcast_to(found.reshape(outer, 1, inner), (outer, 2 * n, inner)).reshape(-1)


_SIZES = [(1, 8, 1), (2, 12, 3), (1, 7, 2), (3, 1, 1), (2, 30, 1), (1, 16, 5)]
array(
    "fourier", _evaluate, 2, "outer n inner positive", check=_check, operations=_operations,
    work=lambda s, size, sizes: 2 * s[1] * s[2], keeps_zero=True, linear=(0,), differentiable=(0,), adjoint=_adjoint,
    batch=_batch, sparsity=_sparsity, result="total", domain=("R", "roots"),
    examples=[
        ((outer, n, inner, positive), (outer, 2, n, inner), [(outer, 2, n, inner), (2, n)])
        for outer, n, inner in _SIZES for positive in (0, 1)
    ],
)  # fmt: skip
