"""Relaxed while loops: their definition, the exact loop as their limit, derivatives, modes and errors."""

import numpy as np
import pytest
from transform_tools import each_tier, same

import fastad as fad
from fastad import soft


def weighted(test, body, x, steps):
    """The definition, as a Python loop over all iterates; test gives the truth values."""
    weight, total = 1.0, 0.0
    for _ in range(steps):
        p = test(x)
        total, weight, x = total + weight * (1.0 - p) * x, weight * p, body(x)
    return total + weight * x


def spiral(x, limit, sigma, steps=12, loop=soft.while_loop):
    """A point moves inward on a spiral until it is close to the origin."""
    turn = np.array([[0.8, -0.3], [0.3, 0.8]])
    return loop(lambda x: np.sum(x**2) > limit, lambda x: turn @ x, x, steps, sigma)


def spiral_by_definition(x, limit, sigma, steps=12):
    turn = np.array([[0.8, -0.3], [0.3, 0.8]])
    return weighted(lambda x: soft.greater(np.sum(x**2), limit, sigma), lambda x: turn @ x, x, steps)


ARGS = (np.array([1.5, -0.7]), 0.8, 0.2)


@each_tier
def test_the_loop_is_what_it_is_defined_as(tier):
    same(spiral(*ARGS), spiral_by_definition(*ARGS), 1e-14)
    same(fad.jit(spiral, tier=tier)(*ARGS), spiral_by_definition(*ARGS), 1e-14)
    total = lambda f: lambda x, limit, sigma: np.sum(f(x, limit, sigma) * np.array([1.0, 2.0]))
    found = fad.grad(total(spiral), (0, 1, 2), tier=tier)(*ARGS)
    same(found, fad.grad(total(spiral_by_definition), (0, 1, 2))(*ARGS), 1e-12)
    pack = lambda f: lambda v: total(f)(v[:2], v[2], v[3])
    v = np.array([1.5, -0.7, 0.8, 0.2])
    same(fad.hessian(pack(spiral), tier=tier)(v), fad.hessian(pack(spiral_by_definition))(v), 1e-10)
    xs = np.random.default_rng(3).normal(size=(5, 2))
    lanes = np.stack([fad.jacobian(spiral)(x, *ARGS[1:]) for x in xs])
    same(fad.vmap(fad.jacobian(spiral), (0, None, None), tier=tier)(xs, *ARGS[1:]), lanes, 1e-12)


def test_derivatives_of_the_loop():
    fad.check_grads(spiral, ARGS, order=2)
    fad.check_adjoint(spiral, ARGS)


@pytest.mark.parametrize("limit", [0.1, 0.8, 100.0])
def test_small_sigma_gives_the_exact_loop(limit):
    exact = spiral(*ARGS[:1], limit, None, loop=lambda test, body, x, steps, _: fad.while_loop(test, body, x, steps))
    for sigma in (1e-4, 1e-300):
        same(spiral(ARGS[0], limit, sigma), exact, 1e-14)
    of_x = lambda f: lambda x: np.sum(f(x) ** 2)
    slow = lambda x: spiral(x, limit, None, loop=lambda test, body, x, steps, _: fad.while_loop(test, body, x, steps))
    same(fad.grad(of_x(lambda x: spiral(x, limit, 1e-4)))(ARGS[0]), fad.grad(of_x(slow))(ARGS[0]), 1e-12)


def test_the_limit_of_steps_ends_the_loop():
    for steps in (0, 1, 3):
        same(soft.while_loop(lambda x: x < 1e9, lambda x: 2.0 * x, 1.5, steps, 1e-3), np.float64(1.5 * 2.0**steps))


def test_the_table_does_not_grow():
    sizes = [len(fad.trace(spiral, *ARGS, steps)) for steps in (10, 10_000)]
    assert sizes[0] == sizes[1]


