"""The demonstration: record, measure, check, fit, draw."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastad.demo import measure, model
from fastad.demo.terminal import Progress, bold, duration, table
from fastad.execution.sweeps.kernel import warmup
from fastad.transforms.public import value_and_grad

STAGES = (
    "loading the sweeps", "recording", "timing the sweeps", "compiling native code", "checking", "fitting", "drawing"
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """A fit: parameters, misfits at the start and at the end, and the effort."""

    parameters: np.ndarray
    start: float
    end: float
    iterations: int
    gradients: int
    seconds: float


def main(folder: Path, steps: int = model.STEPS_A_YEAR) -> None:
    """Run the demonstration, with `steps` steps a year, and write its pictures to the folder."""
    start = time.perf_counter()
    progress = Progress(len(STAGES))
    try:
        _run(folder, steps, progress)
    finally:
        progress.close()
    print(f"Finished in {duration(time.perf_counter() - start)}.")


def _run(folder: Path, steps: int, progress: Progress) -> None:
    count = steps * (len(model.YEARS) - 1)
    progress.print(bold("Hares and lynxes, 1900-1920: the Lotka-Volterra model fitted to the Hudson's Bay pelts"))
    progress.print(f"Six unknowns, least squares on logarithms; {count:,} steps of RK4 in a plain NumPy loop.\n")
    x = np.log(model.START)
    function = measure.Stopwatch(lambda q: model.misfit(q, steps))
    gradient = value_and_grad(function, tier="sweep")
    _load_sweeps(progress)
    _record(function, gradient, x, progress)
    _time_tiers(gradient, x, steps, progress)
    _check(gradient, x, progress)
    fit = fit_parameters(gradient, x, progress)
    _show_fit(fit, progress)
    progress.stage(STAGES[6])
    _draw(folder, fit, progress)


# ── recording and speed ───────────────────────────────────────────────────────────────────────────────────────
def _load_sweeps(progress: Progress) -> None:
    progress.stage(STAGES[0])
    modes = ("values", "adjoints")
    taken = measure.seconds(lambda: warmup(lambda what, _: progress.detail(f"{STAGES[0]}: {what}"), modes))
    progress.print(f"Sweeps ready after {duration(taken)} (compiled once for all programs, then cached on disk).\n")


def _record(function: measure.Stopwatch, gradient: Any, x: np.ndarray, progress: Progress) -> None:
    progress.stage(STAGES[1])
    total = measure.seconds(lambda: gradient(x))
    program = measure.recorded(gradient)
    rows = [("", "rows", "bytes", "seconds", "a row")]
    tables, times = (program.request.base, program.table), (function.seconds, total - function.seconds)
    for name, t, taken in zip(("recording", "its gradient, derived"), tables, times, strict=True):
        rows.append((name, f"{len(t):,}", f"{t.nbytes:,}", f"{taken:.2f}", duration(taken / len(t))))
    _section(progress, "Op tables", rows)


def _time_tiers(gradient: Any, x: np.ndarray, steps: int, progress: Progress) -> None:
    program = measure.recorded(gradient)
    rows = [("", "first call", "value", "gradient", "gradient/value")]
    for stage, tier, name in ((2, "sweep", "sweep (interpreted)"), (3, "native", "native (compiled)")):
        progress.stage(STAGES[stage])
        t = measure.tier_timing(program, tier, x)
        rows.append((name, duration(t.first), duration(t.value), duration(t.gradient), f"{t.gradient / t.value:.1f}"))
    plain = measure.median_seconds(lambda: model.misfit(x, steps))
    rows.append(("plain NumPy, by differences", "", duration(plain), duration(12 * plain), "12.0"))
    _section(progress, "Time", rows)


def _check(gradient: Any, x: np.ndarray, progress: Progress) -> None:
    progress.stage(STAGES[4])
    exact = gradient(x)[1]
    differences = measure.central_differences(lambda q: gradient(q)[0], x)
    rows = [("with respect to the logarithm of", "fastad", "differences", "error")]
    for name, a, b in zip(model.UNKNOWNS, exact, differences, strict=True):
        rows.append((name, f"{a:.8f}", f"{b:.8f}", f"{abs(a - b):.0e}"))
    _section(progress, "Gradient at the start, compared with central differences", rows)


# ── fitting ───────────────────────────────────────────────────────────────────────────────────────────────────
def fit_parameters(gradient: Any, x: np.ndarray, progress: Progress | None = None) -> Fit:
    """Minimise the misfit over the logarithms of the parameters: BFGS on exact gradients."""
    from scipy.optimize import minimize

    report = _reporter(progress)
    start = time.perf_counter()
    result = minimize(gradient, x, jac=True, method="BFGS", callback=report)
    taken = time.perf_counter() - start
    return Fit(np.exp(result.x), float(gradient(x)[0]), float(result.fun), result.nit, result.njev, taken)


def _reporter(progress: Progress | None) -> Any:
    if progress is None:
        return None
    progress.stage(STAGES[5])
    done = 0

    def report(intermediate_result: Any) -> None:
        nonlocal done
        done += 1
        progress.detail(f"fitting: step {done}, misfit {intermediate_result.fun:.4f}")

    return report


def _show_fit(fit: Fit, progress: Progress) -> None:
    rows = [("", "start", "fitted", "literature")]
    for name, a, b, known in zip(model.UNKNOWNS, model.START, fit.parameters, model.LITERATURE, strict=True):
        rows.append((name, f"{a:.4g}", f"{b:.4g}", "" if known is None else f"{known:.2g}"))
    _section(
        progress,
        f"Fit by BFGS: misfit {fit.start:.2f} to {fit.end:.4f} in {fit.iterations} iterations, "
        f"{fit.gradients} gradients, {duration(fit.seconds)}",
        rows,
    )


def _draw(folder: Path, fit: Fit, progress: Progress) -> None:
    try:
        from fastad.demo.pictures import draw
    except ImportError:
        progress.print("No pictures, because matplotlib is not installed: python -m pip install matplotlib\n")
        return
    for path in draw(folder, fit):
        progress.print(f"Picture: {path}")


def _section(progress: Progress, title: str, rows: Sequence[tuple[str, ...]]) -> None:
    progress.print(bold(title))
    for line in table(rows):
        progress.print(line)
    progress.print()
