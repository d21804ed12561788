"""All that is to be shown on a GPU: `python -m bench.cuda [--small] [--skip-tests]`.

Times are those of prepared calls whose arrays stay on the device, the fastest of several, between two synchronisations.
The bandwidth is measured by a copy. What others measured on another card is scaled by bandwidth: a card of twice the
bandwidth of a V100 (900 GB/s) is to take half its time. Figures and the card go to bench/cuda.json. First the tests of
the marker `gpu` are run. diffrax is a peer where it and JAX for GPUs are installed. Without a GPU the command says what
is missing.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import fastad as fad
from bench.functions import determinant
from fastad.execution.cuda.device import current, empty

V100 = 900e9  # bytes a second: NVIDIA, Tesla V100 datasheet
# Seconds for 8.4 million Lorenz trajectories in float32 on a V100: Utkarsh et al. (2024), Automated translation and
# accelerated solving of differential equations on multiple GPU platforms, and Hegedus (2021), MPGOS.
MPGOS = {"fixed": 94e-3, "adaptive": 49e-3}
SIZES = {"trajectories": 8_388_608, "elements": 10_000_000, "matrices": 1_000_000, "lanes": 100_000, "steps": 1000}
SMALL = {"trajectories": 64, "elements": 2048, "matrices": 20, "lanes": 20, "steps": 50}


def fastest(run, repetitions=5):
    """Seconds of the fastest call, the first one, which compiles, left out."""
    device, times = current(), []
    for _ in range(repetitions + 1):
        device.synchronize()
        start = time.perf_counter()
        run()
        device.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def bandwidth(nbytes):
    """Bytes a second that a copy within the device's memory reads and writes."""
    device = current()
    a, b = (empty(device, (nbytes,), np.uint8) for _ in range(2))
    return 2 * nbytes / fastest(lambda: device.copy(b.address, a.address, nbytes, 0))


def lorenz(kind, sizes, dtype=np.float32):
    """The last state of a trajectory, as a function of ρ: 1,000 steps of Tsit5 in [0, 1], or adaptive ones."""
    options = {"step": 1.0 / sizes["steps"]} if kind == "fixed" else {"rtol": 1e-6, "atol": 1e-6}

    def last(rho):
        def rhs(t, y):
            return np.stack([10 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])

        y0 = np.array([1, 0, 0], dtype) + 0 * rho
        return fad.solve_ivp(rhs, (0.0, 1.0), y0, method="Tsit5", t_eval=np.array([1.0]), **options).y[:, -1]

    return last


