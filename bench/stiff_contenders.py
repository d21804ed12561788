"""fastad and its peers on stiff problems: each is prepared once, and solves for any tolerance."""
from collections.abc import Callable

import numpy as np

from bench.ode_contenders import jax_double
from bench.ode_precision import Contender, Solve
from bench.stiff import Stiff

At = Callable[[float], Solve]
MAX_STEPS = 1_000_000


def cost(np):
    """What gradients are of: a weighted sum of squares of the final state, by the initial state and parameters."""
    return lambda y: 0.5 * np.sum((y - 1.0) ** 2)


# ── fastad ────────────────────────────────────────────────────────────────────────────────────────────────────
def fastad_end(problem: Stiff, method: str) -> Callable:
    """The final state as a plain function of (y0, p, tolerance)."""
    import fastad as fad

    f, t1, small = problem.rhs(np), problem.t1, problem.small
    more = {} if problem.mass is None else {"mass": np.diag(problem.mass)}

    def end(y0, p, tolerance):
        tolerances = {"rtol": tolerance, "atol": tolerance * small}
        return fad.solve_ivp(f, (0.0, t1), y0, method, args=(p,), **tolerances, **more).y[:, -1]

    return end


def of_fastad(method: str, what: str = "solve") -> Callable[[Stiff], At]:
    """Native code. A gradient is one vector of the adjoints of (y0, p)."""

    def make(problem: Stiff) -> At:
        import fastad as fad

        end = fastad_end(problem, method)
        if what == "gradient":
            total = lambda y0, p, tolerance: cost(np)(end(y0, p, tolerance))
            run = fad.grad(total, argnums=(0, 1), tier="native").prepare(problem.y0, problem.p, 1e-3)
        else:
            run = fad.jit(end, tier="native").prepare(problem.y0, problem.p, 1e-3)

        def at(tolerance: float) -> Solve:
            def solve():
                run.inputs[2][...] = tolerance
                return run()

            return solve

        return at

    return make


# ── SciPy ─────────────────────────────────────────────────────────────────────────────────────────────────────
def of_scipy(method: str) -> Callable[[Stiff], At]:
    """As a SciPy user calls it: the right-hand side in NumPy, Jacobians by finite differences, with `jac_sparsity`
    where they are large."""

    def make(problem: Stiff) -> At:
        from scipy.integrate import solve_ivp

        f, given = problem.rhs(np), {}
        if problem.sparse and method != "LSODA":
            given["jac_sparsity"] = pattern(problem)

        def at(tolerance: float) -> Solve:
            def solve():
                return solve_ivp(f, (0.0, problem.t1), problem.y0, method, args=(problem.p,), rtol=tolerance,
                                 atol=tolerance * problem.small, **given).y[:, -1]  # fmt: skip

            return solve

        return at

    return make


def pattern(problem: Stiff):
    """The sparsity pattern of the Jacobian, as a SciPy matrix."""
    import fastad as fad

    f = problem.rhs(np)
    return fad.jacobian_sparsity(lambda y: f(0.0, y, problem.p), problem.y0)


# ── diffrax ───────────────────────────────────────────────────────────────────────────────────────────────────
def of_diffrax(solver: str, what: str = "solve") -> Callable[[Stiff], At]:
    def make(problem: Stiff) -> At:
        jax = jax_double()
        import diffrax

        jnp = jax.numpy
        term, small = diffrax.ODETerm(problem.rhs(jnp)), jnp.asarray(problem.small)
        y0, p = jnp.asarray(problem.y0), jnp.asarray(problem.p)

        def end(y0, p, tolerance):
            return diffrax.diffeqsolve(
                term, getattr(diffrax, solver)(), 0.0, problem.t1, None, y0, p, saveat=diffrax.SaveAt(t1=True),
                stepsize_controller=diffrax.PIDController(tolerance, tolerance * small), max_steps=16**4,
            ).ys[-1]  # fmt: skip

        gradient = jax.grad(lambda y0, p, tolerance: cost(jnp)(end(y0, p, tolerance)), argnums=(0, 1))
        run = jax.jit(gradient if what == "gradient" else end)
        return lambda tolerance: lambda: jax.block_until_ready(run(y0, p, tolerance))

    return make


