"""Axes of no elements, in every primitive, statement, loop and derivative: both executors agree with NumPy and with
differences, and nobody gets memory that was not written."""

import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastad as fad
import fastad.execution.kernel
import fastad.execution.marshalling

THOROUGH = os.environ.get("FASTAD_TEST_PROFILE") == "thorough"
SIZES = (0, 0, 1, 2, 3)

# Expressions of one value {x} or two, {x} and {y}; those that NumPy refuses for the shapes at hand are drawn again.
ONE = """
np.sin({x}); {x} * {x}; {x} / (2 + {x} * {x}); -{x}; {x}[:0]; {x}[1:]; {x}[..., :0]; {x}[..., 1:]; {x}[::-1]
{x}.T; {x}[..., None]; {x}.reshape(-1); np.sum({x}); np.sum({x}, axis=0); np.sum({x}, axis=-1, keepdims=True)
np.sum({x}, axis=()); np.prod({x}, axis=0); np.max({x}, axis=0, initial=0.1); np.min({x}, axis=-1, initial=0.1)
np.cumsum({x}, axis=-1); np.cumprod({x}, axis=0); np.repeat({x}, 0, axis=0); np.repeat({x}, 2, axis=-1)
np.tile({x}, 2); np.tile({x}, 0); {x}[np.zeros(0, int)]; {x}[{x} > 9]; np.where({x} > 0, {x}, 2 * {x})
np.where({x} > 9)[0] * 1.0; np.sort({x}, axis=-1); np.argsort({x}, axis=0, kind='stable') * 1.0; np.roll({x}, 1)
np.diff({x}, axis=0); np.diff({x}, axis=-1); np.concatenate([{x}, {x}]); np.stack([{x}, {x}], axis=-1)
np.pad({x}, 1); np.broadcast_to({x}, (2, *{x}.shape)); np.broadcast_to({x}, (0, *{x}.shape))
np.linalg.norm({x}); {x} @ {x}.T; np.outer({x}, {x}); np.einsum('...i,...i->...', {x}, {x})
np.einsum('ij->ji', {x}); np.tensordot({x}, {x}, 0); np.tensordot({x}, {x}, {x}.ndim)
np.take({x}, np.zeros(0, int), axis=0); np.array_split({x}, 3)[-1]; np.delete({x}, slice(None), 0)
np.insert({x}, 0, 0.5, axis=-1); np.compress(np.zeros(0, bool), {x}, axis=0); np.tril({x}); np.diag({x})
np.trace({x}); np.swapaxes({x}, 0, -1); np.squeeze({x}); np.linalg.slogdet({x} @ {x}.T + np.eye(len({x})))[1]
np.linalg.solve({x} @ {x}.T + np.eye(len({x})), {x}); np.linalg.cholesky({x} @ {x}.T + np.eye(len({x})))
np.interp({x}, [0.0, 1.0], [1.0, 3.0]); np.bincount(np.zeros(len({x}), int), {x}, 3)
np.convolve({x}, [1.0, 2.0]); np.kron({x}, {x}); np.searchsorted([0.5, 1.0], {x}) * 1.0
np.count_nonzero({x} > 9) * 1.0; np.any({x} > 9) * 1.0; np.sum({x}[{x} > 9]); np.full_like({x}, 2.0)
np.zeros_like({x}) + 1; np.ravel({x})[:0].reshape(0, 3); np.sum({x}[:0] @ np.ones(({x}.shape[-1], 2)))
np.vander({x}, 3); np.ptp({x}, axis=0); fad.scan(lambda c, r: (0.5 * c + np.sum(r), c * r), 1.0, {x})[0]
fad.scan(lambda c, r: (0.5 * c + np.sum(r), c * r), 1.0, {x})[1]
fad.scan(lambda c, r: (np.sin(c), c[:0] + r), {x}, np.arange(3.0))[0]
fad.scan(lambda c, r: (np.sin(c), c[:1] + r), {x}, np.arange(3.0))[1]
fad.fori_loop(0, 3, lambda i, c: 0.5 * c + np.sum(c) * i, {x}); fad.fori_loop(0, 0, lambda i, c: 0.5 * c, {x})
fad.while_loop(lambda c: np.sum(c * c) > 1, lambda c: 0.5 * c, {x})
fad.cond(np.sum({x}) > 0, lambda c: np.sin(c), lambda c: c * c, {x})
fad.vmap(lambda r: np.sum(np.sin(r)) * r)({x}); fad.vmap(lambda r: np.cumsum(r)[:1] @ r[:1])({x})
fad.vmap(lambda r: np.linalg.solve(np.outer(r, r) + np.eye(len(r)), r))({x}); fad.vmap(lambda r: r[:0])({x})
"""
TWO = """
{x} + {y}; {x} * {y}; np.maximum({x}, {y}); {x} @ {y}; np.dot({x}, {y}); np.concatenate([{x}, {y}])
np.concatenate([{x}, {y}], axis=-1); np.tensordot({x}, {y}, 1); np.where({x} > {y}, {x}, {y})
np.hypot({x}, {y} + 2); np.einsum('ij,jk->ik', {x}, {y}); np.inner({x}, {y})
np.einsum('...i,...i->...', {x}, {y}); np.outer({x}, {y}); np.append({x}, {y}); np.select([{x} > 9], [{y}], {x})
np.vdot({x}, {y}); np.linalg.solve({x} @ {x}.T + np.eye(len({x})), {y}); np.kron({x}, {y})
np.matmul({x}, {y}[..., None])
"""
# Statements that change {t}, a copy of some value.
IN_PLACE = """
{t}[:0] = 5.0; {t}[1:] += 0.5; {t}[..., :0] *= 2; {t}[{t} > 9] = 0.0; {t}[np.zeros(0, int)] = 1.0
{t}[...] = np.sin({t}); np.add.at({t}, np.zeros(0, int), 2.0); {t}[:1] = {t}[-1:]; {t} *= {t}; {t}[::2] = 0.25
{t}.fill(0.5); np.put({t}, np.zeros(0, int), 1.0); {t}[{t} < 9] = {t}[{t} < 9] * 2; np.copyto({t}[:0], 1.0)
{t}[:0] = {t}[:0] + 1; np.multiply({t}, 2.0, out={t}); {t}[..., -1:] -= {t}[..., :1]
"""


