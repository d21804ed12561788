"""Equations as rows: `solve_equation` records what solves F(x, θ) = 0 as one row with the implicit derivatives.

Everything that is defined by an equation comes from here: roots, fixed points, and, by their conditions of optimality,
minima. The iteration itself is plain NumPy, on vectors, with `System` for what it needs of the equation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.control.parts import Part, Shared, concrete, flatten_state, kind_of, numeric, record_part
from fastad.control.paths import Recordings, along_paths
from fastad.equations.equation import Equation
from fastad.equations.linear import LinearSolver, Point, default_solver
from fastad.equations.rules import ImplicitRules, Sizes
from fastad.errors import ShapeError
from fastad.recording.operands import as_recorded, is_recorded, recorder_of, to_ref
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line, user_line
from fastad.tables.builder import Ref
from fastad.tables.columns import DTYPES, ValueType
from fastad.tables.composites.sub import Sub
from fastad.transforms.call import Call, make_call, unflatten
from fastad.transforms.composite import call_sub


class System:
    """F(x, θ) = 0 at a fixed θ, while its solver is recorded: functions of recorded vectors."""

    def __init__(
        self, equation: Equation, linear: LinearSolver, theta: Any, plan: Any, rebuild: Callable[[Any], Any],
        unrolled: bool = False,
    ) -> None:  # fmt: skip
        self.equation, self.linear, self.theta, self.unrolled = equation, linear, theta, unrolled
        self.plan, self._rebuild = plan, rebuild

    def unrolling(self) -> "System":
        """The same, whose solver's steps are differentiated."""
        return System(self.equation, self.linear, self.theta, self.plan, self._rebuild, unrolled=True)

    @property
    def args(self) -> Any:
        """The user's arguments, which are the first of θ."""
        return self._rebuild(self.theta)

    @property
    def n(self) -> int:
        """The number of unknowns."""
        return self.equation.n

    def residual(self, x: Any) -> Any:
        """F(x, θ)."""
        return self._rows(lambda at: at.residual(), x)

    def jacobian(self, x: Any) -> Any:
        """The matrix F_x(x, θ)."""
        return self._rows(lambda at: at.matrix(), x)

    def sizes(self, x: Any, v: Any) -> Any:
        """|F_x| v."""
        return self._rows(self.linear.sizes, x, v)

    def norm(self, x: Any) -> Any:
        """The 1-norm of F_x."""
        return self._rows(self.linear.norm, x)

    def along(self, x: Any, v: Any, *, wrt: int = 0) -> Any:
        """F_x v, or F_θ v (wrt=1)."""
        return self._rows(lambda at, v: at.along(v, wrt=wrt), x, v)

    def pulled(self, x: Any, u: Any, *, wrt: int = 0) -> Any:
        """F_xᵀ u, or F_θᵀ u (wrt=1)."""
        return self._rows(lambda at, u: at.pulled(u, wrt=wrt), x, u)

    def factor(self, x: Any) -> Any:
        """The vector of factors of F_x(x, θ)."""
        return self._rows(self.linear.factor, x)

    def solve(self, x: Any, factor: Any, rhs: Any, *, transposed: bool = False) -> Any:
        """F_x⁻¹ rhs, or F_x⁻ᵀ rhs, by the factors at x; not to be differentiated, unless the steps are unrolled."""

        def rows(at: Point, factor: Ref, rhs: Ref) -> Ref:
            return self.linear.solve(at, factor, rhs, transposed=transposed, derived=self.unrolled)

        return self._rows(rows, x, factor, rhs)

    def checked(self, x: Any, residual: Any, status: Any) -> Any:
        """The vector x; an error where the status, a number, is not 0 (see `fastad.primitives.equations`)."""

        def rows(at: Point, residual: Ref, status: Ref) -> Ref:
            return at.b.emit("solved", (at.x, residual, status), (1, at.n, at.n, 1), (at.n,))

        return self._rows(rows, x, residual, status)

    def _rows(self, emit: Callable[..., Ref], x: Any, *others: Any) -> Recorded:
        recorder = recorder_of([x, self.theta, *others])
        x, theta, plan, *refs = (to_ref(recorder, v) for v in (x, self.theta, self.plan, *others))
        recorder.builder.source_line(user_line())
        ref = emit(Point(recorder.builder, self.equation, x, theta, plan), *refs)
        recorder.settle()
        return Recorded(recorder, ref)


