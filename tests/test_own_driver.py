"""A driver that only the tests know: bisection, whose derivatives follow from the implicit function theorem.

This file and bisection_kernel.py are all there is of it: what a driver can do, it can do without a line elsewhere.
"""

import json
import pickle
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from control_tools import both_tiers

import fastad as fad
from fastad.errors import NanError, TableError
from fastad.execution.composites.calling import kernel_of
from fastad.execution.executors import EXECUTORS
from fastad.execution.marshalling import run_part
from fastad.tables.columns import ValueType
from fastad.tables.composites.choices import Lanes
from fastad.tables.composites.driver import Driver, Parameters, filled
from fastad.tables.composites.sub import Sub, emit_joint_inline, flat_sub, packed, slices
from fastad.tables.files.store import load, save
from fastad.tables.passes.cost import cost
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.shown.drawing import to_svg
from fastad.transforms.composite import call_sub

ROOT = Path(__file__).resolve().parent.parent
STEPS = 60


@dataclass(frozen=True, eq=False)
class Bisection(Driver, kind="bisection"):
    """[low | high | θ] to a root x of f(x, θ) between low and high, by halving the bracket."""

    function: Sub | None = None
    steps: int = STEPS
    kernel = "bisection_kernel.run_bisection"

    @staticmethod
    def of(function, steps=STEPS):
        return Bisection(1 + function.n_in, 1, f"root of {function.name}", function=function, steps=steps)

    @property
    def named_parts(self):
        return {"function": self.function}

    @cached_property
    def key(self):
        return f"bisection {self.steps} {self.function.key}"

    @property
    def kind_text(self):
        return f"bisection in {self.steps} steps"

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def parameters(self):
        from bisection_kernel import BISECTION

        n = self.function.n_in
        record = filled(BISECTION, steps=self.steps, parameters=n - 1)
        return Parameters(record, {"function": self.function}, work={"argument": n, "value": 1})

    def _brackets(self, x, run=None):
        """The points at which f is evaluated, and the values; at the end the root."""
        (low, high), theta, sign = x[:2], x[2:], 0.0
        for k in range(self.steps + 1):
            point = np.array([low if k == 0 else (low + high) / 2, *theta])
            value = self.function.evaluate(point, run=run)[0]
            yield point
            if k == 0:
                sign = 1.0 if value > 0 else -1.0
            elif value * sign > 0:
                low = point[0]
            else:
                high = point[0]
        yield np.array([(low + high) / 2])

    def reference(self, x):
        return list(self._brackets(x))[-1]

    def calls(self, x, run=None):
        for k, point in enumerate(list(self._brackets(x, run))[:-1]):
            yield f"step {k} of {self.name}", self.function, point

    @property
    def repetitions(self):
        return self.steps + 1

    def operations(self, of):
        return self.repetitions * of(self.function)

    def work_bytes(self, of):
        return 8 * (self.function.n_in + 1) + of(self.function)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self):
        if not 0 <= self.steps <= 2**20:
            return "a number of steps out of range"
        fits = self.function.n_in >= 1 and self.function.n_out == 1 and not self.function.n_saved
        return None if fits and (self.n_in, self.n_out) == (1 + self.function.n_in, 1) else "other sizes"

    def to_data(self, write):
        return {"function": write(self.function), "steps": self.steps}

    @classmethod
    def from_data(cls, name, data, read):
        function = read(data.get("function"))
        return cls(1 + function.n_in, 1, name, function=function, steps=data.of("steps", int))

    # ── derivation: f(x, θ) = 0, so that dx = -(∂f/∂θ dθ) / (∂f/∂x) ──────────────────────────────────────────────
    def _at_root(self, b, v):
        """The root, (x, θ), and ∂f/∂x there."""
        root, theta = b.call(self, v), slices(b, v, (2, self.n_in - 2))[1]
        point = packed(b, [root, theta])
        along = packed(b, [b.const(np.ones(1)), b.zeros((self.n_in - 2,))])
        return root, point, emit_joint_inline(b, self.function, point, along)[1]

    def emit_joint(self, b, x, dx):
        root, point, slope = self._at_root(b, x)
        moving = packed(b, [b.zeros((1,)), slices(b, dx, (2, self.n_in - 2))[1]])
        change = emit_joint_inline(b, self.function, point, moving)[1]
        return root, b.emit("negative", (b.emit("divide", (change, slope)),))

    def emit_adjoint(self, b, x, u, saved):
        _, point, slope = self._at_root(b, x)
        seed = b.emit("negative", (b.emit("divide", (u, slope)),))
        bar = b.call(self.function.adjoint, packed(b, [point, seed]))
        return packed(b, [b.zeros((2,)), slices(b, bar, (1, self.n_in - 2))[1]])

    def batched(self, size):
        return Lanes.of(self, size)


