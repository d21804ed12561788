"""Every elementwise function against mpmath over its domain: value, first and second derivative.

Errors are relative to |f| + |x f'| (of a derivative: |f'| + |x f''|, and so on), in units of 2.2e-16: a result and an
argument that are wrong in their last bits. FASTAD_TEST_PROFILE=thorough takes 60 points a decade.
"""

import functools
import os
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
import scipy.special as sp
from exact import INSIDE, UNIT, computed, derivatives, errors, line, near, ray
from mpmath import mp, mpf

import fastad as fad
from fastad.primitives import elementwise_rows
from fastad.recording.elementwise import elementwise

DENSITY = 60 if os.environ.get("FASTAD_TEST_PROFILE") == "thorough" else 0.15
EPS = 2.0**-52
POLES = range(0, -130, -1)  # of the gamma function


class Case(NamedTuple):
    """`bound` is that of all three errors, smaller ones than `absolute` aside, as the rows' comments say; `singular`
    are points where f is not analytic."""

    function: Any
    exact: Any
    domain: Any
    singular: Any = ()
    bound: float = 8.0
    absolute: float = 0.0


def row(name):
    return lambda x: elementwise(name, x)


def ndtr(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def log_gamma(x):
    return mp.re(mp.loggamma(x))


def log_beta(a, b):
    return log_gamma(a) + log_gamma(b) - log_gamma(a + b)


@functools.cache
def _besselk(order, x, digits):
    return mp.besselk(order, x)


def besselk(order, x):
    """That takes milliseconds, and what has a factor eˣ asks for the same numbers."""
    return _besselk(order, x, mp.dps)


def boxcox(x, p):
    return mp.expm1(p * mp.log(x)) / p


CASES = {
    "square": Case(np.square, lambda x: x * x, line(-140, 140)),
    "reciprocal": Case(np.reciprocal, lambda x: 1 / x, line(-90, 140), [0]),
    "sqrt": Case(np.sqrt, mp.sqrt, ray(), [0]),
    "root": Case(row("root"), mp.sqrt, ray(), [0]),
    "root_near": Case(row("root_near"), mp.sqrt, ray(), [0]),
    "cbrt": Case(np.cbrt, lambda x: mp.sign(x) * mp.cbrt(abs(x)), line(), [0]),
    "exp": Case(np.exp, mp.exp, line(-300, 2.8)),
    "exp2": Case(np.exp2, lambda x: mpf(2) ** x, line(-300, 2.9)),
    "exp10": Case(sp.exp10, lambda x: mpf(10) ** x, line(-300, 2.4)),
    "expm1": Case(np.expm1, mp.expm1, line(-290, 2.8)),
    "exprel": Case(sp.exprel, lambda x: mp.expm1(x) / x, line(-290, 2.8), bound=16),
    "exprel_slope": Case(row("exprel_slope"), lambda x: (mp.exp(x) - mp.expm1(x) / x) / x, line(-50, 2.8), bound=64),
    "log": Case(np.log, mp.log, ray() + near(1.0), [0]),
    "log2": Case(np.log2, lambda x: mp.log(x) / mp.log(2), ray() + near(1.0), [0]),
    "log10": Case(np.log10, mp.log10, ray() + near(1.0), [0]),
    "log1p": Case(np.log1p, mp.log1p, ray(-290) + ray(-290, -0.1, 0, -1) + ray(-15, -1, -1.0), [-1]),
    "sin": Case(np.sin, mp.sin, line(-290, 20)),
    "cos": Case(np.cos, mp.cos, line(-290, 20)),
    "tan": Case(np.tan, mp.tan, line(-290, 20)),
    "arcsin": Case(np.arcsin, mp.asin, INSIDE, [1, -1]),
    "arccos": Case(np.arccos, mp.acos, INSIDE, [1, -1]),
    "arctan": Case(np.arctan, mp.atan, line(-290, 75), [1j, -1j]),  # 1 / (1 + a²)² underflows at 1e81
    "sinh": Case(np.sinh, mp.sinh, line(-290, 2.8)),
    "cosh": Case(np.cosh, mp.cosh, line(-290, 2.8)),
    "tanh": Case(np.tanh, mp.tanh, line(-290, 0.3)),  # in the tails by an absolute bound, below
    "sech": Case(row("sech"), mp.sech, line(-290, 2.8)),
    "arcsinh": Case(np.arcsinh, mp.asinh, line(-290), [1j, -1j]),
    "arccosh": Case(np.arccosh, mp.acosh, ray(-15, 140, 1.0), [1, -1]),
    "arctanh": Case(np.arctanh, mp.atanh, INSIDE, [1, -1]),
    "sinc": Case(np.sinc, mp.sincpi, line(-290, 6) + near(1.0, 2.0, low=-8), bound=2000),  # cos - sinc cancels at 0.02
    "erf": Case(sp.erf, mp.erf, line(-290, 1.4)),
    "erfc": Case(sp.erfc, mp.erfc, line(-290, 1.4)),
    "erfcx": Case(sp.erfcx, lambda x: mp.exp(x * x) * mp.erfc(x), ray(-290, 30) + ray(-290, 1.4, 0, -1), bound=200),
    "erfinv": Case(sp.erfinv, mp.erfinv, line(-40, -0.1) + ray(-15, -1, 1.0, -1) + ray(-15, -1, -1.0), [1, -1], 64),
    "erfcinv": Case(
        sp.erfcinv, lambda x: mp.erfinv(1 - x), ray(-25, -0.1) + near(1.0) + ray(-15, -1, 2.0, -1), [0, 2], 256
    ),
    "ndtr": Case(sp.ndtr, ndtr, line(-290, 1.56), bound=16),
    "ndtri": Case(
        sp.ndtri, lambda x: mp.sqrt(2) * mp.erfinv(2 * x - 1), ray(-25, -0.4) + ray(-15, -0.4, 1.0, -1), [0, 1], 256
    ),
    "log_ndtr": Case(sp.log_ndtr, lambda x: mp.log(ndtr(x)), line(-290, 1.5) + ray(1.5, 8, 0, -1), bound=64),
    "expit": Case(sp.expit, lambda x: 1 / (1 + mp.exp(-x)), line(-290, 2.8), absolute=0.25),
    "log_expit": Case(sp.log_expit, lambda x: -mp.log1p(mp.exp(-x)), line(-290, 2.8)),
    "logit": Case(sp.logit, lambda x: mp.log(x) - mp.log1p(-x), UNIT + near(0.5), [0, 1]),
    "gammaln": Case(sp.gammaln, log_gamma, ray() + near(1.0, 2.0) + ray(-12, 2, 0.25, -1), POLES, 64),
    "loggamma": Case(sp.loggamma, log_gamma, ray() + near(1.0, 2.0), POLES, 64),
    "gamma": Case(sp.gamma, mp.gamma, ray(-290, 2.2) + ray(-12, 1.9, 0.25, -1), POLES, 256),
    "rgamma": Case(sp.rgamma, mp.rgamma, ray(-290, 2.2) + ray(-12, 2, 0.25, -1), (), 256),
    "digamma": Case(sp.psi, lambda x: mp.psi(0, x), ray(-90, 90) + near(1.4616321449683623), POLES, 64),
    "entr": Case(sp.entr, lambda x: -x * mp.log(x), ray() + near(1.0), [0]),
    "cosm1": Case(sp.cosm1, lambda x: -2 * mp.sin(x / 2) ** 2, line(-140, 15)),
    # of two operands, one of them fixed
    "zeta in the second": Case(lambda x: sp.zeta(2.5, x), lambda x: mp.zeta(2.5, x), ray(-40, 1), POLES, 64),
    "power": Case(lambda x: x**2.5, lambda x: x**2.5, ray(-90, 90), [0]),
    "power in the exponent": Case(lambda x: 3.0**x, lambda x: mpf(3) ** x, line(-290, 2.7)),
    "arctan2": Case(lambda x: np.arctan2(x, 3.0), lambda x: mp.atan2(x, 3), line(-200, 70), [3j, -3j]),
    "arctan2 in the second": Case(
        lambda x: np.arctan2(3e-200, x), lambda x: mp.atan(mpf(3e-200) / x), ray(-190, -80), [0]
    ),
    "hypot": Case(lambda x: np.hypot(x, 3.0), lambda x: mp.hypot(x, 3), line(-200, 90), [3j, -3j], absolute=1),
    "hypot_near": Case(
        lambda x: elementwise("hypot_near", x, 3.0), lambda x: mp.hypot(x, 3), line(-200, 90), [3j, -3j], absolute=1
    ),
    "logaddexp": Case(
        lambda x: np.logaddexp(x, 0.5), lambda x: mp.log(mp.exp(x) + mp.exp(0.5)), line(-280, 2), absolute=0.25
    ),
    "logaddexp2": Case(
        lambda x: np.logaddexp2(x, 0.5), lambda x: mp.log(2**x + mp.sqrt(2)) / mp.log(2), line(-280, 2), absolute=0.25
    ),
    "xlogy": Case(lambda x: sp.xlogy(2.0, x), lambda x: 2 * mp.log(x), ray() + near(1.0), [0]),
    "xlog1py": Case(lambda x: sp.xlog1py(2.0, x), lambda x: 2 * mp.log1p(x), ray(-290) + ray(-15, -1, -1.0), [-1]),
    "betaln": Case(  # SciPy's value has these errors
        lambda x: sp.betaln(x, 1e4), lambda x: log_beta(x, mpf(10) ** 4), ray(-100, 3), POLES, 4e4
    ),
    "beta": Case(lambda x: sp.beta(x, 0.5), lambda x: mp.exp(log_beta(x, mpf(0.5))), ray(-100, 1.5), POLES, 256),
    "digamma_rise": Case(
        lambda x: elementwise("digamma_rise", 200.0, x), lambda x: mp.psi(0, 200 + x) - mp.psi(0, mpf(200)),
        ray(-30, 30), [-200],
    ),
    "boxcox": Case(lambda x: sp.boxcox(x, 0.3), lambda x: boxcox(x, mpf(0.3)), ray(-90, 90), [0], 64),
    "boxcox in the power": Case(lambda x: sp.boxcox(3.0, x), lambda x: boxcox(mpf(3), x), line(-50, 2), bound=64),
    "boxcox1p": Case(lambda x: sp.boxcox1p(x, 0.3), lambda x: boxcox(1 + x, mpf(0.3)), ray(-50, 90), [-1], 160),
    "boxcox1p in the power": Case(lambda x: sp.boxcox1p(2.0, x), lambda x: boxcox(mpf(3), x), line(-50, 2), bound=64),
    "gammainc in the second": Case(
        lambda x: sp.gammainc(2.5, x), lambda x: mp.gammainc(2.5, 0, x, regularized=True), ray(-20, 1.5), [0], 64
    ),
    "gamma_density in the second": Case(
        lambda x: elementwise("gamma_density", 2.5, x), lambda x: x**1.5 * mp.exp(-x) / mp.gamma(2.5), ray(-20, 1.5),
        [0], 64,
    ),
    "gammaincc in the second": Case(
        lambda x: sp.gammaincc(2.5, x), lambda x: mp.gammainc(2.5, x, regularized=True), ray(-20, 1.5), [0], 64
    ),
    "betainc in the third": Case(
        lambda x: sp.betainc(2.5, 1.5, x), lambda x: mp.betainc(2.5, 1.5, 0, x, regularized=True),
        ray(-20, -0.1) + ray(-15, -1, 1.0, -1), [0, 1], 256,
    ),
    "stdtr in the second": Case(
        lambda x: sp.stdtr(3.0, x), lambda x: 0.5 + (mp.atan(x / mp.sqrt(3)) + mp.sqrt(3) * x / (3 + x * x)) / mp.pi,
        line(-20, 2), [mp.sqrt(3) * 1j, -mp.sqrt(3) * 1j], 64, 1,
    ),
    "bessel_j0": Case(sp.j0, lambda x: mp.besselj(0, x), line(-20, 1.5), bound=64),
    "bessel_j1": Case(sp.j1, lambda x: mp.besselj(1, x), line(-20, 1.5), bound=64),
    "bessel_y0": Case(sp.y0, lambda x: mp.bessely(0, x), ray(-20, 1.5), [0], 64),
    "bessel_y1": Case(sp.y1, lambda x: mp.bessely(1, x), ray(-20, 1.5), [0], 64),
    "bessel_i0": Case(sp.i0, lambda x: mp.besseli(0, x), line(-20, 2), bound=64),
    "bessel_i1": Case(sp.i1, lambda x: mp.besseli(1, x), line(-20, 2), bound=64),
    "bessel_k0": Case(sp.k0, lambda x: besselk(0, x), ray(-20, 2), [0], 64),
    "bessel_k1": Case(sp.k1, lambda x: besselk(1, x), ray(-20, 2), [0], 64),
    "bessel_i0e": Case(sp.i0e, lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), line(-20, 2), [0], 64, 1),
    "bessel_i1e": Case(sp.i1e, lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), line(-20, 2), [0], 64, 1),
    "bessel_k0e": Case(sp.k0e, lambda x: mp.exp(x) * besselk(0, x), ray(-20, 2), [0], 64, 1),
    "bessel_k1e": Case(sp.k1e, lambda x: mp.exp(x) * besselk(1, x), ray(-20, 2), [0], 64, 1),
    "bessel_jv in the second": Case(lambda x: sp.jv(2.5, x), lambda x: mp.besselj(2.5, x), ray(-10, 1.5), [0], 64),
    "bessel_yv in the second": Case(lambda x: sp.yv(2.5, x), lambda x: mp.bessely(2.5, x), ray(-10, 1.5), [0], 64),
    "bessel_iv in the second": Case(lambda x: sp.iv(2.5, x), lambda x: mp.besseli(2.5, x), ray(-10, 2), [0], 64),
    "bessel_kv in the second": Case(lambda x: sp.kv(2.5, x), lambda x: mp.besselk(2.5, x), ray(-10, 2), [0], 64),
    "bessel_ive in the second": Case(
        lambda x: sp.ive(2.5, x), lambda x: mp.exp(-x) * mp.besseli(2.5, x), ray(-10, 2), [0], 64, 1
    ),
    "bessel_kve in the second": Case(
        lambda x: sp.kve(2.5, x), lambda x: mp.exp(x) * mp.besselk(2.5, x), ray(-10, 2), [0], 64, 1
    ),
    "pseudo_huber": Case(
        lambda x: sp.pseudo_huber(1e5, x), lambda x: mpf(10) ** 10 * (mp.sqrt(1 + x * x / mpf(10) ** 10) - 1),
        line(-60, 60), [1e5j, -1e5j], absolute=1,
    ),
}  # fmt: skip
EXACT = {"add", "subtract", "multiply", "divide", "negative", "where", "stop_gradient", "beside", "deg2rad", "rad2deg",
         "single"}  # fmt: skip
