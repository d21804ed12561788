"""Random programs in every executor, at orders one and two, compared with references that share no code with fastad.

    python -m tests.campaign --count 10000            # two processes, a progress line, a report of disagreements
    python -m tests.campaign --seed 1234              # one program: its source, and what disagrees

For each program, at its base point and at others that may take other branches:

- values: plain NumPy = recording = reference interpreter = sweep = native;
- order 1: tangent and adjoint sweeps = derived tables = native = complex step of the program, <u, J v> = <J'u, v>;
- order 2: tangent of the adjoint and adjoint of the adjoint, by sweeps, derived tables and native code = complex step
  of the adjoint table = extrapolated differences of complex steps of the program (to fewer digits); grad of grad;
- JAX as a further reference for gradient and Hessian-vector product, for a fraction of the programs that it can run.

Measure. |found - wanted| <= 1e-12 (scale + |wanted|), where the scale is the largest magnitude in any row of the
table's reference run (values, and adjoints and tangents of all intermediate results): terms of that size are added
and may cancel, so their rounding errors, not the result's own size, bound what any order of evaluation can promise.
"""

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

if __name__ in ("__main__", "tests.campaign"):
    sys.path.insert(0, str(Path(__file__).resolve().parent))

import complex_numpy
from native_tools import Bound
from random_programs import draw_program, minimised

import fastad as fad
from fastad.execution.native import NativeKernel
from fastad.execution.sweeps.kernel import SweepKernel, is_swept
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.reference import evaluate_rows

TOLERANCE, VALUE_TOLERANCE, DIFFERENCE_TOLERANCE = 1e-12, 1e-13, 1e-6
DIFFERENCE_STEP = 2e-5
JAX_EVERY, NATIVE_EVERY = 25, 5  # one program in so many: compared with JAX; with all tables compiled
OWN_PATHS = {"branch", "mask", "recorded index"}  # traits of programs that may take another path at other points


class Disagreement(AssertionError):
    """Two computations of the same value differ."""


def agree(what, found, wanted, scale, tolerance=TOLERANCE):
    """Lists of arrays agree by the measure above; returns the largest error in its units."""
    worst = 0.0
    if len(found) != len(wanted):
        raise Disagreement(f"{what}: {len(found)} results, not {len(wanted)}")
    for k, (x, y) in enumerate(zip(found, wanted, strict=True)):
        x, y = np.asarray(x, float).reshape(-1), np.asarray(y, float).reshape(-1)
        if x.shape != y.shape:
            raise Disagreement(f"{what}: result {k} has {x.size} elements, not {y.size}")
        error = np.max(np.abs(x - y) / (scale + np.abs(y)), initial=0.0)
        if not error <= tolerance:
            raise Disagreement(f"{what}: result {k} is off by {error:.1e} of scale {scale:.1e}: {x[:4]}, not {y[:4]}")
        worst = max(worst, float(error))
    return worst


