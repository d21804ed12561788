"""jit, grad, jvp and vjp as classes: each makes the program of a derivative from that of a function."""

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass, replace
from operator import index
from typing import Any

import numpy as np

from fastad.errors import DerivativeError, ShapeError
from fastad.execution.request import Request
from fastad.recording.complex_operands import is_complex_leaf, is_complex_result
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.transforms.base import Transformed, program_of
from fastad.transforms.call import Call, described, flatten, flatten_whole, is_foreign_array, make_call, unflatten
from fastad.transforms.program import Fixed, Program


def _numbers_of(argnums: Any, name: str) -> int | tuple[int, ...]:
    """The numbers of the arguments to differentiate by. TypeError for anything else: for an argument of the function
    itself, above all."""
    given = argnums if isinstance(argnums, tuple | list) else (argnums,)
    try:
        found = tuple(map(index, given))
    except TypeError:
        fix = "take the function first, and call the result: fad.grad(f)(x)"
        if isinstance(argnums, str):
            fix = "write its number: 0 for the first positional argument"
        raise TypeError(f"argnums of {name} must be integers{at_line()}, not {argnums!r:.60}; {fix}") from None
    return found if isinstance(argnums, tuple | list) else found[0]


class Jit(Transformed):
    """A function that is recorded and replayed; see `jit`."""

    def program(self, call: Call) -> Program:
        return program_of(self.__wrapped__, call)

    def device_program(self, call: Call) -> Program:
        """That of the function itself: the lanes of a vmap."""
        inner = self.__wrapped__
        return inner.device_program(call) if isinstance(inner, Transformed) else super().device_program(call)


class Differentiated(Transformed):
    """What derivatives with respect to positional arguments share."""

    options: tuple[str, ...] = ("argnums",)

    def __init__(self, function: Callable[..., Any], argnums: int | Sequence[int] = 0, **options: Any) -> None:
        super().__init__(function, **options)
        self.argnums = _numbers_of(argnums, self.__name__)

    @property
    def _positions(self) -> tuple[int, ...]:
        return self.argnums if isinstance(self.argnums, tuple) else (self.argnums,)

    def normalise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        fixed = list(args)
        for position in self._positions:
            if not -len(args) <= position < len(args):
                raise ShapeError(
                    f"{self.__name__}: argnums names positional argument {position}, but {len(args)} were given"
                    f"{at_line()}"
                )
        leaves, chosen = _leaves_as_floats([args[position] for position in self._positions], self.__name__)
        if leaves and all(x is None for x in leaves):
            raise DerivativeError(
                f"{self.__name__}: argument {self.argnums} is None, so there is nothing to differentiate by; "
                "pass floats or arrays, or choose another argument with argnums="
            )
        for position, x in zip(self._positions, chosen, strict=True):
            fixed[position] = x
        return tuple(fixed), kwargs

    def targets(self, call: Call) -> tuple[list[int], Any]:
        """(numbers of the inputs to differentiate by, structure of the gradient with None for each output)."""
        args, _ = input_numbers(call)
        chosen = [args[p] for p in self._positions]
        numbers, tree = flatten(tuple(chosen) if isinstance(self.argnums, tuple) else chosen[0])
        kept = [None if n >= 0 else Fixed(None) for n in numbers]
        return [n for n in numbers if n >= 0], unflatten(tree, kept)


def as_floats(tree: Any, name: str) -> Any:
    """The argument with integers converted to floats: only real numbers have derivatives."""
    return _leaves_as_floats([tree], name)[1][0]


def _leaves_as_floats(trees: list[Any], name: str) -> tuple[list[Any], list[Any]]:
    """The leaves, and the trees with integers converted to floats."""
    if all(map(_is_float, trees)):
        return trees, trees
    leaves, structure = flatten(trees)
    if all(map(_is_float, leaves)):
        return leaves, trees
    return leaves, unflatten(structure, [_as_float(x, name) for x in leaves])


def _is_float(x: Any) -> bool:
    return type(x) is float or (type(x) is np.ndarray and x.dtype.char in "df")


def _as_float(x: Any, name: str) -> Any:
    if x is None or isinstance(x, float) or (isinstance(x, np.ndarray | np.generic | Recorded) and x.dtype.kind == "f"):
        return x
    if isinstance(x, Recorded):
        return x.astype(np.float64)
    if isinstance(x, int | np.integer) or (isinstance(x, np.ndarray) and x.dtype.kind in "iub"):
        return np.asarray(x, np.float64)[()]
    if isinstance(x, np.ndarray) and x.dtype == object:
        return x
    if is_foreign_array(x):
        return _as_float(np.asarray(x), name)
    remedy = "pass floats or float arrays, or complex ones"
    if is_dataclass(x):
        remedy = "make the dataclass a pytree: @optree.dataclasses.dataclass(namespace='fastad') instead of @dataclass"
    raise DerivativeError(
        f"{name}: cannot differentiate with respect to an argument of type {type(x).__name__}"
        f"{f' and dtype {x.dtype}' if isinstance(x, np.ndarray | np.generic) else ''}{at_line()}; {remedy}"
    )


