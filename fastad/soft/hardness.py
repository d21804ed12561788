"""`hardness`: the switch between relaxed and exact operators."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from fastad.recording.elementwise import detached
from fastad.recording.settings import Setting

MODE = Setting("hardness", "soft", "hard", "straight_through")


def hardness(mode: str) -> AbstractContextManager[None]:
    """Switch all operators of `fad.soft` inside a `with` block, in the current thread.

    - "soft" (the default): the relaxed value and its derivative.
    - "hard": the exact operators. Truth values are the numbers 0 and 1, with derivative 0. A number given as a truth
      value is true if it is at least 1/2.
    - "straight_through": the exact value with the derivative of the relaxed one (Bengio, Léonard & Courville 2013,
      "Estimating or propagating gradients through stochastic neurons").

    The mode is part of the key of a recorded function: `f = fad.jit(...)` is recorded once for each mode that it is
    called in, and each call replays the recording of its own mode. The functions that `fad.vjp` and `fad.linearize`
    return keep the mode in which these were called. Exported functions (`.save`, `.numba_function`) and a `Tape` keep
    the mode of their recording.

    Raises ValueError for another mode.

    >>> import fastad as fad
    >>> f = fad.value_and_grad(lambda x: fad.soft.greater(x, 0.0))
    >>> [[float(v) for v in f(0.0)]]
    [[0.5, 0.25]]
    >>> with fad.soft.hardness("hard"):
    ...     [float(v) for v in f(1.0)]
    [1.0, 0.0]
    >>> with fad.soft.hardness("straight_through"):
    ...     [float(v) for v in f(0.0)]
    [0.0, 0.25]
    """
    return MODE.chosen(MODE.checked(mode))


def switched(soft: Callable[[], Any], hard: Callable[[], Any]) -> Any:
    """The result of an operator in the current mode, from its relaxed and its exact form."""
    mode = MODE.read()
    if mode == "soft":
        return soft()
    return hard() if mode == "hard" else straight_through(hard(), soft())


def straight_through(exact: Any, relaxed: Any) -> Any:
    """The value of `exact` with the derivative of `relaxed`, as exact + relaxed − (relaxed as a constant)."""
    change = relaxed - detached(relaxed)
    return detached(exact) + np.where(np.isfinite(relaxed), change, 0.0)
