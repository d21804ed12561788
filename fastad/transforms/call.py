"""The arguments of a call, split into inputs (arrays and floats) and static leaves, which are part of the key."""

import functools
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from fastad.errors import ShapeError
from fastad.recording.buffers import without_buffers
from fastad.recording.capture import OutsideState
from fastad.recording.complex_operands import Parts, is_complex_leaf
from fastad.recording.keys import compares_by_identity
from fastad.recording.operands import has_own_arithmetic
from fastad.recording.recorded import Recorded
from fastad.recording.recorded_numbers import Number

NAMESPACE = "fastad"
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)  # known by code and by what they refer to
_STATELESS = frozenset({int, bool, str, bytes, complex, type(None)})


class ChangingInt(int):
    """A Python integer that is an input, since it changes from call to call; see `fastad.transforms.numbers`."""


@dataclass(frozen=True)
class Call:
    """Flattened arguments. `dynamic` marks the leaves that are inputs; `tree` rebuilds (args, kwargs)."""

    leaves: list[Any]
    dynamic: tuple[bool, ...]
    tree: Any
    key: tuple[Any, ...]
    outside: tuple[OutsideState, ...] = ()  # what objects and functions among the static arguments hold

    @property
    def inputs(self) -> list[Any]:
        """The leaves that are inputs."""
        return [x for x, d in zip(self.leaves, self.dynamic, strict=True) if d]

    @property
    def objects(self) -> list[Any]:
        """The leaves that may hold a state."""
        static = (x for x, d in zip(self.leaves, self.dynamic, strict=True) if not d)
        return [x for x in static if type(x) not in _STATELESS]

    def concrete(self) -> "Call":
        """The call with recorded values replaced by their concrete values."""
        leaves = [_concrete(x) if isinstance(x, Recorded) else x for x in self.leaves]
        return Call(leaves, self.dynamic, self.tree, self.key, self.outside)

    def changing(self, places: Sequence[int]) -> "Call":
        """The call with the integers at these places as inputs."""
        if not places:
            return self
        leaves, dynamic, key = list(self.leaves), list(self.dynamic), list(self.key)
        for k in places:
            leaves[k], dynamic[k] = ChangingInt(leaves[k]), True
            key[k + 1] = kind_of(leaves[k])
        return Call(leaves, tuple(dynamic), self.tree, tuple(key), self.outside)

    def reading(self, states: Sequence[OutsideState]) -> "Call":
        """The call with these states of what its static arguments hold."""
        given = iter(states)
        tree, *kinds = self.key
        key = (tree, *[(*kind[:3], next(given).key) if len(kind) == 4 else kind for kind in kinds])
        return Call(self.leaves, self.dynamic, self.tree, key, tuple(states))

    def rebuild(self, inputs: list[Any]) -> Any:
        """(args, kwargs) with these values in place of the inputs."""
        given = iter(inputs)
        leaves = [next(given) if d else x for x, d in zip(self.leaves, self.dynamic, strict=True)]
        return optree.tree_unflatten(self.tree, leaves)

    def replaced(self, inputs: list[Any]) -> "Call":
        """The same structure with other inputs."""
        args, kwargs = self.rebuild(inputs)
        return make_call(args, kwargs)


def _is_known_by_state(leaf: Any, state: OutsideState) -> bool:
    """Whether a static leaf is what a walk finds in it. The key need not hold the object itself then."""
    return isinstance(leaf, _FUNCTIONS) or (not state.is_opaque and compares_by_identity(type(leaf)))


def _concrete(x: Recorded) -> Any:
    return ChangingInt(x.value) if type(x) is Number and x.dtype.kind in "iu" else x.value


def make_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """The call with these arguments."""
    leaves, tree = flatten((args, kwargs))
    kinds, dynamic, outside = [], [], []
    for i, leaf in enumerate(leaves):
        kind = kind_of(leaf)
        if kind is None:
            leaf = leaves[i] = _other_array(leaf)
            kind = kind_of(leaf)
        assert kind is not None
        if kind[0] == "static" and kind[1] not in _STATELESS:
            state = OutsideState((leaf,))
            kind = (*kind[:2], () if _is_known_by_state(leaf, state) else leaf, state.key)
            outside.append(state)
        kinds.append(kind)
        dynamic.append(kind[0] == "input")
    return Call(leaves, tuple(dynamic), tree, (tree, *kinds), tuple(outside))


