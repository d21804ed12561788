"""Automatic differentiation of plain NumPy code."""

from fastad import errors as _errors
from fastad.checks import debug
from fastad.errors import *  # noqa: F403
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
from fastad.transforms.saved import load
from fastad.transforms.tape import Tape
from fastad.version import __version__

__all__ = [
    "Tape", "__version__", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jit", "jvp", "linearize", "load", "trace",
    "value_and_grad", "vjp", "vmap",
    "debug",
]  # fmt: skip
