"""The elementwise rows. A new function is one line here: value, partial derivatives, domain; nothing else.

Columns: name, NumPy/SciPy ufuncs, value, partial derivatives, test domains. In expressions a, b, c are the
operands and r is the result. Conventions at kinks: ties of maximum and minimum share the derivative evenly,
abs and sign have derivative 0 at 0, steps (floor, sign, comparisons) have derivative 0 everywhere.
"""

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.primitives.row import Elementwise, Operator, register

# Intervals on which laws are tested: values are drawn from the union of the intervals of a key.
DOMAINS: dict[str, tuple[tuple[float, float], ...]] = {
    "R": ((-3.0, 3.0),),  # all reals
    "P": ((0.1, 4.0),),  # positive
    "Z": ((-3.0, -0.2), (0.2, 3.0)),  # not zero
    "U": ((-0.9, 0.9),),  # inside the unit interval
    "I": ((0.05, 0.95),),  # probabilities
    "G": ((1.2, 5.0),),  # above one
    "B": ((0.0, 0.0), (1.0, 1.0)),  # truth values
    "X": ((-1.7, -1.3), (-0.7, -0.3), (0.3, 0.7), (1.3, 1.7)),  # away from integers and halves
}


# What rows of `near` have in place of 0. Its reciprocal, and that of its square in float64, are finite.
NEAR = 2.0**-100


def _evaluator(name: str) -> Callable[..., Any]:
    """The NumPy or SciPy function of that name; SciPy is imported when it is first called."""
    if not name.startswith("special."):
        return getattr(np, name)
    attribute = name.removeprefix("special.")

    def evaluate(*operands: Any) -> Any:
        return getattr(importlib.import_module("scipy.special"), attribute)(*operands)

    return evaluate


def _hypot_near(a: Any, b: Any) -> Any:
    return np.where((a == 0) & (b == 0), NEAR, np.hypot(a, b))[()]


def _root_near(a: Any) -> Any:
    return np.where(a == 0, NEAR, np.sqrt(a))[()]


def _moment(n: int) -> str:
    """The Taylor polynomial of ∫ tⁿ exp(at) dt over [0, 1], to rounding for |a| < 1."""
    text = ""
    for k in range(19, -1, -1):
        text = f"{1 / (math.factorial(k) * (k + n + 1))!r}" + (f" + a * ({text})" if text else "")
    return text


def _erfc_fraction() -> str:
    """∫erfc/erfc as a function of a from 4 on, to rounding: the fractions ∫ⁿ⁺¹erfc/∫ⁿerfc are 1 / (2 (a + (n + 2) f)), where
    f is the next one."""
    a = "where(a < 4, 4, a)"
    text = f"2 * {a}"
    for n in range(20, 0, -1):
        text = f"2 * {a} + {2 * (n + 1)} / ({text})"
    return f"(1 / ({text}))"


# ψ(a + b) - ψ(a) for a > 100, by the asymptotic series of ψ (Abramowitz & Stegun, 6.3.18), its differences divided out.
_SQUARES = "(1 / (a * a) + 1 / ((a + b) * (a + b)))"
_FOURTH = f"({_SQUARES} * {_SQUARES} - 1 / (a * a) / ((a + b) * (a + b)))"
_INNER = f"(1 / 12 - {_SQUARES} / 120 + {_FOURTH} / 252)"
_RISE = f"log1p(b / a) + b / a / (a + b) * (0.5 + (1 / a + 1 / (a + b)) * {_INNER})"


def _digamma_rise(a: Any, b: Any) -> Any:
    digamma = _evaluator("special.psi")
    series = eval(_RISE, {"log1p": np.log1p, "a": a, "b": b})
    return np.where(a < 100, digamma(a + b) - digamma(a), series)[()]


def _exprel_slope(a: Any) -> Any:
    """∫ t exp(at) dt over [0, 1]."""
    small = np.absolute(a) < 1
    divisor = np.where(small, 1, a)
    slope = (np.exp(a) - np.expm1(a) / divisor) / divisor
    series = np.polynomial.Polynomial([1 / (math.factorial(k) * (k + 2)) for k in range(20)])
    return np.where(small, series(np.where(small, a, 0)), slope)[()]


