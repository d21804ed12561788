"""Sparse Jacobians and Hessians: patterns, and compressed evaluation into CSR."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastad.errors import DerivativeError, TableError
from fastad.execution.request import Request
from fastad.once import lazy
from fastad.recording.recorded import Recorded
from fastad.recording.watched import look_into
from fastad.sparse.arrays import csr_array
from fastad.sparse.pattern import Pattern
from fastad.sparsity.coloring import JACOBIAN_KINDS, KINDS
from fastad.sparsity.compressed import Compressed, compressed_hessian, compressed_jacobian
from fastad.tables.sparsity.sets import Structure
from fastad.tables.sparsity.sweep import jacobian_structure
from fastad.tables.table import Table
from fastad.transforms.base import program_of
from fastad.transforms.call import Call, flatten, make_call
from fastad.transforms.derivatives import Differentiated, Gradient
from fastad.transforms.numbers import Renumbered
from fastad.transforms.paths import Path, follow
from fastad.transforms.program import Program
from fastad.transforms.public import remembered


# ── the elements of a sparse matrix as a vector ───────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class ElementsProgram(Program):
    """A program whose only result are the elements of a sparse matrix, and what is known of this matrix."""

    compressed: Compressed | None = None

    def is_repeated_by(self, other: Program) -> bool:
        """Different patterns may have the same table."""
        own, new = self.compressed, getattr(other, "compressed", None)
        same = own is not None and new is not None and own.structure.equals(new.structure)
        return same and super().is_repeated_by(other)


class Elements(Differentiated):
    """The elements of a sparse Jacobian as a vector, in the order of CSR. It may be recorded, derived and mapped as any
    function. `structure(*args)` is the pattern."""

    options = ("argnums", "kind")
    kinds: tuple[str, ...] = JACOBIAN_KINDS

    def __init__(
        self, function: Callable[..., Any], argnums: int | Sequence[int] = 0, kind: str = "auto", **options: Any
    ) -> None:
        super().__init__(function, argnums, **options)
        self.kind = kind

    def program(self, call: Call) -> Program:
        primal = self._primal(call)
        found = self._compressed(primal.inner, primal.wrt(self.targets(call)[0]), primal.captured)
        look_into([primal.captured[k] for k in found.used])
        _, tree = flatten(np.zeros(0))
        shared = {name: getattr(primal, name) for name in ("sources", "lifted", "settings")}
        return ElementsProgram(Request(found.table), out_tree=tree, out_leaves=(None,), compressed=found, **shared)

    def structure(self, *args: Any) -> Structure:
        """The pattern for these arguments: `indptr`, `indices`, `columns`."""
        found = _path(self, self.normalise(args, {})).recording.program.compressed  # type: ignore[attr-defined]
        return found.structure

    def _primal(self, call: Call) -> Program:
        primal = program_of(self.__wrapped__, call)
        if any(k.dtype not in "df" for k in primal.table.output_types):
            raise DerivativeError(
                f"{self.__name__} returns integers or truth values, which have no Jacobian; return floats"
            )
        return primal

    def _compressed(self, table: Table, wrt: Sequence[int], captured: Sequence[Any]) -> Compressed:
        return compressed_jacobian(table, wrt, kind=self.kind, captured=captured)


class HessianElements(Elements):
    """The elements of a sparse Hessian as a vector, in the order of CSR: those of the Jacobian of a gradient."""

    kinds = KINDS

    def _primal(self, call: Call) -> Program:
        return program_of(Gradient(self.__wrapped__, self.argnums), call)

    def _compressed(self, table: Table, wrt: Sequence[int], captured: Sequence[Any]) -> Compressed:
        return compressed_hessian(table, wrt, kind=self.kind, captured=captured)


# ── sparse matrices ───────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class MatrixProgram(ElementsProgram):
    """The same with the matrix as its result: SciPy's, or one of `fad.sparse` where elements are recorded. What is
    derived from it has matrices of `fad.sparse` as results."""

    def result(self, outputs: Sequence[Any]) -> Any:
        if self.out_tree != self._tree or isinstance(outputs[0], Recorded) or np.ndim(outputs[0]) != 1:
            return super().result(outputs)
        found = copy.copy(self._template)
        found.indices, found.indptr = found.indices.copy(), found.indptr.copy()  # those of a result may be changed
        found.data = outputs[0]
        return found

    def result_text(self, outputs: Sequence[str]) -> str | None:
        return None

    @lazy
    def _template(self) -> Any:
        assert self.compressed is not None
        structure = self.compressed.structure
        return matrix(structure, np.zeros(len(structure.indices)))

    @lazy
    def _tree(self) -> Any:
        assert self.compressed is not None
        return _tree_of(self.compressed.structure)

    @property
    def storable(self) -> Program:
        raise TableError("a function with a sparse matrix as its result cannot be saved: save that of its elements")


def _tree_of(structure: Structure) -> Any:
    """A matrix of `fad.sparse` with this pattern, as a pytree."""
    own = Pattern.of(structure.rows(), structure.indices.astype(np.int64), structure.shape)
    return flatten(csr_array._made(np.zeros(len(structure.indices)), own))[1]


class SparseMatrix(Differentiated):
    """A sparse Jacobian or Hessian in CSR; see `sparse_jacobian` and `sparse_hessian`."""

    options = ("argnums", "kind", "of")

    def __init__(
        self, function: Callable[..., Any], argnums: int | Sequence[int] = 0, kind: str = "auto",
        of: type[Elements] = Elements, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(function, argnums, **options)
        self.kind, self.of = kind, of
        if kind not in of.kinds:
            raise ValueError(f"kind must be one of {', '.join(map(repr, of.kinds))}, not {kind!r}")

    @lazy
    def elements(self) -> Elements:
        """The function that gives the elements alone, as a vector in the order of CSR. It may be recorded, derived,
        mapped and used in loops; `elements.structure(*args)` says where they stand."""
        return self.of(self.__wrapped__, self.argnums, self.kind, tier=self.tier, threads=self.threads, roll=self.roll)

    def program(self, call: Call) -> Program:
        program: Any = self.elements.new_program(call)
        fields = {name: getattr(program, name) for name in program.__dataclass_fields__}
        return MatrixProgram(**fields | {"out_tree": _tree_of(program.compressed.structure)})


def matrix(structure: Structure, data: np.ndarray) -> Any:
    """SciPy's CSR array with this pattern and these elements."""
    from scipy.sparse import csr_array

    small = len(structure.indices) < 2**31
    indptr = structure.indptr.astype(np.int32) if small else structure.indptr
    found = csr_array((data, structure.indices, indptr), shape=structure.shape)
    found.has_sorted_indices = found.has_canonical_format = True
    return found


