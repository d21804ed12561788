"""Figures of ODEs: `python -m bench.ode_report [problem …]` measures all contenders and prints a table for RESULTS.md.

Every problem is measured by a process of its own for each library, the libraries in turns; a figure is the shortest of
all rounds, since other work on the machine only adds to times.
"""
import json
import subprocess
import sys
import time

import numpy as np

from bench.ode_contenders import CONTENDERS
from bench.odes import PROBLEMS

ROUNDS, SECONDS = 5, 0.4


def flat(result) -> np.ndarray:
    """A result, or a pair of them, as one vector."""
    pair = result if isinstance(result, tuple | list) else (result,)
    return np.concatenate([np.asarray(x, float).ravel() for x in pair])


def timed(call) -> float:
    """Seconds of a call: the shortest within a fraction of a second."""
    best, until = np.inf, time.perf_counter() + SECONDS
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > until:
            return best


def measured(name: str, problem: str) -> dict[str, float]:
    """Seconds of both calls of a contender in this process, and of the first gradient (compilation included)."""
    found: dict[str, float] = {}
    for what in ("solve", "gradient"):
        start = time.perf_counter()
        call = CONTENDERS[name][1](PROBLEMS[problem], what)
        if call is None:
            continue
        call()
        found[f"first {what}"] = time.perf_counter() - start
        found[what] = timed(call)
    return found


def isolated(name: str, problem: str) -> dict[str, float]:
    """`measured` in a new process."""
    code = f"import json; from bench.ode_report import measured; print(json.dumps(measured({name!r}, {problem!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 and done.stdout else {}


def table(problem: str, rounds: int = ROUNDS) -> str:
    """The rows of a problem, in Markdown: times, and ratios to fastad's."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for turn in range(rounds):
        for name in list(CONTENDERS)[:: 1 if turn % 2 == 0 else -1]:
            samples[name].append(isolated(name, problem))
    rows = [f"### {PROBLEMS[problem].title}", "", "| | solve | ratio | gradient | ratio | first gradient |"]
    rows.append("| --- " * 6 + "|")
    least = {
        name: {key: min(own[key] for own in found if key in own) for key in found[0]}
        for name, found in samples.items() if found and found[0]
    }  # fmt: skip
    ours = least.get("fastad", {})
    for name, own in least.items():
        cells = [name]
        for what in ("solve", "gradient"):
            known = what in own
            cells.append(shown(own[what]) if known else "")
            cells.append(f"{own[what] / ours[what]:.3g}" if known and what in ours else "")
        cells.append(shown(own["first gradient"]) if "first gradient" in own else "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def shown(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PROBLEMS:
        print(table(chosen), flush=True)
        print()
