"""`profile`: the cost of a function and of its derivatives, predicted from the op table and measured in each tier."""

import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from fastad.checks.problem import Problem, make_problem
from fastad.checks.profile import LineShare, Measurement, Profile, ProgramProfile
from fastad.execution.compiled import Compiled, native_work_bytes, sweep_work_bytes
from fastad.execution.executors import NATIVE, SWEEP
from fastad.execution.request import Request
from fastad.tables.columns import CONST, INPUT
from fastad.tables.passes.cost import Cost, cost, count_operations
from fastad.tables.shown.listing import count_text, size_text
from fastad.tables.table import Table
from fastad.transforms.base import Transformed
from fastad.transforms.call import Call, make_call
from fastad.transforms.derivatives import Gradient, Jit, JvpFunction, VjpFunction
from fastad.transforms.jacobians import Jacobian

TIERS = (SWEEP.name, NATIVE.name)  # whose memory can be predicted
_FEWEST, _MOST = 5, 1000  # timed calls


def profile(
    f: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0, tiers: Sequence[str] = TIERS,
    seconds: float = 0.1, max_bytes: int = 1 << 30,
) -> Profile:  # fmt: skip
    """The cost of f at args and of its derivatives, predicted and measured in each tier.

    For the value, the gradient (of a scalar), a JVP, a VJP and the Jacobian in either mode, the profile shows
    - rows;
    - operations: predicted from f's table alone, and counted in the program that runs;
    - peak bytes: predicted from arenas or work memory and results, and measured (the executor's work memory and what
      Python allocates in a call);
    - the median time of a call;
    and for every source line of f its share of the operations.

    Parameters
    ----------
    f, args
        The function and its positional arguments.
    argnums
        The arguments to differentiate with respect to, as in `fad.grad`.
    tiers
        The tiers to measure: "sweep" (interpreter), "native" (compiled code), or both.
    seconds
        Time to spend on each program in each tier.
    max_bytes
        Programs that need more memory are predicted but not run.

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
        raise ValueError(f"tiers must be among {TIERS}, not {sorted(unknown)}")
    p = make_problem(f, args, (argnums,) if isinstance(argnums, int) else argnums)
    call = make_call(tuple(x[()] for x in p.point), {})
    start = time.perf_counter()
    table = Jit(p.function).table_program(call).table
    recording = time.perf_counter() - start
    predicted = cost(table, list(range(len(p.point))), native_work_bytes, sweep_work_bytes)
    programs = []
    for name, transformed, given, operations in _transformed(p, call, predicted):
        program = transformed.table_program(given)
        values = [*program.gather(given.inputs), *program.table.captured]
        measured, note = _measure_all(program.request, values, tiers, seconds, max_bytes)
        own = count_operations(program.table).total
        planned = {tier: planned_bytes(program.request, tier) for tier in tiers}
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


def planned_bytes(request: Request, tier: str) -> int:
    """Predicted peak memory besides inputs: of sweeps their arenas, of native code its work memory, and results."""
    return _PLANNED[tier](request)


def _sweep_bytes(request: Request) -> int:
    arenas = sweep_work_bytes(request.base, request.mode, request.wrt)
    return arenas + 8 * sum(kind.size for kind in request.all_results)


def _native_bytes(request: Request) -> int:
    return native_work_bytes(request.table) + 8 * sum(kind.size for kind in request.results)


_PLANNED: dict[str, Callable[[Request], int]] = {SWEEP.name: _sweep_bytes, NATIVE.name: _native_bytes}


# ── measuring ─────────────────────────────────────────────────────────────────────────────────────────────────
def _measure_all(
    request: Request, values: Sequence[Any], tiers: Sequence[str], seconds: float, max_bytes: int
) -> tuple[dict[str, Measurement], str]:
    measured, notes = {}, []
    for tier in tiers:
        needed = planned_bytes(request, tier)
        if needed > max_bytes:
            notes.append(f"not run in {tier}: it would take {size_text(needed)}")
        else:
            measured[tier] = measure(request, values, tier, seconds)
    return measured, "; ".join(notes)


def measure(request: Request, values: Sequence[Any], tier: str, seconds: float) -> Measurement:
    """Median time of a call, and its peak memory."""
    program = Compiled(request, tier)
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
    own = 8 * (kernel.work_size + max((callee.work_size for callee in kernel.callees), default=0))
    return Measurement(median(times), program.compile_seconds, own + allocated, calls, min(times))


def measure_on_device(request: Request, values: Sequence[Any], lanes: int, seconds: float) -> Measurement:
    """The same on the GPU, where `lanes` threads compute this at once: bytes are those of their local memory, where the
    compiled kernel keeps all it needs."""
    from fastad.execution.cuda.device import array, current
    from fastad.execution.cuda.executors import COMPILED, Kernel
    from fastad.execution.cuda.interpreter.program import Strided
    from fastad.execution.cuda.lanes import LaneProgram, Lanes

    device = current()
    program = LaneProgram(request, Lanes(lanes, (None,) * len(request.inputs), (0,) * len(request.results)), COMPILED)
    given = [Strided(array(device, np.asarray(x)), 0) for x in values]
    results, times = program.results(device, 0), list[float]()
    while len(times) < _FEWEST or (sum(times) < seconds and len(times) < _MOST):
        start = time.perf_counter()
        program.run(device, given, 0, results)
        device.synchronize()
        times.append(time.perf_counter() - start)
    runner = program.choice(device, given, results).runner()
    assert isinstance(runner, Kernel)
    rest = times[1:]  # the first one compiles
    return Measurement(median(rest), program.compile_seconds, lanes * runner.made.nbytes, len(rest), min(rest))


def _allocated(call: Callable[[], Any]) -> int:
    """The largest number of bytes that Python and NumPy have allocated at once during a call."""
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
    """Rows and operations of each source line, the most expensive first."""
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
