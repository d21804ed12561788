"""Recording: microseconds of processor time a NumPy call, by kind of call and in the programs of `bench/programs`.

`python -m bench.recording [--profile NAME]` prints the table, or a profile of one kind or program.
"""
import argparse
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from bench import programs
from bench.targets import table
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder
from fastad.recording.source import is_ours
from fastad.transforms.call import flatten

CALLS = 300  # of a kind in one recording, each on other operands: equal rows would be one
_INDEX = np.array([4, 0, 2, 2])
_MASK = np.array([True, False, True, True, False])
_SAVED = np.linspace(0.5, 2.0, 5)


def _logsumexp(x):
    top = np.max(x, axis=-1, keepdims=True)
    return np.squeeze(top + np.log(np.sum(np.exp(x - top), axis=-1, keepdims=True)), -1)


# Name: shape of the operands, the code, and how many NumPy calls it is of one operand and the next.
KINDS: dict[str, tuple[tuple[int, ...], Callable, int]] = {
    "x * y + z, numbers": ((), lambda x, y: x * y + x, 2),
    "x * 2.0, numbers": ((), lambda x, y: x * 2.0, 1),
    "x * y + z, vectors": ((5,), lambda x, y: x * y + x, 2),
    "x + captured vector": ((5,), lambda x, y: x + _SAVED, 1),
    "x + number": ((5,), lambda x, y: x + y[0], 2),
    "sin of a number": ((), lambda x, y: np.sin(x), 1),
    "exp": ((5,), lambda x, y: np.exp(x), 1),
    "-x, x**2": ((5,), lambda x, y: -(x**2), 2),
    "A @ B": ((5, 5), lambda x, y: x @ y, 1),
    "A @ v": ((5, 5), lambda x, y: x @ y[0], 2),
    "np.dot, vectors": ((5,), lambda x, y: np.dot(x, y), 1),
    "np.dot, matrices": ((5, 5), lambda x, y: np.dot(x, y), 1),
    "einsum": ((5, 5), lambda x, y: np.einsum("ij,jk->ik", x, y), 1),
    "x[2]": ((5,), lambda x, y: x[2], 1),
    "x[1:4]": ((5,), lambda x, y: x[1:4], 1),
    "X[1:-1, :-2]": ((5, 5), lambda x, y: x[1:-1, :-2], 1),
    "x[:, None]": ((5,), lambda x, y: x[:, None], 1),
    "x[integers]": ((5,), lambda x, y: x[_INDEX], 1),
    "X[:, integers]": ((5, 5), lambda x, y: x[:, _INDEX], 1),
    "X[integers, integers]": ((5, 5), lambda x, y: x[_INDEX, _INDEX], 1),
    "x[mask]": ((5,), lambda x, y: x[_MASK], 1),
    "np.roll": ((5, 5), lambda x, y: np.roll(x, 1, axis=0), 1),
    "np.concatenate": ((5,), lambda x, y: np.concatenate([x, y]), 1),
    "np.stack": ((5,), lambda x, y: np.stack([x, y]), 1),
    "np.array of numbers": ((), lambda x, y: np.array([x, y]), 1),
    "np.sum": ((5, 5), lambda x, y: np.sum(x), 1),
    "np.sum, axis=0": ((5, 5), lambda x, y: np.sum(x, axis=0), 1),
    "np.max, keepdims": ((5, 5), lambda x, y: np.max(x, axis=1, keepdims=True), 1),
    "np.mean, axis=1": ((5, 5), lambda x, y: np.mean(x, axis=1), 1),
    "np.where": ((5,), lambda x, y: np.where(x > y, x, y), 2),
    "np.maximum": ((5,), lambda x, y: np.maximum(x, 0.0), 1),
    "reshape": ((5, 5), lambda x, y: x.reshape(25), 1),
    "X.T": ((5, 5), lambda x, y: x.T, 1),
    "np.transpose": ((2, 3, 4), lambda x, y: np.transpose(x, (2, 0, 1)), 1),
    "np.squeeze": ((5, 1), lambda x, y: np.squeeze(x, 1), 1),
    "np.tile": ((5,), lambda x, y: np.tile(x, (3, 1)), 1),
    "np.outer": ((5,), lambda x, y: np.outer(x, y), 1),
    "np.diag": ((5, 5), lambda x, y: np.diag(x), 1),
    "np.linalg.norm": ((5,), lambda x, y: np.linalg.norm(x), 1),
    "logsumexp": ((5, 5), lambda x, y: _logsumexp(x), 7),
}
PROGRAMS = (
    "character_rnn", "lstm", "hidden_markov", "mixture", "jacobi", "gauss_seidel", "vertical_advection", "fluid",
    "heat_design", "nbody", "variational", "rk4", "bundle_adjustment",
)  # fmt: skip


def kind_time(name: str) -> float:
    """Seconds a NumPy call of this kind."""
    shape, call, count = KINDS[name]
    with Recorder() as recorder, np.errstate(all="ignore"):
        start = Recorded(recorder, recorder.input(np.full(shape, 1.25)))
        operands = [start * (1.0 + 0.001 * k) for k in range(CALLS + 1)]
        call(*operands[:2])
        begin = time.process_time()
        for x, y in pairwise(operands):
            call(x, y)
        return (time.process_time() - begin) / (CALLS * count)


def recorded(name: str, size: str) -> tuple[float, int]:
    """Seconds of the recording of a program, and its rows."""
    function, x = programs.over(name, np, size)
    leaves = flatten(x)[0]
    with Recorder() as recorder, np.errstate(all="ignore"):
        given = iter([Recorded(recorder, recorder.input(leaf)) for leaf in leaves])
        point = tuple(given) if isinstance(x, tuple) else next(given)
        begin = time.process_time()
        function(point)
        return time.process_time() - begin, len(recorder.builder)


def calls_of(name: str, size: str) -> int:
    """How often the program calls NumPy with recorded values: calls of fastad's code from other code."""
    count = 0

    def look(frame, event, argument):
        nonlocal count
        caller = frame.f_back
        if event == "call" and caller is not None and "programs" in caller.f_code.co_filename:
            count += is_ours(frame.f_code)

    sys.setprofile(look)
    try:
        recorded(name, size)
    finally:
        sys.setprofile(None)
    return count


def program_row(name: str, size: str, repeats: int) -> list[str]:
    calls = calls_of(name, size)
    found = [recorded(name, size) for _ in range(repeats)]
    seconds, rows = statistics.median(t for t, _ in found), found[0][1]
    return [name, f"{calls:,}", f"{rows:,}", f"{1e6 * seconds / calls:.1f}", f"{1e6 * seconds / rows:.1f}"]


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.recording", description=__doc__)
    parser.add_argument("--size", choices=("small", "full"), default="full", help="of the programs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--profile", help="a kind or a program")
    options = parser.parse_args(arguments)
    if options.profile:
        return profile(options.profile, options.size)
    times = {name: statistics.median(kind_time(name) for _ in range(options.repeats)) for name in KINDS}
    print(table(["call", "µs"], [[name, f"{1e6 * seconds:.1f}"] for name, seconds in times.items()]))
    print(f"\nmedian of the kinds: {1e6 * statistics.median(times.values()):.1f} µs\n")
    rows = [program_row(name, options.size, options.repeats) for name in PROGRAMS]
    print(table(["program", "calls", "rows", "µs a call", "µs a row"], rows))
    return 0


def profile(name: str, size: str) -> int:
    profiler = cProfile.Profile()
    profiler.runcall(*((kind_time, name) if name in KINDS else (recorded, name, size)))
    pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
    return 0


if __name__ == "__main__":
    sys.exit(main())
