"""What a method is to the solver: numbers about it, and the rows of one step. `StepTables` makes a solve's parts of
these."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastad.ode.dense import DenseOutput
from fastad.ode.iteration import Iteration, Linearised
from fastad.ode.stages import Stages
from fastad.tables.builder import Builder, Ref


@dataclass(frozen=True)
class Wanted:
    """What a solve wants of its steps."""

    adaptive: bool
    dense: bool  # dense output
    moving: bool  # whether times have derivatives
    clocked: bool = False  # whether the state has the time at which it last started, as its last component
    checks_adjoints: bool = False  # whether steps count the residuals of their adjoint systems


Given = tuple[Ref, ...]  # of a step: its start, its size, the state, what all steps share


@dataclass(frozen=True)
class Step:
    """A step whose rows a method writes into `b`: its start, its size, the method's state there, the derivative that
    the step before has cached and the memory that it has left (None: there is none), and the notes of a method that has
    some. `slope(t, y)` writes the rows of the right-hand side; `linearised(c)` factorises M − c ∂f/∂y at the start of
    the step, and `drift()` writes the rows of ∂f/∂t there (None if it is 0). `stages` solves the equations of implicit
    stages."""

    b: Builder
    t: Ref
    h: Ref
    state: Ref
    cache: Ref | None
    wanted: Wanted
    slope: Callable[[Ref, Ref], Ref]
    linearised: Callable[[Ref], Linearised]
    drift: Callable[[], Ref | None]
    notes: Ref | None = None
    memory: Ref | None = None
    stages: Stages | None = None
    given: Given = ()
    elsewhere: "Callable[[Builder, Given, Ref | None], Step] | None" = None

    def at(self, node: float) -> Ref:
        """The time t + node h."""
        b = self.b
        return self.t if node == 0.0 else b.add(self.t, b.multiply(b.const(node), self.h))

    def moved(self, y: Ref, factor: float, slope: Ref) -> Ref:
        """y + factor h slope."""
        b = self.b
        return b.add(y, b.multiply(b.multiply(b.const(factor), self.h), slope))


@dataclass(frozen=True)
class Taken:
    """What a step has computed: the state after it; what it caches for the next step; error estimates, and the vectors
    of the dense output, if they are wanted; its notes, its memory, and what it has counted, if the method has such."""

    after: Ref
    cache: Ref | None = None
    errors: tuple[Ref, ...] = ()
    dense: tuple[Ref, ...] = ()
    notes: Ref | None = None
    memory: Ref | None = None
    counts: Ref | None = None


class Method:
    """A method that goes from step to step. Its state is `copies` vectors of the size of y, the first of which is the
    solution; at the start all are y0. The derivative that is cached is that at the last one.

    Notes are numbers without derivatives that belong to a state, such as an order. The first ones are those of
    `fastad.kernels.records` (NEXT, RETRY, TRIES); at the start, and after a jump, all are 0. Both a trial step and the
    step that is pulled back are given the notes at its start; those at its end are kept if it is accepted.

    The memory spares work, and its values have no derivatives: a linear point, at which the method has linearised, and
    factors. Each trial step is given that of the trial before, and at the start of a span zeros. Where a state was
    stored, the factors are lost: their first number is 0, and the step must compute them anew from the linear point,
    which must give the same numbers. The step that is pulled back has no memory.
    """

    name: str
    order: int
    error_order: int = 1  # the power of the step size to which the error estimate is proportional
    estimates: int = 0  # error estimates of a step; 0: only fixed steps are possible
    copies: int = 1
    takes_fixed_steps = True
    is_one_step = True  # whether a step depends on the solution at its start alone
    coupled = 1  # stages that are solved for together
    has_stages = False  # whether a step solves equations of implicit stages
    has_jacobian = False  # whether a step solves linear systems with the Jacobian of the right-hand side
    is_reversible = False  # whether `emit_inverse` undoes a step
    counts = False  # whether steps count what they do: see CALLS and the others in `fastad.kernels.records`
    general = ""  # the name of a method of the same order for systems of any structure, if it is none itself
    output: DenseOutput
    _fastad_wraps, _fastad_calls_later = (), False  # a recording depends on the class and on this:
    _fastad_options: Any = ()

    def __call__(self) -> "Method":
        return self  # so that fad.ode.RK4() is fad.ode.RK4

    def __repr__(self) -> str:
        return f"<{self.name}, order {self.order}>"

    @property
    def is_adaptive(self) -> bool:
        """Whether it has an error estimate."""
        return self.estimates > 0

    @property
    def with_mass(self) -> "Method":
        """The method that stands for this one where there is a mass matrix."""
        return self

    def caches(self, wanted: Wanted) -> bool:
        """Whether a step is given the derivative at its start by the step before."""
        raise NotImplementedError

    def evaluations(self, wanted: Wanted) -> int:
        """Evaluations of the right-hand side in a trial step."""
        raise NotImplementedError

    def notes(self, wanted: Wanted, n: int) -> int:
        """Number of notes, for a state of n components."""
        return 0

    def memory(self, wanted: Wanted, n: int, factors: int) -> tuple[int, int]:
        """Sizes of the linear point and of the factors, for a state of n components and so many numbers of factors."""
        return 0, 0

    def prepared(self, iteration: Iteration, plan: Any, start: Any) -> tuple[Iteration, Any]:
        """The linear systems and their plans, where the method has others than those of one stage, for a start (t, y,
        what the right-hand side refers to, numbers of the mass matrix)."""
        return iteration, plan

    def emit(self, step: Step) -> Taken:
        """The rows of a step."""
        raise NotImplementedError

    def emit_inverse(self, step: Step) -> Ref:
        """The rows of the state before a step, where `step.state` is that after it."""
        raise NotImplementedError

    def check(self, slope: Callable[[Any, Any], Any], t: Any, y: Any) -> None:
        """Raise ShapeError for a system that does not have the structure that the method needs."""
