"""ODE problems: right-hand sides in NumPy and JAX, data, and what is computed.

`what` is "solve" (the final state) or "gradient" (of a cost of the final state, by the initial state and parameters).
"""
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from bench.workloads import size


@dataclass(frozen=True)
class Problem:
    """`rhs(np)` gives f(t, y, p) for a module; `y0` of shape (n,) or (lanes, n); fixed steps if `steps` is given."""

    name: str
    title: str
    rhs: Callable[[ModuleType], Callable]
    t1: float
    y0: np.ndarray
    p: np.ndarray
    steps: int | None = None
    rtol: float = 1e-8
    method: str = "Tsit5"
    lanes: bool = False

    @property
    def step(self) -> float | None:
        return None if self.steps is None else self.t1 / self.steps


def lotka_volterra(np):
    def f(t, y, p):
        return np.array([p[0] * y[0] - p[1] * y[0] * y[1], p[3] * y[0] * y[1] - p[2] * y[1]])

    return f


def lorenz(np):
    def f(t, y, p):
        return np.array([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])

    return f


def bodies(np):
    """25 bodies in a plane, softened attraction; y = [positions (25, 2), velocities (25, 2)], p their masses."""

    def f(t, y, p):
        x, v = y[:50].reshape(25, 2), y[50:]
        apart = x[None, :, :] - x[:, None, :]
        distance = np.sum(apart * apart, axis=2) + 0.05
        pull = np.sum(apart * (p[None, :] / (distance * np.sqrt(distance)))[:, :, None], axis=1)
        return np.concatenate([v, pull.reshape(-1)])

    return f


def bodies_apart(np):
    """The same with coordinates apart: y = [x (25,), z (25,), their velocities], p the masses."""

    def f(t, y, p):
        x, z, v = y[:25], y[25:50], y[50:]
        across, along = x[None, :] - x[:, None], z[None, :] - z[:, None]
        distance = across * across + along * along + 0.05
        pull = p[None, :] / (distance * np.sqrt(distance))
        return np.concatenate([v, np.sum(pull * across, axis=1), np.sum(pull * along, axis=1)])

    return f


def pleiades(np):
    """Seven stars in a plane, star i of mass i; y = [x, y, their velocities], p their masses: Hairer, Nørsett & Wanner,
    Solving Ordinary Differential Equations I, II.10."""

    def f(t, y, p):
        x, z, v = y[:7], y[7:14], y[14:]
        across, along = x[None, :] - x[:, None], z[None, :] - z[:, None]
        squares = across**2 + along**2 + np.eye(7)  # a star does not pull itself: its distance in across and along is 0
        pull = p[None, :] / (squares * np.sqrt(squares))
        return np.concatenate([v, np.sum(pull * across, axis=1), np.sum(pull * along, axis=1)])

    return f


PLEIADES = np.array(
    [3, 3, -1, -3, 2, -2, 2, 3, -3, 2, 0, 0, -4, 4, 0, 0, 0, 0, 0, 1.75, -1.5, 0, 0, 0, -1.25, 1, 0, 0], float
)  # x, y, their velocities


def arenstorf(np):
    """A satellite of Earth and Moon, whose mass is p₀ of both, in coordinates that turn with them; y = [position,
    velocity]: Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I, II.0."""

    def f(t, y, p):
        moon, earth = p[0], 1.0 - p[0]
        to_earth = (y[0] + moon) ** 2 + y[1] ** 2
        to_moon = (y[0] - earth) ** 2 + y[1] ** 2
        a, b = earth / (to_earth * np.sqrt(to_earth)), moon / (to_moon * np.sqrt(to_moon))
        return np.array([y[2], y[3], y[0] + 2.0 * y[3] - a * (y[0] + moon) - b * (y[0] - earth),
                         y[1] - 2.0 * y[2] - a * y[1] - b * y[1]])  # fmt: skip

    return f


ARENSTORF = np.array([0.994, 0.0, 0.0, -2.00158510637908252240537862224])  # an orbit of this period:
PERIOD = 17.0652165601579625588917206249


def reaction_diffusion(np):
    """Fisher's equation u_t = p₀ u_xx + p₁ u (1 − u) on cells of a periodic interval."""

    def f(t, y, p):
        return p[0] * (np.roll(y, 1) - 2.0 * y + np.roll(y, -1)) + p[1] * y * (1.0 - y)

    return f


WIDTH, BATCH = 64, size(128, 8)


def network(np):
    """A network 2 → 64 → 2 on a batch; p holds its weights one after another."""

    def f(t, y, p):
        w, b, v, c = p[: 2 * WIDTH], p[2 * WIDTH : 3 * WIDTH], p[3 * WIDTH : 5 * WIDTH], p[5 * WIDTH :]
        hidden = np.tanh(y.reshape(-1, 2) @ w.reshape(2, WIDTH) + b)
        return (hidden @ v.reshape(WIDTH, 2) + c).reshape(-1)

    return f


def _problems() -> list[Problem]:
    rng = np.random.default_rng(20261127)
    prey = np.array([1.5, 1.0, 3.0, 1.0])
    chaos = np.array([10.0, 28.0, 8.0 / 3.0])
    count = size(10_000, 16)
    starts = np.array([1.0, 1.0, 1.0]) + 0.1 * rng.standard_normal((count, 3))
    cells = size(1000, 32)
    front = np.exp(-np.linspace(-5, 5, cells) ** 2)
    swarm = np.concatenate([rng.standard_normal(50), 0.1 * rng.standard_normal(50)])
    apart = swarm.reshape(2, 25, 2).transpose(0, 2, 1).ravel()
    weights = 0.3 * rng.standard_normal(5 * WIDTH + 2)
    return [
        Problem("lv-fixed", "Lotka–Volterra, RK4, 1,000 steps", lotka_volterra, 10.0, np.ones(2), prey, 1000,
                method="RK4"),
        Problem("lv-adaptive", "Lotka–Volterra, Tsit5, tolerances 10⁻⁸", lotka_volterra, 10.0, np.ones(2), prey),
        Problem("lorenz-fixed", f"{count:,} Lorenz systems, RK4, 100 steps", lorenz, 1.0, starts, chaos, 100,
                method="RK4", lanes=True),
        Problem("lorenz-adaptive", f"{count:,} Lorenz systems, Tsit5, tolerances 10⁻⁶", lorenz, 1.0, starts, chaos,
                rtol=1e-6, lanes=True),
        Problem("bodies", "25 bodies in a plane (100 components), arrays (25, 2), Tsit5, 10⁻⁸", bodies, 2.0, swarm,
                np.full(25, 1.0 / 25)),
        Problem("bodies-apart", "25 bodies in a plane, x and y apart, Tsit5, 10⁻⁸", bodies_apart, 2.0, apart,
                np.full(25, 1.0 / 25)),
        Problem("fisher", f"Fisher's equation, {cells:,} cells, Tsit5, 10⁻⁶", reaction_diffusion, 5.0, front,
                np.array([0.2, 1.0]), rtol=1e-6),
        Problem("network", f"neural ODE 2→64→2, batch {BATCH}, Tsit5, 20 steps", network, 1.0,
                rng.standard_normal(2 * BATCH), weights, 20),
    ]  # fmt: skip


PROBLEMS = {problem.name: problem for problem in _problems()}
