"""fastad and its peers on the ODE problems: each call is prepared as a user who wants speed would do it."""
from collections.abc import Callable

import numpy as np

from bench.odes import Problem, network

CONTENDERS: dict[str, tuple[str, Callable]] = {}  # by name: the package, and the maker of a call


def contender(name: str, package: str):
    """Register a maker: (problem, what) to a call, or None where it has no such method."""

    def register(make):
        CONTENDERS[name] = package, make
        return make

    return register


def cost(np):
    return lambda y: 0.5 * np.sum((y - 1.0) ** 2)


# ---- fastad -------------------------------------------------------------------------------------------------------
def fastad_function(problem: Problem):
    """The final state as a plain function of (y0, p)."""
    import fastad as fad

    f, t1, method = problem.rhs(np), problem.t1, problem.method  # what a function refers to is looked at in every call
    control = {"step": problem.step} if problem.steps else {"rtol": problem.rtol, "atol": problem.rtol}

    def end(y0, p):
        return fad.solve_ivp(f, (0.0, t1), y0, method, args=(p,), **control).y[:, -1]

    return end


@contender("fastad", "fastad")
def of_fastad(problem: Problem, what: str):
    import fastad as fad

    end = fastad_function(problem)
    if problem.lanes:
        end = fad.vmap(end, in_axes=(0, None))
    if what == "solve":
        run = fad.jit(end, tier="native").prepare(problem.y0, problem.p)
    else:
        run = fad.grad(lambda y0, p: cost(np)(end(y0, p)), argnums=(0, 1), tier="native").prepare(problem.y0, problem.p)
    return run


@contender("fastad, one by one", "fastad")
def of_fastad_one_by_one(problem: Problem, what: str):
    """A native loop over the trajectories, which solves one after another: what lanes are compared with."""
    if not problem.lanes:
        return None
    import fastad as fad

    end = fastad_function(problem)

    def ends(y0, p):
        return fad.scan(lambda p, start: (p, end(start, p)), p, y0)[1]

    if what == "solve":
        return fad.jit(ends, tier="native").prepare(problem.y0, problem.p)
    total = lambda y0, p: cost(np)(ends(y0, p))
    return fad.grad(total, argnums=(0, 1), tier="native").prepare(problem.y0, problem.p)


# ---- by hand ------------------------------------------------------------------------------------------------------
@contender("numba by hand", "numba")
def of_numba(problem: Problem, what: str):
    if problem.name != "lv-fixed" or what != "solve":
        return None
    import numba

    @numba.njit
    def solve(y0, p, h, steps):
        a, b = y0
        p0, p1, p2, p3 = p
        for _ in range(steps):
            k1a, k1b = p0 * a - p1 * a * b, p3 * a * b - p2 * b
            x, y = a + h / 2 * k1a, b + h / 2 * k1b
            k2a, k2b = p0 * x - p1 * x * y, p3 * x * y - p2 * y
            x, y = a + h / 2 * k2a, b + h / 2 * k2b
            k3a, k3b = p0 * x - p1 * x * y, p3 * x * y - p2 * y
            x, y = a + h * k3a, b + h * k3b
            k4a, k4b = p0 * x - p1 * x * y, p3 * x * y - p2 * y
            a += h / 6 * (k1a + 2 * k2a + 2 * k3a + k4a)
            b += h / 6 * (k1b + 2 * k2b + 2 * k3b + k4b)
        return a, b

    return lambda: solve(problem.y0, problem.p, problem.step, problem.steps)


# ---- JAX ----------------------------------------------------------------------------------------------------------
def jax_double():
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


def _jitted(problem: Problem, what: str, end: Callable):
    jax = jax_double()
    jnp = jax.numpy
    many = jax.vmap(end, in_axes=(0, None)) if problem.lanes else end
    run = many if what == "solve" else jax.grad(lambda y0, p: cost(jnp)(many(y0, p)), argnums=(0, 1))
    compiled, y0, p = jax.jit(run), jnp.asarray(problem.y0), jnp.asarray(problem.p)
    return lambda: jax.block_until_ready(compiled(y0, p))