def listed(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split(";")]


ONE, TWO, IN_PLACE = listed(ONE), listed(TWO), listed(IN_PLACE)


# ── what control flow means ───────────────────────────────────────────────────────────────────────────────────
def scan(f, init, xs):
    c, rows = init, []
    for x in xs:
        c, y = f(c, x)
        rows.append(y)
    if rows:
        return c, np.array(rows)
    shapes = np.shape(f(init, np.ones(xs.shape[1:]))[1])
    return c, np.zeros((0, *shapes))


def fori_loop(low, high, f, c):
    for i in range(low, high):
        c = f(i, c)
    return c


def while_loop(test, f, c):
    while test(c):
        c = f(c)
    return c


def vmap(f):
    return lambda xs: np.array([f(x) for x in xs]) if len(xs) else np.zeros((0, *np.shape(f(np.ones(xs.shape[1:])))))


MEANING = SimpleNamespace(
    scan=scan, fori_loop=fori_loop, while_loop=while_loop, vmap=vmap, cond=lambda p, f, g, x: f(x) if p else g(x)
)


# ── random programs ───────────────────────────────────────────────────────────────────────────────────────────
class Program:
    """A program over arrays of which many have no elements: its source, as a function of NumPy and of fastad."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.seed = seed
        self.inputs = [self._array() for _ in range(int(self.rng.integers(1, 4)))]
        self.lines, self.shapes = [], [(f"x{i}", x.shape) for i, x in enumerate(self.inputs)]
        wanted = int(self.rng.integers(1, 7))
        for _ in range(20 * wanted):
            if len(self.lines) < wanted:
                self._extend()

    def _array(self):
        shape = self.rng.choice(SIZES, int(self.rng.integers(1, 4)))
        return self.rng.normal(size=shape)

    def _pick(self):
        # Late values more often, so that programs are deep.
        return self.shapes[-1 - int(len(self.shapes) * self.rng.random() ** 2)][0]

    def _extend(self):
        t, x, kind = f"t{len(self.lines)}", self._pick(), self.rng.random()
        if kind < 0.6:
            form = str(self.rng.choice(ONE))
            if not dict(self.shapes)[x] and "axis" in form:
                return  # NumPy lets numbers have an axis
            line = f"{t} = {form.format(x=x)}"
        elif kind < 0.85:
            line = f"{t} = {self.rng.choice(TWO).format(x=x, y=self._pick())}"
        elif dict(self.shapes)[x]:
            line = f"{t} = 1.0 * {x}; {self.rng.choice(IN_PLACE).format(t=t)}"
        else:
            return
        try:
            value = self.run([line])[0][-1]
        except Exception:
            return
        value = np.asarray(value)
        fine = value.dtype == float and value.size < 200 and value.ndim < 5 and np.all(np.isfinite(value))
        if fine and np.max(np.abs(value), initial=0) < 100:
            self.lines.append(line)
            self.shapes.append((t, value.shape))

    def source(self, more=()):
        arguments = ", ".join(f"x{i}" for i in range(len(self.inputs)))
        lines = [*self.lines, *more]
        results = ", ".join(f"t{i}" for i in range(len(lines)))
        return "\n    ".join([f"def program({arguments}):", *lines, f"return ({results},)"]) + "\n"

    def function(self, fad=MEANING, more=()):
        space = {"np": np, "fad": fad}
        exec(compile(self.source(more), f"<program {self.seed}>", "exec"), space)
        return space["program"]

    def run(self, more=()):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return self.function(more=more)(*(x.copy() for x in self.inputs)), None


def close(found, wanted, tolerance, what):
    assert np.shape(found) == np.shape(wanted), what
    scale = 1 + np.max(np.abs(wanted), initial=0)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * scale, err_msg=what)


class Poisoned:
    """NumPy, but memory that is not initialised holds NaN."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(shape, dtype=float):
        return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 77, dtype)


