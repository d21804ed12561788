"""`scan`, `while_loop` and `fori_loop`: loops that are one row of the table, however many steps they have."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.control.loop_rows import Settled, run_of, settled, total
from fastad.control.outside import recorded_loop
from fastad.control.parts import (
    Shared,
    any_recorded,
    concrete,
    flatten_state,
    kind_of,
    numeric,
    structure_error,
)
from fastad.control.paths import Recordings
from fastad.errors import ShapeError
from fastad.recording.geometry import copied
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line
from fastad.tables.columns import DTYPES, ValueType
from fastad.tables.composites.loops import Loop, Sizes
from fastad.tables.composites.repeated import CONVERGING
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
    checkpoint : a schedule, such as `fad.checkpoint.Revolve(100)`. None stores all states (`StoreAll`), or none
        where steps are linear in the carry with constant factors: their adjoints read no state.
    reverse : go from the last x to the first; ys stay in the order of xs.
    inverse : function from (new carry, x) to the carry before the step. Reverse mode then stores only the last state
        and computes the others by it. `fad.check_inverse` measures how rounding errors grow.
    progress : show a progress bar for the loop and its adjoint (needs tqdm).

    A Python branch in f is recorded for each path that a step takes. Raises ShapeError where f changes the carry's
    structure or shapes, or its paths differ in them, and RecordingError where an integer that is asked for, as by
    `int(k)`, is another one in a later step than in the first.

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
    checkpoint : a schedule, such as `fad.checkpoint.Online(snapshots)`; `StoreAll()` and `Periodic(every)` need
        `max_steps`, and `Revolve` is `Online`, as the number of steps is not known. None: `StoreAll` where `max_steps`
        states are at most 10⁶ numbers, else `Online(100)`.
    progress : show a progress bar for the loop and its adjoint (needs tqdm).

    Errors as in `scan`.

    >>> import numpy as np, fastad as fad
    >>> newton = lambda a: fad.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, 1.0)
    >>> round(float(newton(2.0)), 9), round(float(fad.grad(newton)(2.0)), 9)
    (1.414213562, 0.353553391)
    """
    _check_functions("while_loop", cond_fun=cond_fun, body_fun=body_fun)
    limit = None if max_steps is None else _integer(max_steps, "max_steps")
    if limit is not None and limit < 0:
        raise ShapeError(f"max_steps must be at least 0 steps, not {limit}{at_line()}")

    return _run_while(cond_fun, body_fun, init, limit, {"schedule": checkpoint, "progress": progress})


def iterate(cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init: Any) -> Any:
    """A `while_loop` that converges: it ends after few steps, so that nothing is compiled for its first run."""
    return _run_while(cond_fun, body_fun, init, None, {"schedule": None, "progress": False, "usual_steps": CONVERGING})


def _run_while(cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init: Any, limit: Any, options: Any) -> Any:
    state, tree = numeric(init, "the state of while_loop")

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
def _own(tree: Any, leaves: Sequence[Any]) -> Any:
    """A copy of a state, which the user's function may change in place."""
    return unflatten(tree, [copied(x) for x in leaves])


def _checked(result: Any, tree: Any, got: Sequence[Any], what: str) -> list[Any]:
    """Leaves of a new state. ShapeError if its structure is not that of the state before."""
    leaves, found = flatten_state(result)
    if found != tree:
        raise structure_error(what, unflatten(tree, list(got)), result)
    return [x if isinstance(x, Recorded) or not isinstance(x, bool | int | float) else np.asarray(x) for x in leaves]


