"""Functions recorded as one composite row: recomputation in reverse mode, and user-defined primitives."""

import contextlib
import inspect
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastad.errors import CheckError, DerivativeError
from fastad.execution.composites.evaluating import run
from fastad.recording.capture import OutsideState
from fastad.recording.operands import recorder_of, to_ref
from fastad.recording.outside_arrays import Elements
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder, plainly
from fastad.recording.rereading import OutsideReader
from fastad.recording.settings import read_all
from fastad.recording.source import at_line, user_line
from fastad.recording.watched import look_into
from fastad.tables.builder import dtype_char
from fastad.tables.columns import DTYPES, ValueType
from fastad.tables.composites.sub import Sub, flat_sub, packed, unpacked
from fastad.tables.composites.sub_rules import OwnRules
from fastad.tables.reference import Stopped
from fastad.transforms.base import Transformed, program_of
from fastad.transforms.call import Call, flatten, make_call, unflatten
from fastad.transforms.program import Program, record


class Checkpoint(Transformed):
    """A function that reverse mode recomputes instead of storing its values; see `checkpoint`."""

    def program(self, call: Call) -> Program:
        return program_of(self.__wrapped__, call)

    def inside(self, call: Call) -> Any:
        program = self.new_program(call.concrete())
        operands = [*program.gather(call.inputs), *program.table.captured]
        if not any(isinstance(x, Recorded) for x in operands):
            return super().inside(call)
        sub = flat_sub(program.inner, f"checkpoint of {self.__name__}")
        return program.result(call_sub(sub, operands, program.table.output_types))


def call_sub(sub: Sub, operands: Sequence[Any], kinds: Sequence[ValueType]) -> list[Recorded]:
    """Record a composite row on operands of any shapes; its results have these types."""
    recorder = recorder_of(operands)
    refs = [to_ref(recorder, x) for x in operands]
    recorder.builder.source_line(user_line())
    out = recorder.builder.call(sub, packed(recorder.builder, refs))
    results = unpacked(recorder.builder, out, kinds)
    recorder.settle()
    return [Recorded(recorder, ref) for ref in results]


@dataclass(frozen=True)
class _Structure:
    """Arguments and results of a user primitive in one call. `inputs` and `outputs` are the types of the leaves that
    are arrays or floats; other arguments are static."""

    call: Call
    inputs: tuple[ValueType, ...]
    outputs: tuple[ValueType, ...]
    out_tree: Any

    @property
    def sizes(self) -> tuple[int, int]:
        return sum(k.size for k in self.inputs), sum(k.size for k in self.outputs)

    def primals(self) -> Any:
        """The arguments as a tuple, as rules get them."""
        return self.call.rebuild([np.array(x)[()] for x in self.call.inputs])[0]

    def tangents(self) -> Any:
        """Zeros in the structure of the arguments; None for static ones."""
        zeros = iter([np.zeros(k.shape, DTYPES[k.dtype] if k.dtype in "df" else float)[()] for k in self.inputs])
        return unflatten(self.call.tree, [next(zeros) if d else None for d in self.call.dynamic])[0]

    def cotangents(self) -> Any:
        """Zeros in the structure of the result."""
        return unflatten(self.out_tree, [np.zeros(k.shape)[()] for k in self.outputs])

    def of_inputs(self, leaves: Sequence[Any]) -> list[Any]:
        """Given one leaf for each leaf of the arguments: those that belong to inputs."""
        return [x for x, d in zip(leaves, self.call.dynamic, strict=True) if d]


class _Made:
    """The sub-program of a user primitive for one structure of arguments, and the outside state that it depends on."""

    def __init__(self, sub: Sub, structure: _Structure, outside: Sequence[OutsideState]) -> None:
        self.sub, self.structure = sub, structure
        self.elements = [Elements(a) for a in _arrays(outside)]  # held by value in the tables
        self._held = [x for state in outside for x in state.held]  # whose addresses are in the key

    def is_current(self, outside: Sequence[OutsideState]) -> bool:
        """Whether the arrays outside have the elements that the tables hold."""
        return all(e.are_those_of(a) for e, a in zip(self.elements, _arrays(outside), strict=True))

    def fits(self, inputs: Sequence[Any]) -> bool:
        """Whether a call with these inputs takes the same branches in f and in its rules."""
        x = np.concatenate([np.ravel(np.asarray(v, np.float64)) for v in inputs]) if inputs else np.zeros(0)
        rules = [vars(self.sub).get(name) for name in ("tangent", "adjoint")]
        return all(_passes(sub, x) for sub in (self.sub, *rules) if sub is not None)


