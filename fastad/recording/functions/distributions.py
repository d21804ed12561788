"""Densities and distribution functions of scipy.stats, for recorded values.

A distribution is the logarithm of its density and its distribution function, for location 0 and scale 1, with its
support; what else SciPy's methods return follows. Formulas: Johnson, Kotz & Balakrishnan, Continuous Univariate
Distributions (1994), and SciPy's documentation, whose parameters these are.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
    """`log_density(x, *shapes)` and `distribution(x, *shapes)` inside of the support [low, high], whose upper end may
    be a function of the shapes. `tail` is 1 − distribution, `log_distribution` and `log_tail` the logarithms, where
    they are given to more digits than these would have. `allows(*shapes)` lists what the shapes must fulfil."""

    name: str  # SciPy's
    log_density: Callable[..., Any]
    distribution: Callable[..., Any]
    low: float = -np.inf
    high: Any = np.inf
    tail: Callable[..., Any] | None = None
    log_distribution: Callable[..., Any] | None = None
    log_tail: Callable[..., Any] | None = None
    allows: Callable[..., Any] = _positive
    is_discrete: bool = False
    has_low: bool = True  # whether the lower end belongs to the support

    @property
    def typical(self) -> float:
        """A point of every support."""
        return 0.5 if self.high == 1.0 else 1.0 if self.low == 0.0 and not self.is_discrete else 0.0

    def inside(self, x: Any, *shapes: Any) -> tuple[Any, Any]:
        """x, with a point of the support in the place of what is outside of it; and where it is inside."""
        high = self.high(*shapes) if callable(self.high) else self.high
        within = ((x >= self.low) if self.has_low else (x > self.low)) & (x <= high)
        if self.is_discrete:
            within = within & (np.floor(x) == x)
        return np.where(within, x, self.typical), within

    def log_at(self, x: Any, *shapes: Any) -> Any:
        """The logarithm of the density."""
        own, within = self.inside(x, *shapes)
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

    def is_defined(self, shapes: Any, scale: Any) -> Any:
        """Where the parameters, as the user gave them, are those of a distribution; True where this needs no row."""
        wanted = [*self.allows(*shapes), *([] if self.is_discrete else [scale > 0])]
        found: Any = True
        for condition in wanted:
            if not isinstance(condition, bool | np.bool_) or not condition:
                found = condition if found is True else found & condition
        return found

    def _beyond(self, x: Any, *shapes: Any) -> Any:
        return self.tail(x, *shapes) if self.tail else 1.0 - self.distribution(x, *shapes)

    def _between(self, f: Callable[..., Any], before: float, after: float, x: Any, *shapes: Any) -> Any:
        x = np.floor(x) if self.is_discrete else x
        own, within = self.inside(x, *shapes)
        outside = np.where(x <= self.low, before, np.where(np.isnan(x), np.nan, after))
        return np.where(within, f(own, *shapes), outside)


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
)  # fmt: skip
DISTRIBUTIONS = {distribution.name: distribution for distribution in _ALL}


def method(distribution: Distribution, name: str) -> Callable[..., Any] | None:
    """What SciPy's method of this name computes from (x, shapes, loc, scale); None where there is no derivative."""
    d = distribution

    def log_density(x: Any, shapes: Any, loc: Any, scale: Any) -> Any:
        return d.log_at((x - loc) / scale, *shapes) - np.log(scale)

    def log_mass(x: Any, shapes: Any, loc: Any, scale: Any) -> Any:
        return d.log_at(x - loc, *shapes)

    def at(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, shapes, loc, scale: f((x - loc) / scale, *shapes)

    logarithm = log_mass if d.is_discrete else log_density
    found = {
        "logpmf" if d.is_discrete else "logpdf": logarithm,
        "pmf" if d.is_discrete else "pdf": lambda *args: np.exp(logarithm(*args)),
        "cdf": at(d.below), "sf": at(d.above), "logcdf": at(d.log_below),
        "logsf": at(d.log_above),
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