def test_states_of_any_structure_and_joined_tests():
    body = lambda s: {"x": s["x"] * np.float32(0.5), "k": s["k"] + 1, "pair": (s["pair"][0] + s["k"], None)}
    init = {"x": np.array([100.0, 10.0], np.float32), "k": 0, "pair": (0.5, None)}
    wanted = {"x": np.array([12.5, 1.25], np.float32), "k": np.float64(3), "pair": (np.float64(3.5), None)}
    tests = (
        lambda s: (s["x"][0] > 1.0) & (s["k"] < 2.5),
        lambda s: ~((s["x"][0] <= 1.0) | (s["k"] >= 2.5)),
        lambda s: soft.logical_and(soft.greater(s["x"][0], 1.0, 1e-6), soft.less(s["k"], 2.5, 1e-6)),
        lambda s: s["x"][:1] > 20.0,
    )
    for test in tests:
        same(soft.while_loop(test, body, init, 8, 1e-6), wanted)
        same(fad.jit(lambda s, test=test: soft.while_loop(test, body, s, 8, 1e-6))(init), wanted)
    same(soft.while_loop(lambda s: True, body, init, 3), wanted)


@each_tier
def test_the_loop_does_not_run_on_without_weight(tier):
    """x⁽²ᵏ⁾ overflows after ten steps, and its derivative earlier."""
    f = lambda x: soft.while_loop(lambda x: x < 1e10, lambda x: x * x, x, 500, 0.1)
    value, slope = fad.value_and_grad(f, tier=tier)(2.0)
    assert value == 2.0**64 and slope == 64 * 2.0**63
    assert np.isfinite(fad.hessian(f, tier=tier)(2.0))


@each_tier
def test_modes(tier):
    relaxed = fad.grad(lambda limit: np.sum(spiral(ARGS[0], limit, 0.2)), tier=tier)
    slope = relaxed(0.8)
    exact = spiral(*ARGS[:2], None, loop=lambda test, body, x, steps, _: fad.while_loop(test, body, x, steps))
    f = fad.jit(spiral, tier=tier)
    for _ in range(2):
        with soft.hardness("hard"):
            same(spiral(*ARGS), exact)
            same(f(*ARGS), exact)
            assert relaxed(0.8) == 0.0
        with soft.hardness("straight_through"):
            np.testing.assert_array_equal(spiral(*ARGS), exact)
            same(f(*ARGS), exact, 1e-15)
            same(relaxed(0.8), slope)
        same(f(*ARGS), spiral_by_definition(*ARGS), 1e-14)
        same(relaxed(0.8), slope)
    with soft.hardness("hard"):
        counted = soft.while_loop(lambda k: k < 3, lambda k: k + 1, 0, 10)
        assert counted == 3.0 and counted.dtype == np.float64


def test_the_mode_of_operators_inside_the_loop():
    f = lambda x: soft.while_loop(lambda x: soft.less(x, 1.0, 0.3), lambda x: x + soft.greater(x, 0.0), x, 4)
    g = fad.jit(f)
    for mode in ("soft", "hard", "straight_through", "soft"):
        with soft.hardness(mode):
            same(g(-0.5), f(-0.5))
            if mode != "soft":
                assert f(-0.5) == -0.5 and f(0.5) == 1.5


def test_errors_name_the_fix():
    halve = lambda x: x / 2
    with pytest.raises(fad.ShapeError, match=r"returned 99\.0, which is not a truth value.*such as x > 0"):
        soft.while_loop(lambda x: x - 1.0, halve, 100.0, 5)
    with pytest.raises(fad.ShapeError, match="made by isfinite cannot be relaxed"):
        soft.while_loop(lambda x: np.isfinite(x), halve, 100.0, 5)
    with pytest.raises(fad.ShapeError, match=r"shape \(2,\); use fad\.soft\.all"):
        soft.while_loop(lambda x: x > 1.0, halve, np.ones(2), 5)
    with pytest.raises(fad.ShapeError, match="body_fun of while_loop must return a state like the one it got"):
        soft.while_loop(lambda x: x > 1.0, lambda x: (x, x), 100.0, 5)
    with pytest.raises(fad.ShapeError, match="at least 0 steps"):
        soft.while_loop(lambda x: x > 1.0, halve, 100.0, -1)
    with pytest.raises(ValueError, match="sigma must be positive"):
        soft.while_loop(lambda x: x > 1.0, halve, 100.0, 5, 0.0)
    with pytest.raises(TypeError):
        soft.while_loop(lambda x: x > 1.0, halve, 100.0, 2.5)