# ── public ────────────────────────────────────────────────────────────────────────────────────────────────────────
def sparse_jacobian(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, kind: str = "auto", **options: Any
) -> SparseMatrix:
    """Jacobian of f as SciPy's CSR array, of shape (elements of the result, elements of the argument).

    Its pattern and a coloring of it are found once for each recording (see `jacobian_sparsity`, `fad.coloring.color`).
    Then a few tangents (or adjoints, or both) are computed side by side, and all elements are read off them. Results
    and arguments of several arrays count one after another, each in C order. `kind` is that of the coloring: "column"
    (by tangents), "row" (by adjoints), "bidirectional", or "auto". Options as in `jit`.

    `.prepare(x)` writes the elements into the same matrix at every run. Inside a recorded function the result is a
    `fad.sparse.csr_array`, which has derivatives. `.elements` is the function that returns the elements alone.
    Curtis, Powell & Reid (1974); Gebremedhin, Manne & Pothen (2005), What Color Is Your Jacobian?, SIAM Review 47(4).

    >>> import numpy as np, fastad as fad
    >>> J = fad.sparse_jacobian(lambda x: x[1:] ** 2 - x[:-1])
    >>> J(np.array([1.0, 2.0, 3.0])).toarray().tolist()
    [[-1.0, 4.0, 0.0], [0.0, -1.0, 6.0]]
    """
    return SparseMatrix(f, argnums, kind, **options)


