"""Linear systems of implicit methods without matrices: GMRES, with a preconditioner of the user's."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastad.control.parts import Shared
from fastad.control.paths import Recordings
from fastad.equations import krylov
from fastad.ode.iteration import Iteration
from fastad.recording.source import at_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.composites.sub import emit_inline, made, packed, slices


@dataclass(frozen=True)
class Krylov:
    """For `jac=` of `solve_ivp`: no matrix is made; the systems W v = r with W = M − c ∂f/∂y are solved by GMRES, with
    products from the engine. For the largest systems, of which factors would not be sparse enough.

    Parameters
    ----------
    preconditioner : function (t, y, c, r, *args) in plain NumPy, linear in r, that returns nearly W⁻¹ r. It changes how
        many iterations are made, not the solution, so derivatives do not depend on it. It is transposed for adjoints.
    rtol : the residual of a system, relative to its right side.

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

    def solver(self, iteration: Iteration, found: Recordings | None, shared: Shared) -> krylov.Krylov:
        """The linear solver of the systems."""
        if found is None:
            return krylov.Krylov(self.rtol)
        n, number, state = iteration.n, ValueType((), "d"), ValueType((iteration.n,), "d")
        own = found.sub(shared, [number, state, number, state], [state])

        def rows(b: Builder, x: Ref) -> Ref:
            y, t, c, others, _, r = slices(b, x, (n, 1, 1, iteration.own, iteration.numbers, n))
            return emit_inline(b, own, packed(b, [t, y, c, r, others]))

        size = 2 * n + 2 + iteration.own + iteration.numbers
        return krylov.Krylov(self.rtol, made(found.name, size, rows))
