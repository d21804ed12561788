"""Products of complex arrays, and norms: by products of the parts."""

from collections.abc import Callable
from itertools import product as combinations
from typing import Any

import numpy as np

from fastad.recording.complex import elementary
from fastad.recording.complex.arithmetic import minus, negated, plus, product
from fastad.recording.complex.calling import implements, implements_method
from fastad.recording.complex.parts import split, to_complex
from fastad.recording.complex.value import pair
from fastad.recording.recorder import recording_error


def bilinear(function: Callable[..., Any], *, conjugates: int | None = None) -> Callable[..., Any]:
    """A function of NumPy that is linear in its first two arguments; of one of them it takes the conjugate."""

    def apply(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        x, y = split(a), split(b)
        x, y = (x[0], negated(x[1])) if conjugates == 0 else x, (y[0], negated(y[1])) if conjugates == 1 else y
        own = lambda p, q: None if p is None or q is None else function(p, q, *args, **kwargs)
        return pair(*product(x, y, own), (a, b))

    return apply


for _name in ("dot", "matmul", "inner", "outer", "kron", "tensordot", "convolve", "cross"):
    if hasattr(np, _name):
        implements(getattr(np, _name))(bilinear(getattr(np, _name)))
for _name in ("matmul", "outer", "tensordot", "cross"):
    if hasattr(np.linalg, _name):
        implements(getattr(np.linalg, _name))(bilinear(getattr(np.linalg, _name)))
implements_method("matmul")(bilinear(np.matmul))
implements_method("multiply.outer")(bilinear(np.multiply.outer))
implements(np.vdot)(bilinear(np.vdot, conjugates=0))
implements(np.correlate)(bilinear(np.correlate, conjugates=1))
if hasattr(np, "vecdot"):
    implements_method("vecdot")(bilinear(np.vecdot, conjugates=0))
    implements(np.linalg.vecdot)(bilinear(np.vecdot, conjugates=0))
if hasattr(np, "matvec"):
    implements_method("matvec")(bilinear(np.matvec))


@implements(np.einsum)
def einsum(*operands: Any, **options: Any) -> Any:
    """np.einsum: the sum over the parts of all operands, with the sign of the power of i"""
    by_text = isinstance(operands[0], str)
    places = range(1, len(operands)) if by_text else range(0, len(operands) - 1, 2)
    arrays = [operands[k] for k in places]
    totals: list[Any] = [None, None]
    parts = [split(x) for x in arrays]
    for choice in combinations((0, 1), repeat=len(arrays)):
        own = [p[k] for p, k in zip(parts, choice, strict=True)]
        if all(x is not None for x in own):
            given = dict(zip(places, own, strict=True))
            term, turns = np.einsum(*[given.get(k, x) for k, x in enumerate(operands)], **options), sum(choice)
            totals[turns % 2] = (minus if turns % 4 > 1 else plus)(totals[turns % 2], term)
    return pair(totals[0], totals[1], arrays)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, **options: Any) -> Any:
    """np.linalg.multi_dot"""
    found = arrays[0]
    for x in arrays[1:]:
        found = bilinear(np.dot)(found, x)
    return found


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """np.linalg.matrix_power"""
    z = to_complex(a)
    base = np.linalg.inv(z) if n < 0 else z
    found: Any = None
    for bit in bin(abs(n))[:1:-1]:
        if bit == "1":
            found = base if found is None else found @ base
        base = base @ base
    return found if n else np.broadcast_to(np.eye(z.shape[-1]), z.shape) + 0 * z


# ── norms ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _norm(function: Callable[..., Any]) -> Callable[..., Any]:
    """A norm that is one of the absolute values; those of singular values are not."""

    def norm(x: Any, ord: Any = None, axis: Any = None, **options: Any) -> Any:
        ndim = to_complex(x).ndim if axis is None else np.size(axis)
        if ndim == 2 and ord in (2, -2, "nuc"):
            raise recording_error(
                f"np.linalg.norm with ord={ord!r} of a complex matrix is not supported on recorded values",
                "Use ord='fro'; singular values of A + 1j * B are those of np.block([[A, -B], [B, A]]), each twice.",
            )
        if ord is None or ord == "fro" or (ord == 2 and ndim == 1):
            re, im = to_complex(x).real, to_complex(x).imag
            return np.hypot(*(function(part, **_given(ord, axis), **options) for part in (re, im)))
        return function(elementary.absolute(x), **_given(ord, axis), **options)

    return norm


def _given(ord: Any, axis: Any) -> dict[str, Any]:
    return {name: value for name, value in (("ord", ord), ("axis", axis)) if value is not None}


implements(np.linalg.norm)(_norm(np.linalg.norm))
if hasattr(np.linalg, "vector_norm"):
    implements(np.linalg.vector_norm)(
        lambda x, *, axis=None, ord=2, keepdims=False: np.linalg.vector_norm(
            elementary.absolute(x), axis=axis, ord=ord, keepdims=keepdims
        )
    )
