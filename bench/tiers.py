"""Whether tier="auto" is as good as the better tier: `python -m bench.tiers [program …]`.

Programs of many small tables, each in a new process for every tier: with the sweeps in the cache but no native code
("new"), with everything there ("warm"), and with an empty cache ("cold"). Seconds of the program, imports not counted.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

TIERS = ("sweep", "native", "auto")
CACHES = ("new", "warm", "cold")

PAUSE = 5.0


def batches(fad, tier: str) -> float:
    """Twenty batch sizes of a network, three calls each."""
    rng = np.random.default_rng(0)
    sizes = (8, 32, 32, 4)
    weights = [(0.3 * rng.normal(size=(m, n)), np.zeros(n)) for m, n in itertools.pairwise(sizes)]

    def loss(weights, x, y):
        for w, b in weights[:-1]:
            x = np.tanh(x @ w + b)
        w, b = weights[-1]
        return np.mean((x @ w + b - y) ** 2)

    gradient, total = fad.value_and_grad(loss, tier=tier), 0.0
    for n in range(10, 30):
        x, y = rng.normal(size=(n, 8)), rng.normal(size=(n, 4))
        for _ in range(3):
            total += float(gradient(weights, x, y)[0])
    return total


def paths(fad, tier: str) -> float:
    """Forty paths of a loop that branches on its values, two calls each."""

    def branchy(x, bits):
        s = np.sum(x)
        for k in range(60):
            s = np.sin(s) * x[k % 3] + 0.5 if bits[k % 6] > 0 else s * s * 0.1 + np.exp(-s * s) - x[k % 3]
        return s

    gradient, total = fad.grad(branchy, tier=tier, roll=False), 0.0
    for k in range(40):
        bits = np.array([(k >> j) & 1 for j in range(6)], float)
        for _ in range(2):
            total += float(np.sum(gradient(np.array([0.3, -0.2, 0.5]), bits)))
    return total


def often(fad, tier: str) -> float:
    """One function of a few hundred rows, called for long."""

    def f(x):
        for k in range(40):
            x = np.sin(x) * 0.9 + 0.01 * k * x * x
        return np.sum(x)

    gradient, x = fad.grad(f, tier=tier, roll=False), np.linspace(0.1, 0.9, 50)
    return sum(float(gradient(x)[0]) for _ in range(20_000))


def ensemble(fad, tier: str) -> float:
    """A gradient by Adam with a new table now and then: steps of one network on batches of five sizes."""
    rng, total = np.random.default_rng(0), 0.0
    gradient = fad.value_and_grad(lambda w, x: np.mean((np.tanh(x @ w) @ w.T - x) ** 2), tier=tier)
    w = 0.1 * rng.normal(size=(20, 10))
    for k in range(10_000):
        value, slope = gradient(w, rng.normal(size=(16 + k // 2_000, 20)))
        w, total = w - 0.001 * slope, total + float(value)
    return total


PROGRAMS = {f.__name__: f for f in (batches, paths, often, ensemble)}


def own_process(name: str, tier: str) -> None:
    """Run a program and print its wall and processor seconds, and its result."""
    import fastad as fad

    start, used = time.perf_counter(), time.process_time()
    result = PROGRAMS[name](fad, tier)
    print(json.dumps([time.perf_counter() - start, time.process_time() - used, result]))


def measured(name: str, tier: str, cache: str) -> list[float]:
    command = [sys.executable, "-m", "bench.tiers", "--own", name, tier]
    out = subprocess.run(command, env={**os.environ, "FASTAD_CACHE_DIR": cache}, check=True, capture_output=True)
    return json.loads(out.stdout)


def compared(name: str, sweeps: str) -> dict[str, dict[str, list[float]]]:
    """Seconds by state of the cache and tier. `sweeps`: a cache with the sweeps."""
    found: dict[str, dict[str, list[float]]] = {cache: {} for cache in CACHES}
    for tier in TIERS:
        with tempfile.TemporaryDirectory() as full:
            shutil.copytree(sweeps, full, dirs_exist_ok=True)
            found["new"][tier] = measured(name, tier, full)
            found["warm"][tier] = measured(name, tier, full)
    for tier in TIERS:
        with tempfile.TemporaryDirectory() as empty:
            found["cold"][tier] = measured(name, tier, empty)
            time.sleep(PAUSE)  # another process goes on to optimise the sweeps
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tiers", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--own", action="store_true", help="run one program in one tier here")
    options = parser.parse_args()
    if options.own:
        own_process(*options.names)
        return
    with tempfile.TemporaryDirectory() as sweeps:
        warm = [sys.executable, "-m", "fastad", "warmup"]
        subprocess.run(warm, env={**os.environ, "FASTAD_CACHE_DIR": sweeps}, check=True, capture_output=True)
        for name in options.names:
            for cache, tiers in compared(name, sweeps).items():
                results = {tier: run[2] for tier, run in tiers.items()}
                assert np.allclose(list(results.values()), results["sweep"], rtol=1e-9), results
                best = min(tiers[tier][0] for tier in ("sweep", "native"))
                shown = "  ".join(f"{tier} {run[0]:6.2f} s ({run[1]:6.2f} CPU)" for tier, run in tiers.items())
                print(f"{name:9} {cache:5} {shown}  auto / better {tiers['auto'][0] / best:5.2f}", flush=True)


if __name__ == "__main__":
    main()
