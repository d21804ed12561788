"""Writes docs/primitives.md from the primitive table: `python docs/make_primitives.py`."""

import textwrap
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

import fastad as fad
from fastad.primitives import PRIMITIVES, Elementwise
from fastad.primitives.row import ArrayPrimitive
from fastad.recording.dispatch import CREATORS, FUNCTIONS, UFUNCS

TARGET = Path(__file__).with_name("primitives.md")

HEAD = """\
# Primitives

Written by `python docs/make_primitives.py` from the primitive table
([elementwise.py](../fastad/primitives/elementwise.py), [arrays.py](../fastad/primitives/arrays.py)); do not edit.
`print(fad.trace(f, x))` shows which of these rows a function becomes.

## Elementwise

Each primitive maps numbers to a number, and arrays element by element, with NumPy's broadcasting. In the expressions,
`a`, `b`, `c` are the operands and `r` is the result. Each partial derivative is an expression in primitives, so there
are derivatives of any order. Where the value is a call of the primitive itself, it is a machine operation or a C
function.
"""

ARRAYS = """\
## Arrays

All other NumPy functions are composed of these primitives. Static integers describe the geometry of a row: views,
transposes, broadcasts and slices are all `strided`.
"""

FUNCTIONS_HEAD = """\
## NumPy and SciPy functions

These functions accept recorded values; so do the corresponding operators and methods of arrays. Any other function
raises `RecordingError`, which names the line and the fix.
"""


SPECIAL_HEAD = """\
## scipy.special, scipy.stats and others

The functions of SciPy below are called by their own names, in a recorded function as outside. Their values are SciPy's
also at the ends of the domain and beyond it. The last column names the arguments that have derivatives, of any order;
the derivative in another one is NaN.
"""