def _arrays(outside: Sequence[OutsideState]) -> list[np.ndarray]:
    return [a for state in outside for a in state.arrays]


def _passes(sub: Sub, x: np.ndarray) -> bool:
    if not sub.has_guards:
        return True
    try:
        sub.evaluate(np.concatenate([x, np.zeros(sub.n_in - x.size)]), run=run)
    except Stopped:
        return False
    return True


class UserPrimitive:
    """A function with derivative rules of its own; see `primitive`."""

    _fastad_calls_later = True  # the rules are recorded when a derivative is made

    def __init__(self, f: Callable[..., Any], jvp: Callable[..., Any] | None, vjp: Callable[..., Any] | None) -> None:
        self.__wrapped__ = f
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.__doc__ = f.__doc__
        self._jvp, self._vjp = jvp, vjp
        self._fastad_wraps, self._fastad_options = (f, jvp, vjp), ()
        self._outside = OutsideReader()
        self._made: dict[Any, list[_Made]] = {}

    def __call__(self, *args: Any) -> Any:
        if current_recorder() is None:
            return self.__wrapped__(*args)
        call = make_call(args, {})
        if not any(isinstance(x, Recorded) for x in call.inputs):
            return self.__wrapped__(*args)
        made = self._for(call.concrete(), read_all())  # rules are recorded later and may read any setting
        return unflatten(made.structure.out_tree, call_sub(made.sub, call.inputs, made.structure.outputs))

    def _for(self, call: Call, settings: tuple[str, ...]) -> _Made:
        """The sub-program for a call: an earlier one where it fits, so that equal programs have equal tables."""
        state = self._outside.read(*self._fastad_wraps)
        outside = (state, *call.outside)
        known = self._made.setdefault((call.key, state.key, settings), [])
        known[:] = [made for made in known if made.is_current(outside)]
        look_into(_arrays(outside))
        for made in known:
            if made.fits(call.inputs):
                return made
        known.append(self._make(call, outside))
        return known[-1]

    def _make(self, call: Call, outside: Sequence[OutsideState]) -> _Made:
        args, _ = call.rebuild([np.array(x)[()] for x in call.inputs])
        with plainly():
            leaves, out_tree = flatten(self.__wrapped__(*args))
        s = _Structure(call, tuple(map(_type_of, call.inputs)), tuple(map(_type_of, leaves)), out_tree)
        jvp, vjp = (self._jvp and partial(self._push, s)), (self._vjp and partial(self._pull, s))
        rules = OwnRules(jvp, vjp) if jvp or vjp else None
        sub = _recorded_or_called(lambda *xs: self.__wrapped__(*xs), call, s.sizes, self.__name__, rules)
        return _Made(sub, s, outside)

    # ── derivatives ──────────────────────────────────────────────────────────────────────────────────────────
    def _push(self, s: _Structure) -> Sub:
        n, m = s.sizes
        call = make_call((s.primals(), s.tangents()), {})
        return _recorded_or_called(self._checked_jvp(s), call, (2 * n, m), f"jvp rule of {self.__name__}")

    def _pull(self, s: _Structure) -> Sub:
        n, m = s.sizes
        call = make_call((s.primals(), s.cotangents()), {})
        return _recorded_or_called(self._checked_vjp(s), call, (n + m, n), f"vjp rule of {self.__name__}")

    def _checked_jvp(self, s: _Structure) -> Callable[..., Any]:
        def rule(primals: Any, tangents: Any) -> Any:
            assert self._jvp is not None
            _positional(self._jvp, self.__name__, "jvp", (2,))
            result = self._jvp(primals, tangents)
            if isinstance(result, tuple) and len(result) == 2 and flatten(result)[1] != s.out_tree:
                result = result[1]  # (value, tangent), as fad.jvp returns them
            return self._shaped(flatten(result)[0], s.outputs, "jvp", "the tangent of the result")

        return rule

    def _checked_vjp(self, s: _Structure) -> Callable[..., Any]:
        def rule(primals: Any, u: Any) -> Any:
            assert self._vjp is not None
            wants_result = _positional(self._vjp, self.__name__, "vjp", (2, 3)) == 3
            result = self._vjp(primals, self(*primals), u) if wants_result else self._vjp(primals, u)
            leaves = flatten(tuple(result) if isinstance(result, tuple | list) else (result,))[0]
            leaves = s.of_inputs(leaves) if len(leaves) == len(s.call.dynamic) else leaves
            return self._shaped(leaves, s.inputs, "vjp", "one adjoint an argument, as a tuple")

        return rule

    def _shaped(self, leaves: Sequence[Any], kinds: Sequence[ValueType], rule: str, what: str) -> Any:
        """The leaves that a rule returned, with zeros for None. DerivativeError unless they have these shapes."""
        found = [np.zeros(k.shape) if x is None else x for x, k in zip(leaves, kinds, strict=False)]
        shapes = [np.shape(x) for x in found]
        if shapes != [k.shape for k in kinds] or len(leaves) != len(kinds):
            raise DerivativeError(
                f"the {rule} rule of {self.__name__} must return {what}, of shapes {[k.shape for k in kinds]}; "
                f"it returned shapes {shapes if len(leaves) == len(kinds) else [np.shape(x) for x in leaves]}"
            )
        return tuple(found)


