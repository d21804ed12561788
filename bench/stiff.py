"""Stiff problems in plain NumPy, with reference solutions.

ROBER, OREGO, HIRES, VDPOL, POLLU, the chemical Akzo Nobel problem and the pendulum are those of the Test Set for IVP
Solvers (Mazzia & Magherini, University of Bari, release 2.4) and of Hairer & Wanner, Solving Ordinary Differential
Equations II, IV.10 and VI.1; final values are the test set's.
"""
from dataclasses import dataclass, field

import numpy as np

from bench.odes import Problem
from bench.workloads import size


@dataclass(frozen=True)
class Stiff(Problem):
    """A problem whose components matter down to `small`, a number or one for each: absolute tolerances are `small`
    times the relative one. `final` has components of the final state, NaN where no reference is known. With a `mass`,
    the diagonal of a mass matrix, components of mass 0 are algebraic. `sparse`: the Jacobian is large and sparse."""

    small: float | np.ndarray = 1.0
    final: np.ndarray | None = field(default=None)
    mass: np.ndarray | None = field(default=None)
    sparse: bool = False

    @property
    def algebraic(self) -> np.ndarray:
        """Numbers of the components without a derivative."""
        return np.flatnonzero(self.mass == 0.0) if self.mass is not None else np.zeros(0, int)


def rober(np):
    """Robertson (1966): three species of an autocatalytic reaction."""

    def f(t, y, p):
        slow, back, fast = p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]
        return np.array([back - slow, slow - back - fast, fast])

    return f


def robers(np):
    """Copies of ROBER: y = [all y₁, all y₂, all y₃]."""

    def f(t, y, p):
        y = y.reshape(3, -1)
        slow, back, fast = p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]
        return np.concatenate([back - slow, slow - back - fast, fast])

    return f


def conserved_rober(np):
    """ROBER as a DAE: the sum of all species is 1."""

    def f(t, y, p):
        slow, back, fast = p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]
        return np.array([back - slow, slow - back - fast, y[0] + y[1] + y[2] - 1.0])

    return f


def orego(np):
    """The Oregonator: Belousov and Zhabotinsky's reaction."""

    def f(t, y, p):
        return np.array([p[0] * (y[1] + y[0] * (1.0 - p[1] * y[0] - y[1])), (y[2] - (1.0 + y[0]) * y[1]) / p[0],
                         p[2] * (y[0] - y[2])])  # fmt: skip

    return f


def hires(np):
    """High irradiance response of a plant (Schäfer 1975)."""

    def f(t, y, p):
        joined, split = p[8] * y[5] * y[7], p[9] * y[6]
        return np.array([
            -p[0] * y[0] + p[1] * y[1] + p[2] * y[2] + p[3], p[0] * y[0] - p[4] * y[1],
            -p[5] * y[2] + p[1] * y[3] + p[6] * y[4], p[2] * y[1] + p[0] * y[2] - p[7] * y[3],
            -1.745 * y[4] + p[1] * y[5] + p[1] * y[6], -joined + 0.69 * y[3] + p[0] * y[4] - p[1] * y[5] + 0.69 * y[6],
            joined - split, split - joined,
        ])  # fmt: skip

    return f


def vdpol(np):
    """Van der Pol's oscillator, a relaxation oscillation."""

    def f(t, y, p):
        return np.array([y[1], p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0]])

    return f


POLLUTION = np.array([0.35, 26.6, 1.23e4, 8.6e-4, 8.2e-4, 1.5e4, 1.3e-4, 2.4e4, 1.65e4, 9e3, 0.022, 1.2e4, 1.88, 1.63e4,
                      4.8e6, 3.5e-4, 0.0175, 1e8, 4.44e11, 1240.0, 2.1, 5.78, 0.0474, 1780.0, 3.12])  # fmt: skip


