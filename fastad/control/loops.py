"""`scan`, `while_loop` and `fori_loop`: loops that are one row of the table, however many steps they have."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.control.outside import recorded_loop
from fastad.control.parts import (
    Part,
    Shared,
    any_recorded,
    branch_error,
    cast,
    check_schedule,
    concrete,
    emit,
    flatten_state,
    kind_of,
    numeric,
    operand_refs,
    record_part,
    structure_error,
)
from fastad.errors import ShapeError
from fastad.execution.composites.evaluating import run
from fastad.primitives.regions import region
from fastad.recording.operands import copied
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line
from fastad.tables.columns import DTYPES, ValueType
from fastad.tables.composites.loops import Loop, Sizes
from fastad.tables.composites.sub import packed, slices, unpacked
from fastad.tables.reference import Stopped
from fastad.transforms.call import unflatten

_STORE_ALL_UP_TO = 1_000_000  # while loops with max_steps store all states by default, up to this many numbers
_SNAPSHOTS = 100  # of the default schedule of longer while loops


def scan(
    f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, checkpoint: Any = None,
    *, reverse: bool = False, inverse: Callable[..., Any] | None = None, progress: bool = False,
) -> Any:  # fmt: skip
    """Carry a state through steps: `carry, y = f(carry, x)` for each x along the leading axis of `xs`.

    Returns (carry, ys): the last carry, and the results y of all steps, stacked. The loop is one row of the table for
    any number of steps; f is recorded once. Reverse mode stores the states that `checkpoint` chooses and recomputes the
    others.

    Parameters
    ----------
    f : function from (carry, x) to (new carry, y). The carry keeps its structure and shapes; x is None without `xs`. f
        may refer to recorded values outside, which are differentiated too. For branches on values use `np.where` or
        `fad.cond`.
    init : the first carry, a pytree of arrays and numbers.
    xs : pytree of arrays with the same leading axis, or None.
    length : number of steps; required without `xs`.
    checkpoint : a schedule, such as `fad.checkpoint.Revolve(100)`. None stores all states (`StoreAll`).
    reverse : go from the last x to the first; ys stay in the order of xs.
    inverse : function from (new carry, x) to the carry before the step. Reverse mode then stores only the last state
        and computes the others by it. `fad.check_inverse` measures how rounding errors grow.
    progress : show a progress bar for the loop and its adjoint (needs tqdm).

    Raises ShapeError where f changes the carry's structure or shapes, and RecordingError where a Python branch in f
    takes another path in a later step than in the first.

    >>> import numpy as np, fastad as fad
    >>> def compound(total, rate):
    ...     return total * (1 + rate), total
    >>> total, history = fad.scan(compound, 100.0, np.array([0.5, 0.25]))
    >>> float(total), history.tolist()
    (187.5, [100.0, 150.0])
    """
    _check_functions("scan", f=f, **({} if inverse is None else {"inverse": inverse}))
    carry, carry_tree = numeric(init, "the carry of scan")
    elements, element_tree = _elements(xs)
    steps = _length(elements, length)

    def run(state: Sequence[Any], each: Sequence[Any]) -> Any:
        return _scan(f, inverse, (state, carry_tree), (each, element_tree), steps, options)

    options = {"schedule": checkpoint, "backward": reverse, "progress": progress}
    if current_recorder() is None:
        return recorded_loop(f, run)(carry, elements)
    return run(carry, elements)


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[..., Any], init: Any, *, checkpoint: Any = None, progress: bool = False
) -> Any:
    """`for i in range(lower, upper): state = body_fun(i, state)`; returns the last state.

    The bounds may be recorded values: then the loop is a `while_loop`, whose number of steps is determined at every
    run. Arguments and errors as in `scan`. `i` is a recorded integer; to index a plain array x, write
    np.asarray(x, like=i)[i].

    >>> import numpy as np, fastad as fad
    >>> float(fad.grad(lambda x: fad.fori_loop(0, 3, lambda i, y: y * x + i, 1.0))(2.0))  # x**3 + x + 2
    13.0
    """
    if any_recorded([lower, upper]):
        state = (np.asarray(lower) if not isinstance(lower, Recorded) else lower, init)
        return while_loop(
            lambda s: s[0] < upper, lambda s: (s[0] + 1, body_fun(s[0], s[1])), state, checkpoint=checkpoint,
            progress=progress,
        )[1]  # fmt: skip
    first, last = _integer(lower, "lower"), _integer(upper, "upper")
    _check_functions("fori_loop", body_fun=body_fun)
    carry, tree = numeric(init, "the state of fori_loop")
    options = {"schedule": checkpoint, "progress": progress}

    def run(state: Sequence[Any]) -> Any:
        return _fori(body_fun, (state, tree), first, max(last - first, 0), options)

    if current_recorder() is None:
        return recorded_loop(body_fun, run)(carry)
    return run(carry)


def while_loop(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init: Any, max_steps: int | None = None,
    *, checkpoint: Any = None, progress: bool = False,
) -> Any:  # fmt: skip
    """`while cond_fun(state): state = body_fun(state)`; returns the last state.

    The number of steps is determined at every run and need not be known, not even for reverse mode. With `max_steps`
    the loop ends after at most that many steps, even if the condition still holds. The derivative is that of the steps
    that were run.

    Parameters
    ----------
    cond_fun : function from a state to one number or boolean; it may refer to recorded values outside.
    body_fun : function from a state to a state of the same structure and shapes.
    init : pytree of arrays and numbers.
    max_steps : an integer, or None.
    checkpoint : a schedule for an unknown number of steps: `fad.checkpoint.Online(snapshots)`, or, with `max_steps`,
        `fad.checkpoint.StoreAll()`. None: `StoreAll` where `max_steps` states are at most 10⁶ numbers, else
        `Online(100)`.
    progress : show a progress bar for the loop and its adjoint (needs tqdm).

    Errors as in `scan`.

    >>> import numpy as np, fastad as fad
    >>> newton = lambda a: fad.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, 1.0)
    >>> round(float(newton(2.0)), 9), round(float(fad.grad(newton)(2.0)), 9)
    (1.414213562, 0.353553391)
    """
    _check_functions("while_loop", cond_fun=cond_fun, body_fun=body_fun)
    state, tree = numeric(init, "the state of while_loop")
    limit = None if max_steps is None else _integer(max_steps, "max_steps")
    options = {"schedule": checkpoint, "progress": progress}
    if limit is not None and limit < 0:
        raise ShapeError(f"max_steps must be at least 0 steps, not {limit}{at_line()}")

    def run(leaves: Sequence[Any]) -> Any:
        return _while(cond_fun, body_fun, (leaves, tree), limit, options)

    if current_recorder() is None:
        return recorded_loop(cond_fun, run)(state)
    return run(state)


# ── arguments ─────────────────────────────────────────────────────────────────────────────────────────────────
def _check_functions(loop: str, **functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name} of {loop} must be a function{at_line()}, not {type(function).__name__}")


def _elements(xs: Any) -> tuple[list[Any], Any]:
    """Leaves of xs, each with a leading axis, and their structure."""
    if xs is None:
        return [], None
    leaves, tree = numeric(xs, "xs of scan")
    for leaf in leaves:
        if np.ndim(leaf) == 0:
            raise ShapeError(
                f"xs of scan holds a number{at_line()}, but needs arrays with a leading axis for the steps. "
                "For a loop without xs write scan(f, init, length=n)."
            )
    return leaves, tree


def _length(elements: Sequence[Any], length: Any) -> int:
    found = {np.shape(x)[0] for x in elements}
    if length is not None:
        found.add(_integer(length, "length"))
    if len(found) != 1 or min(found) < 0:
        raise ShapeError(
            f"scan needs one number of steps{at_line()}, but the leading axes of xs and `length` are {sorted(found)}"
            if found
            else f"scan needs xs or length{at_line()}: give the number of steps by one of them"
        )
    return int(found.pop())


def _integer(x: Any, name: str) -> int:
    try:
        return operator.index(x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x)
    except TypeError:
        raise ShapeError(f"{name} must be an integer, not {x!r}{at_line()}") from None


# ── the state ─────────────────────────────────────────────────────────────────────────────────────────────────
def _settled(record: Callable[[list[Any]], Part], state: Sequence[Any], what: str, tree: Any) -> tuple[Part, list[Any]]:
    """The recorded step, and the first state converted to dtypes that the step does not change."""
    leaves = list(state)
    while True:
        part = record(concrete(leaves))
        kinds = [kind_of(x) for x in leaves]
        after = part.results[: len(leaves)]
        if [k.shape for k in kinds] != [k.shape for k in after]:
            raise structure_error(what, unflatten(tree, leaves), unflatten(tree, [np.zeros(k.shape) for k in after]))
        wider = [np.result_type(DTYPES[a.dtype], DTYPES[b.dtype]) for a, b in zip(kinds, after, strict=True)]
        if all(DTYPES[k.dtype] == d for k, d in zip(kinds, wider, strict=True)):
            return part, leaves
        leaves = [x.astype(d) for x, d in zip(leaves, wider, strict=True)]


def _own(tree: Any, leaves: Sequence[Any]) -> Any:
    """A copy of a state, which the user's function may change in place."""
    return unflatten(tree, [copied(x) for x in leaves])


