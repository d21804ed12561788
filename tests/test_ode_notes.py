"""What the driver of a solve keeps for a method besides its state: notes and memory, under every schedule, in lanes."""

import numpy as np
import pytest

import fastad as fad
from fastad.kernels import records as r
from fastad.ode.dense import HERMITE
from fastad.ode.method import Method, Step, Taken, Wanted
from fastad.tables.composites.solve_lanes import SolveLanes, SolveLanesAdjoint
from fastad.tables.composites.sub import packed, slices
from fastad.tables.reference import evaluate

AGE = 5.0  # steps for which factors are used


class Frozen(Method):
    """Implicit Euler for systems whose components are apart, by a simplified Newton iteration with derivatives that are
    `AGE` steps old. So few iterations are made that its results depend on where it has linearised."""

    name, order, error_order, estimates, counts = "Frozen", 1, 2, 1, True
    output = HERMITE

    def __init__(self, factors=(0.0, 0.0), refuse=0.0, iterations=2):
        self.factors, self.refuse, self.iterations = factors, refuse, iterations
        self._fastad_options = (factors, refuse, iterations)

    def caches(self, wanted: Wanted) -> bool:
        return False

    def evaluations(self, wanted: Wanted) -> int:
        return 1

    def notes(self, wanted, n):
        return r.NOTES + 1

    def memory(self, wanted, n, factors):
        return 2 + n, 1 + n  # steps for which it is used, where it has linearised; whether there are factors, these

    def derivative(self, step: Step, t, y):
        b, small = step.b, 1e-4
        moved = step.slope(t, b.add(y, b.const(small)))
        return b.multiply(b.const(1 / small), b.emit("subtract", (moved, step.slope(t, y))))

    def emit(self, step: Step) -> Taken:
        b, n = step.b, step.b.size(step.state)
        less = lambda x, y: b.emit("subtract", (x, y))
        where = lambda c, x, y: b.emit("where", (b.broadcast(c, (b.size(x),)), x, y))
        number = lambda x: b.reshape(x, ())
        y, h = step.state, step.h
        old, t, point, valid, factors = (
            slices(b, step.memory, (1, 1, n, 1, n)) if step.memory is not None else [None] * 5
        )
        count, again = 12, b.const(1.0)
        if old is None:
            slope = self.derivative(step, step.t, y)
        else:
            stale = b.emit("logical_or", (b.emit("equal", (number(old), b.const(0.0))),
                                          b.emit("greater", (number(old), b.const(AGE)))))  # fmt: skip
            t, point = where(stale, b.reshape(step.t, (1,)), t), where(stale, y, point)
            again = b.emit("logical_or", (stale, b.emit("equal", (number(valid), b.const(0.0)))))
            slope, count = where(again, self.derivative(step, number(t), point), factors), self.iterations
            old = where(stale, b.const([1.0]), b.add(old, b.const([1.0])))
        end, z = step.at(1.0), y
        for _ in range(count):
            if old is None:
                slope = self.derivative(step, step.t, z)
            residual = less(less(z, y), b.multiply(h, step.slope(end, z)))
            z = less(z, b.emit("divide", (residual, less(b.const(1.0), b.multiply(h, slope)))))
        wanted = step.wanted
        dense = (step.slope(step.t, y), b.multiply(b.emit("divide", (b.const(1.0), h)), less(z, y)), step.slope(end, z))
        found = Taken(z, dense=dense if wanted.dense else ())
        if old is None:
            return found
        _, tries, steps = slices(b, step.notes, (2, 1, 1))
        is_first = b.emit("equal", (number(steps), b.const(0.0)))
        refused = b.emit("less", (number(tries), b.multiply(b.const(self.refuse), is_first)))
        error = less(z, b.add(y, b.multiply(h, step.slope(step.t, y))))
        error = where(refused, b.broadcast(b.const(1e3), (n,)), error)
        notes = packed(b, [b.const(self.factors), b.zeros((1,)), b.add(steps, b.const([1.0]))])
        memory = packed(b, [old, t, point, b.const([1.0]), slope])
        once = b.reshape(b.cast(again, (), "d"), (1,))
        counts = packed(b, [b.zeros((1,)), once, once, b.const([float(count)]), b.zeros((3,))])
        return Taken(z, None, (error,) if wanted.adaptive else (), found.dense, notes, memory, counts)


def f(t, y, p):
    return -p * y**3 + np.sin(t)


Y0, P = np.array([1.0, -0.7, 0.3]), np.array([1.0, 20.0, 3.0])
OPTIONS = [
    {"step": 0.05}, {"rtol": 1e-2, "atol": 1e-2}, {"rtol": 1e-2, "atol": 1e-2, "t_eval": [0.0, 0.4, 2.2, 3.0]},
    {"rtol": 3e-3, "atol": 1e-2, "events": fad.ode.Event(lambda t, y, p: y[0] - 0.5, lambda t, y, p: y + 0.3)},
]  # fmt: skip
KEY = {"ids": lambda x: "-".join(x)}


