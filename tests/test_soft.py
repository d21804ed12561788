"""Relaxed operators: definitions, limits, bounds, identities, and derivatives of first and second order."""

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transform_tools import each_tier, same

import fastad as fad
from fastad import soft

KERNELS = ("gaussian", "sech")
ORDERED = {
    "greater_equal": (soft.greater_equal, np.greater_equal), "less_equal": (soft.less_equal, np.less_equal),
    "greater": (soft.greater, np.greater), "less": (soft.less, np.less),
}  # fmt: skip
SIMILAR = {"equal": (soft.equal, np.equal), "not_equal": (soft.not_equal, np.not_equal)}
COMPARISONS = ORDERED | SIMILAR
comparisons = pytest.mark.parametrize("name", COMPARISONS)
kernels = pytest.mark.parametrize("kernel", KERNELS)

reals = st.floats(-1e6, 1e6)
anything = st.floats(allow_nan=False, allow_infinity=False)
widths = st.floats(1e-3, 1e3)
any_width = st.floats(5e-324, 1.7e308)
truths = st.floats(0.0, 1.0)

# As they are defined, analytic in x, y and s: for the complex step, and in many digits for the tails.
DEFINITIONS = {
    ("ge", None): lambda x, y, s, exp=np.exp: 1 / (1 + exp(-(x - y) / s)),
    ("eq", "gaussian"): lambda x, y, s, exp=np.exp: exp(-((x - y) ** 2) / s),
    ("eq", "sech"): lambda x, y, s, exp=np.exp: 2 / (exp((x - y) / s) + exp(-(x - y) / s)),
}


def definition(name, kernel):
    """The definition of a comparison, of (x, y, sigma)."""
    f = DEFINITIONS["ge", None] if name in ORDERED else DEFINITIONS["eq", kernel]
    if name in ("less", "less_equal"):
        return lambda x, y, s, **exp: f(y, x, s, **exp)
    return (lambda x, y, s, **exp: 1 - f(x, y, s, **exp)) if name == "not_equal" else f


# ── comparisons ───────────────────────────────────────────────────────────────────────────────────────────────
@comparisons
@kernels
@given(reals, reals, widths)
def test_comparisons_are_what_they_are_defined_as(name, kernel, x, y, s):
    with mpmath.workdps(40):
        exact = definition(name, kernel)(mpmath.mpf(x), mpmath.mpf(y), mpmath.mpf(s), exp=mpmath.exp)
        found = COMPARISONS[name][0](x, y, s, kernel)
        # The exponent is rounded, so that tails carry its size as a relative error.
        exponent = max(abs(x), abs(y)) / s if name in ORDERED or kernel == "sech" else (x - y) ** 2 / s
        assert abs(found - exact) <= 1e-15 + 4e-16 * abs(exact) * min(exponent, 800)


@comparisons
@kernels
@given(anything, anything, any_width)
def test_bounds(name, kernel, x, y, s):
    assert 0.0 <= COMPARISONS[name][0](x, y, s, kernel) <= 1.0


@kernels
@given(anything, anything, any_width)
def test_identities_of_comparisons(kernel, x, y, s):
    assert soft.greater_equal(x, y, s) == soft.less_equal(y, x, s) == soft.greater(x, y, s) == soft.less(y, x, s)
    assert abs(soft.greater_equal(x, y, s) + soft.greater_equal(y, x, s) - 1.0) <= 2.3e-16
    assert soft.equal(x, y, s, kernel) == soft.equal(y, x, s, kernel)
    assert soft.equal(x, x, s, kernel) == 1.0 and soft.greater_equal(x, x, s) == 0.5
    assert soft.equal(x, y, s, kernel) + soft.not_equal(x, y, s, kernel) == pytest.approx(1.0, abs=2.3e-16)


@comparisons
@kernels
@given(anything, anything)
def test_small_sigma_gives_the_exact_comparison(name, kernel, x, y):
    relaxed, exact = COMPARISONS[name]
    assume(x == y or abs(x - y) > 1e-70)
    if x != y or name in SIMILAR:
        assert relaxed(x, y, 1e-290, kernel) == exact(x, y)
    assert soft.equal(x, y, 5e-324, kernel) == (x == y)