# ── SUNDIALS ──────────────────────────────────────────────────────────────────────────────────────────────────
def of_casadi(problem: Stiff) -> At:
    """CVODES, or IDAS for a DAE, with CasADi's Jacobians and virtual machine."""
    import casadi as ca

    ca.GlobalOptions.setNumpyMode(-1)  # as it was before there was a choice, without a warning
    n, m = len(problem.y0), len(problem.p)
    y, p = ca.SX.sym("y", n), ca.SX.sym("p", m)
    slope = problem.rhs(np)(0.0, *(np.array(ca.vertsplit(x), dtype=object) for x in (y, p)))
    slope = slope if isinstance(slope, ca.SX) else ca.vertcat(*slope)
    last = problem.algebraic.tolist()
    first = [i for i in range(n) if i not in last]
    system = {"x": y[first], "p": p, "ode": slope[first]}
    if last:
        system |= {"z": y[last], "alg": slope[last]}
    small = np.broadcast_to(problem.small, (n,))
    initial = problem.rhs(np)(0.0, problem.y0, problem.p)[first]  # IDAS does not find it at t = 0 of a long span

    def at(tolerance: float) -> Solve:
        # CasADi takes one absolute tolerance only: the one that the smallest component needs
        options = {"max_num_steps": MAX_STEPS, "reltol": tolerance, "abstol": tolerance * float(small.min())}
        if last:
            options |= {"calc_ic": False, "init_xdot": initial.tolist()}
        solver = ca.integrator("end", "idas" if last else "cvodes", system, 0.0, problem.t1, options)
        start = {"x0": problem.y0[first], "p": problem.p} | ({"z0": problem.y0[last]} if last else {})

        def solve():
            found = solver(**start)
            whole = np.empty(n)
            whole[first] = np.asarray(found["xf"]).ravel()
            if last:
                whole[last] = np.asarray(found["zf"]).ravel()
            return whole

        return solve

    return at


def of_sundae(problem: Stiff) -> At:
    """CVODE, or IDA for a DAE, of scikit-sundae; the right-hand side in NumPy, sparse Jacobians with their pattern."""
    f, p, mass = problem.rhs(np), problem.p, problem.mass
    small = np.broadcast_to(problem.small, problem.y0.shape)

    def at(tolerance: float) -> Solve:
        options = {"rtol": tolerance, "atol": tolerance * small, "max_num_steps": MAX_STEPS}
        if mass is not None:
            return _by_ida(problem, lambda t, y, slope, out: np.subtract(f(t, y, p), mass * slope, out=out), options)
        from sksundae.cvode import CVODE

        def slope(t, y, out):
            out[:] = f(t, y, p)

        if problem.sparse:
            options |= {"linsolver": "sparse", "sparsity": pattern(problem)}
        solver, span = CVODE(slope, **options), np.array([0.0, problem.t1])
        return lambda: checked(solver.solve(span, problem.y0))

    return at


def _by_ida(problem: Stiff, residual: Callable, options: dict) -> Solve:
    from sksundae.ida import IDA

    slope = np.where(problem.mass == 0.0, 0.0, problem.rhs(np)(0.0, problem.y0, problem.p))
    solver, span = IDA(residual, algebraic_idx=problem.algebraic, **options), np.array([0.0, problem.t1])
    return lambda: checked(solver.solve(span, problem.y0, slope))


def checked(found) -> np.ndarray:
    if not found.success:
        raise RuntimeError(found.message)
    return found.y[-1]


_METHODS = ("Rodas5P", "Kvaerno5", "RadauIIA5", "BDF", "auto")
OURS = [Contender(f"fastad {method}", of_fastad(method)) for method in _METHODS]
ODE_CONTENDERS = [
    *OURS,
    *(Contender(f"SciPy {method}", of_scipy(method)) for method in ("Radau", "BDF", "LSODA")),
    Contender("diffrax Kvaerno5", of_diffrax("Kvaerno5")),
    Contender("CVODES BDF", of_casadi),
    Contender("sundae BDF", of_sundae),
]
DAE_CONTENDERS = [*OURS[:-1], Contender("IDAS BDF", of_casadi), Contender("sundae BDF", of_sundae)]
GRADIENTS = [
    *(Contender(own.name, of_fastad(own.name.split()[1], "gradient")) for own in OURS),
    Contender("diffrax Kvaerno5", of_diffrax("Kvaerno5", "gradient")),
]
