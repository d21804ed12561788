"""Sparse derivatives against CasADi's and SciPy's, all in one run: `python -m bench.sparsity`.

Calls that are compared take turns, and the least time of each counts, so that other work on the machine disturbs all
alike.
"""
import time
from collections.abc import Callable

import numpy as np

from bench import contenders
from bench.workloads import SMALL

N = 128 if SMALL else 2048


def brusselator(y, np=np):
    """The Brusselator on a periodic square grid, 2 n² unknowns."""
    n = round((y.size // 2) ** 0.5)
    u, v = y.reshape(2, n, n)

    def laplacian(z):
        return np.roll(z, 1, 0) + np.roll(z, -1, 0) + np.roll(z, 1, 1) + np.roll(z, -1, 1) - 4 * z

    du = 1 + u * u * v - 4.4 * u + 10.0 * n * n * laplacian(u)
    dv = 3.4 * u - u * u * v + 10.0 * n * n * laplacian(v)
    return np.stack([du, dv]).reshape(-1)


def line_brusselator(y):
    """The Brusselator on a line, 2 n unknowns."""
    n = y.size // 2
    u, v = y[:n], y[n:]
    a, reaction = 0.02 * (n + 1) ** 2, u * u * v - 4 * u
    wide_u, wide_v = np.concatenate([[1.0], u, [1.0]]), np.concatenate([[3.0], v, [3.0]])
    du = 1 + reaction + a * (wide_u[:-2] - 2 * u + wide_u[2:])
    return np.concatenate([du, 3 * u - u * u * v + a * (wide_v[:-2] - 2 * v + wide_v[2:])])


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


FUNCTIONS = {"line": line_brusselator, "square": brusselator}


def casadi_jacobian(f: Callable, n: int) -> Callable:
    """x ↦ the Jacobian as CasADi evaluates it, called from Python."""
    import casadi as ca

    y = ca.SX.sym("y", n)
    values = np.array([y[i] for i in range(n)], dtype=object)
    out = ca.vertcat(*f(values).tolist())
    return ca.Function("jacobian", [y], [ca.jacobian(out, y)])


def scipy_jacobian(f: Callable, pattern) -> Callable:
    """x ↦ the Jacobian by SciPy's finite differences with a pattern, whose columns are grouped beforehand."""
    from scipy.optimize._numdiff import approx_derivative, group_columns

    groups = group_columns(pattern)
    return lambda x: approx_derivative(f, x, method="2-point", sparsity=(pattern, groups))


def least_times(calls: dict[str, Callable], seconds: float = 1.0) -> dict[str, float]:
    """The least time of each call; they take turns, ten calls each, so that each finds its own data in the cache."""
    found, end = dict.fromkeys(calls, float("inf")), time.perf_counter() + (0 if SMALL else seconds)
    while True:
        for name, call in calls.items():
            for _ in range(2 if SMALL else 10):
                start = time.perf_counter()
                call()
                found[name] = min(found[name], time.perf_counter() - start)
        if time.perf_counter() > end:
            return found


def pattern_calls(name: str, n: int = N) -> dict[str, Callable]:
    """The pattern and the coloring of a right-hand side."""
    import fastad as fad
    from fastad.sparsity.coloring import color_structure
    from fastad.tables.sparsity.sweep import jacobian_structure

    table = fad.trace(FUNCTIONS[name], 1 + np.random.default_rng(0).random(n))
    structure, _ = jacobian_structure(table, [0])
    return {
        "pattern": lambda: jacobian_structure(table, [0]), "coloring": lambda: color_structure(structure, "auto"),
    }  # fmt: skip


def jacobian_calls(name: str, n: int = N) -> dict[str, Callable]:
    """The Jacobian of a right-hand side, by fastad and the others. CasADi's own matrix is measured too."""
    import fastad as fad

    f, x = FUNCTIONS[name], 1 + np.random.default_rng(0).random(n)
    J = fad.sparse_jacobian(f, tier="native")
    by_scipy = scipy_jacobian(f, fad.jacobian_sparsity(f, x))
    calls = {"prepared": J.prepare(x), "fastad": lambda: J(x), "SciPy, differences": lambda: by_scipy(x)}
    if contenders.available("casadi"):
        by_casadi = casadi_jacobian(f, n)
        calls["CasADi"] = lambda: by_casadi(x)
        calls["CasADi, to SciPy"] = lambda: by_casadi(x).sparse()
    return calls


def hessian_calls(n: int) -> dict[str, Callable]:
    """The gradient and the Hessian of the chained Rosenbrock function."""
    import fastad as fad

    x = 1 + np.random.default_rng(0).random(n)
    return {
        "gradient": fad.grad(rosenbrock, tier="native").prepare(x),
        "Hessian": fad.sparse_hessian(rosenbrock, tier="native").prepare(x),
    }


def main() -> None:
    for name in FUNCTIONS:
        print(f"Brusselator on a {name}, n = {N}")
        times = least_times(pattern_calls(name)) | least_times(jacobian_calls(name))
        for what, seconds in times.items():
            print(f"  {what:20s} {1e3 * seconds:9.4f} ms   {seconds / times['fastad']:8.2f}")
    for n in () if SMALL else (10**4, 10**5, 10**6):
        for what, seconds in least_times(pattern_calls("line", n)).items():
            print(f"  {what}, n = {n:,}: {1e3 * seconds:.2f} ms, {1e9 * seconds / n:.0f} ns each")
    times = least_times(hessian_calls(1000 if SMALL else 10**5))
    gradient, hessian = times["gradient"], times["Hessian"]
    print(f"Rosenbrock: {1e3 * gradient:.3f} ms, Hessian {1e3 * hessian:.3f} ms, {hessian / gradient:.1f} times that")


if __name__ == "__main__":
    main()