@comparisons
@kernels
def test_convergence_as_sigma_falls(name, kernel):
    x, y = np.array([-1.0, 0.3, 2.0]), 0.5
    errors = [
        np.max(np.abs(COMPARISONS[name][0](x, y, s, kernel) - COMPARISONS[name][1](x, y))) for s in 0.5 ** np.arange(12)
    ]
    assert np.all(np.diff(errors) <= 0) and errors[-1] < 1e-12


@each_tier
@comparisons
@kernels
def test_derivatives_of_comparisons(tier, name, kernel):
    """First order against the complex step of the definition, second order against differences of the first."""
    f, reference = COMPARISONS[name][0], definition(name, kernel)
    gradient = fad.grad(lambda v: f(v[0], v[1], v[2], kernel), tier=tier)
    hessian = fad.hessian(lambda v: f(v[0], v[1], v[2], kernel), tier=tier)
    for point in ((0.3, -0.4, 0.7), (1.0, 1.0, 0.5), (-2.0, 1.0, 0.4), (5.0, 2.0, 30.0)):
        v = np.array(point)
        steps = [np.where(np.arange(3) == k, 1e-30j, 0.0) for k in range(3)]
        same(gradient(v), np.array([reference(*(v + h)).imag / 1e-30 for h in steps]), 1e-13)
        moved = [(gradient(v + h) - gradient(v - h)) / 2e-6 for h in 1e-6 * np.eye(3)]
        np.testing.assert_allclose(hessian(v), moved, rtol=1e-7, atol=1e-8)
    if tier == "sweep":  # these choose tiers by themselves
        given = (np.array([0.3, 1.0]), np.array([0.5, -1.0]), 0.8)
        fad.check_grads(lambda x, y, s: f(x, y, s, kernel), given, order=2)
        fad.check_adjoint(lambda x, y, s: f(x, y, s, kernel), given)


EXTREMES = (0.0, 1.0, -1.0, 1e-300, 1e-150, -3e-75, 1e300, -1e308, 1.7e308)
EXTREME_WIDTHS = (5e-324, 1e-300, 1e-160, 1e-150, 1e-10, 1.0, 1e10, 1e150, 1e300, 1.7e308)


@pytest.mark.parametrize("tier", ["sweep", "native"])
@comparisons
@kernels
def test_no_overflow_and_no_nan(tier, name, kernel):
    f = lambda v: COMPARISONS[name][0](v[0], v[1], v[2], kernel)
    gradient, hessian = fad.value_and_grad(f, tier=tier), fad.hessian(f, tier=tier)
    for x in EXTREMES:
        for y in (0.0, 1e308):
            for s in EXTREME_WIDTHS:
                v = np.array([x, y, s])
                value, slope = gradient(v)
                assert value == f(v) or abs(value - f(v)) < 1e-15
                assert np.isfinite([*slope, *hessian(v).ravel()]).all(), v


@comparisons
@kernels
def test_tails_of_derivatives(name, kernel):
    """They keep their digits far from where the truth value changes."""
    for t in (
        (-600.0, -40.0, -0.5, 1e-9, 0.5, 40.0, 600.0) if kernel == "sech" or name in ORDERED else (-20.0, 1e-9, 20.0)
    ):
        found = fad.grad(COMPARISONS[name][0])(t, 0.0, 1.0, kernel)
        with mpmath.workdps(700):
            wanted = mpmath.diff(lambda x: definition(name, kernel)(x, mpmath.mpf(0), mpmath.mpf(1), exp=mpmath.exp), t)
        assert found == pytest.approx(float(wanted), rel=1e-12, abs=0)


