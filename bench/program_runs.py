"""What one waits for a program's gradient, and in how much memory: two processes a program and contender.

- first call: seconds of the first gradient after the imports, recording and compilation included;
- steady call: median of the second half of as many calls as fit in a few seconds (two at least, and the first half is
  left out because code may be compiled while calls go on);
- memory: highest resident memory of all those calls, less what is resident after the imports, of the modules too that
  the library imports only when it is called: a process before, in which the times are taken, tells which. So a library
  is charged for what the program needs of it, whenever it imports;
- total: the same, less what is resident before the imports;
- processes: highest resident memory of the processes that it started, which compile for fastad, added up;
- primal: NumPy's own time of the program, measured afterwards in the same process.
"""
import contextlib
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from bench import isolated, programs

CONTENDERS = ("fastad", "autograd", "jax")
# Threads of BLAS wait for each other by spinning. Where others use the machine too, one evaluation of the `vae` took
# 240 ms with its usual threads and 19 ms with one. JAX does its products by threads of its own.
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "OPENBLAS_NUM_THREADS": "1"}
# Installed packages have their bytecode: without, Python compiles each module that it imports, in time and memory.
BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
TOLERANCE = 1e-8  # of gradients, beside their largest entry: a thousand steps of a program may lose some digits


# ── one contender ────────────────────────────────────────────────────────────────────────────────────────────────
def fastad(name: str, size: str) -> tuple[Callable, Any]:
    import fastad as fad

    f, x = programs.over(name, np, size)
    return fad.value_and_grad(f), x


def autograd(name: str, size: str) -> tuple[Callable, Any]:
    import autograd.numpy
    from autograd import value_and_grad

    f, x = programs.over(name, autograd.numpy, size)
    return value_and_grad(f), x


def jax(name: str, size: str) -> tuple[Callable, Any]:
    import jax
    import jax.numpy

    f, x = programs.over(name, jax.numpy, size)
    compiled = jax.jit(jax.value_and_grad(f))
    return lambda x: jax.block_until_ready(compiled(x)), x


def can_run(name: str, contender: str) -> bool:
    return contender == "fastad" or not programs.in_place(name)


def measured(
    name: str, contender: str, size: str, seconds: float, path: str | None = None, imports: Sequence[str] = ()
) -> dict[str, Any]:
    """The figures of a contender in this process, and the modules that its calls imported; value and gradient go to
    `path`, as an array. The modules `imports` are imported before."""
    programs.over(name, np, size)  # its data import numpy.random
    bare = restarted_peak()
    gradient, x = {"fastad": fastad, "autograd": autograd, "jax": jax}[contender](name, size)
    for module in imports:
        with contextlib.suppress(ImportError):  # one that was made while the program ran
            importlib.import_module(module)
    imported = set(sys.modules)
    before = restarted_peak()
    start = perf_counter()
    found = gradient(x)
    first = perf_counter() - start
    started = processes_peak()
    steady = steady_time(lambda: gradient(x), seconds)
    memory, total, started = peak() - before, peak() - bare, max(started, processes_peak())
    modules = [module for module in sys.modules if module not in imported]
    if path:
        np.save(path, flat(found))
    f, x = programs.over(name, np, size)
    primal = steady_time(lambda: f(x), seconds / 4)
    return {"first": first, "steady": steady, "memory": memory, "total": total, "processes": started, "primal": primal,
            "modules": modules}  # fmt: skip


