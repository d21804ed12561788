"""Has the functions and classes of scipy.sparse stand aside while a function is recorded, where they are given recorded
values or a matrix of fad.sparse. What stands in for them is in `fastad.sparse.scipy_names`, imported when it is called:
many programs have imported scipy.sparse, and few make sparse matrices of recorded values.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.operands import is_recorded
from fastad.recording.recorder import open_recordings
from fastad.recording.retrying import substitute
from fastad.recording.standins import StandIn, stands_in, stands_in_for_method, when_imported

NAMES = {
    "scipy.sparse": (
        "block_array block_diag bmat coo_array coo_matrix csc_array csc_matrix csr_array csr_matrix diags diags_array "
        "dok_array dok_matrix find hstack issparse isspmatrix kron kronsum lil_array lil_matrix tril triu vstack"
    ),
    "scipy.sparse.linalg": (
        "aslinearoperator bicgstab cg eigs eigsh expm expm_multiply factorized gmres inv lsmr lsqr minres norm spilu "
        "splu spsolve spsolve_triangular svds"
    ),
}
_FACTORS = ("factorized", "spilu", "splu")
_ITERATIONS = ("bicgstab", "cg", "gmres")
_PRODUCTS = ("dot", "matvec", "rmatvec", "matmat", "rmatmat")
_OPERATORS = "__mul__ __rmul__ multiply __truediv__"  # sums leave a matrix of fad.sparse to its own operators


class _Function(StandIn):
    """Stands for a function or a class of SciPy's."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        name, given = self.original.__name__, (*args, *kwargs.values())
        ours = open_recordings() and (_is_ours(given) or (name in _ITERATIONS and _has_operators(given)))
        if not ours:
            found = self.original(*args, **kwargs)
            return _factors(found) if name in _FACTORS and open_recordings() else found
        from fastad.sparse.scipy_names import FUNCTIONS

        return FUNCTIONS[name](*args, **kwargs)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self.original)  # type: ignore[arg-type]

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.original)  # type: ignore[arg-type]


class _OperatorClass(_Function):
    """Stands for SciPy's LinearOperator, which calls its functions with numbers where it is not told their dtype."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if len(args) < 6 and open_recordings():
            kwargs = {"dtype": np.dtype(float), **{k: v for k, v in kwargs.items() if v is not None}}
        return self.original(*args, **kwargs)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.original,)


def _factors(found: Any) -> Any:
    """SciPy's factors of a plain matrix, or their solver: so that they take recorded right sides."""
    from fastad.sparse.scipy_factors import standin_of

    return standin_of(found)


def _is_ours(x: Any) -> bool:
    """Whether x is, or holds, a recorded value or a matrix of fad.sparse."""
    if isinstance(x, tuple | list):
        return any(map(_is_ours, x))
    arrays = sys.modules.get("fastad.sparse.arrays")
    return (arrays is not None and isinstance(x, arrays.SparseArray)) or is_recorded(x)


def _has_operators(given: tuple[Any, ...]) -> bool:
    """Whether any is a LinearOperator, whose functions may refer to recorded values."""
    return any(isinstance(x, sys.modules["scipy.sparse.linalg"].LinearOperator) for x in given)


def _operator(original: Callable[..., Any], is_matrix: bool) -> Callable[..., Any]:
    """An operator of a class of SciPy's matrices, where ours comes first for a recorded operand."""

    @functools.wraps(original)
    def called(self: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
        if not (open_recordings() and _is_ours(other)):
            return original(self, other, *args, **kwargs)
        from fastad.sparse.scipy_names import operated

        name = original.__name__
        if is_matrix and np.ndim(other) and name in ("__mul__", "__rmul__"):  # the `*` of the older matrices
            name = name.replace("mul", "matmul")
        return operated(name, self, other)

    return called


def _product(original: Callable[..., Any]) -> Callable[..., Any]:
    """A product with an operator of SciPy's, whose operand, or whose functions' results, may be recorded."""

    @functools.wraps(original)
    def called(self: Any, x: Any) -> Any:
        if not open_recordings() or isinstance(x, sys.modules["scipy.sparse.linalg"].LinearOperator):
            return original(self, x)
        from fastad.sparse.scipy_names import applied

        return applied(original.__name__, self, x)

    return called


def _register(module: str) -> None:
    for name in NAMES[module].split():
        original = getattr(sys.modules[module], name, None)
        if original is not None and original.__name__ == name:
            stands_in(module, name, _Function(original))
    if module == "scipy.sparse.linalg":
        substitute(sys.modules[module].SuperLU, _factors)
        operator = sys.modules[module].LinearOperator
        stands_in(module, "LinearOperator", _OperatorClass(operator))
        for name in _PRODUCTS:
            stands_in_for_method(operator, name, _product(vars(operator)[name]))
    if module == "scipy.sparse":
        sparse = sys.modules[module]
        leaves = [sparse.spmatrix, *(getattr(sparse, f"{form}_array") for form in ("coo", "csr", "csc", "dia", "bsr"))]
        for kind in dict.fromkeys(base for leaf in leaves for base in leaf.__mro__):
            for name in _OPERATORS.split() if kind.__module__.startswith(module) else ():
                if name in vars(kind):
                    stands_in_for_method(kind, name, _operator(vars(kind)[name], kind is sparse.spmatrix))


for _module in NAMES:
    when_imported(_module, functools.partial(_register, _module))
