"""Explicit Runge–Kutta methods: each is its tableau, the error estimate and the interpolation that go with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.ode import coefficients as own
from fastad.ode import explicit
from fastad.ode.bdf import BDF
from fastad.ode.dense import HERMITE, DenseOutput
from fastad.ode.implicit import SDIRK2, ImplicitEuler, ImplicitMidpoint, Kvaerno5, Trapezoid
from fastad.ode.method import Method, Step, Taken, Wanted
from fastad.ode.order import HIGHEST, defects, order_of
from fastad.ode.radau import RadauIIA5
from fastad.ode.reversible import Leapfrog, ReversibleHeun
from fastad.ode.rosenbrock import Rodas5P
from fastad.ode.switching import Switching
from fastad.once import lazy

_numbers: dict[Any, int] = {}  # of the methods that recordings depend on


@dataclass(frozen=True, repr=False)
class ExplicitRK(Method):
    """An explicit Runge–Kutta method: kᵢ = f(t + cᵢ h, y + h Σⱼ aᵢⱼ kⱼ), y₊ = y + h Σᵢ bᵢ kᵢ.

    Parameters
    ----------
    A : the strictly lower triangle of the tableau: row i has the i numbers aᵢⱼ (the first row is empty), or a square
        matrix.
    b : the weights of the stages.
    c : the nodes; None: the sums of the rows of A.
    error : weights of the error estimate, b − b̂ for an embedded method b̂, or two such estimates, which are combined as
        in the code DOP853. Without it only fixed steps are possible.
    dense : weights of the dense output: row i has the coefficients of θ, θ², … of the polynomial bᵢ(θ), and the
    solution
        at t + θh is y + h Σᵢ bᵢ(θ) kᵢ. One row for each stage, for the derivative at the end of the step, and for each
        of `extra`. None: the cubic Hermite polynomial of both ends.
    extra : rows of A of further stages that only the dense output needs; the stages are counted on from the derivative
        at the end of the step.
    name : what listings and messages call the method.

    The order, that of the error estimate, and whether the first stage is the last one of the step before are found from
    the coefficients. Raises ShapeError for a tableau that is not explicit, not of fitting sizes, or not consistent
    (Σ bᵢ = 1 and Σⱼ aᵢⱼ = cᵢ).

    Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, II.1 and II.6.

    >>> import numpy as np, fastad as fad
    >>> ralston = fad.ode.ExplicitRK(A=[[], [2 / 3]], b=[1 / 4, 3 / 4], name="Ralston")
    >>> ralston.order
    2
    >>> sol = fad.solve_ivp(lambda t, y: -y, (0, 1), [1.0], method=ralston, step=0.01)
    >>> bool(abs(sol.y[0, -1] - np.exp(-1)) < 1e-5)
    True
    """

    A: Any
    b: Any
    c: Any = None
    error: Any = None
    dense: Any = None
    extra: Any = ()
    name: str = "explicit Runge–Kutta method"

    def __post_init__(self) -> None:
        rows = [tuple(map(float, row)) for row in self.A]
        s = len(rows)
        if any(any(row[i:]) for i, row in enumerate(rows)):
            raise ShapeError(f"{self.name}: row i of A may use only the i stages before it; the method is not explicit")
        rows = [row[:i] for i, row in enumerate(rows)]
        if any(len(row) != i for i, row in enumerate(rows)) or len(self.b) != s or s == 0:
            raise ShapeError(f"{self.name}: A needs one row of i numbers for each stage i, b one number for each stage")
        nodes = [sum(row) for row in rows] if self.c is None else [float(x) for x in self.c]
        settings = {"A": tuple(rows), "b": tuple(map(float, self.b)), "c": tuple(nodes)}
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        for name in ("dense", "extra"):
            given = getattr(self, name)
            object.__setattr__(self, name, given and tuple(tuple(map(float, row)) for row in given))
        object.__setattr__(self, "error", _estimates(self.error))
        self._check()

    def _check(self) -> None:
        s = len(self.b)
        sums = [sum(row) for row in (*self.A, self.b, *self.extra)]
        extra = self.c[s:] if len(self.c) > s else sums[s + 1 :]
        nodes = [*self.c[:s], 1.0, *extra]
        if len(nodes) != len(sums) or not np.allclose(sums, nodes, rtol=0, atol=1e-9):
            raise ShapeError(
                f"{self.name} is not consistent: the rows of A must sum to c, and b to 1; the sums are {sums}"
            )
        object.__setattr__(self, "c", (*self.c[:s], *extra))
        ends = not self.is_fsal  # an estimate may use the derivative at the end of the step, which is no stage then
        if any(len(row) not in (s, s + ends) for row in self.error or ()):
            raise ShapeError(f"{self.name}: an error estimate needs one weight for each of the {s} stages")
        if self.dense and len(self.dense) != self.n_dense:
            raise ShapeError(
                f"{self.name}: dense needs {self.n_dense} rows, one for each stage and the end of the step"
            )

    @lazy
    def _fastad_options(self) -> int:
        """A number for all methods with these coefficients."""
        key = (self.A, self.b, self.c, self.error, self.dense, self.extra, self.name)
        return _numbers.setdefault(key, len(_numbers))

    @property
    def n_dense(self) -> int:
        """Number of derivatives that the dense output is made of: the stages, that at the end, the extra stages."""
        return len(self.b) + (not self.is_fsal) + len(self.extra)

    @lazy
    def is_fsal(self) -> bool:
        """Whether the last stage is the derivative at the end of the step, so the next step has its first one."""
        return len(self.b) > 1 and self.b[-1] == 0.0 and self.A[-1] == self.b[:-1]

    @lazy
    def order(self) -> int:
        """The order of the method."""
        a = np.zeros((len(self.b), len(self.b)))
        for i, row in enumerate(self.A):
            a[i, : len(row)] = row
        return order_of(a, np.array(self.b))

    @lazy
    def error_order(self) -> int:
        """The power of the step size to which the error estimate is proportional."""
        rows = [*self.A, self.b][: max(map(len, self.error or ((),)))]
        a = np.zeros((len(rows), len(rows)))
        for i, row in enumerate(rows):
            a[i, : len(row)] = row
        if not self.error:
            return 1
        found = [_lowest_power(a, np.array(row)) for row in self.error]
        return found[0] if len(found) == 1 else 2 * found[0] - found[1]  # see `fastad.kernels.stepsize.error_norm`

    @property
    def estimates(self) -> int:  # type: ignore[override]
        """Number of error estimates."""
        return len(self.error or ())

    # ── the rows of a step ───────────────────────────────────────────────────────────────────────────────────
    @lazy
    def dense_vectors(self) -> list[Any]:
        """The weights of the derivatives (see `n_dense`) that make the vectors of the dense output."""
        units = np.eye(self.n_dense).tolist()
        if not self.dense:
            return [units[0], self.b, units[len(self.b) - self.is_fsal]]
        return [unit for unit, row in zip(units, self.dense, strict=True) if any(row)]

    @lazy
    def output(self) -> DenseOutput:
        return DenseOutput(tuple(row for row in self.dense if any(row))) if self.dense else HERMITE

    def caches(self, wanted: Wanted) -> bool:
        return explicit.caches(self, wanted)

    def evaluations(self, wanted: Wanted) -> int:
        return explicit.evaluations(self, wanted)

    def emit(self, step: Step) -> Taken:
        return explicit.emit(self, step)


def _lowest_power(a: np.ndarray, weights: np.ndarray) -> int:
    """The power of the step size to which a combination of stages, times the step size, is proportional."""
    small = 1e-9 * max(1.0, float(np.abs(a).max())) ** 2
    powers = (n for n in range(1, HIGHEST + 1) if defects(a, weights, n, at=0.0) > small)
    return next(powers, HIGHEST + 1)


def _estimates(error: Any) -> tuple[tuple[float, ...], ...] | None:
    if error is None:
        return None
    rows = error if np.ndim(error[0]) else [error]
    return tuple(tuple(map(float, row)) for row in rows)


# ── the methods ───────────────────────────────────────────────────────────────────────────────────────────────
def _dop853_dense() -> Sequence[Sequence[float]]:
    """The dense output of DOP853 as polynomials: the book's F are the increment, h k₁ − it, 2 it − h (k₁ + k₁₃), and
    further rows, with the factors θ, θ(1 − θ), θ²(1 − θ), θ²(1 − θ)², …"""
    s = len(own.DOPRI8_DENSE[0])
    increment, first, last = np.zeros(s), np.zeros(s), np.zeros(s)
    increment[:12], first[0], last[12] = own.DOPRI8_A[12], 1.0, 1.0
    rows = [increment, first - increment, 2 * increment - first - last, *map(np.array, own.DOPRI8_DENSE)]
    found, factor = np.zeros((s, len(rows) + 1)), np.array([1.0])
    for i, row in enumerate(rows):
        factor = np.convolve(factor, [0.0, 1.0] if i % 2 == 0 else [1.0, -1.0])
        found[:, : len(factor)] += np.outer(row, factor)
    return [tuple(row[1:]) for row in found]


Euler = ExplicitRK([[]], [1], name="Euler")
Midpoint = ExplicitRK([[], [1 / 2]], [0, 1], error=[-1, 1], name="Midpoint")
Heun = ExplicitRK([[], [1]], [1 / 2, 1 / 2], error=[-1 / 2, 1 / 2], name="Heun")
RK4 = ExplicitRK([[], [1 / 2], [0, 1 / 2], [0, 0, 1]], [1 / 6, 1 / 3, 1 / 3, 1 / 6], name="RK4")
BS3 = ExplicitRK(  # Bogacki & Shampine (1989), A 3(2) pair of Runge–Kutta formulas, Appl. Math. Lett. 2(4)
    [[], [1 / 2], [0, 3 / 4], [2 / 9, 1 / 3, 4 / 9]], [2 / 9, 1 / 3, 4 / 9, 0],
    error=[-5 / 72, 1 / 12, 1 / 9, -1 / 8], name="BS3",
)  # fmt: skip
Tsit5 = ExplicitRK(
    own.TSIT5_A, [*own.TSIT5_A[-1], 0], own.TSIT5_C, own.TSIT5_ERROR, own.TSIT5_DENSE, name="Tsit5"
)  # fmt: skip
Dopri5 = ExplicitRK(  # Dormand & Prince (1980), A family of embedded Runge–Kutta formulae, J. Comput. Appl. Math. 6(1)
    [
        [], [1 / 5], [3 / 40, 9 / 40], [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
    error=[71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40],
    dense=own.DOPRI5_DENSE, name="Dopri5",
)  # fmt: skip
Dopri8 = ExplicitRK(
    own.DOPRI8_A, [*own.DOPRI8_A[-1], 0], own.DOPRI8_C, (own.DOPRI8_ERROR_5, own.DOPRI8_ERROR_3), _dop853_dense(),
    own.DOPRI8_EXTRA, name="Dopri8",
)  # fmt: skip

auto = Switching(Tsit5, Rodas5P, reach=3.5)

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Euler, Heun, Midpoint, RK4, BS3, Tsit5, Dopri5, Dopri8, Leapfrog, ReversibleHeun, ImplicitEuler,
        ImplicitMidpoint, Trapezoid, SDIRK2, Kvaerno5, RadauIIA5, Rodas5P, BDF, auto,
    )
}  # fmt: skip
SCIPY_NAMES = {
    "RK23": "BS3", "RK45": "Dopri5", "DOP853": "Dopri8", "Radau": "RadauIIA5", "LSODA": "auto", "Rosenbrock": "Rodas5P",
}  # fmt: skip