def ratio(x, theta):
    return theta[0] * x * x - theta[1]


F = flat_sub(fad.trace(ratio, 1.0, np.ones(2)), "ratio")
THETA = np.array([1.3, 2.1])


def root(theta, driver=None):
    """√(θ₁/θ₀)."""
    return call_sub(driver or Bisection.of(F), [0.0, 3.0 + 0 * theta[0], theta], [ValueType((), "d")])[0]


def plain(theta):
    return np.sqrt(theta[1] / theta[0])


def close(a, b, tolerance=1e-11):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@both_tiers
def test_it_computes_and_differentiates_twice(tier):
    close(fad.jit(root, tier=tier)(THETA), plain(THETA))
    close(fad.grad(root, tier=tier)(THETA), fad.grad(plain)(THETA))
    for outer, inner in ((fad.jacfwd, fad.jacrev), (fad.jacrev, fad.jacfwd), (fad.jacrev, fad.jacrev)):
        close(outer(inner(root), tier=tier)(THETA), fad.hessian(plain)(THETA), 1e-10)


@both_tiers
def test_its_kernel_is_its_definition(tier):
    sub = Bisection.of(F, 20)
    for theta in ([1.3, 2.1], [2.0, 0.5]):
        x = np.array([0.0, 2.0, *theta])
        np.testing.assert_array_equal(run_part(kernel_of(sub, EXECUTORS[tier].part), sub, x), sub.reference(x))


@both_tiers
def test_it_batches(tier):
    thetas = np.array([[1.0, 4.0], [2.0, 0.5], [1.3, 2.1]])
    close(fad.vmap(root, tier=tier)(thetas), np.sqrt(thetas[:, 1] / thetas[:, 0]))
    wanted = np.stack([fad.grad(plain)(theta) for theta in thetas])
    close(fad.vmap(fad.grad(root), tier=tier)(thetas), wanted)
    close(fad.grad(lambda t: np.sum(fad.vmap(root)(t)), tier=tier)(thetas), wanted)


@both_tiers
@pytest.mark.parametrize("schedule", [None, fad.checkpoint.Revolve(2), fad.checkpoint.StoreNone()], ids=repr)
def test_it_runs_in_loops_and_is_recomputed(tier, schedule):
    def walked(solve):
        def step(y, e):
            return solve(np.stack([1.0 + y * y, 2.0 + e])), y

        return lambda x: np.sum(np.stack(fad.scan(step, x[0], x, checkpoint=schedule)[1])) ** 2

    x = np.linspace(0.3, 1.2, 5)
    close(fad.grad(walked(root), tier=tier)(x), fad.grad(walked(plain))(x), 1e-9)
    again = fad.grad(lambda t: fad.checkpoint(root)(t) ** 3, tier=tier)(THETA)
    close(again, fad.grad(lambda t: plain(t) ** 3)(THETA))


