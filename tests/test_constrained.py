"""`minimize` with constraints and bounds, and `quadprog`: solutions, multipliers, active sets and their derivatives."""

import warnings

import numpy as np
import pytest
import scipy.optimize as so
from optimize_tools import check_two_orders
from transform_tools import each_tier

import fastad as fad


def at_least(c, *args):
    return {"type": "ineq", "fun": c, "args": args}


def equal(c, *args):
    return {"type": "eq", "fun": c, "args": args}


def banana(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


# ── a programme with parameters: Fiacco's textbook example ────────────────────────────────────────────────────
def programme(p):
    """min |x|² with 6x₁ + 3x₂ + 2x₃ = p₁, p₂x₁ + x₂ − x₃ = 1, x ≥ 0."""
    planes = [equal(lambda x: 6 * x[0] + 3 * x[1] + 2 * x[2] - p[0]), equal(lambda x: p[1] * x[0] + x[1] - x[2] - 1.0)]
    return fad.minimize(lambda x: x @ x, np.ones(3), constraints=planes, bounds=[(0, None)] * 3)


@each_tier
def test_the_programme_with_parameters(tier):
    p = np.array([5.0, 1.0])
    found = fad.jit(programme, tier=tier)(p)
    np.testing.assert_allclose(found.x, np.array([31, 19, 1]) / 49, atol=1e-12)
    assert found.strict_complementarity and found.active_mask.tolist() == [0, 0, 0]
    slopes = fad.jit(fad.jacobian(lambda p: programme(p).x), tier=tier)(p)
    np.testing.assert_allclose(slopes[:, 0], [0.112245, 0.020408, 0.132653], atol=1e-6)


def test_two_orders_of_solution_multipliers_and_value():
    def everything(p):
        found = programme(p)
        return np.concatenate([found.x, *found.multipliers, np.reshape(found.fun, 1), found.jac])

    check_two_orders(everything, [5.0, 1.0])


def test_a_linear_programme():
    """min 2x with cx ≥ 3p: x = 3p / c."""

    def solve(p, c):
        return fad.minimize(lambda x: 2.0 * x[0], [1.0], constraints=at_least(lambda x: c * x - 3.0 * p))

    p, c = 1.5, 2.0
    found = solve(p, c)
    np.testing.assert_allclose([found.x[0], found.multipliers[0][0]], [3 * p / c, -2 / c])
    by_x = fad.grad(lambda p, c: solve(p, c).x[0], argnums=(0, 1))
    np.testing.assert_allclose(by_x(p, c), [3 / c, -3 * p / c**2])
    np.testing.assert_allclose(fad.grad(lambda p, c: solve(p, c).fun, argnums=(0, 1))(p, c), [6 / c, -6 * p / c**2])
    np.testing.assert_allclose(fad.grad(lambda c: by_x(p, c)[1])(c), 6 * p / c**3)


# ── against SciPy ─────────────────────────────────────────────────────────────────────────────────────────────
CASES = {
    "hs71": (lambda x: x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2], [1.0, 5.0, 5.0, 1.0],
             [at_least(lambda x: np.prod(x) - 25.0), equal(lambda x: x @ x - 40.0)], [(1, 5)] * 4),
    "banana in a box": (banana, [-1.2, 1.0], (), [(-2, 0.5), (None, None)]),
    "banana in a disc": (banana, [-1.2, 1.0], so.NonlinearConstraint(lambda x: x @ x, -np.inf, 1.5), None),
    "maratos": (lambda x: 2.0 * (x @ x - 1.0) - x[0], [0.8, 0.6], [equal(lambda x: x @ x - 1.0)], None),
    "not convex": (lambda x: x[0] * x[1], [0.4, 0.3], so.NonlinearConstraint(lambda x: x @ x, -np.inf, 1.0), None),
    "two sides": (lambda x: np.sum((x - np.array([1.0, 2.0, 3.0])) ** 2), np.zeros(3),
                  [so.LinearConstraint(np.ones((1, 3)), 1.0, 2.0)], so.Bounds([0, 0.8, -np.inf], [0.2, 0.8, np.inf])),
    "logarithms": (lambda x: -np.sum(np.log(x) * np.arange(1, 4)), [0.9, 0.3, 0.3],
                   [equal(lambda x: np.sum(x) - 1.0)], [(0, None)] * 3),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_solutions_are_scipys(case):
    fun, start, constraints, bounds = CASES[case]
    options = {"ftol": 1e-14, "maxiter": 500}
    peer = so.minimize(fun, start, method="SLSQP", constraints=constraints, bounds=bounds, options=options)
    found = fad.minimize(fun, start, constraints=constraints, bounds=bounds)
    assert found.success and found.constr_violation < 1e-9 and found.strict_complementarity
    assert abs(found.fun - peer.fun) < 1e-7 * (1.0 + abs(peer.fun))
    np.testing.assert_allclose(found.x, peer.x, atol=2e-4)
    _check_conditions(found, constraints)


def _check_conditions(found, constraints):
    """∇f + Σ Jᵀv + w = 0, with multipliers of the right sign where limits are active, and 0 elsewhere."""
    several = constraints if isinstance(constraints, list | tuple) else [constraints]
    total = found.jac + found.bound_multipliers
    for c, v in zip(several, found.multipliers, strict=True):
        rows = c.A if hasattr(c, "A") else fad.jacobian(c["fun"] if isinstance(c, dict) else c.fun)(found.x)
        total = total + v @ np.reshape(rows, (-1, len(found.x)))
    np.testing.assert_allclose(total, 0.0, atol=1e-8 * (1.0 + np.max(np.abs(found.jac))))
    assert np.all(found.bound_multipliers[found.active_mask == 0] == 0.0)
    for v, active in zip(found.multipliers, found.active, strict=True):
        assert np.all(v[active == 0] == 0.0)


@pytest.mark.parametrize("seed", range(12))
def test_random_problems_that_are_not_convex(seed):
    """A local minimum is found: the conditions hold, and no point near it that the limits allow is lower."""
    rng = np.random.default_rng(seed)
    Q, c, w, start = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4), np.full(4, 0.2)

    def fun(x, Q, c):
        return 0.5 * x @ (Q + Q.T) @ x + c @ x + 0.1 * np.sum(x**4)

    limits = [at_least(lambda x, r: r - x @ x, 1.0 + rng.uniform()), equal(lambda x, w: w @ x - 0.3, w)]
    found = fad.minimize(fun, start, args=(Q, c), constraints=limits, bounds=[(-0.8, None)] * 4)
    assert found.success and found.constr_violation < 1e-9
    slopes = np.stack([-2.0 * found.x, w])
    total = found.jac + found.bound_multipliers + np.concatenate(found.multipliers) @ slopes
    np.testing.assert_allclose(total, 0.0, atol=1e-8)
    assert found.multipliers[0][0] <= 0.0 and np.all(found.bound_multipliers <= 0.0)
    moves = [found.x + 1e-3 * d for d in rng.normal(size=(50, 4))]
    allowed = [x - w * (w @ x - 0.3) / (w @ w) for x in moves]  # on the plane
    inside = [x for x in allowed if x @ x <= limits[0]["args"][0] and np.all(x >= -0.8)]
    assert all(fun(x, Q, c) >= found.fun - 1e-9 for x in inside)