def _complex_where(primals: Any, tangents: Any) -> Any:
    """The tangents, with real numbers and None made complex where the primals are."""
    leaves, tree = flatten_whole(primals)
    given, own = flatten_whole(tangents)
    if tree != own or not any(map(is_complex_leaf, leaves)):
        return tangents
    pairs = zip(leaves, given, strict=True)
    return unflatten(own, [_to_complex(x, t) if is_complex_leaf(x) and not is_complex_leaf(t) else t for x, t in pairs])


def _to_complex(primal: Any, tangent: Any) -> Any:
    return np.zeros(np.shape(primal), complex)[()] if tangent is None else tangent + 0j


def no_number(name: str, result: Any) -> DerivativeError:
    """The error for a function that returns nothing that has a derivative."""
    found = getattr(result, "value", result)
    fix = "is its `return` missing?" if found is None else "return a float, or arrays"
    return DerivativeError(f"{name} returned {found!r}, no number{at_line()}: {fix}")


def frozen_primals(f: Callable[..., Any], primals: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies of the primals, so that the caller may change the arrays afterwards; integers become floats."""
    if all(map(_is_float, primals)):
        return tuple([x if type(x) is float else x.copy() for x in primals])
    leaves, tree = flatten(primals)
    name = getattr(f, "__name__", type(f).__name__)
    return unflatten(tree, [_copied(x, name) for x in leaves])


def _copied(x: Any, name: str) -> Any:
    if isinstance(x, Recorded):
        return x.frozen()
    if isinstance(x, np.ndarray):
        return x.copy()
    return _as_float(x, name) if isinstance(x, int) and not isinstance(x, bool) else x


class Gradient(Differentiated):
    """Gradient of a scalar-valued function; see `grad` and `value_and_grad`."""

    options = ("argnums", "has_aux", "with_value")

    def __init__(
        self, function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False,
        with_value: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(function, argnums, **options)
        self.has_aux, self.with_value = has_aux, with_value

    def program(self, call: Call) -> Program:
        primal = program_of(self.__wrapped__, call)
        numbers, gradient = self.targets(call)
        self._check(primal)
        wrt = tuple(primal.wrt(numbers))
        seeds = (1.0, *(0.0 for _ in primal.table.outputs[1:]))
        return self._packed(
            replace(primal, request=Request(primal.inner, "adjoint", wrt, seeds)), gradient, len(numbers)
        )

    def _check(self, primal: Program) -> None:
        if self.has_aux and not (isinstance(_skeleton(primal), tuple) and len(_skeleton(primal)) == 2):
            raise DerivativeError(f"{self.__name__} must return (value, auxiliary) when has_aux=True")
        first = _skeleton(primal)[0] if self.has_aux else _skeleton(primal)
        if first is not None or primal.table.output_types[0].shape != ():
            if not primal.table.output_types:
                raise no_number(self.__name__, first)
            if is_complex_result(first):
                raise DerivativeError(
                    f"{self.__name__} returned a complex value, which has no gradient{at_line()}; return a real number "
                    "of it, such as z.real, np.abs(z) or np.angle(z)"
                )
            kinds = ", ".join(map(str, primal.table.output_types))
            raise DerivativeError(
                f"grad needs a function with one scalar result, but {self.__name__} returned ({kinds}){at_line()}; "
                "return a sum, or use fad.jacobian, fad.vjp, or has_aux=True for further results"
            )
        if primal.table.output_types[0].dtype not in "df":
            raise DerivativeError(
                f"{self.__name__} returned an integer or truth value, which has no gradient{at_line()}; return a float"
            )

    def _packed(self, p: Program, gradient: Any, count: int) -> Program:
        """The results and the gradient in the order in which the caller gets them."""
        skeleton = unflatten(p.out_tree, list(p.out_leaves))
        if self.has_aux:
            head, aux = skeleton
            packed: Any = ((head, aux), gradient) if self.with_value else (gradient, aux)
        else:
            packed = (skeleton, gradient) if self.with_value else gradient
        order = list(range(len(p.request.results)))
        values, bars = order[: len(order) - count], order[len(order) - count :]
        if not self.with_value:
            values = values[1:]
        outputs = [*bars, *values] if self.has_aux and not self.with_value else [*values, *bars]
        leaves, out_tree = flatten(packed)
        return select_outputs(p, outputs, out_tree, tuple(leaves))


def _skeleton(p: Program) -> Any:
    return unflatten(p.out_tree, list(p.out_leaves))


def select_outputs(p: Program, outputs: list[int], out_tree: Any, out_leaves: tuple[Any, ...]) -> Program:
    """The program with only these results, by position. Sweeps compute all of them and return these."""
    places = tuple(outputs)
    if places == tuple(range(len(p.request.results))):
        return replace(p, out_tree=out_tree, out_leaves=out_leaves)
    return replace(p, request=replace(p.request, chosen=places), out_tree=out_tree, out_leaves=out_leaves)


def input_numbers(call: Call) -> tuple[Any, Any]:
    """(args, kwargs) with every leaf replaced by the number of its input, or -1 where it is static."""
    order = np.cumsum(call.dynamic) - 1
    return unflatten(call.tree, [int(n) if d else -1 for n, d in zip(order, call.dynamic, strict=True)])


class JvpFunction(Transformed):
    """(primals, tangents) to (result, tangent of the result); see `jvp`."""

    called = "jvp"  # the public name, for errors

    def normalise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        primals, tangents = args
        leaves, tree = flatten(tuple(primals))
        given, given_tree = flatten(_complex_where(tuple(primals), tuple(tangents)))
        if tree != given_tree:
            raise ShapeError(
                f"{self.called} of {self.__name__}: the tangents must have the structure of the primals, "
                f"{described(tuple(primals))}; they have {described(tuple(tangents))}"
            )
        for i, (x, t) in enumerate(zip(leaves, given, strict=True)):
            if t is None or isinstance(x, str | bool):
                given[i] = None
                continue
            leaves[i], given[i] = _as_float(x, self.__name__), _as_float(t, self.__name__)
            if np.shape(t) != np.shape(x):
                raise ShapeError(
                    f"{self.called} of {self.__name__}: a tangent has shape {np.shape(t)}, but its primal has shape "
                    f"{np.shape(x)}{at_line()}"
                )
        return (unflatten(tree, leaves), unflatten(tree, given)), kwargs

    def program(self, call: Call) -> Program:
        (primals, _), _ = call.rebuild(call.inputs)
        inner = make_call(tuple(primals), {})
        primal = program_of(self.__wrapped__, inner)
        (numbers, tangents), _ = input_numbers(call)
        pairs = zip(flatten(numbers)[0], flatten(tangents)[0], strict=True)
        moving = [(n, t) for n, t in pairs if n >= 0 and t >= 0]
        wrt = tuple(primal.wrt([n for n, _ in moving]))
        request = Request(primal.inner, "tangent", wrt)
        packed = (_skeleton(primal), _skeleton(primal))
        leaves, tree = flatten(packed)
        sources = (*primal.sources, *(t for _, t in moving))
        return replace(primal, request=request, sources=sources, out_tree=tree, out_leaves=tuple(leaves))


class VjpFunction(Transformed):
    """(primals, cotangent) to (result, adjoints of the primals as a tuple); see `vjp`."""

    def program(self, call: Call) -> Program:
        (primals, cotangent), _ = call.rebuild(call.inputs)
        inner = make_call(tuple(primals), {})
        primal = program_of(self.__wrapped__, inner)
        self._check(primal, cotangent)
        wrt = tuple(primal.wrt(range(len(inner.inputs))))
        request = Request(primal.inner, "adjoint", wrt)
        seeds = [n for n in flatten(input_numbers(call)[0][1])[0] if n >= 0]
        bars = unflatten(inner.tree, [None if d else Fixed(None) for d in inner.dynamic])[0]
        leaves, tree = flatten((_skeleton(primal), bars))
        sources = (*primal.sources, *seeds)
        return replace(primal, request=request, sources=sources, out_tree=tree, out_leaves=tuple(leaves))

    def normalise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        primals, cotangent = args
        return (primals, as_floats(cotangent, self.__name__)), kwargs

    def _check(self, primal: Program, cotangent: Any) -> None:
        given, tree = flatten(cotangent)
        kinds = primal.table.output_types
        if tree != primal.out_tree or [np.shape(u) for u in given] != [k.shape for k in kinds]:
            results = iter(kinds)
            wanted = [x.value if x is not None else np.empty(*next(results)) for x in primal.out_leaves]
            raise ShapeError(
                f"vjp of {self.__name__}: the cotangent must have the structure and shapes of the result: "
                f"{described(unflatten(primal.out_tree, wanted))}, not {described(cotangent)}{at_line()}"
            )
