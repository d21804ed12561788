"""Arrays whose length is known only after a solve was made."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from fastad.once import lazy
from fastad.recording.late import Late


class Trajectory(Late, NDArrayOperatorsMixin):
    """An array with one column for each step of a solve whose number of steps is known only after it was made. The last
    column is known without that; anything else is recorded for the number of steps that there are here."""

    def __init__(self, last: Any, whole: Callable[[], Any]) -> None:
        self._last, self._whole = last, whole

    def mapped(self, function: Callable[[Any], Any]) -> "Trajectory":
        """The trajectory of what a function makes of the columns."""
        return Trajectory(function(self._last), lambda: function(self.array))

    @lazy
    def array(self) -> Any:
        """The whole array."""
        return self._whole()

    def __getitem__(self, index: Any) -> Any:
        own = index if isinstance(index, tuple) else (index,)
        lead, last = own[:-1], own[-1]
        if isinstance(last, int) and last == -1:
            if self._is_vector:
                return self._last[0] if own == (-1,) else self.array[index]
            if lead in ((slice(None),), (...,)):
                return self._last
            if len(lead) == 1 and lead[0] is not None and np.ndim(lead[0]) <= 1:
                return self._last[lead[0]]
        return self.array[index]

    @property
    def _is_vector(self) -> bool:
        return np.ndim(self._last) == 1 and np.shape(self._last) == (1,) and self.is_times

    is_times = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.array, name)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Any:
        return iter(self.array)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*_plain(inputs), **_plain(kwargs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function(*_plain(args), **_plain(kwargs))


class Times(Trajectory):
    """The times of the steps."""

    is_times = True


def _plain(tree: Any) -> Any:
    """The same with the arrays that trajectories stand for."""
    if isinstance(tree, Trajectory):
        return tree.array
    if isinstance(tree, list | tuple):
        return type(tree)(map(_plain, tree))
    return {key: _plain(value) for key, value in tree.items()} if isinstance(tree, dict) else tree