# ── bounds as parameters, active sets ─────────────────────────────────────────────────────────────────────────
def nearest(y, upper):
    """The point of the box [0, upper] nearest to y, in a skew metric."""
    metric = np.array([[2.0, 0.5], [0.5, 1.0]])
    return fad.minimize(lambda x: (x - y) @ metric @ (x - y), [0.5, 0.5], bounds=[(0.0, upper), (0.0, upper)])


def test_derivatives_by_bounds_and_a_changing_active_set():
    check_two_orders(lambda t: nearest(t[:2], t[2]).x, [0.3, 2.0, 1.0])
    solve = fad.jit(fad.jacobian(lambda y, upper: nearest(y, upper).x, argnums=(0, 1)))
    for y, mask in (([0.3, 0.6], [0, 0]), ([0.3, 2.0], [0, 1]), ([-3.0, 0.5], [-1, -1]), ([3.0, 3.0], [1, 1])):
        y, found = np.array(y), nearest(np.array(y), 1.0)
        assert found.active_mask.tolist() == mask
        by_y, by_upper = solve(y, 1.0)
        np.testing.assert_allclose(by_upper, (nearest(y, 1.0001).x - nearest(y, 0.9999).x) / 2e-4, atol=1e-6)
        assert by_y[0].any() == (mask[0] == 0)


