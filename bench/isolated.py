"""Figures that need a fresh process: start-up, compilation with cold caches, peak memory.

`run(task, **arguments)` runs a function of this module, or `run("loops.task", …)` one of `bench.loops`, in a new
interpreter and returns its result.
"""
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(task: str, environment: dict[str, str] | None = None, limit: float = 1800, **arguments):
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); from bench import isolated; "
        "print('RESULT' + json.dumps(isolated.find(sys.argv[2])(**json.loads(sys.argv[3]))))"
    )
    command = [sys.executable, "-c", code, str(ROOT), task, json.dumps(arguments)]
    done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, timeout=limit)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT"):
            return json.loads(line.removeprefix("RESULT"))
    raise RuntimeError(f"{task} {arguments} failed:\n{done.stderr[-2000:]}")


def find(task: str):
    """The function of this name."""
    home, _, name = task.rpartition(".")
    return getattr(importlib.import_module(f"bench.{home or 'isolated'}"), name)


# ---- start --------------------------------------------------------------------------------------------------------
def start(repeats: int = 7) -> dict:
    """Medians over fresh processes: `import fastad`, then load a saved function and take its first gradient."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "saved.npz")
        run("save_function", path=path)
        run("first_gradient", path=path)  # fills every cache
        samples = [run("first_gradient", path=path) for _ in range(repeats)]
    medians = {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
    return medians | {"repeats": repeats, "numpy": statistics.median(run("import_numpy") for _ in range(repeats))}


def save_function(path: str) -> None:
    import fastad as fad
    from bench.workloads import BY_NAME

    work = BY_NAME["rosenbrock-100"]
    function = fad.jit(work.numpy_function)
    function(*work.args)
    function.save(path)


def first_gradient(path: str) -> dict:
    from time import perf_counter

    start = perf_counter()
    import fastad as fad

    imported = perf_counter()
    import numpy as np

    x = np.linspace(-1, 1, 100 if not os.environ.get("FASTAD_BENCH_SMALL") else 10)
    ready = perf_counter()
    fad.grad(fad.load(path))(x)
    return {"import": imported - start, "first gradient": perf_counter() - ready}


def import_numpy() -> float:
    from time import perf_counter

    start = perf_counter()
    import numpy  # noqa: F401

    return perf_counter() - start


# ---- scalar programs of several sizes -----------------------------------------------------------------------------
def scaling(sizes) -> list[dict]:
    """Each size in a process of its own, with an empty cache of native code (the numba drivers' cache stays warm)."""
    run("program", rows=sizes[0])  # the drivers
    results = []
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            results.append(run("program", environment={"FASTAD_CACHE_DIR": folder}, rows=rows))
    return results


def program(rows: int) -> dict:
    """Seconds to record, to the first gradients, nanoseconds a row of either tier, bytes a row."""
    from time import perf_counter

    import fastad as fad
    from bench import functions, workloads

    f = workloads.program(rows)(functions)
    (x,) = workloads.program_input(__import__("numpy").random.default_rng(20240229))
    start = perf_counter()
    table = fad.trace(f, x)
    recorded = perf_counter() - start
    result = {"rows": rows, "record": recorded, "table rows": len(table), "table bytes": table.nbytes}
    for tier in ("sweep", "native"):
        transformed = fad.value_and_grad(f, tier=tier)
        start = perf_counter()
        transformed(x)
        result[f"{tier} first gradient"] = perf_counter() - start
        start = perf_counter()
        run = fad.jit(f, tier=tier).prepare(x)
        run()
        result[f"{tier} first value"] = perf_counter() - start
        result[f"{tier} value ns"] = median_ns(run) / rows
        result[f"{tier} value and gradient ns"] = median_ns(transformed.prepare(x)) / rows
    return result


def median_ns(call, samples: int = 9) -> float:
    from bench import timing

    calls = timing.calibrate(call, 0.03, 0.1)
    return 1e9 * statistics.median(timing.sample_time(call, calls) for _ in range(samples))


# ---- memory -------------------------------------------------------------------------------------------------------
def memory(name: str, tier: str) -> dict:
    """Peak of the buffers that value_and_grad holds, by tracemalloc (it sees NumPy's), and the peak RSS."""
    import resource
    import tracemalloc

    import fastad as fad
    from bench.workloads import BY_NAME, leaves

    work = BY_NAME[name]
    differentiated = range(len(leaves(work.args[0])))
    cost = fad.trace(work.numpy_function, *work.args).cost(differentiated)
    predicted = {"sweep": cost.adjoint.sweep_bytes, "native": cost.adjoint.native_bytes}[tier]
    transformed = fad.value_and_grad(work.numpy_function, tier=tier)
    transformed(*work.args)  # recorded, compiled
    tracemalloc.start()
    run = transformed.prepare(*work.args)
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rss = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"workload": name, "tier": tier, "measured": peak, "predicted": predicted, "peak RSS": rss}
