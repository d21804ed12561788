"""Work-precision diagrams of ODE solves: `python -m bench.ode_precision [problem …]`, and `--draw` to draw again only.

Error of the final state against the time of a solve, for tolerances from 10⁻² to 10⁻¹³, absolute and relative alike.
All contenders solve the same problem in the same process in turns; a time is the shortest of all rounds, after
compilation, which is not counted. So that other work on the machine does not count either, it is elapsed time or the
process's CPU time, whichever is shorter. The error is the Euclidean norm of the difference from a reference, divided by
that of the reference. The reference has the tightest tolerances, and how far two of them, of different programs, are
apart is kept and drawn with the errors. Writes precision.csv and precision-PROBLEM.png.
"""
import argparse
import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.ode_contenders import jax_double, of_symbols
from bench.odes import ARENSTORF, PERIOD, PLEIADES, PROBLEMS, Problem, arenstorf, pleiades
from bench.workloads import size

HERE = Path(__file__).resolve().parent
ROUNDS, SAMPLE = size(5, 1), size(20e-3, 0.0)  # of each solve, and the seconds of a round
BATCH = 200e-6  # seconds that calls take together at least, so that reading clocks takes nothing
SLOW = size(0.5, 0.1)  # seconds: no tighter tolerances of a contender that takes longer
TOLERANCES = 10.0 ** -np.arange(2, size(14, 5))

LOTKA, FISHER = PROBLEMS["lv-adaptive"], PROBLEMS["fisher"]
DIAGRAMS = {problem.name: problem for problem in [
    Problem("lotka-volterra", "Lotka–Volterra, t = 10, 2 components", LOTKA.rhs, 10.0, LOTKA.y0, LOTKA.p),
    Problem("pleiades", "Pleiades, t = 3, 28 components", pleiades, 3.0, PLEIADES, np.arange(1.0, 8.0)),
    Problem("arenstorf", "Arenstorf orbit, one period, 4 components", arenstorf, PERIOD, ARENSTORF,
            np.array([0.012277471])),
    Problem("fisher", f"Fisher's equation, t = {FISHER.t1:g}, {len(FISHER.y0):,} cells", FISHER.rhs, FISHER.t1,
            FISHER.y0, FISHER.p),
]}  # fmt: skip

Solve = Callable[[], np.ndarray]  # the final state
Error = Callable[[np.ndarray], float]  # of a final state


@dataclass(frozen=True)
class Contender:
    """`make(problem)` gives a solve for every tolerance."""

    name: str  # of the program and of the method
    make: Callable[[Problem], Callable[[float], Solve]]


# ── the contenders ────────────────────────────────────────────────────────────────────────────────────────────
def of_fastad(method: str) -> Callable:
    def make(problem: Problem) -> Callable[[float], Solve]:
        import fastad as fad

        f, t1 = problem.rhs(np), problem.t1
        run = fad.jit(
            lambda y0, p, tol: fad.solve_ivp(f, (0.0, t1), y0, method, args=(p,), rtol=tol, atol=tol).y[:, -1],
            tier="native",
        ).prepare(problem.y0, problem.p, 1e-3)  # fmt: skip

        def at(tolerance: float) -> Solve:
            def solve():
                run.inputs[2][...] = tolerance
                return run()

            return solve

        return at

    return make


def of_diffrax(solver: str) -> Callable:
    def make(problem: Problem) -> Callable[[float], Solve]:
        jax = jax_double()
        import diffrax

        term = diffrax.ODETerm(problem.rhs(jax.numpy))
        y0, p = jax.numpy.asarray(problem.y0), jax.numpy.asarray(problem.p)

        @jax.jit
        def run(y0, p, tolerance):
            return diffrax.diffeqsolve(
                term, getattr(diffrax, solver)(), 0.0, problem.t1, None, y0, p, saveat=diffrax.SaveAt(t1=True),
                stepsize_controller=diffrax.PIDController(tolerance, tolerance), max_steps=1_000_000,
            ).ys[-1]  # fmt: skip

        return lambda tolerance: lambda: jax.block_until_ready(run(y0, p, tolerance))

    return make


def of_scipy(method: str) -> Callable:
    def make(problem: Problem) -> Callable[[float], Solve]:
        from scipy.integrate import solve_ivp

        f, span = problem.rhs(np), (0.0, problem.t1)
        return lambda tolerance: lambda: solve_ivp(
            f, span, problem.y0, method, args=(problem.p,), rtol=tolerance, atol=tolerance).y[:, -1]  # fmt: skip

    return make


def of_cvodes(options: dict[str, str]) -> Callable:
    """CVODES by CasADi, the right-hand side by its virtual machine."""

    def make(problem: Problem) -> Callable[[float], Solve]:
        def at(tolerance: float) -> Solve:
            run = of_symbols(problem, "solve", {**options, "reltol": tolerance, "abstol": tolerance})
            return lambda: np.asarray(run()).ravel()

        return at

    return make