@contender("jax, scan of RK4", "jax")
def of_jax(problem: Problem, what: str):
    if problem.method != "RK4":
        return None
    jax = jax_double()
    f, h = problem.rhs(jax.numpy), problem.step

    def end(y0, p):
        def step(y, _):
            k1 = f(0.0, y, p)
            k2 = f(0.0, y + h / 2 * k1, p)
            k3 = f(0.0, y + h / 2 * k2, p)
            k4 = f(0.0, y + h * k3, p)
            return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        return jax.lax.scan(step, y0, None, length=problem.steps)[0]

    return _jitted(problem, what, end)


@contender("diffrax", "diffrax")
def of_diffrax(problem: Problem, what: str):
    """RecursiveCheckpointAdjoint, its default. It has no RK4: Bosh3 has one evaluation less."""
    jax = jax_double()
    import diffrax

    f = problem.rhs(jax.numpy)
    solver = diffrax.Bosh3() if problem.method == "RK4" else diffrax.Tsit5()
    control = diffrax.ConstantStepSize() if problem.steps else diffrax.PIDController(problem.rtol, problem.rtol)

    def end(y0, p):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(f), solver, 0.0, problem.t1, problem.step, y0, p, stepsize_controller=control,
            saveat=diffrax.SaveAt(t1=True), max_steps=16**4,
        )  # fmt: skip
        return found.ys[-1]

    return _jitted(problem, what, end)


# ---- others -------------------------------------------------------------------------------------------------------
@contender("scipy, RK45", "scipy")
def of_scipy(problem: Problem, what: str):
    if what != "solve" or problem.steps or problem.lanes:
        return None
    from scipy.integrate import solve_ivp

    f = problem.rhs(np)
    return lambda: solve_ivp(
        f, (0.0, problem.t1), problem.y0, "RK45", args=(problem.p,), rtol=problem.rtol, atol=problem.rtol
    ).y[:, -1]


@contender("torchdiffeq", "torchdiffeq")
def of_torchdiffeq(problem: Problem, what: str):
    """odeint, differentiated through its steps."""
    if problem.name not in ("lv-adaptive", "network"):
        return None
    import torch
    from torchdiffeq import odeint

    torch.set_default_dtype(torch.float64)
    y0, p = (torch.tensor(x, requires_grad=what == "gradient") for x in (problem.y0, problem.p))
    times = torch.tensor([0.0, problem.t1])
    if problem.name == "network":
        f = network(_Torch)
        options = {"method": "rk4", "options": {"step_size": problem.step}}
    else:
        f = lambda t, y, p: torch.stack([p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]])
        options = {"method": "dopri5", "rtol": problem.rtol, "atol": problem.rtol}

    def call():
        end = odeint(lambda t, y: f(t, y, p), y0, times, **options)[-1]
        if what == "solve":
            return end
        return torch.autograd.grad(0.5 * torch.sum((end - 1.0) ** 2), (y0, p))

    return call


class _Torch:
    """The names of NumPy that `network` uses."""

    @staticmethod
    def tanh(x):
        return x.tanh()


@contender("casadi, CVODES", "casadi")
def of_casadi(problem: Problem, what: str):
    """CVODES as CasADi sets it: BDF, Newton's method with Jacobians."""
    if problem.steps or problem.lanes:
        return None
    return of_symbols(problem, what, {"reltol": problem.rtol, "abstol": problem.rtol})


def of_symbols(problem: Problem, what: str, options: dict):
    """CVODES with a right-hand side of CasADi's symbols: NumPy computes with arrays of them."""
    import casadi as ca

    ca.GlobalOptions.setNumpyMode(-1)  # as it was before there was a choice, without a warning
    n, m = len(problem.y0), len(problem.p)
    y, p = ca.SX.sym("y", n), ca.SX.sym("p", m)
    slope = problem.rhs(np)(0.0, *(np.array(ca.vertsplit(x), dtype=object) for x in (y, p)))
    ode = slope if isinstance(slope, ca.SX) else ca.vertcat(*slope)  # CasADi makes a matrix of an array times a symbol
    system = {"x": y, "p": p, "ode": ode}
    solve = ca.integrator("end", "cvodes", system, 0.0, problem.t1, {"max_num_steps": 1_000_000, **options})
    y0, q = ca.MX.sym("y0", n), ca.MX.sym("p", m)
    end = solve(x0=y0, p=q)["xf"]
    total = 0.5 * ca.sumsqr(end - 1.0)
    outputs = [end] if what == "solve" else [ca.gradient(total, y0), ca.gradient(total, q)]
    run = ca.Function("run", [y0, q], outputs)
    return lambda: run(problem.y0, problem.p)
