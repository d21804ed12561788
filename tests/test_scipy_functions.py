"""Functions that SciPy writes in Python, recorded under SciPy's own names: values are SciPy's, derivatives by laws."""

import functools
import math

import mpmath
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.special
import scipy.stats as st
from scipy.special import logsumexp
from scipy.stats import norm

import fastad as fad
from fastad.recording.walk import Walk

RNG = np.random.default_rng(0)
X = RNG.uniform(0.3, 3.0, 4)
DENSITY = ("logpdf", "pdf", "cdf", "sf", "logcdf", "logsf")
MASS = ("logpmf", "pmf", "cdf", "sf", "logcdf", "logsf")
CONTINUOUS = {
    "norm": (), "t": (2.5,), "gamma": (2.5,), "chi2": (3.5,), "expon": (), "lognorm": (0.7,), "beta": (2.0, 3.0),
}  # fmt: skip
ODD = np.array([-5.0, -0.0, 0.0, 0.5, 1.0, 7.0, np.nan, np.inf, -np.inf])


def check(f, *args, order=2):
    expected = f(*args)
    np.testing.assert_allclose(fad.jit(f)(*args), expected, rtol=1e-11, atol=1e-15)
    weights = np.reshape(np.cos(np.arange(np.size(expected))), np.shape(expected))
    fad.check_grads(lambda *a: np.sum(f(*a) * weights), args, order=order)


def stacked(distribution, names):
    return lambda x, *args, **kwargs: np.stack([getattr(distribution, m)(x, *args, **kwargs) for m in names])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name):
    f, shapes = stacked(getattr(st, name), DENSITY), CONTINUOUS[name]
    check(lambda x, loc, scale: f(x, *shapes, loc=loc, scale=scale), X / 4 if name == "beta" else X, -0.1, 1.3)
    theirs = f(ODD, *shapes)
    theirs[:2, -2:] = [[-np.inf], [0.0]]  # at infinity, where some of SciPy's are NaN
    np.testing.assert_allclose(fad.jit(lambda x: f(x, *shapes))(ODD), theirs, rtol=1e-11)