def steady_time(call: Callable, seconds: float) -> float:
    """Median of the second half of the calls that fit in so many seconds."""
    times, end = [], perf_counter() + seconds
    while len(times) < 2 or perf_counter() < end:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return statistics.median(times[len(times) // 2 :])


def flat(found) -> np.ndarray:
    """Value and gradient, one after the other."""
    value, gradient = found
    leaves = gradient if isinstance(gradient, (tuple, list)) else [gradient]
    return np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in (value, *leaves)])


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────
def restarted_peak() -> int:
    """Bytes resident now; `peak` counts from here where Linux lets it, else from the start of the process."""
    if not sys.platform.startswith("linux"):
        return peak()
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak() -> int:
    """Highest resident memory, in bytes."""
    if sys.platform.startswith("linux"):
        return status("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def processes_peak() -> int:
    """Bytes of the processes started here that still run, at their highest, or of the largest of those that ended."""
    if not sys.platform.startswith("linux"):
        return 0
    import resource

    mine = [task.read_text().split() for task in Path("/proc/self/task").glob("*/children")]
    running = [pid for pids in mine for pid in pids if Path("/proc", pid, "status").exists()]
    ended = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(ended, sum(status("VmHWM", pid) for pid in running))


def status(key: str, process: str = "self") -> int:
    lines = Path("/proc", process, "status").read_text().splitlines()
    found = [line.split()[1] for line in lines if line.startswith(key + ":")]
    return 1024 * int(found[0]) if found else 0  # a process that has just ended has none


# ── all contenders of a program ──────────────────────────────────────────────────────────────────────────────────
def compared(name: str, contenders: tuple[str, ...], size: str, seconds: float, limit: float, cache: str) -> dict:
    """Figures by contender, or a word on why there are none; RuntimeError where gradients differ.

    fastad's native code is compiled anew: `cache` is a folder in which only the sweeps are kept from run to run.
    """
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for contender in contenders:
            results[contender] = one(name, contender, size, seconds, limit, cache, Path(folder))
        found = {own: np.load(path) for own in contenders if (path := Path(folder, f"{own}.npy")).exists()}
    for own, values in found.items():
        agree(name, own, values, found.get("fastad", values))
    return results


def one(name: str, contender: str, size: str, seconds: float, limit: float, cache: str, folder: Path):
    if not can_run(name, contender):
        return "in place"
    forget_native_code(cache)
    run = partial(isolated.run, "program_runs.measured", environment(cache), limit, name=name, contender=contender,
                  size=size, seconds=seconds)  # fmt: skip
    try:
        found = run(path=str(folder / f"{contender}.npy"))
        forget_native_code(cache)
        return found | {"memory": run(imports=found.pop("modules"))["memory"]}
    except subprocess.TimeoutExpired:
        return f"> {limit:g} s"


def environment(cache: str) -> dict[str, str]:
    """Variables of the processes: native code, the sweeps, and Python's bytecode are kept in a folder."""
    return ENVIRONMENT | BYTECODE | {"FASTAD_CACHE_DIR": cache, "PYTHONPYCACHEPREFIX": str(Path(cache, "bytecode"))}


def agree(name: str, contender: str, values: np.ndarray, ours: np.ndarray) -> None:
    """RuntimeError where value or gradient are not fastad's, beside the largest entry of each."""
    for part in (slice(0, 1), slice(1, None)):
        difference, largest = np.abs(values[part] - ours[part]).max(), np.abs(ours[part]).max()
        if not difference <= TOLERANCE * largest:
            raise RuntimeError(f"{name}: {contender} and fastad differ by {difference}, of {largest}")


def slope_is_right(name: str, size: str, found: np.ndarray) -> bool:
    """Whether a gradient has the slope of central differences along a random direction."""
    f, x = programs.over(name, np, size)
    parts = x if isinstance(x, tuple) else (x,)
    rng = np.random.default_rng(0)
    way = tuple(rng.standard_normal(np.shape(part)) for part in parts)

    def at(h: float) -> float:
        moved = tuple(part + h * move for part, move in zip(parts, way))
        return f(moved if isinstance(x, tuple) else moved[0])

    along = np.concatenate([np.ravel(move) for move in way])
    slope, scale = (at(1e-5) - at(-1e-5)) / 2e-5, np.abs(found[1:]) @ np.abs(along)
    return bool(np.isclose(found[0], f(x), rtol=1e-12) and abs(found[1:] @ along - slope) <= 1e-5 * scale)


# ── fastad's cache ───────────────────────────────────────────────────────────────────────────────────────────────
def forget_native_code(cache: str) -> None:
    """Bring a cache back to what it was after `keep_sweeps`."""
    kept = Path(cache, "kept-by-bench")
    if not kept.exists():
        return
    names = set(kept.read_text().splitlines())
    for path in Path(cache, "objects").iterdir():
        if path.name not in names:
            path.unlink()


def keep_sweeps(cache: str, contenders: Sequence[str]) -> None:
    """Compile the sweeps into a cache, once, and note what is in it; and the bytecode of the contenders."""
    subprocess.run([sys.executable, "-m", "fastad", "warmup"], env=os.environ | environment(cache), cwd=isolated.ROOT,
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    for contender in contenders:
        isolated.run("program_runs.measured", environment(cache), name="variational", contender=contender, size="small",
                     seconds=1.0)  # fmt: skip
    Path(cache, "kept-by-bench").write_text("\n".join(path.name for path in Path(cache, "objects").iterdir()))