def kind_of(leaf: Any) -> tuple[Any, ...] | None:
    """What the key says of a leaf: shape and dtype of an input, the value of a static leaf. None: an array that must
    be converted first (`_other_array`)."""
    kind = type(leaf)
    if kind is np.ndarray:
        return ("input", leaf.shape, leaf.dtype.char) if leaf.dtype.kind in "fiub" and leaf.dtype.isnative else None
    if kind is float:
        return ("input", (), "d")
    if kind is ChangingInt:
        return ("input", (), "n")
    if isinstance(leaf, Recorded):
        return ("input", leaf.shape, leaf.dtype.char)
    if isinstance(leaf, np.ndarray) and has_own_arithmetic(kind):
        raise ShapeError(
            f"an argument is a {kind.__name__}, which computes differently from a plain array; "
            "pass np.asarray(x), or x.filled() for a masked array"
        )
    if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "fiub":
        return ("input", np.shape(leaf), leaf.dtype.char)
    if isinstance(leaf, np.ndarray) or is_foreign_array(leaf):
        return None
    try:
        hash(leaf)
    except TypeError:
        raise ShapeError(
            f"an argument of type {kind.__name__} is not an array, not a number and not hashable; "
            "pass arrays and numbers in lists, tuples and dicts"
        ) from None
    return ("static", kind, leaf)


def is_foreign_array(x: Any) -> bool:
    """Whether x is an array of another library (pandas, JAX, PyTorch on the CPU), which NumPy can convert."""
    return hasattr(type(x), "__array__") and not isinstance(x, np.ndarray | np.generic | Recorded)


def _other_array(leaf: Any) -> Any:
    """The array converted to one that can be an input: of NumPy, in this machine's byte order, or, for an object array
    of recorded values, as one recorded value. ShapeError for other dtypes."""
    from fastad.recording.operands import as_recorded, is_recorded

    if is_foreign_array(leaf):
        found = np.asarray(leaf)
        return found if kind_of(found) is not None else _other_array(found)
    if leaf.dtype.kind in "fiub":
        return leaf.astype(leaf.dtype.newbyteorder("="))
    if leaf.dtype == object and is_recorded(leaf):
        return as_recorded(leaf)
    fix = "pass float64, float32, integer or bool arrays"
    if leaf.dtype.kind == "c":
        fix = "pass np.asarray(z, complex)"
    if leaf.dtype.names:
        fix = f"pass its fields apart, as {{name: x[name] for name in {leaf.dtype.names}}}"
    elif leaf.dtype.kind in "OUST":
        fix += "; of a table of pandas {name: table[name].to_numpy() for name in (...)}, without columns of text"
    raise ShapeError(f"an argument has dtype {leaf.dtype}; {fix}")


def flatten(tree: Any, none_is_leaf: bool = True) -> tuple[list[Any], Any]:
    """Leaves and structure of a pytree of arguments, results or tangents. A complex value is two leaves, its parts."""
    leaves, structure = flatten_whole(tree, none_is_leaf)
    if any(map(is_complex_leaf, leaves)):
        found = [Parts(x.real, x.imag) if is_complex_leaf(x) else x for x in leaves]
        return optree.tree_flatten(
            optree.tree_unflatten(structure, found), none_is_leaf=none_is_leaf, namespace=NAMESPACE
        )
    return leaves, structure


def flatten_whole(tree: Any, none_is_leaf: bool = True) -> tuple[list[Any], Any]:
    """`flatten` with each complex value as one leaf."""
    leaves, structure = optree.tree_flatten(tree, none_is_leaf=none_is_leaf, namespace=NAMESPACE)
    return without_buffers(leaves), structure


def holds_complex(structure: Any) -> bool:
    """Whether there are complex values in a pytree of this structure."""
    return any(map(is_complex_leaf, flatten_whole(unflatten(structure, [0.0] * structure.num_leaves))[0]))


def unflatten(structure: Any, leaves: list[Any]) -> Any:
    """A pytree from its structure and leaves."""
    return optree.tree_unflatten(structure, leaves)


def described(tree: Any) -> str:
    """Structure, dtypes and shapes of a pytree as a short text."""
    leaves, structure = flatten_whole(tree)
    return str(unflatten(structure, [_shown(x) for x in leaves])).replace("'", "")


def _shown(x: Any) -> str:
    if isinstance(x, Recorded | np.ndarray | np.generic | float | int):
        kind, shape = (x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype), np.shape(x)
        return f"{kind.name}[{','.join(map(str, shape))}]" if shape else kind.name
    return str(x) if x is None else type(x).__name__