# ── the loops ─────────────────────────────────────────────────────────────────────────────────────────────────
def _scan(
    f: Any, inverse: Any, carry: tuple[Any, Any], xs: tuple[Any, Any], steps: int, options: dict[str, Any]
) -> Any:
    (state, carry_tree), (elements, element_tree) = carry, xs
    kinds = [ValueType(kind_of(x).shape[1:], kind_of(x).dtype) for x in elements]
    first = [_first(x, kind, options["backward"]) for x, kind in zip(elements, kinds, strict=True)]
    count = len(state)

    def element(leaves: Sequence[Any]) -> Any:
        return None if element_tree is None else unflatten(element_tree, list(leaves))

    def step(leaves: Any, each: Any) -> Any:
        result = f(_own(carry_tree, leaves), element(each))
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise ShapeError(f"f of scan must return (carry, y){at_line()}, not {type(result).__name__}")
        return _checked(result[0], carry_tree, leaves, "f of scan"), result[1]

    def back(after: Any, each: Any) -> Any:
        assert inverse is not None
        return _checked(inverse(_own(carry_tree, after), element(each)), carry_tree, after, "the inverse of scan")

    def recorded(leaves: list[Any]) -> Settled:
        own = settled(lambda s: Recordings(step, (s, first), "scan", f, counts=False), leaves, "f of scan", carry_tree)
        if inverse is None:
            return own
        undo = lambda s: Recordings(back, (s, first), "inverse of scan", inverse, counts=False)
        return Settled([*own.functions, *settled(undo, own.leaves, "inverse", carry_tree).functions], own.leaves)

    def loop(own: Settled, shared: Shared) -> tuple[Loop, list[ValueType]]:
        lead = [*own.kinds, *kinds]
        outputs = [*lead[:count], *own.functions[0].results[count:]]
        sizes = Sizes(total(lead[:count]), total(kinds), total(outputs[count:]), shared.size)
        body, *others = own.functions
        undone = others[0].sub(shared, lead, lead[:count]) if others else None
        return Loop.of("scan", sizes, steps, body.sub(shared, lead, outputs), **options, inverse=undone), outputs

    own, results = run_of(state, recorded, loop, elements)
    given = iter(results[count:])
    program = own.functions[0].parts[0].program
    _, y_tree = program.out_tree.children()
    ys = [next(given) if x is None else x.value for x in program.out_leaves[count:]]
    return unflatten(carry_tree, results[:count]), unflatten(y_tree, ys)


def _first(x: Any, kind: ValueType, reverse: bool) -> Any:
    """The element of the first step; zeros if the loop has no steps."""
    values = x.value if isinstance(x, Recorded) else x
    return values[-1 if reverse else 0] if len(values) else np.zeros(kind.shape, DTYPES[kind.dtype])


def _fori(body_fun: Any, carry: tuple[Any, Any], first: int, steps: int, options: dict[str, Any]) -> Any:
    (state, tree), name, number = carry, "fori_loop", np.int64(0)

    def step(leaves: Any, k: Any) -> Any:
        return _checked(body_fun(k + first, _own(tree, leaves)), tree, leaves, "body_fun of fori_loop")

    def recorded(leaves: list[Any]) -> Settled:
        own = lambda s: Recordings(step, (s, number), name, body_fun, counts=False)
        return settled(own, leaves, f"body_fun of {name}", tree)

    def loop(own: Settled, shared: Shared) -> tuple[Loop, list[ValueType]]:
        kinds = own.kinds
        body = own.functions[0].sub(shared, [*kinds, ValueType((), "i")], kinds)
        return Loop.of(name, Sizes(total(kinds), shared=shared.size, indexed=True), steps, body, **options), kinds

    return unflatten(tree, run_of(state, recorded, loop)[1])


def _while(cond_fun: Any, body_fun: Any, carry: tuple[Any, Any], limit: int | None, options: dict[str, Any]) -> Any:
    name, (state, tree) = "while_loop", carry

    def step(leaves: Any) -> Any:
        return _checked(body_fun(_own(tree, leaves)), tree, leaves, f"body_fun of {name}")

    def goes_on(leaves: Any) -> Any:
        return _one(cond_fun(unflatten(tree, leaves)))

    def recorded(leaves: list[Any]) -> Settled:
        body = lambda s: Recordings(step, (s,), name, body_fun, counts=False)
        own = settled(body, leaves, f"body_fun of {name}", tree)
        test = Recordings(goes_on, (concrete(own.leaves),), f"cond_fun of {name}", cond_fun, counts=False)
        return Settled([*own.functions, test], own.leaves)

    def loop(own: Settled, shared: Shared) -> tuple[Loop, list[ValueType]]:
        (body, test), kinds, size = own.functions, own.kinds, total(own.kinds)
        chosen = options
        if options["schedule"] is None and (limit is None or limit * size > _STORE_ALL_UP_TO):
            chosen = options | {"schedule": _unknown_length()}
        condition = test.sub(shared, kinds, [ValueType((), "d")])
        sizes, length = Sizes(size, shared=shared.size), -1 if limit is None else limit
        return Loop.of(name, sizes, length, body.sub(shared, kinds, kinds), condition=condition, **chosen), kinds

    return unflatten(tree, run_of(state, recorded, loop)[1])


def _one(found: Any) -> Any:
    """The result of a condition as one truth value."""
    if np.size(found) != 1 or not isinstance(found, Recorded | np.ndarray | np.generic | bool | int | float):
        raise ShapeError(f"cond_fun of while_loop must return one number or boolean{at_line()}, not {found!r}")
    return np.not_equal(np.reshape(found, ()), 0)


def _unknown_length() -> Any:
    """The default schedule of loops whose number of steps is not known."""
    from fastad.schedules.online import Online

    return Online(_SNAPSHOTS)