def test_infinite_and_missing_operands():
    assert soft.greater(np.inf, 0.0) == 1.0 and soft.less(np.inf, 0.0) == 0.0 and soft.equal(-np.inf, np.inf) == 0.0
    assert fad.grad(soft.greater)(np.inf, 0.0) == 0.0 and fad.grad(soft.equal, 2)(-np.inf, 0.0, 1.0) == 0.0
    assert np.isnan(soft.greater(np.nan, 0.0)) and np.isnan(soft.equal(0.0, np.nan))


# ── logic ─────────────────────────────────────────────────────────────────────────────────────────────────────
@given(truths, truths, truths)
def test_logic(p, q, r):
    close = lambda a, b: abs(a - b) <= 4e-16
    assert soft.logical_and(p, q) == p * q and close(soft.logical_or(p, q), p + q - p * q)
    for f in (soft.logical_and, soft.logical_or):
        assert 0.0 <= f(p, q) <= 1.0 and close(f(p, q), f(q, p)) and close(f(p, f(q, r)), f(f(p, q), r))
    assert close(soft.logical_not(soft.logical_and(p, q)), soft.logical_or(soft.logical_not(p), soft.logical_not(q)))
    assert close(soft.logical_not(soft.logical_or(p, q)), soft.logical_and(soft.logical_not(p), soft.logical_not(q)))
    assert soft.logical_and(p, 1.0) == soft.logical_or(p, 0.0) == p
    assert soft.logical_and(p, 0.0) == 0.0 and soft.logical_or(p, 1.0) == 1.0
    assert close(soft.logical_not(soft.logical_not(p)), p)
    v = np.array([p, q, r])
    assert close(soft.all(v), p * q * r) and close(soft.any(v), soft.logical_or(p, soft.logical_or(q, r)))
    assert soft.any(v) == soft.logical_not(soft.all(soft.logical_not(v)))
    assert 0.0 <= soft.all(v) <= min(p, q, r) and max(p, q, r) - 4e-16 <= soft.any(v) <= 1.0


@pytest.mark.parametrize("p", [False, True])
@pytest.mark.parametrize("q", [False, True])
def test_logic_of_truth_values_is_exact(p, q):
    for relaxed, exact in (
        (soft.logical_and(p, q), p and q), (soft.logical_or(p, q), p or q), (soft.logical_not(p), not p),
        (soft.all([p, q]), p and q), (soft.any([p, q]), p or q), (soft.where(p, 2.0, 3.0), 2.0 if p else 3.0),
    ):  # fmt: skip
        assert relaxed == exact and relaxed.dtype == np.float64


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_quantifiers_over_axes(axis, keepdims, rng):
    p = rng.uniform(size=(2, 3, 4))
    same(soft.all(p, axis, keepdims), np.prod(p, axis=axis, keepdims=keepdims))
    same(soft.any(p, axis, keepdims), 1 - np.prod(1 - p, axis=axis, keepdims=keepdims))
    same(fad.jit(lambda p: soft.any(p, axis, keepdims))(p), soft.any(p, axis, keepdims))
    same(soft.all(np.zeros((2, 0)), axis=1), np.ones(2))
    same(soft.any(np.zeros((2, 0)), axis=1), np.zeros(2))


@each_tier
@pytest.mark.parametrize(
    "entries", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 1), (0, 0.5, 0, 0.25), (1, 0.5, 1, 0), (0.5, 0.25, 1, 0.75)]
)
def test_derivatives_of_quantifiers_where_entries_are_0_or_1(tier, entries):
    p = np.array(entries, float)
    others = np.array([[k for k in range(4) if k != i] for i in range(4)])
    same(fad.grad(soft.all, tier=tier)(p), np.prod(p[others], axis=1))
    same(fad.grad(soft.any, tier=tier)(p), np.prod(1 - p[others], axis=1))
    pairs = lambda v: np.array(
        [[0.0 if i == j else np.prod([v[k] for k in range(4) if k not in (i, j)]) for j in range(4)] for i in range(4)]
    )
    same(fad.hessian(soft.all, tier=tier)(p), pairs(p))
    same(fad.hessian(soft.any, tier=tier)(p), -pairs(1 - p))


