"""Parts, sizes, kinds and comparisons of complex values, and reductions that are not linear."""

from typing import Any

import numpy as np

from fastad.recording.complex import elementary
from fastad.recording.complex.arithmetic import product, subtract
from fastad.recording.complex.calling import implements, implements_method
from fastad.recording.complex.parts import complex_constant, split, to_complex
from fastad.recording.complex.value import pair

implements(np.angle)(elementary.angle)
implements(np.iscomplexobj)(lambda x: True)
implements(np.isrealobj)(lambda x: False)
implements(np.shape)(lambda a: to_complex(a).shape)
implements(np.ndim)(lambda a: to_complex(a).ndim)
implements(np.sinc)(lambda x: _sinc(x))


@implements(np.real)
def real(val: Any) -> Any:
    """np.real"""
    return to_complex(val).real


@implements(np.imag)
def imag(val: Any) -> Any:
    """np.imag"""
    return to_complex(val).imag


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """np.iscomplex"""
    return imag(x) != 0


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """np.isreal"""
    return imag(x) == 0


@implements(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    """np.real_if_close; the answer gets a guard"""
    z = to_complex(a)
    limit = tol * np.finfo(z.dtype).eps if tol > 1 else tol
    return z.real if bool(np.all(np.abs(z.imag) < limit)) else z


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """np.size"""
    return int(np.size(np.empty(to_complex(a).shape, bool), axis))


@implements(np.result_type, np.common_type)
def result_type(*args: Any) -> Any:
    """np.result_type"""
    return np.result_type(*(x.dtype if hasattr(x, "dtype") else x for x in args))


def _sinc(x: Any) -> Any:
    turned = elementary.multiply(x, np.pi)
    return elementary.divide(elementary.sin(turned), turned)


# ── like another array ────────────────────────────────────────────────────────────────────────────────────────
def _filled_like(value: int) -> Any:
    def like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **options: Any) -> Any:
        z = to_complex(a)
        made = np.full(z.shape if shape is None else shape, value, z.dtype if dtype is None else dtype)
        if made.dtype.kind == "c":
            return complex_constant(z.recorder, made)
        return np.full_like(z.real, value, made.dtype, shape=made.shape)

    return like


implements(np.zeros_like, np.empty_like)(_filled_like(0))
implements(np.ones_like)(_filled_like(1))


@implements(np.full_like)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **options: Any
) -> Any:
    """np.full_like"""
    value = to_complex(fill_value, (a,))
    if np.result_type(a.dtype if dtype is None else dtype).kind != "c":
        return value.astype(a.dtype)  # which says why not
    return np.broadcast_to(value, np.shape(a) if shape is None else shape).copy()


# ── comparisons with one truth value as result ────────────────────────────────────────────────────────────────
@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> Any:
    """np.isclose"""
    found = (np.abs(subtract(a, b)) <= atol + rtol * np.abs(b)) & np.isfinite(b) | elementary.equal(a, b)
    return found | (np.isnan(a) & np.isnan(b)) if equal_nan else found


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> bool:
    """np.allclose; the answer gets a guard"""
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """np.array_equal; the answer gets a guard"""
    same = to_complex(a1, (a2,)).shape == to_complex(a2, (a1,)).shape
    return same and bool(np.all(elementary.equal(a1, a2) | (np.isnan(a1) & np.isnan(a2) if equal_nan else False)))


for _function in (np.all, np.any, np.count_nonzero, np.nonzero, np.flatnonzero, np.argwhere):
    implements(_function)(
        lambda a, *args, _own=_function, **kwargs: _own(elementary.is_nonzero(a), *args, **kwargs)
    )


# ── reductions ────────────────────────────────────────────────────────────────────────────────────────────────
@implements(np.var)
def var(a: Any, axis: Any = None, **options: Any) -> Any:
    """np.var: the mean of |z - mean|², which is the sum of the parts' variances"""
    z = to_complex(a)
    return np.var(z.real, axis, **options) + np.var(z.imag, axis, **options)


@implements(np.std)
def std(a: Any, axis: Any = None, **options: Any) -> Any:
    """np.std"""
    return np.sqrt(var(a, axis, **options))


@implements(np.prod)
@implements_method("multiply.reduce")
def prod(a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, **options: Any) -> Any:
    """np.prod, by products of halves"""
    z = to_complex(a)
    axes = tuple(range(z.ndim)) if axis is None else tuple(np.atleast_1d(axis).tolist())
    axes = tuple(d % z.ndim for d in axes)
    kept = tuple(1 if d in axes else n for d, n in enumerate(z.shape))
    z = np.moveaxis(z, axes, range(len(axes)))
    z = z.reshape((-1, *z.shape[len(axes) :]))
    if not len(z):
        return np.ones_like(z, shape=kept if keepdims else z.shape[1:])
    while len(z) > 1:
        half = len(z) // 2
        joined = pair(*product(split(z[:half]), split(z[half : 2 * half])))
        z = joined if len(z) % 2 == 0 else np.concatenate([joined, z[-1:]])
    return z.reshape(kept) if keepdims else z[0]


@implements(np.cumprod)
@implements_method("multiply.accumulate")
def cumprod(a: Any, axis: Any = None, dtype: Any = None, **options: Any) -> Any:
    """np.cumprod, by products with what stands 1, 2, 4, … places before"""
    z = to_complex(a)
    z = z.ravel() if axis is None else np.moveaxis(z, axis, 0)
    step = 1
    while step < len(z):
        z = np.concatenate([z[:step], z[step:] * z[:-step]])
        step *= 2
    return z if axis is None else np.moveaxis(z, 0, axis)