def pollu(np):
    """Air pollution: 25 reactions of 20 species (Verwer 1994)."""

    def f(t, y, k):
        r = [k[0] * y[0], k[1] * y[1] * y[3], k[2] * y[4] * y[1], k[3] * y[6], k[4] * y[6], k[5] * y[6] * y[5],
             k[6] * y[8], k[7] * y[8] * y[5], k[8] * y[10] * y[1], k[9] * y[10] * y[0], k[10] * y[12],
             k[11] * y[9] * y[1], k[12] * y[13], k[13] * y[0] * y[5], k[14] * y[2], k[15] * y[3], k[16] * y[3],
             k[17] * y[15], k[18] * y[15], k[19] * y[16] * y[5], k[20] * y[18], k[21] * y[18], k[22] * y[0] * y[3],
             k[23] * y[18] * y[0], k[24] * y[19]]  # fmt: skip
        return np.array([
            -r[0] - r[9] - r[13] - r[22] - r[23] + r[1] + r[2] + r[8] + r[10] + r[11] + r[21] + r[24],
            -r[1] - r[2] - r[8] - r[11] + r[0] + r[20],
            -r[14] + r[0] + r[16] + r[18] + r[21], -r[1] - r[15] - r[16] - r[22] + r[14],
            -r[2] + 2.0 * r[3] + r[5] + r[6] + r[12] + r[19], -r[5] - r[7] - r[13] - r[19] + r[2] + 2.0 * r[17],
            -r[3] - r[4] - r[5] + r[12], r[3] + r[4] + r[5] + r[6], -r[6] - r[7], -r[11] + r[6] + r[8],
            -r[8] - r[9] + r[7] + r[10], r[8], -r[10] + r[9], -r[12] + r[11], r[13], -r[17] - r[18] + r[15], -r[19],
            r[19], -r[20] - r[21] - r[23] + r[22] + r[24], -r[24] + r[23],
        ])  # fmt: skip

    return f


