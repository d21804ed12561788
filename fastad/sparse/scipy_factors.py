"""Factors that SciPy has made of a plain matrix, which take recorded right sides too."""

from types import BuiltinMethodType
from typing import Any

from fastad.once import lazy
from fastad.recording.operands import is_recorded
from fastad.sparse.factoring import SparseLU
from fastad.sparse.incomplete import factors_of


class ScipyFactors:
    """Stands for a `scipy.sparse.linalg.SuperLU`, or for the `solve` of one, which `factorized` gives."""

    def __init__(self, lu: Any) -> None:
        self._lu = lu

    @lazy
    def _ours(self) -> SparseLU:
        return factors_of(self._lu)

    def solve(self, rhs: Any, trans: str = "N") -> Any:
        return (self._ours if is_recorded(rhs) else self._lu).solve(rhs, trans)

    def __call__(self, rhs: Any) -> Any:
        return self.solve(rhs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lu, name)


def standin_of(value: Any) -> ScipyFactors:
    """What stands for SciPy's factors, or for their method `solve`."""
    return ScipyFactors(value.__self__ if isinstance(value, BuiltinMethodType) else value)
