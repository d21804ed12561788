"""Arrays that are parts of few others, such as the rows of a table that a loop goes through: to copy them one by one
takes longer than to compute with them, so they are copied all at once."""

from collections import defaultdict
from collections.abc import Sequence
from operator import is_, itemgetter
from typing import Any

import numpy as np

from fastad.recording.outside_arrays import address, owner_of

_LEAST, _MOST = 8, 64  # parts of one array; numbers of a part

# A value as a kernel's vector has it: the view that it is written to, and its place in the vector.
Target = tuple[np.ndarray | None, int]


class Slices:
    """Parts of arrays among the values of a call, which `copy` writes; `others` are the places of the other values."""

    def __init__(
        self, found: dict[int, np.ndarray], others: Sequence[int], groups: Sequence[tuple[np.ndarray, ...]]
    ) -> None:
        self.others = others
        self._arrays, self._of = tuple(found.values()), itemgetter(*found) if found else None
        self._groups = groups  # an array, places in it, and where these go

    @staticmethod
    def among(values: Sequence[Any], targets: Sequence[Target]) -> "Slices":
        """The parts among these values that are worth it."""
        by_root: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
        for number, (value, (view, _)) in enumerate(zip(values, targets, strict=True)):
            if view is not None and type(value) is np.ndarray and 0 < value.size <= _MOST and _is_part(value):
                by_root[id(owner_of(value))].append((number, value))
        found, groups = dict[int, np.ndarray](), []
        for parts in by_root.values():
            if len(parts) >= _LEAST:
                found |= dict(parts)
                to = [np.arange(targets[number][1], targets[number][1] + value.size) for number, value in parts]
                own = np.concatenate([_places(value) for _, value in parts])
                groups.append((owner_of(parts[0][1]).reshape(-1, order="A"), own, np.concatenate(to)))
        return Slices(found, [k for k in range(len(values)) if k not in found], groups)

    def are_in(self, values: Sequence[Any]) -> bool:
        """Whether these are among other values, as they were."""
        return self._of is None or all(map(is_, self._of(values), self._arrays))

    def copy(self, vector: np.ndarray) -> None:
        """Write the parts to their places in a vector."""
        for root, places, to in self._groups:
            vector[to] = root[places]


def _is_part(x: np.ndarray) -> bool:
    """Whether an array is a part of another one whose elements stand in a row."""
    root = owner_of(x)
    if type(root) is not np.ndarray:
        return False
    contiguous = root.flags.c_contiguous or root.flags.f_contiguous
    whole = all(step % x.itemsize == 0 for step in x.strides)
    return root is not x and contiguous and root.dtype == x.dtype and whole and (_start(x) % x.itemsize == 0)


def _start(x: np.ndarray) -> int:
    """Bytes from the start of the array that x is a part of."""
    return address(x) - address(owner_of(x))


def _places(x: np.ndarray) -> np.ndarray:
    """Where the elements of x stand in that array."""
    steps = [step // x.itemsize for step in x.strides]
    grid = np.indices(x.shape).reshape(x.ndim, -1)
    return _start(x) // x.itemsize + np.array(steps, np.int64) @ grid if x.ndim else np.array([_start(x) // x.itemsize])