def brusselator(np):
    """The Brusselator on a periodic square of N² cells, diffusion p₂: Hairer & Wanner, IV.10, without the source."""

    def f(t, y, p):
        n = round((y.size // 2) ** 0.5)
        y = y.reshape(2, n, n)
        u, v = y[0], y[1]

        def diffused(z):
            neighbours = np.roll(z, 1, 0) + np.roll(z, -1, 0) + np.roll(z, 1, 1) + np.roll(z, -1, 1)
            return p[2] * n * n * (neighbours - 4.0 * z)

        reaction = u * u * v
        du = p[0] + reaction - (p[1] + 1.0) * u + diffused(u)
        dv = p[1] * u - reaction + diffused(v)
        return np.concatenate([du.reshape(-1), dv.reshape(-1)])

    return f


def pendulum(np):
    """A pendulum of length 1 with index 1: y = [position, velocity, force of the rod]."""

    def f(t, y, p):
        pull = y[4]
        kept = y[2] * y[2] + y[3] * y[3] - pull * (y[0] * y[0] + y[1] * y[1]) - p[0] * y[1]
        return np.array([y[2], y[3], -pull * y[0], -pull * y[1] - p[0], kept])

    return f


def akzo_nobel(np):
    """A chemical process of Akzo Nobel: six species, one of them in equilibrium with two others."""

    def f(t, y, p):
        root = np.sqrt(y[1])
        r1, r2, r3 = p[0] * y[0] ** 4 * root, p[1] * y[2] * y[3], p[1] / p[4] * y[0] * y[4]
        r4, r5 = p[2] * y[0] * y[3] * y[3], p[3] * y[5] * y[5] * root
        inflow = p[5] * (p[7] / p[8] - y[1])
        return np.array([-2.0 * r1 + r2 - r3 - r4, -0.5 * r1 - r4 - 0.5 * r5 + inflow, r1 - r2 + r3,
                         -r2 + r3 - 2.0 * r4, r2 - r3 + r5, p[6] * y[0] * y[3] - y[5]])  # fmt: skip

    return f


# ── data ──────────────────────────────────────────────────────────────────────────────────────────────────────
RATES = np.array([0.04, 1e4, 3e7])
HIRES_RATES = np.array([1.71, 0.43, 8.32, 0.0007, 8.75, 10.03, 0.035, 1.12, 280.0, 1.81])
AKZO_RATES = np.array([18.7, 0.58, 0.09, 0.42, 34.4, 3.3, 115.83, 0.9, 737.0])


def _pollu_start() -> np.ndarray:
    y0 = np.zeros(20)
    y0[[1, 3, 6, 7, 8, 16]] = 0.2, 0.04, 0.1, 0.3, 0.01, 0.007
    return y0


def _pollu_final() -> np.ndarray:
    found = np.full(20, np.nan)
    found[[0, 1, 19]] = 0.5646255480022769e-1, 0.1342484130422339, 0.5682943292316392e-4
    return found


def brusselator_of(n: int) -> Stiff:
    """The problem on n² cells, until its slow phase."""
    x = (np.arange(n) + 0.5) / n
    u = np.broadcast_to(22.0 * (x * (1.0 - x))[:, None] ** 1.5, (n, n))
    v = np.broadcast_to(27.0 * (x * (1.0 - x))[None, :] ** 1.5, (n, n))
    y0 = np.concatenate([u.ravel(), v.ravel()])
    return Stiff(f"brusselator-{n}", f"Brusselator, {n}² · 2 unknowns, periodic", brusselator, 11.5, y0,
                 np.array([1.0, 3.4, 0.1]), rtol=1e-6, sparse=True)  # fmt: skip


def robers_of(copies: int) -> Stiff:
    """Copies of ROBER as one system."""
    y0 = np.repeat([1.0, 0.0, 0.0], copies)
    return Stiff(f"rober-x{copies}", f"{copies:,} copies of ROBER as one system", robers, 1e11, y0, RATES, small=1e-8,
                 sparse=True)  # fmt: skip


def many_robers() -> Stiff:
    """ROBER systems with spread rates as an ensemble: `p` of shape (count, 3)."""
    count = size(10_000, 16)
    rates = RATES * np.exp(0.3 * np.random.default_rng(20261127).standard_normal((count, 3)))
    return Stiff("rober-many", f"{count:,} ROBER systems with spread rates", rober, 1e5, np.array([1.0, 0.0, 0.0]),
                 rates, rtol=1e-6, small=1e-8, lanes=True)  # fmt: skip


_VDPOL = np.array([1.706167732170469, -0.8928097010248125e-3])
_OREGO = np.array([1.000814870318523, 1228.178521549917, 132.0554942846706])
_ROBER = np.array([0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050])
_HIRES = np.array([
    0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2, 0.2386356198831331e-2,
    0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
])  # fmt: skip
_AKZO = np.array([
    0.1150794920661702, 0.1203831471567715e-2, 0.1611562887407974, 0.3656156421249283e-3, 0.1708010885264404e-1,
    0.4873531310307455e-2,
])  # fmt: skip
_AKZO_START = np.array([0.444, 0.00123, 0.0, 0.007, 0.0, 115.83 * 0.444 * 0.007])
_START = np.array([1.0, 0.0, 0.0])

ODES = {problem.name: problem for problem in [
    Stiff("rober", "ROBER, t = 10¹¹", rober, 1e11, _START, RATES, small=np.array([1e-8, 1e-14, 1.0]), final=_ROBER),
    Stiff("orego", "OREGO, t = 360", orego, 360.0, np.array([1.0, 2.0, 3.0]), np.array([77.27, 8.375e-6, 0.161]),
          final=_OREGO),
    Stiff("hires", "HIRES, t = 321.8122", hires, 321.8122, np.array([1.0, 0, 0, 0, 0, 0, 0, 0.0057]), HIRES_RATES,
          small=1e-4, final=_HIRES),
    Stiff("vdpol", "VDPOL, μ = 1000, t = 2000", vdpol, 2000.0, np.array([2.0, 0.0]), np.array([1000.0]), small=1e-3,
          final=_VDPOL),
    Stiff("pollu", "POLLU, t = 60", pollu, 60.0, _pollu_start(), POLLUTION, small=1e-4, final=_pollu_final()),
]}  # fmt: skip

DAES = {problem.name: problem for problem in [
    Stiff("rober-dae", "ROBER with a conservation law, t = 10¹¹", conserved_rober, 1e11, _START, RATES,
          small=np.array([1e-8, 1e-14, 1.0]), final=_ROBER, mass=np.array([1.0, 1.0, 0.0])),
    Stiff("akzo-nobel", "chemical Akzo Nobel, t = 180", akzo_nobel, 180.0, _AKZO_START, AKZO_RATES, small=1e-4,
          final=_AKZO, mass=np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])),
    Stiff("pendulum", "pendulum of index 1, t = 10", pendulum, 10.0, np.array([1.0, 0.0, 0.0, 0.0, 0.0]),
          np.array([9.81]), small=1.0, mass=np.array([1.0, 1.0, 1.0, 1.0, 0.0])),
]}  # fmt: skip


def relative_error(problem: Stiff, found: np.ndarray) -> float:
    """The largest error of a component that is known, relative to its size, or to `small` where that is larger."""
    assert problem.final is not None
    wanted = problem.final
    known = np.isfinite(wanted)
    size_of = np.maximum(np.abs(wanted), np.broadcast_to(problem.small, wanted.shape))
    return float(np.max((np.abs(np.asarray(found) - wanted) / size_of)[known]))
