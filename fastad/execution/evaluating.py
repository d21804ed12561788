"""Evaluation of composite rows while they are recorded: drivers run by their kernels."""

from typing import Any

import numpy as np

from fastad.execution.calling import kernel_of
from fastad.execution.drivers import row_evaluations
from fastad.execution.executors import AUTO, policy
from fastad.execution.marshalling import run_part
from fastad.tables import composite
from fastad.tables.composite import Driver


def run(sub: Driver, x: np.ndarray, kept: Any = None) -> np.ndarray:
    """The result of a driver for a vector; `kept` is what was kept for it."""
    kernel = vars(sub).get("_evaluator")
    if kernel is None:
        executor = policy(AUTO).once(row_evaluations(sub))
        kernel = vars(sub)["_evaluator"] = kernel_of(sub, executor.part)
    return run_part(kernel, sub, x, kept)


composite.runner = run
