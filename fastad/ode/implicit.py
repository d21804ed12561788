"""Implicit Runge–Kutta methods whose stages are solved for one after another, or all together: each is its tableau."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.kernels.records import NOTES
from fastad.ode import reuse
from fastad.ode.dense import HERMITE, DenseOutput
from fastad.ode.method import Method, Step, Taken, Wanted
from fastad.ode.newton import SMALL, Block
from fastad.ode.order import HIGHEST, defects, order_of
from fastad.ode.stages import Stages
from fastad.once import lazy
from fastad.tables.builder import Ref
from fastad.tables.composites.sub import packed, slices

_numbers: dict[Any, int] = {}  # of the methods that recordings depend on


@dataclass(frozen=True, repr=False)
class DiagonallyImplicitRK(Method):
    """A diagonally implicit Runge–Kutta method: kᵢ = f(t + cᵢ h, y + h Σⱼ₌₁ⁱ aᵢⱼ kⱼ), y₊ = y + h Σᵢ bᵢ kᵢ.

    Parameters
    ----------
    A : the lower triangle of the tableau, with the diagonal: row i has i + 1 numbers. Elements of the diagonal are all
        the same, but for the first one, which may be 0: then the first stage is the derivative at the start.
    b : the weights of the stages.
    error : weights of the error estimate, b − b̂. Without it only fixed steps are possible.
    dense : weights of the dense output: row i has the coefficients of θ, θ², … of the polynomial bᵢ(θ), and the
        solution at t + θh is y + h Σᵢ bᵢ(θ) kᵢ. None: the cubic Hermite polynomial of both ends, for methods whose
        first stage is at the start and the last one at the end.
    filtered : whether the estimate is multiplied by (I − γh ∂f/∂y)⁻¹, so that it does not grow with the stiffness.
    name : what listings and messages call the method.

    The equations of the stages are solved by simplified Newton iterations with one matrix for the whole step. The
    derivatives of a step are those of the exact solution. Raises ShapeError for another tableau, or one that is not
    consistent (Σ bᵢ = 1).

    Hairer & Wanner, Solving Ordinary Differential Equations II, IV.6 and IV.8.

    >>> import numpy as np, fastad as fad
    >>> stiff = lambda t, y: -1000.0 * (y - np.cos(t))
    >>> sol = fad.solve_ivp(stiff, (0, 1), [1.0], method=fad.ode.SDIRK2, rtol=1e-6)
    >>> bool(abs(sol.y[0, -1] - np.cos(1 - 1e-3)) < 1e-5)
    True
    """

    A: Any
    b: Any
    error: Any = None
    dense: Any = None
    filtered: bool = False
    name: str = "diagonally implicit Runge–Kutta method"
    has_stages, has_jacobian, counts = True, True, True

    def __post_init__(self) -> None:
        rows, s = tuple(tuple(map(float, row)) for row in self.A), len(self.b)
        if [len(row) for row in rows] != list(range(1, s + 1)):
            raise ShapeError(f"{self.name}: row i of A needs i + 1 numbers, the last one of them on the diagonal")
        diagonal = {row[-1] for row in rows[rows[0][-1] == 0.0 :]}
        if len(diagonal) != 1 or not min(diagonal) > 0.0:
            raise ShapeError(
                f"{self.name}: the diagonal of A must have one positive number, or 0 first; it has {diagonal}"
            )
        settings = {
            "A": rows,
            "b": tuple(map(float, self.b)),
            "error": None if self.error is None else tuple(map(float, self.error)),
        }
        settings["dense"] = self.dense and tuple(tuple(map(float, row)) for row in self.dense)
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        if not self.dense and not (self.keeps_slope and self.starts_explicitly):
            raise ShapeError(f"{self.name} needs dense=: it has no derivatives at both ends")
        if (self.error and len(self.error) != s) or self.order < 1:
            raise ShapeError(f"{self.name} is not consistent: b must sum to 1, and error needs {s} weights")

    @lazy
    def _fastad_options(self) -> int:
        """A number for all methods with these coefficients."""
        return _numbers.setdefault((self.A, self.b, self.error, self.dense, self.filtered, self.name), len(_numbers))

    @property
    def gamma(self) -> float:
        """The element of the diagonal."""
        found: float = self.A[-1][-1]
        return found

    @property
    def starts_explicitly(self) -> bool:
        """Whether the first stage is the derivative at the start."""
        return bool(self.A[0][0] == 0.0)

    @property
    def is_stiffly_accurate(self) -> bool:
        """Whether the last stage is the solution."""
        return bool(self.A[-1] == self.b)

    @lazy
    def _square(self) -> np.ndarray:
        found = np.zeros((len(self.b), len(self.b)))
        for i, row in enumerate(self.A):
            found[i, : len(row)] = row
        return found

    @lazy
    def order(self) -> int:
        """The order of the method."""
        return order_of(self._square, np.array(self.b))

    @lazy
    def error_order(self) -> int:
        """The power of the step size to which the error estimate is proportional."""
        return lowest_power(self._square, self.error)

    @property
    def estimates(self) -> int:  # type: ignore[override]
        """Number of error estimates."""
        return int(self.error is not None)

    @lazy
    def output(self) -> DenseOutput:
        return DenseOutput(tuple(row for row in self.dense if any(row))) if self.dense else HERMITE

    # ── the rows of a step ───────────────────────────────────────────────────────────────────────────────────
    @property
    def keeps_slope(self) -> bool:
        """Whether the slope of the last stage is the first one of the next step. It is a part of the state then: the
        right-hand side at a solution that has small errors may be far from it if the problem is stiff."""
        return self.is_stiffly_accurate and any(row[0] for row in self.A if len(row) > 1)

    @property
    def copies(self) -> int:  # type: ignore[override]
        return 1 + self.keeps_slope

    def notes(self, wanted: Wanted, n: int) -> int:
        """Whether there is a slope from the step before, behind the first ones."""
        return NOTES + self.keeps_slope if self.keeps_slope or n > SMALL else 0

    def memory(self, wanted: Wanted, n: int, factors: int) -> tuple[int, int]:
        return reuse.sizes(n, factors) if n > SMALL and factors else (0, 0)

    def caches(self, wanted: Wanted) -> bool:
        return False

    def _needs_start(self, wanted: Wanted) -> bool:
        """Whether a step needs the derivative at its start."""
        return self.starts_explicitly and (self.keeps_slope or bool(wanted.adaptive and self.error and self.error[0]))

    def evaluations(self, wanted: Wanted) -> int:
        return int(self._needs_start(wanted))

    def emit(self, step: Step) -> Taken:
        b, stages, gamma = step.b, step.stages, self.gamma
        assert stages is not None
        y, *_ = slices(b, step.state, [stages.n] * self.copies)
        block = stages.block(((gamma,),), (0.0,))
        kept, factors, scale = reuse.factors_of(block, stages, step)
        slopes = [self._first(step, stages, block, factors)] if self.starts_explicitly else []  # times h
        guess: Ref | None = None
        for row in self.A[len(slopes) :]:
            base = b.add(y, *_terms(step, slopes, row))
            start = b.emit("subtract", (y, base)) if guess is None else guess
            guess = stages.solve(block, step.at(sum(row)), base, start, factors, scale)
            slopes.append(b.multiply(b.const(1.0 / gamma), guess))
        assert guess is not None
        after = b.add(base, guess) if self.is_stiffly_accurate else b.add(y, *_terms(step, slopes, self.b))
        dense = self._dense(step, slopes) if step.wanted.dense else ()
        state = packed(b, [after, per_time(step, slopes[-1])]) if self.keeps_slope else after
        if stages.exact:
            return Taken(state, dense=dense)
        errors = (self._error(step, stages, slopes, block, factors),) if step.wanted.adaptive else ()
        counts = stages.counts() if kept is None else kept.counts(b, stages.counts())
        memory = None if kept is None else kept.memory
        return Taken(state, None, errors, dense, self._noted(step, stages, kept), memory, counts)

    def _noted(self, step: Step, stages: Stages, kept: "reuse.Factors | None") -> Ref | None:
        b = step.b
        if step.notes is None:
            return None
        first = b.zeros((NOTES,)) if kept is None else kept.notes(b, stages.failed)
        return packed(b, [first, *([b.const([1.0])] if self.keeps_slope else [])])

    def _first(self, step: Step, stages: Stages, block: Block, factors: Ref) -> Ref:
        """The derivative at the start, times h; 0 where it is not needed. Where it is only estimated with, that is
        M times it."""
        b, n = step.b, stages.n
        if not self._needs_start(step.wanted):
            return b.zeros((n,))
        y, *kept = slices(b, step.state, [n] * self.copies)
        slope = b.multiply(step.h, step.slope(step.t, y))
        if not kept:
            return slope
        assert step.notes is not None
        slope = stages.first_slope(block, factors, slope)
        known = b.emit("greater", (slices(b, step.notes, (NOTES, 1))[1], b.const(0.5)))
        return b.emit("where", (b.broadcast(known, (n,)), b.multiply(step.h, kept[0]), slope))

    def _error(self, step: Step, stages: Stages, slopes: Sequence[Ref], block: Block, factors: Ref) -> Ref:
        if not self.filtered:
            return stages.checked(step.b.add(*_terms(step, slopes, self.error)))
        is_weak = self.starts_explicitly and not self.keeps_slope
        strong = stages.mass(step.b.add(*_terms(step, slopes[is_weak:], self.error[is_weak:])))
        right = step.b.add(strong, *(_terms(step, slopes[:1], self.error) if is_weak else ()))
        return stages.checked(stages.filtered(block, step.t, factors, right))

    def _dense(self, step: Step, slopes: Sequence[Ref]) -> tuple[Ref, ...]:
        if self.dense:
            return tuple(per_time(step, k) for k, row in zip(slopes, self.dense, strict=True) if any(row))
        increment = step.b.add(*_terms(step, slopes, self.b))
        return tuple(per_time(step, x) for x in (slopes[0], increment, slopes[-1]))


def _terms(step: Step, slopes: Sequence[Ref], weights: Sequence[float]) -> list[Ref]:
    """The terms of Σ wᵢ kᵢ."""
    return [step.b.multiply(step.b.const(w), k) for w, k in zip(weights, slopes, strict=False) if w]


def per_time(step: Step, x: Ref) -> Ref:
    """x / h, where h is not 0."""
    b = step.b
    still = b.emit("equal", (step.h, b.const(0.0)))
    return b.emit("divide", (x, b.add(step.h, still)))


def lowest_power(a: np.ndarray, weights: Sequence[float] | None) -> int:
    """The power of the step size to which a combination of stages, times the step size, is proportional."""
    if not weights:
        return 1
    small = 1e-9 * max(1.0, float(np.abs(a).max())) ** 2
    powers = (n for n in range(1, HIGHEST + 1) if defects(a, np.array(weights), n, at=0.0) > small)
    return next(powers, HIGHEST + 1)


# ── the methods ───────────────────────────────────────────────────────────────────────────────────────────────
_G = 1.0 - 0.5**0.5
ImplicitEuler = DiagonallyImplicitRK(  # the estimate is the difference to the trapezoidal rule
    [[0], [0, 1]], [0, 1], error=[-1 / 2, 1 / 2], dense=[[0], [1]], filtered=True, name="ImplicitEuler"
)
ImplicitMidpoint = DiagonallyImplicitRK(  # the estimate is the difference to Euler's method
    [[0], [0, 1 / 2]], [0, 1], error=[-1, 1], dense=[[0], [1]], filtered=True, name="ImplicitMidpoint"
)
Trapezoid = DiagonallyImplicitRK(
    [[0], [1 / 2, 1 / 2]], [1 / 2, 1 / 2], error=[-1 / 2, 1 / 2], filtered=True, name="Trapezoid"
)
SDIRK2 = DiagonallyImplicitRK(  # Alexander (1977), Diagonally implicit Runge–Kutta methods, SIAM J. Numer. Anal. 14(6)
    [[_G], [1 - _G, _G]],
    [1 - _G, _G],
    error=[1 / 2 - _G, _G - 1 / 2],
    dense=[[1 - _G + _G / (1 - _G), -_G / (1 - _G)], [-(_G**2) / (1 - _G), _G / (1 - _G)]],
    filtered=True,
    name="SDIRK2",
)
_K5 = (
    (0.0,), (0.26, 0.26), (0.13, 0.84033320996790809, 0.26),
    (0.22371961478320505, 0.47675532319799699, -0.06470895363112615, 0.26),
    (0.16648564323248321, 0.10450018841591720, 0.03631482272098715, -0.13090704451073998, 0.26),
    (0.13855640231268224, 0.0, -0.04245337201752043, 0.02446657898003141, 0.61943039072480676, 0.26),
    (0.13659751177640291, 0.0, -0.05496908796538376, -0.04118626728321046, 0.62993304899016403, 0.06962479448202728,
     0.26),
)  # fmt: skip
Kvaerno5 = DiagonallyImplicitRK(  # Kværnø (2004), Singly diagonally implicit Runge–Kutta methods, BIT 44(3)
    _K5, _K5[-1], error=np.subtract(_K5[-1], (*_K5[-2], 0.0)), name="Kvaerno5"
)