def primitive(
    f: Callable[..., Any], jvp: Callable[..., Any] | None = None, vjp: Callable[..., Any] | None = None
) -> UserPrimitive:
    """A user-defined primitive: f with derivative rules of its own. It works inside all transformations.

    `jvp(primals, tangents)` returns the tangent of the result, or the pair (result, tangent) as `fad.jvp` does.
    `vjp(primals, u)` or `vjp(primals, result, u)` returns a tuple with one adjoint for each argument (None: zero).
    Primals and tangents are tuples with one entry for each argument. One rule is enough: the other is its transpose.
    Rules written in NumPy are recorded, so they can be differentiated again. If f or a rule cannot be recorded, for
    instance because it calls another library, Python calls it at every replay.

    >>> import math, numpy as np, fastad as fad
    >>> rule = lambda primals, tangents: 3 * primals[0] ** 2 * tangents[0]
    >>> cube = fad.primitive(lambda x: math.pow(float(x), 3), jvp=rule)
    >>> float(fad.grad(cube)(2.0)), float(fad.grad(fad.grad(cube))(2.0))
    (12.0, 12.0)
    """
    for function in (f, *(rule for rule in (jvp, vjp) if rule is not None)):
        if not callable(function):
            raise TypeError(f"expected a function, got {type(function).__name__}{at_line()}")
    if isinstance(f, Transformed | UserPrimitive):
        f = f.__wrapped__ if isinstance(f, UserPrimitive) else f
    return UserPrimitive(f, jvp, vjp)


