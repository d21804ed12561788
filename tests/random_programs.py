"""Random NumPy programs as Python source, for the campaign that compares executors, derivatives and judges.

A program is drawn statement by statement. Each statement is run at once by plain NumPy at the base point and kept if
its values are finite and of moderate size and if no operand lies at a kink: lines `margin(condition)` in a statement
state that, and are left out of the source that fastad records. Statements come from `random_statements`.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from complex_numpy import STEP, ComplexNumPy
from random_statements import DIMENSIONS, draw_statement
from scipy import special

LARGEST_VALUE, LARGEST_SIZE = 6.0, 300


class Kink(Exception):
    """An operand is too close to where the program has no derivative."""


def _margin(clear):
    if not clear:
        raise Kink


@dataclass(frozen=True)
class Statement:
    """Source lines that define `target`; `traits` say what they use ("in-place", "branch", "mask", "index")."""

    lines: tuple[str, ...]
    target: str
    traits: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Program:
    """A function of the inputs x0, x1, …, which returns a tuple of arrays; `captured` are its outside arrays."""

    seed: int
    inputs: tuple[np.ndarray, ...]
    captured: dict[str, np.ndarray]
    statements: tuple[Statement, ...]
    outputs: tuple[str, ...]
    weights: tuple[float, ...] = field(default=())

    @property
    def traits(self):
        return frozenset().union(*(s.traits for s in self.statements))

    def source(self, margins=False):
        """Text of `program(x0, …)`, and of `loss(x0, …)`, the weighted sum of all its results."""
        names = ", ".join(f"x{i}" for i in range(len(self.inputs)))
        lines = [line for s in self.statements for line in s.lines if margins or "margin(" not in line]
        terms = " + ".join(f"{w!r} * np.sum(out[{k}])" for k, w in enumerate(self.weights)) or "0.0"
        body = "\n    ".join([*lines, f"return ({', '.join(self.outputs)},)"])
        return (
            f"def program({names}):\n    {body}\n\ndef loss({names}):\n    out = program({names})\n    return {terms}\n"
        )

    def namespace(self, kind="numpy", margins=False):
        """The source executed on NumPy ("numpy"), on complex numbers ("complex"), or on jax.numpy ("jax")."""
        captured = dict(self.captured)
        if kind == "complex":
            modules = {"np": ComplexNumPy(np), "special": ComplexNumPy(special)}
            captured = {k: c.astype(complex) if c.dtype.kind == "f" else c for k, c in captured.items()}
        elif kind == "jax":
            import jax

            modules = {"np": jax.numpy, "special": jax.scipy.special}
        else:
            modules = {"np": np, "special": special}
        space = {**modules, **captured, "margin": _margin}
        exec(compile(self.source(margins), f"<program {self.seed}>", "exec"), space)
        return space

    @cached_property
    def _spaces(self):
        return {"numpy": self.namespace(), "complex": self.namespace("complex")}

    @property
    def function(self):
        return self._spaces["numpy"]["program"]

    @property
    def loss(self):
        return self._spaces["numpy"]["loss"]

    def at_kink(self, inputs):
        """Whether the program has no derivative at these inputs, or may have none."""
        try:
            self.namespace(margins=True)["program"](*(x.copy() for x in inputs))
        except Kink:
            return True
        return False

    def push(self, inputs, directions):
        """Directional derivatives of all results, by a complex step."""
        moved = [x + 1j * STEP * v for x, v in zip(inputs, directions, strict=True)]
        return [np.imag(y) / STEP for y in self._spaces["complex"]["program"](*moved)]

    def other_inputs(self, k):
        """The k-th of further points."""
        rng = np.random.default_rng((self.seed, 77, k))
        return tuple(np.asarray(rng.normal(size=x.shape)) for x in self.inputs)


class Draft:
    """A program in the making: what has been defined, with its values at the base point."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        wide = rng.random() < 0.12
        dims = [int(n) for n in rng.choice((17, 33) if wide else DIMENSIONS, 3)]
        shapes = [(), (dims[0],), (dims[0],), (dims[1], dims[0]), (dims[1],), (dims[1], 1)]
        shapes += [] if wide else [(dims[2], dims[1], dims[0]), (dims[0], dims[0]), (dims[0], dims[1])]
        self.dims = dims
        drawn = [shapes[int(i)] for i in rng.integers(len(shapes), size=rng.integers(1, 5))]
        inputs = tuple(np.asarray(rng.normal(size=s)) for s in drawn)
        captured = {f"c{i}": rng.normal(size=shapes[int(rng.integers(1, 5))]) for i in range(2)}
        captured |= {"k0": rng.integers(0, min(dims[0], 3), 3), "k1": rng.permutation(dims[0])}
        self.program = Program(seed, inputs, captured, (), ())
        self.values = {f"x{i}": x for i, x in enumerate(inputs)}
        self.owned, self.count = set(), 0
        self.used = set()

    def add(self):
        """Try one statement; whether it was kept."""
        target = f"t{self.count}"
        drawn = draw_statement(self, target)
        if drawn is None:
            return False
        lines, traits, *rest = drawn
        values = self._run((*self.program.statements, Statement(tuple(lines), target, frozenset(traits))))
        if values is None or target not in values:
            return False
        size = float(np.max(np.abs(values[target]), initial=0))
        if size > LARGEST_VALUE:
            lines = [*lines, f"{target} = {target} * {float(f'{2 / size:.2g}')}"]
            values = self._run((*self.program.statements, Statement(tuple(lines), target, frozenset(traits))))
            if values is None:
                return False
        elif rest and rest[0]:
            self.owned.add(target)
        statement = Statement(tuple(lines), target, frozenset(traits))
        self.program = replace(self.program, statements=(*self.program.statements, statement))
        self.values, self.count = values, self.count + 1
        return True

    def _run(self, statements):
        """Values of all float variables at the base point, or None where they will not do."""
        trial = replace(self.program, statements=statements, outputs=("dict(locals())",))
        try:
            with np.errstate(all="ignore"):
                (found,) = trial.namespace(margins=True)["program"](*(x.copy() for x in self.program.inputs))
        except (Kink, ValueError, IndexError, TypeError, np.linalg.LinAlgError):
            return None
        values = {k: np.asarray(v) for k, v in found.items() if k[0] in "xt"}
        values = {k: v for k, v in values.items() if v.dtype == np.float64}
        fine = all(
            np.all(np.isfinite(v)) and v.size <= LARGEST_SIZE and v.ndim <= 3 and v.size for v in values.values()
        )
        return values if fine else None

    def finished(self):
        """The program with one to three results."""
        made = [s.target for s in self.program.statements]
        count = min(len(made), int(self.rng.choice([1, 1, 2, 3])))
        outputs = [made[-1], *(made[int(i)] for i in self.rng.choice(len(made), count - 1, replace=False))]
        weights = tuple(float(w) for w in np.round(self.rng.uniform(0.5, 1.5, count), 2))
        return replace(self.program, outputs=tuple(outputs), weights=weights)