@dataclass(frozen=True)
class Iterate:
    """What a solver returns: x + correction is the solution, as vectors; the factors are those of F_x at x, which serve
    the derivatives. A status (see `fastad.primitives.equations`), and numbers about the run."""

    x: Any
    correction: Any
    status: Any
    facts: dict[str, Any]
    factor: Any


Solver = Callable[..., Iterate]  # (system, first x, *own)


@dataclass(frozen=True)
class Found:
    """The solution, recorded: x in the user's structure, what the solver returned, and the equation with its parameters
    as a system."""

    x: Any
    point: Any
    correction: Any
    status: Any
    facts: dict[str, Any]
    factor: Any
    system: System
    unknowns: "Unknowns"

    @property
    def residual(self) -> Any:
        """F at the solution, as a vector."""
        return self.system.residual(self.solution)

    @property
    def solution(self) -> Any:
        """The solution as a vector."""
        return self.point + self.correction


def solve_equation(
    name: str, residual: Callable[..., Any], solver: Solver, x0: Any, args: Sequence[Any], own: Sequence[Any] = (),
    linear: Callable[[int], LinearSolver] = default_solver, *, unrolled: bool = False,
) -> Found:  # fmt: skip
    """Record the solution x of residual(x, *args) = 0 as one row, with derivatives by args and by what `residual`
    refers to; or, if `unrolled`, the steps of the solver, which are differentiated then.

    x0 is a pytree; `residual` returns as many numbers, in any structure. `solver(system, x, *own)` gets the equation
    on vectors, the first x and the numbers `own`, and returns an `Iterate`; it is recorded, not differentiated.
    `linear(n)` chooses how linear systems are solved.
    """
    unknowns = Unknowns.of(x0, name)
    recordings, call = _recorded(unknowns, residual, args, name)
    own = [np.reshape(v, np.shape(v)).astype(np.float64) for v in own]  # a row takes floats only

    def attempt() -> _Stated:
        return _Stated.of(recordings, call, unknowns, solver, own, linear)

    stated = along_paths(recordings, attempt)
    return stated.unrolled(solver, own) if unrolled else stated.row(own)


def _recorded(
    unknowns: "Unknowns", residual: Callable[..., Any], args: Sequence[Any], name: str
) -> tuple[Recordings, Call]:
    """The residual of vectors, recorded: a function of the inputs of the call of (x, args)."""
    call, flat = make_call((unknowns.first, tuple(args)), {}), unknowns.flat(residual, name)

    def of_inputs(*inputs: Any) -> Any:
        return flat(*call.rebuild(list(inputs))[0])

    return Recordings(of_inputs, call.concrete().inputs, name, residual), call