def _gamma_density(a: Any, b: Any) -> Any:
    """bᵃ⁻¹ exp(-b) / Γ(a)."""
    gammaln, gammasgn = _evaluator("special.gammaln"), _evaluator("special.gammasgn")
    inside = gammasgn(a) * np.exp((a - 1) * np.log(np.where(b > 0, b, 1)) - b - gammaln(a))
    at_zero = np.where(a == 1, 1.0, np.where(a < 1, np.inf, 0.0))
    return np.where(b > 0, inside, np.where(b == 0, at_zero, np.nan))[()]


_AT_MOST = "absolute(a) * 9007199254740992"
_POWER = f"where(({_AT_MOST} + absolute(a)) - {_AT_MOST} == 0, absolute(a), ({_AT_MOST} + absolute(a)) - {_AT_MOST})"
_GRID = f"402653184 * where(absolute(a) < {2.0**-126!r}, {2.0**-125!r}, {_POWER})"
_SINGLE = (
    f"where(absolute(a) < {2.0**128 - 2.0**103!r}, copysign((absolute(a) + {_GRID}) - {_GRID}, a), "
    "where(a == a, copysign(inf, a), a))"
)


def _single(a: Any) -> Any:
    with np.errstate(over="ignore"):
        return np.float64(np.float32(a))


def _bell(end: int, factor: str) -> str:
    """exp(-factor a²), which is 0 from `end` on."""
    kept = f"where(absolute(a) > {end}, {end}, a)"
    return f"exp(-({factor}{kept} * {kept}))"


def _sech(a: Any) -> Any:
    u = np.exp(-np.absolute(a))
    return 2 * u / (1 + u * u)


def row(
    name: str, ufuncs: str, value: str, partials: str, domain: str, *, result: str = "float", numpy: Any = None,
    **options: Any,
) -> None:  # fmt: skip
    """Register one elementwise primitive; partials are separated by ";", one domain key an operand."""
    found = ufuncs.split()
    evaluate = numpy or _evaluator(found[0])
    parts = tuple(p.strip() for p in partials.split(";"))
    dispatch = tuple(u.removeprefix("special.") for u in found)
    register(Elementwise(name, evaluate, value, parts, tuple(domain), result, ufuncs=dispatch, **options), DOMAINS)


def leaf(name: str, symbol: str | None, ufuncs: str, partials: str, domain: str, **options: Any) -> None:
    """A primitive whose value is a call of the C function `symbol`, or a machine operation."""
    arguments = ", ".join("abc"[: len(partials.split(";"))])
    row(name, ufuncs, f"{name}({arguments})", partials, domain, symbol=symbol, **options)


def operation(name: str, operator: str, partials: str, domain: str, *, ufunc: str | None = None, **options: Any) -> None:
    """A machine operation: `operator` is its kind, sign, LLVM's instruction, and what it is counted as."""
    leaf(name, None, name if ufunc is None else ufunc, partials, domain, operator=Operator(*operator.split()), **options)


