"""Automatic differentiation of plain NumPy code."""

import importlib
from typing import TYPE_CHECKING, Any

from fastad import scipy_sparse as _scipy_sparse  # noqa: F401  (it registers stand-ins)
from fastad.control.branches import cond
from fastad.control.loops import fori_loop, scan, while_loop
from fastad.errors import *  # noqa: F403
from fastad.transforms.base import load
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
    stop_gradient,
    trace,
    value_and_grad,
    vjp,
    vmap,
)
from fastad.version import __version__

if TYPE_CHECKING:
    from fastad import coloring, cuda, interop, linalg, ode, soft, sparse, special
    from fastad.checkpointing import checkpoint
    from fastad.checks import debug
    from fastad.checks.differences import finite_difference
    from fastad.checks.gradients import check_adjoint, check_grads
    from fastad.checks.profiling import profile
    from fastad.control.inverses import check_inverse
    from fastad.equations.root import fixed_point, root
    from fastad.equations.wrapped import implicit
    from fastad.ode.solving import solve_ivp
    from fastad.optimize.least_squares import least_squares
    from fastad.optimize.minimizing import minimize
    from fastad.optimize.quadratic import quadprog
    from fastad.sparse.derivatives import hessian_sparsity, jacobian_sparsity, sparse_hessian, sparse_jacobian
    from fastad.transforms.batches import map_batches
    from fastad.transforms.composite import check_primitive, primitive
    from fastad.transforms.tape import Tape

__all__ = [
    "Tape", "__version__", "check_adjoint", "check_grads", "check_inverse", "check_primitive", "checkpoint",
    "coloring", "cond", "cuda", "debug", "finite_difference", "fixed_point", "fori_loop", "grad", "hessian",
    "hessian_sparsity", "hvp", "implicit", "interop", "jacfwd", "jacobian", "jacobian_sparsity", "jacrev", "jit",
    "jvp", "least_squares", "linalg", "linearize", "load", "map_batches", "minimize", "ode", "primitive", "profile",
    "quadprog", "root", "scan", "soft", "solve_ivp", "sparse", "sparse_hessian", "sparse_jacobian", "special",
    "stop_gradient", "trace", "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip

# What many programs do without is imported when it is first asked for, which saves them time and 10 MB.
_HOMES = {
    "checkpointing": ("checkpoint",),
    "checks.differences": ("finite_difference",),
    "checks.gradients": ("check_adjoint", "check_grads"),
    "checks.profiling": ("profile",),
    "control.inverses": ("check_inverse",),
    "equations.root": ("fixed_point", "root"),
    "equations.wrapped": ("implicit",),
    "ode.solving": ("solve_ivp",),
    "optimize.least_squares": ("least_squares",),
    "optimize.minimizing": ("minimize",),
    "optimize.quadratic": ("quadprog",),
    "sparse.derivatives": ("hessian_sparsity", "jacobian_sparsity", "sparse_hessian", "sparse_jacobian"),
    "transforms.batches": ("map_batches",),
    "transforms.composite": ("check_primitive", "primitive"),
    "transforms.tape": ("Tape",),
}
_LATER = {name: f"fastad.{home}" for home, names in _HOMES.items() for name in names}
_MODULES = ("coloring", "cuda", "debug", "interop", "linalg", "ode", "soft", "sparse", "special")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"fastad.checks.{name}" if name == "debug" else f"fastad.{name}")
    if name not in _LATER:
        raise AttributeError(f"module 'fastad' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
