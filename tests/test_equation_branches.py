"""Python branches in the functions of equations and minimisations: the iteration crosses them, derivatives are those of
the path at the solution, and all is as with np.where."""

import numpy as np
import pytest
from control_tools import equal_derivatives, over_lanes

import fastad as fad
from fastad.errors import RecordingError, ShapeError


def bent(x, a):
    if x > 1:
        return x * x - a
    return x - a


def bent_chosen(x, a):
    return np.where(x > 1, x * x - a, x - a)


def two(x, a):
    y = np.sin(x[1])
    first = x[0] ** 3 + y - 3 * a[1] if x[0] > a[0] else x[0] + y - a[1]
    second = x[1] - x[0] if x[1] < 0 else 2 * x[1] - x[0]
    return np.array([first, second])


def two_chosen(x, a):
    y = np.sin(x[1])
    first = np.where(x[0] > a[0], x[0] ** 3 + y - 3 * a[1], x[0] + y - a[1])
    return np.stack([first, np.where(x[1] < 0, x[1] - x[0], 2 * x[1] - x[0])])


def contraction(x, a):
    return 0.5 * np.cos(x) + a if x > 0.3 else 0.2 * x + a


def contraction_chosen(x, a):
    return np.where(x > 0.3, 0.5 * np.cos(x) + a, 0.2 * x + a)


def same_derivatives(f, chosen, a, *, order=1, tolerance=1e-9):
    """Compare values and derivatives up to this order."""
    for transform in (fad.value_and_grad, fad.hessian)[:order]:
        for own, wanted in zip(np.atleast_1d(transform(f)(a)), np.atleast_1d(transform(chosen)(a)), strict=True):
            np.testing.assert_allclose(own, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("x0", "a", "tier"), [(3.0, 0.5, "native"), (0.1, 4.0, "sweep")])
def test_newtons_method_crosses_a_branch(x0, a, tier):
    """From a first guess on the other side of the branch."""
    f, chosen = (lambda a, g=g: fad.root(g, x0, (a,)).x ** 2 for g in (bent, bent_chosen))
    equal_derivatives(f, chosen, a, tier=tier, second=False)
    same_derivatives(f, chosen, a, order=2)


@pytest.mark.parametrize("method", ["newton", "newton-krylov", "broyden"])
def test_systems_cross_branches_by_all_methods(method):
    f, chosen = (
        lambda a, g=g: np.sum(fad.root(g, np.array([-1.0, -2.0]), (a,), method, tol=1e-12).x ** 2)
        for g in (two, two_chosen)
    )
    a = np.array([0.3, 1.7])
    np.testing.assert_allclose(fad.grad(f)(a), fad.grad(chosen)(a), rtol=1e-9)
    if method == "newton":
        np.testing.assert_allclose(fad.hessian(f)(a), fad.hessian(chosen)(a), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("a", [0.5, 7.0])
def test_brackets_fixed_points_and_unrolled_steps_cross_branches(a):
    f, chosen = (lambda a, g=g: fad.root(g, args=(a,), bracket=(-3.0, 9.0)).x for g in (bent, bent_chosen))
    same_derivatives(f, chosen, a)
    f, chosen = (lambda a, g=g: fad.fixed_point(g, 2.0, (a / 5,)).x for g in (contraction, contraction_chosen))
    same_derivatives(f, chosen, a)
    unrolled = lambda a: fad.root(bent, 3.0, (a,), differentiate="unroll").x
    np.testing.assert_allclose(fad.grad(unrolled)(a), fad.grad(lambda a: fad.root(bent, 3.0, (a,)).x)(a))


def test_replays_and_lanes_take_paths_of_their_own():
    values = np.array([4.0, 0.5, 9.0, 0.2])
    f = lambda a: fad.root(bent, 3.0, (a,)).x
    kept = fad.jit(f)
    wanted = np.where(values > 1, np.sqrt(values), values)
    np.testing.assert_allclose([kept(a) for a in values], wanted)
    np.testing.assert_allclose(fad.vmap(f)(values), wanted)
    np.testing.assert_allclose(fad.vmap(fad.grad(f))(values), over_lanes(fad.grad(f), 0, (values,)))


def test_what_paths_refer_to_may_differ():
    offsets = np.arange(3.0)

    def residual(x, a):
        return x * x - a - offsets if x[0] > 1 else x - a

    slopes = fad.jacobian(lambda a: fad.root(residual, np.full(3, 0.2), (a,)).x)(4.0)
    np.testing.assert_allclose(slopes, 0.5 / np.sqrt(4.0 + offsets))

    def captured(a):
        return fad.root(lambda x: x * x - a if x > 1 else x - a, 3.0).x

    assert fad.grad(captured)(4.0) == pytest.approx(0.25) and fad.grad(captured)(0.5) == pytest.approx(1.0)


def test_loops_and_equations_with_branches_nest():
    def inner(x, a, is_python):
        def body(c, _):
            if not is_python:
                return np.where(c > 1, 0.5 * c + 0.2 * a, 1.5 * c + 0.1 * a), None
            return (0.5 * c + 0.2 * a if c > 1 else 1.5 * c + 0.1 * a), None

        return fad.scan(body, x, None, 5)[0] - 2 * x

    f, chosen = (lambda a, k=k: fad.root(lambda x: inner(x, a, k), 3.0).x for k in (True, False))
    same_derivatives(f, chosen, 1.0)
    f, chosen = (
        lambda a, g=g: fad.scan(lambda c, k: (fad.root(g, 3.0, (c * k,)).x, c), a, np.array([1.0, 0.2, 20.0]))[0]
        for g in (bent, bent_chosen)
    )
    same_derivatives(f, chosen, 4.0)


def test_paths_return_the_same_structure():
    with pytest.raises((ShapeError, RecordingError), match=r"test_equation_branches"):
        fad.root(lambda x, a: x - a if x[0] > 1 else np.sum(x), np.zeros(2), (np.array([4.0, 3.0]),))


# ── minimisation ──────────────────────────────────────────────────────────────────────────────────────────────
def cost(x, a):
    total = 0.0
    for k in range(2):
        total = total + ((k + 1) * (x[k] - 2 * a) ** 2 if x[k] > a else 2 * (x[k] - a) ** 2 + x[k] ** 4)
    return total


def cost_chosen(x, a):
    return np.sum(np.where(x > a, (np.arange(2) + 1) * (x - 2 * a) ** 2, 2 * (x - a) ** 2 + x**4))


@pytest.mark.parametrize("bounds", [None, [(-5, 5)] * 2])
@pytest.mark.parametrize("x0", [[-1.0, 3.0]])
def test_objectives_may_branch(x0, bounds):
    for part in (lambda found: found.fun, lambda found: found.x @ np.array([1.0, 2.0])):
        f, chosen = (
            lambda a, g=g, part=part: part(fad.minimize(g, x0, (a,), bounds=bounds)) for g in (cost, cost_chosen)
        )
        np.testing.assert_allclose(fad.value_and_grad(f)(1.3), fad.value_and_grad(chosen)(1.3), rtol=1e-9, atol=1e-12)
