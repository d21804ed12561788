"""Automatic differentiation of plain NumPy code."""

from fastad import linalg, ode, soft, special
from fastad.checkpointing import checkpoint
from fastad.checks import debug
from fastad.checks.differences import finite_difference
from fastad.checks.gradients import check_adjoint, check_grads
from fastad.checks.profiling import profile
from fastad.control.branches import cond
from fastad.control.inverses import check_inverse
from fastad.control.loops import fori_loop, scan, while_loop
from fastad.equations.root import fixed_point, root
from fastad.equations.wrapped import implicit
from fastad.errors import *  # noqa: F403
from fastad.ode.solving import solve_ivp
from fastad.optimize.least_squares import least_squares
from fastad.optimize.minimizing import minimize
from fastad.optimize.quadratic import quadprog
from fastad.transforms.base import load
from fastad.transforms.composite import check_primitive, primitive
from fastad.transforms.public import (
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    linearize,
    trace,
    value_and_grad,
    vjp,
    vmap,
)
from fastad.transforms.tape import Tape
from fastad.version import __version__

__all__ = [
    "Tape", "__version__", "check_adjoint", "check_grads", "check_inverse", "check_primitive", "checkpoint", "cond",
    "debug", "finite_difference", "fixed_point", "fori_loop", "grad", "hessian", "hvp", "implicit", "jacfwd",
    "jacobian", "jacrev", "jit", "jvp", "least_squares", "linalg", "linearize", "load", "minimize", "ode", "primitive",
    "profile", "quadprog", "root", "scan", "soft", "solve_ivp", "special", "trace", "value_and_grad", "vjp", "vmap",
    "while_loop",
]  # fmt: skip