OTHERS = {
    "laplace": (), "cauchy": (), "f": (3.0, 5.0), "truncnorm": (-0.5, 2.0), "genextreme": (0.3,), "genpareto": (-0.3,),
    "triang": (0.3,), "uniform": (), "weibull_min": (1.5,), "pareto": (1.5,), "gumbel_r": (), "logistic": (),
    "invgamma": (2.0,), "halfnorm": (), "rayleigh": (), "fisk": (1.5,), "skewnorm": (1.5,), "vonmises": (1.2,),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_distributions_by_the_formulas_of_their_classes(name):
    distribution, shapes, x = getattr(st, name), OTHERS[name], np.array([0.12, 0.4, 0.9])
    f = stacked(distribution, DENSITY[: 2 if name in ("skewnorm", "vonmises") else None])
    with np.errstate(all="ignore"):
        theirs = f(ODD, *shapes)
        theirs[:2, -2:] = [[-np.inf], [0.0]]  # at infinity, where some of SciPy's are NaN
        np.testing.assert_allclose(fad.jit(lambda x: f(x, *shapes))(ODD), theirs, rtol=1e-9, atol=1e-15)
    check(lambda x, scale: f(x, *shapes, scale=scale), x + 1.5 * (name == "pareto"), 1.3, order=1)
    if shapes:
        check(lambda *shapes: distribution.logpdf(x / 2 + (name == "pareto"), *shapes), *shapes, order=1)


@pytest.mark.parametrize("name", ["norm", "lognorm", "uniform", "cauchy", "logistic", "weibull_min"])
def test_quantiles(name):
    distribution, shapes, q = getattr(st, name), {**CONTINUOUS, **OTHERS}[name], np.array([0.01, 0.3, 0.8])
    check(lambda q, scale: stacked(distribution, ("ppf", "isf"))(q, *shapes, scale=scale), q, 1.3, order=1)
    ends = np.array([-0.5, 0.0, 1.0, 2.0, np.nan])
    f = lambda q: distribution.ppf(q, *shapes)
    np.testing.assert_allclose(fad.jit(f)(ends), f(ends))


@pytest.mark.parametrize("c", [0.0, 1e-5, -1e-5])
def test_extreme_values_are_smooth_in_their_shape(c):
    """At 0 the formulas have a limit: log((1 + c x)^(1/c)) = x - c x²/2 + …"""
    x, h = 0.7, 1e-4
    for f in (lambda c: st.genextreme.logpdf(x, c), lambda c: st.genpareto.logpdf(x, c)):
        differences = (f(c + h) - f(c - h)) / (2 * h)
        assert fad.grad(f)(c) == pytest.approx(differences, rel=1e-6)


class Parabola(st.rv_continuous):
    def _pdf(self, x, height):
        return height * x * (1.0 - x)


def test_a_class_of_the_users_own():
    own = Parabola(a=0.0, b=1.0, name="parabola")
    assert fad.grad(lambda x: own.logpdf(x, 6.0, 0.1, 2.0))(0.9) == pytest.approx((1 / 0.4 - 1 / 0.6) / 2)
    with pytest.raises(fad.RecordingError, match="cannot be recorded"):
        fad.grad(lambda x: own.cdf(x, 6.0))(0.5)


@pytest.mark.parametrize("name", [name for name, shapes in CONTINUOUS.items() if shapes])
def test_densities_by_their_shapes(name):
    distribution = getattr(st, name)
    check(lambda *shapes: distribution.logpdf(X / 4, *shapes), *CONTINUOUS[name])


@pytest.mark.parametrize("name", [*CONTINUOUS, "poisson", "binom"])
def test_parameters_that_no_distribution_has_give_nan_as_in_scipy(name):
    distribution, shapes = getattr(st, name), {"poisson": (1.5,), "binom": (5, 0.3)}.get(name) or CONTINUOUS[name]
    wrong = np.array([-1.0, 0.0, 0.5, 2.5, np.nan])
    for method in MASS if name in ("poisson", "binom") else DENSITY:
        if (name, method) == ("binom", "logcdf"):
            continue  # SciPy's is 0 for parameters that its other methods refuse
        f = getattr(distribution, method)
        for k in range(len(shapes)):
            of_shape = lambda s, f=f, k=k: f([0.5, 2.0], *shapes[:k], s[:, None], *shapes[k + 1 :])
            np.testing.assert_allclose(fad.jit(of_shape)(wrong), of_shape(wrong), rtol=1e-11)
            of_x = lambda x, f=f, k=k: f(x, *shapes[:k], [-1.0, 2.0], *shapes[k + 1 :])  # the parameter is a plain list
            np.testing.assert_allclose(fad.jit(of_x)(1.0), of_x(1.0), rtol=1e-11)
        if name in CONTINUOUS:
            of_scale = lambda s, f=f: f(0.5, *shapes, scale=s)
            np.testing.assert_allclose(fad.jit(of_scale)(wrong), of_scale(wrong), rtol=1e-11)
    if shapes:
        assert np.isnan(fad.grad(lambda s: distribution.logcdf(0.5, *shapes[:-1], s))(-1.0))


def test_tails_far_out():
    for name, x in (("norm", 40.0), ("expon", 800.0), ("lognorm", 1e12)):
        f = lambda x, name=name: getattr(st, name).logsf(x, *CONTINUOUS[name])
        assert fad.jit(f)(x) == pytest.approx(f(x), rel=1e-12) and fad.grad(f)(x) < 0


def test_discrete_distributions():
    k, odd = np.array([0.0, 1.0, 3.0, 5.0]), np.array([-1.0, 0.0, 2.0, 2.5, 5.0, 6.0, np.nan])
    poisson, binomial = stacked(st.poisson, MASS), stacked(st.binom, MASS)
    check(lambda mu: poisson(k, mu), 2.5)
    check(lambda p: binomial(k[:3], 5, p), 0.3)
    np.testing.assert_allclose(fad.jit(lambda mu: poisson(odd, mu))(0.4), poisson(odd, 0.4), rtol=1e-9)
    np.testing.assert_allclose(fad.jit(lambda p: binomial(odd, 5, p))(0.4), binomial(odd, 5, 0.4), rtol=1e-9)


def test_distributions_of_vectors():
    a, x, mean = RNG.normal(size=(3, 3)), RNG.normal(size=(4, 3)), RNG.normal(size=3)
    check(lambda x, m, a: st.multivariate_normal.logpdf(x, m, a @ a.T + np.eye(3)), x, mean, a)
    check(lambda m: st.multivariate_normal(m, np.eye(3)).pdf(x), mean, order=1)
    check(lambda x: st.multivariate_normal.logpdf(x), 0.3)
    check(lambda alpha: st.dirichlet.logpdf([0.2, 0.3, 0.5], alpha), np.array([1.5, 2.0, 3.0]))
    check(lambda x: st.dirichlet.logpdf(x / np.sum(x), [1.5, 2.0, 3.0]), np.array([0.2, 0.3, 0.5]))


def test_frozen_distributions_and_bound_names():
    method = st.gamma.logpdf
    check(lambda m, s: norm(m, s).logpdf(X), 0.3, 2.0)
    check(lambda x: method(x, 2.0) + norm.logcdf(x) + logsumexp(x), X)
    assert fad.grad(norm.logpdf)(0.5) == -0.5 and fad.jit(logsumexp)(np.zeros(1)) == 0.0


ONES = np.ones(2)


class Likelihood:
    def __init__(self, logarithm):
        self.logarithm = logarithm

    def at(self, x):
        return self.logarithm(x)


HELD = {
    "a default": lambda f: lambda x, f=f: f(x),
    "a keyword's default": lambda f: lambda x, *, f=f: f(x),
    "a partial function": lambda f: functools.partial(f),
    "a partial function's argument": lambda f: functools.partial(lambda f, x: f(x), f),
    "a list": lambda f: lambda x, fs=[f]: fs[0](x),
    "a tuple beside an array": lambda f: lambda x, y=(f, ONES): y[0](x) + np.sum(y[1]) - 2.0,
    "tuples": lambda f: (lambda fs: lambda x: fs[0][0](x))(((f,),)),
    "a dict": lambda f: (lambda fs: lambda x: fs["f"](x))({"f": f}),
    "an attribute": lambda f: Likelihood(f).at,
}


@pytest.mark.parametrize("holder", HELD)
@pytest.mark.parametrize("f", [norm.logpdf, logsumexp, st.gamma(2.0).logpdf, np.linalg.norm, math.sin])
def test_functions_are_found_wherever_they_are_held(holder, f):
    for _ in range(2):
        held = HELD[holder](f)
        assert fad.grad(held)(0.7) == fad.grad(lambda x: f(x))(0.7)
        assert fad.jit(held)(0.7) == pytest.approx(f(0.7)) and held(0.7) == pytest.approx(f(0.7))


def test_distributions_are_known_by_what_they_were_made_of():
    """Their caches and tables of functions are not looked at before every call, nor are they states that keep functions
    from sharing recordings. Another distribution in the same place is seen."""
    mixed = st.gamma(2.5)

    def of(data):
        return fad.grad(lambda m: np.sum(norm.logpdf(data, m, 2.0)) + np.sum(mixed.logpdf(data + m)))

    walk = Walk([lambda m: norm.logpdf(m) + st.multivariate_normal.logpdf([m, m], [0, 0]) + mixed.logpdf(m)])
    assert not walk.must_be_walked and not walk.is_opaque
    shared = [of(X + k) for k in range(3)]
    for k, gradient in enumerate(shared):
        assert np.isclose(gradient(0.1), np.sum((X + k - 0.1) / 4 + 1.5 / (X + k + 0.1) - 1))
    mixed = st.gamma(3.5)
    assert np.isclose(shared[0](0.1), np.sum((X - 0.1) / 4 + 2.5 / (X + 0.1) - 1))


def test_densities_against_exact_ones():
    mp = mpmath.mp
    for x in (0.3, 2.0, 9.0):
        with mp.workdps(30):
            exact = mp.diff(lambda a, x=x: (a - 1) * mp.log(x) - x - mp.loggamma(a), 2.5)
        assert fad.grad(lambda a, x=x: st.gamma.logpdf(x, a))(2.5) == pytest.approx(float(exact), rel=1e-13)


OF_TWO = {
    "rel_entr": (0.4, 0.7), "kl_div": (0.4, 0.7), "huber": (0.8, 2.0), "pseudo_huber": (0.8, 2.0), "xlogy": (0.4, 0.7),
    "xlog1py": (0.4, 0.7), "betaln": (0.4, 0.7), "beta": (0.4, 0.7), "boxcox": (0.4, 0.7), "boxcox1p": (0.4, 0.7),
    "rel_entr near": (0.7, 0.7000001),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_TWO)
def test_each_operand_may_be_a_plain_number(name):
    f, (a, b) = getattr(scipy.special, name.split()[0]), OF_TWO[name]
    for g, point in ((f, (a, b)), (lambda x: f(x, b), (a,)), (lambda y: f(a, y), (b,))):
        check(g, *point)


def test_edges_of_divergences_and_losses():
    odd = np.array([-np.inf, -2.0, -0.0, 0.0, 0.3, 2.0, 1e5, np.inf, np.nan])
    a, b = (x.ravel() for x in np.meshgrid(odd, odd))
    for name in ("rel_entr", "kl_div", "huber", "pseudo_huber"):
        f = getattr(scipy.special, name)
        if name == "pseudo_huber":  # SciPy's are NaN where the limit is infinite, and 0 where a number is NaN
            a, b = a[np.isfinite(a)], b[np.isfinite(a)]
        np.testing.assert_allclose(fad.jit(f)(a, b), f(a, b), rtol=1e-13)
    assert fad.grad(lambda x: scipy.special.rel_entr(x, 2.0))(0.0) == -np.inf
    assert fad.grad(lambda y: scipy.special.kl_div(0.0, y))(2.0) == 1.0
    assert fad.grad(lambda r: scipy.special.pseudo_huber(0.8, r))(0.0) == 0.0


def test_functions_of_special():
    x = np.array([-1.0, 0.5, 3.0])
    for f in (
        logsumexp, scipy.special.softmax, scipy.special.log_softmax, lambda x: scipy.special.polygamma(2, np.abs(x)),
        lambda x: scipy.special.multigammaln(np.abs(x) + 1.0, 2),
        lambda x: logsumexp(x, b=[1.0, 2.0, 0.5]),
    ):  # fmt: skip
        check(f, x)
    assert np.array_equal(logsumexp(x), scipy.special.logsumexp(x))  # nothing is left behind


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolutions(mode):
    a, b, image = RNG.normal(size=7), RNG.normal(size=4), RNG.normal(size=(5, 6))
    for name in ("convolve", "correlate", "fftconvolve"):
        check(lambda a, b, name=name: getattr(scipy.signal, name)(a, b, mode), a, b, order=1)
        check(lambda a, b, name=name: getattr(scipy.signal, name)(a, b, mode), image, image[:2, :3], order=1)


@pytest.mark.parametrize("mode", ["reflect", "constant", "nearest", "mirror", "wrap"])
def test_filters_of_images(mode):
    image = RNG.normal(size=(5, 6))
    for shape in ((3, 3), (2, 4)):
        for name in ("correlate", "convolve"):
            check(lambda a, b, name=name: getattr(scipy.ndimage, name)(a, b, mode=mode), image, RNG.normal(size=shape),
                  order=1)  # fmt: skip
    with pytest.raises(fad.RecordingError, match="origin="):
        fad.jit(lambda a: scipy.ndimage.correlate(a, [[1.0]], origin=1))(image)


def test_shifts_and_histograms_of_numpy():
    image = RNG.normal(size=(4, 5))
    for f in (np.fft.fftshift, np.fft.ifftshift, lambda x: np.fft.fftshift(x, axes=1)):
        check(f, image, order=1)
    values, weights = RNG.uniform(size=20), RNG.normal(size=20)
    edges = [0.0, 0.25, 0.6, 0.9]
    check(lambda w: np.histogram(values, edges, weights=w)[0], weights, order=1)
    check(lambda w: np.histogram(values, 4, (0.1, 0.7), weights=w, density=True)[0], np.abs(weights), order=1)
    counts = fad.jit(lambda x: np.histogram(x, bins=3)[0])
    for x in (values, 2.0 - values**2):  # other bins: another path
        assert np.array_equal(counts(x), np.histogram(x, bins=3)[0])
