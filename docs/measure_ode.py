"""Measures the tables of docs/ode.md and writes them there: `python docs/measure_ode.py [PAGE] [--small]`, and draws
adjoint-costs.png beside the page.

Times are those of the fastest call of native code, on the machine that runs this. Bytes are the peak of a gradient
beyond that of a solve.
"""

import argparse
import platform
import re
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp as scipy_solve

import fastad as fad
from fastad.demo.measure import seconds
from fastad.demo.terminal import digits, duration
from fastad.ode.adjoints import ADJOINTS
from fastad.tables.shown.listing import size_text

PAGE = Path(__file__).with_name("ode.md")
P, U0 = np.array([1.5, 1.0, 3.0, 1.0]), np.ones(2)
METHODS = ("BS3", "Tsit5", "Dopri5", "Dopri8", "RK4")
TARGETS = (1e-3, 1e-6, 1e-9)
PATIENCE = {"seconds": 0.3}  # that calls of one function are timed for
_ADAPTIVE = [name for name in ADJOINTS if name != "reversible"]  # that has no method with error estimates


def lotka(t: Any, u: Any, p: Any) -> Any:
    return np.array([p[0] * u[0] - p[1] * u[0] * u[1], p[3] * u[0] * u[1] - p[2] * u[1]])


def end(p: Any, t1: float, **options: Any) -> Any:
    """The sum of both populations at the end."""
    return np.sum(fad.solve_ivp(lotka, (0.0, t1), U0, args=(p,), **options).y[:, -1])


def timed(cost: Callable[[Any], Any], p: Any = P) -> tuple[Any, float, float, int]:
    """The gradient of a cost, the times of value and gradient, and the bytes that only the gradient needs."""
    value, gradient = fad.jit(cost, tier="native"), fad.value_and_grad(cost, tier="native")
    value(p)
    found = gradient(p)[1]
    runs = [function.prepare(p) for function in (value, gradient)]
    times = [min(_seconds(run) for _ in range(_enough(run))) for run in runs]
    kernels = [run._binding.kernel for run in runs]
    sizes = [8 * (k.work_size + max((callee.work_size for callee in k.callees), default=0)) for k in kernels]
    return found, times[0], times[1], max(sizes[1] - sizes[0], 0)


def _seconds(run: Callable[[], Any]) -> float:
    """Elapsed time of a call, or CPU time of a long one, which other work on the machine interrupts."""
    start = process_time()
    elapsed = seconds(run)
    return elapsed if elapsed < 1e-3 else min(elapsed, process_time() - start)


def _enough(run: Callable[[], Any]) -> int:
    """Calls that take as long as our patience."""
    run()
    return int(min(max(PATIENCE["seconds"] / max(seconds(run), 1e-7), 5), 10_000))


# ── the tables ────────────────────────────────────────────────────────────────────────────────────────────────
def methods(small: bool) -> Iterator[Sequence[str]]:
    """Steps and times of every method where its error is below a target."""
    targets = TARGETS[: 1 if small else None]
    yield ("method", *(f"error ≤ {target:.0e}" for target in targets))
    right = float(end(P, 10.0, method="Dopri8", rtol=1e-13, atol=1e-14))
    for method in METHODS[: 2 if small else None]:
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
    few = (c.Online(10_000), c.Online(1000), c.Online(100), c.Online(10), c.Periodic(100))
    for schedule in (c.StoreAll(), *few[-1 if small else 0 :]):
        _, value, gradient, size = timed(lambda p, s=schedule: end(p, t1, rtol=1e-8, checkpoint=s))
        yield f"`{schedule!r}`", duration(gradient), digits(gradient / value), size_text(size)
    yield f"the solve, {steps:,} steps", duration(value), "1", ""


# ── the picture ───────────────────────────────────────────────────────────────────────────────────────────────
_WEIGHTS = np.random.default_rng(0).normal(size=(4, 4)) / 2
# Of examples/adjoints.md: right-hand sides, initial states, parameters.
STIFF: dict[str, tuple[Callable[[Any, Any, Any], Any], Any, Any]] = {
    "decay: z' = −λ z, λ = 5": (lambda t, z, p: -p * z, np.ones(1), np.array([5.0])),
    "cubic: z' = −p z³, z(0) = 100": (lambda t, z, p: -p * z**3, np.array([100.0]), np.ones(1)),
    "network: z' = λ (tanh(W z + cos t) − z), λ = 5": (
        lambda t, z, p: 5.0 * (np.tanh(np.reshape(p, (4, 4)) @ z + np.cos(t)) - z),
        np.array([1.0, -1.0, 0.5, 0.0]), np.ravel(_WEIGHTS),
    ),
}  # fmt: skip
_TIGHT = {"rtol": 1e-10, "atol": 1e-12}
_SPARSE, _STORING = "discrete, Online(10)", ("discrete", "interpolating")
COLORS = ("#0b6fa4", "#c8501e", "#2f9e6e", "#7b5ea7", "#8a6d00", "#555555")


def costs(field: Callable[[Any, Any, Any], Any], z0: Any, p: Any, names: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Time by that of the solve, and memory, of the gradient by every adjoint. Those that store steps have room for as
    many as there are."""
    steps = fad.solve_ivp(field, (0.0, 1.0), z0, args=(p,), **_TIGHT).stats["accepted"]
    room = {"max_steps": steps}
    ways: dict[str, dict[str, Any]] = {name: {"adjoint": name, **(room if name in _STORING else {})} for name in names}
    ways[_SPARSE] = {"checkpoint": fad.checkpoint.Online(10)}
    found = {}
    for name, options in ways.items():
        last = lambda p, options=options: np.sum(
            fad.solve_ivp(field, (0.0, 1.0), z0, args=(p,), **_TIGHT, **options).y[:, -1] ** 2
        )
        _, value, gradient, size = timed(last, p)
        found[name] = gradient / value, size
    return found


def picture(small: bool, names: Sequence[str], path: Path) -> None:
    """Memory against time of the gradient by every adjoint, for every problem."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    chosen = dict(list(STIFF.items())[: 1 if small else None])
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    panels = figure.subplots(1, len(chosen), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (title, problem) in zip(panels, chosen.items(), strict=True):
        found = costs(*problem, names)
        for (name, (time, size)), color in zip(found.items(), COLORS, strict=False):
            axes.loglog(time, max(size, 1), "o", color=color, markersize=7)
            shift = -14 if name == "interpolating" else 8  # beside "forward" where there are many parameters
            axes.annotate(name, (time, max(size, 1)), (0, shift), textcoords="offset points", color=color, ha="center")
        axes.set_title(title, loc="left", fontsize=10)
        axes.set(xlabel="time of the gradient / time of the solve")
        axes.margins(x=0.15, y=0.2)
        axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        axes.minorticks_off()
        axes.grid(color="#e6e6e6", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("memory beyond the solve (bytes)")
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})


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
    parser.add_argument("--adjoints", nargs="*", default=_ADAPTIVE, help="default: %(default)s")
    options = parser.parse_args()
    if options.small:
        PATIENCE["seconds"] = 0.0
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
    if find_spec("matplotlib"):
        picture(options.small, options.adjoints, options.page.with_name("adjoint-costs.png"))


if __name__ == "__main__":
    main()