def check(seed, tier):
    """Values, tangents and adjoints of a program against NumPy and central differences."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (fastad.execution.kernel, fastad.execution.marshalling):
            patch.setattr(module, "np", Poisoned())
        compare(seed, tier)


def compare(seed, tier):
    program = Program(seed)
    if not program.lines:
        return
    text = f"seed {seed}, {tier}\n{[x.shape for x in program.inputs]}\n{program.source()}"
    plain, recorded = program.function(), fad.jit(program.function(fad), tier=tier)
    x, rng = program.inputs, np.random.default_rng(seed)
    wanted = program.run()[0]
    v = [rng.normal(size=a.shape) for a in x]
    u = [rng.normal(size=np.shape(y)) for y in wanted]
    found, tangents = fad.jvp(recorded, x, v)
    for a, b in zip(found, wanted, strict=True):
        close(a, b, 1e-10, text)
    bars = fad.vjp(recorded, *x)[1](tuple(u))
    for a, b in zip(bars, x, strict=True):
        assert np.shape(a) == np.shape(b) and np.all(np.isfinite(a)), text
    h = 1e-6
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        high, low = (plain(*(a + s * h * d for a, d in zip(x, v, strict=True))) for s in (1, -1))
    for t, a, b in zip(tangents, high, low, strict=True):
        close(t, (np.asarray(a) - b) / (2 * h), 1e-4, f"tangent of {text}")
    left, right = (sum(np.vdot(a, b) for a, b in zip(*pair, strict=True)) for pair in ((u, tangents), (bars, v)))
    assert abs(left - right) <= 1e-9 * (1 + abs(left)), f"adjoint of {text}"


@given(st.integers(0, 10**9))
@settings(max_examples=10_000 if THOROUGH else 100)
def test_programs_with_empty_axes(seed):
    check(seed, "sweep")


@pytest.mark.parametrize("seed", range(40))
def test_programs_with_empty_axes_in_native_code(seed):
    check(seed, "native")