class Check:
    """One program under test; `errors` are the largest errors met, by what was compared."""

    def __init__(self, program, native_share=NATIVE_EVERY, jax_share=JAX_EVERY):
        self.program = program
        self.all_native = program.seed % native_share == 0
        self.all_transformations = program.seed % 4 == 0 or self.all_native
        self.jax = jax_share and program.seed % jax_share == 0
        self.errors, self.counts = {}, Counter()
        self.rng = np.random.default_rng((program.seed, 5))

    def agree(self, what, *args):
        self.errors[what] = max(self.errors.get(what, 0.0), agree(what, *args))
        self.counts["comparisons"] += 1

    def run(self):
        program = self.program
        points = [program.inputs, program.other_inputs(0)]
        tier = "native" if self.all_native else "sweep"
        value, gradient = (
            fad.jit(program.function, tier=tier),
            fad.value_and_grad(program.loss, tuple(range(len(points[0]))), tier=tier),
        )
        for inputs in points:
            try:
                wanted = [np.array(y, float) for y in program.function(*(x.copy() for x in inputs))]
            except (IndexError, ValueError):  # the shapes after a mask depend on the values
                continue
            if not all(np.all(np.isfinite(y)) and np.all(np.abs(y) < 1e6) for y in wanted):
                continue
            smooth = not program.at_kink(inputs)
            self.counts["points"] += 1
            self.counts["smooth points"] += smooth
            if inputs is program.inputs or program.traits & OWN_PATHS:
                scale = self.tables(inputs, wanted, smooth)
            self.agree("fad.jit", value(*inputs), wanted, scale)
            loss, bars = gradient(*inputs)
            self.agree("value_and_grad: value", [loss], [program.loss(*(x.copy() for x in inputs))], scale)
            if smooth:
                self.agree("value_and_grad: gradient", bars, self.stepped_gradient(inputs), scale)
        if value.stats()["paths"] > 1:
            self.counts["programs with several paths"] += 1
        if self.all_transformations:
            self.transformations()
        return self

    # ── tables ───────────────────────────────────────────────────────────────────────────────────────────────
    def tables(self, inputs, wanted, smooth):
        """All tables in all executors at one point; returns the scale."""
        wrt = list(range(len(inputs)))
        table = fad.trace(self.program.function, *inputs)
        adjoint = adjoint_table(table, wrt)
        tangent = tangent_table(table, wrt)
        second, reverse = tangent_table(adjoint, wrt), adjoint_table(adjoint, wrt)
        v = [self.rng.normal(size=x.shape) for x in inputs]
        u = [self.rng.normal(size=y.shape) for y in wanted]
        outside = list(table.captured)

        rows = evaluate_rows(second, [*inputs, *u, *v, *outside])
        scale = 1.0 + max(float(np.max(np.abs(r), initial=0)) for r in rows)
        if not np.isfinite(scale) or scale > 1e9:
            self.counts["points beyond scale"] += 1
            return 1e9
        reference = [rows[r] for r in second.outputs]
        n, m = len(wanted), len(inputs)
        values, bars, tangents, curved = (
            reference[:n],
            reference[n : n + m],
            reference[n + m : 2 * n + m],
            reference[2 * n + m :],
        )
        self.agree("reference interpreter, value", values, wanted, scale, VALUE_TOLERANCE)
        self.dot_product(u, tangents, bars, v, scale)
        zeros = [np.zeros_like(y) for y in wanted]
        programs = {
            "value": (table, [*inputs, *outside], values),
            "tangent": (tangent, [*inputs, *v, *outside], [*values, *tangents]),
            "adjoint": (adjoint, [*inputs, *u, *outside], [*values, *bars]),
            "tangent of adjoint": (second, [*inputs, *u, *v, *outside], reference),
            "adjoint of adjoint": (reverse, [*inputs, *u, *zeros, *v, *outside], [*values, *bars, *curved]),
        }
        self.sweeps(programs, table, adjoint, wrt, scale)
        self.native(programs, scale)
        if smooth:
            self.judge(inputs, adjoint, u, v, (bars, tangents, curved), scale)
        return scale

    def dot_product(self, u, tangents, bars, v, scale):
        left = sum(np.vdot(a, b) for a, b in zip(u, tangents, strict=True))
        right = sum(np.vdot(a, b) for a, b in zip(bars, v, strict=True))
        self.agree("<u, Jv> = <J'u, v>", [left], [right], scale * max(1, sum(x.size for x in v)))

    def sweeps(self, programs, table, adjoint, wrt, scale):
        """Every table by the value sweep, and the derivative sweeps on the tables they derive from, if they know all of
        its rows."""
        for name, (program, given, wanted) in programs.items():
            self.agree(f"sweep of {name}", executed(SweepKernel(program), given), wanted, scale)
        for name, base, mode in (
            ("tangent", table, "tangent"), ("adjoint", table, "adjoint"),
            ("tangent of adjoint", adjoint, "tangent"), ("adjoint of adjoint", adjoint, "adjoint"),
        ):  # fmt: skip
            if not is_swept(base):
                continue
            _, given, wanted = programs[name]
            self.agree(f"{mode} sweep, {name}", executed(SweepKernel(base, mode, wrt), given), wanted, scale)

    def native(self, programs, scale):
        """The tangent of the adjoint computes everything at once; the other tables are compiled for a share."""
        for name, (program, given, wanted) in programs.items():
            if name == "tangent of adjoint" or self.all_native:
                self.agree(f"native {name}", executed(NativeKernel(program), given), wanted, scale)

    # ── judges ───────────────────────────────────────────────────────────────────────────────────────────────
    def judge(self, inputs, adjoint, u, v, derivatives, scale):
        bars, tangents, curved = derivatives
        self.agree("complex step, tangent", tangents, self.program.push(inputs, v), scale)
        self.agree("complex step, adjoint", bars, self.stepped_adjoint(inputs, u), scale)
        moved = [x + 1j * complex_numpy.STEP * d for x, d in zip(inputs, v, strict=True)]
        stepped = complex_numpy.evaluate(adjoint, [*moved, *u, *adjoint.captured])[len(u) :]
        self.agree(
            "complex step, tangent of adjoint", curved, [np.imag(y) / complex_numpy.STEP for y in stepped], scale
        )

        def slope(shift):
            moved = [x + shift * d for x, d in zip(inputs, v, strict=True)]
            return sum(np.vdot(a, b) for a, b in zip(u, self.program.push(moved, v), strict=True))

        coarse, fine = ((slope(h) - slope(-h)) / (2 * h) for h in (2 * DIFFERENCE_STEP, DIFFERENCE_STEP))
        wanted = (4 * fine - coarse) / 3  # Richardson: the error of either is proportional to the step's square
        found = sum(np.vdot(a, b) for a, b in zip(curved, v, strict=True))
        self.agree("differences of complex steps, order 2", [found], [wanted], scale, DIFFERENCE_TOLERANCE)

    def stepped_adjoint(self, inputs, u):
        """J'u element by element, by complex steps."""
        found = []
        for k, x in enumerate(inputs):
            column = np.empty(x.size)
            for i in range(x.size):
                v = [np.zeros_like(y) for y in inputs]
                v[k].reshape(-1)[i] = 1.0
                column[i] = sum(np.vdot(a, b) for a, b in zip(u, self.program.push(inputs, v), strict=True))
            found.append(column)
        return found

    def stepped_gradient(self, inputs):
        shapes = [np.shape(y) for y in self.program.function(*(x.copy() for x in inputs))]
        return self.stepped_adjoint(inputs, [np.full(s, w) for s, w in zip(shapes, self.program.weights, strict=True)])

    # ── what users call ──────────────────────────────────────────────────────────────────────────────────────
    def transformations(self):
        """jvp, vjp, hvp, grad of grad at the base point; JAX for a share."""
        program, inputs = self.program, tuple(self.program.inputs)
        v = tuple(self.rng.normal(size=x.shape) for x in inputs)
        out, tangents = fad.jvp(program.function, inputs, v)
        wanted = program.push(inputs, v)
        scale = 100.0 * (1 + max(float(np.max(np.abs(y), initial=0)) for y in [*wanted, *out]))
        self.agree("fad.jvp", tangents, wanted, scale)
        u = tuple(np.asarray(self.rng.normal(size=np.shape(y))) for y in out)
        _, pull = fad.vjp(program.function, *inputs)
        right = sum(np.vdot(a, b) for a, b in zip(pull(u), v, strict=True))
        self.agree("fad.vjp", [right], [sum(np.vdot(a, b) for a, b in zip(u, tangents, strict=True))], scale * 10)

        packed = lambda xs: program.loss(*xs)
        curved = fad.hvp(packed, inputs, v)
        along = lambda xs: sum(np.sum(g * d) for g, d in zip(fad.grad(packed)(xs), v, strict=True))
        scale *= 1 + max(float(np.max(np.abs(h), initial=0)) for h in curved)
        self.agree("fad.hvp = grad of grad", fad.grad(along)(inputs), curved, scale)
        if self.jax and not program.traits & {"in-place", "mask", "recorded index"}:
            self.against_jax(inputs, v, curved, scale)

    def against_jax(self, inputs, v, curved, scale):
        try:
            import jax

            jax.config.update("jax_enable_x64", True)
            loss = self.program.namespace("jax")["loss"]
            push = lambda *xs: jax.jvp(jax.grad(loss, tuple(range(len(xs)))), xs, tuple(map(jax.numpy.asarray, v)))
            bars, wanted = push(*map(jax.numpy.asarray, inputs))
        except (ImportError, AttributeError, NotImplementedError, TypeError, ValueError) as error:
            self.counts[f"not judged by JAX: {type(error).__name__}"] += 1
            return
        self.counts["judged by JAX"] += 1
        self.agree("JAX, gradient", fad.grad(self.program.loss, tuple(range(len(v))))(*inputs), bars, scale)
        self.agree("JAX, Hessian times vector", curved, wanted, scale)