def draw_program(seed, steps=None):
    """The program of this seed: the same at every call."""
    draft = Draft(seed)
    wanted = int(draft.rng.integers(2, 10)) if steps is None else steps
    for _ in range(40 * wanted):
        if draft.count >= wanted:
            break
        draft.add()
    if not draft.count:
        return draw_program(seed + 1_000_003, steps)
    return draft.finished()


def minimised(program, fails):
    """The program with statements and results left out as long as `fails(program)` holds."""
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(program):
            try:
                smaller.function(*(x.copy() for x in smaller.inputs))
            except Exception:
                continue
            if fails(smaller):
                program, changed = smaller, True
                break
    return program


def _smaller(program):
    for k in range(len(program.outputs)):
        if len(program.outputs) > 1:
            keep = [i for i in range(len(program.outputs)) if i != k]
            yield replace(
                program,
                outputs=tuple(program.outputs[i] for i in keep),
                weights=tuple(program.weights[i] for i in keep),
            )
    for k in reversed(range(len(program.statements))):
        rest = program.statements[:k] + program.statements[k + 1 :]
        yield replace(program, statements=rest)
        if k and len(program.outputs) == 1:
            yield replace(program, statements=program.statements[:k], outputs=(program.statements[k - 1].target,))


def programs():
    """Hypothesis strategy: programs, shrinking to few statements."""
    from hypothesis import strategies as st

    return st.builds(draw_program, st.integers(0, 2**32 - 1), st.integers(1, 9))