STEPS = {  # piecewise linear
    "absolute", "copysign", "sign", "heaviside", "maximum", "minimum", "fmax", "fmin", "fmod", "mod", "zeta",
}  # fmt: skip


def test_every_row_has_its_case():
    tested = {name.split(" in ")[0] for name in CASES} | EXACT | STEPS
    rows = [row.name for row in elementwise_rows() if any(map(row.is_differentiable, range(row.arity)))]
    assert not set(rows) - tested


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_over_the_domain(name):
    case = CASES[name]
    x = np.concatenate([points.numbers(DENSITY) for points in case.domain])
    for k, column in enumerate(computed(case.function, x).T):
        wanted = derivatives(case.exact, x[k], case.singular)
        for order, error in enumerate(errors(column, wanted, x[k], case.absolute * EPS)):
            assert error is None or error <= case.bound * EPS, (
                f"derivative {order} at {x[k]!r} is {column[order]!r}, wrong by {error / EPS:.3g} units; "
                f"right is {mpmath.nstr(wanted[order], 17)}"
            )


def test_the_derivative_of_tanh_is_right_absolutely():
    x = np.linspace(-40, 40, 80)
    _, first, second = computed(np.tanh, x)
    wanted = np.array([[float(y) for y in derivatives(mp.tanh, v)[1:3]] for v in x]).T
    np.testing.assert_allclose([first, second], wanted, rtol=0, atol=4 * EPS)