_ALL, _NO_POLE, _BESSEL = "all numbers", "no integer ≤ 0", "x ≥ 0; for an integer v all x"
# Arguments; where the value is a finite number; a point inside.
SPECIAL: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "beta": ("a, b", "a and b " + _NO_POLE, (0.7, 1.3)),
    "betainc": ("a, b, x", "a, b > 0, 0 ≤ x ≤ 1", (0.7, 1.3, 0.4)),
    "betaln": ("a, b", f"a and b {_NO_POLE}; the logarithm of the absolute value", (0.7, 1.3)),
    "boxcox": ("x, lmbda", "x > 0", (0.7, 1.3)),
    "boxcox1p": ("x, lmbda", "x > -1", (0.7, 1.3)),
    "cosm1": ("x", _ALL, (0.7,)),
    "entr": ("x", "x ≥ 0; -∞ below", (0.7,)),
    "erf": ("x", _ALL, (0.7,)),
    "erfc": ("x", _ALL, (0.7,)),
    "erfcinv": ("y", "0 < y < 2", (0.7,)),
    "erfcx": ("x", "x > -26.6", (0.7,)),
    "erfinv": ("y", "-1 < y < 1", (0.7,)),
    "exp10": ("x", _ALL, (0.7,)),
    "expit": ("x", _ALL, (0.7,)),
    "exprel": ("x", _ALL, (0.7,)),
    "gamma": ("x", _NO_POLE, (0.7,)),
    "gammainc": ("a, x", "a > 0, x ≥ 0", (0.7, 1.3)),
    "gammaincc": ("a, x", "a > 0, x ≥ 0", (0.7, 1.3)),
    "gammaln": ("x", f"{_NO_POLE}; the logarithm of the absolute value", (0.7,)),
    "gammasgn": ("x", f"{_NO_POLE}; the derivative is 0", (0.7,)),
    "huber": ("delta, r", "delta ≥ 0; ∞ below", (0.7, 1.3)),
    "i0": ("x", _ALL, (0.7,)),
    "i0e": ("x", _ALL, (0.7,)),
    "i1": ("x", _ALL, (0.7,)),
    "i1e": ("x", _ALL, (0.7,)),
    "iv": ("v, x", _BESSEL, (0.7, 1.3)),
    "ive": ("v, x", _BESSEL, (0.7, 1.3)),
    "j0": ("x", _ALL, (0.7,)),
    "j1": ("x", _ALL, (0.7,)),
    "jv": ("v, x", f"{_BESSEL}; also by the name `jn`", (0.7, 1.3)),
    "k0": ("x", "x > 0", (0.7,)),
    "k0e": ("x", "x > 0", (0.7,)),
    "k1": ("x", "x > 0", (0.7,)),
    "k1e": ("x", "x > 0", (0.7,)),
    "kl_div": ("x, y", "x ≥ 0, y > 0; ∞ outside", (0.7, 1.3)),
    "kv": ("v, x", "x > 0", (0.7, 1.3)),
    "kve": ("v, x", "x > 0", (0.7, 1.3)),
    "log_expit": ("x", _ALL, (0.7,)),
    "log_ndtr": ("x", _ALL, (0.7,)),
    "log_softmax": ("x, axis", _ALL, ([0.7, 1.3],)),
    "loggamma": ("x", "x > 0; NaN below, where it is complex", (0.7,)),
    "logit": ("p", "0 < p < 1", (0.7,)),
    "logsumexp": ("a, axis, b", "all a; b with a sum > 0", ([0.7, 1.3], None, [1.0, 2.0])),
    "multigammaln": ("a, d", "a > (d - 1) / 2, for a plain integer d", (1.7, 2)),
    "ndtr": ("x", _ALL, (0.7,)),
    "ndtri": ("y", "0 < y < 1", (0.7,)),
    "polygamma": ("n, x", "x > 0, for a plain integer n ≥ 0", (2, 0.7)),
    "pseudo_huber": ("delta, r", "delta ≥ 0; ∞ below", (0.7, 1.3)),
    "psi": ("x", _NO_POLE, (0.7,)),
    "rel_entr": ("x, y", "x ≥ 0, y > 0; ∞ outside", (0.7, 1.3)),
    "rgamma": ("x", _ALL, (0.7,)),
    "softmax": ("x, axis", _ALL, ([0.7, 1.3],)),
    "softplus": ("x", _ALL, (0.7,)),
    "stdtr": ("df, t", "df > 0", (0.7, 1.3)),
    "xlog1py": ("x, y", "y > -1; 0 for x = 0", (0.7, 1.3)),
    "xlogy": ("x, y", "y > 0; 0 for x = 0", (0.7, 1.3)),
    "y0": ("x", "x > 0", (0.7,)),
    "y1": ("x", "x > 0", (0.7,)),
    "yn": ("n, x", "x > 0, for an integer n", (2, 0.7)),
    "yv": ("v, x", "x > 0", (0.7, 1.3)),
    "zeta": ("x, q", "x > 1, q > 0", (1.7, 0.7)),
}
# Parameters beside loc and scale > 0; the support; a point and parameters.
DISTRIBUTIONS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "norm": ("", "all numbers", (0.7,)),
    "t": ("df > 0", "all numbers", (0.7, 2.5)),
    "gamma": ("a > 0", "x ≥ 0", (0.7, 2.5)),
    "beta": ("a, b > 0", "0 ≤ x ≤ 1", (0.7, 2.5, 1.5)),
    "chi2": ("df > 0", "x ≥ 0", (0.7, 2.5)),
    "expon": ("", "x ≥ 0", (0.7,)),
    "lognorm": ("s > 0", "x > 0", (0.7, 2.5)),
    "poisson": ("mu ≥ 0", "integers k ≥ 0", (2.0, 2.5)),
    "binom": ("n ≥ 0, 0 ≤ p ≤ 1", "integers 0 ≤ k ≤ n", (2.0, 5.0, 0.3)),
    "laplace": ("", "all numbers", (0.7,)),
    "cauchy": ("", "all numbers", (0.7,)),
    "f": ("dfn, dfd > 0", "x ≥ 0", (0.7, 2.5, 3.5)),
    "truncnorm": ("a < b", "a ≤ x ≤ b", (0.7, -1.5, 2.5)),
    "skewnorm": ("a", "all numbers", (0.7, 1.5)),
    "genextreme": ("c", "c x ≤ 1", (0.7, 0.2)),
    "genpareto": ("c", "x ≥ 0, c x ≥ -1", (0.7, 0.2)),
    "fisk": ("c > 0", "x ≥ 0", (0.7, 2.5)),
    "triang": ("0 ≤ c ≤ 1", "0 ≤ x ≤ 1", (0.7, 0.3)),
}
OTHERS = """\
`scipy.stats.multivariate_normal.logpdf` and `pdf` have derivatives in x, the mean and a positive definite covariance;
`dirichlet.logpdf` and `pdf` in x and alpha > 0. The other distributions of one number, from `uniform` and
`weibull_min` to `nbinom`, and your own classes that inherit from `rv_continuous` or `rv_discrete`, are recorded by the
formulas of their classes (`_logpdf` or `_pdf`, `_cdf`, `_ppf` and the like), where these are made of functions that are
listed here; where SciPy integrates or solves in numbers, the error says so. `ppf` and `isf` are recorded in the same
way, as those of `norm` and other closed forms. All may be frozen, as in `norm(mu, sigma).logpdf(x)`. A parameter
outside of its domain gives NaN, as in SciPy.

`scipy.integrate.trapezoid`, `simpson` and `cumulative_trapezoid` take recorded samples and points. The interpolators of
`scipy.interpolate` in one dimension (`interp1d` of every kind, `CubicSpline`, `PchipInterpolator`,
`Akima1DInterpolator`, `CubicHermiteSpline`, `PPoly`, `BSpline`, `make_interp_spline`, `InterpolatedUnivariateSpline`,
`splrep` and `splev`), and on grids `RegularGridInterpolator` and `interpn` with the methods linear and nearest, take
recorded points to look up, and recorded values or coefficients. The points where the values are given are plain. At a
breakpoint the derivative is that of the piece to its right. `UnivariateSpline` takes recorded points only: where it
smooths, its knots depend on its data.

Complex values are taken by what the guide lists ([guide.md](guide.md#complex-numbers)); the names of `scipy.fft` are
those of `numpy.fft`. `scipy.signal.convolve`, `correlate`, `fftconvolve` and `oaconvolve` take recorded arrays of any
dimension, in the modes full, same and valid, `convolve2d` and `correlate2d` with all boundaries, and
`scipy.signal.hilbert` real ones. The coefficients of `scipy.signal.lfilter` and `sosfilt` and their states `zi` may be
recorded, too; `filtfilt`, `sosfiltfilt`, `savgol_filter`, `detrend` and `resample` have recorded signals.
`scipy.ndimage.convolve`, `correlate`, `convolve1d`, `correlate1d`, `gaussian_filter` and `gaussian_filter1d` of every
order, `uniform_filter`, `sobel`, `prewitt`, `laplace`, `gaussian_laplace` and `gaussian_gradient_magnitude` have all
modes of edges, without `output=`, `origin=` and `axes=`; `map_coordinates` looks up recorded images at recorded places,
with order 0 or 1 and the modes constant, nearest, mirror and reflect. `scipy.spatial.distance.cdist`, `pdist` and the
functions of two vectors have the metrics euclidean, sqeuclidean, cityblock, chebyshev and
cosine. Those of `scipy.linalg` are in [linear-algebra.md](linear-algebra.md), those of `scipy.sparse` in
[sparse.md](sparse.md). Of `scipy.integrate` and `scipy.optimize` the error names the function of fastad to call.
"""