def test_a_kink_is_reported():
    def solve(a):
        return fad.minimize(lambda x: (x[0] - a) ** 2, [1.0], bounds=[(0, None)])

    found = solve(0.0)
    assert found.success and not found.strict_complementarity and "one-sided" in found.message
    np.testing.assert_allclose(found.x, 0.0, atol=1e-8)
    slope = fad.grad(lambda a: solve(a).x[0])
    with pytest.warns(RuntimeWarning, match="strict complementarity fails"):
        assert slope(0.0) in (0.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert slope(1.0) == 1.0 and abs(slope(-1.0)) < 1e-12


def test_limits_that_appear_are_recorded_anew():
    solve = fad.jit(lambda upper: fad.minimize(lambda x: (x[0] - 1.0) ** 2, [0.0], bounds=[(0.0, upper)]).x[0])
    found = [float(solve(u)) for u in (0.5, 2.0, np.inf, 0.0, 0.25)]
    np.testing.assert_allclose(found, [0.5, 1.0, 1.0, 0.0, 0.25], atol=1e-9)


def test_lanes_with_different_active_sets():
    ys = np.array([[0.3, 0.6], [0.3, 2.0], [-3.0, 0.5], [3.0, 3.0]])
    lanes = fad.vmap(fad.jacobian(lambda y: nearest(y, 1.0).x))(ys)
    each = fad.jacobian(lambda y: nearest(y, 1.0).x)
    np.testing.assert_allclose(lanes, np.stack([each(y) for y in ys]), atol=1e-9)


def test_constraints_that_cannot_be_met():
    apart = [at_least(lambda x: x[0] - 1.0), at_least(lambda x, a: -x[0] - a, 1.0)]
    found = fad.minimize(lambda x: x @ x, np.ones(2), constraints=apart)
    assert not found.success and "cannot be met" in found.message and found.constr_violation > 0.1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"bounds": [(2.0, 1.0)]}, "leave nothing between"),
        ({"bounds": [(0, 1), (0, 1)]}, "must be 1 pairs"),
        ({"constraints": {"type": "less", "fun": np.sum}}, "'eq': fun = 0"),
        ({"constraints": 3}, "must be dictionaries"),
        ({"constraints": so.NonlinearConstraint(lambda x: x, [0, 0], 1)}, "limits of shape"),
    ],
)
def test_wrong_limits(more, words):
    with pytest.raises(ValueError, match=words):
        fad.minimize(np.sum, [1.0], **more)


# ── quadratic programmes ──────────────────────────────────────────────────────────────────────────────────────
def data(seed, n=5, m=6, k=2):
    rng = np.random.default_rng(seed)
    root, inside = rng.normal(size=(n, n)), rng.normal(size=n)
    G, A = rng.normal(size=(m, n)), rng.normal(size=(k, n))
    return root @ root.T + 0.1 * np.eye(n), rng.normal(size=n), G, G @ inside + rng.uniform(0, 0.5, m), A, A @ inside