def executed(kernel, given):
    """Results of a kernel, by its C signature."""
    bound = Bound(kernel, given)
    code = bound.run()
    if code:
        raise Disagreement(f"{type(kernel).__name__} returned {code}")
    return bound.results


# ── campaigns ─────────────────────────────────────────────────────────────────────────────────────────────────
def check_seed(seed, **shares):
    """(errors, counts, complaint) of one program; the complaint is None if everything agrees."""
    program = draw_program(seed)
    check = Check(program, **shares)
    complaint = None
    with np.errstate(all="ignore"):
        try:
            check.run()
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            complaint = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    check.counts["programs"] += 1
    check.counts.update(program.traits)
    return check.errors, check.counts, complaint


def check_seeds(seeds, **shares):
    return [(seed, *check_seed(seed, **shares)) for seed in seeds]


def campaign(seeds, processes=2, chunk=20, **shares):
    """Check these seeds; returns (worst errors, counts, complaints by seed)."""
    errors, counts, complaints = {}, Counter(), {}
    chunks = [seeds[i : i + chunk] for i in range(0, len(seeds), chunk)]
    start = time.perf_counter()
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(check_seeds, c, **shares): c for c in chunks}
        for future in as_completed(running):
            try:
                found = future.result()
            except BrokenProcessPool:
                complaints[running[future][0]] = (
                    "a process died on a program of this chunk of seeds (or another worker's)"
                )
                continue
            for seed, own, own_counts, complaint in found:
                counts.update(own_counts)
                for what, error in own.items():
                    errors[what] = max(errors.get(what, 0.0), error)
                if complaint:
                    complaints[seed] = complaint
                    print(f"{seed}: {complaint}", file=sys.stderr, flush=True)
            _progress(counts["programs"], len(seeds), len(complaints), time.perf_counter() - start)
    return errors, counts, complaints