# fmt: off
# ── arithmetic: machine operations ────────────────────────────────────────────────────────────────────────────
operation("add",           "arithmetic + fadd additions",       "1; 1",          "RR", result="total", commutes=True, on_truth="logical_or", monotone=True)
operation("subtract",      "arithmetic - fsub additions",       "1; -1",         "RR", result="total", on_truth="", monotone=True)
operation("multiply",      "arithmetic * fmul multiplications", "b; a",          "RR", result="same", minus_zero=True, commutes=True, on_truth="logical_and", monotone=True)
operation("divide",        "arithmetic / fdiv divisions",       "1 / b; -(r / b)", "RZ", slow=True)
operation("negative",      "negation - fneg additions",         "-1",            "R",  result="total", minus_zero=True, on_truth="", monotone=True)
operation("less",          "comparison < olt comparisons",      "0; 0",          "RR", result="bool")
operation("less_equal",    "comparison <= ole comparisons",     "0; 0",          "RR", result="bool")
operation("greater",       "comparison > ogt comparisons",      "0; 0",          "RR", result="bool")
operation("greater_equal", "comparison >= oge comparisons",     "0; 0",          "RR", result="bool")
operation("equal",         "comparison == oeq comparisons",     "0; 0",          "RR", result="bool", commutes=True)
operation("not_equal",     "comparison != une comparisons",     "0; 0",          "RR", result="bool", commutes=True)
operation("logical_and",   "logical & and comparisons",         "0; 0",          "BB", result="bool", commutes=True)
operation("logical_or",    "logical | or comparisons",          "0; 0",          "BB", result="bool", commutes=True)
operation("where",         "selection ? select comparisons",    "0; where(a, 1, 0); where(a, 0, 1)", "BRR", result="same", numpy=np.where, ufunc="")
leaf("sqrt",          "sqrt",     "sqrt",     "0.5 / r",             "P", intrinsic=True, slow=True)
leaf("absolute",      "fabs",     "absolute fabs", "sign(a)",        "Z", result="same", intrinsic=True, sign="|·|", even=True)
leaf("floor",         "floor",    "floor",    "0",                   "X", intrinsic=True, monotone=True)
leaf("ceil",          "ceil",     "ceil",     "0",                   "X", intrinsic=True, monotone=True)
leaf("trunc",         "trunc",    "trunc",    "0",                   "X", intrinsic=True, monotone=True)
leaf("rint",          "rint",     "rint",     "0",                   "X", intrinsic=True, monotone=True)
leaf("copysign",      "copysign", "copysign", "sign(a) * sign(r); 0", "ZZ", intrinsic=True)

# The value as a constant: for shifts that cancel, such as the maximum in logsumexp.
row("stop_gradient", "", "a",                             "0",    "R",  result="same", numpy=np.positive, detached=True)
# The value of a with the derivative of b.
row("beside",        "", "a",                             "0; 1", "RR", result="same", numpy=lambda a, b: a, detached=True)
# The nearest float32 number, with the derivative of a itself. (q + |a|) - q, for q = |a| / 2⁻⁵³, is the next power of two,
# or 0 where |a| is one (Rump, Ogita & Oishi 2008, Accurate floating-point summation I, algorithm 3.6): 1.5 · 2²⁸ of it added
# and subtracted round to 24 bits. All products are exact, so that it does not matter whether they are rounded.
row("single", "", _SINGLE, "1", "R", numpy=_single, detached=True, monotone=True, on_single="a")
row("logical_not", "logical_not", "a == 0",               "0",    "B",  result="bool")
row("logical_xor", "logical_xor", "(a != 0) != (b != 0)", "0; 0", "BB", result="bool")
row("isnan",       "isnan",       "a != a",               "0",    "R",  result="bool")
row("isinf",       "isinf",       "absolute(a) == inf",   "0",    "R",  result="bool")
row("isfinite",    "isfinite",    "absolute(a) < inf",    "0",    "R",  result="bool")
row("signbit",     "signbit",     "copysign(1, a) < 0",   "0",    "Z",  result="bool")
row("square",      "square",      "a * a",                "2 * a", "R", result="total", even=True)
row("reciprocal",  "reciprocal",  "1 / a",                "-(r * r)", "Z")
row("sign",        "sign",        "where(a > 0, 1, where(a < 0, -1, absolute(a)))", "0", "Z", result="same", on_truth="")
row("heaviside",   "heaviside",   "where(a < 0, 0, where(a > 0, 1, where(a == 0, b, a)))", "0; where(a == 0, 1, 0)", "ZR")
row("maximum", "maximum", "where((a >= b) | (a != a), a, b)", "0.5 * ((a > b) + (a >= b)); 0.5 * ((b > a) + (b >= a))", "RR", result="same", monotone=True)
row("minimum", "minimum", "where((a <= b) | (a != a), a, b)", "0.5 * ((a < b) + (a <= b)); 0.5 * ((b < a) + (b <= a))", "RR", result="same", monotone=True)
row("fmax",    "fmax",    "where((a >= b) | (b != b), a, b)", "where(b != b, 1, 0.5 * ((a > b) + (a >= b))); where(a != a, 1, 0.5 * ((b > a) + (b >= a)))", "RR", result="same")
row("fmin",    "fmin",    "where((a <= b) | (b != b), a, b)", "where(b != b, 1, 0.5 * ((a < b) + (a <= b))); where(a != a, 1, 0.5 * ((b < a) + (b <= a)))", "RR", result="same")
leaf("fmod", "fmod", "fmod", "1; -trunc(a / b)", "XG", result="total", minus_zero=True, divides=True)
row("mod",          "mod",          "where(fmod(a, b) == 0, copysign(0, b), where((fmod(a, b) < 0) != (b < 0), fmod(a, b) + b, fmod(a, b)))", "1; -floor(a / b)", "XG", result="total", minus_zero=True, divides=True)
row("floor_divide", "floor_divide", "where(b == 0, a / b, copysign(rint((a - fmod(a, b)) / b - ((fmod(a, b) != 0) & ((fmod(a, b) < 0) != (b < 0)))), a / b))", "0; 0", "XG", result="total", minus_zero=True, divides=True)
leaf("power", "pow", "power float_power", "where((a == 0) & (b == 0), 0, b * power(where((a == 0) & (b == 0), 1, a), b - 1)); r * log(where(a == 0, 1, a))", "PR", result="total", sign="^")

