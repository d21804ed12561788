"""Rosenbrock–Wanner methods: linearly implicit Runge–Kutta methods, each its tableau.

With W = M − γh ∂f/∂y at the start of a step, which is factorised once, the stages solve

    W kᵢ = γ f(t + cᵢ h, y + h Σⱼ aᵢⱼ kⱼ) + γ M Σⱼ Cᵢⱼ kⱼ + γ dᵢ h ∂f/∂t,    y₊ = y + h Σᵢ bᵢ kᵢ,

the form of Hairer & Wanner, Solving Ordinary Differential Equations II, (IV.7.25), times γh: it has no product with the
Jacobian, and no division by h.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.kernels import records as r
from fastad.ode.dense import DenseOutput
from fastad.ode.iteration import Linearised
from fastad.ode.method import Method, Step, Taken, Wanted
from fastad.ode.order import HIGHEST, defects, order_of
from fastad.once import lazy
from fastad.tables.builder import Ref
from fastad.tables.composites.sub import packed

_numbers: dict[Any, int] = {}  # of the methods that recordings depend on


@dataclass(frozen=True, repr=False)
class Rosenbrock(Method):
    """A Rosenbrock–Wanner method, by the coefficients of the form without products with the Jacobian (see the module).

    Parameters
    ----------
    A, C : the strictly lower triangles of the matrices (aᵢⱼ) and (Cᵢⱼ): row i has i numbers.
    gamma : γ, the diagonal.
    b : the weights of the stages.
    error : weights of the error estimate. Without it only fixed steps are possible.
    dense : weights of the dense output: row i has the coefficients of θ, θ², … of the polynomial bᵢ(θ), and the
        solution at t + θh is y + h Σᵢ bᵢ(θ) kᵢ.
    name : what listings and messages call the method.

    Nodes cᵢ, the factors dᵢ of ∂f/∂t, the order and that of the error estimate follow. Raises ShapeError for rows of
    other sizes, and for a method that is not consistent.

    Hairer & Wanner, Solving Ordinary Differential Equations II, IV.7.

    >>> import numpy as np, fastad as fad
    >>> euler = fad.ode.Rosenbrock([[]], [[]], 1.0, [1.0], dense=[[1.0]], name="linearly implicit Euler")
    >>> euler.order
    1
    >>> sol = fad.solve_ivp(lambda t, y: -1e6 * (y - np.cos(t)), (0, 1), [0.0], method=euler, step=0.01)
    >>> bool(abs(sol.y[0, -1] - np.cos(1.0)) < 0.02)
    True
    """

    A: Any
    C: Any
    gamma: float
    b: Any
    error: Any = None
    dense: Any = ()
    name: str = "Rosenbrock method"

    has_jacobian = counts = True

    def __post_init__(self) -> None:
        s = len(self.b)
        for name in ("A", "C"):
            rows = tuple(tuple(map(float, row)) for row in getattr(self, name))
            if s == 0 or [len(row) for row in rows] != list(range(s)):
                raise ShapeError(f"{self.name}: row i of {name} needs i numbers, for each of the {s} stages")
            object.__setattr__(self, name, rows)
        object.__setattr__(self, "b", tuple(map(float, self.b)))
        object.__setattr__(self, "error", self.error and tuple(map(float, self.error)))
        object.__setattr__(self, "dense", tuple(tuple(map(float, row)) for row in self.dense))
        if len(self.dense) != s or (self.error and len(self.error) != s):
            raise ShapeError(f"{self.name}: dense and error need a row, and a weight, for each of the {s} stages")
        if self.order < 1:
            raise ShapeError(f"{self.name} is not consistent: the increments must sum to f(y) for small steps")

    @lazy
    def _fastad_options(self) -> int:
        """A number for all methods with these coefficients."""
        key = (self.A, self.C, self.gamma, self.b, self.error, self.dense, self.name)
        return _numbers.setdefault(key, len(_numbers))

    # ── the classical form: k̂ᵢ = f(y + h Σ αᵢⱼ k̂ⱼ) + h ∂f/∂y Σ γᵢⱼ k̂ⱼ, with k = Γ k̂ ───────────────────────────
    @lazy
    def _gammas(self) -> np.ndarray:
        """Γ = (γᵢⱼ)."""
        inverse = np.eye(len(self.b)) / self.gamma - _square(self.C)
        return np.linalg.inv(inverse)

    @lazy
    def _alphas(self) -> np.ndarray:
        return _square(self.A) @ self._gammas

    def _classical(self, weights: Sequence[float]) -> np.ndarray:
        """Weights of the stages of the classical form."""
        return np.asarray(weights) @ self._gammas

    @lazy
    def c(self) -> tuple[float, ...]:
        """The nodes."""
        return _rounded(self._alphas.sum(axis=1))

    @lazy
    def d(self) -> tuple[float, ...]:
        """The factors of h ∂f/∂t."""
        return _rounded(self._gammas.sum(axis=1))

    @lazy
    def order(self) -> int:
        """The order of the method."""
        return order_of(self._alphas, self._classical(self.b), linear=self._alphas + self._gammas)

    def order_of_dense(self) -> int:
        """The order of the dense output, at a time within the step."""
        theta, found = 0.37, HIGHEST
        row = [sum(c * theta ** (p + 1) for p, c in enumerate(row)) for row in self.dense]
        weights, linear = self._classical(row), self._alphas + self._gammas
        for n in range(HIGHEST, 0, -1):
            if defects(self._alphas, weights, n, at=theta, linear=linear) > 1e-9 * _scale(self._alphas):
                found = n - 1
        return found

    @lazy
    def error_order(self) -> int:
        """The power of the step size to which the error estimate is proportional."""
        if not self.error:
            return 1
        weights, linear = self._classical(self.error), self._alphas + self._gammas
        small = 1e-9 * _scale(self._alphas)
        powers = (n for n in range(1, HIGHEST) if defects(self._alphas, weights, n, at=0.0, linear=linear) > small)
        return next(powers, HIGHEST)

    @property
    def estimates(self) -> int:  # type: ignore[override]
        """Number of error estimates."""
        return int(self.error is not None)

    # ── the rows of a step ───────────────────────────────────────────────────────────────────────────────────
    @lazy
    def output(self) -> DenseOutput:
        """Its vectors are the coefficients of the powers of θ."""
        degree = max(map(len, self.dense))
        return DenseOutput(tuple((0.0,) * p + (1.0,) for p in range(degree)))

    def caches(self, wanted: Wanted) -> bool:
        return False

    def evaluations(self, wanted: Wanted) -> int:
        return len(self.b)

    def emit(self, step: Step) -> Taken:
        b, gamma = step.b, self.gamma
        system = step.linearised(b.multiply(b.const(gamma), step.h))
        drift = step.drift()
        stages: list[Ref] = []
        for row, others, node, factor in zip(self.A, self.C, self.c, self.d, strict=True):
            y = b.add(step.state, _sum(step, stages, row, step.h)) if any(row) else step.state
            rhs = b.multiply(b.const(gamma), step.slope(step.at(node), y))
            if any(others):
                rhs = b.add(rhs, system.mass(_sum(step, stages, others, b.const(gamma))))
            if drift is not None and factor:
                rhs = b.add(rhs, b.multiply(b.multiply(b.const(gamma * factor), step.h), drift))
            stages.append(system.solve(rhs))
        powers = zip(*(row + (0.0,) * (max(map(len, self.dense)) - len(row)) for row in self.dense), strict=True)
        return Taken(
            b.add(step.state, _sum(step, stages, self.b, step.h)),
            errors=(_sum(step, stages, self.error, step.h),) if step.wanted.adaptive and self.error else (),
            dense=tuple(_sum(step, stages, row) for row in powers) if step.wanted.dense else (),
            counts=_counts(step, stages[-1], system),
        )


def _sum(step: Step, stages: Sequence[Ref], weights: Sequence[float], factor: Ref | None = None) -> Ref:
    """Σ wᵢ kᵢ, times a factor if there is one."""
    b = step.b
    used = [k if w == 1.0 else b.multiply(b.const(w), k) for w, k in zip(weights, stages, strict=False) if w != 0.0]
    found = b.add(*used)
    return found if factor is None else b.multiply(factor, found)


def _counts(step: Step, last: Ref, system: Linearised) -> Ref:
    """One Jacobian, one factorisation; a failure where the last stage, which all others are in, is not finite; the
    residual of an adjoint system, where that is looked at."""
    b = step.b
    finite = b.emit("isfinite", (b.emit("sum", (last,), (1, b.size(last), 1), ()),))
    counts = [b.const(0.0)] * r.COUNTS
    counts[r.JACOBIANS] = counts[r.FACTORISATIONS] = b.const(1.0)
    counts[r.FAILURES] = b.emit("subtract", (b.const(1.0), b.cast(finite, (), "d")))
    if step.wanted.checks_adjoints:
        counts[r.RESIDUAL] = b.emit("where", (finite, system.adjoint_residual(), b.const(0.0)))
    return packed(b, counts)


def _square(rows: Sequence[Sequence[float]]) -> np.ndarray:
    found = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        found[i, : len(row)] = row
    return found


def _scale(a: np.ndarray) -> float:
    return max(1.0, float(np.abs(a).max())) ** 2


def _rounded(x: np.ndarray) -> tuple[float, ...]:
    """Numbers without the rounding errors that have made integers of them no integers."""
    whole = np.rint(x)
    return tuple(np.where(np.abs(x - whole) < 1e-11, whole, x).tolist())


# ── the methods ───────────────────────────────────────────────────────────────────────────────────────────────
def _by_stage(b: Sequence[float], rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """The dense output y + hθ (Σ bᵢ kᵢ + (1 − θ)(v₁ + θ (v₂ + θ v₃ …))), where vⱼ = Σ rowsⱼᵢ kᵢ, as polynomials of the
    stages."""
    padded = np.array([np.zeros(len(b)), *rows, np.zeros(len(b))])
    coefficients = padded[1:] - padded[:-1]
    coefficients[0] += b
    return coefficients.T.tolist()


# Steinebach (2023), Construction of Rosenbrock–Wanner method Rodas5P and numerical benchmarks within the Julia
# Differential Equations package, BIT Numer. Math. 63:27; the coefficients as in the package.
_A6 = (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946)
_RODAS5P_DENSE = (
    (25.948786856663858, -2.5579724845846235, 10.433815404888879, -2.3679251022685204, 0.524948541321073,
     1.1241088310450404, 0.4272876194431874, -0.17202221070155493),
    (-9.91568850695171, -0.9689944594115154, 3.0438037242978453, -24.495224566215796, 20.176138334709044,
     15.98066361424651, -6.789040303419874, -6.710236069923372),
    (11.419903575922262, 2.8879645146136994, 72.92137995996029, 80.12511834622643, -52.072871366152654,
     -59.78993625266729, -0.15582684282751913, 4.883087185713722),
)  # fmt: skip
Rodas5P = Rosenbrock(
    A=(
        (),
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _A6,
        (*_A6, 1.0),
        (*_A6, 1.0, 1.0),
    ),
    C=(
        (),
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
        (30.91273214028599, -3.1208243349937974, 77.79954646070892, 34.28646028294783, -19.097331116725623,
         -28.087943162872662),
        (37.80277123390563, -3.2571969029072276, 112.26918849496327, 66.9347231244047, -40.06618937091002,
         -54.66780262877968, -9.48861652309627),
    ),
    gamma=0.21193756319429014, b=(*_A6, 1.0, 1.0, 1.0), error=(0, 0, 0, 0, 0, 0, 0, 1.0),
    dense=_by_stage((*_A6, 1.0, 1.0, 1.0), _RODAS5P_DENSE), name="Rodas5P",
)  # fmt: skip