def test_derivatives_of_logic(rng):
    p, q = rng.uniform(size=(2, 3))
    f = lambda p, q: soft.logical_or(soft.logical_and(p, soft.logical_not(q)), p * p)
    fad.check_grads(f, (p, q), order=2)
    fad.check_adjoint(f, (p, q))


# ── selection ─────────────────────────────────────────────────────────────────────────────────────────────────
def softmax(x, s):
    e = np.exp((x - np.max(x.real)) / s)
    return e / np.sum(e)


vectors = st.lists(reals, min_size=1, max_size=6).map(np.array)


@given(vectors, widths)
def test_weights(x, s):
    w = soft.argmax(x, sigma=s)
    same(w, softmax(x, s), 1e-11)
    assert np.all(w >= 0) and abs(np.sum(w) - 1) < 1e-14 and np.argmax(w) == np.argmax(x)
    same(soft.argmin(x, sigma=s), soft.argmax(-x, sigma=s))
    slack = 1e-15 * np.max(np.abs(x))
    assert np.mean(x) - 6 * slack <= soft.max(x, sigma=s) <= np.max(x) + slack
    same(soft.max(x, sigma=s), np.sum(w * x), 1e-12)
    assert soft.min(x, sigma=s) == -soft.max(-x, sigma=s)


@given(reals, reals, widths)
def test_two_elements_are_a_comparison(x, y, s):
    v = np.array([x, y])
    np.testing.assert_allclose(soft.argmax(v, sigma=s)[0], soft.greater(x, y, s), rtol=1e-12)
    mixed = soft.where(soft.greater(x, y, s), x, y)
    np.testing.assert_allclose(soft.max(v, sigma=s), mixed, rtol=1e-12, atol=1e-12 * max(abs(x), abs(y)))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=6, unique=True).map(lambda x: np.array(x, float)))
def test_selection_tends_to_the_exact_one(x):
    for sigma in (1e-3, 1e-150, 1e-300):
        np.testing.assert_array_equal(soft.argmax(x, sigma=sigma), np.arange(x.size) == np.argmax(x))
        np.testing.assert_array_equal(soft.argmin(x, sigma=sigma), np.arange(x.size) == np.argmin(x))
        assert soft.max(x, sigma=sigma) == np.max(x) and soft.min(x, sigma=sigma) == np.min(x)
    same(soft.argmax(np.append(x, x), sigma=1e-9), np.append(x == np.max(x), x == np.max(x)) / 2)
    np.testing.assert_allclose(soft.max(x, sigma=1e12), np.mean(x), atol=1e-8)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_selection_along_axes(axis, rng):
    x = rng.normal(size=(3, 4))
    for f, sign in ((soft.argmax, 1.0), (soft.argmin, -1.0)):
        found = f(x, axis, 0.5)
        assert found.shape == x.shape
        same(found, fad.special.softmax(sign * x / 0.5, axis=axis), 1e-13)
        same(fad.jit(lambda x, f=f: f(x, axis, 0.5))(x), found, 1e-14)
    for f, weights in ((soft.max, soft.argmax), (soft.min, soft.argmin)):
        for keepdims in (False, True):
            wanted = np.sum(weights(x, axis, 0.5) * x, axis=axis, keepdims=keepdims)
            same(f(x, axis, 0.5, keepdims), wanted, 1e-13)
            same(fad.jit(lambda x, f=f, k=keepdims: f(x, axis, 0.5, k))(x), wanted, 1e-13)


