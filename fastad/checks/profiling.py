"""Profiles: what a function and its derivatives cost, predicted from the op table beside measured in each tier."""

import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from fastad.checks.problem import Problem, make_problem
from fastad.checks.profile import LineShare, Measurement, Profile, ProgramProfile
from fastad.errors import TableError
from fastad.execution.compiled import Compiled, Plan, native_work_bytes
from fastad.tables.cost import Cost, cost, count_operations
from fastad.tables.listing import count_text, size_text
from fastad.tables.table import CONST, INPUT, Table
from fastad.transforms.base import Transformed
from fastad.transforms.call import Call, make_call
from fastad.transforms.derivatives import Gradient, Jit, JvpFunction, VjpFunction
from fastad.transforms.jacobians import Jacobian

TIERS = ("sweep", "native")
_FEWEST, _MOST = 5, 1000  # timed calls


def profile(
    f: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0, tiers: Sequence[str] = TIERS,
    seconds: float = 0.1, max_bytes: int = 1 << 30,
) -> Profile:  # fmt: skip
    """Cost of f at args and of its derivatives by some of them: predicted, and measured in each tier.

    For the value, the gradient (of a scalar), a JVP, a VJP and the whole Jacobian by either mode: rows, operations
    (predicted from f's table alone, and counted in the program that runs), peak bytes (the predicted arenas, and the
    executor's work memory with what Python allocates in a call) and median times. With them comes the share of every
    source line of f. Item S6 of the notes, with its Example 17.63.

    Parameters
    ----------
    f, args
        The function and its positional arguments.
    argnums
        Which arguments to differentiate by, as in `fad.grad`.
    tiers
        Which executors are measured: "sweep" (interpreter), "native" (compiled), or both.
    seconds
        How long each program is measured in each tier.
    max_bytes
        Programs that would need more memory are predicted only.

    Returns
    -------
    Profile
        `print(profile)` and notebooks show all of it; `.programs`, `.lines` and `.cost` hold the numbers;
        `.plot(path)` draws predicted beside measured (needs matplotlib).

    Raises
    ------
    DerivativeError
        If f has no floating-point argument or result.

    >>> import numpy as np, fastad as fad
    >>> W = np.eye(10)
    >>> p = fad.profile(lambda x: np.sum(np.tanh(W @ x)), np.ones(10), tiers=["sweep"], seconds=0.01)
    >>> p.mode, [program.name for program in p.programs][:2]
    ('rev', ['value', 'gradient'])
    >>> p["gradient"].operations, p["gradient"].measured["sweep"].seconds < 1
    (430, True)
    """
    unknown = set(tiers) - set(TIERS)
    if unknown:
        raise ValueError(f"tiers are {TIERS}, not {sorted(unknown)}")
    p = make_problem(f, args, (argnums,) if isinstance(argnums, int) else argnums)
    call = make_call(tuple(x[()] for x in p.point), {})
    start = time.perf_counter()
    table = Jit(p.function).program(call).table
    recording = time.perf_counter() - start
    predicted = cost(table, list(range(len(p.point))), native_work_bytes)
    programs = []
    for name, transformed, given, operations in _transformed(p, call, predicted):
        program = transformed.program(given)
        values = [*program.gather(given.inputs), *program.table.captured]
        measured, note = _measure_all(program.plan, values, tiers, seconds, max_bytes)
        own = count_operations(program.table).total
        planned = {tier: planned_bytes(program.plan, tier) for tier in tiers}
        programs.append(ProgramProfile(name, len(program.table), operations, own, planned, measured, note))
    return Profile(p.name, predicted, recording, tuple(programs), tuple(_lines(table)), tuple(tiers))