# ── exponentials and logarithms ───────────────────────────────────────────────────────────────────────────────
leaf("exp",     "exp",   "exp",   "r",                          "R")
leaf("exp2",    "exp2",  "exp2",  "r * 0.6931471805599453",     "R")
leaf("expm1",   "expm1", "expm1", "exp(a)",                     "R")
leaf("log",     "log",   "log",   "1 / a",                      "P")
leaf("log2",    "log2",  "log2",  "1 / (a * 0.6931471805599453)", "P")
leaf("log10",   "log10", "log10", "1 / (a * 2.302585092994046)",  "P")
leaf("log1p",   "log1p", "log1p", "1 / (1 + a)",                "P")
leaf("cbrt",    "cbrt",  "cbrt",  "1 / (3 * r * r)",            "P")
row("logaddexp",  "logaddexp",  "where(a == b, a + 0.6931471805599453, maximum(a, b) + log1p(exp(-absolute(a - b))))", "expit(a - b); expit(b - a)", "RR")
row("logaddexp2", "logaddexp2", "where(a == b, a + 1, maximum(a, b) + 1.4426950408889634 * log1p(exp2(-absolute(a - b))))", "expit(0.6931471805599453 * (a - b)); expit(0.6931471805599453 * (b - a))", "RR")

# ── trigonometric and hyperbolic ──────────────────────────────────────────────────────────────────────────────
leaf("sin",     "sin",   "sin",     "cos(a)",                     "R")
leaf("cos",     "cos",   "cos",     "-sin(a)",                    "R", even=True)
leaf("tan",     "tan",   "tan",     "1 + r * r",                  "U")
leaf("arcsin",  "asin",  "arcsin",  "1 / sqrt(1 - a * a)",        "U")
leaf("arccos",  "acos",  "arccos",  "-1 / sqrt(1 - a * a)",       "U")
leaf("arctan",  "atan",  "arctan",  "1 / (1 + a * a)",            "R")
leaf("arctan2", "atan2", "arctan2", "b / hypot(a, b) / hypot(a, b); -(a / hypot(a, b) / hypot(a, b))", "ZZ")
# The second derivatives of hypot are right to 2e-16 / r, for the same reason as 1 - (a / r)².
leaf("hypot",   "hypot", "hypot",   "where(r == 0, 0, a / where(r == 0, inf, r)); where(r == 0, 0, b / where(r == 0, inf, r))", "ZZ", near="hypot_near")
row("hypot_near", "", "where((a == 0) & (b == 0), 7.888609052210118e-31, hypot(a, b))", "a / r; b / r", "ZZ", numpy=_hypot_near)
# The root of a sum of squares: it has its minimum at 0, so that 0 is a subgradient there.
row("root",       "", "sqrt(a)", "where(r == 0, 0, 0.5 / where(r == 0, inf, r))", "P", numpy=np.sqrt, near="root_near")
row("root_near",  "", "where(a == 0, 7.888609052210118e-31, sqrt(a))", "0.5 / r", "P", numpy=_root_near)
leaf("sinh",    "sinh",  "sinh",    "cosh(a)",                    "R")
leaf("cosh",    "cosh",  "cosh",    "sinh(a)",                    "R", even=True)
# The partial is right to 2e-16, not to that part of it: it costs two operations, and an exponential would cost more than
# the rest of a network's gradient.
leaf("tanh",    "tanh",  "tanh",    "1 - r * r",                  "R")
# NumPy has no sech; by exponentials of -|a| it neither overflows nor loses its tail, nor do its derivatives.
row("sech", "", "2 * exp(-absolute(a)) / (1 + exp(-2 * absolute(a)))", "-(r * tanh(a))", "R", numpy=_sech, even=True)
leaf("arcsinh", "asinh", "arcsinh", "1 / hypot(a, 1)",            "R")
leaf("arccosh", "acosh", "arccosh", "1 / sqrt(a - 1) / sqrt(a + 1)", "G")
leaf("arctanh", "atanh", "arctanh", "1 / (1 - a * a)",            "U")
row("deg2rad", "deg2rad radians", "a * 0.017453292519943295", "0.017453292519943295", "R")
row("rad2deg", "rad2deg degrees", "a * 57.29577951308232",    "57.29577951308232",    "R")
# Close to 0 the derivative of sinc is its Taylor polynomial, so that its own derivatives are right at 0 too. The quotient
# is of 1 there, so that its derivatives are finite.
row("sinc", "", "where(a == 0, 1, sin(pi * a) / (pi * a))",
    "where(absolute(a) < 0.02, a * (-3.289868133696453 + a * a * (3.2469697011334144 + a * a * (-1.144510944732505 + a * a * 0.20918278254123832))), (cos(pi * a) - r) / where(absolute(a) < 0.02, 1, a))",
    "Z", numpy=np.sinc, even=True)
