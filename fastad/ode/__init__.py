"""`fad.ode`: methods for ODEs, to be given to `fad.solve_ivp`, and what makes new ones."""

from fastad.ode.bdf import BDF
from fastad.ode.events import Event
from fastad.ode.implicit import SDIRK2, DiagonallyImplicitRK, ImplicitEuler, ImplicitMidpoint, Kvaerno5, Trapezoid
from fastad.ode.krylov import Krylov
from fastad.ode.methods import BS3, RK4, Dopri5, Dopri8, Euler, ExplicitRK, Heun, Midpoint, Tsit5
from fastad.ode.radau import RadauIIA5
from fastad.ode.reversible import Leapfrog, ReversibleHeun
from fastad.ode.rosenbrock import Rodas5P, Rosenbrock
from fastad.ode.solution import Solution

__all__ = [
    "BDF",
    "BS3",
    "RK4",
    "SDIRK2",
    "DiagonallyImplicitRK",
    "Dopri5",
    "Dopri8",
    "Euler",
    "Event",
    "ExplicitRK",
    "Heun",
    "ImplicitEuler",
    "ImplicitMidpoint",
    "Krylov",
    "Kvaerno5",
    "Leapfrog",
    "Midpoint",
    "RadauIIA5",
    "ReversibleHeun",
    "Rodas5P",
    "Rosenbrock",
    "Solution",
    "Trapezoid",
    "Tsit5",
]  # fmt: skip
