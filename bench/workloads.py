"""What is measured: functions, data, sizes and targets, by name.

`FASTAD_BENCH_SMALL=1` reduces the large sizes so that everything runs in seconds; the figures then mean nothing.
"""
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np

from bench import functions, random_programs

SMALL = os.environ.get("FASTAD_BENCH_SMALL", "") not in ("", "0")


@dataclass(frozen=True)
class Target:
    """`ours` must be at least `factor` times faster than the fastest of `peers`, and take at most `seconds`.

    `per_primal` bounds the time of ours divided by the time of our primal alone.
    """

    ours: str = "fastad"
    factor: float | None = None
    peers: tuple[str, ...] = ()
    seconds: float | None = None
    per_primal: float | None = None
    ns_per_row: float | None = None


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    function: Callable[[ModuleType], Callable]  # from a copy of bench.functions to the function
    make: Callable[[np.random.Generator], tuple]  # the arguments; the first is differentiated
    what: str = "value_and_grad"  # or grad, jacobian, hessian
    targets: tuple[Target, ...] = ()
    rows: int | None = None  # of a scalar program
    primal: bool = False  # measure the function alone too
    notes: str = field(default="", compare=False)

    @property
    def args(self) -> tuple:
        return _arguments(self)

    @property
    def numpy_function(self) -> Callable:
        return self.function(functions)


@cache
def _arguments(work: Workload) -> tuple:
    return work.make(np.random.default_rng(20240229))


def size(normal: int, small: int) -> int:
    return small if SMALL else normal


# ---- data ---------------------------------------------------------------------------------------------------------
def vector(n, scale, rng):
    return (scale * rng.standard_normal(n),)


def logistic_data(n, d, rng):
    X = rng.standard_normal((n, d))
    y = np.where(X @ rng.standard_normal(d) + rng.standard_normal(n) > 0, 1.0, -1.0)
    return 0.3 * rng.standard_normal(d), X, y


def mlp_data(batch, widths, rng):
    params = [
        (rng.standard_normal((a, b)) / np.sqrt(a), 0.1 * rng.standard_normal(b))
        for a, b in pairwise(widths)
    ]
    onehot = np.eye(widths[-1])[rng.integers(widths[-1], size=batch)]
    return params, rng.standard_normal((batch, widths[0])), onehot


def gmm_data(n, d, K, rng):
    lower = d * (d - 1) // 2
    params = (rng.standard_normal(K), rng.random((K, d)), 0.5 * rng.standard_normal((K, d + lower)))
    return params, rng.standard_normal((n, d)), factor_places(d), (1.0, 0)


