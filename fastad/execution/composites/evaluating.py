"""Evaluation of composite rows while they are recorded: drivers run by their kernels."""

from typing import Any

import numpy as np

from fastad.execution.compiled import default_threads
from fastad.execution.composites.calling import kernel_of
from fastad.execution.executors import AUTO, policy
from fastad.execution.explaining import runs_drivers
from fastad.execution.marshalling import run_part
from fastad.tables.composites.driver import Driver


@runs_drivers
def run(sub: Driver, x: np.ndarray, saved: Any = None) -> np.ndarray:
    """The result of a driver for a vector; `saved` is what was saved for it."""
    kernel: Any = vars(sub).get("_evaluator")
    if kernel is None:
        chosen, threads = policy(AUTO), default_threads()
        executor = chosen.once(sub, threads)
        # With the threads of a whole program, so that the code of a loop is that of the program which it is a row of.
        _, kernel = chosen.make(executor, lambda executor: kernel_of(sub, executor.part, threads))
        vars(sub)["_evaluator"] = kernel
    return run_part(kernel, sub, x, saved)