@both_tiers
def test_it_is_saved_with_its_derivatives(tier, tmp_path):
    for k, f in enumerate((fad.jit(root), fad.grad(root), fad.vmap(root))):
        x = THETA if k < 2 else np.stack([THETA, 2 * THETA])
        value = f(x)
        f.save(tmp_path / "f.npz")
        loaded = fad.load(tmp_path / "f.npz")
        loaded.tier = tier
        close(loaded(x), value)
        close(fad.jacrev(loaded)(x), fad.jacrev(f)(x))
        close(pickle.loads(pickle.dumps(f))(x), value)


def test_it_is_listed_drawn_and_costed():
    table = fad.trace(root, THETA)
    text = str(table)
    assert "root of ratio, bisection in 60 steps" in text and "function: ratio" in text
    assert "bisection in 60 steps" in to_svg(table) and "root of ratio" in table.to_dot()
    a, b = (fad.trace(lambda t, n=n: root(t, Bisection.of(F, n)), THETA).cost().value.once for n in (10, 30))
    assert b.total - a.total == 20 * cost(flat_sub(fad.trace(ratio, 1.0, np.ones(2)), "f").table).value.once.total
    assert table.cost().adjoint.bytes > 0


def test_bad_values_are_found_inside():
    sub = Bisection.of(flat_sub(fad.trace(lambda x, a: np.sqrt(x - a) - 1, 2.0, 0.0), "shifted root"))
    f = fad.jit(lambda a: call_sub(sub, [0.0, 3.0, a], [ValueType((), "d")])[0] * np.sqrt(a - 9))
    with fad.debug.nans(), pytest.raises(NanError, match="sqrt"):
        f(1.0)
    bad = Bisection.of(flat_sub(fad.trace(lambda x, a: x * 0 + a, 2.0, 0.0), "flat"), 3)
    g = fad.jit(lambda a: call_sub(bad, [0.0, a, a], [ValueType((), "d")])[0])
    with fad.debug.nans(), pytest.raises(NanError):
        g(np.nan)


def parts_of(path):
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    return arrays, json.loads(arrays.pop("header").tobytes())


WRONG = {
    "steps": {"steps": -1}, "endless": {"steps": 2**60}, "another type": {"steps": 3.0}, "none": {"steps": None},
    "no function": {"function": None}, "another function": {"function": [99, "f"]}, "a kind": {"kind": "bisections"},
    "another kind": {"kind": "loop"},
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_bad_data_of_it_is_refused(name, tmp_path):
    save(fad.trace(root, THETA), tmp_path / "t.npz")
    arrays, header = parts_of(tmp_path / "t.npz")
    described = header["tables"][-1]["subs"][0]
    assert described["kind"] == "bisection"
    described |= WRONG[name]
    np.savez(tmp_path / "w.npz", header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    with pytest.raises(TableError):
        load(tmp_path / "w.npz")


def test_a_function_of_other_sizes_is_refused():
    two = flat_sub(fad.trace(lambda x, t: np.stack([x, t]), 1.0, 2.0), "two")
    with pytest.raises(TableError, match="other sizes"):
        fad.jit(lambda t: call_sub(Bisection.of(two), [0.0, 1.0, t], [ValueType((), "d")])[0])(1.0)


def test_a_file_with_a_kind_that_was_not_imported_is_refused(tmp_path):
    save(adjoint_table(fad.trace(root, THETA), [0]), tmp_path / "t.npz")
    program = f"""
        from fastad.errors import TableError
        from fastad.tables.files.store import load
        try:
            load({str(tmp_path / "t.npz")!r})
        except TableError as error:
            assert "no driver of the kind 'bisection'" in str(error), error
        else:
            raise AssertionError
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


def test_two_drivers_of_one_kind_are_refused():
    with pytest.raises(TypeError, match="exists"):

        class Other(Driver, kind="bisection"):
            pass


def test_nothing_else_knows_of_it():
    for folder in ("fastad", "kernels"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "bisection" not in path.read_text(encoding="utf-8").lower().replace("the kind 'bisection'", ""), path
