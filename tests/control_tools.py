"""What the tests of control flow share: two versions of a program compared, derivative by derivative."""

import numpy as np
import pytest
from transform_tools import same

import fastad as fad

both_tiers = pytest.mark.parametrize("tier", ("sweep", "native"))


def equal_derivatives(f, plain, *args, argnums=None, tier="sweep", tolerance=1e-11, second=True):
    """f and the same program in plain Python: value, gradient, tangent, pullback, and second derivatives by every
    composition."""
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