def ensembles(sizes, speed):
    """Lorenz ensembles in float32, and their gradients."""
    for kind, known in MPGOS.items():
        last = lorenz(kind, sizes)
        rho = np.linspace(0, 21, sizes["trajectories"], dtype=np.float32)
        solve = fastest(fad.vmap(last, device="cuda", tier="native").prepare(rho))
        yield f"Lorenz, {kind}", {"seconds": solve, "of MPGOS, scaled": solve / (known * V100 / speed), "asked": 1.5}
        gradient = fad.vmap(fad.grad(lambda r, last=last: np.sum(last(r) ** 2)), device="cuda", tier="native")
        few = rho[: max(len(rho) // 8, 1)]  # a trajectory's states take memory
        seconds, own = fastest(gradient.prepare(few)), fastest(fad.vmap(last, device="cuda").prepare(few))
        yield f"Lorenz, {kind}, gradient", {"seconds": seconds, "of the solve": seconds / own, "asked": 4.0}


def against_diffrax(sizes, speed):
    """The same ensembles in float64, and their gradients, beside diffrax on the same card."""
    missing = of_diffrax()
    for kind in MPGOS:
        last = lorenz(kind, sizes, np.float64)
        rho = np.linspace(0, 21, max(sizes["trajectories"] // 64, 1))  # diffrax's states take memory too
        own = {"": last, ", gradient": fad.grad(lambda r, last=last: np.sum(last(r) ** 2))}
        for name, f in own.items():
            figures = {"seconds": fastest(fad.vmap(f, device="cuda", tier="native").prepare(rho))}
            if missing is None:
                figures["times diffrax"] = fastest(diffrax_lorenz(kind, sizes, rho, name != "")) / figures["seconds"]
            yield f"Lorenz, {kind}{name}, float64", figures | {"asked": 5.0}
    if missing is not None:
        yield "diffrax", {"missing": missing}


def of_diffrax():
    """Why diffrax cannot be run on the GPU; None where it can."""
    try:
        import diffrax  # noqa: F401
        import jax
    except ImportError as error:
        return f"{error}; pip install diffrax 'jax[cuda13]'"
    return None if jax.default_backend() == "gpu" else "JAX has no GPU here; pip install 'jax[cuda13]'"


def diffrax_lorenz(kind, sizes, rho, gradient):
    """The ensemble's solve, or its gradient, by diffrax's Tsit5 and its default adjoint."""
    import diffrax
    import jax
    import jax.numpy as jnp

    steps = sizes["steps"]
    control = diffrax.ConstantStepSize() if kind == "fixed" else diffrax.PIDController(1e-6, 1e-6)

    def rhs(t, y, rho):
        return jnp.stack([10 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])

    def last(rho):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(rhs), diffrax.Tsit5(), 0.0, 1.0, 1.0 / steps, jnp.array([1.0, 0.0, 0.0]), rho,
            stepsize_controller=control, saveat=diffrax.SaveAt(t1=True), max_steps=2 * steps,
        ).ys[-1]  # fmt: skip

    one = jax.grad(lambda rho: jnp.sum(last(rho) ** 2)) if gradient else last
    run = jax.jit(jax.vmap(one))

    def call():
        with jax.enable_x64(True):
            return jax.block_until_ready(run(there))

    with jax.enable_x64(True):
        there = jnp.asarray(rho)
    return call


def elementwise(sizes, speed):
    """d Σ sin(x)e^(−x²): reads and writes each number once."""
    x = np.random.default_rng(0).normal(size=sizes["elements"])
    run = fad.grad(lambda x: np.sum(np.sin(x) * np.exp(-(x**2))), device="cuda", tier="native").prepare(x)
    seconds = fastest(run)
    yield "d Σ sin(x)e^(−x²)", {"seconds": seconds, "of the bandwidth": 2 * x.nbytes / seconds / speed, "asked": 0.7}


def determinants(sizes, speed):
    """Gradients of determinants by cofactors, beside those of this machine's processor."""
    a = np.random.default_rng(0).normal(size=(sizes["matrices"], 5, 5))
    seconds = fastest(fad.vmap(fad.grad(determinant), device="cuda", tier="native").prepare(a))
    own = fad.vmap(fad.grad(determinant), tier="native").prepare(a)
    own()
    start = time.perf_counter()
    own()
    times = (time.perf_counter() - start) / seconds
    yield "determinants", {"seconds": seconds, "times the processor": times, "asked": 20}


def interpreter(sizes, speed):
    """The same by the interpreter, without compiling the program."""
    a = np.random.default_rng(0).normal(size=(sizes["matrices"], 5, 5))
    run = fad.vmap(fad.grad(determinant), device="cuda", tier="sweep").prepare(a)
    yield "determinants, interpreted", {"seconds": fastest(run)}


def checkpoints(sizes, speed):
    """Bytes and times of checkpoint schedules, predicted and measured."""

    def fall(x):
        return np.sum(fad.fori_loop(0, sizes["steps"], lambda k, y: y + 0.01 * np.sin(y), x))

    schedules = [fad.checkpoint.Revolve(c) for c in (40, 20, 10)]
    found = fad.checkpoint.profile(fall, np.ones(64), schedules=schedules, device="cuda", lanes=sizes["lanes"])
    print(found)
    for x, y in zip(found.schedules, found.schedules[1:], strict=False):  # an adjoint step has numbers of its own
        stored = x.predicted_bytes - y.predicted_bytes
        ratio = (found.memory(x) - found.memory(y)) / stored
        name = f"{x.schedule!r} to {y.schedule!r}"
        yield name, {"seconds": x.measured.fastest, "bytes, measured/predicted": ratio, "asked": 1.05}


SECTIONS = (ensembles, against_diffrax, elementwise, determinants, interpreter, checkpoints)


def measured(sizes):
    """All figures, each printed when it is there."""
    speed = bandwidth(1 << (30 if sizes is SIZES else 16))
    figures = {"card": current().name, "arch": current().arch, "bandwidth": speed}
    print(f"{figures['card']} ({figures['arch']}), {speed / 1e9:,.0f} GB/s by a copy")
    for section in SECTIONS:
        for name, values in section(sizes, speed):
            figures[name] = values
            texts = (x if isinstance(x, str) else f"{x:.4g}" for x in values.values())
            print(f"{name:36}", ", ".join(f"{key} {text}" for key, text in zip(values, texts, strict=True)))
    return figures


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m bench.cuda", description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="smallest sizes, to see whether it runs")
    parser.add_argument("--skip-tests", action="store_true", help="do not run the tests first")
    options = parser.parse_args(arguments)
    if (missing := fad.cuda.missing()) is not None:
        print(f"No GPU can be used: {missing}", file=sys.stderr)
        return 1
    if not options.skip_tests:
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "gpu"], check=True)
    figures = measured(SMALL if options.small else SIZES)
    if not options.small:
        Path(__file__).with_name("cuda.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