@each_tier
@pytest.mark.parametrize("f", [soft.argmax, soft.argmin, soft.max, soft.min])
def test_derivatives_of_selection(tier, f):
    sign = -1.0 if f in (soft.argmin, soft.min) else 1.0
    c = np.array([0.3, -1.0, 2.0])

    def reference(v):
        w = softmax(sign * v[:3], v[3])
        return np.sum(c * w) if f in (soft.argmax, soft.argmin) else np.sum(w * v[:3])

    g = lambda v: np.sum(c * f(v[:3], sigma=v[3])) if f in (soft.argmax, soft.argmin) else f(v[:3], sigma=v[3])
    gradient, hessian = fad.grad(g, tier=tier), fad.hessian(g, tier=tier)
    for point in ((0.2, 0.7, -0.1, 0.5), (1.0, 1.0, 1.0, 2.0), (3.0, 1.0, 3.0, 0.8)):
        v = np.array(point)
        steps = [np.where(np.arange(4) == k, 1e-30j, 0.0) for k in range(4)]
        same(gradient(v), np.array([reference(v + h).imag / 1e-30 for h in steps]), 1e-13)
        moved = [(gradient(v + h) - gradient(v - h)) / 2e-6 for h in 1e-6 * np.eye(4)]
        np.testing.assert_allclose(hessian(v), moved, rtol=1e-7, atol=1e-7)
    if tier == "sweep":  # these choose tiers by themselves
        fad.check_grads(g, (np.array([0.2, 0.7, -0.1, 0.5]),), order=2)


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("f", [soft.argmax, soft.argmin, soft.max, soft.min])
def test_selection_at_extremes(tier, f):
    c = np.array([0.1, -0.2, 0.3])
    g = lambda v: np.sum(c * f(v[:3], sigma=v[3]))
    gradient, hessian = fad.value_and_grad(g, tier=tier), fad.hessian(g, tier=tier)
    for x in ((0, 0, 0), (1, 0, 1), (1e-300, 0, 2e-300), (1e300, 0, -1e300), (1e307, -1e307, 0), (1, 1 + 1e-15, 2)):
        for s in EXTREME_WIDTHS:
            v = np.array([*x, s], float)
            value, slope = gradient(v)
            assert np.isfinite([value, *slope, *hessian(v).ravel()]).all(), v
    masked = np.array([1.0, -np.inf, 0.5])
    same(soft.argmax(masked, sigma=0.1), np.insert(softmax(masked[[0, 2]], 0.1), 1, 0.0))
    assert np.isfinite(fad.grad(lambda x: np.sum(c * f(x)))(masked if f in (soft.argmax, soft.max) else -masked)).all()


# ── branches ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_where_mixes_program_states(rng):
    a = {"x": rng.normal(size=(2, 3)), "y": (1.0, [2, None]), "name": "state"}
    b = {"x": rng.normal(size=3), "y": (np.float64(3.0), [5, None]), "name": "state"}
    for mix in (soft.where, fad.jit(soft.where)):
        found = mix(0.25, a, b)
        wanted = {"x": 0.25 * a["x"] + 0.75 * b["x"], "y": (np.float64(2.5), [np.float64(4.25), None]), "name": "state"}
        same(found, wanted, 1e-15)
    p = rng.uniform(size=(2, 1))
    same(soft.where(p, a["x"], b["x"]), p * a["x"] + (1 - p) * b["x"], 1e-15)


@given(truths, anything, anything)
def test_mixtures_lie_between(p, a, b):
    found = soft.where(p, a, b)
    slack = 1e-15 * max(abs(a), abs(b))
    assert min(a, b) - slack <= found <= max(a, b) + slack
    assert soft.where(1.0, a, b) == soft.where(True, a, b) == a and soft.where(0.0, a, b) == b


@each_tier
@pytest.mark.parametrize("missing", [np.inf, -np.inf, np.nan])
def test_what_has_weight_zero_is_left_out(tier, missing):
    gradient = fad.value_and_grad(soft.where, argnums=(0, 1, 2), tier=tier)
    for p, a, b in ((0.0, missing, 2.0), (1.0, 2.0, missing)):
        value, slopes = gradient(p, a, b)
        assert value == soft.where(p, a, b) == 2.0
        assert slopes == (0.0, float(p), 1.0 - p)
    assert not np.isfinite(soft.where(0.5, missing, 2.0)) and not np.isfinite(gradient(1e-300, missing, 2.0)[0])
    value, slopes = gradient(0.0, 7.0, 2.0)  # the branch is finite, so the condition has its derivative
    assert slopes == (5.0, 0.0, 1.0)