def markdown() -> str:
    """The text of the page."""
    rows = [row for row in PRIMITIVES if isinstance(row, Elementwise)]
    arrays = [row for row in PRIMITIVES if isinstance(row, ArrayPrimitive)]
    parts = [HEAD, *_elementwise(rows), "", ARRAYS, *_arrays(arrays), "", FUNCTIONS_HEAD, *_functions()]
    return "\n".join([*parts, SPECIAL_HEAD, *_special(), "", *_distributions(), "", OTHERS])


def _elementwise(rows: Iterable[Elementwise]) -> Iterable[str]:
    yield from _head("name", "recorded from", "value", "partial derivatives")
    for row in rows:
        partials = "; ".join(_code(p) for p in row.partials)
        yield _line(_code(row.name), ", ".join(row.ufuncs), _code(row.value), partials)


def _arrays(rows: Iterable[ArrayPrimitive]) -> Iterable[str]:
    yield from _head("name", "operands", "static integers", "has a derivative")
    for row in rows:
        operands = "any number" if row.arity < 0 else str(row.arity)
        yield _line(_code(row.name), operands, " ".join(row.statics), "yes" if row.adjoint else "no")


def _functions() -> Iterable[str]:
    for module, names in sorted(functions().items()):
        text = f"**{module}**: " + ", ".join(_code(name) for name in sorted(names))
        yield textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def _special() -> Iterable[str]:
    yield from _head("scipy.special", "domain", "derivatives in")
    for name, (arguments, domain, point) in SPECIAL.items():
        found = derivatives_of(getattr(scipy.special, name), point)
        names = arguments.split(", ")
        yield _line(_code(f"{name}({arguments})"), domain, ", ".join(names[k] for k in found) or "none")