def _checked(result: Any, tree: Any, got: Sequence[Any], what: str) -> list[Any]:
    """Leaves of a new state. ShapeError if its structure is not that of the state before."""
    leaves, found = flatten_state(result)
    if found != tree:
        raise structure_error(what, unflatten(tree, list(got)), result)
    return [x if isinstance(x, Recorded) or not isinstance(x, bool | int | float) else np.asarray(x) for x in leaves]


# ── the rows ──────────────────────────────────────────────────────────────────────────────────────────────────
def _scan(
    f: Any, inverse: Any, carry: tuple[Any, Any], xs: tuple[Any, Any], steps: int, options: dict[str, Any]
) -> Any:
    (state, carry_tree), (elements, element_tree) = carry, xs
    kinds = [ValueType(kind_of(x).shape[1:], kind_of(x).dtype) for x in elements]
    first = [_first(x, kind, options["backward"]) for x, kind in zip(elements, kinds, strict=True)]

    def element(leaves: Sequence[Any]) -> Any:
        return None if element_tree is None else unflatten(element_tree, list(leaves))

    def step(leaves: Any, each: Any) -> Any:
        result = f(_own(carry_tree, leaves), element(each))
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise ShapeError(f"f of scan must return (carry, y){at_line()}, not {type(result).__name__}")
        return _checked(result[0], carry_tree, leaves, "f of scan"), result[1]

    part, leaves = _settled(lambda s: record_part(step, (s, first), "scan"), state, "f of scan", carry_tree)
    parts = [part]
    if inverse is not None:

        def back(after: Any, each: Any) -> Any:
            result = inverse(_own(carry_tree, after), element(each))
            return _checked(result, carry_tree, after, "the inverse of scan")

        parts.append(
            _settled(lambda s: record_part(back, (s, first), "inverse of scan"), leaves, "inverse", carry_tree)[0]
        )
    shared = Shared(parts)
    lead = [*(kind_of(x) for x in leaves), *kinds]
    count = len(leaves)
    outputs = [*lead[:count], *part.results[count:]]
    sizes = Sizes(_total(lead[:count]), _total(kinds), _total(outputs[count:]), shared.size)
    loop = Loop.of(
        "scan", sizes, steps, shared.sub(part, lead, outputs), **options,
        inverse=shared.sub(parts[1], lead, lead[:count]) if inverse is not None else None,
    )  # fmt: skip
    results = _emit_loop(loop, leaves, shared, elements, outputs, parts)
    given = iter(results[count:])
    places = part.program.out_leaves[count:]
    _, y_tree = part.program.out_tree.children()
    ys = [next(given) if x is None else x.value for x in places]
    return unflatten(carry_tree, results[:count]), unflatten(y_tree, ys)


