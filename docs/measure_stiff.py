"""Measures the table of stiff methods in docs/ode.md and writes it there: `python docs/measure_stiff.py [PAGE]`.

Every method solves every problem with tolerances in half powers of ten, from loose to tight, until the error at the end
is below the target. What is shown is that solve. Times are those of the fastest call, of CPU time where it is long.
"""

import argparse
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measure_ode import PAGE, PATIENCE, markdown, timed
from scipy.integrate import solve_ivp as scipy_solve

import fastad as fad
from fastad.demo.measure import seconds
from fastad.demo.terminal import duration

METHODS = ("Tsit5", "auto", "Rodas5P", "Kvaerno5", "Radau", "BDF", "SDIRK2")
PEERS = ("Radau", "BDF", "LSODA")
TARGET = 1e-4
TOLERANCES = 10.0 ** -np.arange(2.0, 9.5, 0.5)
MOST_STEPS = 100_000
WIDE = 500  # unknowns from where stages that are coupled take too long, and peers are not asked


@dataclass(frozen=True)
class Problem:
    """y' = f(t, y, p), y(0) = y0, until `end`. Errors count relative to each component, or to the largest of a field.
    Components matter down to `small`: absolute tolerances are this times the relative one."""

    f: Callable[[Any, Any, Any], Any]
    y0: np.ndarray
    p: np.ndarray
    end: float
    small: float = 1.0
    is_field: bool = False

    def solve(self, method: str, rtol: float, p: Any = None, most: int = MOST_STEPS) -> Any:
        p = self.p if p is None else p
        return fad.solve_ivp(self.f, (0.0, self.end), self.y0, method, args=(p,), rtol=rtol, atol=self.small * rtol,
                             max_steps=most)  # fmt: skip

    def cost(self, method: str, rtol: float, p: Any, right: np.ndarray) -> Any:
        """What gradients are of: the sum of all components, relative to the right ones."""
        return np.sum(self.solve(method, rtol, p).y[:, -1] / np.abs(right))

    def error(self, y: Any, right: np.ndarray) -> float:
        scale = np.max(np.abs(right)) if self.is_field else np.abs(right)
        return float(np.max(np.abs(y - right) / scale))


def lotka(t: Any, y: Any, p: Any) -> Any:
    return np.stack([p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]])


def oscillator(t: Any, y: Any, p: Any) -> Any:
    return np.stack([y[1], p[0] * (1.0 - y[0] ** 2) * y[1] - y[0]])


def robertson(t: Any, y: Any, p: Any) -> Any:
    slow, back, fast = p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]
    return np.stack([back - slow, slow - back - fast, fast])


def oregonator(t: Any, y: Any, p: Any) -> Any:
    return np.stack([p[0] * (y[1] + y[0] * (1.0 - p[1] * y[0] - y[1])), (y[2] - (1.0 + y[0]) * y[1]) / p[0],
                     p[2] * (y[0] - y[2])])  # fmt: skip


def brusselator(t: Any, y: Any, p: Any) -> Any:
    u, v = y.reshape(2, -1)
    wide = np.stack([np.concatenate([[1.0], u, [1.0]]), np.concatenate([[3.0], v, [3.0]])])
    spread = p[2] * (u.size + 1) ** 2 * np.diff(wide, 2)
    made = u * u * v
    return np.stack([p[0] + made - (p[1] + 1.0) * u, p[1] * u - made]).ravel() + spread.ravel()


def _field(n: int) -> np.ndarray:
    return np.concatenate([1.0 + np.sin(2 * np.pi * np.arange(1, n + 1) / (n + 1)), np.full(n, 3.0)])


