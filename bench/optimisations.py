"""Minimisations, fits and quadratic programmes, and their derivatives by parameters: fastad, SciPy, optimistix.

`python -m bench.optimisations` measures all contenders interleaved and prints a table for bench/RESULTS.md; every
result is compared with fastad's first.
"""
import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import timing
from bench.workloads import size

N = size(10, 3)  # variables of Rosenbrock's function
POINTS = size(200, 20)
LANES = size(1000, 4)
START = np.linspace(0.5, 1.5, N)
TIMES = np.linspace(0.0, 3.0, POINTS)
DATA = 2.0 * np.exp(-0.7 * TIMES) + 0.3 + 0.05 * np.sin(40.0 * TIMES)
GUESS = np.array([1.0, 1.0, 0.0])
SCALES = np.linspace(0.5, 2.0, LANES)


def banana(np: Any) -> Callable[..., Any]:
    """Rosenbrock's function of a module's arrays; a is its parameter."""
    return lambda x, a: np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (a - x[:-1]) ** 2)


def decay(np: Any) -> Callable[..., Any]:
    """Residuals of an exponential decay."""
    return lambda x, y: x[0] * np.exp(-x[1] * TIMES) + x[2] - y


Calls = dict[str, Callable[[], Any]]


# ── contenders ────────────────────────────────────────────────────────────────────────────────────────────────
def ours() -> dict[str, Calls]:
    """fastad's calls of every task, by method."""
    import fastad as fad

    def minimum(method: str) -> Any:
        return lambda a: fad.minimize(banana(np), START, args=(a,), method=method, tol=1e-6).x

    def fitted(y: Any) -> Any:
        return fad.least_squares(decay(np), GUESS, args=(y,), method="lm").x

    newton, bfgs, fit = fad.jit(minimum("newton")), fad.jit(minimum("bfgs")), fad.jit(fitted)
    slope, influence = fad.grad(lambda a: np.sum(minimum("bfgs")(a))), fad.grad(lambda y: fitted(y)[1])
    lanes, lane_slopes = fad.vmap(lambda s: fitted(s * DATA)), fad.vmap(fad.grad(lambda s: fitted(s * DATA)[0]))
    return {
        "minimum": {"fastad, Newton": lambda: newton(1.0), "fastad, BFGS": lambda: bfgs(1.0)},
        "minimum, gradient by a": {"fastad, BFGS": lambda: slope(1.0)},
        "fit": {"fastad, LM": lambda: fit(DATA)},
        "fit, gradient by the data": {"fastad, LM": lambda: influence(DATA)},
        f"{LANES} fits": {"fastad, LM": lambda: lanes(SCALES)},
        f"{LANES} fits, gradients": {"fastad, LM": lambda: lane_slopes(SCALES)},
    }


def scipys() -> dict[str, Calls]:
    """SciPy's, with fastad's gradients and Jacobians; it has no derivatives of solutions."""
    import scipy.optimize as so

    import fastad as fad

    both, jacobian = fad.value_and_grad(banana(np)), fad.jacobian(decay(np))

    def minimum() -> Any:
        return so.minimize(both, START, (1.0,), "BFGS", jac=True, options={"gtol": 1e-6}).x

    def fit() -> Any:
        return so.least_squares(decay(np), GUESS, jacobian, method="lm", args=(DATA,), gtol=1e-10).x

    return {"minimum": {"SciPy, BFGS": minimum}, "fit": {"SciPy, LM": fit}}


def optimistix() -> dict[str, Calls]:
    """optimistix' in compiled JAX code."""
    import jax
    import jax.numpy as jnp
    import optimistix as optx

    jax.config.update("jax_enable_x64", True)
    bfgs, lm = optx.BFGS(rtol=1e-8, atol=1e-8), optx.LevenbergMarquardt(rtol=1e-10, atol=1e-10)

    def minimum(a: Any) -> Any:
        return optx.minimise(banana(jnp), bfgs, jnp.asarray(START), args=a, max_steps=2000).value

    def fitted(y: Any) -> Any:
        return optx.least_squares(decay(jnp), lm, jnp.asarray(GUESS), args=y, max_steps=2000).value

    solve, slope = jax.jit(minimum), jax.jit(jax.grad(lambda a: jnp.sum(minimum(a))))
    fit, influence = jax.jit(fitted), jax.jit(jax.grad(lambda y: fitted(y)[1]))
    lanes = jax.jit(jax.vmap(lambda s: fitted(s * DATA)))
    lane_slopes = jax.jit(jax.vmap(jax.grad(lambda s: fitted(s * DATA)[0])))
    ready = jax.block_until_ready
    return {
        "minimum": {"optimistix, BFGS": lambda: ready(solve(1.0))},
        "minimum, gradient by a": {"optimistix, BFGS": lambda: ready(slope(1.0))},
        "fit": {"optimistix, LM": lambda: ready(fit(DATA))},
        "fit, gradient by the data": {"optimistix, LM": lambda: ready(influence(DATA))},
        f"{LANES} fits": {"optimistix, LM": lambda: ready(lanes(SCALES))},
        f"{LANES} fits, gradients": {"optimistix, LM": lambda: ready(lane_slopes(SCALES))},
    }


CONTENDERS = {"fastad": ours, "scipy": scipys, "optimistix": optimistix}


def tasks(packages: list[str]) -> dict[str, Calls]:
    """The calls of every task, fastad's first."""
    found: dict[str, Calls] = {}
    for package in packages:
        for task, calls in CONTENDERS[package]().items():
            found.setdefault(task, {}).update(calls)
    return found


def disagreement(calls: Calls) -> float:
    """The largest difference from the first contender, relative to its largest element."""
    wanted, *others = [np.asarray(call()) for call in calls.values()]
    return max((float(np.max(np.abs(x - wanted)) / np.max(np.abs(wanted))) for x in others), default=0.0)


def measured(calls: Calls, rounds: int = 15, sample: float = 0.05) -> dict[str, float]:
    """The best time of each, interleaved; in seconds."""
    counts = {name: timing.calibrate(call, sample, 0.5) for name, call in calls.items()}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            best[name] = min(best[name], timing.sample_time(call, counts[name]))
    return best


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", nargs="*", default=list(CONTENDERS))
    print("| task | contender | time | relative to fastad |\n| --- | --- | --- | --- |")
    for task, calls in tasks(parser.parse_args().packages).items():
        apart, times = disagreement(calls), measured(calls)
        ours = min(t for name, t in times.items() if name.startswith("fastad"))
        for name, seconds in times.items():
            print(f"| {task} | {name} | {1e6 * seconds:,.1f} µs | {seconds / ours:.2f} |", flush=True)
        assert apart < 1e-4, (task, apart)


if __name__ == "__main__":
    main()