# ── scipy.special ─────────────────────────────────────────────────────────────────────────────────────────────
# From 30 on, exp(-a²) is 0, and so are its derivatives, at infinity too: a² is not taken there.
leaf("erf",      "erf",             "special.erf",      f"1.1283791670955126 * {_bell(30, '')}",  "R")
leaf("erfc",     "erfc",            "special.erfc",     f"-1.1283791670955126 * {_bell(30, '')}", "R")
leaf("gammaln",  "lgamma",          "special.gammaln",  "digamma(a)",                          "P")
leaf("gamma",    "tgamma",          "special.gamma",    "r * digamma(a)",                      "P")
leaf("digamma",  "fastad_psi",      "special.psi",      "zeta(2, a)",                          "P")
leaf("zeta",     "fastad_zeta",     "special.zeta", "nan; -a * zeta(a + 1, b)",       "GP")
leaf("erfinv",   "fastad_erfinv",   "special.erfinv",   "0.886226925452758 * exp(r * r)",      "U", libdevice="erfinv")
leaf("ndtri",    "fastad_ndtri",    "special.ndtri",    "2.5066282746310002 * exp(0.5 * r * r)", "I", libdevice="normcdfinv")
leaf("log_ndtr", "fastad_log_ndtr", "special.log_ndtr", "0.7978845608028654 / erfcx(-0.7071067811865476 * a)", "R")
# From 4 on, the derivative is -2 ∫erfc exp(a²) by its continued fraction (Gautschi, 1961), the difference below cancels.
leaf("erfcx",    "fastad_erfcx",    "special.erfcx",
    f"where(a < 4, 2 * a * r - 1.1283791670955126, -2 * r * {_erfc_fraction()})", "R", libdevice="erfcx")
