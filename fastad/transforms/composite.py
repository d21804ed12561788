"""Functions recorded as one composite row: recomputation in reverse mode, and user-defined primitives."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import CheckError, DerivativeError, RecordingError, ShapeError
from fastad.recording.operands import recorder_of, to_ref
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.tables.sub import Sub, flat_sub, packed, transposed, unpacked
from fastad.tables.table import ValueType
from fastad.transforms.base import Transformed, program_of
from fastad.transforms.call import Call, flatten, make_call, unflatten
from fastad.transforms.program import Program, record


class Checkpoint(Transformed):
    """A function that reverse mode computes anew instead of storing its values; see `checkpoint`."""

    def program(self, call: Call) -> Program:
        return program_of(self.__wrapped__, call)

    def inside(self, call: Call) -> Any:
        program = self.program(call.concrete())
        operands = [*program.gather(call.inputs), *program.table.captured]
        if not any(isinstance(x, Recorded) for x in operands):
            return super().inside(call)
        sub = flat_sub(program.table, f"checkpoint of {self.__name__}")
        return program.result(call_sub(sub, operands, program.table.output_types))


def call_sub(sub: Sub, operands: Sequence[Any], kinds: Sequence[ValueType]) -> list[Recorded]:
    """Record a composite row on operands of any shapes; its results have these types."""
    recorder = recorder_of(operands)
    refs = [to_ref(recorder, x) for x in operands]
    out = recorder.builder.call(sub, packed(recorder.builder, refs))
    results = unpacked(recorder.builder, out, kinds)
    recorder.evaluate_new()
    return [Recorded(recorder, ref) for ref in results]


def checkpoint(f: Callable[..., Any]) -> Checkpoint:
    """f, recomputed instead of stored in reverse mode: only its inputs are kept (Definition 17.68 of the notes).

    Inside a recorded function a call of checkpoint(f) is one row; its adjoint runs f again. Time: one more
    evaluation of f; memory: that of f's inputs instead of all its values.

    >>> import numpy as np, fastad as fad
    >>> block = fad.checkpoint(lambda x: np.sin(np.exp(x)))
    >>> fad.grad(lambda x: np.sum(block(block(x))))(np.zeros(2)).shape
    (2,)
    """
    return Checkpoint(f)


@dataclass(frozen=True)
class _Structure:
    """Types and structure of the arguments and results of a user primitive at one call."""

    inputs: tuple[ValueType, ...]
    tree: Any
    outputs: tuple[ValueType, ...]
    out_tree: Any

    @property
    def sizes(self) -> tuple[int, int]:
        return sum(k.size for k in self.inputs), sum(k.size for k in self.outputs)


class UserPrimitive:
    """A function with derivative rules of its own; see `primitive`."""

    def __init__(self, f: Callable[..., Any], jvp: Callable[..., Any] | None, vjp: Callable[..., Any] | None) -> None:
        self.__wrapped__ = f
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.__doc__ = f.__doc__
        self._jvp, self._vjp = jvp, vjp
        self._subs: dict[Any, tuple[Sub, _Structure]] = {}

    def __call__(self, *args: Any) -> Any:
        if current_recorder() is None:
            return self.__wrapped__(*args)
        call = make_call(args, {})
        if not any(isinstance(x, Recorded) for x in call.inputs):
            return self.__wrapped__(*args)
        if not all(call.dynamic):
            raise ShapeError(f"{self.__name__}: arguments of a user-defined primitive are float arrays and numbers")
        sub, structure = self._sub(call.concrete())
        return unflatten(structure.out_tree, call_sub(sub, call.inputs, structure.outputs))

    def _sub(self, call: Call) -> tuple[Sub, _Structure]:
        found = self._subs.get(call.key)
        if found is None:
            found = self._subs[call.key] = self._make(call)
        return found

    def _make(self, call: Call) -> tuple[Sub, _Structure]:
        args, _ = call.rebuild(call.inputs)
        leaves, out_tree = flatten(self.__wrapped__(*args))
        inputs, outputs = tuple(map(_type_of, call.inputs)), tuple(map(_type_of, leaves))
        structure = _Structure(inputs, call.tree, outputs, out_tree)
        examples = [np.array(x) for x in call.inputs]
        rules: dict[str, Any] = {}
        if self._jvp is not None or self._vjp is not None:
            rules["make_tangent"] = lambda: self._tangent(structure, examples)
            rules["make_adjoint"] = lambda: self._adjoint(structure, examples)
        return _recorded_or_called(lambda *xs: self.__wrapped__(*xs), call, structure.sizes, self.__name__, rules), structure

    # ── derivatives ──────────────────────────────────────────────────────────────────────────────────────────
    def _tangent(self, s: _Structure, examples: list[Any]) -> Sub:
        n, m = s.sizes
        if self._jvp is None:
            pull = self._pull(s, examples)
            return transposed(pull, n, f"tangent of {self.__name__}")
        call = make_call((_args(s, examples), _args(s, [np.zeros(k.shape) for k in s.inputs])), {})
        rule = self._checked_jvp(s)
        return _recorded_or_called(rule, call, (2 * n, m), f"jvp rule of {self.__name__}", {})

    def _adjoint(self, s: _Structure, examples: list[Any]) -> Sub:
        if self._vjp is not None:
            return self._pull(s, examples)
        return transposed(self._tangent(s, examples), s.sizes[0], f"adjoint of {self.__name__}")

    def _pull(self, s: _Structure, examples: list[Any]) -> Sub:
        n, m = s.sizes
        u = unflatten(s.out_tree, [np.zeros(k.shape) for k in s.outputs])
        call = make_call((_args(s, examples), u), {})
        return _recorded_or_called(self._checked_vjp(s), call, (n + m, n), f"vjp rule of {self.__name__}", {})

    def _checked_jvp(self, s: _Structure) -> Callable[..., Any]:
        def rule(primals: Any, tangents: Any) -> Any:
            assert self._jvp is not None
            result = self._jvp(primals, tangents)
            if isinstance(result, tuple) and len(result) == 2 and flatten(result)[1] != s.out_tree:
                result = result[1]  # (value, tangent), as fad.jvp returns them
            return self._shaped(result, s.outputs, "jvp", "the tangent of the result")

        return rule

    def _checked_vjp(self, s: _Structure) -> Callable[..., Any]:
        def rule(primals: Any, u: Any) -> Any:
            assert self._vjp is not None
            wants_result = _positional(self._vjp) == 3
            result = self._vjp(primals, self.__wrapped__(*primals), u) if wants_result else self._vjp(primals, u)
            result = result if isinstance(result, tuple | list) else (result,)
            return self._shaped(result, s.inputs, "vjp", "one adjoint an argument, as a tuple")

        return rule

    def _shaped(self, result: Any, kinds: Sequence[ValueType], rule: str, what: str) -> Any:
        """The leaves of what a rule returned, which must have these shapes; None is zero."""
        leaves = [np.zeros(k.shape) if x is None else x for x, k in zip(flatten(result)[0], kinds, strict=False)]
        shapes = [np.shape(x) if not isinstance(x, Recorded) else x.shape for x in leaves]
        if shapes != [k.shape for k in kinds] or len(flatten(result)[0]) != len(kinds):
            raise DerivativeError(
                f"the {rule} rule of {self.__name__} must return {what}, of shapes {[k.shape for k in kinds]}; "
                f"it returned shapes {shapes}"
            )
        return tuple(leaves)


def primitive(
    f: Callable[..., Any], jvp: Callable[..., Any] | None = None, vjp: Callable[..., Any] | None = None
) -> UserPrimitive:
    """A user-defined primitive: f with derivative rules of its own, which composes with everything.

    `jvp(primals, tangents)` returns the tangent of the result (or the pair of result and tangent, as `fad.jvp`);
    `vjp(primals, u)` or `vjp(primals, result, u)` returns a tuple with one adjoint an argument (None: zero).
    Primals and tangents are tuples with one entry an argument. One rule is enough: the other is its transpose.
    Rules written in NumPy are recorded, so they can be differentiated again. If f (or a rule) cannot be recorded,
    because it calls other libraries, say, it is called as it is at every replay.

    >>> import math, numpy as np, fastad as fad
    >>> cube = fad.primitive(lambda x: math.pow(float(x), 3), jvp=lambda primals, tangents: 3 * primals[0] ** 2 * tangents[0])
    >>> float(fad.grad(cube)(2.0)), float(fad.grad(fad.grad(cube))(2.0))
    (12.0, 12.0)
    """
    if isinstance(f, Transformed | UserPrimitive):
        f = f.__wrapped__ if isinstance(f, UserPrimitive) else f
    return UserPrimitive(f, jvp, vjp)


def check_primitive(p: UserPrimitive, args: Sequence[Any], rtol: float = 1e-5, seed: int = 0) -> None:
    """Verify the rules of a user-defined primitive at `args`: jvp against central differences (step 6e-6 times the
    scale of the arguments, expected error about 1e-10 relative), vjp by ⟨u, Jv⟩ = ⟨Jᵀu, v⟩.

    Raises `CheckError` with the measured error. Rules must not be needed to agree to better than `rtol`.
    """
    from fastad.transforms.public import jvp, vjp

    rng = np.random.default_rng(seed)
    primals = tuple(np.asarray(x, np.float64) for x in args)
    v = tuple(rng.normal(size=x.shape) for x in primals)
    step = 6e-6 * max(1.0, *(float(np.max(np.abs(x), initial=0.0)) for x in primals))
    plus, minus = (p.__wrapped__(*(x + s * t for x, t in zip(primals, v, strict=True))) for s in (step, -step))
    difference = [(np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in zip(flatten(plus)[0], flatten(minus)[0], strict=True)]
    _, tangent = jvp(p, primals, v)
    tangents = [np.asarray(t) for t in flatten(tangent)[0]]
    scale = max(float(np.max(np.abs(d), initial=0.0)) for d in difference) or 1.0
    error = max(float(np.max(np.abs(t - d), initial=0.0)) for t, d in zip(tangents, difference, strict=True)) / scale
    if not error <= rtol:
        raise CheckError(f"{p.__name__}: the jvp differs from central differences by {error:.2e} (relative; step {step:.1e})")
    out, pull = vjp(p, *primals)
    leaves, tree = flatten(out)
    u = [rng.normal(size=np.shape(x)) for x in leaves]
    bars = pull(unflatten(tree, u))
    left = sum(float(np.sum(a * b)) for a, b in zip(u, tangents, strict=True))
    right = sum(float(np.sum(a * b)) for a, b in zip(v, bars, strict=True))
    gap = abs(left - right) / max(abs(left), abs(right), 1e-300)
    if not gap <= rtol:
        raise CheckError(f"{p.__name__}: <u, Jv> = {left:.12g} but <J'u, v> = {right:.12g}; jvp and vjp disagree by {gap:.2e}")


def _recorded_or_called(f: Callable[..., Any], call: Call, sizes: tuple[int, int], name: str, rules: dict[str, Any]) -> Sub:
    """f as a table where it can be recorded, else as a callback."""
    try:
        program = record(f, call)
        if len(program.table.outputs) and not program.lifted and all(x is None for x in program.out_leaves):
            return _without_captured(program, sizes, name, rules)
    except (RecordingError, TypeError, ValueError, AttributeError):
        pass  # not NumPy code: called as it is
    kinds = [_type_of(x) for x in call.inputs]

    def callback(x: np.ndarray) -> np.ndarray:
        parts, start = [], 0
        for kind in kinds:
            part = x[start : start + kind.size].reshape(kind.shape)
            parts.append(part.copy() if kind.shape else part[()])
            start += kind.size
        args, kwargs = call.rebuild(parts)
        leaves = flatten(f(*args, **kwargs))[0]
        return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in leaves])

    return Sub(*sizes, name, callback=callback, **rules)


def _without_captured(program: Program, sizes: tuple[int, int], name: str, rules: dict[str, Any]) -> Sub:
    """The program's table as a sub-program; arrays that it captured are held as constants."""
    from fastad.tables.builder import Builder
    from fastad.tables.inline import compact, inline

    table = program.table
    b = Builder()
    x = b.input((sizes[0],))
    inputs = unpacked(b, x, table.inputs[: table.explicit_inputs])
    refs = inline(b, table, [*inputs, *(b.const(a) for a in table.captured)])
    return Sub(*sizes, name, compact(b.table([packed(b, [refs[i] for i in table.outputs])])), **rules)


def _type_of(x: Any) -> ValueType:
    return ValueType(np.shape(x), "d")


def _args(s: _Structure, leaves: Sequence[Any]) -> Any:
    return unflatten(s.tree, list(leaves))[0]


def _positional(f: Callable[..., Any]) -> int:
    try:
        kinds = [p.kind for p in inspect.signature(f).parameters.values() if p.default is inspect.Parameter.empty]
    except (TypeError, ValueError):
        return 2
    return sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds)