def _transformed(p: Problem, call: Call, c: Cost) -> Iterator[tuple[str, Transformed, Call, int]]:
    """(name, transformed function, its call, predicted operations) of every program."""
    f, positions = p.function, tuple(range(len(p.point)))
    leaves = tuple(x[()] for x in p.point)
    ones = tuple(np.ones_like(x)[()] for x in p.point)
    seeds = tuple(np.ones_like(x)[()] for x in p.values)
    yield "value", Jit(f), call, c.value.once.total
    if c.m == 1 and p.shapes == [()]:
        yield "gradient", Gradient(_first(f), positions), call, c.adjoint.repeated(1).total
    yield "JVP", JvpFunction(f), make_call((leaves, ones), {}), c.tangent.repeated(1).total
    yield "VJP", VjpFunction(f), make_call((leaves, seeds), {}), c.adjoint.repeated(1).total
    for mode, what, n, predicted in (("fwd", "JVP", c.d, c.jacobian_forward), ("rev", "VJP", c.m, c.jacobian_reverse)):
        yield f"Jacobian, {count_text(n, what)}", Jacobian(f, positions, mode), call, predicted.total


def _first(f: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    return lambda *x: f(*x)[0]


def planned_bytes(plan: Plan, tier: str) -> int:
    """Predicted peak memory besides inputs: of sweeps their arenas, of native code its work memory, and results."""
    if tier == "native":
        return native_work_bytes(plan.table) + 8 * sum(kind.size for kind in plan.results)
    arenas = 1 if plan.mode == "value" else 2
    return 8 * (arenas * _arena(plan.base) + sum(kind.size for kind in plan.sweep_results))


def _arena(table: Table) -> int:
    """Doubles of the arena, also where it would be too large to be made."""
    try:
        return table.arena_size
    except TableError:
        return int(table.sizes.sum())


# ── measuring ─────────────────────────────────────────────────────────────────────────────────────────────────
def _measure_all(
    plan: Plan, values: Sequence[Any], tiers: Sequence[str], seconds: float, max_bytes: int
) -> tuple[dict[str, Measurement], str]:
    measured, notes = {}, []
    for tier in tiers:
        needed = planned_bytes(plan, tier)
        if needed > max_bytes:
            notes.append(f"not run in {tier}: it would take {size_text(needed)}")
        else:
            measured[tier] = measure(plan, values, tier, seconds)
    return measured, "; ".join(notes)


def measure(plan: Plan, values: Sequence[Any], tier: str, seconds: float) -> Measurement:
    """Median time of a call, and its peak memory."""
    program = Compiled(plan, tier)
    binding = program.binding()
    start = time.perf_counter()
    binding.call(values)
    first = time.perf_counter() - start
    calls = int(min(max(seconds / max(first, 1e-7), _FEWEST), _MOST))
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        binding.call(values)
        times.append(time.perf_counter() - start)
    allocated = _allocated(lambda: binding.call(values))
    kernel = binding.kernel
    own = 8 * (kernel.work_size + max((packet.work_size for packet in kernel.packets), default=0))
    return Measurement(median(times), program.compile_seconds, own + allocated, calls, min(times))


def _allocated(call: Callable[[], Any]) -> int:
    """Most bytes that Python and NumPy hold at once for a call."""
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        call()
        return max(tracemalloc.get_traced_memory()[1] - before, 0)
    finally:
        if not running:
            tracemalloc.stop()


# ── shares of source lines ────────────────────────────────────────────────────────────────────────────────────
def _lines(table: Table) -> list[LineShare]:
    """Rows and operations by source line, the largest first."""
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, line in enumerate(table.lines):
        places[line.file, line.number].append(number)
    computed = ~np.isin(table.columns["op"], (INPUT, CONST))
    total = max(count_operations(table).total, 1)
    found = []
    for (file, number), ids in places.items():
        rows = computed & np.isin(table.columns["line"], ids)
        if rows.any():
            operations = count_operations(table, rows)
            share = operations.total / total
            found.append(LineShare(file, number, int(rows.sum()), operations.total, operations.moves, share))
    return sorted(found, key=lambda line: (-line.operations, -line.rows))