def problems(small: bool) -> dict[str, Problem]:
    """From Hairer & Wanner, Solving Ordinary Differential Equations II, and its test set."""
    n = 8 if small else 500
    found = {
        "Lotka–Volterra, t = 10": Problem(lotka, np.ones(2), np.array([1.5, 1.0, 3.0, 1.0]), 10.0),
        "van der Pol, μ = 1000, t = 2000": Problem(oscillator, np.array([2.0, 0.0]), np.array([1000.0]), 2000.0),
        "ROBER, t = 10⁵": Problem(robertson, np.array([1.0, 0.0, 0.0]), np.array([0.04, 1e4, 3e7]), 1e5, 1e-6),
        "OREGO, t = 360": Problem(oregonator, np.array([1.0, 2.0, 3.0]), np.array([77.27, 8.375e-6, 0.161]), 360.0),
        f"Brusselator, {2 * n:,} unknowns": Problem(
            brusselator, _field(n), np.array([1.0, 3.0, 0.02]), 10.0, is_field=True
        ),
    }
    return dict(list(found.items())[-1:]) if small else found


# ── the table ─────────────────────────────────────────────────────────────────────────────────────────────────
def table(small: bool) -> Iterator[Sequence[str]]:
    """What every method takes for every problem."""
    own = problems(small)
    yield ("method", *own)
    right = {name: problem.solve("Rodas5P", 1e-10, most=10**6).y[:, -1] for name, problem in own.items()}
    for method in METHODS[: 3 if small else None]:
        yield (f"`{method}`", *(_cell(problem, method, right[name]) for name, problem in own.items()))
    for method in PEERS[: 0 if small else None]:
        cells = (_peer(problem, method, right[name]) for name, problem in own.items())
        yield (f"SciPy's `{method}`, no gradient", *cells)


def _cell(problem: Problem, method: str, right: np.ndarray) -> str:
    if method == "Radau" and problem.y0.size > WIDE:
        return "—"
    for rtol in TOLERANCES:
        found = problem.solve(method, rtol)
        if not found.success:
            if found.stats["accepted"] >= MOST_STEPS:
                return f"more than {MOST_STEPS:,} steps"
            continue
        if problem.error(found.y[:, -1], right) <= TARGET:
            _, value, gradient, _ = timed(lambda p, r=rtol: problem.cost(method, r, p, right), problem.p)
            factorisations = f", {found.nlu:,} factorisations" if found.nlu else ""
            return f"{found.stats['accepted']:,} steps{factorisations}: {duration(value)}, {duration(gradient)}"
    return "not reached"


def _peer(problem: Problem, method: str, right: np.ndarray) -> str:
    pattern = None
    if problem.y0.size > WIDE:
        if method == "LSODA":  # has no sparse matrices
            return "—"
        pattern = fad.jacobian_sparsity(lambda y: problem.f(0.0, y, problem.p), problem.y0)
    known = {} if pattern is None else {"jac_sparsity": pattern}
    for rtol in TOLERANCES:
        solve = lambda rtol=rtol: scipy_solve(problem.f, (0.0, problem.end), problem.y0, method, args=(problem.p,),
                                              rtol=rtol, atol=problem.small * rtol, **known)  # fmt: skip
        found = solve()
        if found.success and problem.error(found.y[:, -1], right) <= TARGET:
            factorisations = f", {found.nlu:,} factorisations" if found.nlu else ""
            return f"{len(found.t) - 1:,} steps{factorisations}: {duration(min(seconds(solve) for _ in range(3)))}"
    return "not reached"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="?", type=Path, default=PAGE)
    parser.add_argument("--small", action="store_true", help="one small problem: a test of this script")
    options = parser.parse_args()
    if options.small:
        PATIENCE["seconds"] = 0.0
    warnings.simplefilter("ignore")  # of tolerances that are too loose
    new = markdown(_printed(table(options.small)))
    text, count = re.subn(
        r"(<!-- stiff -->\n).*?(\n<!-- end -->)", lambda m: m[1] + new + m[2],
        options.page.read_text(encoding="utf-8"), flags=re.DOTALL,
    )  # fmt: skip
    assert count == 1, f"{options.page} has no place for the table 'stiff'"
    options.page.write_text(text, encoding="utf-8")


def _printed(rows: Iterator[Sequence[str]]) -> Iterator[Sequence[str]]:
    for row in rows:
        print(*row, sep=" | ", flush=True)
        yield row


if __name__ == "__main__":
    main()