@pytest.mark.parametrize(
    ("f", "arguments", "wanted"),
    [
        (sp.betaln, (3.0, 1e16), -109.830937283154248), (sp.beta, (2.0, 1e12), 9.99999999999e-25),
        (sp.erfcinv, (1e-20,), 6.6015806223551426),
        (sp.rgamma, (0.0,), 0.0), (sp.rgamma, (-2.0,), 0.0), (sp.pseudo_huber, (1e5, 1e-8), 5e-17),
        (lambda x: fad.grad(sp.rgamma)(x), (0.0,), 1.0), (lambda x: fad.grad(sp.rgamma)(x), (-2.0,), 2.0),
        (fad.grad(sp.betaln, 1), (3.0, 1e16), -3e-16),
        (fad.grad(np.arctan2), (1e-200, 1e-200), 5e199),
        (fad.grad(np.arcsinh), (1e200,), 1e-200), (fad.grad(np.arccosh), (1e200,), 1e-200),
        (fad.grad(fad.grad(sp.log_ndtr)), (-1e3,), -0.99999900000599995),
        (fad.grad(fad.grad(sp.log_ndtr)), (-1e7,), -0.99999999999999),
    ],
)  # fmt: skip
def test_tails(f, arguments, wanted):
    found = fad.jit(lambda *x: f(*x))(*arguments)
    assert float(found) == pytest.approx(wanted, rel=2e-14, abs=0)