leaf("erfcinv",  "fastad_erfcinv",  "special.erfcinv",  "-0.886226925452758 * exp(r * r)",     "I", libdevice="erfcinv")
# Below 1/2 by reflection: sin(πa) Γ(1 - a) / π has no poles.
leaf("rgamma",   "fastad_rgamma",   "special.rgamma",
    "where(a < 0.5, gamma(where(a < 0.5, 1 - a, 1)) * (cos(pi * a) - sin(pi * a) / pi * digamma(where(a < 0.5, 1 - a, 1))), -(r * digamma(where(a < 0.5, 1, a))))", "P")
leaf("betaln",   "fastad_betaln",   "special.betaln",   "-digamma_rise(a, b); -digamma_rise(b, a)", "PP")
leaf("beta",     "fastad_beta",     "special.beta",     "-(r * digamma_rise(a, b)); -(r * digamma_rise(b, a))", "PP")
# ψ(a + b) - ψ(a), by the asymptotic series where a is large. Its own derivative by a cancels where b is smaller than a.
row("digamma_rise", "", f"where(a < 100, digamma(a + b) - digamma(a), {_RISE})",
    "zeta(2, a + b) - zeta(2, a); zeta(2, a + b)", "PP", numpy=_digamma_rise)
row("ndtr",      "special.ndtr",      "0.5 * erfc(-0.7071067811865476 * a)", f"0.3989422804014327 * {_bell(40, '0.5 * ')}", "R")
# Close to 0 the second derivative of expit is right to 1e-17: it is a difference of two halves.
row("expit",     "special.expit",     "1 / (1 + exp(-a))",                "r * expit(-a)",     "R")
row("log_expit", "special.log_expit", "minimum(a, 0) - log1p(exp(-absolute(a)))", "expit(-a)", "R")
row("logit",     "special.logit",     "log(a) - log1p(-a)",               "1 / a + 1 / (1 - a)", "I")
row("xlogy",     "special.xlogy",     "where((a == 0) & (b == b), 0, a * log(b))",    "log(b); a / b",         "PP")
row("xlog1py",   "special.xlog1py",   "where((a == 0) & (b == b), 0, a * log1p(b))",  "log1p(b); a / (1 + b)", "PP")
row("exprel",    "special.exprel",    "where(a == 0, 1, expm1(a) / where(a == 0, 1, minimum(a, 999)))", "exprel_slope(a)", "Z")
# The derivatives of exprel, ∫ tⁿ exp(at) dt over [0, 1] = Σ aᵏ / (k! (k + n + 1)): by their Taylor series below 1, where the
# recurrence cancels.
row("exprel_slope", "", f"where(absolute(a) < 1, {_moment(1)}, (exp(a) - expm1(a) / where(a == 0, 1, a)) / where(absolute(a) < 1, 1, a))",
    f"where(absolute(a) < 1, {_moment(2)}, (exp(a) - 2 * r) / where(absolute(a) < 1, 1, a))", "Z", numpy=_exprel_slope)
# (aᵇ − 1)/b by log(a): its derivative in b is log(a)² exprel'(b log(a)).
row("boxcox",    "special.boxcox",    "where(absolute(b) < 1e-19, log(a), expm1(b * log(a)) / where(b == 0, 1, b))", "power(a, b - 1); log(a) * log(a) * exprel_slope(b * log(a))", "PZ")
# The derivative of boxcox1p by a is right to 1e-16 times its logarithm.
row("boxcox1p",  "special.boxcox1p",  "where((absolute(b) < 1e-19) | ((absolute(log1p(a)) < 1e-289) & (absolute(b) < 1e273)), log1p(a), expm1(b * log1p(a)) / where(b == 0, 1, b))", "exp((b - 1) * log1p(a)); log1p(a) * log1p(a) * exprel_slope(b * log1p(a))", "PZ")
row("entr",      "special.entr",      "where(a > 0, -(a * log(a)), where(a == 0, 0, where(a < 0, -inf, a)))", "-log(a) - 1", "P")
# Distribution functions. By their parameters they have no derivative of this kind: NaN.
leaf("gammainc",  "fastad_gammainc",  "special.gammainc",  "nan; gamma_density(a, b)",  "PP")
leaf("gammaincc", "fastad_gammaincc", "special.gammaincc", "nan; -gamma_density(a, b)", "PP")
row("gamma_density", "",
    "where(b > 0, gammasgn(a) * exp((a - 1) * log(where(b > 0, b, 1)) - b - gammaln(a)), where(b == 0, where(a == 1, 1, where(a < 1, inf, 0)), nan))",
    "nan; gamma_density(a - 1, b) - r", "PP", numpy=_gamma_density)
