"""Where a sparse matrix has entries. Everything that follows from this alone is found once and kept with it."""

import copy
import hashlib
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.locks import lock
from fastad.primitives.sparse_values import as_places
from fastad.recording.operands import is_recorded, path_value, recorder_of
from fastad.recording.source import at_line

Shape = tuple[int, int]
_LARGEST = 2**30
_KEPT = 32  # patterns that are remembered though nobody has them, with what was found of them
_patterns: "weakref.WeakValueDictionary[Hashable, Pattern]" = weakref.WeakValueDictionary()
_last: "deque[Pattern]" = deque(maxlen=_KEPT)
_lock = lock()


class Pattern:
    """The places (row, column) of the entries of a matrix, in the order in which their numbers are given.

    Entries at the same place add up. `places` are rows and columns as tables refer to them (see
    `fastad.primitives.sparse_values.as_places`). All arrays are read-only. Equal patterns are the same object, as long
    as somebody has it: make them by `Pattern.of`.
    """

    __slots__ = ("__weakref__", "_found", "_key", "_lock", "columns", "places", "rows", "shape")

    def __init__(self, rows: np.ndarray, columns: np.ndarray, shape: Shape, key: Hashable) -> None:
        self.rows, self.columns, self.shape = _fixed(rows), _fixed(columns), shape
        self.places = _fixed(as_places(rows, columns))
        self._key, self._found, self._lock = key, {}, lock()  # type: ignore[var-annotated]

    @staticmethod
    def of(rows: Any, columns: Any, shape: Any) -> "Pattern":
        """The pattern with entries at these places, which are integers within the shape."""
        height, width = (int(n) for n in shape)
        if max(height, width) > _LARGEST:
            raise ShapeError(f"a sparse matrix of shape {(height, width)}: {_LARGEST} rows and columns are the most")
        i, j = np.array(rows, np.int64), np.array(columns, np.int64)
        digest = hashlib.blake2b(i.tobytes() + j.tobytes(), digest_size=16).digest()
        key = (height, width, len(i), digest)
        with _lock:
            found = _patterns.get(key)
            if found is None:
                found = _patterns[key] = Pattern(i, j, (height, width), key)
                _last.append(found)
        return found

    @property
    def size(self) -> int:
        """The number of entries."""
        return len(self.rows)

    def known(self, name: Hashable, find: Callable[[], Any]) -> Any:
        """What `find` returns, which follows from the pattern alone; found once."""
        with self._lock:
            if name not in self._found:
                self._found[name] = _all_fixed(find())
            return self._found[name]

    def as_scipy(self, data: Any) -> Any:
        """SciPy's csr_array of plain numbers for the entries; its places are the pattern's, and not to be changed."""
        template, order = self.known("SciPy's", self._template)
        found = copy.copy(template)
        found.data = np.asarray(data)[order] if order is not None else np.asarray(data)
        return found

    def _template(self) -> tuple[Any, np.ndarray | None]:
        """SciPy's csr_array with these places, and the order of the entries in it (None: theirs)."""
        from scipy.sparse import csr_array

        order = np.argsort(self.rows, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.rows, minlength=self.shape[0]))])
        found = csr_array((np.zeros(self.size), self.columns[order], starts), shape=self.shape)
        return found, None if np.array_equal(order, np.arange(self.size)) else order

    @property
    def transposed(self) -> "Pattern":
        """The pattern of the transposed matrix."""
        found: Pattern = self.known("transposed", lambda: Pattern.of(self.columns, self.rows, self.shape[::-1]))
        return found

    @property
    def both(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns."""
        return self.rows, self.columns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"<pattern of {self.shape[0]} × {self.shape[1]} with {self.size} entries>"

    def __reduce__(self) -> Any:
        return Pattern.of, (self.rows, self.columns, self.shape)


def _all_fixed(found: Any) -> Any:
    """The same with read-only arrays, so that a recording that holds them may be kept for later calls."""
    if type(found) is tuple:
        return tuple(map(_all_fixed, found))
    return _fixed(found) if type(found) is np.ndarray else found


def _fixed(x: np.ndarray) -> np.ndarray:
    x = x.copy() if x.base is not None else x
    x.flags.writeable = False
    return x


def places(x: Any, name: str, what: str, top: int) -> np.ndarray:
    """Indices, as integers within [0, top). A function that is recorded is recorded again where they change: plain
    arrays from outside are compared at every call, recorded ones get a guard."""
    found = np.asarray(path_value(x, recorder_of((x,)))) if is_recorded(x) else np.asarray(x)
    if found.ndim != 1 or (found.dtype.kind not in "iu" and found.size):
        raise ShapeError(f"{name}: {what} of shape {found.shape} and dtype {found.dtype}{at_line()}. Give integers.")
    found = found.astype(np.int64)
    if found.size and (found.min() < 0 or found.max() >= top):
        bad = found.min() if found.min() < 0 else found.max()
        raise ShapeError(f"{name}: {what} has {bad}, which is not in [0, {top}){at_line()}. Check the shape.")
    return found
