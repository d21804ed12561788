"""`least_squares`: SciPy's solutions for all losses and bounds, and their derivatives."""

import numpy as np
import pytest
import scipy.optimize as so
from optimize_tools import check_two_orders
from transform_tools import each_tier

import fastad as fad
from fastad.optimize.losses import LOSSES

TIMES = np.linspace(0.0, 3.0, 20)
DATA = 2.0 * np.exp(-0.7 * TIMES) + 0.3 + 0.05 * np.sin(40.0 * TIMES)
DATA[::7] += 1.0  # outliers
START = np.array([1.8, 0.8, 0.4])


def decay(x, y):
    return x[0] * np.exp(-x[1] * TIMES) + x[2] - y


def rosenbrock(x):
    return np.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def powell(x):
    """The Jacobian is singular at the solution."""
    return np.stack(
        [x[0] + 10.0 * x[1], 5**0.5 * (x[2] - x[3]), (x[1] - 2.0 * x[2]) ** 2, 10**0.5 * (x[0] - x[3]) ** 2]
    )


@pytest.mark.parametrize(("loss", "method"), [*[(loss, "trf") for loss in LOSSES], ("cauchy", "lm")])
def test_solutions_are_scipys(loss, method):
    found = fad.least_squares(decay, START, args=(DATA,), method=method, loss=loss, f_scale=0.1)
    peer = so.least_squares(decay, START, args=(DATA,), loss=loss, f_scale=0.1, gtol=1e-12, xtol=1e-15, ftol=1e-15)
    assert found.success and found.status == 1 and found.optimality < 1e-10
    assert abs(found.cost - peer.cost) < 1e-12
    np.testing.assert_allclose(found.x, peer.x, atol=1e-6)
    np.testing.assert_allclose(found.fun, decay(found.x, DATA))
    np.testing.assert_allclose(found.jac, fad.jacobian(decay)(found.x, DATA))


@pytest.mark.parametrize("loss", ["linear", "cauchy"])
def test_bounds_are_scipys(loss):
    bounds = ([0.0, 0.0, 0.35], [1.9, np.inf, 1.0])
    found = fad.least_squares(decay, START, args=(DATA,), bounds=bounds, loss=loss, f_scale=0.1)
    peer = so.least_squares(
        decay, START, args=(DATA,), bounds=bounds, loss=loss, f_scale=0.1, gtol=1e-12, xtol=1e-15, ftol=1e-15
    )
    assert found.success and found.active_mask.tolist() == peer.active_mask.tolist()
    assert abs(found.cost - peer.cost) < 1e-12
    np.testing.assert_allclose(found.x, peer.x, atol=1e-6)
    np.testing.assert_allclose(found.grad + found.bound_multipliers, 0.0, atol=1e-10)


@pytest.mark.parametrize("method", ["trf", "lm"])
@pytest.mark.parametrize(("fun", "start"), [(rosenbrock, [-1.2, 1.0]), (powell, [3.0, -1.0, 0.0, 1.0])])
def test_hard_problems(method, fun, start):
    found = fad.least_squares(fun, start, method=method)
    assert found.success and found.cost < 1e-12 and found.nfev < 40


def test_two_orders_by_data_scale_and_bounds():
    def solve(t):
        found = fad.least_squares(
            decay,
            START,
            args=(DATA + t[0] * np.cos(TIMES),),
            loss="soft_l1",
            f_scale=t[1],
            bounds=(0.0, [t[2], 9.0, 9.0]),
        )
        return np.concatenate([found.x, np.reshape(found.cost, 1), found.fun[:2]])

    check_two_orders(solve, [0.1, 0.2, 1.9])


@each_tier
def test_linear_least_squares_in_closed_form(tier, rng):
    """x = (AᵀA)⁻¹Aᵀb, whose derivative by b is (AᵀA)⁻¹Aᵀ."""
    A, b = rng.normal(size=(8, 3)), rng.normal(size=8)
    solve = fad.jit(
        fad.jacobian(lambda b: fad.least_squares(lambda x: A @ x - b, np.zeros(3), method="lm").x), tier=tier
    )
    np.testing.assert_allclose(solve(b), np.linalg.pinv(A), atol=1e-10)


def test_lanes_and_the_envelope():
    shifts = np.array([0.0, 0.1, 0.2])

    def cost(shift):
        return fad.least_squares(decay, START, args=(DATA + shift * np.sin(TIMES),), loss="huber", f_scale=0.1).cost

    slopes = fad.vmap(fad.grad(cost))(shifts)
    wanted = [(cost(s + 1e-5) - cost(s - 1e-5)) / 2e-5 for s in shifts]
    np.testing.assert_allclose(slopes, wanted, rtol=1e-6)


def test_a_loss_of_ones_own():
    own = fad.least_squares(decay, START, args=(DATA,), loss=lambda z: np.log1p(z), f_scale=0.1)
    named = fad.least_squares(decay, START, args=(DATA,), loss="cauchy", f_scale=0.1)
    np.testing.assert_allclose(own.x, named.x, atol=1e-9)


def test_an_unfinished_fit():
    def solve(y):
        return fad.least_squares(decay, START, args=(y,), max_steps=1)

    found = solve(DATA)
    assert not found.success and found.status == 0 and "max_steps" in found.message
    with pytest.raises(fad.ConvergenceError):
        fad.grad(lambda y: solve(y).cost)(DATA)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"method": "dogbox"}, "'trf' or 'lm'"),
        ({"method": "lm", "bounds": (0, 1)}, "takes no bounds"),
        ({"loss": "abs"}, "'soft_l1'"),
        ({"f_scale": -1.0}, "positive"),
        ({"bounds": (0, 1, 2)}, "a pair"),
        ({"bounds": (0, 0)}, "leave a fixed variable out"),
    ],
)
def test_wrong_arguments(more, words):
    with pytest.raises(ValueError, match=words):
        fad.least_squares(lambda x: x - 1.0, [0.5], **more)