@pytest.mark.parametrize("seed", range(5))
def test_random_programmes_are_scipys(seed):
    P, q, G, h, A, b = data(seed)
    found = fad.quadprog(P, q, G, h, A, b)
    peer = so.minimize(
        lambda x: 0.5 * x @ P @ x + q @ x, np.zeros(5), jac=lambda x: P @ x + q, method="SLSQP",
        constraints=[so.LinearConstraint(G, -np.inf, h), so.LinearConstraint(A, b, b)], options={"ftol": 1e-15},
    )  # fmt: skip
    assert found.success and found.nit <= 12
    np.testing.assert_allclose(found.x, peer.x, atol=1e-7)
    above, nu = found.multipliers
    np.testing.assert_allclose(P @ found.x + q + G.T @ above + A.T @ nu, 0.0, atol=1e-9)
    assert np.all(above >= 0.0) and np.max(above * np.abs(G @ found.x - h)) < 1e-12


def test_two_orders_by_all_data():
    rng = np.random.default_rng(0)
    moves = [(x, rng.normal(size=x.shape), rng.normal(size=x.shape)) for x in data(3)]

    def solve(t):
        found = fad.quadprog(*[x + t[0] * first + t[1] * second for x, first, second in moves])
        return np.concatenate([found.x, *found.multipliers, np.reshape(found.fun, 1)])

    check_two_orders(solve, [0.0, 0.0])


def test_absent_constraints():
    eye, q, none = np.eye(2), np.array([-1.0, 2.0]), np.zeros((0, 2))
    np.testing.assert_allclose(fad.quadprog(eye, q).x, -q)
    np.testing.assert_allclose(fad.quadprog(eye, q, none, np.zeros(0), np.ones((1, 2)), np.zeros(1)).x, [1.5, -1.5])
    found = fad.quadprog(eye, q, -eye, np.array([0.0, np.inf]))
    np.testing.assert_allclose(found.x, [1.0, -2.0])
    assert found.multipliers[1].shape == (0,)


def test_a_programme_without_curvature():
    """Linear: the vertex (0, 1)."""
    G, h = np.array([[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]), np.array([1.0, 0.0, 0.0])
    found = fad.quadprog(np.zeros((2, 2)), np.array([-1.0, -2.0]), G, h)
    np.testing.assert_allclose(found.x, [0.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(found.multipliers[0], [2.0, 1.0, 0.0], atol=1e-9)
    by_h = fad.jacobian(lambda h: fad.quadprog(np.zeros((2, 2)), np.array([-1.0, -2.0]), G, h).x)(h)
    np.testing.assert_allclose(by_h, [[0, -1, 0], [1, 1, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("P", "h", "words"),
    [(1.0, [-1.0, -1.0], "cannot be met"), (0.0, [-1.0, np.inf], "without limit"), (-1.0, [1.0, 1.0], "semidefinite")],
)
def test_programmes_without_a_solution(P, h, words):
    G = np.array([[1.0, 0.0], [-1.0, 0.0]])
    found = fad.quadprog(P * np.eye(2), np.ones(2), G, np.array(h))
    assert not found.success and words in found.message
    if P == 1.0:
        with pytest.raises(fad.ConvergenceError):
            fad.grad(lambda q: fad.quadprog(P * np.eye(2), q, G, np.array(h)).x[0])(np.ones(2))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((np.eye(2), np.ones(3)), "P must have the shape"),
        ((np.eye(2), np.eye(2)), "q must be a vector"),
        ((np.eye(2), np.ones(2), np.ones((1, 3)), np.ones(1)), "G must have 2 columns"),
        ((np.eye(2), np.ones(2), None, np.ones(1)), "h is given"),
        ((np.eye(2), np.ones(2), None, None, np.ones((1, 2)), np.ones(2)), "as many elements"),
    ],
)
def test_wrong_data(args, words):
    with pytest.raises(ValueError, match=words):
        fad.quadprog(*args)


def test_lanes_of_programmes():
    many = [np.stack(x) for x in zip(*map(data, range(4)), strict=True)]
    lanes = fad.vmap(lambda *a: fad.quadprog(*a).x)(*many)
    np.testing.assert_allclose(lanes, np.stack([fad.quadprog(*data(k)).x for k in range(4)]), atol=1e-9)
