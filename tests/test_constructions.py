"""Arrays made of recorded numbers and arrays: random programs that nest, convert, join, fill and use them have NumPy's
values, shapes and dtypes, and right derivatives, in both tiers."""

import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastad as fad

THOROUGH = os.environ.get("FASTAD_TEST_PROFILE") == "thorough"
DTYPES = ("float", "np.float64", "np.float32", "int", "bool", "None", "'d'", "np.int32")


def listed(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split(";")]


# {s} is a number, {a} an array or a number, {r} a list of numbers, {n} a nested list, {d} a dtype.
NUMBERS = listed("""
x[0]; x[-1]; m[1, 2]; m[0][1]; s; x[1] * s; -s; 2.0 * x[2]; np.sum(x); np.sin(x[0]); math.sin(s); math.exp(-x[1] * x[1])
0.5; 1; -2; True; np.float32(0.25); np.int64(3); max(x[0], s); min(x[1], 0.0); abs(x[2]); sum(x); pow(x[0], 2); x.max()
x[0] > 0; np.float64(1.5); float('0.125'); round(2.6); len(x); x @ x; np.array(s); np.array([s, x[1]])[0]; m.T[2, 0] + 1
""")
MADE = listed("""
np.array({r}); np.array({n}); np.asarray({r}); np.asarray({n}); np.array({r}, dtype={d}); np.array({n}, dtype={d})
np.asarray({r}, {d}); np.array(tuple({r})); np.array({a}); np.array({a}, dtype={d}); np.asarray({a}, dtype={d})
np.array({r}, ndmin=2); np.array({a}, ndmin=3); np.asanyarray({n}); np.ascontiguousarray({n}); np.copy({a})
np.array([*{r}, *{r}]); np.array([{a}, {a}]); np.array([[{s}], [{s}]]); np.array([np.array({r})]); np.array([{a}] * 2)
np.stack([{a}, {a}]); np.stack([{a}, {a}], axis=-1); np.hstack([{a}, {r}]); np.vstack([{r}, {r}]); np.hstack({r})
np.column_stack([{a}, {a}]); np.concatenate([np.atleast_1d({s}), {r}]); np.concatenate([{a}, {a}], axis=None)
np.block([[{a}, {a}]]); np.block([{s}, {r}]); np.append({a}, {s}); np.append({r}, {a}); np.insert({a}, 1, {s})
np.full(3, {s}); np.full((2, 2), {s}, dtype={d}); np.full_like({a}, {s}); np.full_like({a}, {s}, dtype={d})
np.zeros_like({a}) + {s}; np.ones((2, 1)) * {r}; np.eye(3) * {s}; np.diag({r}); np.tile({r}, 2); np.repeat({r}, 2)
np.linspace({s}, {s}, 4); np.outer({r}, {r}); np.meshgrid({r}, {r})[0]; np.broadcast_to({s}, (2, 3)).copy()
np.r_[{s}, {a}, 0:2]; np.c_[{a}, {a}]; np.atleast_2d({r}); np.where({a} > 0, {s}, {a}); np.select([{a} > 0], [{a}], {s})
np.array([k * {s} for k in range(3)]); np.array([[i * {s} + j for j in range(2)] for i in range(2)])
np.fromiter((v * {s} for v in {r}), float); np.array(list(map(float, range(3)))) * {s}; np.array({a}).reshape(-1)
np.array([v for v in x]); np.array([row for row in m]); np.array([*m, {r}[:1] * 3]); np.array(sorted({r}))
np.tri(3) @ np.array([{s}, {s}, {s}]); np.linalg.norm({r}); np.array(m.tolist() if False else m)[0]
""")
USED = listed("""
np.mean({a}); np.std({a}); np.var({a}, axis=0); np.sort({a}, axis=-1); np.max({a}); np.min({a}, axis=0)
{a}.sum(axis=-1); np.median({a}); np.cumsum({a}); np.sin(1.0 * {a}) * {a}; {a} * {s}; {a}.T; {a}[..., 0]; {a}[-1]
{a} + {a}
np.maximum({a}, {s}); np.isfinite({a}) * 1.0; np.clip({a}, -0.5, 0.5); np.interp({a}, [-1.0, 0.0, 1.0], [0.5, {s}, 2.0])
{a}.astype({d}); np.logaddexp({a}, {s}); np.argmax({a}) + {s}; np.any({a} > 0) * {s}; np.dot({r}, {r}); np.ptp({a})
np.prod({a}); {a}.copy()
np.gradient(np.array([{s}, {s}, {s}])); np.quantile({a}, 0.3); np.average({r}, weights=[1.0] * len({r}))
np.ravel({a})
""")
FILLED = listed("""
{t} = np.zeros(3); {t}[0] = {s}; {t}[1:] = {s}|{t} = np.zeros((2, 3)); {t}[0] = {s}; {t}[1, 1:] += {s}
{t} = np.empty(2); {t}[:] = [{s}, {s}]|{t} = np.ones(3, {d}); {t}[1] = {s}|{t} = np.arange(3.0); {t} *= {s}
{t} = np.array({r}); {t}[0] = {s}|{t} = np.array({n}); {t}[..., -1] = {s}; {t}[0] += 1
{t} = [{s}, {s}]; {t}.append({s}); {t} = np.array({t})|{t} = np.eye(2); {t}[0, 1] = {t}[1, 0] = {s}
{t} = np.array({a}); {t}[...] = {s}|{t} = np.full(3, {s}); {t}[[0, 2]] = {s}, {s}|{t} = np.zeros_like({a}); {t} += {s}
{t} = np.array({r}, dtype=float); {t}[{t} > 0.5] = {s}|{t} = np.copy({a}); np.copyto({t}, {s})
""".replace(";", "\0").replace("|", ";"))  # fmt: skip