def factor_places(d) -> np.ndarray:
    """Where each entry of the (d, d) factor stands in (diagonal, lower triangle by columns, zero)."""
    places = np.full((d, d), d + d * (d - 1) // 2)
    np.fill_diagonal(places, np.arange(d))
    rows, columns = np.tril_indices(d, -1)
    order = np.lexsort((rows, columns))
    places[rows[order], columns[order]] = d + np.arange(len(order))
    return places.ravel()


def field_data(n, rng):
    return rng.standard_normal(n), rng.standard_normal((n, n)) / np.sqrt(n), rng.standard_normal((n, n)) / np.sqrt(n)


def matrix(n, rng):
    return (rng.standard_normal((n, n)),)


def systems(n, lead, rng):
    x = rng.standard_normal((*lead, n, n))
    return x @ np.swapaxes(x, -1, -2) + n * np.eye(n), rng.standard_normal((*lead, n, 1) if lead else n)


def definite(n, lead, rng):
    return systems(n, lead, rng)[:1]


def lotka_volterra_data(rng):
    return np.array([1.5, 1.0, 1.0, 3.0]), np.array([1.0, 1.0])


def filters_data(nodes, n, rng):
    return 0.3 * rng.standard_normal(nodes) - 2.0, np.cumsum(0.3 * rng.standard_normal(n)) + rng.standard_normal(n)


def program_input(rng):
    return (rng.uniform(0.5, 1.5, random_programs.INPUTS),)


@cache
def program_source(rows: int) -> str:
    return random_programs.make_source(rows, program_input(np.random.default_rng(20240229))[0])


def program(rows: int) -> Callable[[ModuleType], Callable]:
    return lambda module: random_programs.compile_source(program_source(rows), module.np, f"program of {rows} rows")


# ---- the list -----------------------------------------------------------------------------------------------------
JAX = ("jax", "jax-numpy")
BEST = ("jax", "jax-numpy", "torch")
LARGE, LARGE_TEXT = size(1_000_000, 1_000), "1000" if SMALL else "10⁶"
ROWS = (size(1_000, 200), size(100_000, 2_000))
SIDE = size(7, 4)
STEPS, OBSERVATIONS, NODES = size(1_000, 20), size(614, 10), size(12, 3)
WIDE, POWER = size(50, 5), "⁵" if SMALL else "⁵⁰"

MANY, MANY_TEXT = size(10_000, 10), "10" if SMALL else "10⁴"
SYSTEMS = (("3", "3×3", 3, (), 5), ("10", "10×10", 10, (), 5), ("100", "100×100", size(100, 12), (), 1),
           ("batch", f"{MANY_TEXT} of 3×3", 3, (MANY,), 5))
LINEAR = tuple(
    Workload(f"{name}-{key}", f"{title}, {text}, value and gradient", function, partial(data, n, lead),
             targets=(Target(factor=factor, peers=JAX),), primal=True)
    for name, title, function, data in (("solve", "np.linalg.solve", lambda m: m.solution, systems),
                                        ("cholesky", "np.linalg.cholesky", lambda m: m.factor, definite))
    for key, text, n, lead, factor in SYSTEMS
)

ALL = (
    Workload("rosenbrock-2", "Rosenbrock, n=2, value and gradient", lambda m: m.rosenbrock, partial(vector, 2, 1.0),
             targets=(Target(factor=10, peers=("jax-numpy",), seconds=3e-6),
                      Target(ours="fastad-prepared", seconds=0.8e-6))),
    Workload("rosenbrock-100", "Rosenbrock, n=100, value and gradient", lambda m: m.rosenbrock,
             partial(vector, size(100, 10), 1.0), targets=(Target(factor=10, peers=("jax-numpy",)),)),
    Workload("rosenbrock-1e6", f"Rosenbrock, n={LARGE_TEXT}, value and gradient", lambda m: m.rosenbrock,
             partial(vector, LARGE, 1.0), targets=(Target(factor=1, peers=("jax",)),)),
    Workload("sin-exp", f"sum of sin(x) exp(-x²), n={LARGE_TEXT}, gradient", lambda m: m.sin_exp,
             partial(vector, LARGE, 1.0), what="grad", targets=(Target(factor=4, peers=("jax",)),), primal=True),
    Workload("logistic", f"logistic regression {size(10_000, 100)}×{size(32, 4)}", lambda m: m.logistic,
             partial(logistic_data, size(10_000, 100), size(32, 4)),
             targets=(Target(factor=1, peers=BEST, per_primal=2.5),), primal=True),
    Workload("mlp", f"network {'4-4-4-3' if SMALL else '64-64-64-10'}, batch {size(256, 8)}", lambda m: m.mlp,
             partial(mlp_data, size(256, 8), (4, 4, 4, 3) if SMALL else (64, 64, 64, 10)),
             targets=(Target(factor=1, peers=BEST, per_primal=2.5),), primal=True),
    Workload("gmm", f"Gaussian mixture n={size(1000, 20)}, d={size(10, 3)}, K={size(25, 4)}", lambda m: m.gmm,
             partial(gmm_data, size(1000, 20), size(10, 3), size(25, 4)),
             targets=(Target(factor=1, peers=BEST, per_primal=2.5),), primal=True),
    Workload("program-1e3", f"random scalar program, {ROWS[0]} rows", program(ROWS[0]), program_input, rows=ROWS[0],
             targets=(Target(ours="fastad-sweep", ns_per_row=16), Target(ns_per_row=2.5)), primal=True),
    Workload("program-1e5", f"random scalar program, {ROWS[1]} rows", program(ROWS[1]), program_input, rows=ROWS[1],
             targets=(Target(ours="fastad-sweep", ns_per_row=16), Target(ns_per_row=2.5)), primal=True,
             notes="JAX left out: XLA took 450 s to compile the program of 1,000 rows."),
    Workload("determinant", f"cofactor determinant, n={SIDE}, in plain Python", lambda m: m.determinant,
             partial(matrix, SIDE), targets=(Target(factor=20, peers=("autograd",), per_primal=2),), primal=True,
             notes="JAX left out: XLA takes 12 s to compile n=6, which is a seventh of n=7."),
    Workload("jacobian", f"Jacobian of ℝ{POWER} → ℝ{POWER}", lambda m: m.field, partial(field_data, WIDE),
             what="jacobian", targets=(Target(factor=1, peers=(*JAX, "jax-rev")),)),
    Workload("hessian", f"Hessian of ℝ{POWER} → ℝ", lambda m: m.energy, partial(field_data, WIDE),
             what="hessian", targets=(Target(factor=1, peers=JAX),)),
    Workload("lv-scan", f"scan of {STEPS} RK4 steps of Lotka–Volterra, gradient",
             lambda m: lambda rates, y: m.lotka_volterra(rates, y, STEPS), lotka_volterra_data, what="grad",
             targets=(Target(factor=50, peers=JAX, per_primal=4),), primal=True,
             notes="libraries without a scan left out: through the plain loop PyTorch takes 3 s, autograd longer."),
    Workload("leaves", f"scan over {OBSERVATIONS} steps, {5 * NODES} leaves in its carry, gradient",
             lambda m: m.filters, partial(filters_data, NODES, OBSERVATIONS), what="grad",
             targets=(Target(factor=20, peers=JAX),), primal=True,
             notes="after JAX's issue 40150, a hierarchical Gaussian filter. XLA takes 40 s to compile the gradient."),
    *LINEAR,
)
BY_NAME = {work.name: work for work in ALL}


def leaves(result: Any) -> list[np.ndarray]:
    """The arrays of a nested result, in order, for comparisons."""
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in leaves(part)]
    return [np.asarray(result, dtype=float)]
