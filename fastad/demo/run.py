"""The demonstration: the calibration of an ODE, from the first solution to the uncertainty of the fit."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastad.demo import measure, model
from fastad.demo.fit import Fit, Uncertainty, fit, uncertainty
from fastad.demo.terminal import Progress, bold, duration, table
from fastad.execution.composites.drivers import driver_text, load_drivers
from fastad.execution.machine import exported
from fastad.ode.solving import solve_ivp
from fastad.schedules.online import Online
from fastad.transforms.public import jit, value_and_grad

STAGES = ("compiling the solver", "first gradient", "timing", "checking", "fitting", "uncertainty", "drawing")
TIER = "native"  # "auto" would first compile the interpreter too, for which a demonstration need not wait
SPAN = (model.YEARS[0], model.YEARS[-1])
STATES = 10


def main(folder: Path) -> None:
    """Run the demonstration, and write its pictures to the folder."""
    start = time.perf_counter()
    progress = Progress(len(STAGES))
    try:
        _run(folder, progress)
    finally:
        progress.close()
    print(f"Finished in {duration(time.perf_counter() - start)}.")


def _run(folder: Path, progress: Progress) -> None:
    progress.print(bold("Hares and lynxes, 1900-1920: a Lotka-Volterra model, calibrated to the Hudson's Bay pelts"))
    progress.print("Six unknowns, least squares on logarithms; fad.solve_ivp with Tsit5 and adaptive steps.\n")
    _compile(progress)
    gradient = value_and_grad(model.misfit, tier=TIER)
    _first(gradient, progress)
    _time(gradient, progress)
    errors = _check(gradient, progress)
    found = _fit(gradient, progress)
    spread = _uncertainty(found, progress)
    progress.stage(STAGES[6])
    _draw(folder, found, spread, errors, progress)


# ── first calls ───────────────────────────────────────────────────────────────────────────────────────────────
def _compile(progress: Progress) -> None:
    """Compile what every solve of every ODE uses, or load it."""
    kernels = [f"fastad.kernels.solving.{way}_solve" for way in ("run", "reverse")]
    if not all(exported.is_stored(driver_text(name)) for name in kernels):
        progress.print("Compiling the solver for this machine: once for all ODEs, then it is kept on disk ...")
    progress.stage(STAGES[0])
    taken = measure.seconds(lambda: load_drivers(kernels))
    progress.print(f"Solver and adjoint ready after {duration(taken)}.\n")


def _first(gradient: Any, progress: Progress) -> None:
    progress.stage(STAGES[1])
    first = measure.seconds(lambda: gradient(model.START))
    progress.print(f"First gradient, in which this ODE is recorded and compiled: {duration(first)}.\n")


# ── speed and errors ──────────────────────────────────────────────────────────────────────────────────────────
def _time(gradient: Any, progress: Progress) -> None:
    progress.stage(STAGES[2])
    x, value = model.START, jit(model.misfit, tier=TIER)
    frugal = value_and_grad(lambda x: model.misfit(x, checkpoint=Online(STATES)), tier=TIER)
    same = np.array_equal(frugal(x)[1], gradient(x)[1])
    solving, exact, with_ten, scipy = (
        measure.median_seconds(call)
        for call in (lambda: value(x), lambda: gradient(x), lambda: frugal(x), lambda: by_scipy(x))
    )
    stats = solve_ivp(model.growth, SPAN, x[:2], args=(np.exp(x[2:]),), rtol=1e-8).stats
    ways = (
        (f"misfit: one solve, {stats['accepted']} steps", solving),
        ("misfit and exact gradient", exact),
        (f"the same with {STATES} states stored, " + ("bit for bit" if same else "NOT EQUAL"), with_ten),
        ("gradient by differences, 12 solves", 12 * solving),
        ("misfit with SciPy's RK45", scipy),
        ("gradient by differences with SciPy's RK45", 12 * scipy),
    )
    rows = [("", "time", "solves"), *((name, duration(t), f"{t / solving:.1f}") for name, t in ways)]
    _section(progress, "Time", rows)


def by_scipy(x: np.ndarray) -> float:
    """The misfit with SciPy's solver of the same order, at the same tolerances."""
    from scipy.integrate import solve_ivp as scipy_solve

    rates = np.exp(x[2:])
    found = scipy_solve(model.growth, SPAN, x[:2], t_eval=model.YEARS, args=(rates,), rtol=1e-8, atol=1e-9).y
    return float(np.sum((found - model.LOG_PELTS) ** 2))