class Program:
    """A program that makes arrays: its source, as a function of a vector, a matrix and a number."""

    def __init__(self, seed):
        self.rng, self.seed = np.random.default_rng(seed), seed
        self.inputs = self.rng.normal(size=3), self.rng.normal(size=(2, 3)), float(self.rng.normal())
        self.arrays, self.lines, self.numbers = ["x", "m"], [], set()
        wanted = int(self.rng.integers(1, 6))
        for _ in range(10 * wanted):
            if len(self.lines) < wanted:
                self._extend()

    def _one(self, options):
        return str(options[int(self.rng.integers(len(options)))])

    def _fill(self, form):
        """The form with its holes filled, each anew."""
        t = f"t{len(self.lines)}"
        fillers = {
            "{t}": lambda: t, "{s}": lambda: self._one(NUMBERS), "{d}": lambda: self._one(DTYPES),
            "{a}": lambda: self._one(self.arrays[-3:] if self.rng.random() < 0.7 else self.arrays),
            "{r}": self._row, "{n}": self._nested,
        }  # fmt: skip
        for hole, filler in fillers.items():
            while hole in form:
                form = form.replace(hole, filler(), 1)
        return form.replace("\0", ";")

    def _row(self, count=None):
        count = int(self.rng.integers(1, 4)) if count is None else count
        return "[" + ", ".join(self._one(NUMBERS) for _ in range(count)) + "]"

    def _nested(self):
        rows, columns = (int(k) for k in self.rng.integers(1, 4, size=2))
        parts = [self._row(columns) for _ in range(rows)]
        if columns == 3 and self.rng.random() < 0.4:
            parts[-1] = self._one(["x", "m[0]", "tuple(x)", "2 * m[1]"])
        text = ", ".join(parts)
        return f"[[{text}], [{text}]]" if self.rng.random() < 0.15 else f"[{text}]"

    def _extend(self):
        kind, t = self.rng.random(), f"t{len(self.lines)}"
        if kind < 0.2:
            line = self._fill(self._one(FILLED))
        else:
            line = f"{t} = {self._fill(self._one(MADE if kind < 0.7 or len(self.arrays) == 2 else USED))}"
            if "axis" in line and any(a in line for a in self.numbers):
                return  # NumPy lets numbers have an axis
        self.lines.append(line)
        try:
            value = np.asarray(run(self.function(), self.inputs)[-1])
            fine = value.dtype.kind in "fib" and value.size < 60 and value.ndim < 4 and np.all(np.abs(value) < 100)
        except Exception:
            fine = False
        if fine:
            self.arrays.append(t)
            self.numbers |= {t} if not value.ndim else set()
        else:
            self.lines.pop()

    def source(self):
        results = ", ".join(f"t{k}" for k in range(len(self.lines)))
        return "\n    ".join(["def program(x, m, s):", *self.lines, f"return ({results},)"]) + "\n"

    def function(self):
        space = {}
        exec(compile("import math\nimport numpy as np\n" + self.source(), f"<program {self.seed}>", "exec"), space)
        return space["program"]


def run(function, inputs):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(*(x.copy() if isinstance(x, np.ndarray) else x for x in inputs))


def close(found, wanted, tolerance, what):
    assert np.shape(found) == np.shape(wanted), what
    scale = 1 + np.max(np.abs(wanted), initial=0)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def check(seed, tier):
    program = Program(seed)
    if not program.lines:
        return
    text = f"seed {seed}, {tier}\n{program.source()}"
    plain, x = program.function(), program.inputs
    wanted = run(plain, x)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = fad.jit(plain, tier=tier)(*x)
        for a, b in zip(found, wanted, strict=True):
            kinds = [_kept(np.asarray(y).dtype, text) for y in (a, b)]
            assert kinds[0] == kinds[1], f"{a!r}, not {b!r}: {text}"
            close(a, b, 1e-6 if "float32" in text else 1e-11, text)
        smooth = [k for k, y in enumerate(wanted) if np.asarray(y).dtype == float]
        if "float32" not in text and smooth:
            derivatives(lambda *x: tuple(np.asarray(plain(*x)[k]) * 1.0 for k in smooth), x, tier, text)


def _kept(dtype, text):
    """What recordings know of a dtype: one size of integers. A Python float that is an argument is a float64, which
    NumPy does not count where it meets float32."""
    return dtype.kind if dtype.kind == "i" or (dtype.kind == "f" and "float32" in text) else dtype


def derivatives(plain, x, tier, text):
    """Tangents are central differences, and adjoints their transpose."""
    f, rng = fad.jit(plain, tier=tier), np.random.default_rng(1)
    v = [rng.normal(size=np.shape(a)) for a in x]
    _, tangents = fad.jvp(f, x, (*v[:2], float(v[2])))
    u = tuple(rng.normal(size=np.shape(t)) for t in tangents)
    bars = fad.vjp(f, *x)[1](u)
    h = 1e-6
    high, low = (run(plain, [a + s * h * d for a, d in zip(x, v, strict=True)]) for s in (1, -1))
    for t, a, b in zip(tangents, high, low, strict=True):
        close(t, (np.asarray(a) - b) / (2 * h), 1e-4, f"tangent of {text}")
    left, right = (sum(np.vdot(a, b) for a, b in zip(*pair, strict=True)) for pair in ((u, tangents), (bars, v)))
    assert abs(left - right) <= 1e-9 * (1 + abs(left)), f"adjoint of {text}"


@given(st.integers(0, 10**9))
@settings(max_examples=10_000 if THOROUGH else 100)
def test_constructions(seed):
    check(seed, "sweep")


@pytest.mark.parametrize("seed", range(30))
def test_constructions_in_native_code(seed):
    check(seed, "native")