def controller(sigma, select):
    """A state with two arrays and a number, and a branch that changes them all."""

    def f(x, threshold):
        state = {"x": x, "speed": np.sum(x), "log": (x[0],)}
        p = soft.less(state["speed"], threshold, sigma)
        up = lambda s, k: {"x": s["x"] * k, "speed": s["speed"] + 1.0, "log": (s["log"][0],)}
        down = lambda s, k: {"x": np.sin(s["x"]), "speed": s["speed"] * 0.5, "log": (k,)}
        out = select(p, up, down, state, 1.5)
        return np.sum(out["x"] ** 2) + out["speed"] * out["log"][0]

    return f


@each_tier
def test_cond_over_program_states(tier, rng):
    x = rng.normal(size=4)
    exact = controller(1.0, lambda p, up, down, *args: up(*args) if p > 0.5 else down(*args))
    for threshold in (np.sum(x) - 0.5, np.sum(x) + 0.5):
        f = controller(1e-3, soft.cond)
        same(fad.jit(f, tier=tier)(x, threshold), exact(x, threshold), 1e-13)
        same(fad.grad(f, tier=tier)(x, threshold), fad.grad(exact)(x, threshold), 1e-12)
    f = controller(0.5, soft.cond)
    fad.check_grads(f, (x, np.sum(x) + 0.2), order=2)
    fad.check_adjoint(f, (x, np.sum(x) + 0.2))
    assert fad.grad(exact, 1)(x, np.sum(x) + 0.2) == 0.0 != fad.grad(f, 1, tier=tier)(x, np.sum(x) + 0.2)
    xs, ts = rng.normal(size=(5, 4)), rng.normal(size=5)
    found = fad.vmap(fad.grad(f, (0, 1)), tier=tier)(xs, ts)
    lanes = [fad.grad(f, (0, 1))(x, t) for x, t in zip(xs, ts, strict=True)]
    same(found, tuple(np.stack(part) for part in zip(*lanes, strict=True)), 1e-12)


# ── all of them ───────────────────────────────────────────────────────────────────────────────────────────────
OPERATORS = {
    **{name: (lambda x, y, f=f: f(x, y, 0.5)) for name, (f, _) in COMPARISONS.items()},
    "logical_and": soft.logical_and, "logical_or": soft.logical_or, "logical_not": lambda x, y: soft.logical_not(x),
    "all": lambda x, y: soft.all(x), "any": lambda x, y: soft.any(x, axis=0), "where": lambda x, y: soft.where(x, x, y),
    "where by a float64": lambda x, y: soft.where(np.full(3, 0.5), x, y), "argmax": lambda x, y: soft.argmax(x),
    "argmin": lambda x, y: soft.argmin(x, axis=0), "max": lambda x, y: soft.max(x), "min": lambda x, y: soft.min(y),
    "cond": lambda x, y: soft.cond(x, np.sin, np.cos, y), "with a number": lambda x, y: soft.less(x, 0.3),
}  # fmt: skip
operators = pytest.mark.parametrize("name", OPERATORS)
X, Y = np.array([0.25, 0.5, 0.875]), np.array([0.5, 0.5, 0.125])


@operators
@pytest.mark.parametrize("mode", ["soft", "hard", "straight_through"])
def test_dtypes(name, mode):
    f = OPERATORS[name]
    with soft.hardness(mode):
        for dtype in (np.float32, np.float64):
            x, y = X.astype(dtype), Y.astype(dtype)
            for g in (f, fad.jit(f), fad.jit(f, tier="native")):
                assert g(x, y).dtype == dtype
            same(fad.jit(f)(x, y), f(x, y))
            assert np.shape(f(x, y)) == np.shape(f(X, Y))
            assert fad.grad(lambda x, f=f: np.sum(f(x, Y.astype(x.dtype))))(x).dtype == dtype
        small = np.uint8 if name != "cond" else np.int64  # NumPy gives the sine of an uint8 in half precision
        integers = f(np.array([0, 1, 1], small), np.array([1, 1, 0], small))
        same(integers, f(np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0])))


