"""Detects random numbers drawn while a function is recorded: they become constants of the recording."""

import contextlib
import pickle
import sys
import threading
from collections.abc import Callable, Hashable, Iterable
from types import FrameType
from typing import Any

import numpy as np


def random_states(held: Iterable[Any]) -> dict[Any, Hashable]:
    """States of the global generators, NumPy's and Python's, and of the generators among the objects that a function
    refers to, by what tells them apart."""
    found: dict[Any, Hashable] = {}
    states: dict[Any, Any] = {}
    pythons, numpys = sys.modules.get("random"), "numpy.random" in sys.modules
    if pythons is not None:
        found["random"] = pythons.getstate()
    if numpys:
        states["numpy"] = np.random.get_state(legacy=False)  # noqa: NPY002 - the one that users draw from
    for x in held:
        if pythons is not None and isinstance(x, pythons.Random):
            found[id(x)] = x.getstate()
        elif numpys and isinstance(x, np.random.Generator):
            states[id(x)] = x.bit_generator.state
        elif numpys and isinstance(x, np.random.RandomState):
            states[id(x)] = x.get_state(legacy=False)
    return found | {key: pickle.dumps(state) for key, state in states.items()}


def have_drawn(before: dict[Any, Hashable], after: dict[Any, Hashable]) -> bool:
    """Whether a generator has another state, or one whose module was imported in between has been used."""
    return any(before[key] != state if key in before else not _is_fresh(key) for key, state in after.items())


def others_may_have_drawn(before: dict[Any, Hashable], after: dict[Any, Hashable]) -> bool:
    """Whether all that has changed is the state of Python's global generator, from which other threads may have drawn:
    libraries such as Dask use it in theirs."""
    return threading.active_count() > 1 and not have_drawn(before | {"random": after.get("random")}, after)


def draws(function: Callable[[], Any]) -> bool:
    """Whether this thread draws from Python's global generator in a call of the function, whose errors are left out."""
    module, found = sys.modules["random"], False
    own = module._inst

    def note(frame: FrameType, event: str, called: Any) -> None:
        nonlocal found
        if event == "c_call":
            found = found or (getattr(called, "__self__", None) is own and called.__name__ != "getstate")
        elif event == "call" and frame.f_code.co_filename == module.__file__:  # gauss() keeps every second number
            found = found or (frame.f_locals.get("self") is own and frame.f_code.co_name != "getstate")

    before = sys.getprofile()
    sys.setprofile(note)  # of this thread
    try:
        with contextlib.suppress(Exception):
            function()
    finally:
        sys.setprofile(before)
    return found


def _is_fresh(key: Any) -> bool:
    """Whether a global generator has not been used since its module was imported: its Mersenne Twister stands where the
    module's own seeding leaves it."""
    if key == "random":
        return bool(sys.modules["random"].getstate()[1][-1] == 624)
    return key != "numpy" or np.random.get_state(legacy=False)["state"]["pos"] == 623  # noqa: NPY002
