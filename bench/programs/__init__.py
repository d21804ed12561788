"""Programs as people write them for other tools, in plain NumPy: what is measured is how long one waits, and in how
much memory.

A program is a module of this folder:

- `SIZES = {"small": …, "full": …}`, its sizes;
- `arguments(size)`, its arguments in NumPy arrays, always the same ones; the first is what is differentiated: an array
  or a tuple of arrays;
- `program(np, x, …)`, a number, over a namespace `np`: NumPy, autograd.numpy and jax.numpy run the same source;
- `IN_PLACE = True` where it writes into arrays, which autograd and JAX cannot follow.

`python -m bench.programs [name …]` measures them; `bench.program_runs` says how.
"""
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

NAMES = (
    "character_rnn", "lstm", "vae", "bayesian_network", "hidden_markov", "mixture", "fluid", "heat_design", "jacobi",
    "cholesky", "lu", "nbody", "determinant", "bundle_adjustment", "rk4", "syrk", "recursive_filter", "covariance",
    "variational", "vertical_advection", "gauss_seidel", "hand", "gan", "convolutional", "wing", "cavity", "adi",
    "hidden_markov_em",
)  # fmt: skip


def load(name: str) -> ModuleType:
    """The module of a program; ValueError if there is none of this name."""
    if name not in NAMES:
        raise ValueError(f"there is no program {name!r}; known: {', '.join(NAMES)}")
    return importlib.import_module(f"bench.programs.{name}")


def over(name: str, np: Any, size: str) -> tuple[Callable, Any]:
    """The program as a function of what is differentiated, over a namespace, and where."""
    own = load(name)
    x, *data = own.arguments(own.SIZES[size])
    return lambda x: own.program(np, x, *data), x


def in_place(name: str) -> bool:
    return getattr(load(name), "IN_PLACE", False)