def check_primitive(p: UserPrimitive, args: Sequence[Any], rtol: float = 1e-5, seed: int = 0) -> None:
    """Verify the rules of a user-defined primitive at `args`.

    The jvp is compared with central differences (step 6e-6 times the scale of the arguments, expected relative error
    about 1e-10), the vjp with the jvp by ⟨u, Jv⟩ = ⟨Jᵀu, v⟩. Raises `CheckError`, with the measured error, where it is
    larger than `rtol`.
    """
    from fastad.transforms.public import jvp, vjp

    if not isinstance(p, UserPrimitive):
        raise TypeError(f"check_primitive takes what fad.primitive returned, not {type(p).__name__}")
    rng = np.random.default_rng(seed)
    primals = tuple(np.asarray(x, np.float64) for x in args)
    v = tuple(rng.normal(size=x.shape) for x in primals)
    step = 6e-6 * max(1.0, *(float(np.max(np.abs(x), initial=0.0)) for x in primals))
    plus, minus = (p.__wrapped__(*(x + s * t for x, t in zip(primals, v, strict=True))) for s in (step, -step))
    difference = [
        (np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in zip(flatten(plus)[0], flatten(minus)[0], strict=True)
    ]
    _, tangent = jvp(p, primals, v)
    tangents = [np.asarray(t) for t in flatten(tangent)[0]]
    scale = max(float(np.max(np.abs(d), initial=0.0)) for d in difference) or 1.0
    error = max(float(np.max(np.abs(t - d), initial=0.0)) for t, d in zip(tangents, difference, strict=True)) / scale
    if not error <= rtol:
        raise CheckError(
            f"{p.__name__}: the jvp differs from central differences by {error:.2e} (relative; step {step:.1e}, "
            f"rtol {rtol:.1e}); correct the rule, or f is not smooth at this point"
        )
    out, pull = vjp(p, *primals)
    leaves, tree = flatten(out)
    u = [rng.normal(size=np.shape(x)) for x in leaves]
    bars = pull(unflatten(tree, u))
    left = sum(float(np.sum(a * b)) for a, b in zip(u, tangents, strict=True))
    right = sum(float(np.sum(a * b)) for a, b in zip(v, bars, strict=True))
    gap = abs(left - right) / max(abs(left), abs(right), 1e-300)
    if not gap <= rtol:
        raise CheckError(
            f"{p.__name__}: the jvp and the vjp disagree by {gap:.2e} (relative; rtol {rtol:.1e}): "
            f"<u, Jv> = {left:.12g}, but <J'u, v> = {right:.12g}; correct the vjp"
        )


def _recorded_or_called(
    f: Callable[..., Any], call: Call, sizes: tuple[int, int], name: str, rules: OwnRules | None = None
) -> Sub:
    """f as a sub-program: a table where f can be recorded, else a callback to Python."""
    reason, said = "", io.StringIO()
    try:
        with contextlib.redirect_stderr(said):  # compiled libraries print what stops them
            program = record(f, call)
        sys.stderr.write(said.getvalue())
        if len(program.table.outputs) and not program.lifted and all(x is None for x in program.out_leaves):
            return _without_captured(program, sizes, name, rules)
    except DerivativeError:
        raise
    except Exception as error:  # not NumPy code: called by Python; compiled libraries have errors of their own
        reason = f"{type(error).__name__}: {error}"
    kinds = [_type_of(x) for x in call.inputs]

    def callback(x: np.ndarray) -> np.ndarray:
        parts, start = [], 0
        for kind in kinds:
            part = x[start : start + kind.size].reshape(kind.shape).astype(DTYPES[kind.dtype])
            parts.append(part[()])
            start += kind.size
        args, kwargs = call.rebuild(parts)
        with plainly():
            leaves = flatten(f(*args, **kwargs))[0]
        return np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in leaves])

    return Sub(*sizes, name, callback=callback, reason=reason, rules=rules)


def _without_captured(program: Program, sizes: tuple[int, int], name: str, rules: OwnRules | None) -> Sub:
    """The program's table as a sub-program. Captured arrays become constants."""
    from fastad.tables.builder import Builder
    from fastad.tables.inline import compact, inline

    table = program.inner
    b = Builder()
    x = b.input((sizes[0],))
    inputs = unpacked(b, x, table.inputs[: table.explicit_inputs])
    refs = inline(b, table, [*inputs, *(b.const(a) for a in table.captured)])
    return Sub(*sizes, name, compact(b.table([packed(b, [refs[i] for i in table.outputs])])), rules=rules)


def _type_of(x: Any) -> ValueType:
    array = np.asarray(x)
    return ValueType(array.shape, dtype_char(array.dtype))


def _positional(f: Callable[..., Any], name: str, rule: str, possible: tuple[int, ...]) -> int:
    """How many arguments a rule takes by position: one of the numbers that are possible. DerivativeError if none is."""
    try:
        given = inspect.signature(f)
    except (TypeError, ValueError):
        return 2
    kinds = [p.kind for p in given.parameters.values() if p.default is inspect.Parameter.empty]
    found = sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds)
    for count in (found, *possible):
        with contextlib.suppress(TypeError):
            given.bind(*range(count))
            if count in possible:
                return count
    wanted = {"jvp": "jvp(primals, tangents)", "vjp": "vjp(primals, u) or vjp(primals, result, u)"}[rule]
    raise DerivativeError(f"the {rule} rule of {name} takes {given}; it is called as {wanted}, with tuples of primals")