def _check(gradient: Any, progress: Progress) -> dict[str, Any]:
    """Compare gradients with one of a far more accurate solve; returns errors of differences for many steps."""
    progress.stage(STAGES[3])
    x, value = model.START, jit(model.misfit, tier=TIER)
    right = value_and_grad(lambda x: model.misfit(x, method="Dopri8", rtol=1e-13, atol=1e-13), tier=TIER)(x)[1]
    exact, differences = gradient(x)[1], measure.central_differences(value, x)
    rows = [("derivative by the logarithm of", "fastad", "error", "differences", "error")]
    for name, *numbers in zip(model.UNKNOWNS, right, exact, differences, strict=True):
        r, a, b = map(float, numbers)
        rows.append((name, f"{a:.8f}", f"{abs(a - r):.0e}", f"{b:.8f}", f"{abs(b - r):.0e}"))
    _section(progress, "Gradient at the start, and errors against a solve at rtol = 1e-13", rows)
    error = lambda g: float(np.linalg.norm(g - right) / np.linalg.norm(right))
    steps = np.geomspace(1e-9, 1e-1, 49)
    ways = {"forward": measure.forward_differences, "central": measure.central_differences}
    return {
        "steps": steps, "exact": error(exact),
        **{name: [error(way(value, x, h)) for h in steps] for name, way in ways.items()},
    }  # fmt: skip


# ── the fit ───────────────────────────────────────────────────────────────────────────────────────────────────
def _fit(gradient: Any, progress: Progress) -> Fit:
    progress.stage(STAGES[4])
    report: Callable[[int, float], None] = lambda k, m: progress.detail(f"fitting: iteration {k}, misfit {m:.4f}")
    found = fit(gradient, model.START, report)
    progress.print(
        f"Fit by BFGS: misfit {found.misfits[0]:.2f} to {found.misfits[-1]:.4f} in {len(found.path) - 1} iterations, "
        f"{found.gradients} gradients, {duration(found.seconds)}.\n"
    )
    return found


def _uncertainty(found: Fit, progress: Progress) -> Uncertainty:
    progress.stage(STAGES[5])
    spread = uncertainty(found.x, tier=TIER)
    rows = [("", "start", "fitted", "95% interval", "literature")]
    columns = (model.UNKNOWNS, model.START, found.x, spread.parameters, model.LITERATURE)
    for name, start, x, deviation, known in zip(*columns, strict=True):
        low, high = np.exp([x - 1.96 * deviation, x + 1.96 * deviation])
        interval = f"{low:.3g} to {high:.3g}"
        rows.append((name, f"{np.exp(start):.3g}", f"{np.exp(x):.3g}", interval, "" if known is None else f"{known:g}"))
    _section(progress, "Parameters, with uncertainty from the Hessian (Laplace approximation)", rows)
    return spread


def _draw(folder: Path, found: Fit, spread: Uncertainty, errors: dict[str, Any], progress: Progress) -> None:
    try:
        from fastad.demo.pictures import draw
    except ImportError:
        progress.print("No pictures, because matplotlib is not installed: python -m pip install matplotlib\n")
        return
    for path in draw(folder, found, spread, errors):
        progress.print(f"Picture: {path}")


def _section(progress: Progress, title: str, rows: Sequence[tuple[str, ...]]) -> None:
    progress.print(bold(title))
    for line in table(rows):
        progress.print(line)
    progress.print()
