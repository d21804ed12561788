"""Stiff ODEs and DAEs: `python -m bench.stiff_report [problem …]` measures all contenders of the test set and prints
times at equal accuracy, and gradients.

All contenders of a problem take turns in one process, with tolerances from 10⁻² to 10⁻¹⁰; errors are those of
`bench.stiff.relative_error`, times as in `bench.ode_precision`. The time at an accuracy is interpolated, between two
tolerances that reach it and do not, in the logarithms of both.
"""
import argparse
from pathlib import Path

import numpy as np

from bench.ode_precision import HERE, Contender, Point, compared, read, seconds, write
from bench.ode_report import shown
from bench.stiff import DAES, ODES, Stiff, relative_error
from bench.stiff_contenders import DAE_CONTENDERS, GRADIENTS, ODE_CONTENDERS
from bench.workloads import size

TOLERANCES = 10.0 ** -np.arange(2, size(11, 5))
ACCURACIES = (1e-3, 1e-5, 1e-7)
GRADIENT_TOLERANCE, GRADIENT_SECONDS, ROUNDS = 1e-6, size(0.2, 0.0), size(5, 1)


def with_final(problem: Stiff) -> Stiff:
    """The problem with a final state: of the test set, or else SciPy's at the tightest tolerance."""
    if problem.final is not None:
        return problem
    from dataclasses import replace

    return replace(problem, final=_eliminated(problem))


def _eliminated(problem: Stiff) -> np.ndarray:
    """The final state of the pendulum, from its ODE: the force of the rod follows from position and velocity."""
    from scipy.integrate import solve_ivp

    f, p = problem.rhs(np), problem.p

    def whole(y):
        pull = (y[2] ** 2 + y[3] ** 2 - p[0] * y[1]) / (y[0] ** 2 + y[1] ** 2)
        return np.append(y, pull)

    found = solve_ivp(lambda t, y: f(t, whole(y), p)[:4], (0.0, problem.t1), problem.y0[:4], "DOP853", rtol=1e-13,
                      atol=1e-14)  # fmt: skip
    return whole(found.y[:, -1])


def time_at(points: list[Point], accuracy: float) -> float | None:
    """Seconds that an accuracy takes, between the first point that reaches it and the one before; None if none does."""
    line = sorted(points, key=lambda own: -own.tolerance)
    for before, own in zip([None, *line], line):
        if own.error <= accuracy:
            if before is None or before.error <= own.error:
                return own.seconds
            part = np.log(before.error / accuracy) / np.log(before.error / own.error)
            return float(np.exp((1 - part) * np.log(before.seconds) + part * np.log(own.seconds)))
    return None


def table(problem: Stiff, points: list[Point]) -> str:
    """Times at equal accuracy, and in brackets ratios to the fastest of fastad's methods, in Markdown."""
    names = list(dict.fromkeys(own.contender for own in points))
    at = {name: [time_at([own for own in points if own.contender == name], a) for a in ACCURACIES] for name in names}
    best = [min((at[name][k] for name in names if name.startswith("fastad") and at[name][k]), default=None)
            for k in range(len(ACCURACIES))]  # fmt: skip
    rows = [f"### {problem.title}", "", "| |" + "".join(f" error {a:.0e} |" for a in ACCURACIES)]
    rows.append("| --- " * (1 + len(ACCURACIES)) + "|")
    for name in names:
        cells = ["" if own is None else shown(own) + (f" ({own / least:.3g})" if least else "")
                 for own, least in zip(at[name], best)]  # fmt: skip
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def gradients(problem: Stiff) -> str:
    """Times of a solve and its gradient at one tolerance, of each contender that has gradients."""
    solves = {own.name: own for own in ODE_CONTENDERS}
    calls = {
        own.name: (solves[own.name].make(problem)(GRADIENT_TOLERANCE), own.make(problem)(GRADIENT_TOLERANCE))
        for own in available(GRADIENTS)
    }
    least = {name: [np.inf, np.inf] for name in calls}
    for turn in range(ROUNDS):
        for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
            least[name] = [min(t, seconds(run, GRADIENT_SECONDS / ROUNDS)) for t, run in zip(least[name], calls[name])]
    rows = ["| | solve | gradient | solves |", "| --- | --- | --- | --- |"]
    rows += [f"| {name} | {shown(a)} | {shown(b)} | {b / a:.3g} |" for name, (a, b) in least.items()]
    return "\n".join(rows)


def available(contenders: list[Contender]) -> list[Contender]:
    """Those whose method there is."""
    from fastad.ode.methods import METHODS

    return [own for own in contenders if not own.name.startswith("fastad") or own.name.split()[1] in METHODS]


def measured(problem: Stiff) -> list[Point]:
    contenders = ODE_CONTENDERS if problem.mass is None else DAE_CONTENDERS
    return compared(problem, available(contenders), lambda found: relative_error(problem, found), tolerances=TOLERANCES)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", default=[*ODES, *DAES], help="default: %(default)s")
    parser.add_argument("--gradients", action="store_true", help="gradients only")
    parser.add_argument("--output", type=Path, default=HERE, help="a folder; default: %(default)s")
    options = parser.parse_args(arguments)
    path = options.output / "stiff.csv"
    for name in options.problems:
        problem = with_final((ODES | DAES)[name])
        if not options.gradients:
            points = measured(problem)
            kept = [own for own in read(path) if own.problem != name] if path.exists() else []
            write([*kept, *points], path)
            print(table(problem, points), "", sep="\n", flush=True)
        if problem.mass is None:
            print(gradients(problem), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