def _progress(done, total, bad, seconds):
    left = seconds / max(done, 1) * (total - done)
    text = f"{done:6d} of {total} programs, {bad} disagree, {seconds:5.0f} s, {left:5.0f} s left"
    end = "" if sys.stderr.isatty() else "\n"
    if end == "" or done % 500 < 20:
        print(("\r" if end == "" else "") + text, end=end, file=sys.stderr, flush=True)


def explain(seed, shrink=True, **shares):
    """The program of a seed, shrunk while it has the same kind of complaint."""
    _, _, complaint = check_seed(seed, **shares)
    program = draw_program(seed)
    kind = complaint and complaint.split(":")[:2]

    def fails(smaller):
        with np.errstate(all="ignore"):
            try:
                Check(smaller, **shares).run()
            except Exception as error:
                return f"{type(error).__name__}: {error}".split(":")[:2] == kind
        return False

    if complaint and shrink:
        program = minimised(program, fails)
    print(f"seed {seed}: {complaint or 'agrees'}\n{program.source(True)}")
    print("inputs:", ", ".join(str(x.shape) for x in program.inputs), "\n")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="number of programs")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="check and show this program only")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--jax-every", type=int, default=JAX_EVERY, help="judge one program in so many by JAX (0: none)"
    )
    parser.add_argument("--native-every", type=int, default=NATIVE_EVERY, help="compile all tables of one in so many")
    options = parser.parse_args(arguments)
    shares = {"jax_share": options.jax_every, "native_share": options.native_every}
    if options.seed is not None:
        explain(options.seed, **shares)
        return 0
    seeds = range(options.first, options.first + options.count)
    errors, counts, complaints = campaign(seeds, options.processes, **shares)
    print("\nlargest errors, in units of the measure:")
    for what, error in sorted(errors.items()):
        print(f"  {what:42s} {error:.1e}")
    print("counts:", ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    print(f"{len(complaints)} of {counts['programs']} programs disagree")
    for seed, complaint in sorted(complaints.items()):
        print(f"  {seed}: {complaint}")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
