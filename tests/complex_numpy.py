"""NumPy continued to complex arguments near the real axis, for derivatives by complex steps exact to rounding.

f(x + i h v) = f(x) + i h f'(x) v up to h², which is negligible for h = 1e-30: the complex step of Lyness & Moler (1967)
and Squire & Trapp (1998). At kinks the real parts decide. Functions that NumPy and SciPy have for real numbers only are
defined here. Nothing in this file uses fastad's partial derivatives; the few used are marked "known derivative".
"""

import numpy as np
from scipy import special

STEP = 1e-30


def _real(function):
    return lambda *x, **options: function(*map(np.real, x), **options)


def _step(function):
    """Complex results, so that they can be written to."""
    return lambda *x: function(*map(np.real, x)) + 0j


def _dual(value, derivative):
    """A function of one argument by its known derivative."""
    return lambda z: value(np.real(z)) + 1j * derivative(np.real(z)) * np.imag(z)


def _larger(first):
    return lambda a, b: np.where(first(np.real(a), np.real(b)), a, b)


def _absolute(z):
    return np.where(np.real(z) < 0, -z, z)


def _logaddexp(a, b):
    high, low = _larger(np.greater)(a, b), _larger(np.less)(a, b)
    return high + np.log1p(np.exp(low - high))


def _arctan2(a, b):
    x, y = np.real(a), np.real(b)
    return np.arctan2(x, y) + 1j * (y * np.imag(a) - x * np.imag(b)) / (x * x + y * y)  # known derivative


def _mod(a, b):
    return a - np.floor(np.real(a) / np.real(b)) * b


def _fmod(a, b):
    return a - np.trunc(np.real(a) / np.real(b)) * b


def _zeta(s, q):  # known derivative by q
    x, y = np.real(s), np.real(q)
    return special.zeta(x, y) - 1j * x * special.zeta(x + 1, y) * np.imag(q)


def _betaln(a, b):
    return special.loggamma(a + 0j) + special.loggamma(b + 0j) - special.loggamma(a + b + 0j)


def _cbrt(z):
    return np.where(np.real(z) < 0, -1, 1) * np.exp(np.log(_absolute(z)) / 3)


ELEMENTWISE = {
    "absolute": _absolute, "fabs": _absolute, "logaddexp": _logaddexp, "arctan2": _arctan2, "mod": _mod,
    "fmod": _fmod, "cbrt": _cbrt, "remainder": _mod,
    "maximum": _larger(np.greater_equal), "fmax": _larger(np.greater_equal),
    "minimum": _larger(np.less_equal), "fmin": _larger(np.less_equal),
    "copysign": lambda a, b: np.copysign(1.0, np.real(b)) * _absolute(a),
    "heaviside": lambda a, b: np.where(np.real(a) == 0, b, np.real(a) > 0) + 0j,
    "logaddexp2": lambda a, b: _logaddexp(a * np.log(2), b * np.log(2)) / np.log(2),
    "exp2": lambda z: np.exp(z * np.log(2)),
    "hypot": lambda a, b: np.sqrt(a * a + b * b),
    "deg2rad": lambda z: z * (np.pi / 180), "rad2deg": lambda z: z * (180 / np.pi),
    "radians": lambda z: z * (np.pi / 180), "degrees": lambda z: z * (180 / np.pi),
    "sinc": lambda z: np.sin(np.pi * z) / (np.pi * z),
    "gammaln": special.loggamma, "digamma": special.psi,
    "expit": lambda z: 1 / (1 + np.exp(-z)), "log_expit": lambda z: -np.log1p(np.exp(-z)),
    "logit": lambda z: np.log(z) - np.log1p(-z),
    "xlogy": lambda a, b: a * np.log(b), "xlog1py": lambda a, b: a * np.log1p(b), "entr": lambda z: -z * np.log(z),
    "erfinv": _dual(special.erfinv, lambda x: np.sqrt(np.pi) / 2 * np.exp(special.erfinv(x) ** 2)),
    "ndtri": _dual(special.ndtri, lambda x: np.sqrt(2 * np.pi) * np.exp(special.ndtri(x) ** 2 / 2)),
    "erfcinv": _dual(special.erfcinv, lambda x: -np.sqrt(np.pi) / 2 * np.exp(special.erfcinv(x) ** 2)),
    "betaln": _betaln, "beta": lambda a, b: np.exp(_betaln(a, b)),
    "digamma_rise": lambda a, b: special.psi(a + b) - special.psi(a),
    "exprel": lambda z: np.expm1(z) / z, "exprel_slope": lambda z: (np.exp(z) - np.expm1(z) / z) / z,
    "boxcox": lambda a, b: np.expm1(b * np.log(a)) / b, "boxcox1p": lambda a, b: np.expm1(b * np.log1p(a)) / b,
    "zeta": _zeta, "gammasgn": _step(special.gammasgn),
}  # fmt: skip


def _of_last(function, slope):
    """A function of a real order and an argument by its known derivative: SciPy's complex Bessel functions lose small
    imaginary parts."""

    def found(*operands):
        x = [np.real(z) for z in operands]
        return function(*x) + 1j * slope(*x) * np.imag(operands[-1])

    return found