def _first(x: Any, kind: ValueType, reverse: bool) -> Any:
    """The element of the first step; zeros if the loop has no steps."""
    values = x.value if isinstance(x, Recorded) else x
    return values[-1 if reverse else 0] if len(values) else np.zeros(kind.shape, DTYPES[kind.dtype])


def _fori(body_fun: Any, carry: tuple[Any, Any], first: int, steps: int, options: dict[str, Any]) -> Any:
    state, tree = carry

    def step(leaves: Any, k: Any) -> Any:
        return _checked(body_fun(k + first, _own(tree, leaves)), tree, leaves, "body_fun of fori_loop")

    name, number = "fori_loop", np.int64(0)
    part, leaves = _settled(lambda s: record_part(step, (s, number), name), state, f"body_fun of {name}", tree)
    shared = Shared([part])
    kinds = [kind_of(x) for x in leaves]
    body = shared.sub(part, [*kinds, ValueType((), "i")], kinds)
    sizes = Sizes(_total(kinds), shared=shared.size, indexed=True)
    loop = Loop.of(name, sizes, steps, body, **options)
    return unflatten(tree, _emit_loop(loop, leaves, shared, [], kinds, [part]))


def _while(cond_fun: Any, body_fun: Any, carry: tuple[Any, Any], limit: int | None, options: dict[str, Any]) -> Any:
    name, (state, tree) = "while_loop", carry

    def step(leaves: Any) -> Any:
        return _checked(body_fun(_own(tree, leaves)), tree, leaves, f"body_fun of {name}")

    body, leaves = _settled(lambda s: record_part(step, (s,), name), state, f"body_fun of {name}", tree)
    test = record_part(lambda s: _one(cond_fun(unflatten(tree, s))), (concrete(leaves),), f"cond_fun of {name}")
    parts = [body, test]
    shared = Shared(parts)
    kinds = [kind_of(x) for x in leaves]
    size = _total(kinds)
    if options["schedule"] is None and (limit is None or limit * size > _STORE_ALL_UP_TO):
        options = options | {"schedule": _unknown_length()}
    loop = Loop.of(
        name, Sizes(size, shared=shared.size), -1 if limit is None else limit, shared.sub(body, kinds, kinds),
        condition=shared.sub(test, kinds, [ValueType((), "d")]), **options,
    )  # fmt: skip
    return unflatten(tree, _emit_loop(loop, leaves, shared, [], kinds, parts))