@pytest.mark.parametrize("tier", ["sweep", "native"])
@operators
def test_recorded_mapped_and_nested(tier, name, rng):
    f = OPERATORS[name]
    xs, ys = rng.uniform(size=(2, 4, 3))
    rows = np.stack([f(x, y) for x, y in zip(xs, ys, strict=True)])
    same(fad.jit(f, tier=tier)(xs[0], ys[0]), rows[0], 1e-14)
    same(fad.vmap(f, tier=tier)(xs, ys), rows, 1e-14)
    total = lambda x, y: np.sum(f(x, y) * np.cos(np.arange(3)))
    same(fad.hessian(total, tier=tier)(xs[0], ys[0]), fad.jacrev(fad.grad(total))(xs[0], ys[0]), 1e-12)
    same(
        fad.jit(fad.vmap(fad.grad(total)), tier=tier)(xs, ys),
        np.stack([fad.grad(total)(x, y) for x, y in zip(xs, ys, strict=True)]), 1e-13,
    )  # fmt: skip
    if tier == "sweep":
        fad.check_grads(total, (xs[1], ys[1]), order=2)


def test_broadcasting_and_lists(rng):
    x, y, s = rng.normal(size=(3, 1)), rng.normal(size=4), rng.uniform(0.5, 2.0, size=(2, 1, 1))
    found = soft.greater(x, y, s)
    assert found.shape == (2, 3, 4)
    same(found, 1 / (1 + np.exp(-(x - y) / s)), 1e-14)
    same(fad.jit(soft.greater)(x, y, s), found, 1e-14)
    same(soft.equal([1.0, 2.0], 1), np.array([1.0, np.exp(-1.0)]), 1e-15)
    same(fad.jit(lambda a, b: soft.all([a, b, 0.5]))(0.5, 0.25), np.float64(0.0625))
    assert soft.less(np.float32(1), np.ones(2)).dtype == np.float64 != soft.less(np.float32(1), 1.0).dtype
    assert soft.less(2, 3) == soft.less(2.0, 3.0) and type(soft.less(2, 3)) is np.float64


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_errors_name_the_fix():
    with pytest.raises(ValueError, match="kernel must be one of 'gaussian', 'sech', not 'cauchy'"):
        soft.greater(1.0, 2.0, kernel="cauchy")
    for sigma in (0.0, -1.0, np.nan, np.array([1.0, 0.0])):
        for f in (soft.greater, soft.equal):
            with pytest.raises(ValueError, match=r"sigma must be positive.*hardness\('hard'\)"):
                f(1.0, 2.0, sigma)
            with pytest.raises(ValueError, match="sigma must be positive"):
                fad.jit(lambda x, f=f, s=sigma: f(x, 2.0, s))(1.0)
        with pytest.raises(ValueError, match="sigma must be positive"):
            soft.max(np.ones(2), sigma=sigma)
    with pytest.raises(TypeError, match=r"by name: sigma=0\.5"):
        soft.argmax(np.ones(2), 0.5)
    with pytest.raises(TypeError, match="real numbers and arrays, not complex128"):
        soft.less(1j, 2.0)
    with pytest.raises(TypeError, match="where for values"):
        soft.cond(0.5, 1.0, 2.0)


def test_branches_that_do_not_fit():
    with pytest.raises(fad.ShapeError, match="true_fun and false_fun must have the same structure"):
        soft.cond(0.5, lambda x: (x, x), lambda x: [x, x], 1.0)
    with pytest.raises(fad.ShapeError, match="a and b must have the same structure"):
        soft.where(0.5, {"a": 1.0}, {"b": 1.0})
    with pytest.raises(fad.ShapeError, match="'up' and 'down', which cannot be mixed"):
        soft.where(0.5, (1.0, "up"), (1.0, "down"))
    with pytest.raises(fad.ShapeError, match="None"):
        soft.where(0.5, None, 1.0)
    with pytest.raises(fad.ShapeError, match=r"shapes \(2,\) and \(3,\), p has \(\)"):
        soft.where(0.5, np.zeros(2), np.zeros(3))