def sparse_hessian(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, kind: str = "star", **options: Any
) -> SparseMatrix:
    """Hessian of a scalar-valued f as SciPy's CSR array, both triangles, of one pattern for each recording.

    `kind` is the coloring: "star" (every element is one of a Hessian-vector product) or "acyclic" (fewer products, and
    substitution, whose rounding errors add up along chains of elements). Else as in `sparse_jacobian`.
    Gebremedhin, Tarafdar, Manne & Pothen (2007), SIAM J. Sci. Comput. 29(3).

    >>> import numpy as np, fastad as fad
    >>> H = fad.sparse_hessian(lambda x: np.sum(x[1:] * x[:-1] ** 2))
    >>> H(np.array([1.0, 2.0, 3.0])).toarray().tolist()
    [[4.0, 2.0, 0.0], [2.0, 6.0, 4.0], [0.0, 4.0, 0.0]]
    """
    return SparseMatrix(f, argnums, kind, of=HessianElements, **options)


def jacobian_sparsity(f: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0) -> Any:
    """The pattern of f's Jacobian by the arguments `argnums`, as a SciPy CSR array of truth values.

    An element that is not stored is zero at every point of the same shapes on the same path through Python's branches,
    not only at `args`: every branch of `np.where` and `fad.cond` counts, and `0 * x` depends on x. Elements chosen by
    captured integer arrays are exact (for the present values); for those chosen by arguments, any may be meant.
    One sweep over the op table with sets of inputs (Griewank & Walther, Evaluating Derivatives, 2008, section 7.1).

    >>> import numpy as np, fastad as fad
    >>> fad.jacobian_sparsity(lambda x: x[1:] * x[0], np.ones(3)).toarray().astype(int).tolist()
    [[1, 1, 0], [1, 0, 1]]
    """
    return _pattern(_Recorded, f, args, argnums, False)


def hessian_sparsity(f: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0) -> Any:
    """The pattern of a scalar-valued f's Hessian, as a SciPy CSR array of truth values; see `jacobian_sparsity`.

    >>> import numpy as np, fastad as fad
    >>> fad.hessian_sparsity(lambda x: x[0] * x[1] + x[2], np.ones(3)).toarray().astype(int).tolist()
    [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    """
    return _pattern(_RecordedGradient, f, args, argnums, True)


class _Recorded(Differentiated):
    """f itself, with arguments to differentiate by."""

    def program(self, call: Call) -> Program:
        return program_of(self.__wrapped__, call)


class _RecordedGradient(Differentiated):
    """The gradient of f."""

    def program(self, call: Call) -> Program:
        return program_of(Gradient(self.__wrapped__, self.argnums), call)


def _pattern(kind: type[Differentiated], f: Any, args: Any, argnums: Any, is_symmetric: bool) -> Any:
    function: Any = remembered(kind, f) if argnums == 0 else kind(f, argnums)
    path = _path(function, function.normalise(args, {}))
    call = make_call(*function.normalise(args, {})).concrete()
    program, wrt = path.program, tuple(path.program.wrt(function.targets(call)[0]))
    table = program.inner
    key = f"structure by {wrt}"
    known = table._cache.get(key)
    if known is None:
        known, used = jacobian_structure(table, wrt, program.captured)
        known = known.symmetric() if is_symmetric else known
        if not used:
            table._cache[key] = known
    return matrix(known, np.ones(len(known.indices), bool)).copy()


def _path(function: Differentiated, arguments: Any) -> Path:
    """The path that these arguments take."""
    call = make_call(*arguments).concrete()
    while True:
        try:
            numbered = function.with_inputs(call)
            path = function.path_for(numbered)
            if not path.recording.program.request.base.guards:
                return path
            return follow(function, numbered, path, partial(_ran, numbered.inputs))
        except Renumbered:  # happens once for every number at most
            continue


def _ran(inputs: Sequence[Any], path: Path) -> Path:
    """The path, if these inputs take it; raises GuardFailed."""
    path.run(inputs)
    return path