def _one(found: Any) -> Any:
    """The result of a condition as one truth value."""
    if np.size(found) != 1 or not isinstance(found, Recorded | np.ndarray | np.generic | bool | int | float):
        raise ShapeError(f"cond_fun of while_loop must return one number or boolean{at_line()}, not {found!r}")
    return np.not_equal(np.reshape(found, ()), 0)


def _unknown_length() -> Any:
    """The default schedule of loops whose number of steps is not known."""
    from fastad.schedules.online import Online

    return Online(_SNAPSHOTS)


def _total(kinds: Sequence[ValueType]) -> int:
    return sum(kind.size for kind in kinds)


def _emit_loop(
    loop: Loop, leaves: Sequence[Any], shared: Shared, elements: Sequence[Any], outputs: Sequence[ValueType], parts: Any
) -> list[Any]:
    """Emit the loop's row. Returns the leaves of its last state and of its stacked results, of the types `outputs`."""
    check_schedule(loop)
    values = [*leaves, *shared.values, *elements]
    count, steps = len(leaves), max(loop.length, 0) if loop.condition is None else 0
    if not any_recorded(values):  # there is nothing to record: run it now
        return _on_numbers(loop, values, count, len(shared.values), outputs, parts)
    recorder, refs = operand_refs(values)

    def rows(b: Any) -> list[int]:
        s = loop.sizes
        lead = refs[: count + len(shared.values)]
        each = _interleaved(b, refs[count + len(shared.values) :], steps, s.element)
        state, rest = slices(b, b.call(loop, packed(b, [*lead, each])), (s.state, steps * s.result))
        return [*unpacked(b, state, outputs[:count]), *_stacked(b, rest, outputs[count:], steps, s.result)]

    return list(emit(recorder, rows, parts))


def _on_numbers(loop: Loop, values: Any, count: int, shared: int, outputs: Any, parts: Any) -> list[Any]:
    """The results of a loop that is run now, on plain arrays."""
    lead, elements = values[: count + shared], values[count + shared :]
    rows = [np.reshape(x, (loop.length, -1)) for x in elements if np.size(x)]
    flat = [np.ravel(x) for x in (*lead, np.concatenate(rows, axis=1) if rows else ())]
    try:
        out = run(loop, np.concatenate(flat))
    except Stopped:
        raise branch_error(parts) from None
    found, at = [], 0
    for kind in outputs[:count]:
        found.append(out[at : at + kind.size].reshape(kind.shape).astype(DTYPES[kind.dtype]))
        at += kind.size
    each = out[at:].reshape(max(loop.length, 0), -1) if outputs[count:] else None
    at = 0
    for kind in outputs[count:]:
        assert each is not None
        own = each[:, at : at + kind.size].reshape(loop.length, *kind.shape)
        found.append(own.astype(DTYPES[kind.dtype]))
        at += kind.size
    return found


def _interleaved(b: Any, refs: Sequence[int], steps: int, width: int) -> int:
    """The elements of all steps as one vector: step by step, and for each step leaf by leaf."""
    pieces, places, at = [], [], 0
    for ref in refs:
        own = b.size(ref) // max(steps, 1)
        if b.size(ref):
            pieces.append(ref)
            places.append(region(at, (steps, own), (width, 1)))
        at += own
    return b.assemble(pieces, places, (steps * width,)) if pieces else b.zeros((0,))


def _stacked(b: Any, rest: int, kinds: Sequence[ValueType], steps: int, width: int) -> list[int]:
    """The stacked results of all steps, one array for each leaf."""
    found, at = [], 0
    for kind in kinds:
        shape = (steps, *kind.shape)
        if steps * kind.size:
            place = region(at, (steps, kind.size), (width, 1))
            found.append(b.region(rest, place, shape, kind.dtype))
        else:
            found.append(cast(b, b.zeros(shape), ValueType(shape, kind.dtype)))
        at += kind.size
    return found
