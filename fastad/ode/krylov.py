"""Linear systems of implicit methods without matrices: GMRES, with a preconditioner of the user's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastad.control.parts import Shared
from fastad.control.paths import Recordings
from fastad.equations import krylov
from fastad.equations.linear import LinearSolver
from fastad.ode.coupled import Transform, combined
from fastad.ode.iteration import Iteration
from fastad.recording.source import at_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.composites.sub import Sub, emit_inline, made, packed, slices


@dataclass(frozen=True)
class Krylov:
    """For `jac=` of `solve_ivp`: no matrix is made; the systems W v = r with W = M − c ∂f/∂y are solved by GMRES, with
    products from the engine. For the largest systems, of which factors would not be sparse enough.

    Parameters
    ----------
    preconditioner : function (t, y, c, r, *args) in plain NumPy, linear in r, that returns nearly W⁻¹ r. It changes how
        many iterations are made, not the solution, so derivatives do not depend on it. It is transposed for adjoints.
    rtol : the residual of a system, relative to its right side; `sol.stats["adjoint_residual"]` says what it makes of
        those of reverse mode.

    >>> import numpy as np, fastad as fad
    >>> lap = lambda y: np.concatenate([y[1:], [0.0]]) - 2 * y + np.concatenate([[0.0], y[:-1]])
    >>> nearly = fad.ode.Krylov(lambda t, y, c, r: r / (1 + 2e4 * c))
    >>> y0 = np.sin(np.pi * np.arange(1, 100) / 100)
    >>> sol = fad.solve_ivp(lambda t, y: 1e4 * lap(y), (0, 0.1), y0, "Rodas5P", [0.1], jac=nearly)
    >>> bool(np.allclose(sol.y[:, -1], np.exp(-0.1 * 4e4 * np.sin(np.pi / 200) ** 2) * y0, rtol=1e-4))
    True
    """

    preconditioner: Callable[..., Any] | None = None
    rtol: float = 1e-10

    def __post_init__(self) -> None:
        if self.preconditioner is not None and not callable(self.preconditioner):
            raise TypeError(
                f"the preconditioner must be a function (t, y, c, r, *args){at_line()}, not "
                f"{type(self.preconditioner).__name__}; of a matrix P give lambda t, y, c, r: P @ r"
            )

    def recorded(self, vector: Callable[..., Any], start: Any, args: Any) -> Recordings | None:
        """The preconditioner at the start, as a function of (t, y, c, r); `vector` makes vectors of its results."""
        if self.preconditioner is None:
            return None
        given = self.preconditioner

        def evaluate(t: Any, y: Any, c: Any, r: Any) -> Any:
            return vector(given(t, y, c, r, *args), "the preconditioner")

        return Recordings(evaluate, (*start, start[0] * 0.0 + 1.0, start[1]), "preconditioner", given)

    def iteration(self, bare: Iteration, found: Recordings | None, shared: Shared) -> Iteration:
        """The systems of a right-hand side without matrices."""
        number, state = ValueType((), "d"), ValueType((bare.n,), "d")
        nearly = None if found is None else found.sub(shared, [number, state, number, state], [state])
        linear = krylov.Krylov(self.rtol, None if nearly is None else _of_linearised(bare, nearly))
        return replace(bare, linear=linear, products=lambda own, a: _of_stages(own, a, nearly, self.rtol))


def _of_linearised(own: Iteration, nearly: Sub) -> Sub:
    """[y | t | c | own | numbers | r] to the user's solution."""

    def rows(b: Builder, x: Ref) -> Ref:
        y, t, c, others, _, r = slices(b, x, (own.n, 1, 1, own.own, own.numbers, own.n))
        return emit_inline(b, nearly, packed(b, [t, y, c, r, others]))

    return made(nearly.name, 2 * own.n + 2 + own.own + own.numbers, rows)


def _of_stages(own: Iteration, a: Sequence[Sequence[float]], nearly: Sub | None, rtol: float) -> LinearSolver:
    """The solver of stages with these rows of the tableau: of one, or of three with a complex pair of eigenvalues μ.
    The systems of these are preconditioned by the real one for c = h / |μ|: what is left has eigenvalues on an arc
    between 1 and μ / |μ|, however stiff the system is."""
    if nearly is None:
        return krylov.Krylov(rtol)
    n, m = own.n, len(a)
    solved = lambda b, x, c, r: emit_inline(b, nearly, packed(b, [x[0], x[1], c, r, x[2]]))
    transform = Transform(np.ravel(a).tolist()) if m > 1 else None
    moving = own.mass is not None and own.mass.function is not None

    def rows(b: Builder, x: Ref) -> Ref:
        zs, t, h, y, others, _, r = slices(b, x, (m * n, 1, 1, n, own.own, own.shared - own.own, m * n))
        mean = b.multiply(b.const(1.0 / m), b.add(*slices(b, zs, [n] * m)))
        at = t, b.add(y, mean), others
        times = lambda c, v: b.multiply(b.const(float(c)), v)
        if transform is None:
            return solved(b, at, times(a[0][0], h), r)
        side = slices(b, r, [n] * m)
        before = np.linalg.inv(transform.basis) if moving else transform.before
        sizes = [transform.real, *[float(np.hypot(*transform.pair[0]))] * 2]
        found = [times(1.0 / size, solved(b, at, times(1.0 / size, h), combined(b, weights, side)))
                 for size, weights in zip(sizes, before, strict=True)]  # fmt: skip
        return packed(b, [combined(b, weights, found) for weights in transform.basis])

    return krylov.Krylov(rtol, made(f"{nearly.name} of stages", 2 * m * n + 2 + n + own.shared, rows))
