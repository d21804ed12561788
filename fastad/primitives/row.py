"""What a row of the primitive table holds. Opcodes are positions in the table, in the order of registration."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from fastad.errors import IndexRangeError
from fastad.once import lazy
from fastad.primitives import expression
from fastad.primitives.expression import Expr

# Rules get a builder (see `fastad.tables.builder.Builder`), the row they derive and references to its operands.
Ref = int
Rule = Callable[..., Any]
Statics = tuple[int, ...]

PRIMITIVES: list["Primitive"] = []
_BY_NAME: dict[str, int] = {}


class Form(Enum):
    """What a row is to those who walk over a table; most are functions with a kernel."""

    INPUT = "given by the caller"
    CONSTANT = "given by the pool of constants"
    GUARD = "stops the program where its operands differ"
    COMPOSITE = "runs a sub-program"
    VIEW = "reads a region of its operand"
    PIECES = "writes its operands into regions"
    WRITE = "writes its second operand into its first at places that its third one says"
    REDUCTION = "combines numbers along an axis by an elementwise primitive"
    FUNCTION = "computed by its kernel"

    @property
    def updates(self) -> bool:
        """Whether a row may write over parts of its first operand, where it lies (see `Row.written_over`)."""
        return self in (Form.PIECES, Form.WRITE)


class Operator(NamedTuple):
    """A machine operation: its kind, its sign in Python, LLVM's instruction (or condition of a comparison), and what
    it is counted as."""

    kind: str  # arithmetic, comparison, logical, negation, selection
    sign: str
    instruction: str
    counted: str


@dataclass(frozen=True)
class Primitive:
    """One primitive: `name` is unique; `numpy` evaluates it on concrete NumPy values."""

    name: str
    numpy: Callable[..., Any]

    @property
    def code(self) -> int:
        """The opcode."""
        return _BY_NAME[self.name]


@dataclass(frozen=True)
class Elementwise(Primitive):
    """A primitive that maps scalars to a scalar, as text.

    `value` and `partials` are expressions (see `expression`) in the operands a, b, c and the result r.
    A row whose value is a call of itself is a leaf: `symbol` names the C function, or `operator` the machine operation.
    `result` is the dtype rule: "float", "bool", "same" (the promoted dtype of the operands), or "total" (the
    same, but integers for truth values).
    `domain` gives one interval key per operand, on which the laws are tested (see `DOMAINS`).
    A `detached` row is a constant to derivatives by intention, so finite differences do not test it.
    `ufuncs` names the NumPy and SciPy ufuncs (their `__name__`) that record as this primitive.
    `libdevice`: NVIDIA's function for GPUs, without its prefix, where that is not the C function's name.
    `on_single`: the value where numbers are float32, for a row that rounds by the precision of float64.
    `intrinsic`: LLVM has the C function as an instruction for every width. `slow`: it takes several times as long as an
    addition. `commutes`: operands may be swapped. `even`: f(-a) = f(a). `sign` is what drawings show in place of the
    name. `near` names the row that stands for this one where derivatives are derived again (see
    `fastad.tables.passes.kinks`). `on_truth`: the row that records where all operands are truth values; "" where NumPy
    refuses these. `minus_zero`: in memory the result for integers may be -0, as that of 0 * -3. `divides`: integers
    divided by 0 give 0, as in NumPy. `monotone`: in each operand, so that bounds of these give bounds of the result.
    """

    value: str
    partials: tuple[str, ...]
    domain: tuple[str, ...]
    result: str = "same"
    symbol: str | None = None
    libdevice: str = ""
    on_single: str = ""
    ufuncs: tuple[str, ...] = ()
    detached: bool = False
    operator: Operator | None = None
    intrinsic: bool = False
    slow: bool = False
    commutes: bool = False
    even: bool = False
    near: str = ""
    sign: str = ""
    on_truth: str | None = None
    minus_zero: bool = False
    monotone: bool = False
    divides: bool = False

    @property
    def arity(self) -> int:
        return len(self.partials)

    @lazy
    def value_expr(self) -> Expr:
        return expression.parse(self.value)

    @lazy
    def partial_exprs(self) -> tuple[Expr, ...]:
        return tuple(expression.parse(p) for p in self.partials)

    @lazy
    def contribution_exprs(self) -> tuple[Expr | None, ...]:
        """For each operand: partial times `u` (a tangent or an adjoint), or None where the partial is zero."""
        return tuple(expression.times(p, "u") for p in self.partial_exprs)

    @lazy
    def is_leaf(self) -> bool:
        return self.value_expr[0] == "call" and self.value_expr[1] == self.name

    @property
    def on_device(self) -> bool:
        """Whether NVIDIA's library has the function; of SciPy's it has few."""
        return bool(self.libdevice) or not str(self.symbol).startswith("fastad_")

    def is_differentiable(self, operand: int) -> bool:
        return self.contribution_exprs[operand] is not None


class Result(NamedTuple):
    """One of several results: its shape in every lane, and its dtype character."""

    name: str
    shape: tuple[int, ...]
    dtype: str


def _no_check(statics: Statics, size: int, sizes: Sequence[int]) -> str | None:
    return None


def _none(statics: Statics, size: int, sizes: Sequence[int]) -> int:
    return 0


def _nothing(statics: Statics, size: int, sizes: Sequence[int]) -> dict[str, int]:
    return {}


def _never(statics: Statics, size: int) -> bool:
    return False


@dataclass(frozen=True)
class ArrayPrimitive(Primitive):
    """A primitive on whole arrays, with static integers.

    `numpy(statics, shape, *operands)` evaluates it. `arity` is the number of operands, -1 for any; rows of more than
    two keep them in a pool. `statics` names the integers.
    `form` tells what a planner may do with a row. A reduction combines by the elementwise primitive `combine`, starting
    from `neutral`.

    Functions of (statics, size of the result, sizes of the operands):
    - `check` returns a complaint or None: it proves that a kernel run with these integers stays inside its arrays;
    - `operations` counts scalar operations, by the names of `fastad.tables.passes.cost.Operations`;
    - `work` and `tangent_work` are the doubles of scratch memory that the kernel, and the sweep of tangents, are given.
    `unrolls(statics, size)`: a row of few elements is better unrolled than called. `stacks(statics, size)`: so is a
    stack of problems, in a function of its own, as many at once as a SIMD vector has lanes.

    Rules: `tangent(b, row, operands, result, tangents)` and `adjoint(b, row, operands, result, u)` emit rows with the
    builder b: the result's tangent (None where it is zero), and one adjoint reference (or None) an operand, of those in
    `differentiable` (default: all); `batch(b, row, operands, batched, size)` emits the row over a leading axis.
    `sparsity` says on which inputs each element depends (see `fastad.primitives.patterns`; None: on all of them).
    `bounds(statics, size, sizes)` are the least and the largest number that the result may have, where that is known.

    `result` is the dtype rule (see `fastad.tables.builder.result_dtype`). A row of several results has one value that
    holds them one after another, lane by lane: `parts(statics)` says the number of lanes and the results of each.
    `error` is raised where the kernel returns 1, with what `complaint` says. `symbols` are functions of BLAS and LAPACK
    that the kernel calls. `kept`: rows stay though no result depends on them. `keeps_zero`: where the first operand is
    zero the result is. `pure`: equal rows compute equal values.
    `elements`: the row as elementwise ones, for those that come apart (see `fastad.primitives.elements`).
    `of_nothing`: every element of the result where there are operands, but all without elements.
    `linear`: operands in which the result is linear. `addressed`: operands whose elements are chosen at run time.
    `near(statics)`: those of the row that stands for this one where derivatives are derived (see
    `fastad.tables.passes.kinks`). `notice(statics, *operands)`: what the user should be told of them, or None; a kernel
    that meets such operands counts it (see `fastad.kernels.notice_count`). `calls_python`: its kernel may.
    `domain`: for each operand the key of values to test on (see `arrays.DOMAINS`); `examples`: (statics, shape, shapes
    of operands) to test.
    `sign` is what drawings show in place of the name.

    The functions NAME_forward and NAME_reverse in `fastad.kernels` execute it, with `kernel_parameters`.
    """

    arity: int
    statics: tuple[str, ...] = ()
    form: Form = Form.FUNCTION
    check: Callable[..., str | None] = _no_check
    operations: Callable[..., dict[str, int]] = _nothing
    work: Callable[..., int] = _none
    tangent_work: Callable[..., int] = _none
    unrolls: Callable[..., bool] = _never
    stacks: Callable[..., bool] = _never
    tangent: Rule | None = None
    adjoint: Rule | None = None
    batch: Rule | None = None
    sparsity: Rule | None = None
    bounds: Callable[..., tuple[float, float]] | None = None
    differentiable: tuple[int, ...] | None = None
    result: str = "float"
    parts: Callable[..., tuple[int, tuple[Result, ...]]] | None = None
    elements: Rule | None = None
    combine: str = ""
    neutral: float = 0.0
    error: type[Exception] | None = None
    complaint: str = ""
    kept: bool = False
    keeps_zero: bool = False
    of_nothing: float = 0.0
    pure: bool = True
    symbols: tuple[str, ...] = ()
    linear: tuple[int, ...] = ()
    addressed: tuple[int, ...] = ()
    near: Callable[[Statics], Statics] | None = None
    notice: Callable[..., str | None] | None = None
    calls_python: bool = False
    domain: tuple[str, ...] = ()
    examples: tuple[Any, ...] = field(default=(), compare=False)
    sign: str = ""

    def is_differentiable(self, operand: int) -> bool:
        return self.adjoint is not None and (self.differentiable is None or operand in self.differentiable)

    @property
    def is_pooled(self) -> bool:
        """Whether rows keep their operands in the pool."""
        return not 0 <= self.arity <= 2

    @property
    def needs_work(self) -> bool:
        """Whether the kernel takes scratch memory."""
        return self.work is not _none

    @property
    def tangent_needs_work(self) -> bool:
        """Whether the sweep of tangents needs scratch memory for the row."""
        return self.tangent_work is not _none

    @property
    def stops(self) -> bool:
        """Whether a row may end the program: by an error, or as a guard."""
        return self.error is not None or self.form in (Form.GUARD, Form.COMPOSITE)


def kernel_parameters(row: ArrayPrimitive, kind: str) -> tuple[str, ...]:
    """Names of the parameters of the kernel NAME_kind; `fastad.kernels` says what they are."""
    if kind == "forward":
        operands = (*"xyz", *(f"x{k}" for k in range(3, row.arity)))[: max(row.arity, 2)]
        return ("out", *operands, "s", *(["w"] if row.needs_work else []))
    if kind == "reverse":
        return ("xb", "yb", "ob", "x", "y", "o", "s")
    return ("dout", "dx", "dy", "x", "y", "o", "s", "choice", "w")


INDEX_ERROR: dict[str, Any] = {"error": IndexRangeError, "complaint": "index out of bounds"}


def register(row: Elementwise | ArrayPrimitive, domains: Container[str]) -> None:
    """Add a row to the table. `domains` are the keys that its domain may have."""
    if row.name in _BY_NAME:
        raise ValueError(f"primitive {row.name!r} has a row already")
    unknown = [key for key in row.domain if key not in domains]
    if unknown:
        raise ValueError(f"primitive {row.name!r} is to be tested on {unknown[0]!r}, which is no domain")
    if row.domain and row.arity >= 0 and len(row.domain) != row.arity:
        raise ValueError(f"primitive {row.name!r} has {row.arity} operands and {len(row.domain)} domains")
    _BY_NAME[row.name] = len(PRIMITIVES)
    PRIMITIVES.append(row)


def opcode(name: str) -> int:
    return _BY_NAME[name]


def primitive(name: str) -> Any:
    return PRIMITIVES[_BY_NAME[name]]


def elementwise_rows() -> Sequence[Elementwise]:
    return [row for row in PRIMITIVES if isinstance(row, Elementwise)]


def array_rows() -> Sequence[ArrayPrimitive]:
    return [row for row in PRIMITIVES if isinstance(row, ArrayPrimitive)]
