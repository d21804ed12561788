"""Detects random numbers drawn while a function is recorded: they become constants of the recording."""

import pickle
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np


def random_states(held: Iterable[Any]) -> list[bytes]:
    """States of NumPy's global generator and of the generators among the objects that a function refers to."""
    if "numpy.random" not in sys.modules:
        return []
    states: list[Any] = [np.random.get_state(legacy=False)]  # noqa: NPY002 - the one that users draw from
    for x in held:
        if isinstance(x, np.random.Generator):
            states.append(x.bit_generator.state)
        elif isinstance(x, np.random.RandomState):
            states.append(x.get_state(legacy=False))
    return [pickle.dumps(state) for state in states]