_S = special
_BESSEL = {
    "j0": lambda x: -_S.j1(x), "j1": lambda x: 0.5 * (_S.j0(x) - _S.jv(2, x)),
    "y0": lambda x: -_S.y1(x), "y1": lambda x: 0.5 * (_S.y0(x) - _S.yv(2, x)),
    "i0": _S.i1, "i1": lambda x: 0.5 * (_S.i0(x) + _S.iv(2, x)),
    "k0": lambda x: -_S.k1(x), "k1": lambda x: -0.5 * (_S.k0(x) + _S.kv(2, x)),
    "i0e": lambda x: _S.i1e(x) - np.sign(x) * _S.i0e(x),
    "i1e": lambda x: 0.5 * (_S.i0e(x) + _S.ive(2, x)) - np.sign(x) * _S.i1e(x),
    "k0e": lambda x: _S.k0e(x) - _S.k1e(x), "k1e": lambda x: _S.k1e(x) - 0.5 * (_S.k0e(x) + _S.kve(2, x)),
    "jv": lambda v, x: 0.5 * (_S.jv(v - 1, x) - _S.jv(v + 1, x)),
    "yv": lambda v, x: 0.5 * (_S.yv(v - 1, x) - _S.yv(v + 1, x)),
    "iv": lambda v, x: 0.5 * (_S.iv(v - 1, x) + _S.iv(v + 1, x)),
    "kv": lambda v, x: -0.5 * (_S.kv(v - 1, x) + _S.kv(v + 1, x)),
    "ive": lambda v, x: 0.5 * (_S.ive(v - 1, x) + _S.ive(v + 1, x)) - np.sign(x) * _S.ive(v, x),
    "kve": lambda v, x: _S.kve(v, x) - 0.5 * (_S.kve(v - 1, x) + _S.kve(v + 1, x)),
}  # fmt: skip
for _name, _slope in _BESSEL.items():
    ELEMENTWISE[_name] = ELEMENTWISE[f"bessel_{_name}"] = _of_last(getattr(special, _name), _slope)
for _name in ("floor", "ceil", "trunc", "rint", "sign", "floor_divide"):
    ELEMENTWISE[_name] = _step(getattr(np, _name))
for _name in (
    "isnan", "isinf", "isfinite", "signbit", "less", "less_equal", "greater",
    "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not", "logical_xor",
):  # fmt: skip
    ELEMENTWISE[_name] = _real(getattr(np, _name))


def _var(z, axis=None, ddof=0, keepdims=False):
    centred = z - np.mean(z, axis=axis, keepdims=True)
    squares = np.sum(centred * centred, axis=axis, keepdims=keepdims)
    return squares / (np.size(z) // max(np.size(squares), 1) - ddof)


def _quantile(z, q, axis=None):
    ordered = np.sort(np.reshape(z, -1) if axis is None else np.moveaxis(z, axis, -1), axis=-1)
    if not ordered.size:
        return np.full(ordered.shape[:-1], np.nan)
    at = q * (ordered.shape[-1] - 1)
    low = int(at)
    high = min(low + 1, ordered.shape[-1] - 1)
    return ordered[..., low] + (at - low) * (ordered[..., high] - ordered[..., low])


def _interp(x, xp, fp):
    k = np.clip(np.searchsorted(np.real(xp), np.real(x), side="right") - 1, 0, len(xp) - 2)
    inside = fp[k] + (x - xp[k]) * (fp[k + 1] - fp[k]) / (xp[k + 1] - xp[k])
    return np.where(np.real(x) < np.real(xp[0]), fp[0], np.where(np.real(x) > np.real(xp[-1]), fp[-1], inside))


def _norm(z, axis=None):
    return np.sqrt(np.sum(z * z, axis=axis))


class _Linalg:
    norm = staticmethod(_norm)


class ComplexNumPy:
    """What programs see as `np` (and as `special`) when they run on complex numbers."""

    linalg = _Linalg
    var, interp = staticmethod(_var), staticmethod(_interp)
    std = staticmethod(lambda z, **options: np.sqrt(_var(z, **options)))
    quantile, median = staticmethod(_quantile), staticmethod(lambda z, axis=None: _quantile(z, 0.5, axis))
    vdot = staticmethod(lambda a, b: np.sum(np.reshape(a, -1) * np.reshape(b, -1)))
    clip = staticmethod(lambda z, low, high: ELEMENTWISE["minimum"](ELEMENTWISE["maximum"](z, low), high))
    abs = staticmethod(_absolute)
    psi = staticmethod(special.psi)
    zeros = staticmethod(lambda shape, like=None: np.zeros(shape, complex))
    ones = staticmethod(lambda shape, like=None: np.ones(shape, complex))

    def __init__(self, plain):
        self._plain = plain

    def __getattr__(self, name):
        return ELEMENTWISE[name] if name in ELEMENTWISE else getattr(self._plain, name)


def evaluate(table, inputs):
    """Results of an op table for complex inputs, as `fastad.tables.reference.evaluate` defines them for real ones."""
    from fastad.primitives import Elementwise

    values = []
    for row in table.rows():
        operands = [values[x] for x in row.operands]
        name = row.name
        if name == "input":
            value = inputs[int(table.columns["a"][row.index])]
        elif name == "const":
            value = table.constant(row.index)
        elif name == "guard":
            value = operands[0]
        elif isinstance(row.primitive, Elementwise):
            flat = [np.reshape(x, -1) if np.size(x) != 1 else np.reshape(x, ()) for x in operands]
            if name == "where":
                flat[0] = np.real(flat[0]) != 0
            value = np.broadcast_to(ELEMENTWISE.get(name, row.primitive.numpy)(*flat), (row.size,))
        else:
            value = row.primitive.numpy(row.statics, row.shape, *operands)
        values.append(np.reshape(np.real(value).astype(float) if row.dtype in "ib" else value, row.shape))
    return [values[r] for r in table.outputs]