_FUNCTIONAL = {"linear_multistep_method": "adams", "nonlinear_solver_iteration": "functional"}  # no Jacobians
CONTENDERS = {contender.name: contender for contender in [
    Contender("fastad BS3", of_fastad("BS3")),
    Contender("fastad Tsit5", of_fastad("Tsit5")),
    Contender("fastad Dopri5", of_fastad("Dopri5")),
    Contender("fastad Dopri8", of_fastad("Dopri8")),
    Contender("diffrax Tsit5", of_diffrax("Tsit5")),
    Contender("diffrax Dopri8", of_diffrax("Dopri8")),
    Contender("SciPy RK45", of_scipy("RK45")),
    Contender("SciPy DOP853", of_scipy("DOP853")),
    Contender("CVODES Adams", of_cvodes(_FUNCTIONAL)),
]}  # fmt: skip


# ── measuring ─────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass
class Point:
    problem: str
    contender: str
    tolerance: float
    error: float
    seconds: float


def reference(problem: Problem) -> tuple[np.ndarray, float]:
    """The final state with the tightest tolerances, and its relative distance from SciPy's."""
    from scipy.integrate import solve_ivp

    import fastad as fad

    f, tight = problem.rhs(np), {"args": (problem.p,), "rtol": 3e-14, "atol": 1e-16}
    found, other = (
        solve(f, (0.0, problem.t1), problem.y0, method, **tight).y[:, -1]
        for solve, method in ((fad.solve_ivp, "Dopri8"), (solve_ivp, "DOP853"))
    )
    return found, relative(other, found)


def relative(found: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(found) - right) / np.linalg.norm(right))


def seconds(solve: Solve, sample: float, calls: int = 1) -> float:
    """Seconds of a call: the shortest of what fits into a sample, and of at least one batch of calls."""
    best, until = np.inf, time.perf_counter() + sample
    while True:
        start, own = time.perf_counter(), time.process_time()
        for _ in range(calls):
            solve()
        now = time.perf_counter()
        best = min(best, (now - start) / calls, (time.process_time() - own) / calls)
        if now >= until:
            return best


def first_calls(
    problem: Problem, contender: Contender, error: Error, tolerances: np.ndarray = TOLERANCES
) -> Iterator[tuple[Point, Solve]]:
    """The solves of a contender with their errors, until they are slow; compiles all of them. A solve that fails (where
    a program refuses a tolerance) is left out."""
    at = contender.make(problem)
    for tolerance in tolerances:
        try:
            solve = at(float(tolerance))
            found = error(solve())
        except (ArithmeticError, RuntimeError, ValueError):
            continue
        if not np.isfinite(found):
            continue
        point = Point(problem.name, contender.name, float(tolerance), found, seconds(solve, 0.0))
        yield point, solve
        if point.seconds > SLOW:
            return


def measured(problem: Problem, rounds: int = ROUNDS, sample: float = SAMPLE) -> list[Point]:
    """The points of all contenders, and of the reference."""
    right, distance = reference(problem)
    points = compared(problem, list(CONTENDERS.values()), lambda found: relative(found, right), rounds, sample)
    return [Point(problem.name, "reference", 0.0, distance, 0.0), *points]


def compared(
    problem: Problem, contenders: list[Contender], error: Error, rounds: int = ROUNDS, sample: float = SAMPLE,
    tolerances: np.ndarray = TOLERANCES,
) -> list[Point]:  # fmt: skip
    """The points of contenders, which take turns."""
    solves = [pair for contender in contenders for pair in first_calls(problem, contender, error, tolerances)]
    for turn in range(rounds):
        for point, solve in solves[:: 1 if turn % 2 == 0 else -1]:
            calls = 1 + int(BATCH / point.seconds)
            point.seconds = min(point.seconds, seconds(solve, sample, calls))
    return [point for point, _ in solves]


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────
def read(path: Path) -> list[Point]:
    with path.open(newline="") as file:
        return [Point(row["problem"], row["contender"], *(float(row[key]) for key in ("tolerance", "error", "seconds")))
                for row in csv.DictReader(file)]  # fmt: skip


def write(points: list[Point], path: Path) -> None:
    with path.open("w", newline="") as file:
        to = csv.writer(file, lineterminator="\n")
        to.writerow(["problem", "contender", "tolerance", "error", "seconds"])
        for point in points:
            numbers = (f"{x:.4g}" for x in (point.tolerance, point.error, point.seconds))
            to.writerow([point.problem, point.contender, *numbers])


def main(arguments: list[str] | None = None) -> None:
    from bench.precision_chart import draw

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", default=list(DIAGRAMS), help="default: %(default)s")
    parser.add_argument("--draw", action="store_true", help="draw what has been measured before")
    parser.add_argument("--output", type=Path, default=HERE, help="a folder; default: %(default)s")
    options = parser.parse_args(arguments)
    path = options.output / "precision.csv"
    points = read(path) if path.exists() else []
    for name in options.problems:
        if not options.draw:
            points = [own for own in points if own.problem != name] + measured(DIAGRAMS[name])
            write(points, path)
        found = draw(DIAGRAMS[name].title, [own for own in points if own.problem == name],
                     options.output / f"precision-{name}.png")  # fmt: skip
        print(f"wrote {found}", flush=True)


if __name__ == "__main__":
    main()
