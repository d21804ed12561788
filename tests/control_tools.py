"""What the tests of control flow share: a comparison of two versions of a program, derivative by derivative."""

import numpy as np
import pytest
from transform_tools import same

import fastad as fad

both_tiers = pytest.mark.parametrize("tier", ("sweep", "native"))


def equal_derivatives(f, plain, *args, argnums=None, tier="sweep", tolerance=1e-11, second=True):
    """Compare f with the same program in plain Python: value, gradient, tangent, pullback, and second derivatives in
    every combination of modes."""
    same(fad.jit(f, tier=tier)(*args), fad.jit(plain, tier="sweep")(*args), tolerance)
    rng = np.random.default_rng(5)
    for k in range(len(args)) if argnums is None else argnums:
        wanted = fad.grad(plain, k)(*args)
        same(fad.grad(f, k, tier=tier)(*args), wanted, tolerance)
        v, u = rng.normal(size=np.shape(args[k])), rng.normal()
        at = lambda x, k=k: f(*args[:k], x, *args[k + 1 :])
        tangent = fad.jvp(fad.jit(at, tier=tier), (args[k],), (v,))[1]
        np.testing.assert_allclose(tangent, np.vdot(wanted, v), rtol=tolerance, atol=tolerance)
        same(fad.vjp(fad.jit(at, tier=tier), args[k])[1](u)[0], u * wanted, tolerance)
        if second:
            hessian = fad.hessian(plain, k)(*args)
            for outer, inner in ((fad.jacfwd, fad.jacrev), (fad.jacrev, fad.jacfwd), (fad.jacrev, fad.jacrev)):
                same(outer(inner(f, k), k, tier=tier)(*args), hessian, 10 * tolerance)
            same(fad.hvp(at, args[k], v), np.tensordot(hessian, v, np.ndim(v)), 10 * tolerance)


def over_lanes(f, in_axes, args):
    """f over lanes by a Python loop."""
    axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    size = next(np.shape(a)[axis] for a, axis in zip(args, axes, strict=True) if axis is not None)
    rows = [
        [a if axis is None else np.take(a, i, axis) for a, axis in zip(args, axes, strict=True)] for i in range(size)
    ]
    return np.stack([f(*row) for row in rows])


class LastOnly(fad.checkpoint.Schedule):
    """A user's schedule: keeps nothing, and starts each adjoint step from the first state."""

    def actions(self, n_steps):
        action, code = fad.checkpoint.Action, fad.checkpoint.Code
        if n_steps:
            yield action(code.ADVANCE, 0, n_steps - 1, -1)
        for k in reversed(range(n_steps)):
            yield action(code.REVERSE, k, k + 1, -1)
            if k > 0:
                yield action(code.RESTART, 0, 0, -1)
                yield action(code.ADVANCE, 0, k - 1, -1)

    def __repr__(self):
        return "LastOnly()"


class EverySecond(fad.checkpoint.Schedule):
    """A user's schedule with slots, of which each is written to and read in an action of its own."""

    def actions(self, n_steps):
        action, code = fad.checkpoint.Action, fad.checkpoint.Code
        for k in range(n_steps - 1):
            if k % 2 == 0:
                yield action(code.STORE, k, k, k // 2)
            yield action(code.ADVANCE, k, k + 1, -1)
        for k in reversed(range(n_steps)):
            if k < n_steps - 1:
                yield action(code.LOAD, k - k % 2, k - k % 2, k // 2)
                if k % 2:
                    yield action(code.ADVANCE, k - 1, k, -1)
            yield action(code.REVERSE, k, k + 1, -1)

    def __repr__(self):
        return "EverySecond()"


C = fad.checkpoint
STEPWISE = (
    C.StoreAll(), C.StoreNone(), C.Revolve(1), C.Revolve(2), C.Revolve(3), C.Revolve(50), C.Periodic(1), C.Periodic(3),
    C.Online(2), C.Multistage(1, 2), C.Auto(300), LastOnly(), EverySecond(),
)  # fmt: skip