def end(y0, p, method=None, **options):
    sol = fad.solve_ivp(f, (0, 3), y0, args=(p,), method=method or Frozen(), **options)
    return sol.y if "t_eval" in options else sol.y[:, -1]


def cost(y0, p, **options):
    return np.sum(np.sin(2.0 * end(y0, p, **options)))


@pytest.mark.parametrize("options", OPTIONS, **KEY)
def test_the_kernels_compute_what_the_definition_says(options):
    value = lambda y0: cost(y0, P, **options)
    for own in (value, fad.grad(value)):
        table = fad.trace(own, Y0)
        np.testing.assert_allclose(evaluate(table, [Y0, *table.captured])[0], own(Y0), rtol=1e-9)


@pytest.mark.parametrize("options", OPTIONS, **KEY)
def test_every_schedule_gives_the_same_bits(options):
    c = fad.checkpoint
    gradient = lambda s: fad.grad(lambda y0, p: cost(y0, p, checkpoint=s, **options), argnums=(0, 1))(Y0, P)
    wanted = gradient(c.StoreAll())
    for schedule in (c.Online(2), c.Online(7), *([c.Revolve(3)] if "step" in options else [])):
        for a, b in zip(gradient(schedule), wanted, strict=True):
            assert a.tobytes() == b.tobytes(), schedule


@pytest.mark.parametrize("options", OPTIONS, **KEY)
def test_derivatives_know_nothing_of_notes_and_memory(options):
    """With iterations that converge, gradients are tangents; second derivatives too."""
    options = options | {"method": Frozen(iterations=25)}
    g = lambda y0, p: cost(y0, p, **options)
    v = np.array([0.3, -1.0, 0.7]), np.array([1.0, 0.2, -0.4])
    found = sum(a @ b for a, b in zip(fad.grad(g, argnums=(0, 1))(Y0, P), v, strict=True))
    np.testing.assert_allclose(found, fad.jvp(g, (Y0, P), v)[1], rtol=1e-7)
    forward = fad.grad(lambda p: cost(Y0, p, adjoint="forward", **options))(P)
    np.testing.assert_allclose(forward, fad.grad(g, argnums=1)(Y0, P), rtol=1e-6, atol=1e-9)


def test_factors_are_kept_for_some_steps():
    sol = fad.solve_ivp(f, (0, 3), Y0, args=(P,), method=Frozen(), step=0.05)
    assert sol.stats["accepted"] == 60 and sol.njev == sol.nlu == 10 and sol.stats["iterations"] == 120


def test_a_method_may_choose_its_steps():
    solve = lambda **options: fad.solve_ivp(
        f, (0, 3), Y0, args=(P,), method=Frozen(**options), first_step=1 / 64, rtol=1, atol=1
    )
    steps = np.diff(solve(factors=(1.0, 0.0)).t)
    np.testing.assert_allclose(steps[:-1], 1 / 64, rtol=1e-2)
    steps = np.diff(solve(factors=(2.0, 0.0)).t)
    np.testing.assert_allclose(steps[1:5] / steps[:4], 2.0, rtol=1e-2)
    refused = solve(factors=(1.0, 0.5), refuse=3.0)
    assert refused.stats["rejected"] == 3
    np.testing.assert_allclose(refused.t[1], 1 / 512, rtol=1e-2)


def test_a_solve_in_pieces_goes_on_with_notes_and_memory():
    options = {"method": Frozen(factors=(1.0, 0.0)), "first_step": 1e-3, "rtol": 1, "atol": 1, "max_steps": 10**5}
    sol = fad.solve_ivp(f, (0, 3), Y0, args=(P,), **options)
    assert (
        sol.success
        and sol.stats["accepted"] > 2500
        and sol.stats["jacobians"] == int(np.ceil(sol.stats["accepted"] / 6))
    )


@pytest.mark.parametrize("options", OPTIONS[:3], **KEY)
def test_in_lanes_each_has_its_own(options):
    starts = np.random.default_rng(1).normal(size=(31, 3))
    all_ = lambda y0: fad.vmap(lambda y: cost(y, P, **options))(y0)
    assert SolveLanes in {type(sub) for sub in fad.trace(all_, starts).subs}
    np.testing.assert_allclose(all_(starts), [cost(y, P, **options) for y in starts], rtol=1e-12)
    gradient = fad.vmap(fad.grad(lambda y: cost(y, P, **options)))
    assert SolveLanesAdjoint in {type(sub) for sub in fad.trace(gradient, starts).subs}
    wanted = [fad.grad(lambda y: cost(y, P, **options))(y) for y in starts]
    np.testing.assert_allclose(gradient(starts), wanted, rtol=1e-9, atol=1e-12)
