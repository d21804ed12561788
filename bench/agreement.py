"""Checks that contenders compute the same, before they are timed: against each other, and against the complex step of
the NumPy function."""
from functools import cache
from types import SimpleNamespace

import numpy as np
import optree

from bench import functions
from bench.workloads import BY_NAME, Workload, leaves

TOLERANCE = 1e-10


def relative_difference(a, b) -> float:
    """Largest difference of two nested results, relative to the largest entry of each array."""
    a, b = leaves(a), leaves(b)
    if [x.size for x in a] != [y.size for y in b]:
        raise ValueError(f"results of different sizes: {[x.shape for x in a]} and {[y.shape for y in b]}")
    tiny = np.finfo(float).tiny
    return max(float(np.abs(x.ravel() - y.ravel()).max() / max(np.abs(y).max(), tiny)) for x, y in zip(a, b))


def complex_namespace():
    """NumPy, with three functions replaced that are not analytic on its complex numbers."""

    def top(x, axis=None, keepdims=False):
        """The entry of largest real part."""
        where = np.expand_dims(np.argmax(x.real, axis=axis), -1 if axis is None else axis)
        if axis is None:
            return x.ravel()[where[0]]
        entry = np.take_along_axis(x, where, axis)
        return entry if keepdims else np.squeeze(entry, axis)

    def cholesky(a):
        """L with L Lᵀ = A, where NumPy's has L Lᴴ = A."""
        lower = np.zeros_like(a)
        for j in range(a.shape[-1]):
            rest = a[..., j:, j] - np.sum(lower[..., j:, :j] * lower[..., None, j, :j], axis=-1)
            lower[..., j:, j] = rest / np.sqrt(rest[..., :1])
        return lower

    linear = SimpleNamespace(solve=np.linalg.solve, cholesky=cholesky)
    ours = {"__name__": "numpy over the complex numbers", "max": top, "linalg": linear,
            "logaddexp": lambda a, b: np.log(np.exp(a) + np.exp(b))}
    return SimpleNamespace(**{name: getattr(np, name) for name in dir(np) if not name.startswith("_")} | ours)


@cache
def direction(name: str):
    """A random direction v for the first argument, and f(x + i h v)."""
    work, h = BY_NAME[name], 1e-4 if BY_NAME[name].what == "hessian" else 1e-30
    rng = np.random.default_rng(7)
    x, *rest = work.args
    v = optree.tree_map(lambda leaf: rng.standard_normal(leaf.shape), x)
    shifted = optree.tree_map(lambda leaf, way: leaf + 1j * h * way, x, v)
    f = work.function(functions.functions_with(complex_namespace()))
    return np.concatenate([way.ravel() for way in optree.tree_leaves(v)]), np.asarray(f(shifted, *rest)), h


def check(work: Workload, result) -> None:
    """Compare a derivative with the complex step along a random direction; AssertionError if it is wrong.

    Gradient and Jacobian: Im f(x + ihv) / h = J v to rounding.
    Hessian: 2 (f(x) - Re f(x + ihv)) / h² = vᵀHv to about 1e-7.
    """
    v, step, h = direction(work.name)
    parts = leaves(result)
    if work.what == "hessian":
        H = parts[0]
        found, expected = v @ H @ v, 2 * (work.numpy_function(*work.args) - step.real) / h**2
        assert abs(found - expected) <= 1e-5 * np.abs(H).sum(), f"{work.name}: vᵀHv is {found}, complex step {expected}"
        return
    if work.what == "value_and_grad":
        value, *parts = parts
        assert np.allclose(value, step.real, rtol=1e-12), f"{work.name}: value {value}, NumPy {step.real}"
    expected = step.imag / h
    J = parts[0] if work.what == "jacobian" else np.concatenate([part.ravel() for part in parts])
    size = np.abs(J) @ np.abs(v)
    assert np.all(np.abs(J @ v - expected) <= TOLERANCE * size), f"{work.name}: J v is {J @ v}, complex step {expected}"
