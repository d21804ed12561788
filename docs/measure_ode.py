"""Measures the tables of docs/ode.md and writes them there: `python docs/measure_ode.py [PAGE] [--small]`.

Times are those of the fastest call of native code, on the machine that runs this. Bytes are the peak of a gradient
beyond that of a solve.
"""

import argparse
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp as scipy_solve

import fastad as fad
from fastad.checks.profiling import measure
from fastad.demo.measure import seconds
from fastad.demo.terminal import digits, duration
from fastad.ode.adjoints import ADJOINTS
from fastad.tables.shown.listing import size_text

PAGE = Path(__file__).with_name("ode.md")
P, U0 = np.array([1.5, 1.0, 3.0, 1.0]), np.ones(2)
METHODS = ("BS3", "Tsit5", "Dopri5", "Dopri8", "RK4")
TARGETS = (1e-3, 1e-6, 1e-9)


def lotka(t: Any, u: Any, p: Any) -> Any:
    return np.array([p[0] * u[0] - p[1] * u[0] * u[1], p[3] * u[0] * u[1] - p[2] * u[1]])


def end(p: Any, t1: float, **options: Any) -> Any:
    """The sum of both populations at the end."""
    return np.sum(fad.solve_ivp(lotka, (0.0, t1), U0, args=(p,), **options).y[:, -1])


def timed(cost: Callable[[Any], Any]) -> tuple[Any, float, float, int]:
    """The gradient of a cost, the times of value and gradient, and the bytes that only the gradient needs."""
    value, gradient = fad.jit(cost, tier="native"), fad.value_and_grad(cost, tier="native")
    value(P)
    found = gradient(P)[1]
    measured = []
    for function in (value, gradient):
        program = function.all_paths()[0].program
        measured.append(measure(program.request, [P, *program.captured], "native", 0.3))
    return found, measured[0].fastest, measured[1].fastest, max(measured[1].bytes - measured[0].bytes, 0)


# ── the tables ────────────────────────────────────────────────────────────────────────────────────────────────
def methods(small: bool) -> Iterator[Sequence[str]]:
    """Steps and times of every method where its error is below a target."""
    targets = TARGETS[: 1 if small else None]
    yield ("method", *(f"error ≤ {target:.0e}" for target in targets))
    right = float(end(P, 10.0, method="Dopri8", rtol=1e-13, atol=1e-14))
    for method in METHODS:
        yield (f"`{method}`", *(_cheapest(method, target, right) for target in targets))
    yield ("SciPy's `RK45`, no gradient", *(_scipy(target, right) for target in targets))


def _settings(method: str) -> list[dict[str, Any]]:
    """From coarse to fine."""
    if method == "RK4":
        return [{"step": 10.0 / 2**k} for k in range(5, 15)]
    return [{"rtol": 10.0**-k, "atol": 10.0 ** -(k + 2)} for k in np.arange(2.0, 13.5, 0.5)]


def _cheapest(method: str, target: float, right: float) -> str:
    for options in _settings(method):
        cost = lambda p, options=options: end(p, 10.0, method=method, **options)
        if abs(float(cost(P)) - right) <= target:
            steps = fad.solve_ivp(lotka, (0.0, 10.0), U0, args=(P,), method=method, **options).stats["accepted"]
            _, value, gradient, _ = timed(cost)
            return f"{steps:,} steps: {duration(value)}, {duration(gradient)}"
    return "—"


def _scipy(target: float, right: float) -> str:
    for options in _settings("Dopri5"):
        solve = lambda options=options: scipy_solve(lotka, (0.0, 10.0), U0, args=(P,), **options)  # RK45 is its default
        found = solve()
        if abs(np.sum(found.y[:, -1]) - right) <= target:
            return f"{len(found.t) - 1:,} steps: {duration(min(seconds(solve) for _ in range(20)))}"
    return "—"


def adjoints(small: bool, names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Error, time and memory of every adjoint."""
    t1, tolerances = (5.0 if small else 100.0), {"rtol": 1e-8, "atol": 1e-10}
    yield ("adjoint", "error of the gradient", "time / solve", "memory")
    right = fad.grad(lambda p: end(p, t1, method="Dopri8", rtol=1e-13, atol=1e-14))(P)
    for adjoint in names:
        found, value, gradient, size = timed(lambda p, a=adjoint: end(p, t1, adjoint=a, **tolerances))
        error = np.linalg.norm(found - right) / np.linalg.norm(right)
        yield f'`"{adjoint}"`', f"{error:.0e}", digits(gradient / value), size_text(size)


def schedules(small: bool) -> Iterator[Sequence[str]]:
    """Time and memory of the gradient of a long solve under every schedule."""
    t1 = 20.0 if small else 400.0
    yield ("`checkpoint=`", "time", "time / solve", "memory")
    steps = fad.solve_ivp(lotka, (0.0, t1), U0, args=(P,), rtol=1e-8).stats["accepted"]
    c = fad.checkpoint
    for schedule in (c.StoreAll(), c.Online(10_000), c.Online(1000), c.Online(100), c.Online(10)):
        _, value, gradient, size = timed(lambda p, s=schedule: end(p, t1, rtol=1e-8, checkpoint=s))
        yield f"`{schedule!r}`", duration(gradient), digits(gradient / value), size_text(size)
    yield f"the solve, {steps:,} steps", duration(value), "1", ""


def markdown(rows: Iterator[Sequence[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + " --- |" * (head.count(" | ") + 1), *body])


def processor() -> str:
    """The name of the processor."""
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", path.read_text(encoding="utf-8")) if path.exists() else None
    return found[1] if found else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="?", type=Path, default=PAGE)
    parser.add_argument("--small", action="store_true", help="short solves: a test of this script")
    parser.add_argument("--adjoints", nargs="*", default=ADJOINTS, help="default: %(default)s")
    options = parser.parse_args()
    makers = {
        "methods": lambda: markdown(methods(options.small)),
        "adjoints": lambda: markdown(adjoints(options.small, options.adjoints)),
        "schedules": lambda: markdown(schedules(options.small)),
        "machine": lambda: f"Measured on: {processor()}, with Python {platform.python_version()}.",
    }
    text = options.page.read_text(encoding="utf-8")
    for name, make in makers.items():
        new = make()
        text, count = re.subn(
            rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", lambda m, new=new: m[1] + new + m[2], text, flags=re.DOTALL
        )
        assert count == 1, f"{options.page} has no place for the table {name!r}"
        print(f"{new}\n", flush=True)
    options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
