"""The registry of contenders: who can run which workload, and how.

A contender's factory takes a workload and `what` to compute ("primal", "value_and_grad", "grad", "jacobian",
"hessian"). It returns a function of no arguments that computes it once, prepared as a user who wants speed would.
`to_numpy` converts results to NumPy for comparison; it is not timed.
"""
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from bench.workloads import Workload

REGISTRY: dict[tuple[str, str], "Contender"] = {}


@dataclass(frozen=True)
class Contender:
    name: str
    package: str
    factory: Callable[[Workload, str], Callable]
    to_numpy: Callable
    primal: bool  # may also be asked for the function alone


def contender(name: str, workloads, package: str | None = None, to_numpy=lambda result: result, primal=True):
    """Register the decorated factory for these workloads. It is skipped where `package` is not installed."""

    def register(factory):
        for workload in workloads:
            REGISTRY[workload, name] = Contender(name, package or name, factory, to_numpy, primal)
        return factory

    return register


def available(package: str) -> bool:
    try:
        return importlib.import_module(package).__file__ is not None  # a bare folder is no package
    except ImportError:
        return False
