"""Several sparse matrices with one pattern, as `fad.vmap` of a function that returns a matrix gives them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import optree

from fastad.transforms.call import NAMESPACE


class SparseBatch:
    """Matrices with entries at the same places: `data` has their numbers, of shape (..., entries).

    `batch[k]` is a matrix, and a batch can be iterated over; `toarray()` is the dense array of shape (..., n, m). What
    is to be done with each matrix is said by `fad.vmap`, whose argument a batch may be.

    >>> import numpy as np, fastad as fad
    >>> batch = fad.vmap(fad.sparse_jacobian(lambda x: x[1:] * x[:-1]))(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    >>> batch.shape, batch[1].toarray().tolist()
    ((2, 2, 3), [[5.0, 4.0, 0.0], [0.0, 6.0, 5.0]])
    >>> fad.vmap(lambda A, x: A @ x)(batch, np.ones((2, 3))).tolist()
    [[3.0, 5.0], [9.0, 11.0]]
    """

    __slots__ = ("_one", "data")
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: Any, one: Any) -> None:
        self.data, self._one = data, one

    @property
    def pattern(self) -> Any:
        """The places of the entries, those of each matrix."""
        return self._one.pattern

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.data.shape[:-1], *self._one.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nnz(self) -> int:
        """The number of entries of each matrix."""
        return int(self._one.nnz)

    @property
    def dtype(self) -> np.dtype:
        kind: np.dtype = self.data.dtype
        return kind

    def __repr__(self) -> str:
        lanes, (height, width) = " × ".join(map(str, self.data.shape[:-1])), self._one.shape
        return f"<{lanes} sparse {self._one.format} arrays of {height} × {width}, {self.nnz} entries of {self.dtype}>"

    def __len__(self) -> int:
        return int(self.data.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        """A matrix, or those of a slice or of several indices along the leading axes."""
        taken = self.data[(*key, slice(None)) if isinstance(key, tuple) else key]
        return SparseBatch(taken, self._one) if taken.ndim > 1 else self._one._with(taken)

    def toarray(self) -> Any:
        """The dense matrices, of shape (..., n, m)."""
        flat = self.data.reshape(-1, self.nnz)
        found = np.stack([self._one._with(flat[k]).toarray() for k in range(len(flat))])
        return found.reshape(self.shape)

    def toscipy(self) -> list[Any]:
        """SciPy's csr_array of every matrix, along the first axis."""
        return [own.toscipy() for own in self]

    def _refused(self, *_: Any) -> Any:
        raise TypeError(
            f"{self!r} is a batch: say what to do with each matrix by fad.vmap, as in "
            "fad.vmap(lambda A, x: A @ x)(batch, xs), or take one, batch[k]"
        )

    __matmul__ = __rmatmul__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = _refused
    __array__ = _refused


def _rebuilt(one: Any, leaves: Any) -> Any:
    (data,) = leaves
    return one._with(data) if getattr(data, "ndim", 2) == 1 else SparseBatch(data, one)


class _One:
    """The class and the pattern of the matrices, by which pytrees of batches are told apart."""

    __slots__ = ("one",)

    def __init__(self, one: Any) -> None:
        self.one = one

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _One) and (type(self.one), self.one.pattern) == (type(other.one), other.one.pattern)

    def __hash__(self) -> int:
        return hash((type(self.one), self.one.pattern))


_register: Any = optree.register_pytree_node
_register(SparseBatch, lambda batch: ((batch.data,), _One(batch._one._with(None))),
          lambda own, leaves: _rebuilt(own.one, leaves), namespace=NAMESPACE)  # fmt: skip