def _distributions() -> Iterable[str]:
    yield from _head("scipy.stats", "parameters", "support", "methods", "derivatives of the log density; of cdf, in")
    for name, (parameters, support, point) in DISTRIBUTIONS.items():
        mass = "pmf" if support.startswith("integers") else "pdf"
        distribution = getattr(scipy.stats, name)
        names = ("x", *(distribution.shapes or "").replace(",", "").split(), "loc", "scale")
        point = (*point, 0.1, 1.2)
        if mass == "pmf":  # steps in k and loc, and n is an integer
            names, point = ("k", *names[1:-2]), tuple(int(x) if x == int(x) else x for x in point[:-2])
        methods = [mass, "log" + mass] + ["cdf", "logcdf", "sf", "logsf"] * (name != "skewnorm")
        of_density, of_cdf = (
            ", ".join(names[k] for k in derivatives_of(getattr(distribution, f), point)) if f in methods else "none"
            for f in ("log" + mass, "cdf")
        )
        yield _line(_code(name), parameters, support, ", ".join(methods), f"{of_density}; {of_cdf}")


def derivatives_of(f: Callable[..., Any], point: Sequence[Any]) -> list[int]:
    """The arguments in which a function has a derivative."""
    found = []
    for k, x in enumerate(point):
        if isinstance(x, int) or x is None:  # a plain number by its meaning
            continue
        value = np.asarray(x)

        def sum_of(v: Any, k: int = k) -> Any:
            return np.sum(f(*point[:k], v, *point[k + 1 :]))

        with warnings.catch_warnings():  # of many recordings
            warnings.simplefilter("ignore")
            gradient = fad.grad(sum_of, tier="sweep")(value)
        if not np.any(np.isnan(gradient)):
            found.append(k)
    return found


def functions() -> dict[str, set[str]]:
    """Names of the supported functions, by module."""
    groups: dict[str, set[str]] = {"numpy, ufuncs": set(), "scipy.special, ufuncs": set()}
    for name in (name for name in UFUNCS if not name.startswith("_")):
        groups["numpy, ufuncs" if hasattr(np, name) else "scipy.special, ufuncs"].add(name)
    for function in {*FUNCTIONS, *CREATORS}:
        module, name = _public(function)
        groups.setdefault(module, set()).add(name)
    return groups


def _public(function: Callable[..., Any]) -> tuple[str, str]:
    """The module and the name under which users call a function."""
    name = function.__name__
    module = (getattr(function, "__module__", None) or "numpy").partition("._")[0]
    return "numpy" if getattr(np, name, None) is function else module, name


def _head(*cells: str) -> tuple[str, str]:
    return _line(*cells), _line(*["---"] * len(cells))


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


if __name__ == "__main__":
    TARGET.write_text(markdown(), encoding="utf-8")
    print(f"wrote {TARGET}")
