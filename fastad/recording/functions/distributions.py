"""Densities and distribution functions of scipy.stats, for recorded values.

A distribution is the logarithm of its density and its distribution function, for location 0 and scale 1, with its
support; what else SciPy's methods return follows. Formulas: Johnson, Kotz & Balakrishnan, Continuous Univariate
Distributions (1994), and SciPy's documentation, whose parameters these are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.recording.functions.special import of_scipy


def _special(name: str) -> Callable[..., Any]:
    return lambda *args: of_scipy(name)(*args)


gammaln, betaln, xlogy, xlog1py = map(_special, ["gammaln", "betaln", "xlogy", "xlog1py"])
ndtr, log_ndtr, stdtr = map(_special, ["ndtr", "log_ndtr", "stdtr"])
gammainc, gammaincc, betainc = map(_special, ["gammainc", "gammaincc", "betainc"])
_LOG_2PI = float(np.log(2 * np.pi))


def _positive(*shapes: Any) -> Any:
    return [s > 0 for s in shapes]


@dataclass(frozen=True)
class Distribution:
    """`log_density(x, *shapes)` and `distribution(x, *shapes)` inside of the support [low, high], whose ends may be
    functions of the shapes. `tail` is 1 − distribution, `log_distribution` and `log_tail` the logarithms, where
    they are given to more digits than these would have. `allows(*shapes)` lists what the shapes must fulfil."""

    name: str  # SciPy's
    log_density: Any
    distribution: Any
    low: Any = -np.inf
    high: Any = np.inf
    tail: Callable[..., Any] | None = None
    log_distribution: Callable[..., Any] | None = None
    log_tail: Callable[..., Any] | None = None
    inverse: Callable[..., Any] | None = None
    inverse_tail: Callable[..., Any] | None = None
    allows: Callable[..., Any] = _positive
    is_discrete: bool = False
    has_low: bool = True  # whether the lower end belongs to the support

    def ends(self, *shapes: Any) -> tuple[Any, Any]:
        """The ends of the support."""
        low, high = (end(*shapes) if callable(end) else end for end in (self.low, self.high))
        return low, high

    def inside(self, x: Any, *shapes: Any) -> tuple[Any, Any]:
        """x, with a point of the support in the place of what is outside of it; and where it is inside."""
        low, high = self.ends(*shapes)
        within = ((x >= low) if self.has_low else (x > low)) & (x <= high)
        if self.is_discrete:
            within = within & (np.floor(x) == x)
        return np.where(within, x, _typical(low, high, self.is_discrete)), within

    def log_at(self, x: Any, *shapes: Any) -> Any:
        """The logarithm of the density."""
        own, within = self.inside(np.where(np.isinf(x), np.nan, x), *shapes)  # there the density is 0, with slope 0
        return np.where(within, self.log_density(own, *shapes), np.where(np.isnan(x), np.nan, -np.inf))

    def below(self, x: Any, *shapes: Any) -> Any:
        """The distribution function."""
        return self._between(self.distribution, 0.0, 1.0, x, *shapes)

    def above(self, x: Any, *shapes: Any) -> Any:
        """1 − distribution function."""
        return self._between(self._beyond, 1.0, 0.0, x, *shapes)

    def log_below(self, x: Any, *shapes: Any) -> Any:
        """The logarithm of the distribution function."""
        own = self.log_distribution or (lambda *args: _log(self.distribution(*args), self._beyond(*args)))
        return self._between(own, -np.inf, 0.0, x, *shapes)

    def log_above(self, x: Any, *shapes: Any) -> Any:
        """The logarithm of 1 − distribution function."""
        own = self.log_tail or (lambda *args: _log(self._beyond(*args), self.distribution(*args)))
        return self._between(own, 0.0, -np.inf, x, *shapes)

    def quantile(self, q: Any, *shapes: Any) -> Any:
        """The inverse of the distribution function."""
        return self._inverse(self.inverse, q, *shapes)

    def upper_quantile(self, q: Any, *shapes: Any) -> Any:
        """The inverse of 1 − distribution function."""
        own = self.inverse_tail or (lambda q, *args: self.inverse(1.0 - q, *args))  # type: ignore[misc]
        return self._inverse(own, q, *shapes, turned=True)

    def is_defined(self, shapes: Any, scale: Any) -> Any:
        """Where the parameters, as the user gave them, are those of a distribution; True where this needs no row."""
        wanted = [*self.allows(*shapes), *([] if self.is_discrete else [scale > 0])]
        found: Any = True
        for condition in wanted:
            if not isinstance(condition, bool | np.bool_) or not condition:
                found = condition if found is True else found & condition
        return found

    def _inverse(self, f: Any, q: Any, *shapes: Any, turned: bool = False) -> Any:
        low, high = self.ends(*shapes)[:: -1 if turned else 1]
        within = (q > 0.0) & (q < 1.0)
        outside = np.where(q == 0.0, low, np.where(q == 1.0, high, np.nan))
        return np.where(within, f(np.where(within, q, 0.5), *shapes), outside)

    def _beyond(self, x: Any, *shapes: Any) -> Any:
        return self.tail(x, *shapes) if self.tail else 1.0 - self.distribution(x, *shapes)

    def _between(self, f: Callable[..., Any], before: float, after: float, x: Any, *shapes: Any) -> Any:
        x = np.floor(x) if self.is_discrete else x
        own, within = self.inside(np.where(np.isinf(x), np.nan, x), *shapes)  # infinities are ends, with slope 0
        outside = np.where(x <= self.ends(*shapes)[0], before, np.where(np.isnan(x), np.nan, after))
        return np.where(within, f(own, *shapes), outside)


def _typical(low: Any, high: Any, is_discrete: bool) -> Any:
    """A point between the ends of a support."""
    above, below = (low, high) if is_discrete else (low + 1.0, high - 1.0)
    middle = np.where(np.isinf(high), above, low if is_discrete else 0.5 * (low + high))
    return np.where(np.isinf(low), np.where(np.isinf(high), 0.0, below), middle)


def _log(p: Any, q: Any) -> Any:
    """log(p) for p + q = 1."""
    small = p < 0.5
    return np.where(small, np.log(np.where(small, p, 1.0)), np.log1p(-np.where(small, 0.0, q)))


def _binomial(k: Any, n: Any, p: Any) -> Any:
    choices = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    return choices + xlogy(k, p) + xlog1py(n - k, -p)


def _binomial_below(k: Any, n: Any, p: Any) -> Any:
    all_of_them = k >= n
    return np.where(all_of_them, 1.0, betainc(np.where(all_of_them, 1.0, n - k), k + 1.0, 1.0 - p))


def _log1p_by(u: Any) -> Any:
    """log(1 + u) / u, which is 1 at 0."""
    small = np.abs(u) < 1e-4
    away = np.where(small, 1.0, u)
    return np.where(small, 1.0 - u * (0.5 - u * (1 / 3 - 0.25 * u)), np.log1p(away) / away)


def _log_mass(a: Any, b: Any) -> Any:
    """The logarithm of the probability of [a, b] for a standard normal number, from the side of the smaller tail."""
    turned = a > 0
    low, high = log_ndtr(np.where(turned, -b, a)), log_ndtr(np.where(turned, -a, b))
    return high + np.log1p(-np.exp(low - high))


def _below_in_truncnorm(x: Any, a: Any, b: Any) -> Any:
    return _log_mass(a, x) - _log_mass(a, b)


def _above_in_truncnorm(x: Any, a: Any, b: Any) -> Any:
    return _log_mass(x, b) - _log_mass(a, b)


def _extreme(x: Any, c: Any) -> Any:
    """log((1 − c x)^(1/c)), for which exp(−exp(·)) is the distribution function."""
    return -x * _log1p_by(-c * x)


def _inverse_or(sign: float, c: Any, otherwise: float) -> Any:
    """1 / c where c has this sign."""
    there = sign * c > 0
    return np.where(there, 1.0 / np.where(there, c, sign), otherwise)


def _triangle(x: Any, c: Any, power: int) -> tuple[Any, Any, Any]:
    """Whether x is on the left side, xᵖ / c and (1 − x)ᵖ / (1 − c)."""
    left = (x < c) | (c == 1)
    return left, x**power / np.where(c == 0, 1.0, c), (1.0 - x) ** power / np.where(c == 1, 1.0, 1.0 - c)


def _triangle_density(x: Any, c: Any) -> Any:
    return np.log(2.0 * np.where(*_triangle(x, c, 1)))


def _triangle_below(x: Any, c: Any) -> Any:
    left, rising, falling = _triangle(x, c, 2)
    return np.where(left, rising, 1.0 - falling)


def _laplace_tail(x: Any) -> Any:
    smaller = 0.5 * np.exp(-np.abs(x))
    return np.where(x > 0, smaller, 1.0 - smaller)


_ALL = (
    Distribution(
        "norm", lambda x: -0.5 * x * x - 0.5 * _LOG_2PI, ndtr, tail=lambda x: ndtr(-x), log_distribution=log_ndtr,
        log_tail=lambda x: log_ndtr(-x),
    ),
    Distribution(
        "t", lambda x, df: -0.5 * (df + 1.0) * np.log1p(x * x / df) - betaln(0.5, 0.5 * df) - 0.5 * np.log(df),
        lambda x, df: stdtr(df, x), tail=lambda x, df: stdtr(df, -x),
    ),
    Distribution(
        "gamma", lambda x, a: xlogy(a - 1.0, x) - x - gammaln(a), lambda x, a: gammainc(a, x), 0.0,
        tail=lambda x, a: gammaincc(a, x),
    ),
    Distribution(
        "chi2", lambda x, df: xlogy(0.5 * df - 1.0, x) - 0.5 * x - gammaln(0.5 * df) - 0.5 * df * np.log(2.0),
        lambda x, df: gammainc(0.5 * df, 0.5 * x), 0.0, tail=lambda x, df: gammaincc(0.5 * df, 0.5 * x),
    ),
    Distribution(
        "beta", lambda x, a, b: xlogy(a - 1.0, x) + xlog1py(b - 1.0, -x) - betaln(a, b),
        lambda x, a, b: betainc(a, b, x), 0.0, 1.0, tail=lambda x, a, b: betainc(b, a, 1.0 - x),
    ),
    Distribution(
        "expon", lambda x: -x, lambda x: -np.expm1(-x), 0.0, tail=lambda x: np.exp(-x),
        log_distribution=lambda x: np.log(-np.expm1(-x)), log_tail=lambda x: -x,
    ),
    Distribution(
        "lognorm", lambda x, s: -0.5 * (np.log(x) / s) ** 2 - np.log(s * x) - 0.5 * _LOG_2PI,
        lambda x, s: ndtr(np.log(x) / s), 0.0, tail=lambda x, s: ndtr(-np.log(x) / s),
        log_distribution=lambda x, s: log_ndtr(np.log(x) / s), log_tail=lambda x, s: log_ndtr(-np.log(x) / s),
        has_low=False,
    ),
    Distribution(
        "poisson", lambda k, mu: xlogy(k, mu) - gammaln(k + 1.0) - mu, lambda k, mu: gammaincc(k + 1.0, mu), 0.0,
        tail=lambda k, mu: gammainc(k + 1.0, mu), allows=lambda mu: [mu >= 0], is_discrete=True,
    ),
    Distribution(
        "binom", _binomial, _binomial_below, 0.0, lambda n, p: n, is_discrete=True,
        allows=lambda n, p: [n >= 0, np.floor(n) == n, p >= 0, p <= 1],
    ),
    Distribution(
        "laplace", lambda x: -np.abs(x) - np.log(2.0), lambda x: _laplace_tail(-x), tail=_laplace_tail,
    ),
    Distribution(
        "cauchy", lambda x: -np.log1p(x * x) - np.log(np.pi), lambda x: np.arctan2(1.0, -x) / np.pi,
        tail=lambda x: np.arctan2(1.0, x) / np.pi, inverse=lambda q: -1.0 / np.tan(np.pi * q),
        inverse_tail=lambda q: 1.0 / np.tan(np.pi * q),
    ),
    Distribution(
        "f", None, lambda x, m, n: betainc(0.5 * m, 0.5 * n, m * x / (n + m * x)), 0.0,
        tail=lambda x, m, n: betainc(0.5 * n, 0.5 * m, n / (n + m * x)),
    ),
    Distribution(
        "truncnorm", lambda x, a, b: -0.5 * x * x - 0.5 * _LOG_2PI - _log_mass(a, b),
        lambda *args: np.exp(_below_in_truncnorm(*args)), lambda a, b: a, lambda a, b: b,
        lambda *args: np.exp(_above_in_truncnorm(*args)), _below_in_truncnorm, _above_in_truncnorm,
        allows=lambda a, b: [a < b],
    ),
    Distribution(
        "skewnorm", lambda x, a: np.log(2.0) - 0.5 * x * x - 0.5 * _LOG_2PI + log_ndtr(a * x), None,
        allows=lambda a: [],
    ),
    Distribution(
        "genextreme", lambda x, c: (1.0 - c) * _extreme(x, c) - np.exp(_extreme(x, c)),
        lambda x, c: np.exp(-np.exp(_extreme(x, c))), lambda c: _inverse_or(-1.0, c, -np.inf),
        lambda c: _inverse_or(1.0, c, np.inf), lambda x, c: -np.expm1(-np.exp(_extreme(x, c))),
        lambda x, c: -np.exp(_extreme(x, c)), allows=lambda c: [],
    ),
    Distribution(
        "genpareto", lambda x, c: -(c + 1.0) * x * _log1p_by(c * x), lambda x, c: -np.expm1(-x * _log1p_by(c * x)), 0.0,
        lambda c: -_inverse_or(-1.0, c, -np.inf), lambda x, c: np.exp(-x * _log1p_by(c * x)),
        log_tail=lambda x, c: -x * _log1p_by(c * x), allows=lambda c: [],
    ),
    Distribution(
        "fisk", lambda x, c: np.log(c) + xlogy(c - 1.0, x) - 2.0 * np.log1p(x**c), None, 0.0,
    ),
    Distribution(
        "triang", _triangle_density, _triangle_below, 0.0, 1.0, allows=lambda c: [c >= 0, c <= 1],
    ),
)  # fmt: skip
DISTRIBUTIONS = {distribution.name: distribution for distribution in _ALL}


# ── the others, by the formulas in SciPy's classes, or in the user's own ──────────────────────────────────────
def _own(dist: Any, *names: str) -> Callable[..., Any] | None:
    """The method of the first of these names if one of them is not that of all distributions, which computes in
    numbers."""
    return getattr(dist, names[0]) if any(_overrides(dist, name) for name in names) else None


def _overrides(dist: Any, name: str) -> bool:
    found = getattr(type(dist), name)
    return not any(found is vars(kind).get(name) for kind in type(dist).__mro__ if kind.__name__ in _GENERAL)


_GENERAL = ("rv_generic", "rv_continuous", "rv_discrete")


def _allowed(dist: Any) -> Callable[..., Any]:
    """What SciPy demands of the shapes."""
    if _overrides(dist, "_argcheck"):
        return lambda *shapes: [dist._argcheck(*shapes)]
    return _positive


def of(dist: Any) -> Distribution:
    """The distribution of an object of scipy.stats: what stands above, and for the rest the formulas of its class."""
    is_discrete = hasattr(dist, "logpmf")
    known = DISTRIBUTIONS.get(dist.name) or Distribution(
        dist.name, None, None, lambda *shapes: dist._get_support(*shapes)[0],
        lambda *shapes: dist._get_support(*shapes)[1], allows=_allowed(dist), is_discrete=is_discrete,
        has_low=is_discrete or type(dist)._support_mask is not type(dist)._open_support_mask,
    )  # fmt: skip
    density = ("_logpmf", "_pmf") if is_discrete else ("_logpdf", "_pdf")
    theirs = {
        "log_density": density, "distribution": ("_cdf", "_sf"), "tail": ("_sf",), "log_distribution": ("_logcdf",),
        "log_tail": ("_logsf",), "inverse": ("_ppf",), "inverse_tail": ("_isf",),
    }  # fmt: skip
    if known.distribution is not None:  # the rest follows from it
        theirs = {name: theirs[name] for name in ("log_density", "inverse", "inverse_tail")}
    fields: dict[str, Any] = {field: getattr(known, field) or _own(dist, *names) for field, names in theirs.items()}
    return replace(known, **fields)


def method(distribution: Distribution, name: str) -> Callable[..., Any] | None:
    """What SciPy's method of this name computes from (x, shapes, loc, scale); None where there is no derivative."""
    d = distribution

    def log_density(x: Any, shapes: Any, loc: Any, scale: Any) -> Any:
        return d.log_at((x - loc) / scale, *shapes) - np.log(scale)

    def log_mass(x: Any, shapes: Any, loc: Any, scale: Any) -> Any:
        return d.log_at(x - loc, *shapes)

    def at(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, shapes, loc, scale: f((x - loc) / scale, *shapes)

    def quantile(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda q, shapes, loc, scale: f(q, *shapes) * scale + loc

    logarithm = log_mass if d.is_discrete else log_density
    needed = {"cdf": d.distribution, "sf": d.distribution, "logcdf": d.distribution, "logsf": d.distribution,
              "ppf": d.inverse, "isf": d.inverse}.get(name, d.log_density)  # fmt: skip
    if needed is None:
        return None
    found = {
        "logpmf" if d.is_discrete else "logpdf": logarithm,
        "pmf" if d.is_discrete else "pdf": lambda *args: np.exp(logarithm(*args)),
        "cdf": at(d.below), "sf": at(d.above), "logcdf": at(d.log_below),
        "logsf": at(d.log_above), "ppf": quantile(d.quantile), "isf": quantile(d.upper_quantile),
    }  # fmt: skip
    return found.get(name)


def multivariate_normal(x: Any, mean: Any = None, cov: Any = 1.0) -> Any:
    """The logarithm of the density of the multivariate normal distribution, by the covariance's Cholesky factor."""
    n = _dimension(x, mean, cov)
    mean = np.zeros(n) if mean is None else np.reshape(mean, (n,))
    if not np.ndim(cov):
        cov = cov * np.eye(n)
    elif np.ndim(cov) == 1:
        cov = np.diag(cov)
    factor = np.linalg.cholesky(np.reshape(cov, (n, n)))
    points = np.reshape(x, (-1, 1)) if np.ndim(x) == 1 and n == 1 else x
    lead = np.shape(points)[:-1] if np.ndim(points) else ()
    away = np.linalg.solve(factor, np.transpose(np.reshape(points - mean, (-1, n))))
    found = -0.5 * np.sum(away * away, axis=0) - np.sum(np.log(np.diagonal(factor))) - 0.5 * n * _LOG_2PI
    return np.reshape(found, lead)


def _dimension(x: Any, mean: Any, cov: Any) -> int:
    if mean is not None and np.ndim(mean):
        return int(np.shape(mean)[0])
    if np.ndim(cov):
        return int(np.shape(cov)[0])
    return int(np.shape(x)[-1]) if np.ndim(x) > 1 else 1


def dirichlet(x: Any, alpha: Any) -> Any:
    """The logarithm of the density of the Dirichlet distribution; x may lack its last component."""
    rows = np.shape(x)[0]
    if rows == np.shape(alpha)[0] - 1:
        x = np.concatenate([x, 1.0 - np.sum(x, axis=0, keepdims=True)])
    powers = np.reshape(alpha, (-1,) + (1,) * (np.ndim(x) - 1))
    return np.sum(xlogy(powers - 1.0, x), axis=0) + gammaln(np.sum(alpha)) - np.sum(gammaln(alpha))