leaf("betainc",   "fastad_betainc",   "special.betainc",   "nan; nan; exp(xlogy(a - 1, c) + xlog1py(b - 1, -c) - betaln(a, b))", "PPI")
leaf("stdtr",     "fastad_stdtr",     "special.stdtr",
    "nan; exp(-0.5 * (a + 1) * log1p(b * b / a) - 0.5 * log(a) - betaln(0.5, 0.5 * a))", "PR")
leaf("gammasgn",  "fastad_gammasgn",  "special.gammasgn",  "0",  "P")
# Bessel functions (Abramowitz & Stegun, 9.1.27 and 9.6.26). By the order they have no derivative of this kind: NaN.
leaf("bessel_j0",  "fastad_j0",  "special.j0",  "-bessel_j1(a)",                     "R", libdevice="j0")
leaf("bessel_j1",  "fastad_j1",  "special.j1",  "0.5 * (bessel_j0(a) - bessel_jv(2, a))",   "R", libdevice="j1")
leaf("bessel_y0",  "fastad_y0",  "special.y0",  "-bessel_y1(a)",                     "P", libdevice="y0")
leaf("bessel_y1",  "fastad_y1",  "special.y1",  "0.5 * (bessel_y0(a) - bessel_yv(2, a))",   "P", libdevice="y1")
leaf("bessel_i0",  "fastad_i0",  "special.i0",  "bessel_i1(a)",                      "R", libdevice="cyl_bessel_i0")
leaf("bessel_i1",  "fastad_i1",  "special.i1",  "0.5 * (bessel_i0(a) + bessel_iv(2, a))",   "R", libdevice="cyl_bessel_i1")
leaf("bessel_k0",  "fastad_k0",  "special.k0",  "-bessel_k1(a)",                     "P")
leaf("bessel_k1",  "fastad_k1",  "special.k1",  "-0.5 * (bessel_k0(a) + bessel_kv(2, a))",  "P")
leaf("bessel_i0e", "fastad_i0e", "special.i0e", "bessel_i1e(a) - sign(a) * r",       "Z")
leaf("bessel_i1e", "fastad_i1e", "special.i1e", "0.5 * (bessel_i0e(a) + bessel_ive(2, a)) - sign(a) * r", "Z")
leaf("bessel_k0e", "fastad_k0e", "special.k0e", "r - bessel_k1e(a)",                 "P")
leaf("bessel_k1e", "fastad_k1e", "special.k1e", "r - 0.5 * (bessel_k0e(a) + bessel_kve(2, a))", "P")
leaf("bessel_jv",  "fastad_jv",  "special.jv",  "nan; 0.5 * (bessel_jv(a - 1, b) - bessel_jv(a + 1, b))",           "GP")
leaf("bessel_yv",  "fastad_yv",  "special.yv",  "nan; 0.5 * (bessel_yv(a - 1, b) - bessel_yv(a + 1, b))",           "GP")
leaf("bessel_iv",  "fastad_iv",  "special.iv",  "nan; 0.5 * (bessel_iv(a - 1, b) + bessel_iv(a + 1, b))",           "GP")
leaf("bessel_kv",  "fastad_kv",  "special.kv",  "nan; -0.5 * (bessel_kv(a - 1, b) + bessel_kv(a + 1, b))",          "GP")
leaf("bessel_ive", "fastad_ive", "special.ive", "nan; 0.5 * (bessel_ive(a - 1, b) + bessel_ive(a + 1, b)) - sign(b) * r", "GP")
leaf("bessel_kve", "fastad_kve", "special.kve", "nan; r - 0.5 * (bessel_kve(a - 1, b) + bessel_kve(a + 1, b))",     "GP")
# fmt: on