@dataclass(frozen=True)
class _Stated:
    """An equation with the paths of its residual that are known, its parameters, and its solver, recorded with them."""

    unknowns: "Unknowns"
    system: System
    values: list[Any]  # θ, piece by piece
    step: Part
    names: list[str]  # of the facts

    @staticmethod
    def of(
        recordings: Recordings, call: Call, unknowns: "Unknowns", solver: Solver, own: Sequence[Any],
        linear: Callable[[int], LinearSolver],
    ) -> "_Stated":  # fmt: skip
        n, name, kinds = unknowns.n, recordings.name, recordings.parts[0].lead
        shared = Shared(recordings.parts)
        values = [*call.inputs[1:], *shared.values]
        equation = Equation.of(n, recordings.sub(shared, kinds, [ValueType((n,), "d")]))
        theta = _vector(values)
        chosen, plan = linear(n).prepare(equation, *(concrete(v) for v in (unknowns.first, theta)))
        names: list[str] = []

        def rebuild(theta: Any) -> Any:
            return call.rebuild([unknowns.first, *_pieces(theta, kinds[1:])])[0][1]

        def run(x: Any, theta: Any, plan: Any, *own: Any) -> Any:
            system = System(equation, chosen, theta, plan, rebuild)
            found = solver(system, x, *own)
            if recordings.branches:
                system.residual(found.x + found.correction)  # the path there must be known, too
            names[:] = found.facts
            numbers = [np.reshape(np.asarray(v, like=x), (1,)) for v in (found.status, *found.facts.values())]
            return np.concatenate([found.x, found.correction, *numbers, found.factor])

        step = record_part(run, (unknowns.first, theta, plan, *own), name)
        return _Stated(unknowns, System(equation, chosen, theta, plan, rebuild), values, step, names)

    def unrolled(self, solver: Solver, own: Sequence[Any]) -> Found:
        """The steps of the solver."""
        system = self.system.unrolling()
        found = solver(system, self.unknowns.first, *own)
        x = self.unknowns.tree_of(found.x + found.correction)
        return Found(
            x, found.x, found.correction, found.status, found.facts, found.factor, system, self.unknowns
        )  # fmt: skip

    def row(self, own: Sequence[Any]) -> Found:
        """The solver as one row."""
        n, system, step, more = self.unknowns.n, self.system, self.step, Shared([self.step])
        equation, linear = system.equation, system.linear
        own_size = sum(np.size(x) for x in own) + more.size
        sizes = Sizes(n, equation.p, linear.plan_size, own_size, len(self.names), linear.factor_size(n))
        sub = more.sub(step, step.lead, [ValueType((sizes.ends[1],), "d")])
        sub = Sub(sub.n_in, sub.n_out, step.name, sub.table, rules=ImplicitRules(equation, sizes, linear))
        lengths = (n, n, 1, sizes.facts, sizes.factors)
        operands = [self.unknowns.first, *self.values, system.plan, *own, *more.values]
        x, correction, status, facts, factor = call_sub(sub, operands, [ValueType((k,), "d") for k in lengths])
        numbers = {name: facts[k] for k, name in enumerate(self.names)}
        tree = self.unknowns.tree_of(x + correction)
        return Found(tree, x, correction, status[0], numbers, factor, system, self.unknowns)


def _pieces(vector: Any, kinds: Sequence[ValueType]) -> list[Any]:
    """A vector cut into values of these types."""
    found, start = [], 0
    for kind in kinds:
        found.append(np.reshape(vector[start : start + kind.size], kind.shape).astype(DTYPES[kind.dtype]))
        start += kind.size
    return found


def _vector(values: Sequence[Any]) -> Any:
    """Values of any shapes as one vector."""
    return np.concatenate([np.ravel(x).astype(np.float64) for x in values]) if values else np.zeros(0)


@dataclass(frozen=True)
class Unknowns:
    """The structure of x: the user's pytree, and the vector that solvers work on."""

    tree: Any
    kinds: tuple[ValueType, ...]
    first: Any

    @staticmethod
    def of(x0: Any, name: str) -> "Unknowns":
        leaves, tree = numeric(x0, f"x0 of {name}")
        kinds = tuple(ValueType(k.shape, k.dtype if k.dtype == "f" else "d") for k in map(kind_of, leaves))
        first = _vector(leaves)
        if not is_recorded(first):  # nothing else of the equation may be, either
            first = as_recorded(first, current_recorder())
        return Unknowns(tree, kinds, first)

    @property
    def n(self) -> int:
        return sum(kind.size for kind in self.kinds)

    def tree_of(self, x: Any, *, own_dtypes: bool = True) -> Any:
        """A vector in the user's structure."""
        leaves, start = [], 0
        for kind in self.kinds:
            leaf = np.reshape(x[start : start + kind.size], kind.shape)
            leaves.append(leaf.astype(np.float32) if own_dtypes and kind.dtype == "f" else leaf)
            start += kind.size
        return unflatten(self.tree, leaves)

    def flat(self, residual: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The residual from vector to vector."""

        def flat_residual(x: Any, args: Any) -> Any:
            leaves, _ = flatten_state(residual(self.tree_of(x, own_dtypes=False), *args))
            size = sum(np.size(leaf) for leaf in leaves)
            if size != self.n:
                raise ShapeError(
                    f"{name}: the function returns {size} numbers for {self.n} unknowns{at_line()}; it must return as "
                    "many as x0 holds"
                )
            return _vector(leaves)

        return flat_residual
