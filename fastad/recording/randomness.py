"""Detects random numbers drawn while a function is recorded: they become constants of the recording."""

import pickle
import sys
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np


def random_states(held: Iterable[Any]) -> list[Hashable]:
    """States of the global generators, NumPy's and Python's, and of the generators among the objects that a function
    refers to."""
    found: list[Hashable] = []
    states: list[Any] = []
    pythons, numpys = sys.modules.get("random"), "numpy.random" in sys.modules
    if pythons is not None:
        found.append(pythons.getstate())
    if numpys:
        states.append(np.random.get_state(legacy=False))  # noqa: NPY002 - the one that users draw from
    for x in held:
        if pythons is not None and isinstance(x, pythons.Random):
            found.append(x.getstate())
        elif numpys and isinstance(x, np.random.Generator):
            states.append(x.bit_generator.state)
        elif numpys and isinstance(x, np.random.RandomState):
            states.append(x.get_state(legacy=False))
    return [*found, *(pickle.dumps(state) for state in states)]
